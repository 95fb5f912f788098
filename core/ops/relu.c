/* relu: y = max(x, 0). Inputs: x f32 of any shape. Output: y, as x. Backward reads y only.
 * Kernels: kernels/relu.cl. Reference: tests/ref/relu_ref.c. */
#include "ops/unary.h"

const clvi_op clvi_op_relu = {
    .name = "relu",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = clvi_unary_shape,
    .needs = clvi_unary_needs_of_y,
    .forward = clvi_unary_forward,
    .backward = clvi_unary_backward_of_y,
};
