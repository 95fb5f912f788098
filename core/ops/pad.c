/* pad: zeros around pictures. Input: x [N, H, W, C] f32. Output: y [N, top + H + bottom,
 * left + W + right, C]. Attributes: top, left, bottom, right (default 0). The gradient is the inner
 * part of grad y. Kernels: kernels/pad.cl. Reference: tests/ref/pad_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    int64_t top, left, bottom, right;
} attributes;

#define SPEC(member)                                                                               \
    {                                                                                              \
        .name = #member, .type = CLV_ATTR_INT, .offset = offsetof(attributes, member), .min = 0,   \
        .max = 65535                                                                               \
    }
static const clvi_attr_spec attr_specs[] = {SPEC(top), SPEC(left), SPEC(bottom), SPEC(right)};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    if (x->dtype != CLV_F32 || x->rank != 4) {
        char text[64];
        CLVI_SHAPE_FAIL(error, "pad", r, "the input is %s; it must be [N, H, W, C] f32",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0], a->top + x->dims[1] + a->bottom,
                               a->left + x->dims[2] + a->right, x->dims[3]);
    return CLV_OK;
}

static clv_status launch(const clvi_run *run, const char *kernel, clvi_view to, clvi_view from,
                         bool backward, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    const int64_t n = clvi_rows(run, 0);
    const int64_t rows = n * (backward ? x->dims[1] : y->dims[1]);
    const clvi_share share = clvi_share_of(rows, 2 * y->dims[2] * y->dims[3], 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "pad", kernel, "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_int(&l, (int32_t)n);
    for (int i = 1; i < 4; i++)
        clvi_arg_int(&l, (int32_t)x->dims[i]);
    clvi_arg_int(&l, (int32_t)a->top);
    clvi_arg_int(&l, (int32_t)a->left);
    clvi_arg_int(&l, (int32_t)y->dims[1]);
    clvi_arg_int(&l, (int32_t)y->dims[2]);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "pad_fwd", run->out[0], run->in[0], false, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return launch(run, "pad_bwd", run->grad_in[0], run->grad_out[0], true, error);
}

const clvi_op clvi_op_pad = {
    .name = "pad",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 4,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
