/* weigh_columns: scales what K experts give by K times their weights. Inputs: x [N, M] f32, g [N,
 * K] f32, owner [M] i32, whose each column is (0 … K - 1). Output: y [N, M] = K·g[owner]·x, exactly
 * 0 where g is. Kernels: kernels/weigh_columns.cl. Reference: tests/ref/weigh_columns_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *g = r->inputs[1], *owner = r->inputs[2];
    if (x->dtype != CLV_F32 || x->rank != 2 || g->dtype != CLV_F32 || g->rank != 2 ||
        g->dims[0] != x->dims[0] || owner->dtype != CLV_I32 || owner->rank != 1 ||
        owner->dims[0] != x->dims[1]) {
        char text[3][64];
        CLVI_SHAPE_FAIL(error, "weigh_columns", r,
                        "the inputs are %s, weights %s and owners %s; they must be [N, M] and "
                        "[N, K] f32 and [M] i32",
                        clvi_shape_text(x, text[0], sizeof text[0]),
                        clvi_shape_text(g, text[1], sizeof text[1]),
                        clvi_shape_text(owner, text[2], sizeof text[2]));
    }
    r->outputs[0] = *x;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode;
    out->backward_inputs = wants_grad == 0 ? 0 : 6 | (wants_grad >> 1 & 1);
}

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, 3 * x->dims[1], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "weigh_columns", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_view(&l, run->in[2]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)x->dims[1]);
    clvi_arg_int(&l, (int32_t)clvi_in_shape(run->graph, run->node, 1)->dims[1]);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->out[0], run->in[0]};
    return launch(run, "weigh_columns_fwd", views, 2, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_view to_x[] = {run->grad_in[0], run->grad_out[0]};
    const clvi_view to_g[] = {run->grad_in[1], run->grad_out[0], run->in[0]};
    if (run->wants_grad & 1)
        CLV_TRY(launch(run, "weigh_columns_fwd", to_x, 2, error));
    return run->wants_grad & 2 ? launch(run, "weigh_columns_bwd_g", to_g, 3, error) : CLV_OK;
}

const clvi_op clvi_op_weigh_columns = {
    .name = "weigh_columns",
    .min_inputs = 3,
    .max_inputs = 3,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
