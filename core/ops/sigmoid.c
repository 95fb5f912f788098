/* sigmoid: y = 1/(1 + exp(-x)). Inputs: x f32 of any shape. Output: y, as x. Backward reads y only.
 * Kernels: kernels/sigmoid.cl. Reference: tests/ref/sigmoid_ref.c. */
#include "ops/unary.h"

const clvi_op clvi_op_sigmoid = {
    .name = "sigmoid",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = clvi_unary_shape,
    .needs = clvi_unary_needs_of_y,
    .forward = clvi_unary_forward,
    .backward = clvi_unary_backward_of_y,
};
