#include "ops/batch_norm_kernels.h"

#include "ops/share.h"
#include "runtime/wide.h"

/* Elements of a group of pixels: 32 KiB, so that the walks down its columns stay in the cache. */
enum { GROUP_ELEMENTS = 8192 };

clvi_norm_groups clvi_norm_groups_of(int64_t pixels, int64_t channels)
{
    int64_t share = clvi_div_up(GROUP_ELEMENTS, channels);
    const int64_t least = clvi_div_up(pixels, CLVI_MAX_GROUPS);
    share = share > least ? share : least;
    share = share < pixels ? share : pixels;
    return (clvi_norm_groups){(int32_t)clvi_div_up(pixels, share), (int32_t)share};
}

clvi_amount clvi_norm_workspace(int64_t pixels, int64_t channels)
{
    const int64_t share = clvi_div_up(GROUP_ELEMENTS, channels), stats = clvi_norm_stats(channels);
    /* One group more than full ones, and the totals. */
    return (clvi_amount){clvi_div_up(pixels, share) * stats, 2 * stats};
}

static clvi_view row_of(clvi_view view, int64_t row, int64_t channels)
{
    view.offset += (uint64_t)(row * channels);
    return view;
}

/* Work-groups that take a vector of channels each. */
static size_t channel_groups(clvi_device *device, int64_t channels)
{
    return (size_t)clvi_div_up(channels, clvi_tuning_int(device, "vector"));
}

clv_status clvi_norm_statistics(clvi_device *device, const clvi_norm *norm, clvi_view z,
                                clvi_view stats, clv_error *error)
{
    const clvi_norm_groups g = clvi_norm_groups_of(norm->pixels, norm->channels);
    clvi_launch l;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_stats", "");
    clvi_arg_view(&l, stats);
    clvi_arg_view(&l, z);
    clvi_arg_int(&l, (int32_t)norm->pixels);
    clvi_arg_int(&l, (int32_t)norm->channels);
    clvi_arg_int(&l, g.share);
    return clvi_launch_run(&l, (size_t)g.count, 1, 1, error);
}

clv_status clvi_norm_finish(clvi_device *device, const clvi_norm *norm, clvi_view stats,
                            clvi_norm_groups groups, clv_error *error)
{
    const bool moves = norm->pixels > 1;
    clvi_launch l;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_finish", "");
    clvi_arg_view(&l, norm->saved);
    clvi_arg_view(&l, moves ? norm->running_mean : (clvi_view){0});
    clvi_arg_view(&l, moves ? norm->running_var : (clvi_view){0});
    clvi_arg_view(&l, stats);
    clvi_arg_int(&l, (int32_t)norm->pixels);
    clvi_arg_int(&l, (int32_t)norm->channels);
    clvi_arg_int(&l, groups.count);
    clvi_arg_int(&l, groups.share);
    clvi_arg_float(&l, (float)norm->eps);
    clvi_arg_float(&l, (float)norm->momentum);
    return clvi_launch_run(&l, channel_groups(device, norm->channels), 1, 1, error);
}

clv_status clvi_norm_fold(clvi_device *device, const clvi_norm *norm, clvi_view fold,
                          clv_error *error)
{
    clvi_launch l;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_fold", "");
    clvi_arg_view(&l, fold);
    clvi_arg_view(&l, norm->gamma);
    clvi_arg_view(&l, norm->beta);
    clvi_arg_view(&l, norm->running_mean);
    clvi_arg_view(&l, norm->running_var);
    clvi_arg_int(&l, (int32_t)norm->channels);
    clvi_arg_float(&l, (float)norm->eps);
    return clvi_launch_run(&l, channel_groups(device, norm->channels), 1, 1, error);
}

/* The arguments that all kernels over all pixels end with, and the launch. */
static clv_status run_over_pixels(clvi_launch *l, const clvi_norm *norm, int64_t activation,
                                  clv_error *error)
{
    const clvi_norm_groups g = clvi_norm_groups_of(norm->pixels, norm->channels);
    clvi_arg_int(l, (int32_t)norm->pixels);
    clvi_arg_int(l, (int32_t)norm->channels);
    clvi_arg_int(l, (int32_t)activation);
    clvi_arg_int(l, g.share);
    return clvi_launch_run(l, (size_t)g.count, 1, 1, error);
}

