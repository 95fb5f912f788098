#include "ops/conv2d_kernels.h"

#include "ops/conv2d_winograd.h"
#include "ops/share.h"

#include <stddef.h>

enum {
    FLAT_CHANNELS = 8,     /* below: taps side by side are one, in a copy with margins */
    SMALL_GROUPS = 48,     /* work-groups of a convolution, before they are full */
    WIDE_GROUPS = 16,      /* work-groups of a convolution, where it has as many blocks */
    PARAM_GROUPS = 64,     /* work-groups of a weight gradient, where the pictures give them */
    PARAM_SPLIT = 1 << 17, /* weights above which work-groups share their rows, too */
    PARAM_LEAST = 256,     /* output pixels of each at least */
    FLAG_STATS = 8,        /* kernels/conv2d.cl */
    FLAG_ADD = 16,
    FLAG_FETCH = 32
};

#define MAX_EXTENT 1e6
#define ATTR(field, default_, low)                                                                 \
    {                                                                                              \
#field, CLV_ATTR_INT, offsetof(clvi_conv_attrs, field), default_, low, MAX_EXTENT, NULL,   \
            false                                                                                  \
    }

const clvi_attr_spec clvi_conv_attr_specs[CLVI_CONV_BN_ATTRS] = {
    ATTR(stride_h, 1, 1),
    ATTR(stride_w, 1, 1),
    ATTR(pad_top, 0, 0),
    ATTR(pad_left, 0, 0),
    ATTR(pad_bottom, 0, 0),
    ATTR(pad_right, 0, 0),
    {"activation", CLV_ATTR_TEXT, offsetof(clvi_conv_attrs, activation), 0, 0, 0, CLVI_ACT_CHOICES,
     false},
    ATTR(groups, 1, 1),
    {"eps", CLV_ATTR_REAL, offsetof(clvi_conv_attrs, eps), 1e-5, 1e-12, 1, NULL, false},
    {"momentum", CLV_ATTR_REAL, offsetof(clvi_conv_attrs, momentum), 0.1, 0, 1, NULL, false},
};

/* ---- Shapes ---- */

clv_status clvi_conv_shape(clvi_shape_request *r, const char *op, clv_error *error)
{
    const clvi_conv_attrs *a = r->attrs;
    const clv_shape *x = r->inputs[0], *w = r->inputs[1];
    char given[64];
    if (x->dtype != CLV_F32 || x->rank != 4 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, op, r, "the input is %s, wanted is f32 [N, height, width, channels]",
                        clvi_shape_text(x, given, sizeof(given)));
    const long long channels = (long long)x->dims[3], groups = (long long)a->groups;
    if (channels % groups != 0)
        CLVI_SHAPE_FAIL(error, op, r, "%lld channels do not fall into %lld groups", channels,
                        groups);
    if (w->dtype != CLV_F32 || w->rank != 4 || clvi_shape_batched(w))
        CLVI_SHAPE_FAIL(error, op, r,
                        "the weights are %s, wanted is f32 [height, width, %lld, filters]",
                        clvi_shape_text(w, given, sizeof(given)), channels / groups);
    if (w->dims[2] != channels / groups)
        CLVI_SHAPE_FAIL(error, op, r,
                        "weights %s need an input of %lld channels in each of %lld groups, it has "
                        "%lld",
                        clvi_shape_text(w, given, sizeof(given)), (long long)w->dims[2], groups,
                        channels / groups);
    if (w->dims[3] % groups != 0)
        CLVI_SHAPE_FAIL(error, op, r, "%lld filters do not fall into %lld groups",
                        (long long)w->dims[3], groups);
    const int64_t h = x->dims[1] + a->pad_top + a->pad_bottom - w->dims[0];
    const int64_t v = x->dims[2] + a->pad_left + a->pad_right - w->dims[1];
    if (h < 0 || v < 0)
        CLVI_SHAPE_FAIL(error, op, r,
                        "a kernel of %lld x %lld does not fit a picture of %lld x %lld with its "
                        "padding; make the picture or the padding larger",
                        (long long)w->dims[0], (long long)w->dims[1], (long long)x->dims[1],
                        (long long)x->dims[2]);
    r->outputs[0] =
        CLVI_SHAPE(CLV_F32, CLV_BATCH, h / a->stride_h + 1, v / a->stride_w + 1, w->dims[3]);
    return CLV_OK;
}

