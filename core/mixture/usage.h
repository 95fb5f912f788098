/* How a gate uses its experts, and what each of them is worth: counts, entropies, the information
 * that the choice carries about the class, accuracies with other gates. Pure functions on the host,
 * in double; README.md in this folder says what the figures mean. */
#ifndef CLVI_USAGE_H
#define CLVI_USAGE_H

#include "base/memory.h"

#include <stdbool.h>

/* What a mixture did with N samples. Borrowed during a call. */
typedef struct clvi_usage_input {
    size_t samples;
    int experts, classes;
    const float *gate;     /* [samples, experts], >= 0; exactly 0: not sent there */
    const int32_t *labels; /* [samples] in 0 … classes - 1 */
} clvi_usage_input;

/* Over a group of samples. */
typedef struct clvi_usage {
    int64_t samples;
    int64_t unrouted;    /* samples that no expert took */
    int64_t assignments; /* pairs of a sample and an expert that it was sent to */
    double mean_entropy; /* of the gate, mean over the samples / ln K: 0 one expert, 1 all alike */
    double entropy_of_mean; /* of the mean gate / ln K: 0 always the same expert, 1 all alike */
} clvi_usage;

/* One expert's part in it. */
typedef struct clvi_usage_expert {
    int64_t assigned;
    int64_t first;       /* samples for which its weight is the largest (of equal ones the first) */
    double share;        /* of all assignments */
    double weight_share; /* mean of its weight, a sample's weights brought to sum 1 */
} clvi_usage_expert;

/* Counts the samples of which group[n] == value; group NULL: all. experts: [input->experts]. For K
 * = 1 the entropies are 1. */
void clvi_usage_count(const clvi_usage_input *input, const int32_t *group, int32_t value,
                      clvi_usage *out, clvi_usage_expert *experts);
/* Whether an expert of a group is dead: its share of assignments or of weights is below 1/(10 K).
 */
bool clvi_usage_dead(const clvi_usage_expert *expert, int experts);

/* Entropy of one sample's weights, [experts], brought to sum 1, over ln K: 0 one expert, 1 all
 * alike. NAN where nobody took it; 1 for K = 1. */
double clvi_usage_entropy(const float *gate, int experts);

/* How the weights of an expert are distributed, a sample's weights brought to sum 1: counts[b], b
 * from 0, of the samples whose weight is at least b / bins and below (b + 1) / bins, 1 among the
 * last ones; *none: of those that it was not sent, with a weight of 0, which stand in no bin.
 * Samples that nobody took are left out. */
void clvi_usage_histogram(const clvi_usage_input *input, int expert, int bins, int64_t *counts,
                          int64_t *none);

/* Mutual information in bits between the expert of the largest weight and the class, with the
 * correction of Miller and Madow (it may fall below 0), and *shuffled: its mean over 20 fixed
 * shuffles of the labels, which is what chance gives. Samples that nobody took are left out.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_usage_information(const clvi_usage_input *input, double *bits, double *shuffled,
                                  clv_error *error) CLV_MUST_CHECK;

/* ---- What each expert is worth ---- */

/* The classes that n samples' logits [n, experts, classes] say: out [n, experts]. */
void clvi_usage_answers(const float *logits, size_t n, int experts, int classes, int32_t *out);
/* Shares of right answers: alone [experts], of each by itself; *oracle: some expert is right.
 * answers: [samples, experts]. NAN without samples. */
void clvi_usage_alone(const clvi_usage_input *input, const int32_t *answers, double *alone,
                      double *oracle);

/* How alike the errors of two experts are. */
typedef struct clvi_usage_pair {
    double disagreement; /* share of samples on which they answer differently */
    double yule_q;       /* correlation of their errors, -1 … 1; NAN where it is not defined */
} clvi_usage_pair;
/* Of counts: both right, none, only the first, only the second. NAN where it is not defined. */
double clvi_usage_yule_q(double both, double none, double first, double second);
void clvi_usage_compare(const clvi_usage_input *input, const int32_t *answers, int first,
                        int second, clvi_usage_pair *out);

/* ---- Other gates ---- */

/* In place of the gate of `n` samples from `from` on, [n, experts]: all experts alike; the gate of
 * another sample, order[sample]; the gate without expert `without`, whose weight goes to the others
 * in proportion, or in equal parts where it was the only one (two experts or more). */
void clvi_usage_uniform(const clvi_usage_input *input, size_t n, float *out);
void clvi_usage_shuffled(const clvi_usage_input *input, const uint32_t *order, size_t from,
                         size_t n, float *out);
void clvi_usage_without(const clvi_usage_input *input, int without, size_t from, size_t n,
                        float *out);
/* A fixed permutation of `count` samples, which the caller frees. Errors: CLV_E_MEMORY. */
clv_status clvi_usage_shuffle(size_t count, uint32_t number, uint32_t **out,
                              clv_error *error) CLV_MUST_CHECK;

#endif
