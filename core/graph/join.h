/* Nodes that run as part of others: a factor per channel goes into the convolution that is its only
 * reader (squeeze-excite); a mean over pixels into the depthwise convolution that makes them. In
 * inference also a sum, a sigmoid, a pooling of 2 × 2, and dropout, which does nothing then, into
 * the node whose output only they read; a depthwise convolution into the 1 × 1 convolution before
 * it, and squeeze-excite's dense layers behind the mean that has joined. A launch and a pass over
 * memory less for each, in training two more of the way back; results differ by rounding only.
 *
 * In training what joined is like any input and output of the node: the convolution gives the
 * gradient to the factors, the maker of a mean takes the mean's. */
#ifndef CLVI_JOIN_H
#define CLVI_JOIN_H

#include "graph/plan_internal.h"

/* Changes the plan's steps, which have been chosen but nothing else, by what op->joins offers. A
 * tensor that is wanted, or bound from outside, keeps its node. Error: CLV_E_MEMORY. */
clv_status clvi_plan_join(clvi_plan *plan, const clvi_plan_desc *desc,
                          clv_error *error) CLV_MUST_CHECK;

#endif
