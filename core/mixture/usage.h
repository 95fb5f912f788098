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
    bool dead;              /* an expert is hardly used: clvi_usage_dead */
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

/* Mutual information in bits between the expert of the largest weight and the class, with the
 * correction of Miller and Madow (it may fall below 0), and *shuffled: its mean over 20 fixed
 * shuffles of the labels, which is what chance gives. Samples that nobody took are left out.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_usage_information(const clvi_usage_input *input, double *bits, double *shuffled,
                                  clv_error *error) CLV_MUST_CHECK;

/* Turns a gate [experts] and the experts' logits [experts, classes] of one sample into what the
 * mixture would say: scores [classes], of which the largest is the answer. */
typedef void (*clvi_usage_fuse)(void *user, const double *gate, const float *logits,
                                double *scores);

/* Shares of right answers. NAN where there is no sample. */
typedef struct clvi_usage_worth {
    double fused, uniform,
        shuffled;  /* the gate as it is, all experts alike, another sample's gate */
    double oracle; /* some expert is right */
} clvi_usage_worth;
/* logits: [samples, experts, classes]. alone: [experts], each expert by itself; without: [experts],
 * the mixture without it, its weight given to the others in proportion (in equal parts where it was
 * the only one). Errors: CLV_E_MEMORY. */
clv_status clvi_usage_accuracy(const clvi_usage_input *input, const float *logits,
                               clvi_usage_fuse fuse, void *user, clvi_usage_worth *out,
                               double *alone, double *without, clv_error *error) CLV_MUST_CHECK;

/* ---- Two experts of a mixture ---- */

/* How alike their errors are. */
typedef struct clvi_usage_pair {
    double disagreement; /* share of samples on which they answer differently */
    double yule_q;       /* correlation of their errors, -1 … 1; NAN where it is not defined */
} clvi_usage_pair;
void clvi_usage_compare(const clvi_usage_input *input, const float *logits, int first, int second,
                        clvi_usage_pair *out);

#endif
