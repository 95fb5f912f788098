#include "ops/unary.h"

#include "ops/share.h"

#include <stdio.h>

clv_status clvi_unary_shape(clvi_shape_request *r, clv_error *error)
{
    if (r->inputs[0]->dtype != CLV_F32)
        CLVI_SHAPE_FAIL(error, r->op->name, r, "the input must be f32");
    r->outputs[0] = *r->inputs[0];
    return CLV_OK;
}

void clvi_unary_needs_of_y(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                           clv_mode mode, uint32_t wants_grad, clvi_needs *needs)
{
    (void)device, (void)graph, (void)node, (void)mode;
    needs->backward_outputs = wants_grad != 0;
    needs->forward_in_place = 1;
    needs->grad_in_place = 1;
}

void clvi_unary_needs_of_x(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                           clv_mode mode, uint32_t wants_grad, clvi_needs *needs)
{
    (void)device, (void)graph, (void)node, (void)mode;
    needs->backward_inputs = wants_grad != 0;
    needs->forward_in_place = wants_grad == 0;
    needs->grad_in_place = 1;
}

/* Launches OP_PASS over views[0..count), the first of which is written. */
static clv_status launch(const clvi_run *run, const char *pass, const clvi_view *views, int count,
                         clv_error *error)
{
    const int64_t total = clvi_out_total(run);
    const clvi_share share = clvi_share_of(total, count, CLVI_FLAT_STEP);
    const char *name = run->node->op->name;
    char kernel[64];
    snprintf(kernel, sizeof kernel, "%s_%s", name, pass);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, name, kernel, "");
    for (int i = 0; i < count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_unary_forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "fwd", (const clvi_view[]){run->out[0], run->in[0]}, 2, error);
}

clv_status clvi_unary_backward_of_y(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->out[0]};
    return launch(run, "bwd", views, 3, error);
}

clv_status clvi_unary_backward_of_x(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->in[0]};
    return launch(run, "bwd", views, 3, error);
}
