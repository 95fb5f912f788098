/* Convolution in the tiled form: launches of kernels/conv2d_tiled.cl, and products of matrices
 * (runtime/gemm.h) where it is one. Weights are read as they are, without packing. */
#include "ops/activate.h"
#include "ops/conv2d_kernels.h"
#include "ops/share.h"
#include "runtime/gemm.h"

enum {
    WANTED_TILES = 256, /* work-groups that fill a GPU */
    PARAM_LEAST = 256,  /* output pixels of a part of the weights' gradient, at least */
    MOST_PARTS = 64,
    FLAG_BIAS = 4,
    FLAG_LINEAR = 8 /* kernels/conv2d_tiled.cl */
};

/* ---- 1 × 1: products of matrices ---- */

static bool is_product(const clvi_conv *c)
{
    return clvi_conv_is_plain(c) && c->groups == 1;
}

/* y = x·w, dx = dz·wᵀ, dw = xᵀ·dz. */
static clvi_gemm product_y(const clvi_conv *c)
{
    return (clvi_gemm){.m = clvi_conv_pixels(c), .n = c->co, .k = c->ci};
}

static clvi_gemm product_dx(const clvi_conv *c)
{
    return (clvi_gemm){.transpose_b = true, .m = clvi_conv_pixels(c), .n = c->ci, .k = c->co};
}

static clvi_gemm product_dw(const clvi_conv *c)
{
    return (clvi_gemm){.transpose_a = true, .m = c->ci, .n = c->co, .k = clvi_conv_pixels(c)};
}

/* `a` made large enough for a product whose m (or k) is the pixels of the batch, too. */
static clvi_amount with_product(clvi_amount a, const clvi_device *device, const clvi_gemm *gemm,
                                const clvi_conv *c, bool k_varies)
{
    clvi_gemm any = *gemm;
    any.m = k_varies ? gemm->m : INT32_MAX;
    const clvi_gemm_bound b = clvi_gemm_workspace_bound(device, &any, k_varies);
    const int64_t per_sample = b.per_unit * c->oh * c->ow;
    return (clvi_amount){a.per_sample > per_sample ? a.per_sample : per_sample,
                         a.constant > b.constant ? a.constant : b.constant};
}

static clv_status forward_product(clvi_device *device, const clvi_conv *c,
                                  const clvi_conv_call *call, clvi_view weights, clv_error *error)
{
    clvi_gemm y = product_y(c);
    y.a = call->x, y.b = weights, y.c = call->y;
    y.bias = call->bias, y.workspace = call->workspace;
    CLV_TRY(clvi_gemm_run(device, &y, error));
    if (call->activation == CLVI_ACT_NONE)
        return CLV_OK;
    return clvi_activate(device, call->y, call->y, y.m * y.n, call->activation, error);
}

/* ---- Forward ---- */