clv_status clvi_norm_apply(clvi_device *device, const clvi_norm *norm, clvi_view z,
                           const clvi_norm_result *to, clv_error *error)
{
    const bool mean = to->mean.buf != NULL;
    const int64_t image = mean ? norm->image : norm->pixels, n = norm->pixels / image;
    const clvi_norm_groups g = clvi_norm_groups_of(image, norm->channels);
    const clvi_pixel_sums sums = {to->workspace, n, g.count, norm->channels};
    clvi_launch l;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_apply", "");
    clvi_arg_view(&l, to->y);
    clvi_arg_view(&l, mean ? to->workspace : (clvi_view){0});
    clvi_arg_view(&l, z);
    clvi_arg_view(&l, norm->saved);
    clvi_arg_view(&l, norm->gamma);
    clvi_arg_view(&l, norm->beta);
    clvi_arg_int(&l, (int32_t)image);
    clvi_arg_int(&l, (int32_t)norm->channels);
    clvi_arg_int(&l, (int32_t)norm->activation);
    clvi_arg_int(&l, g.share);
    CLV_TRY(clvi_launch_run(&l, (size_t)g.count, (size_t)n, 1, error));
    return mean ? clvi_mean_of_sums(device, to->mean, &sums, 1.0f / (float)image, error) : CLV_OK;
}

/* Σ dp and Σ dp·n into `total`, and the gradients to gamma and beta; dp into dy where it is to be
 * kept. */
static clv_status backward_sums(clvi_device *device, const clvi_norm *norm,
                                const clvi_norm_grads *g, clvi_view total, bool keep,
                                clv_error *error)
{
    const clvi_norm_groups groups = clvi_norm_groups_of(norm->pixels, norm->channels);
    clvi_launch l;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_bwd_sums", "");
    clvi_arg_view(&l, g->workspace);
    clvi_arg_view(&l, g->z);
    clvi_arg_view(&l, g->dy);
    clvi_arg_view(&l, g->dmean);
    clvi_arg_view(&l, norm->saved);
    clvi_arg_view(&l, norm->gamma);
    clvi_arg_view(&l, norm->beta);
    clvi_arg_int(&l, keep);
    clvi_arg_int(&l, (int32_t)norm->image);
    CLV_TRY(run_over_pixels(&l, norm, norm->activation, error));

    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_bwd_finish", "");
    clvi_arg_view(&l, total);
    clvi_arg_view(&l, g->dgamma);
    clvi_arg_view(&l, g->dbeta);
    clvi_arg_view(&l, g->workspace);
    clvi_arg_int(&l, (int32_t)norm->channels);
    clvi_arg_int(&l, groups.count);
    return clvi_launch_run(&l, channel_groups(device, norm->channels), 1, 1, error);
}

clv_status clvi_norm_backward(clvi_device *device, const clvi_norm *norm, const clvi_norm_grads *g,
                              clv_error *error)
{
    const clvi_norm_groups groups = clvi_norm_groups_of(norm->pixels, norm->channels);
    const clvi_view total = row_of(g->workspace, 2 * (int64_t)groups.count, norm->channels);
    const bool sums = !norm->fixed || g->dgamma.buf || g->dbeta.buf;
    const bool keep = sums && g->dz.buf && norm->activation == CLVI_ACT_SILU && g->dy.buf;
    clvi_launch l;
    if (sums)
        CLV_TRY(backward_sums(device, norm, g, total, keep, error));
    if (!g->dz.buf)
        return CLV_OK;
    clvi_launch_begin(&l, device, "batch_norm", "batch_norm_bwd_data", "");
    clvi_arg_view(&l, g->dz);
    clvi_arg_view(&l, g->z);
    clvi_arg_view(&l, g->dy);
    clvi_arg_view(&l, keep ? (clvi_view){0} : g->dmean);
    clvi_arg_view(&l, norm->saved);
    clvi_arg_view(&l, norm->gamma);
    clvi_arg_view(&l, norm->beta);
    clvi_arg_view(&l, norm->fixed ? (clvi_view){0} : total);
    clvi_arg_int(&l, (int32_t)norm->image);
    return run_over_pixels(&l, norm, keep ? CLVI_ACT_NONE : norm->activation, error);
}

clv_status clvi_norm_shapes(clvi_shape_request *r, const char *op, int first, int64_t channels,
                            clv_error *error)
{
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    for (int i = 0; i < 4; i++) {
        const clv_shape *s = r->inputs[first + i];
        if (s->dtype != CLV_F32 || s->rank != 1 || s->dims[0] != channels)
            CLVI_SHAPE_FAIL(error, op, r, "%s must be f32 [%lld], one value per channel", names[i],
                            (long long)channels);
    }
    return CLV_OK;
}
