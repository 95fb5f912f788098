/* How long a run had trained when each of its checkpoints was written. It lies beside them: their
 * own bytes do not depend on the time. */
#ifndef CLVI_ELAPSED_H
#define CLVI_ELAPSED_H

#include "train/checkpoint.h"

typedef struct clvi_elapsed {
    int64_t epoch, step;  /* the checkpoint's, as in its state */
    double epoch_seconds; /* of training in the epoch that was running */
    double seconds;       /* of training, validation and checkpoints, without warming up */
} clvi_elapsed;

/* Writes the run's file of times, whole or not at all: `now`, of the checkpoint that is written
 * next, and `before`, of the one that it replaces, so that one of both is right whenever the
 * process ends. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_elapsed_write(const char *run, const clvi_elapsed *before, const clvi_elapsed *now,
                              clv_error *error) CLV_MUST_CHECK;

/* What is noted for the checkpoint that stands at `state`; times of 0, and a warning where there
 * are steps behind, where nothing is. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_elapsed_read(const char *run, const clvi_train_state *state, clvi_elapsed *out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
