/* load_prob: how probable each expert is among the k that a noisy gate chooses. Inputs: z, s, h
 * [N, K] f32, the clean logits, the spread and the noisy logits of add_noise. Output: y [N, K] in 0
 * …
 * 1. Attributes: k (required, below K), floor (0.01) as add_noise has it. The gradient goes through
 * z, s and the threshold in h; which is the threshold has none. Kernels: kernels/load_prob.cl.
 * Reference: tests/ref/load_prob_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    int64_t k;
    double floor;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "k",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, k),
     .default_value = 1,
     .min = 1,
     .max = INT32_MAX,
     .required = true},
    {.name = "floor",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, floor),
     .default_value = 0.01,
     .min = 1e-6,
     .max = 1e6},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    char text[64];
    for (int i = 0; i < 3; i++) {
        const clv_shape *x = r->inputs[i];
        clvi_shape_text(x, text, sizeof text);
        if (x->dtype != CLV_F32 || x->rank != 2 || x->dims[0] != r->inputs[0]->dims[0] ||
            x->dims[1] != r->inputs[0]->dims[1])
            CLVI_SHAPE_FAIL(error, "load_prob", r, "input %d is %s; all must be [N, K] f32", i,
                            text);
    }
    if (a->k >= r->inputs[0]->dims[1])
        CLVI_SHAPE_FAIL(error, "load_prob", r,
                        "k = %lld of %s leaves nobody out: the load is always the same",
                        (long long)a->k, text);
    r->outputs[0] = *r->inputs[0];
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const clv_shape *z = clvi_in_shape(graph, node, 0);
    out->backward_inputs = wants_grad != 0 ? 7 : 0;
    /* For the gradients that nobody wants. */
    if (wants_grad != 0 && wants_grad != 7)
        out->backward_workspace = clvi_amount_of(z, 3 * clvi_shape_elements(z));
}

static clv_status launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                         int view_count, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *z = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, z->dims[1] * z->dims[1], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "load_prob", kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    for (int i = 0; i < 3; i++)
        clvi_arg_view(&l, run->in[i]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)z->dims[1]);
    clvi_arg_int(&l, (int32_t)a->k);
    clvi_arg_float(&l, (float)a->floor);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "load_prob_fwd", &run->out[0], 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clv_shape *z = clvi_in_shape(run->graph, run->node, 0);
    const uint64_t elements = (uint64_t)(clvi_rows(run, 0) * z->dims[1]);
    clvi_view views[4] = {run->grad_in[0], run->grad_in[1], run->grad_in[2], run->grad_out[0]};
    for (uint64_t i = 0; i < 3; i++)
        if (!(run->wants_grad >> i & 1))
            views[i] = (clvi_view){run->workspace.buf, run->workspace.offset + i * elements};
    return launch(run, "load_prob_bwd", views, 4, error);
}

const clvi_op clvi_op_load_prob = {
    .name = "load_prob",
    .min_inputs = 3,
    .max_inputs = 3,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 2,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