clvi_conv clvi_conv_of(const clv_graph *graph, const clvi_node *node, int64_t n)
{
    const clvi_conv_attrs *a = node->attrs;
    const int64_t *x = clvi_in_shape(graph, node, 0)->dims;
    const int64_t *w = clvi_in_shape(graph, node, 1)->dims;
    const bool behind = (node->joined & CLVI_JOIN_DEPTHWISE) != 0;
    const int64_t *y = behind ? clvi_in_shape(graph, node->behind[0].node, 0)->dims
                              : clvi_out_shape(graph, node, 0)->dims;
    const int64_t side = node->joined & CLVI_JOIN_MAX_POOL ? 2 : 1;
    return (clvi_conv){.n = n,
                       .h = x[1],
                       .w = x[2],
                       .ci = x[3],
                       .kh = w[0],
                       .kw = w[1],
                       .co = w[3],
                       .sh = a->stride_h,
                       .sw = a->stride_w,
                       .pt = a->pad_top,
                       .pl = a->pad_left,
                       .oh = y[1] * side,
                       .ow = y[2] * side,
                       .groups = a->groups};
}

int64_t clvi_conv_pixels(const clvi_conv *c)
{
    return c->n * c->oh * c->ow;
}

int64_t clvi_conv_weights(const clvi_conv *c)
{
    return c->kh * c->kw * c->ci / c->groups * c->co;
}

bool clvi_conv_is_plain(const clvi_conv *c)
{
    return c->kh == 1 && c->kw == 1 && c->sh == 1 && c->sw == 1 && c->pt == 0 && c->pl == 0 &&
           c->oh == c->h && c->ow == c->w;
}

static bool is_tiled(const clvi_device *device)
{
    return clvi_device_is_gpu_like(device);
}

/* The convolution of one group, as far as its channels go. */
static clvi_conv one_group(const clvi_conv *c)
{
    clvi_conv g = *c;
    g.ci /= c->groups;
    g.co /= c->groups;
    g.groups = 1;
    return g;
}

/* ---- The picture as the kernels see it ---- */

/* Few channels: the kw·ci values under a row of the filter are taken as one tap, which needs
 * margins of real zeros; and the weight gradient may read a little beyond the end. With groups only
 * the latter. */
static bool is_flat(const clvi_wide *wide, const clvi_conv *c)
{
    if (c->groups > 1)
        return c->ci < wide->param_rows;
    return (c->ci < FLAT_CHANNELS && c->kw > 1) || c->kw * c->ci < wide->param_rows;
}

/* Extents of the copy with margins. */
static int64_t flat_h(const clvi_conv *c)
{
    return (c->oh - 1) * c->sh + c->kh;
}

static int64_t flat_w(const clvi_conv *c)
{
    return (c->ow - 1) * c->sw + c->kw;
}

static clvi_amount flat_amount(const clvi_wide *wide, const clvi_conv *c)
{
    if (!is_flat(wide, c))
        return (clvi_amount){0, 0};
    return (clvi_amount){flat_h(c) * flat_w(c) * c->ci, wide->param_rows};
}

/* Arguments of the two kernels that say where a pixel of x lies. */
typedef struct picture {
    int32_t h, w, pixel, run, kw, pt, pl;
} picture;

static picture picture_of(const clvi_wide *wide, const clvi_conv *c)
{
    const bool flat = is_flat(wide, c), merged = flat && c->groups == 1;
    return (picture){.h = (int32_t)(flat ? flat_h(c) : c->h),
                     .w = (int32_t)(flat ? flat_w(c) : c->w),
                     .pixel = (int32_t)c->ci,
                     .run = (int32_t)(merged ? c->kw * c->ci : c->ci / c->groups),
                     .kw = (int32_t)(merged ? 1 : c->kw),
                     .pt = (int32_t)(flat ? 0 : c->pt),
                     .pl = (int32_t)(flat ? 0 : c->pl)};
}

