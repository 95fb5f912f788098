/* topk_mask: route weights of a sparse gate. Input: z [N, K] f32. Output: y [N, K]: the softmax of
 * z on the k largest of each row, exactly 0 on the others; ties go to the lowest index. Attributes:
 * k (required), normalise: "after" (default; over the chosen, sums to 1) or "before" (over all K).
 * Which are chosen has no gradient; under "before" all K logits have one, through the denominator.
 * Kernels: kernels/topk_mask.cl. Reference: tests/ref/topk_mask_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    int64_t k, before;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "k",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, k),
     .default_value = 1,
     .min = 1,
     .max = INT32_MAX,
     .required = true},
    {.name = "normalise",
     .type = CLV_ATTR_TEXT,
     .offset = offsetof(attributes, before),
     .choices = "after|before"},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *z = r->inputs[0];
    char text[64];
    clvi_shape_text(z, text, sizeof text);
    if (z->dtype != CLV_F32 || z->rank != 2)
        CLVI_SHAPE_FAIL(error, "topk_mask", r, "the input is %s; it must be [N, K] f32", text);
    if (a->k > z->dims[1])
        CLVI_SHAPE_FAIL(error, "topk_mask", r, "the %lld largest of each row of %s cannot be",
                        (long long)a->k, text);
    r->outputs[0] = *z;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)mode;
    const attributes *a = node->attrs;
    out->backward_outputs = wants_grad != 0;
    out->backward_inputs = wants_grad != 0 && a->before;
    out->grad_in_place = 1;
}

static clv_status launch(clvi_launch *l, const clvi_run *run, bool with_k, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *z = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_shape_batched(z) ? run->n : z->dims[0];
    const clvi_share share = clvi_share_of(rows, 8 * z->dims[1], 1);
    clvi_arg_int(l, (int32_t)rows);
    clvi_arg_int(l, (int32_t)z->dims[1]);
    if (with_k)
        clvi_arg_int(l, (int32_t)a->k);
    clvi_arg_int(l, (int32_t)a->before);
    clvi_arg_int(l, share.items);
    return clvi_launch_run(l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "topk_mask", "topk_mask_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    return launch(&l, run, true, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "topk_mask", "topk_mask_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    return launch(&l, run, false, error);
}

const clvi_op clvi_op_topk_mask = {
    .name = "topk_mask",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 2,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
