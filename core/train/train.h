/* Training a mixture on a data set: the loop over epochs, validation, the best epoch, checkpoints
 * and the run's folder. Validation alone chooses; test images are read once, at the end. */
#ifndef CLVI_TRAIN_H
#define CLVI_TRAIN_H

#include "data/dataset.h"
#include "mixture/mixture.h"
#include "train/progress.h"
#include "train/scores.h"
#include "train/settings.h"

#include <signal.h>

/* Called from the training thread; must be quick. */
typedef void (*clvi_progress_call)(void *user, const clvi_progress *progress);

typedef struct clvi_train_desc {
    /* What only weights tell (preprocess = auto) is written into it. */
    clvi_config *config;
    clvi_dataset *data; /* opened as the configuration says; has training and validation images */
    clvi_plugins *plugins;
    clvi_device *device;
    const char *run_dir; /* exists, from clvi_run_create; not for clvi_train_try */
    bool step_times;     /* at the end, measure the parts of a few steps for summary.json */
    bool resume; /* go on where the run's last checkpoint stands, if it has one (resume.h) */
    /* NULL, or not 0 as soon as training shall end: after the running step, with a checkpoint. A
     * signal handler may set it. */
    const volatile sig_atomic_t *stop;
    clvi_progress_call progress; /* NULL: nobody watches */
    void *user;
} clvi_train_desc;

typedef struct clvi_train_result {
    int64_t epochs, best_epoch; /* trained; whose weights are kept as best */
    /* Of training, validation and checkpoints, without warming up, by all calls up to the
     * checkpoints that the next ones went on from. */
    double seconds;
    double warm_seconds; /* building plans, compiling kernels; of this call */
    /* "patience" or "time", train.max_seconds, perhaps within an epoch; NULL: it had all epochs. */
    const char *stopped_by;
    bool has_test;
    double
        temperature; /* fitted on validation: logits divided by it give calibrated probabilities */
    clvi_score_summary train, val, test; /* of the best epoch, unaugmented, inference mode */
    /* Of the last epoch of training, with a sparse gate, else NAN: shares of the assignments that
     * were dropped, and of the images that no expert took. */
    double dropped, unrouted;
} clvi_train_result;

/* Trains and writes the run's folder: config.ini, metrics.csv, log.txt (through the caller's sink),
 * last and best checkpoints, and at the end predictions.csv, per_class.csv, confusion.csv and
 * summary.json. The same seed, data, device and driver give the same
 * bits, also when the run was killed and resumed any number of times. Errors: those of data, device
 * and files; CLV_E_INTERRUPTED (stop; says how to go on); CLV_E_NUMERIC when the loss is no finite
 * number, after the steps since the last checkpoint were run again to find where it came from. */
clv_status clvi_train(const clvi_train_desc *desc, clvi_train_result *out,
                      clv_error *error) CLV_MUST_CHECK;

/* What a training would take. */
typedef struct clvi_trial {
    int64_t trainable; /* parameters, in the last epoch; 0: nothing is trained, epochs is 0 */
    int64_t epochs, steps_per_epoch, step_images;
    double warm_seconds;  /* building plans, compiling kernels; they took it this time */
    double epoch_seconds; /* training and validation, from a few steps */
    double seconds;       /* all epochs and the final scores */
    double images_per_second;
    uint64_t planned_bytes, device_bytes; /* of device memory: as planned, and as it is in use */
} clvi_trial;
/* Makes everything as for clvi_train and times a few steps; with train.cache_features on features
 * of zeros. Writes nothing. Errors: as there. */
clv_status clvi_train_try(const clvi_train_desc *desc, clvi_trial *out,
                          clv_error *error) CLV_MUST_CHECK;

/* Scores a split: forward over all its images, in order. */

struct clvi_features;
typedef struct clvi_evaluate_desc {
    clvi_mixture *mixture;
    /* What is kept of the images of the split, in place of running the experts; NULL: nothing. */
    struct clvi_features *features;
    clvi_dataset *data;
    clvi_split split;
    int64_t batch;
    const volatile sig_atomic_t *stop; /* as above; CLV_E_INTERRUPTED then */
    clvi_progress_call progress;
    void *user;
    /* NULL, or gets every batch and its logits [batch->count, classes]; a failure ends it. */
    clv_status (*take)(void *taker, const clvi_batch *batch, const float *logits, clv_error *error);
    void *taker;
} clvi_evaluate_desc;
/* `scores` NULL: only `take` wants them. */
clv_status clvi_evaluate(const clvi_evaluate_desc *desc, clvi_scores *scores,
                         clv_error *error) CLV_MUST_CHECK;

/* "top1 98.53 % (95 % interval 98.2-98.8), nll 0.053, …" for logs. Returns `out`. */
const char *clvi_score_text(const clvi_score_summary *s, char *out, size_t bytes);

#endif
