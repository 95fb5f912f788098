/* What dropout and drop_path share: in training each draws from the run's random numbers what it
 * keeps, forward and backward alike, and divides that by 1 - rate; in inference y = x. */
#ifndef CLVI_SAMPLE_DROP_H
#define CLVI_SAMPLE_DROP_H

#include "ops/op.h"

typedef struct clvi_sample_drop_attrs {
    double rate;
} clvi_sample_drop_attrs;

/* The attribute `rate`, in [0, 1). */
#define CLVI_SAMPLE_DROP_RATE(value)                                                               \
    {                                                                                              \
        .name = "rate", .type = CLV_ATTR_REAL, .offset = offsetof(clvi_sample_drop_attrs, rate),   \
        .default_value = (value), .min = 0, .max = 0.999                                           \
    }

/* x f32, led by the batch → y, as x. */
clv_status clvi_sample_drop_shape(clvi_shape_request *request, clv_error *error) CLV_MUST_CHECK;
/* Nothing; x and y may be one memory, and so may their gradients. */
void clvi_sample_drop_needs(const clvi_device *device, const clv_graph *graph,
                            const clvi_node *node, clv_mode mode, uint32_t wants_grad,
                            clvi_needs *out);
/* Launch the kernel <op>_apply of kernels/<op>.cl. */
clv_status clvi_sample_drop_forward(const clvi_run *run, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_sample_drop_backward(const clvi_run *run, clv_error *error) CLV_MUST_CHECK;

#endif