/* Copies x into `to` with its margins. */
static clv_status pad(clvi_device *device, const clvi_wide *wide, const clvi_conv *c, clvi_view x,
                      clvi_view to, clv_error *error)
{
    const int64_t rows = c->n * flat_h(c);
    if (rows * flat_w(c) * c->ci > INT32_MAX)
        CLV_FAIL(error, CLV_E_MEMORY,
                 "a convolution of %lld pictures of %lld x %lld needs a copy of 2^31 elements or "
                 "more; a smaller batch needs less",
                 (long long)c->n, (long long)c->h, (long long)c->w);
    const clvi_share share = clvi_share_of(rows, flat_w(c) * c->ci, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d", "conv2d_pad", wide->options);
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, x);
    clvi_arg_int(&l, (int32_t)c->n);
    clvi_arg_int(&l, (int32_t)c->h);
    clvi_arg_int(&l, (int32_t)c->w);
    clvi_arg_int(&l, (int32_t)c->ci);
    clvi_arg_int(&l, (int32_t)flat_h(c));
    clvi_arg_int(&l, (int32_t)flat_w(c));
    clvi_arg_int(&l, (int32_t)c->pt);
    clvi_arg_int(&l, (int32_t)c->pl);
    clvi_arg_int(&l, wide->param_rows);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

/* 1 × 1 without strides or margins: all pictures are one long row of pixels. */
static clvi_conv straighten(const clvi_conv *c)
{
    clvi_conv s = *c;
    if (clvi_conv_is_plain(c)) {
        s.w = s.ow = c->n * c->h * c->w;
        s.n = s.h = s.oh = 1;
    }
    return s;
}

/* ---- Forward ---- */

/* A launch of conv2d_fwd_wide beyond its geometry. */
typedef struct wide_call {
    clvi_view x, packed, y, bias, stats, scale, spread, addend;
    int64_t y_image, y_row, y_pixel;
    int64_t image; /* pixels that share their factors in `scale` or `spread` */
    int32_t flags;
    bool pooled; /* y_…: of the pooled pixels */
} wide_call;

/* How its output is cut: pixels and column blocks of a work-group, and work-groups. */
typedef struct wide_cut {
    int64_t share, blocks, pixel_groups, column_groups;
} wide_cut;

/* Output pixels of a work-group: a multiple of the block's rows. Of small convolutions less than it
 * could be, so that no core waits long for the last one. */
static int64_t wide_share(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t block = wide->rows * wide->columns * c->kh * c->kw * c->ci;
    int64_t blocks = block > 0 ? wide->group_work / block : wide->group_work;
    const int64_t all =
        clvi_div_up(clvi_conv_pixels(c), wide->rows) * clvi_div_up(c->co, wide->columns);
    blocks = blocks < all / SMALL_GROUPS ? blocks : all / SMALL_GROUPS;
    const int64_t least = clvi_div_up(clvi_conv_pixels(c), (int64_t)CLVI_MAX_GROUPS * wide->rows);
    blocks = blocks < 1 ? 1 : blocks > 64 ? 64 : blocks;
    return (blocks > least ? blocks : least) * wide->rows;
}

/* Column blocks of a work-group. Where all packed weights fit a level-2 cache, one group takes them
 * all over its pixels, which then come from memory once; fewer, where few pixels would leave cores
 * without work. Sums of statistics do not depend on it. */
static int64_t wide_blocks(const clvi_wide *wide, const clvi_conv *c, int64_t pixel_groups)
{
    const int64_t all = clvi_div_up(c->co, wide->columns);
    const int64_t block = c->kh * c->kw * c->ci * wide->columns;
    const int64_t most = all * pixel_groups / WIDE_GROUPS;
    if (all * block > wide->cached_weights || most < 1)
        return 1;
    return most < all ? most : all;
}

static wide_cut cut_of(const clvi_wide *wide, const clvi_conv *c)
{
    wide_cut cut = {.share = wide_share(wide, c)};
    cut.pixel_groups = clvi_div_up(clvi_conv_pixels(c), cut.share);
    cut.blocks = wide_blocks(wide, c, cut.pixel_groups);
    cut.column_groups = clvi_div_up(clvi_div_up(c->co, wide->columns), cut.blocks);
    return cut;
}

/* Whether x and y are one row of pixels each (straighten), and the filter 1 × 1. */
static bool is_row(const clvi_conv *c, const picture *p)
{
    return clvi_conv_is_plain(c) && c->n == 1 && c->h == 1 && p->run == c->ci;
}

/* Of those. */
static clv_status launch_row(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                             const picture *p, const wide_call *call, clv_error *error)
{
    const wide_cut cut = cut_of(wide, c);
    const bool scaled = call->scale.buf != NULL;
    /* More than a level-2 cache holds. */
    const bool large = clvi_conv_pixels(c) * call->y_pixel > 2 * wide->cached_weights;
    CLV_ASSERT(!scaled || !call->spread.buf);
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d", scaled ? "conv2d_fwd_scaled" : "conv2d_fwd_plain",
                      wide->options);
    clvi_arg_view(&l, call->y);
    clvi_arg_view(&l, call->stats);
    clvi_arg_view(&l, call->x);
    clvi_arg_view(&l, call->packed);
    clvi_arg_view(&l, call->bias);
    clvi_arg_view(&l, scaled ? call->scale : call->spread);
    clvi_arg_view(&l, call->addend);
    clvi_arg_int(&l, (int32_t)clvi_conv_pixels(c));
    clvi_arg_int(&l, p->pixel);
    clvi_arg_int(&l, p->run);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, (int32_t)call->y_pixel);
    clvi_arg_int(&l, call->flags | (call->addend.buf ? FLAG_ADD : 0) | (large ? FLAG_FETCH : 0));
    clvi_arg_int(&l, (int32_t)cut.blocks);
    clvi_arg_int(&l, (int32_t)call->image);
    clvi_arg_int(&l, (int32_t)cut.share);
    return clvi_launch_run(&l, (size_t)cut.pixel_groups, (size_t)cut.column_groups, 1, error);
}

