/* below_mean: y = by where x is below the mean of its row, -by where it is above, 0 at it. Input: x
 * f32 [K] or [N, K]. Output: y, as x. Attribute: by (default 1). It compares K·x with the row's
 * sum, so that whole numbers below 2^24/K are compared exactly. The gradient of x is zero. Kernels:
 * kernels/below_mean.cl. Reference: tests/ref/below_mean_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

#include <float.h>

typedef struct attributes {
    double by;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "by",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, by),
     .default_value = 1,
     .min = -FLT_MAX,
     .max = FLT_MAX},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0];
    if (x->dtype != CLV_F32 || x->rank < 1 || x->rank > 2 ||
        (x->rank == 1 && clvi_shape_batched(x))) {
        char text[64];
        CLVI_SHAPE_FAIL(error, "below_mean", r, "the input is %s; it must be [K] or [N, K] f32",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = *x;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode, (void)wants_grad;
    out->forward_in_place = 1;
    out->grad_in_place = 1;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t columns = x->dims[x->rank - 1], rows = clvi_out_total(run) / columns;
    const clvi_share share = clvi_share_of(rows, 3 * columns, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "below_mean", "below_mean_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_float(&l, (float)a->by);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return clvi_fill(run->device, run->grad_in[0].buf, (size_t)run->grad_in[0].offset * 4,
                     (size_t)clvi_out_total(run) * 4, 0, error);
}

const clvi_op clvi_op_below_mean = {
    .name = "below_mean",
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
