/* topk_mask: route weights of a sparse gate. Input: z [N, K] f32; optional: bias [K] f32. Output: y
 * [N, K]: the softmax of z on the k largest z of each row, with a bias on the k largest softmax(z)
 * + bias (of a finite z at least FLT_MIN), exactly 0 on the others; ties go to the lowest index.
 * Attributes: k (required), normalise: "after" (default; over the chosen, sums to 1) or "before"
 * (over all K). Which are chosen has no gradient, so that of bias is zero; under "before" all K
 * logits have one, through the denominator. Kernels: kernels/topk_mask.cl. Reference:
 * tests/ref/topk_mask_ref.c. */
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
    const clv_shape *bias = r->inputs[1];
    if (bias != NULL && (bias->dtype != CLV_F32 || bias->rank != 1 || bias->dims[0] != z->dims[1]))
        CLVI_SHAPE_FAIL(error, "topk_mask", r, "the bias is %s; it must be [%lld] f32",
                        clvi_shape_text(bias, text, sizeof text), (long long)z->dims[1]);
    r->outputs[0] = *z;
    return CLV_OK;
}

static bool has_bias(const clvi_node *node)
{
    return node->input_count > 1 && node->inputs[1] != CLV_NO_TENSOR;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)mode;
    const attributes *a = node->attrs;
    out->backward_outputs = wants_grad & 1;
    out->backward_inputs = (wants_grad & 1) && a->before;
    out->grad_in_place = 1;
}

/* Rows and columns, then what `more` adds, then the share. */
static clv_status launch(clvi_launch *l, const clvi_run *run, const int64_t *more, int more_count,
                         clv_error *error)
{
    const clv_shape *z = clvi_in_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_rows(run, 0);
    const clvi_share share = clvi_share_of(rows, 8 * z->dims[1], 1);
    clvi_arg_int(l, (int32_t)rows);
    clvi_arg_int(l, (int32_t)z->dims[1]);
    for (int i = 0; i < more_count; i++)
        clvi_arg_int(l, (int32_t)more[i]);
    clvi_arg_int(l, share.items);
    return clvi_launch_run(l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const bool biased = has_bias(run->node);
    clvi_launch l;
    if (biased) { /* what is chosen by lies where the result will */
        clvi_launch_begin(&l, run->device, "topk_mask", "topk_mask_keys", "");
        clvi_arg_view(&l, run->out[0]);
        clvi_arg_view(&l, run->in[0]);
        clvi_arg_view(&l, run->in[1]);
        CLV_TRY(launch(&l, run, NULL, 0, error));
    }
    clvi_launch_begin(&l, run->device, "topk_mask", "topk_mask_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, biased ? run->out[0] : run->in[0]);
    return launch(&l, run, (const int64_t[]){a->k, a->before, biased}, 3, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    clvi_launch l;
    if (run->wants_grad & 2)
        CLV_TRY(clvi_fill(run->device, run->grad_in[1].buf, (size_t)run->grad_in[1].offset * 4,
                          (size_t)clvi_in_shape(run->graph, run->node, 1)->dims[0] * 4, 0, error));
    if (!(run->wants_grad & 1))
        return CLV_OK;
    clvi_launch_begin(&l, run->device, "topk_mask", "topk_mask_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    return launch(&l, run, &a->before, 1, error);
}

const clvi_op clvi_op_topk_mask = {
    .name = "topk_mask",
    .min_inputs = 1,
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
