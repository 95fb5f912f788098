/* mixture_loss: what experts and their weights cost, of each sample. Inputs: x [N, K, C] f32
 * logits, g [N, K] f32 weights ≥ 0, labels [N] i32. Output: loss [N]. Attributes: term =
 * cooperative, competitive, competitive_ce, jacobs_mse, jacobs_ce, expert_ce; target_space and
 * distance of the squared ones; beta of jacobs_ce; label_smoothing; sparse: an expert with weight 0
 * was not asked. The formulas are in core/mixture/README.md and in kernels/mixture_loss.cl. Sums of
 * exponentials by log-sum-exp; nothing is divided by a probability. An exact 0 among the weights
 * means: no part in it, and no gradient. Reference: tests/ref/mixture_loss_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

enum { COOPERATIVE = 0 };

typedef struct attributes {
    int64_t term, target_logits, distance_mean, sparse;
    double beta, label_smoothing;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "term",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, term),
     .choices = "cooperative|competitive|competitive_ce|jacobs_mse|jacobs_ce|expert_ce",
     .required = true},
    {.name = "target_space",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, target_logits),
     .choices = "probabilities|logits"},
    {.name = "distance",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, distance_mean),
     .choices = "sum|mean"},
    {.name = "beta",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, beta),
     .default_value = 0.5,
     .min = 0.0001,
     .max = 100},
    {.name = "label_smoothing",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, label_smoothing),
     .min = 0,
     .max = 1},
    {.name = "sparse",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, sparse),
     .min = 0,
     .max = 1},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *g = r->inputs[1], *labels = r->inputs[2];
    if (x->dtype != CLV_F32 || x->rank != 3 || g->dtype != CLV_F32 || g->rank != 2 ||
        g->dims[0] != x->dims[0] || g->dims[1] != x->dims[1] || labels->dtype != CLV_I32 ||
        labels->rank != 1 || labels->dims[0] != x->dims[0]) {
        char text[3][64];
        CLVI_SHAPE_FAIL(error, "mixture_loss", r,
                        "logits are %s, weights %s, labels %s; they must be [N, K, C] and [N, K] "
                        "f32 and [N] i32",
                        clvi_shape_text(x, text[0], sizeof text[0]),
                        clvi_shape_text(g, text[1], sizeof text[1]),
                        clvi_shape_text(labels, text[2], sizeof text[2]));
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0]);
    return CLV_OK;
}

/* Numbers that forward leaves of a sample: see the kernels. */
static int64_t stride_of(const clv_graph *graph, const clvi_node *node)
{
    const clv_shape *x = clvi_in_shape(graph, node, 0);
    const attributes *a = node->attrs;
    return 3 * x->dims[1] + 1 + (a->term == COOPERATIVE ? x->dims[2] : 0);
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const clv_shape *x = clvi_in_shape(graph, node, 0);
    out->backward_inputs = wants_grad != 0 ? 7 : 0;
    out->saved[0] = clvi_amount_per_row(x, stride_of(graph, node));
}

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, 4 * x->dims[1] * x->dims[2], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "mixture_loss", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_view(&l, run->saved[0]);
    for (int i = 0; i < 3; i++)
        clvi_arg_view(&l, run->in[i]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)x->dims[1]);
    clvi_arg_int(&l, (int32_t)x->dims[2]);
    clvi_arg_int(&l, (int32_t)stride_of(run->graph, run->node));
    clvi_arg_int(&l, (int32_t)a->term);
    clvi_arg_int(&l, (int32_t)a->target_logits);
    clvi_arg_int(&l, (int32_t)a->sparse);
    clvi_arg_float(&l, (float)a->beta);
    clvi_arg_float(&l, (float)a->label_smoothing);
    clvi_arg_float(&l, a->distance_mean ? 1 / (float)x->dims[2] : 1);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "mixture_loss_fwd", &run->out[0], 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    clvi_view views[] = {run->grad_in[0], run->grad_out[0]};
    if (run->wants_grad & 1)
        CLV_TRY(launch(run, "mixture_loss_bwd_x", views, 2, error));
    views[0] = run->grad_in[1];
    return run->wants_grad & 2 ? launch(run, "mixture_loss_bwd_g", views, 2, error) : CLV_OK;
}

const clvi_op clvi_op_mixture_loss = {
    .name = "mixture_loss",
    .min_inputs = 3,
    .max_inputs = 3,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = sizeof attr_specs / sizeof *attr_specs,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
