/* fuse_scores: one answer from those of K experts. Inputs: x [N, K, C] f32 logits, g [N, K] f32
 * weights ≥ 0; an exact 0 means that the expert has no part in the sample. Output: y [N, C], to be
 * read as logits. Attributes: combine = weighted (default; Σ g s), product_rule (Π), max, min,
 * median, vote, the last two with a gradient of 0; scores = probabilities (default) or logits: what
 * is combined. Weighted probabilities are combined as they are, by log-sum-exp: y = log Σ g
 * softmax(x). 1 to 64 experts. Kernels: kernels/fuse_scores.cl. Reference:
 * tests/ref/fuse_scores_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

enum { MAX_EXPERTS = 64 };

typedef struct attributes {
    int64_t combine, scores;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "combine",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, combine),
     .choices = "weighted|product_rule|max|median|min|vote"},
    {.name = "scores",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, scores),
     .choices = "logits|probabilities",
     .default_value = 1},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *g = r->inputs[1];
    if (x->dtype != CLV_F32 || x->rank != 3 || g->dtype != CLV_F32 || g->rank != 2 ||
        g->dims[0] != x->dims[0] || g->dims[1] != x->dims[1] || x->dims[1] > MAX_EXPERTS) {
        char left[64], right[64];
        CLVI_SHAPE_FAIL(error, "fuse_scores", r,
                        "scores are %s, weights %s; they must be [N, K, C] and [N, K] f32, K at "
                        "most %d",
                        clvi_shape_text(x, left, sizeof left),
                        clvi_shape_text(g, right, sizeof right), MAX_EXPERTS);
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0], x->dims[2]);
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const clv_shape *g = clvi_in_shape(graph, node, 1);
    out->backward_inputs = wants_grad != 0 ? 3 : 0;
    out->backward_outputs = wants_grad != 0;
    out->saved[0] = clvi_amount_of(g, 2 * clvi_shape_elements(g));
}

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, 4 * x->dims[1] * x->dims[2], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "fuse_scores", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)x->dims[1]);
    clvi_arg_int(&l, (int32_t)x->dims[2]);
    clvi_arg_int(&l, (int32_t)a->combine);
    clvi_arg_int(&l, (int32_t)a->scores);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "fuse_scores_fwd", &run->out[0], 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    clvi_view views[] = {run->grad_in[0], run->grad_out[0], run->out[0]};
    if (run->wants_grad & 1)
        CLV_TRY(launch(run, "fuse_scores_bwd_x", views, 3, error));
    views[0] = run->grad_in[1];
    return run->wants_grad & 2 ? launch(run, "fuse_scores_bwd_g", views, 3, error) : CLV_OK;
}

const clvi_op clvi_op_fuse_scores = {
    .name = "fuse_scores",
    .min_inputs = 2,
    .max_inputs = 2,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 2,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
