/* avg_pool2d: mean over windows. Input: x [N, H, W, C] f32. Output: y [N, H', W', C]. Attributes:
 * kernel, stride, pad. Padded pixels are not counted. Backward reads nothing but grad y.
 * Kernels: kernels/avg_pool2d.cl. Reference: tests/ref/avg_pool2d_ref.c. */
#include "ops/pool2d.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    return clvi_pool2d_shape(r, "avg_pool2d", error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->out[0], run->in[0]};
    return clvi_pool2d_launch(run, "avg_pool2d_fwd", views, 2, false, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0]};
    return clvi_pool2d_launch(run, "avg_pool2d_bwd", views, 2, true, error);
}

const clvi_op clvi_op_avg_pool2d = {
    .name = "avg_pool2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = clvi_pool2d_attr_specs,
    .attr_count = CLVI_POOL2D_ATTRS,
    .attr_bytes = sizeof(clvi_pool2d_attrs),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
