/* sigmoid: y = 1/(1 + exp(-x)). Inputs: x f32 of any shape. Output: y, as x. Backward reads y only,
 * so that x need not be kept. Kernels: kernels/sigmoid.cl. Reference: tests/ref/sigmoid_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    if (r->inputs[0]->dtype != CLV_F32)
        CLVI_SHAPE_FAIL(error, "sigmoid", r, "the input must be f32");
    r->outputs[0] = *r->inputs[0];
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode;
    out->backward_outputs = wants_grad != 0;
    out->forward_in_place = 1;
    out->grad_in_place = 1;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const int64_t total = clvi_out_total(run);
    const clvi_share share = clvi_share_of(total, 2, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "sigmoid", "sigmoid_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const int64_t total = clvi_out_total(run);
    const clvi_share share = clvi_share_of(total, 3, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "sigmoid", "sigmoid_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

const clvi_op clvi_op_sigmoid = {
    .name = "sigmoid",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
