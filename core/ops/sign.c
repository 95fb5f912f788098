/* sign: y = 1 where x > 0, -1 where x < 0, 0 where x is 0; a NaN stays one. Input: x f32 of any
 * shape. Output: y, as x. The gradient of x is zero. Kernels: kernels/sign.cl. Reference:
 * tests/ref/sign_ref.c. */
#include "ops/share.h"
#include "ops/unary.h"

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode, (void)wants_grad;
    out->forward_in_place = 1;
    out->grad_in_place = 1;
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return clvi_fill(run->device, run->grad_in[0].buf, (size_t)run->grad_in[0].offset * 4,
                     (size_t)clvi_out_total(run) * 4, 0, error);
}

const clvi_op clvi_op_sign = {
    .name = "sign",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = clvi_unary_shape,
    .needs = needs,
    .forward = clvi_unary_forward,
    .backward = backward,
};