static clv_status launch_wide(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                              const picture *p, const wide_call *call, clv_error *error)
{
    if (is_row(c, p))
        return launch_row(device, wide, c, p, call, error);
    CLV_ASSERT(!call->scale.buf && !call->spread.buf && !call->addend.buf &&
               (!call->pooled || !call->stats.buf));
    const wide_cut cut = cut_of(wide, c);
    const int32_t side = call->pooled ? 2 : 1;
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d", call->pooled ? "conv2d_fwd_pooled" : "conv2d_fwd_wide",
                      wide->options);
    clvi_arg_view(&l, call->y);
    if (!call->pooled)
        clvi_arg_view(&l, call->stats);
    clvi_arg_view(&l, call->x);
    clvi_arg_view(&l, call->packed);
    clvi_arg_view(&l, call->bias);
    clvi_arg_int(&l, (int32_t)clvi_conv_pixels(c));
    clvi_arg_int(&l, p->h);
    clvi_arg_int(&l, p->w);
    clvi_arg_int(&l, p->pixel);
    clvi_arg_int(&l, p->run);
    clvi_arg_int(&l, (int32_t)c->kh);
    clvi_arg_int(&l, p->kw);
    clvi_arg_int(&l, (int32_t)c->sh);
    clvi_arg_int(&l, (int32_t)c->sw);
    clvi_arg_int(&l, p->pt);
    clvi_arg_int(&l, p->pl);
    clvi_arg_int(&l, (int32_t)c->oh / side);
    clvi_arg_int(&l, (int32_t)c->ow / side);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, (int32_t)call->y_image);
    clvi_arg_int(&l, (int32_t)call->y_row);
    clvi_arg_int(&l, (int32_t)call->y_pixel);
    clvi_arg_int(&l, call->flags);
    clvi_arg_int(&l, (int32_t)cut.blocks);
    clvi_arg_int(&l, (int32_t)cut.share);
    return clvi_launch_run(&l, (size_t)cut.pixel_groups, (size_t)cut.column_groups, 1, error);
}

/* Elements of one group's packed weights. */
static int64_t packed_group(const clvi_wide *wide, const clvi_conv *group)
{
    return clvi_packed_elements(wide, group->kh * group->kw * group->ci, group->co,
                                group->kw * group->ci);
}

int64_t clvi_conv_packed(const clvi_device *device, const clvi_conv *c, bool scaled)
{
    if (is_tiled(device))
        return scaled ? clvi_conv_weights(c) : 0;
    if (clvi_winograd_serves(device, c))
        return clvi_winograd_packed(device, c);
    const clvi_wide wide = clvi_wide_of(device);
    const clvi_conv group = one_group(c);
    return c->groups * packed_group(&wide, &group);
}

