/* softmax over the last axis. Input: x [N, …, C] f32. Output: y, as x, each row ≥ 0 and of sum 1.
 * Backward reads y. Kernels: kernels/softmax.cl. Reference: tests/ref/softmax_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0];
    if (x->dtype != CLV_F32 || x->rank < 2) {
        char text[64];
        CLVI_SHAPE_FAIL(error, "softmax", r, "the input is %s; it must be [N, …, C] f32",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = *x;
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

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const clv_shape *s = clvi_out_shape(run->graph, run->node, 0);
    const int64_t columns = s->dims[s->rank - 1];
    const int64_t each = clvi_shape_elements(s) / columns;
    const int64_t rows = clvi_shape_batched(s) ? run->n * each : each;
    const clvi_share share = clvi_share_of(rows, 2 * columns, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "softmax", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "softmax_fwd", (clvi_view[]){run->out[0], run->in[0]}, 2, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->out[0]};
    return launch(run, "softmax_bwd", views, 3, error);
}

const clvi_op clvi_op_softmax = {
    .name = "softmax",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