clv_status clvi_conv_tiled_scale(clvi_device *device, const clvi_conv *c, clvi_view weights,
                                 clvi_view scale, clvi_view to, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t total = clvi_conv_weights(c);
    const clvi_share share = clvi_share_of(total, 2, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d_tiled", "conv2d_scale", wide.tile_options);
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, weights);
    clvi_arg_view(&l, scale);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clvi_amount clvi_conv_tiled_forward_workspace(const clvi_device *device, const clvi_conv *c)
{
    if (!is_product(c))
        return (clvi_amount){0, 0};
    const clvi_gemm y = product_y(c);
    return with_product((clvi_amount){0, 0}, device, &y, c, false);
}

/* A launch of conv2d_tiled beyond the geometry of `c`, whose channels are one group's. */
typedef struct tiled_call {
    clvi_view y, x, f, bias;
    int64_t x_pixel, y_image, y_row, y_pixel;
    int64_t f_a, f_b, f_c, f_k;
    int64_t groups, x_group, f_group, y_group;
    int32_t flags;
} tiled_call;

static clv_status launch_tiled(clvi_device *device, const clvi_conv *c, const tiled_call *call,
                               clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t pixels = clvi_conv_pixels(c), tiles = clvi_div_up(pixels, wide.tile);
    const int64_t values[] = {
        pixels,    c->h,      c->w,          call->x_pixel, c->ci,         c->kh,
        c->kw,     c->sh,     c->sw,         c->pt,         c->pl,         c->oh,
        c->ow,     c->co,     call->y_image, call->y_row,   call->y_pixel, call->f_a,
        call->f_b, call->f_c, call->f_k,     call->x_group, call->f_group, call->y_group};
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d_tiled", "conv2d_tiled", wide.tile_options);
    clvi_arg_view(&l, call->y);
    clvi_arg_view(&l, call->x);
    clvi_arg_view(&l, call->f);
    clvi_arg_view(&l, call->bias);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        clvi_arg_int(&l, (int32_t)values[i]);
    clvi_arg_int(&l, call->flags);
    return clvi_launch_run(&l, (size_t)clvi_div_up(c->co, wide.tile),
                           (size_t)(tiles < CLVI_MAX_GROUPS ? tiles : CLVI_MAX_GROUPS),
                           (size_t)call->groups, error);
}

clv_status clvi_conv_tiled_forward(clvi_device *device, const clvi_conv *conv,
                                   const clvi_conv_call *call, clv_error *error)
{
    const clvi_view weights = call->weights.buf ? call->weights : call->packed;
    if (is_product(conv))
        return forward_product(device, conv, call, weights, error);
    clvi_conv c = *conv;
    c.ci /= conv->groups;
    c.co /= conv->groups;
    const tiled_call t = {.y = call->y,
                          .x = call->x,
                          .f = weights,
                          .bias = call->bias,
                          .x_pixel = conv->ci,
                          .y_image = c.oh * c.ow * conv->co,
                          .y_row = c.ow * conv->co,
                          .y_pixel = conv->co,
                          .f_c = conv->co,
                          .f_k = 1,
                          .groups = conv->groups,
                          .x_group = c.ci,
                          .f_group = c.co,
                          .y_group = c.co,
                          .flags = FLAG_LINEAR | (int32_t)call->activation |
                                   (call->bias.buf ? FLAG_BIAS : 0)};
    return launch_tiled(device, &c, &t, error);
}

/* ---- Gradient to the input ---- */

static clv_status backward_phase(clvi_device *device, const clvi_conv *c, const clvi_conv_grads *g,
                                 const int64_t at[2], clv_error *error)
{
    const clvi_conv_phase y = clvi_conv_phase_of(at[0], c->sh, c->pt, c->kh, c->h);
    const clvi_conv_phase x = clvi_conv_phase_of(at[1], c->sw, c->pl, c->kw, c->w);
    if (y.count == 0 || x.count == 0)
        return CLV_OK;
    const int64_t ins = c->ci / c->groups, outs = c->co / c->groups, tap = ins * c->co;
    const int64_t last = (at[0] + c->sh * (y.taps - 1)) * c->kw + at[1] + c->sw * (x.taps - 1);
    const bool empty = y.taps == 0 || x.taps == 0; /* these pixels took part in nothing: zero */
    const clvi_conv phase = {.n = c->n,
                             .h = c->oh,
                             .w = c->ow,
                             .ci = outs,
                             .kh = empty ? 0 : y.taps,
                             .kw = empty ? 1 : x.taps,
                             .co = ins,
                             .sh = 1,
                             .sw = 1,
                             .pt = y.taps - 1 - y.base,
                             .pl = x.taps - 1 - x.base,
                             .oh = y.count,
                             .ow = x.count};
    const tiled_call t = {.y = clvi_view_at(g->dx, (y.first * c->w + x.first) * c->ci),
                          .x = g->dz,
                          .f = clvi_view_at(g->weights, empty ? 0 : last * tap),
                          .x_pixel = c->co,
                          .y_image = c->h * c->w * c->ci,
                          .y_row = c->sh * c->w * c->ci,
                          .y_pixel = c->sw * c->ci,
                          .f_a = -c->sh * c->kw * tap,
                          .f_b = -c->sw * tap,
                          .f_c = 1,
                          .f_k = c->co,
                          .groups = c->groups,
                          .x_group = outs,
                          .f_group = outs,
                          .y_group = ins};
    return launch_tiled(device, &phase, &t, error);
}

static clv_status backward_data(clvi_device *device, const clvi_conv *c, const clvi_conv_grads *g,
                                clvi_view workspace, clv_error *error)
{
    if (is_product(c)) {
        clvi_gemm dx = product_dx(c);
        dx.a = g->dz, dx.b = g->weights, dx.c = g->dx, dx.workspace = workspace;
        return clvi_gemm_run(device, &dx, error);
    }
    for (int64_t i = 0; i < c->sh * c->sw; i++) {
        const int64_t at[2] = {i / c->sw, i % c->sw};
        CLV_TRY(backward_phase(device, c, g, at, error));
    }
    return CLV_OK;
}

/* ---- Gradient to the weights ---- */

/* Chunks of pixels at most: enough work-groups for the device. */
static int64_t most_parts(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t rows = c->kh * c->kw * c->ci / c->groups;
    const int64_t tiles =
        clvi_div_up(rows, wide->tile) * clvi_div_up(c->co / c->groups, wide->tile) * c->groups;
    const int64_t parts = clvi_div_up(WANTED_TILES, tiles);
    return parts < MOST_PARTS ? parts : MOST_PARTS;
}

static clv_status backward_param(clvi_device *device, const clvi_conv *c, const clvi_conv_grads *g,
                                 clvi_view workspace, clv_error *error)
{
    if (is_product(c)) {
        clvi_gemm dw = product_dw(c);
        dw.a = g->x, dw.b = g->dz, dw.c = g->dweights, dw.workspace = workspace;
        return clvi_gemm_run(device, &dw, error);
    }
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t ins = c->ci / c->groups, outs = c->co / c->groups, pixels = clvi_conv_pixels(c);
    const int64_t most = most_parts(&wide, c), wanted = clvi_div_up(pixels, PARAM_LEAST);
    const int64_t chunk = clvi_div_up(pixels, wanted < most ? wanted : most);
    const int64_t parts = clvi_div_up(pixels, chunk);
    const int64_t values[] = {pixels, c->h,  c->w,  c->ci, ins,  c->kh, c->kw, c->sh, c->sw,
                              c->pt,  c->pl, c->oh, c->ow, outs, c->co, parts, chunk};
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d_tiled", "conv2d_bwd_param_tiled", wide.tile_options);
    clvi_arg_view(&l, parts > 1 ? workspace : g->dweights);
    clvi_arg_view(&l, g->x);
    clvi_arg_view(&l, g->dz);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        clvi_arg_int(&l, (int32_t)values[i]);
    CLV_TRY(clvi_launch_run(&l, (size_t)clvi_div_up(outs, wide.tile),
                            (size_t)clvi_div_up(c->kh * c->kw * ins, wide.tile),
                            (size_t)(c->groups * parts), error));
    if (parts == 1)
        return CLV_OK;
    return clvi_sum_parts(device, g->dweights, workspace, parts, clvi_conv_weights(c), error);
}

clvi_amount clvi_conv_tiled_backward_workspace(const clvi_device *device, const clvi_conv *c)
{
    if (is_product(c)) {
        const clvi_gemm dx = product_dx(c), dw = product_dw(c);
        clvi_amount a = with_product((clvi_amount){0, 0}, device, &dx, c, false);
        a = with_product(a, device, &dw, c, true);
        a.constant += CLVI_GEMM_ALIGN;
        return a;
    }
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t most = most_parts(&wide, c);
    return (clvi_amount){0, most > 1 ? most * clvi_conv_weights(c) : 0};
}

clv_status clvi_conv_tiled_backward(clvi_device *device, const clvi_conv *c,
                                    const clvi_conv_grads *g, clv_error *error)
{
    clvi_view workspace = g->workspace;
    if (is_product(c))
        workspace.offset =
            (workspace.offset + CLVI_GEMM_ALIGN - 1) / CLVI_GEMM_ALIGN * CLVI_GEMM_ALIGN;
    if (g->dweights.buf)
        CLV_TRY(backward_param(device, c, g, workspace, error));
    if (g->dx.buf)
        CLV_TRY(backward_data(device, c, g, workspace, error));
    return CLV_OK;
}