clv_status clvi_conv_pack(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                          clvi_view scale, clvi_view packed, clv_error *error)
{
    if (is_tiled(device))
        return scale.buf ? clvi_conv_tiled_scale(device, conv, weights, scale, packed, error)
                         : CLV_OK;
    if (clvi_winograd_serves(device, conv))
        return clvi_winograd_pack(device, conv, weights, scale, packed, error);
    const clvi_wide wide = clvi_wide_of(device);
    const clvi_conv c = one_group(conv);
    for (int64_t g = 0; g < conv->groups; g++) {
        /* [kh, kw, ci] are k's in this order: one matrix. */
        const clvi_packing p = {.to = clvi_view_at(packed, g * packed_group(&wide, &c)),
                                .from = clvi_view_at(weights, g * c.co),
                                .scale = scale.buf ? clvi_view_at(scale, g * c.co) : scale,
                                .n = (int32_t)c.co,
                                .k = (int32_t)(c.kh * c.kw * c.ci),
                                .row = (int32_t)conv->co,
                                .column = 1,
                                .taps_y = 1,
                                .taps_x = 1,
                                .zeros = (int32_t)(c.kw * c.ci)};
        CLV_TRY(clvi_pack(device, &p, error));
    }
    return CLV_OK;
}

clvi_conv_stats clvi_conv_stats_of(const clvi_device *device, const clvi_conv *conv)
{
    if (is_tiled(device) || clvi_winograd_serves(device, conv))
        return (clvi_conv_stats){0, 0};
    const clvi_wide wide = clvi_wide_of(device);
    const clvi_conv c = straighten(conv), group = one_group(&c);
    const int64_t share = wide_share(&wide, &group);
    return (clvi_conv_stats){.groups = (int32_t)clvi_div_up(clvi_conv_pixels(&c), share),
                             .share = (int32_t)share};
}

clvi_amount clvi_conv_forward_workspace(const clvi_device *device, const clvi_conv *c)
{
    if (is_tiled(device))
        return clvi_conv_tiled_forward_workspace(device, c);
    if (clvi_winograd_serves(device, c))
        return clvi_winograd_forward_workspace(device, c);
    const clvi_wide wide = clvi_wide_of(device);
    return flat_amount(&wide, c);
}

/* A view moved on, where it is one. */
static clvi_view view_if(clvi_view view, int64_t elements)
{
    return view.buf ? clvi_view_at(view, elements) : view;
}

uint32_t clvi_conv_joins(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                         bool training)
{
    const clvi_conv_attrs *a = node->attrs;
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    if (is_tiled(device) || c.groups > 1)
        return 0;
    const clvi_wide wide = clvi_wide_of(device);
    const bool plain = clvi_conv_is_plain(&c) && !is_flat(&wide, &c);
    /* Each picture's sums are as many as the weights: that costs less than passes over its pixels.
     */
    if (training)
        return plain && c.oh * c.ow >= c.co ? CLVI_JOIN_SCALE : 0;
    if (plain)
        return CLVI_JOIN_SCALE | CLVI_JOIN_ADD;
    const bool monotonous = a->activation == CLVI_ACT_NONE || a->activation == CLVI_ACT_RELU;
    const bool fours = wide.rows % 4 == 0 || clvi_winograd_serves(device, &c);
    return monotonous && fours && c.oh % 2 == 0 && c.ow % 2 == 0 ? CLVI_JOIN_MAX_POOL : 0;
}

void clvi_conv_take_joined(const clvi_run *run, clvi_conv_call *call)
{
    const uint32_t joined = run->node->joined;
    const int behind = run->node->op->max_inputs;
    if (joined & CLVI_JOIN_SCALE)
        call->scale = run->in[behind];
    if (joined & CLVI_JOIN_ADD)
        call->addend = run->in[behind + 1];
    call->pooled = (joined & CLVI_JOIN_MAX_POOL) != 0;
}

