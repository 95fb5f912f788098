/* What the experts of a mixture do with the samples of training, and what is sent back to them:
 * sums that stay on the device until somebody reads them. README.md in this folder says what the
 * figures mean. */
#ifndef CLVI_SIGNALS_H
#define CLVI_SIGNALS_H

#include "mixture/fusion.h"
#include "runtime/runtime.h"

typedef struct clvi_signals clvi_signals;

typedef struct clvi_signals_desc {
    clvi_device *device;
    const clvi_fusion *fusion; /* two experts or more; read during the call */
    int classes;
    int64_t max_batch;
    bool answers;         /* the experts' logits are answers */
    int64_t most_product; /* elements of the longest clvi_signals_add_product */
} clvi_signals_desc;

/* All sums are 0. Everything is allocated here. Errors: CLV_E_MEMORY. The caller destroys. */
clv_status clvi_signals_create(const clvi_signals_desc *desc, clvi_signals **out,
                               clv_error *error) CLV_MUST_CHECK;
void clvi_signals_destroy(clvi_signals *signals); /* NULL allowed */

/* Adds n samples after their forward: route [n, K], buf NULL: equal weights; logits [n, K, C] of
 * the experts, not read where they are no answers; labels [n] i32. Enqueues only. */
clv_status clvi_signals_add(clvi_signals *signals, clvi_view route, clvi_view logits,
                            clvi_view labels, int64_t n, clv_error *error) CLV_MUST_CHECK;
/* Adds the gradients to their logits, [n, K, C], divided by `share`, what a sample counts in the
 * loss. Enqueues only. */
clv_status clvi_signals_add_gradients(clvi_signals *signals, clvi_view gradients, int64_t n,
                                      double share, clv_error *error) CLV_MUST_CHECK;

/* A piece of what two parts have side by side: gradients and values, `elements` of each. */
typedef struct clvi_signals_piece {
    clvi_view gradients[2], values[2];
    int64_t elements;
} clvi_signals_piece;
/* Adds a piece of parts `first` and `second`, experts by their number, the gate by that of the
 * experts; the same twice: the part alone. Gradients count times `factor`. begins: it is the first
 * piece of this step. Enqueues only. */
clv_status clvi_signals_add_product(clvi_signals *signals, size_t first, size_t second,
                                    const clvi_signals_piece *piece, double factor, bool begins,
                                    clv_error *error) CLV_MUST_CHECK;

/* Copies the words out of the device, or into it; what is taken and put back goes on with the same
 * bits. The first waits. */
size_t clvi_signals_words(size_t experts);
clv_status clvi_signals_take(clvi_signals *signals, uint32_t *words,
                             clv_error *error) CLV_MUST_CHECK;
clv_status clvi_signals_put(clvi_signals *signals, const uint32_t *words,
                            clv_error *error) CLV_MUST_CHECK;
uint64_t clvi_signals_bytes(const clvi_signals *signals); /* of device memory */

/* ---- What the words mean ---- */

/* NAN: not known. */
typedef struct clvi_signals_gate {
    int64_t samples;
    int64_t assignments;
    double entropy;           /* of the weights, mean over the samples / ln K */
    double posterior_entropy; /* of the posterior */
} clvi_signals_gate;
void clvi_signals_gate_of(const uint32_t *words, size_t experts, clvi_signals_gate *out);

typedef struct clvi_signals_expert {
    double share;          /* of the assignments */
    double first;          /* share of the samples for which its weight is the largest */
    double weight;         /* mean, a sample's weights brought to sum 1 */
    double posterior;      /* mean */
    double top1;           /* share of right answers among the samples that it got */
    double logit_gradient; /* root mean square of ∂L/∂o over these, L a sample's loss */
} clvi_signals_expert;
void clvi_signals_expert_of(const uint32_t *words, size_t experts, int classes, size_t index,
                            clvi_signals_expert *out);

typedef struct clvi_signals_pair {
    double disagreement; /* share of the samples of both on which they answer differently */
    double yule_q;       /* correlation of their errors, -1 … 1 */
    double cosine;       /* of their gradients, over all steps that were looked at */
    double distance;     /* of their values / the root mean square of their lengths */
} clvi_signals_pair;
/* first < second */
void clvi_signals_pair_of(const uint32_t *words, size_t experts, size_t first, size_t second,
                          clvi_signals_pair *out);

/* Root mean square, over the steps that were looked at, of the length of the gradient of an expert,
 * or (index = experts) the gate: divided by the root of its elements it is that of one element.
 * NAN: none was. */
double clvi_signals_gradient_of(const uint32_t *words, size_t experts, size_t index);

#endif
