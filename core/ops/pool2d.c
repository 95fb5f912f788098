/* What max_pool2d and avg_pool2d share. */
#include "ops/pool2d.h"

#define SPEC(member, default_, min_, max_)                                                         \
    {                                                                                              \
        .name = #member, .type = CLV_ATTR_INT, .offset = offsetof(clvi_pool2d_attrs, member),      \
        .default_value = (default_), .min = (min_), .max = (max_)                                  \
    }
const clvi_attr_spec clvi_pool2d_attr_specs[CLVI_POOL2D_ATTRS] = {
    SPEC(kernel, 2, 1, CLVI_POOL2D_MAX_KERNEL),
    SPEC(stride, 2, 1, 1024),
    SPEC(pad, 0, 0, CLVI_POOL2D_MAX_KERNEL / 2),
};

clv_status clvi_pool2d_shape(clvi_shape_request *r, const char *op, clv_error *error)
{
    const clvi_pool2d_attrs *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    char text[64];
    clvi_shape_text(x, text, sizeof text);
    if (x->dtype != CLV_F32 || x->rank != 4)
        CLVI_SHAPE_FAIL(error, op, r, "the input is %s; it must be [N, H, W, C] f32", text);
    if (2 * a->pad > a->kernel)
        CLVI_SHAPE_FAIL(error, op, r, "pad %d is more than half of kernel %d", (int)a->pad,
                        (int)a->kernel);
    const int64_t h = x->dims[1] + 2 * a->pad - a->kernel, w = x->dims[2] + 2 * a->pad - a->kernel;
    if (h < 0 || w < 0)
        CLVI_SHAPE_FAIL(error, op, r, "a window of %d pixels does not fit into %s with pad %d",
                        (int)a->kernel, text, (int)a->pad);
    r->outputs[0] =
        CLVI_SHAPE(CLV_F32, x->dims[0], h / a->stride + 1, w / a->stride + 1, x->dims[3]);
    return CLV_OK;
}

bool clvi_pool2d_halves(const clvi_node *node)
{
    const clvi_pool2d_attrs *a = node->attrs;
    return a->kernel == 2 && a->stride == 2 && a->pad == 0;
}

clv_status clvi_pool2d_launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                              int view_count, bool rows_of_input, clv_error *error)
{
    const clvi_pool2d_attrs *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    const int64_t n = clvi_rows(run, 0);
    const int64_t rows = n * (rows_of_input ? x->dims[1] : y->dims[1]);
    const int64_t cost = (rows_of_input ? 1 : a->stride) * x->dims[2] * x->dims[3];
    const clvi_share share = clvi_share_of(rows, cost, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, run->node->op->name, kernel, "");
    for (int i = 0; i < view_count; i++)
        clvi_arg_view(&l, views[i]);
    clvi_arg_int(&l, (int32_t)n);
    for (int i = 1; i < 4; i++)
        clvi_arg_int(&l, (int32_t)x->dims[i]);
    clvi_arg_int(&l, (int32_t)y->dims[1]);
    clvi_arg_int(&l, (int32_t)y->dims[2]);
    clvi_arg_int(&l, (int32_t)a->kernel);
    clvi_arg_int(&l, (int32_t)a->stride);
    clvi_arg_int(&l, (int32_t)a->pad);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}