clv_status clvi_conv_forward(clvi_device *device, const clvi_conv *conv, const clvi_conv_call *call,
                             clv_error *error)
{
    if (is_tiled(device))
        return clvi_conv_tiled_forward(device, conv, call, error);
    if (clvi_winograd_serves(device, conv))
        return clvi_winograd_forward(device, conv, call, error);
    const clvi_wide wide = clvi_wide_of(device);
    const bool flat = is_flat(&wide, conv);
    if (flat)
        CLV_TRY(pad(device, &wide, conv, call->x, call->workspace, error));
    const clvi_conv c = flat ? *conv : straighten(conv), group = one_group(&c);
    const picture p = picture_of(&wide, &c);
    const int64_t side = call->pooled ? 2 : 1;
    for (int64_t g = 0; g < c.groups; g++) {
        const wide_call w = {.x = clvi_view_at(flat ? call->workspace : call->x, g * group.ci),
                             .packed = clvi_view_at(call->packed, g * packed_group(&wide, &group)),
                             .y = clvi_view_at(call->y, g * group.co),
                             .bias = view_if(call->bias, g * group.co),
                             .stats = view_if(call->stats, g * group.co),
                             .scale = call->scale,
                             .addend = call->addend,
                             .image = conv->oh * conv->ow,
                             .y_image = c.oh * c.ow * c.co / (side * side),
                             .y_row = c.ow * c.co / side,
                             .y_pixel = c.co,
                             .pooled = call->pooled,
                             .flags = (int32_t)call->activation |
                                      (call->bias.buf ? CLVI_CONV_BIAS : 0) |
                                      (call->stats.buf ? FLAG_STATS : 0)};
        CLV_TRY(launch_wide(device, &wide, &group, &p, &w, error));
    }
    return CLV_OK;
}

/* ---- Gradient to the input ---- */

clvi_conv_phase clvi_conv_phase_of(int64_t p, int64_t stride, int64_t pad, int64_t kernel,
                                   int64_t extent)
{
    clvi_conv_phase r;
    r.first = ((p - pad) % stride + stride) % stride;
    r.count = r.first < extent ? clvi_div_up(extent - r.first, stride) : 0;
    r.taps = p < kernel ? clvi_div_up(kernel - p, stride) : 0;
    r.base = (r.first + pad - p) / stride;
    return r;
}

/* One phase of one group: c->groups and its totals of channels, `at` the phase. */
static clv_status backward_phase(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                                 const clvi_conv_grads *g, const int64_t at[3], clv_error *error)
{
    const clvi_conv_phase y = clvi_conv_phase_of(at[0], c->sh, c->pt, c->kh, c->h);
    const clvi_conv_phase x = clvi_conv_phase_of(at[1], c->sw, c->pl, c->kw, c->w);
    const clvi_conv group = one_group(c);
    if (y.count == 0 || x.count == 0)
        return CLV_OK;
    const int64_t tap = group.ci * c->co, outs = at[2] * group.co;
    const int64_t last = (at[0] + c->sh * (y.taps - 1)) * c->kw + at[1] + c->sw * (x.taps - 1);
    const bool empty = y.taps == 0 || x.taps == 0; /* these pixels took part in nothing: zero */
    const clvi_packing pack = {.to = g->workspace,
                               .from = clvi_view_at(g->weights, (empty ? 0 : last * tap) + outs),
                               .n = (int32_t)group.ci,
                               .k = (int32_t)group.co,
                               .row = 1,
                               .column = (int32_t)c->co,
                               .taps_y = (int32_t)(empty ? 0 : y.taps),
                               .taps_x = (int32_t)(empty ? 1 : x.taps),
                               .tap_y = (int32_t)(-c->sh * c->kw * tap),
                               .tap_x = (int32_t)(-c->sw * tap),
                               .zeros = (int32_t)group.co};
    if (!empty)
        CLV_TRY(clvi_pack(device, &pack, error));
    /* dz is the picture, dx the output. */
    const clvi_conv phase_conv = {.n = c->n,
                                  .h = c->oh,
                                  .w = c->ow,
                                  .ci = group.co,
                                  .kh = empty ? 0 : y.taps,
                                  .kw = empty ? 0 : x.taps,
                                  .co = group.ci,
                                  .sh = 1,
                                  .sw = 1,
                                  .pt = y.taps - 1 - y.base,
                                  .pl = x.taps - 1 - x.base,
                                  .oh = y.count,
                                  .ow = x.count,
                                  .groups = 1};
    const picture p = {.h = (int32_t)c->oh,
                       .w = (int32_t)c->ow,
                       .pixel = (int32_t)c->co,
                       .run = (int32_t)group.co,
                       .kw = (int32_t)phase_conv.kw,
                       .pt = (int32_t)phase_conv.pt,
                       .pl = (int32_t)phase_conv.pl};
    const int64_t first = (y.first * c->w + x.first) * c->ci + at[2] * group.ci;
    const wide_call call = {.x = clvi_view_at(g->dz, outs),
                            .packed = g->workspace,
                            .spread = g->scale,
                            .image = g->image,
                            .y = clvi_view_at(g->dx, first),
                            .y_image = c->h * c->w * c->ci,
                            .y_row = c->sh * c->w * c->ci,
                            .y_pixel = c->sw * c->ci};
    return launch_wide(device, wide, &phase_conv, &p, &call, error);
}

