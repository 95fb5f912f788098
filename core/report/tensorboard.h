/* A run as event files that TensorBoard shows: curves while it trains, and at its end what it was
 * measured to do, its confusion matrix and the images of its worst mistakes. */
#ifndef CLVI_TENSORBOARD_H
#define CLVI_TENSORBOARD_H

#include "data/dataset.h"

#define CLVI_RUN_TENSORBOARD "tensorboard" /* folder of a run that holds the events */

typedef struct clvi_tensorboard clvi_tensorboard;

/* Errors: CLV_E_USAGE where the library was built without it, with what to do. */
clv_status clvi_tensorboard_check(clv_error *error) CLV_MUST_CHECK;

/* Begins RUN/tensorboard anew, with the run's configuration. The caller destroys. Errors: that of
 * clvi_tensorboard_check, CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_tensorboard_create(const char *run, clvi_tensorboard **out,
                                   clv_error *error) CLV_MUST_CHECK;
/* Adds the rows of metrics.csv, signals.csv and signal_pairs.csv that are new. Errors: CLV_E_IO,
 * CLV_E_DATA, CLV_E_MEMORY. */
clv_status clvi_tensorboard_update(clvi_tensorboard *board, clv_error *error) CLV_MUST_CHECK;
/* The same, and what a run that has ended left beside them; nothing of one that has not. `data`:
 * what it was trained on, NULL: without images. Errors: as above, CLV_E_FORMAT. */
clv_status clvi_tensorboard_finish(clvi_tensorboard *board, clvi_dataset *data,
                                   clv_error *error) CLV_MUST_CHECK;
void clvi_tensorboard_destroy(clvi_tensorboard *board); /* NULL allowed */

#endif
