/* The text files of a run: metrics.csv, log.txt, and JSON such as summary.json. */
#ifndef CLVI_RUN_FILES_H
#define CLVI_RUN_FILES_H

#include "base/process.h"
#include "train/row_file.h"
#include "train/scores.h"

#include <jansson.h>

/* A row of metrics.csv. Numbers that are not finite are left empty. Fractions are 0 to 1. */
typedef struct clvi_metrics_row {
    int64_t epoch;     /* from 1 */
    int64_t step;      /* global steps done */
    const char *split; /* "train", "val", "test" */
    double loss, top1, top5;
    double lr;                /* of the epoch's last step */
    double seconds;           /* that this pass took */
    double images_per_second; /* in it */
    int64_t trainable;        /* parameters that trained in this epoch */
    /* Training with a sparse gate, else not finite: shares of the assignments that were dropped and
     * of the images that no expert took, which the other figures leave out. */
    double dropped, unrouted;
} clvi_metrics_row;

/* Opens metrics.csv at `path`; see clvi_row_file_open. */
clv_status clvi_metrics_csv_open(const char *path, clvi_row_file **out,
                                 clv_error *error) CLV_MUST_CHECK;
/* Appends a row. Errors: CLV_E_IO. */
clv_status clvi_metrics_csv_add(clvi_row_file *file, const clvi_metrics_row *row,
                                clv_error *error) CLV_MUST_CHECK;

typedef struct clvi_log_file clvi_log_file;
/* Opens log.txt at `path` for appending. The caller closes. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_log_file_open(const char *path, clvi_log_file **out,
                              clv_error *error) CLV_MUST_CHECK;
/* Appends "2025-01-31 12:34:56  line" (local time; "error: " and "warning: " before lines of those
 * levels) and flushes. Has the signature of clvi_log_sink with `file`, a clvi_log_file, as `user`.
 * A full disk does not stop a run: failures are ignored. */
void clvi_log_file_write(void *file, clvi_log_level level, const char *line);
void clvi_log_file_close(clvi_log_file *file); /* NULL allowed */

/* Writes `value` to `path`, indented, whole or not at all. Errors: CLV_E_IO, CLV_E_MEMORY. Borrows
 * the value. */
clv_status clvi_json_write(const char *path, const json_t *value, clv_error *error) CLV_MUST_CHECK;
/* A JSON number, or null when it is not finite. A new reference; NULL when memory is exhausted. */
json_t *clvi_json_real(double value);
/* An object with every field of the scores but not_finite, under its name; shares are fractions. A
 * new reference; NULL when memory is exhausted. */
json_t *clvi_score_json(const clvi_score_summary *scores);

#endif