/* Elements of the packed filter of the largest phase, the one with every first tap. */
static int64_t backward_packed(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t taps = clvi_div_up(c->kh, c->sh) * clvi_div_up(c->kw, c->sw);
    const clvi_conv group = one_group(c);
    return clvi_packed_elements(wide, taps * group.co, group.ci, group.co);
}

static clv_status backward_data(clvi_device *device, const clvi_wide *wide, const clvi_conv *conv,
                                const clvi_conv_grads *g, clv_error *error)
{
    const clvi_conv c = straighten(conv);
    for (int64_t i = 0; i < c.sh * c.sw * c.groups; i++) {
        /* In order on one queue: all phases may pack into the same place. */
        const int64_t phase = i % (c.sh * c.sw);
        const int64_t at[3] = {phase / c.sw, phase % c.sw, i / (c.sh * c.sw)};
        CLV_TRY(backward_phase(device, wide, &c, g, at, error));
    }
    return CLV_OK;
}

/* ---- Gradient to the weights ---- */

/* How the output's pixels are cut for the weight gradient. */
typedef struct chunks {
    int64_t count, pixels;
} chunks;

/* Filter rows of a work-group: all, so that it packs dz once for them, unless that makes many
 * copies of many weights. */
static int64_t param_span(const clvi_conv *c)
{
    return clvi_conv_weights(c) <= PARAM_SPLIT ? c->kh : 1;
}

static int64_t most_chunks(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t columns = clvi_div_up(c->co / c->groups, wide->columns);
    const int64_t groups = columns * c->kh / param_span(c);
    const int64_t most = groups < PARAM_GROUPS ? clvi_div_up(PARAM_GROUPS, groups) : 1;
    /* Few weights: shorter chunks, whose pixels are in a cache when the next columns come. */
    int64_t cheap = PARAM_SPLIT / clvi_conv_weights(c);
    cheap = cheap < PARAM_GROUPS ? cheap : PARAM_GROUPS;
    return most > cheap ? most : cheap;
}

static chunks chunks_of(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t pixels = clvi_conv_pixels(c), most = most_chunks(wide, c);
    int64_t count = clvi_div_up(pixels, PARAM_LEAST);
    count = count < most ? count : most;
    const int64_t chunk = clvi_div_up(pixels, count);
    return (chunks){.count = clvi_div_up(pixels, chunk), .pixels = chunk};
}

/* The same of one picture of the c->n, where each has sums of its own. */
static chunks chunks_of_picture(const clvi_wide *wide, const clvi_conv *c)
{
    const int64_t pixels = c->oh * c->ow, most = clvi_div_up(most_chunks(wide, c), c->n);
    int64_t count = pixels / PARAM_LEAST;
    count = count < 1 ? 1 : count < most ? count : most;
    const int64_t chunk = clvi_div_up(pixels, count);
    return (chunks){.count = clvi_div_up(pixels, chunk), .pixels = chunk};
}

