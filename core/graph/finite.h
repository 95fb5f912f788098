/* Finding numbers that are not finite: where in a plan's run they appear first. */
#ifndef CLVI_FINITE_H
#define CLVI_FINITE_H

#include "graph/plan.h"

/* Adds to counts[slot], u32 on the device, how many of `elements` floats at x are infinite or no
 * number. Enqueues only. */
clv_status clvi_finite_count(clvi_device *device, clvi_buf *counts, uint64_t slot, clvi_view x,
                             int64_t elements, clv_error *error) CLV_MUST_CHECK;

/* From now on each run of the plan looks at what every node writes: its f32 outputs in forward, and
 * the gradients in backward. Costs a kernel for each of them; nothing waits. */
clv_status clvi_plan_watch(clvi_plan *plan, clv_error *error) CLV_MUST_CHECK;

/* Where numbers that are not finite were written first. Strings live as long as the graph. */
typedef struct clvi_finding {
    bool found, backward;
    const char *node, *op; /* "features.0.conv", "conv2d" */
    const char *tensor;    /* whose value (forward) or gradient (backward) it is */
    int64_t count;         /* of them in it */
} clvi_finding;

/* What was found since the last forward began, in a plan that is watched. Waits. */
clv_status clvi_plan_watched(const clvi_plan *plan, clvi_finding *out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
