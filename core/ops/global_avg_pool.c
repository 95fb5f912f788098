/* global_avg_pool: the mean over all pixels. Input: x [N, H, W, C] f32. Output: y [N, C].
 * Kernels: kernels/global_avg_pool.cl. Reference: tests/ref/global_avg_pool_ref.c. */
#include "ops/op.h"
#include "ops/share.h"
#include "runtime/wide.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0];
    if (x->dtype != CLV_F32 || x->rank != 4) {
        char text[64];
        CLVI_SHAPE_FAIL(error, "global_avg_pool", r, "the input is %s; it must be [N, H, W, C] f32",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, x->dims[0], x->dims[3]);
    return CLV_OK;
}

static clv_status launch(const clvi_run *run, const char *kernel, clvi_view to, clvi_view from,
                         bool backward, clv_error *error)
{
    const clv_shape *x = clvi_in_shape(run->graph, run->node, 0);
    const int64_t n = clvi_rows(run, 0);
    const int64_t pixels = x->dims[1] * x->dims[2], c = x->dims[3];
    const int vector = clvi_tuning_int(run->device, "vector");
    const int64_t blocks = (c + vector - 1) / vector;
    /* Work-items side by side take pieces side by side: enough of them to read whole lines. */
    const int64_t step = clvi_tuning_int(run->device, "items") > 1 ? 8 : 1;
    const clvi_share share = backward ? clvi_share_of(n * pixels, 2 * c, 1)
                                      : clvi_share_of(n * blocks, pixels * vector, step);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "global_avg_pool", kernel, "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)pixels);
    clvi_arg_int(&l, (int32_t)c);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return launch(run, "global_avg_pool_fwd", run->out[0], run->in[0], false, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return launch(run, "global_avg_pool_bwd", run->grad_in[0], run->grad_out[0], true, error);
}

clv_status clvi_mean_of_sums(clvi_device *device, clvi_view mean, const clvi_pixel_sums *sums,
                             float scale, clv_error *error)
{
    const int vector = clvi_tuning_int(device, "vector");
    const clvi_share share =
        clvi_share_of(sums->n * clvi_div_up(sums->channels, vector), sums->count * vector, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "global_avg_pool", "global_avg_pool_sums", "");
    clvi_arg_view(&l, mean);
    clvi_arg_view(&l, sums->parts);
    clvi_arg_int(&l, (int32_t)sums->n);
    clvi_arg_int(&l, (int32_t)sums->count);
    clvi_arg_int(&l, (int32_t)sums->channels);
    clvi_arg_float(&l, scale);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

const clvi_op clvi_op_global_avg_pool = {
    .name = "global_avg_pool",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
