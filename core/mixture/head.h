/* The head: from the experts' outputs and the labels to the loss. A graph of the core's own. */
#ifndef CLVI_HEAD_H
#define CLVI_HEAD_H

#include "graph/graph.h"

/* Inputs of the head's graph, in this order. */
enum { CLVI_HEAD_LOGITS /* [N, C] f32 */, CLVI_HEAD_LABELS /* [N] i32 */ };

/* Outputs "nll" [N]: the negative log-likelihood of every sample's class, which is reported; "loss"
 * [N]: the same against labels that are smoothed (0 … 1), which is learnt from; without smoothing
 * they are one tensor. */
clv_status clvi_head_build(int classes, double smoothing, clv_graph **out,
                           clv_error *error) CLV_MUST_CHECK;

#endif
