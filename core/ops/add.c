/* add: y = a + b. Inputs: a, b f32 of equal shape. Output: y, as a. Both gradients are grad y
 * itself: the plan gives one of them grad y's memory where it can, the other is a copy. Kernels:
 * kernels/add.cl. Reference: tests/ref/add_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *a = r->inputs[0], *b = r->inputs[1];
    if (a->dtype != CLV_F32 || !clvi_shape_equal(a, b)) {
        char left[64], right[64];
        CLVI_SHAPE_FAIL(error, "add", r, "the inputs are %s and %s; they must be f32 and equal",
                        clvi_shape_text(a, left, sizeof left),
                        clvi_shape_text(b, right, sizeof right));
    }
    r->outputs[0] = *a;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode, (void)wants_grad;
    out->forward_in_place = 3;
    out->grad_in_place = 3;
}

/* y = a + b over `total` elements; y may be the very memory of a or b. */
static clv_status launch_add(clvi_device *device, clvi_view y, clvi_view a, clvi_view b,
                             int64_t total, clv_error *error)
{
    const clvi_share share = clvi_share_of(total, 3, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "add", "add_fwd", "");
    clvi_arg_view(&l, y);
    clvi_arg_view(&l, a);
    clvi_arg_view(&l, b);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch_add(run->device, run->out[0], run->in[0], run->in[1], clvi_out_total(run), error);
}

clv_status clvi_add_into(clvi_device *device, clvi_view total, clvi_view part, int64_t elements,
                         clv_error *error)
{
    return launch_add(device, total, total, part, elements, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const int64_t total = clvi_out_total(run);
    const clvi_share share = clvi_share_of(total, 2, CLVI_FLAT_STEP);
    for (int i = 0; i < 2; i++) {
        const clvi_view to = run->grad_in[i], from = run->grad_out[0];
        if ((run->wants_grad >> i & 1) == 0 || (to.buf == from.buf && to.offset == from.offset))
            continue;
        clvi_launch l;
        clvi_launch_begin(&l, run->device, "add", "add_bwd", "");
        clvi_arg_view(&l, to);
        clvi_arg_view(&l, from);
        clvi_arg_int(&l, (int32_t)total);
        clvi_arg_int(&l, share.items);
        CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    }
    return CLV_OK;
}

const clvi_op clvi_op_add = {
    .name = "add",
    .min_inputs = 2,
    .max_inputs = 2,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
