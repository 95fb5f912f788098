/* What the files of the training loop share. Used by core/train only. */
#ifndef CLVI_TRAINER_H
#define CLVI_TRAINER_H

#include "base/philox.h"
#include "train/checkpoint.h"
#include "train/elapsed.h"
#include "train/features.h"
#include "train/multipliers.h"
#include "train/run_files.h"
#include "train/settings.h"
#include "train/signal_rows.h"
#include "train/train.h"

/* A line of the log that stands behind each checkpoint `last`: epochs and steps behind. */
#define CLVI_CHECKPOINT_LINE "checkpoint: epoch %lld, step %lld"

/* A training under way. */
typedef struct clvi_trainer {
    const clvi_train_desc *desc;
    const clvi_config *config;
    clvi_mixture *mixture;
    clvi_optimizer *optimizer;
    clvi_multipliers *multipliers;
    clvi_loader *train_loader, *val_loader;
    clvi_features *features; /* NULL: loaders bring pixels */
    clvi_row_file *csv;
    clvi_signal_rows *signals; /* NULL: one expert, or no run */
    clvi_text dump;            /* resolved configuration */
    char *best_path, *last_path;
    uint32_t *order;               /* [train_count]: of the running epoch */
    double *scales;                /* by epoch: plateau.scale with which this call ran it */
    size_t train_count, val_count; /* images of an epoch, of validation */
    int64_t batch, accumulate;     /* images of a batch, batches of a step */
    int64_t steps_per_epoch, epochs, log_every;
    double ema; /* 0: no averages */
    clvi_schedule schedule;
    clvi_early_stop_rule rule, plateau_rule; /* plateau_rule.patience 0: another schedule */
    clvi_train_state state;
    int64_t saved_step; /* state.step of the last checkpoint; -1: none by this call */
    bool saved_epoch;   /* that checkpoint stands between two epochs */
    clvi_philox_key shuffle_key;
    clvi_sampler sampler;
    double began, deadline; /* clock; deadline 0: none */
    double earlier;         /* seconds of the run before `began`: of earlier calls */
    double epoch_seconds;   /* of training in the running epoch, by all calls */
    clvi_elapsed elapsed;   /* as it was noted for the last checkpoint */
    double waited;          /* seconds for batches of training */
    bool validating;        /* a validation pass runs, or failed */
    /* Called after the backward pass of each batch, and after each batch of validation; NULL:
     * nobody looks. */
    clv_status (*look)(struct clvi_trainer *t, clv_error *error);
} clvi_trainer;

/* ---- trainer.c ---- */

/* Makes everything that needs the device: networks, optimiser, loaders; compiles all kernels and
 * starts the variables afresh. desc and config are set. Errors: those of data, plugins, device. */
clv_status clvi_trainer_create(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
/* Opens metrics.csv; of a new run, writes config.ini. */
clv_status clvi_trainer_open_files(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
/* Of a run that goes on, when nothing of the start can fail any more: cuts its files back to where
 * it stands and writes config.ini anew. */
clv_status clvi_trainer_take_over(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
/* Variables and state as they are before the first step. */
clv_status clvi_trainer_start(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
/* Variables and state of the run's last checkpoint, or clvi_trainer_start where it has none.
 * Errors: CLV_E_DATA when the images have changed; those of the file. */
clv_status clvi_trainer_restore(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_trainer_save(clvi_trainer *t, const char *path, const clvi_train_state *state,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_trainer_fini(clvi_trainer *t);
/* Device memory that was planned. */
uint64_t clvi_trainer_bytes(const clvi_trainer *t);

/* ---- pass.c ---- */

/* Why a pass ended before its end. */
typedef enum clvi_cut { CLVI_CUT_NONE, CLVI_CUT_STOP, CLVI_CUT_TIME } clvi_cut;

/* Figures of a pass over a split. */
typedef struct clvi_pass {
    clvi_running_epoch *sums; /* of the whole pass, what was read */
    double before;            /* seconds that earlier calls of clvi_train spent on it */
    double began, seconds;    /* clock; of the whole pass */
    clvi_cut cut;
} clvi_pass;

/* Whether training has to end now. Signals only, where `time` is false. */
clvi_cut clvi_trainer_cut(const clvi_trainer *t, bool time);
/* Puts the training images of the running epoch in order and goes to where it stands. */
clv_status clvi_trainer_begin_epoch(clvi_trainer *t, clv_error *error) CLV_MUST_CHECK;
/* One step of the running epoch; *done: there was no batch left for it. Enqueues only. */
clv_status clvi_trainer_step(clvi_trainer *t, bool *done, clv_error *error) CLV_MUST_CHECK;
/* Rate of the step before this one. */
double clvi_trainer_rate(const clvi_trainer *t, int64_t step);
/* The rest of the running epoch, until pass->cut. Errors: CLV_E_NUMERIC. */
clv_status clvi_pass_train(clvi_trainer *t, clvi_pass *pass, clv_error *error) CLV_MUST_CHECK;
/* Validation with the averaged weights where there are some; `sums` is where pass->sums points. */
clv_status clvi_pass_val(clvi_trainer *t, clvi_pass *pass, clvi_running_epoch *sums,
                         clv_error *error) CLV_MUST_CHECK;
/* Reads what a pass of training that was cut left on the device into a copy of its sums, `sums`,
 * which is where pass->sums then points. Errors: CLV_E_NUMERIC. */
clv_status clvi_pass_read(clvi_trainer *t, clvi_pass *pass, clvi_running_epoch *sums,
                          clv_error *error) CLV_MUST_CHECK;
/* Images per second; NaN where no time has passed. */
double clvi_pass_rate(const clvi_pass *pass);
/* What a sparse gate did in a pass of training; all 0 of others. */
clvi_routed clvi_pass_routed(const clvi_pass *pass);
/* Shares of the images that no expert took, which means leave out, and of the assignments that the
 * gate wanted and dropped; NaN without a sparse gate. */
double clvi_routed_unrouted(const clvi_routed *routed);
double clvi_routed_dropped(const clvi_routed *routed);
/* A mean over a pass; NaN where nothing was seen. */
double clvi_pass_mean(const clvi_pass *pass, double sum);

/* ---- replay.c ---- */

/* Goes through the steps since the last checkpoint again, up to where training stands, and looks at
 * every number. Records CLV_E_NUMERIC in `error`: the step and what wrote the first number that is
 * not finite, or `cause` where none is met. */
clv_status clvi_replay(clvi_trainer *t, const clv_error *cause, clv_error *error) CLV_MUST_CHECK;

/* ---- step_times.c ---- */

/* Goes a few steps on from where the variables stand, which are of no use afterwards, and measures
 * their parts: an object for summary.json, {"wall": …, "wait": …, "read": …, …, "device":
 * {"expert.a forward": …}}, in milliseconds per step; where the device has no clock, without
 * "device". The caller releases *out. */
clv_status clvi_step_times(clvi_trainer *t, json_t **out, clv_error *error) CLV_MUST_CHECK;

/* ---- finish.c ---- */

/* Loads the best epoch's weights, scores every split with them and writes summary.json. */
clv_status clvi_trainer_finish(clvi_trainer *t, clvi_train_result *out,
                               clv_error *error) CLV_MUST_CHECK;

#endif
