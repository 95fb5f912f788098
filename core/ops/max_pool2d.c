/* max_pool2d: maximum over windows. Input: x [N, H, W, C] f32. Output: y [N, H', W', C].
 * Attributes: kernel, stride, pad. Padded pixels are ignored. Training saves a byte per output, the
 * place of the maximum in its window, so that backward reads neither x nor y. Kernels:
 * kernels/max_pool2d.cl. Reference: tests/ref/max_pool2d_ref.c. */
#include "ops/pool2d.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    return clvi_pool2d_shape(r, "max_pool2d", error);
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const clv_shape *y = clvi_out_shape(graph, node, 0);
    const int64_t words = (clvi_shape_elements(y) + 3) / 4;
    if (wants_grad != 0)
        out->saved[0] = clvi_amount_of(y, words);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->out[0], run->saved[0], run->in[0]};
    return clvi_pool2d_launch(run, "max_pool2d_fwd", views, 3, false, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->saved[0]};
    return clvi_pool2d_launch(run, "max_pool2d_bwd", views, 3, true, error);
}

const clvi_op clvi_op_max_pool2d = {
    .name = "max_pool2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = clvi_pool2d_attr_specs,
    .attr_count = CLVI_POOL2D_ATTRS,
    .attr_bytes = sizeof(clvi_pool2d_attrs),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
