/* silu: y = x·sigmoid(x). Inputs: x f32 of any shape. Output: y, as x. Backward reads x.
 * Kernels: kernels/silu.cl. Reference: tests/ref/silu_ref.c. */
#include "ops/unary.h"

const clvi_op clvi_op_silu = {
    .name = "silu",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = clvi_unary_shape,
    .needs = clvi_unary_needs_of_x,
    .forward = clvi_unary_forward,
    .backward = clvi_unary_backward_of_x,
    .again = clvi_unary_forward,
    .again_inputs = 1,
};
