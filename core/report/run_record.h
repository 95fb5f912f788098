/* What a finished run left in its folder, read for a comparison. */
#ifndef CLVI_RUN_RECORD_H
#define CLVI_RUN_RECORD_H

#include "train/predictions.h"
#include "train/scores.h"

#include <jansson.h>

/* A line of metrics.csv of validation, with the time until then. What experts started from counts
 * as trained before: its time is added, and the longest one's epochs. */
typedef struct clvi_epoch_record {
    int64_t epoch;
    double seconds; /* of training and validation since the begin, start_seconds included */
    double train_loss, train_top1; /* of the steps as they ran, augmented; NAN: not known */
    double val_loss, val_top1;
    double lr; /* of its last step */
} clvi_epoch_record;

typedef struct clvi_run_record {
    char *path;      /* of the folder */
    json_t *summary; /* the whole of summary.json */
    int64_t epochs, best_epoch;
    int64_t classes; /* 0: not known */
    int64_t parameters, trainable;
    int64_t multiply_adds, active; /* of an image, forward; -1: not known */
    int64_t peak_bytes;
    double seconds;           /* of training and validation, as metrics.csv has them */
    double images_per_second; /* of training; NAN: not known */
    /* Of the runs that its experts start from (init): all their time, that of each run once, and
     * the most epochs; 0: there are none; NAN and -1: they cannot be read any more. */
    double start_seconds;
    int64_t start_epochs;
    clvi_score_summary scores[CLVI_SPLIT_COUNT]; /* count 0: no such split */
    clvi_epoch_record *history;
    size_t history_count;
    clvi_split judged;            /* the test images, or those of validation where there are none */
    clvi_predictions predictions; /* of these */
} clvi_run_record;

/* Reads summary.json, metrics.csv, predictions.csv and (where it is there, for the classes)
 * per_class.csv in the folder `run`, and what those that its experts start from took. Errors:
 * CLV_E_DATA when the run has not ended, CLV_E_FORMAT, CLV_E_IO, CLV_E_MEMORY. The caller frees
 * with clvi_run_record_fini. */
clv_status clvi_run_record_read(const char *run, clvi_run_record *out,
                                clv_error *error) CLV_MUST_CHECK;
/* The same of a run that may not have ended, or is of an older version: what is not there is
 * unknown (NAN, -1, a count of 0, summary NULL), and the history is the run's own, whatever its
 * experts start from. */
clv_status clvi_run_record_read_some(const char *run, clvi_run_record *out,
                                     clv_error *error) CLV_MUST_CHECK;
void clvi_run_record_fini(clvi_run_record *record);

/* Epochs of the run and before it, start_epochs; where nothing was trained in it, of these alone.
 * -1: not known. */
int64_t clvi_run_record_epochs(const clvi_run_record *record);

/* The best validation accuracy of the epochs that had ended after `seconds`, and of the first
 * `epochs`; NAN where there is none. */
double clvi_run_record_within_seconds(const clvi_run_record *record, double seconds);
double clvi_run_record_within_epochs(const clvi_run_record *record, int64_t epochs);

/* The first epoch with a training NLL below half of ln(classes), which is what guessing has, with
 * the epochs and seconds until its end; NULL where there is none, or nothing was trained. */
const clvi_epoch_record *clvi_run_record_half_way(const clvi_run_record *record);

#endif
