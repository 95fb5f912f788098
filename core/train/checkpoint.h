/* Checkpoints: all variables, the optimiser's moments and where training stood, in one safetensors
 * file that is written whole or not at all. */
#ifndef CLVI_CHECKPOINT_H
#define CLVI_CHECKPOINT_H

#include "data/dataset.h"
#include "mixture/metrics.h"
#include "train/early_stop.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "weights/safetensors.h"

/* How far an epoch has got; all 0 between two epochs. */
typedef struct clvi_running_epoch {
    int64_t steps;                       /* finished */
    int64_t images;                      /* of the epoch's order, behind */
    double loss_sum, top1_sum, top5_sum; /* over `count` samples: the metrics read so far */
    int64_t count;
    int64_t unrouted, wanted, dropped;    /* as clvi_metrics_sums */
    uint32_t metrics[CLVI_METRICS_WORDS]; /* those not read yet, as they lie on the device */
} clvi_running_epoch;

/* What a sparse gate did in the last epoch that ended; all 0 without one. */
typedef struct clvi_routed {
    int64_t images, unrouted; /* of training; those of them that no expert took */
    int64_t wanted, dropped;  /* assignments */
} clvi_routed;

/* Where training stood; plain data. Begins with plateau.scale = 1 and the rest 0. */
typedef struct clvi_train_state {
    int64_t epoch; /* finished epochs */
    int64_t step;  /* finished steps */
    clvi_early_stop_state stop;
    clvi_plateau plateau;
    clvi_running_epoch running;
    clvi_routed routed;
} clvi_train_state;

/* What a checkpoint is made of. */
typedef struct clvi_checkpoint_parts {
    clvi_store *store;
    const clvi_optimizer *optimizer;
    const clvi_train_state *state;
    const uint32_t *signals; /* of an epoch under way: the sums of signals.h; NULL: none */
    size_t signal_words;
    const char *config; /* resolved */
    const clvi_dataset *data;
} clvi_checkpoint_parts;

/* Writes `path`: variables under their names (where averages are kept, these, and the variables
 * themselves as "training.NAME"), moments as "optimizer.m.NAME" and "optimizer.v.NAME"; metadata:
 * format "conclave 1", the state, the optimiser's step counts, the configuration, the device, image
 * size, class names and the data set's fingerprint. Waits for the device. */
clv_status clvi_checkpoint_save(const char *path, const clvi_checkpoint_parts *parts,
                                clv_error *error) CLV_MUST_CHECK;

/* An open checkpoint, or a bundle (bundle.h), for use without its data set. */
typedef struct clvi_checkpoint clvi_checkpoint;
/* Errors: CLV_E_IO, CLV_E_FORMAT naming the file and what is missing. The caller closes. */
clv_status clvi_checkpoint_open(const char *path, clvi_checkpoint **out,
                                clv_error *error) CLV_MUST_CHECK;
void clvi_checkpoint_close(clvi_checkpoint *checkpoint); /* NULL allowed */
/* The open file, as long as the checkpoint is. */
const clvi_safetensors *clvi_checkpoint_file(const clvi_checkpoint *checkpoint);
size_t clvi_checkpoint_class_count(const clvi_checkpoint *checkpoint);
const char *clvi_checkpoint_class_name(const clvi_checkpoint *checkpoint, size_t index);
/* The configuration as dumped, and the pixels that the networks were built for. */
const char *clvi_checkpoint_config(const clvi_checkpoint *checkpoint);
void clvi_checkpoint_image(const clvi_checkpoint *checkpoint, int *height, int *width,
                           int *channels);
bool clvi_checkpoint_is_bundle(const clvi_checkpoint *checkpoint);
/* Of a bundle, where it is known, otherwise 0. */
double clvi_checkpoint_temperature(const clvi_checkpoint *checkpoint);
/* Of a bundle only the epoch. */
const clvi_train_state *clvi_checkpoint_state(const clvi_checkpoint *checkpoint);
/* The sums of signals.h of an epoch under way, `count` words; 0 where the file has none. Errors:
 * CLV_E_FORMAT when there are others than `count`. */
clv_status clvi_checkpoint_signals(const clvi_checkpoint *checkpoint, uint32_t *words, size_t count,
                                   clv_error *error) CLV_MUST_CHECK;
/* The banner of the device and the fingerprint of the data; "" where a file has none. */
const char *clvi_checkpoint_device(const clvi_checkpoint *checkpoint);
const char *clvi_checkpoint_data(const clvi_checkpoint *checkpoint);
/* Loads every variable of the store, for use: averages where there are some. Errors: CLV_E_FORMAT
 * naming a missing or misshapen tensor. */
clv_status clvi_checkpoint_load(const clvi_checkpoint *checkpoint, clvi_store *store,
                                clv_error *error) CLV_MUST_CHECK;
/* The same of one variable: segment->elements floats to `out`. */
clv_status clvi_checkpoint_read(const clvi_checkpoint *checkpoint, const clvi_segment *segment,
                                float *out, clv_error *error) CLV_MUST_CHECK;
/* Loads everything that training goes on with: variables, averages, moments, step counts. Errors as
 * above. */
clv_status clvi_checkpoint_resume(const clvi_checkpoint *checkpoint, clvi_store *store,
                                  clvi_optimizer *optimizer, clv_error *error) CLV_MUST_CHECK;

#endif
