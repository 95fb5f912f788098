/* Which sizes of a tuning record are tried, in which order, and when one is taken. Knows nothing of
 * devices: whoever calls measures. */
#ifndef CONCLAVE_TUNE_SEARCH_H
#define CONCLAVE_TUNE_SEARCH_H

#include "base/text.h"

/* Values that differ from the shipped record's. */
enum { TUNE_MOST_KEYS = 12 };
typedef struct tune_item {
    const char *key; /* static storage */
    int value;
    double gain; /* times as fast as without it, when it was taken */
} tune_item;
typedef struct tune_values {
    tune_item items[TUNE_MOST_KEYS];
    size_t count;
} tune_values;
/* Lines of a record; with_gains: each with a comment. */
void tune_values_text(const tune_values *values, bool with_gains, clvi_text *out);

bool tune_values_equal(const tune_values *a, const tune_values *b);

/* How a candidate did against what is best so far. */
typedef struct tune_outcome {
    double gain;       /* times as fast; the mean over configurations */
    double worst;      /* of the configuration that it suits least */
    char dropped[200]; /* why it cannot be taken at all: it does not build, computes wrongly; "" */
} tune_outcome;

typedef struct tune_search {
    /* Of the shipped record; asked for the keys that the form has. */
    int (*shipped)(void *user, const char *key);
    /* Both are values over the shipped ones. An error ends the search. */
    clv_status (*measure)(void *user, const tune_values *best, const tune_values *candidate,
                          tune_outcome *out, clv_error *error);
    /* Before each candidate (outcome NULL) and after it. what: "gemm_mr = 8, gemm_nv = 2"; left:
     * seconds that the search will take yet, 0: not known. */
    void (*say)(void *user, const char *what, const tune_outcome *outcome, bool taken, double left);
    double (*now)(void); /* seconds */
    void *user;
    bool tiled;       /* the form of the record */
    bool quick;       /* fewer candidates */
    size_t max_group; /* work-items per work-group of the device */
    double until;     /* of now(): nothing is begun that would take longer */
} tune_search;

/* A candidate is taken when it is so many times as fast, and no configuration falls below the
 * other; and again so, measured once more. */
#define TUNE_GAIN  1.03
#define TUNE_WORST 0.98

/* One key after the other, or those that go together, the cheap ones first; in a long search twice,
 * if the first time changed anything. *whole: false when time was over before. */
clv_status tune_search_run(const tune_search *search, tune_values *out, bool *whole,
                           clv_error *error) CLV_MUST_CHECK;

/* How many times as fast b is as a, from times measured in turn (a[i] beside b[i]), n >= 1, by the
 * median of the ratios and by the ratio of the shortest times: the one nearer to 1 where both agree
 * on the faster, 1 where they do not. Sorts nothing. */
enum { TUNE_MOST_ROUNDS = 32 };
double tune_gain(const double *a, const double *b, size_t n);
/* Whether something else disturbed these measurements of the same: they differ by more than a
 * tenth.
 */
bool tune_disturbed(const double *times, size_t n);

#endif
