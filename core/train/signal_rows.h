/* signals.csv and signal_pairs.csv of a mixture in training: a row per epoch and network, and per
 * epoch and two experts; and between two reads the sums that they are made of. README.md in this
 * folder says what the columns are. */
#ifndef CLVI_SIGNAL_ROWS_H
#define CLVI_SIGNAL_ROWS_H

#include "mixture/mixture.h"

typedef struct clvi_signal_rows clvi_signal_rows;

/* Opens both files in the folder of the run. *out is NULL for a mixture without signals: nothing is
 * to be written then, and what follows does nothing. The pointers outlive it. Errors: those of
 * clvi_row_file_open. The caller destroys. */
clv_status clvi_signal_rows_open(const char *run_dir, const clvi_config *config,
                                 clvi_mixture *mixture, int classes, clvi_signal_rows **out,
                                 clv_error *error) CLV_MUST_CHECK;
void clvi_signal_rows_close(clvi_signal_rows *rows); /* NULL allowed */

/* The sums of the running epoch as they were last taken, for a checkpoint within it; *count: words.
 * NULL, and 0, without signals. They may be written. */
uint32_t *clvi_signal_rows_words(clvi_signal_rows *rows, size_t *count);

/* The steps that follow go on from the sums, or (fresh) from 0. */
clv_status clvi_signal_rows_begin(clvi_signal_rows *rows, bool fresh,
                                  clv_error *error) CLV_MUST_CHECK;
/* Takes the sums off the device. Waits. */
clv_status clvi_signal_rows_take(clvi_signal_rows *rows, clv_error *error) CLV_MUST_CHECK;
/* Writes the rows of `epoch`, from 1, out of what was taken, and warns, once in its life, of an
 * expert that was hardly used in it. Errors: CLV_E_IO. */
clv_status clvi_signal_rows_write(clvi_signal_rows *rows, int64_t epoch,
                                  clv_error *error) CLV_MUST_CHECK;

#endif
