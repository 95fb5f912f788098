/* balance_loss: how unevenly a gate uses its experts, over the batch. Inputs: x [N, K] f32, and of
 * switch the weights [N, K], which are counted and have no gradient. Output: [1]. Attribute: term =
 * variation (of the columns' sums: variance/(mean² + 1e-10); x are weights ≥ 0), or of logits x:
 * switch, z_loss, entropy, kl_uniform. Kernels: kernels/balance_loss.cl. Reference:
 * tests/ref/balance_loss_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

enum { VARIATION, SWITCH };

typedef struct attributes {
    int64_t term;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "term",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, term),
     .choices = "variation|switch|z_loss|entropy|kl_uniform",
     .required = true},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0], *route = r->inputs[1];
    const bool counts = a->term == SWITCH;
    char text[64];
    clvi_shape_text(x, text, sizeof text);
    if (x->dtype != CLV_F32 || x->rank != 2)
        CLVI_SHAPE_FAIL(error, "balance_loss", r, "the input is %s; it must be [N, K] f32", text);
    if (counts && (route == NULL || route->dtype != CLV_F32 || route->rank != 2 ||
                   route->dims[0] != x->dims[0] || route->dims[1] != x->dims[1]))
        CLVI_SHAPE_FAIL(error, "balance_loss", r, "switch wants weights of the shape %s", text);
    r->outputs[0] = CLVI_SHAPE(CLV_F32, 1);
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const attributes *a = node->attrs;
    const clv_shape *x = clvi_in_shape(graph, node, 0);
    out->backward_inputs = wants_grad != 0 && a->term != VARIATION ? 1 : 0;
    out->saved[0] = (clvi_amount){0, x->dims[1]};
    if (a->term != VARIATION)
        out->saved[1] = clvi_amount_per_row(x, 2);
}

/* saved[1] is absent of variation, and then not read: any buffer will do. */
static clvi_view rows_view(const clvi_run *run)
{
    return run->saved[1].buf ? run->saved[1] : run->saved[0];
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const int64_t rows = clvi_rows(run, 0),
                  experts = clvi_in_shape(run->graph, run->node, 0)->dims[1];
    const clvi_share share = clvi_share_of(rows, 2 * experts, 1);
    clvi_launch l;
    if (a->term != VARIATION) {
        clvi_launch_begin(&l, run->device, "balance_loss", "balance_loss_rows", "");
        clvi_arg_view(&l, run->saved[1]);
        clvi_arg_view(&l, run->in[0]);
        clvi_arg_int(&l, (int32_t)rows);
        clvi_arg_int(&l, (int32_t)experts);
        clvi_arg_int(&l, share.items);
        CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    }
    clvi_launch_begin(&l, run->device, "balance_loss", "balance_loss_sum", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_view(&l, rows_view(run));
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, a->term == SWITCH ? run->in[1] : run->in[0]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)experts);
    clvi_arg_int(&l, (int32_t)a->term);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const int64_t rows = clvi_rows(run, 0),
                  experts = clvi_in_shape(run->graph, run->node, 0)->dims[1];
    const clvi_share share = clvi_share_of(rows, 2 * experts, 1);
    clvi_launch l;
    if (run->wants_grad & 2) /* a count has no gradient */
        CLV_TRY(clvi_fill(run->device, run->grad_in[1].buf, run->grad_in[1].offset * 4,
                          (size_t)(rows * experts) * 4, 0, error));
    if (!(run->wants_grad & 1))
        return CLV_OK;
    clvi_launch_begin(&l, run->device, "balance_loss", "balance_loss_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_view(&l, rows_view(run));
    /* Of variation the values are not read, and not kept. */
    clvi_arg_view(&l, a->term == VARIATION ? run->saved[0] : run->in[0]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)experts);
    clvi_arg_int(&l, (int32_t)a->term);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

const clvi_op clvi_op_balance_loss = {
    .name = "balance_loss",
    .min_inputs = 1,
    .max_inputs = 2,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 1,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
