/* Training a mixture on a data set: the loop over epochs, validation, the best epoch, checkpoints and
 * the run's folder. Validation alone chooses; test images are read once, at the end. */
#ifndef CLVI_TRAIN_H
#define CLVI_TRAIN_H

#include "data/dataset.h"
#include "mixture/mixture.h"
#include "train/progress.h"
#include "train/scores.h"

/* Called from the training thread; must be quick. */
typedef void (*clvi_progress_call)(void *user, const clvi_progress *progress);

typedef struct clvi_train_desc {
    const clvi_config *config;
    clvi_dataset *data; /* opened as the configuration says; has training and validation images */
    clvi_plugins *plugins;
    clvi_device *device;
    const char *run_dir; /* exists, from clvi_run_create */
    clvi_progress_call progress; /* NULL: nobody watches */
    void *user;
} clvi_train_desc;

typedef struct clvi_train_result {
    int64_t epochs, best_epoch; /* trained; whose weights are kept as best */
    double seconds;             /* of training, validation and checkpoints, without warming up */
    double warm_seconds;        /* building plans, compiling kernels */
    bool stopped_early;         /* patience or max_seconds ended it */
    bool has_test;
    clvi_score_summary train, val, test; /* of the best epoch, unaugmented, inference mode */
} clvi_train_result;

/* Trains and writes the run's folder: config.ini, metrics.csv, log.txt (through the caller's sink),
 * last and best checkpoints, summary.json. Errors: those of data, device and files;
 * CLV_E_NUMERIC when the loss is no finite number, naming epoch and step. The same seed, data,
 * device and driver give the same bits. */
clv_status clvi_train(const clvi_train_desc *desc, clvi_train_result *out,
                      clv_error *error) CLV_MUST_CHECK;

/* Scores a split: forward over all its images, in order. */

typedef struct clvi_evaluate_desc {
    clvi_mixture *mixture;
    clvi_dataset *data;
    clvi_split split;
    int64_t batch;
    clvi_progress_call progress;
    void *user;
} clvi_evaluate_desc;
clv_status clvi_evaluate(const clvi_evaluate_desc *desc, clvi_scores *scores,
                         clv_error *error) CLV_MUST_CHECK;

/* How [data] of a configuration opens a data set. The strings live as long as the configuration. */
clvi_data_options clvi_train_data_options(const clvi_config *config);

/* "top1 98.53 % (95 % interval 98.2-98.8), nll 0.053, …" for logs. Returns `out`. */
const char *clvi_score_text(const clvi_score_summary *s, char *out, size_t bytes);

#endif
