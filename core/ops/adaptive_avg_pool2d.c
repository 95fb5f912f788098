/* adaptive_avg_pool2d: mean over windows that share the picture out among height × width pixels, as
 * PyTorch's: output o of O has pixels ⌊o·S/O⌋ up to before ⌈(o + 1)·S/O⌉ of an axis of S. Input:
 * x [N, H, W, C] f32. Output: y [N, height, width, C]. Attributes: height, width. Backward reads
 * nothing but grad y. Kernels: kernels/adaptive_avg_pool2d.cl. Reference:
 * tests/ref/adaptive_avg_pool2d_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    int64_t height, width;
} attributes;

enum { MOST = 4096 }; /* pixels of an axis, so that o·S fits an int */

static const clvi_attr_spec attr_specs[] = {
    {.name = "height",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, height),
     .min = 1,
     .max = MOST,
     .required = true},
    {.name = "width",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, width),
     .min = 1,
     .max = MOST,
     .required = true},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    char text[64];
    if (x->dtype != CLV_F32 || x->rank != 4 || x->dims[1] > MOST || x->dims[2] > MOST)
        CLVI_SHAPE_FAIL(error, "adaptive_avg_pool2d", r,
                        "the input is %s; it must be [N, H, W, C] f32 of at most %d×%d pixels",
                        clvi_shape_text(x, text, sizeof text), MOST, MOST);
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0], a->height, a->width, x->dims[3]);
    return CLV_OK;
}

/* A pooling kernel from `from` to `to`; shares are of `rows` rows of a picture. */
static clv_status launch(const clvi_run *run, const char *kernel, clvi_view to, clvi_view from,
                         int64_t rows, clv_error *error)
{
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    const int64_t n = clvi_rows(run, 0);
    const int64_t larger = x->dims[1] * x->dims[2] > y->dims[1] * y->dims[2]
                               ? x->dims[1] * x->dims[2]
                               : y->dims[1] * y->dims[2];
    const clvi_share share = clvi_share_of(n * rows, larger / rows * x->dims[3], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "adaptive_avg_pool2d", kernel, "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_int(&l, (int32_t)n);
    for (int i = 1; i < 4; i++)
        clvi_arg_int(&l, (int32_t)x->dims[i]);
    clvi_arg_int(&l, (int32_t)y->dims[1]);
    clvi_arg_int(&l, (int32_t)y->dims[2]);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "adaptive_avg_pool2d_fwd", run->out[0], run->in[0],
                  clvi_out_shape(run->graph, run->node, 0)->dims[1], error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return launch(run, "adaptive_avg_pool2d_bwd", run->grad_in[0], run->grad_out[0],
                  clvi_in_shape(run->graph, run->node, 0)->dims[1], error);
}

const clvi_op clvi_op_adaptive_avg_pool2d = {
    .name = "adaptive_avg_pool2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 2,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
