/* Checkpoints: all variables, the optimiser's moments and where training stood, in one safetensors
 * file that is written whole or not at all. */
#ifndef CLVI_CHECKPOINT_H
#define CLVI_CHECKPOINT_H

#include "data/dataset.h"
#include "train/early_stop.h"
#include "train/optimizer.h"
#include "weights/safetensors.h"

/* Where training stood; plain data. */
typedef struct clvi_train_state {
    int64_t epoch; /* finished epochs */
    int64_t step;  /* finished steps */
    clvi_early_stop_state stop;
} clvi_train_state;

/* Writes `path`: variables under their names, moments as "optimizer.m.NAME" and "optimizer.v.NAME";
 * metadata: format "conclave 1", the state, the optimiser's step counts, the resolved configuration
 * `config`, image size, class names and the data set's fingerprint. Waits for the device. */
clv_status clvi_checkpoint_save(const char *path, clvi_store *store,
                                const clvi_optimizer *optimizer, const clvi_train_state *state,
                                const char *config, const clvi_dataset *data,
                                clv_error *error) CLV_MUST_CHECK;

/* An open checkpoint, for use without its data set. */
typedef struct clvi_checkpoint clvi_checkpoint;
/* Errors: CLV_E_IO, CLV_E_FORMAT naming the file and what is missing. The caller closes. */
clv_status clvi_checkpoint_open(const char *path, clvi_checkpoint **out,
                                clv_error *error) CLV_MUST_CHECK;
void clvi_checkpoint_close(clvi_checkpoint *checkpoint); /* NULL allowed */
size_t clvi_checkpoint_class_count(const clvi_checkpoint *checkpoint);
const char *clvi_checkpoint_class_name(const clvi_checkpoint *checkpoint, size_t index);
/* The configuration as dumped, and the pixels that the networks were built for. */
const char *clvi_checkpoint_config(const clvi_checkpoint *checkpoint);
void clvi_checkpoint_image(const clvi_checkpoint *checkpoint, int *height, int *width,
                           int *channels);
const clvi_train_state *clvi_checkpoint_state(const clvi_checkpoint *checkpoint);
/* Loads every variable of the store. Errors: CLV_E_FORMAT naming a missing or misshapen tensor. */
clv_status clvi_checkpoint_load(const clvi_checkpoint *checkpoint, clvi_store *store,
                                clv_error *error) CLV_MUST_CHECK;

#endif
