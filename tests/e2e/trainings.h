/* Trainings inside the test program: small networks on pictures of noise, on the device that
 * CONCLAVE_DEVICE chooses. Every call fails the running cmocka test where it cannot do its work. */
#ifndef TRAININGS_H
#define TRAININGS_H

#include "train/run_dir.h"
#include "train/train.h"

enum { TRAINING_CLASSES = 4, TRAINING_IMAGES = 32, TRAINING_SIDE = 8 };

/* Opens the device and draws TRAINING_IMAGES pictures of TRAINING_CLASSES equally large classes
 * into a new folder, which becomes the working directory. Returns the exit status for main where
 * there is no device, otherwise 0. */
int trainings_begin(const char *plugins);
/* Returns 0 where no device buffer is left. */
int trainings_end(void);
/* main of a program whose argument is the folder of plugins: all `tests` between the two. */
struct CMUnitTest;
int trainings_run(int argc, char **argv, const struct CMUnitTest *tests, size_t count);
clvi_device *trainings_device(void);
clvi_plugins *trainings_plugins(void);

/* A configuration: 8×8 pictures, a cnn of widths 4, 6 with dropout 0.3 (a quarter of the pictures
 * validate: 24 train), plus `text`, lines "[section]\nkey = value". The caller destroys it. */
clvi_config *trainings_config(const char *text);
/* The mixture that a configuration describes, on that device, of grey pictures of TRAINING_SIDE in
 * batches of up to max_batch. */
clvi_mixture_desc trainings_mixture(const clvi_config *config, int64_t max_batch, bool train);
/* The pictures, opened by a configuration. The caller closes. */
clvi_dataset *trainings_data(const clvi_config *config);

/* One call of clvi_train in the folder `run`, which is made. */
typedef struct training {
    const char *config; /* for trainings_config */
    const char *run;
    bool resume;
    int64_t stop_at;             /* ask to stop at this call of progress, from 1; 0: never */
    clvi_progress_call progress; /* NULL allowed */
    void *user;
    int64_t calls; /* out: of progress */
    clvi_train_result result;
    clv_error error;
} training;
clv_status training_run(training *t);

/* Whether two files have the same bytes, at least one of them. */
bool same_file(const char *a, const char *b);
/* The same for metrics.csv of two runs, without the columns of time. */
bool same_metrics(const char *run_a, const char *run_b);
/* Numbers of a table of the run, behind the epoch and `names` columns of names, of the rows of an
 * epoch: `width` each, one row behind the other; NAN where a field is empty. rows has room for
 * TABLE_NUMBERS. Returns how many rows there are. */
enum { TABLE_NUMBERS = 512 };
int read_numbers(const char *run, const char *table, int epoch, size_t names, size_t width,
                 double *rows);
/* The numbers of signals.csv and signal_pairs.csv. */
enum {
    SIGNAL_SHARE,
    SIGNAL_FIRST,
    SIGNAL_WEIGHT,
    SIGNAL_POSTERIOR,
    SIGNAL_TOP1,
    SIGNAL_LOGIT_GRADIENT,
    SIGNAL_GRADIENT,
    SIGNAL_ENTROPY,
    SIGNAL_POSTERIOR_ENTROPY,
    SIGNAL_COLUMNS
};
enum { PAIR_DISAGREEMENT, PAIR_YULE_Q, PAIR_COSINE, PAIR_DISTANCE, PAIR_COLUMNS };
/* Within 1e-5. */
void expect_close(double a, double b);
/* Largest difference between tensors of two checkpoints; only of those without "optimizer." in
 * front. */
double weights_apart(const char *path_a, const char *path_b);

#endif
