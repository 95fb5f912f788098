/* column_topk: each column keeps its best rows (expert choice, Zhou et al. 2022, arXiv 2202.09368).
 * Input: x [N, K] f32, led by the batch. Output: y = x on the m = ⌈k·n/K⌉ largest of each column
 * (n: the batch that runs), exactly 0 elsewhere; ties go to the lowest row. Attribute: k, the mean
 * number of columns that keep a row, 0 < k ≤ K. Which are kept has no gradient. Kernels:
 * kernels/column_topk.cl. Reference: tests/ref/column_topk_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

#include <math.h>

typedef struct attributes {
    double k;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "k",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, k),
     .default_value = 1,
     .min = 1e-6,
     .max = INT32_MAX,
     .required = true},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    char text[64];
    clvi_shape_text(x, text, sizeof text);
    if (x->dtype != CLV_F32 || x->rank != 2 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, "column_topk", r, "the input is %s; it must be [N, K] f32", text);
    if (a->k > (double)x->dims[1])
        CLVI_SHAPE_FAIL(error, "column_topk", r, "k = %g is more than the columns of %s", a->k,
                        text);
    r->outputs[0] = *x;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    out->backward_inputs = wants_grad != 0;
    out->grad_in_place = 1;
    out->saved[0].constant = 2 * clvi_shape_elements(clvi_in_shape(graph, node, 0));
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const int64_t columns = clvi_in_shape(run->graph, run->node, 0)->dims[1];
    /* Less 1e-9, so that rounding of k·n does not add a row. */
    int64_t m = (int64_t)ceil(a->k * (double)run->n / (double)columns - 1e-9);
    m = m < 1 ? 1 : m > run->n ? run->n : m;
    const int vector = clvi_tuning_int(run->device, "vector");
    const clvi_share share = clvi_share_of((columns + vector - 1) / vector, CLVI_SHARE_ELEMENTS, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "column_topk", "column_topk_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_int(&l, (int32_t)m);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const int64_t columns = clvi_in_shape(run->graph, run->node, 0)->dims[1];
    const clvi_share share = clvi_share_of(run->n, 3 * columns, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "column_topk", "column_topk_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

const clvi_op clvi_op_column_topk = {
    .name = "column_topk",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 1,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
