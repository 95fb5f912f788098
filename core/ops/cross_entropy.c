/* cross_entropy: loss of each sample. Inputs: logits [N, C] f32, labels [N] i32. Output: loss [N],
 * -Σ_c q_c log softmax(logits)_c with q = (1 - s)·e_label + s/C. Attribute: label_smoothing s.
 * A label outside 0 … C - 1 gives NaN. Kernels: kernels/cross_entropy.cl. Reference:
 * tests/ref/cross_entropy_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    double label_smoothing;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "label_smoothing",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, label_smoothing),
     .default_value = 0,
     .min = 0,
     .max = 1},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *labels = r->inputs[1];
    if (x->dtype != CLV_F32 || x->rank != 2 || labels->dtype != CLV_I32 || labels->rank != 1 ||
        labels->dims[0] != x->dims[0]) {
        char left[64], right[64];
        CLVI_SHAPE_FAIL(error, "cross_entropy", r,
                        "logits are %s, labels %s; they must be [N, C] f32 and [N] i32",
                        clvi_shape_text(x, left, sizeof left),
                        clvi_shape_text(labels, right, sizeof right));
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0]);
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const clv_shape *x = clvi_in_shape(graph, node, 0);
    out->backward_inputs = wants_grad != 0 ? 3 : 0;
    /* Largest logit and log of the sum, of each row. */
    out->saved[0] = clvi_amount_per_row(x, 2);
}

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, 2 * x->dims[1], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "cross_entropy", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)x->dims[1]);
    clvi_arg_float(&l, (float)a->label_smoothing);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->out[0], run->saved[0]};
    return launch(run, "cross_entropy_fwd", views, 2, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->saved[0]};
    return launch(run, "cross_entropy_bwd", views, 3, error);
}

const clvi_op clvi_op_cross_entropy = {
    .name = "cross_entropy",
    .min_inputs = 2,
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