/* Gradients to the weights and the scale from the sums of each picture, which are the workspace. */
static clv_status backward_scale(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                                 const clvi_conv_grads *g, clv_error *error)
{
    const int64_t parts = chunks_of_picture(wide, c).count;
    const clvi_share share = clvi_share_of(c->ci, c->n * parts * c->co, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "conv2d", "conv2d_bwd_scale", wide->options);
    clvi_arg_view(&l, g->dweights);
    clvi_arg_view(&l, g->dscale);
    clvi_arg_view(&l, g->workspace);
    clvi_arg_view(&l, g->weights);
    clvi_arg_view(&l, g->scale);
    clvi_arg_int(&l, (int32_t)c->n);
    clvi_arg_int(&l, (int32_t)parts);
    clvi_arg_int(&l, (int32_t)c->ci);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

/* In the workspace: the parts, then the picture with margins where there is one. */
static clv_status backward_param(clvi_device *device, const clvi_wide *wide, const clvi_conv *conv,
                                 const clvi_conv_grads *g, clv_error *error)
{
    const bool flat = is_flat(wide, conv), scaled = g->scale.buf != NULL;
    const clvi_conv c = flat ? *conv : straighten(conv);
    chunks k = scaled ? chunks_of_picture(wide, conv) : chunks_of(wide, &c);
    const int64_t image = scaled ? g->image : clvi_conv_pixels(&c);
    k.count *= clvi_conv_pixels(&c) / image;
    const picture p = picture_of(wide, &c);
    const clvi_conv group = one_group(&c);
    const int64_t parts = most_chunks(wide, conv) > 1 ? most_chunks(wide, conv) : 0;
    const clvi_view margins = clvi_view_at(g->workspace, parts * clvi_conv_weights(&c));
    if (flat)
        CLV_TRY(pad(device, wide, conv, g->x, margins, error));
    for (int64_t q = 0; q < c.groups; q++) {
        clvi_launch l;
        clvi_launch_begin(&l, device, "conv2d", "conv2d_bwd_param_wide", wide->options);
        const bool apart = k.count > 1 || scaled;
        clvi_arg_view(&l, clvi_view_at(apart ? g->workspace : g->dweights, q * group.co));
        clvi_arg_view(&l, clvi_view_at(flat ? margins : g->x, q * group.ci));
        clvi_arg_view(&l, clvi_view_at(g->dz, q * group.co));
        clvi_arg_int(&l, (int32_t)clvi_conv_pixels(&c));
        clvi_arg_int(&l, p.h);
        clvi_arg_int(&l, p.w);
        clvi_arg_int(&l, p.pixel);
        clvi_arg_int(&l, p.run);
        clvi_arg_int(&l, (int32_t)c.kh);
        clvi_arg_int(&l, p.kw);
        clvi_arg_int(&l, (int32_t)c.sh);
        clvi_arg_int(&l, (int32_t)c.sw);
        clvi_arg_int(&l, p.pt);
        clvi_arg_int(&l, p.pl);
        clvi_arg_int(&l, (int32_t)c.oh);
        clvi_arg_int(&l, (int32_t)c.ow);
        clvi_arg_int(&l, (int32_t)group.co);
        clvi_arg_int(&l, (int32_t)c.co);
        clvi_arg_int(&l, (int32_t)(q * group.ci));
        clvi_arg_int(&l, (int32_t)param_span(&c));
        clvi_arg_int(&l, (int32_t)image);
        clvi_arg_int(&l, (int32_t)k.pixels);
        CLV_TRY(clvi_launch_run(&l, (size_t)clvi_div_up(group.co, wide->columns), (size_t)k.count,
                                (size_t)(c.kh / param_span(&c)), error));
    }
    if (scaled)
        return backward_scale(device, wide, conv, g, error);
    if (k.count == 1)
        return CLV_OK;
    return clvi_sum_parts(device, g->dweights, g->workspace, k.count, clvi_conv_weights(&c), error);
}

clvi_amount clvi_conv_backward_workspace(const clvi_device *device, const clvi_conv *c, bool scaled)
{
    if (is_tiled(device))
        return clvi_conv_tiled_backward_workspace(device, c);
    if (clvi_winograd_serves(device, c))
        return clvi_winograd_backward_workspace(device, c);
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t most = most_chunks(&wide, c), packed = backward_packed(&wide, c);
    clvi_amount a = flat_amount(&wide, c);
    a.constant += most > 1 || scaled ? most * clvi_conv_weights(c) : 0;
    a.per_sample += scaled ? clvi_conv_weights(c) : 0;
    a.constant = a.constant > packed ? a.constant : packed;
    return a;
}

clv_status clvi_conv_backward(clvi_device *device, const clvi_conv *conv,
                              const clvi_conv_grads *grads, clv_error *error)
{
    if (is_tiled(device))
        return clvi_conv_tiled_backward(device, conv, grads, error);
    if (clvi_winograd_serves(device, conv))
        return clvi_winograd_backward(device, conv, grads, error);
    const clvi_wide wide = clvi_wide_of(device);
    if (grads->dweights.buf || grads->dscale.buf)
        CLV_TRY(backward_param(device, &wide, conv, grads, error));
    if (grads->dx.buf)
        CLV_TRY(backward_data(device, &wide, conv, grads, error));
    return CLV_OK;
}
