#include "ops/depthwise_kernels.h"

#include "ops/share.h"

#include <stdio.h>

enum {
    PARAM_GROUPS = 32,  /* chunks of a weight gradient, where the pictures give them */
    TILED_GROUPS = 128, /* the same for GPUs */
    PARAM_LEAST = 8,    /* outputs of each at least, per tap: the partial sums cost little then */
    PARAM_VECTORS = 64, /* DW_CHANNELS of the kernel, in vectors */
    MEAN_GROUPS = 16,   /* of a sample, that leave their share of a mean */
    PARAM_PIECE = 1 << 15, /* elements of x and dz that stay in the nearest caches: 128 KiB */
};

clv_status clvi_depthwise_shape(clvi_shape_request *r, const char *op, clv_error *error)
{
    const clvi_conv_attrs *a = r->attrs;
    const clv_shape *x = r->inputs[0], *w = r->inputs[1];
    char left[64], right[64];
    clvi_shape_text(x, left, sizeof left);
    clvi_shape_text(w, right, sizeof right);
    if (x->dtype != CLV_F32 || x->rank != 4 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, op, r,
                        "the input is %s; it must be f32 [N, height, width, channels]", left);
    if (w->dtype != CLV_F32 || w->rank != 3 || clvi_shape_batched(w) || w->dims[2] != x->dims[3])
        CLVI_SHAPE_FAIL(error, op, r,
                        "the weights are %s for an input of %s; they must be f32 [height, width, "
                        "channels]",
                        right, left);
    const int64_t h = x->dims[1] + a->pad_top + a->pad_bottom - w->dims[0];
    const int64_t v = x->dims[2] + a->pad_left + a->pad_right - w->dims[1];
    if (h < 0 || v < 0)
        CLVI_SHAPE_FAIL(error, op, r, "a kernel %s does not fit a picture %s with its padding",
                        right, left);
    r->outputs[0] =
        CLVI_SHAPE(CLV_F32, CLV_BATCH, h / a->stride_h + 1, v / a->stride_w + 1, x->dims[3]);
    return CLV_OK;
}

/* The options of the kernels' variant: filters of 3 and 5 with strides of 1 and 2 are the
 * networks'. Where several work-items share a group, two of them must not write the same channels
 * (DW_CHANNEL). */
static void options_of(const clvi_device *device, const clvi_conv *c, char out[32])
{
    const int vector = clvi_tuning_int(device, "vector"), items = clvi_tuning_int(device, "items");
    out[0] = '\0';
    if (items > 1 && c->ci % vector != 0)
        return;
    if (c->kh == c->kw && (c->kh == 3 || c->kh == 5) && c->sh == c->sw && c->sh <= 2 &&
        c->ci >= vector)
        snprintf(out, 32, "-DDW_K=%d -DDW_S=%d", (int)c->kh, (int)c->sh);
}

/* Chunks of pixels that the weight gradient is summed over first, at most. */
static int64_t most_chunks(const clvi_device *device)
{
    return clvi_tuning_int(device, "items") > 1 ? TILED_GROUPS : PARAM_GROUPS;
}

int64_t clvi_depthwise_parts(const clvi_device *device, const clvi_conv *c)
{
    return most_chunks(device) * c->kh * c->kw * c->ci;
}

/* The extents that all kernels take, from h on. */
static void add_geometry(clvi_launch *l, const clvi_conv *c)
{
    const int64_t values[] = {c->h,  c->w,  c->ci, c->kh, c->kw, c->sh,
                              c->sw, c->pt, c->pl, c->oh, c->ow};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        clvi_arg_int(l, (int32_t)values[i]);
}

/* Rows of a work-group: of all n pictures, or of one. */
static clvi_share forward_share(const clvi_conv *c, bool mean)
{
    const int64_t cost = (1 + c->sw) * c->ow * c->ci;
    clvi_share share = clvi_share_of(mean ? c->oh : c->n * c->oh, cost, 1);
    if (mean && share.groups > MEAN_GROUPS) {
        share.items = (int32_t)clvi_div_up(c->oh, MEAN_GROUPS);
        share.groups = (size_t)clvi_div_up(c->oh, share.items);
    }
    return share;
}

uint32_t clvi_depthwise_joins(const clvi_device *device, const clv_graph *graph,
                              const clvi_node *node, bool training)
{
    (void)graph, (void)node;
    const uint32_t behind = training ? 0 : CLVI_JOIN_DENSE;
    return clvi_tuning_int(device, "items") == 1 ? CLVI_JOIN_MEAN | behind : 0;
}

int64_t clvi_depthwise_parts_of_mean(const clvi_conv *c)
{
    return (int64_t)forward_share(c, true).groups;
}

clvi_norm_groups clvi_depthwise_stats(const clvi_device *device, const clvi_conv *c)
{
    if (clvi_tuning_int(device, "items") > 1)
        return (clvi_norm_groups){0, 0};
    const clvi_share share = forward_share(c, false);
    return (clvi_norm_groups){(int32_t)share.groups, share.items * (int32_t)c->ow};
}

clv_status clvi_depthwise_forward(clvi_device *device, const clvi_conv *c,
                                  const clvi_depthwise_call *call, clv_error *error)
{
    const bool mean = call->parts.buf != NULL;
    const clvi_share share = forward_share(c, mean);
    char options[32];
    options_of(device, c, options);
    clvi_launch l;
    clvi_launch_begin(&l, device, "depthwise_conv2d", "depthwise_conv2d_fwd", options);
    clvi_arg_view(&l, call->y);
    clvi_arg_view(&l, call->sum);
    clvi_arg_view(&l, call->x);
    clvi_arg_view(&l, call->weights);
    clvi_arg_view(&l, call->bias);
    clvi_arg_view(&l, call->parts);
    clvi_arg_view(&l, call->stats);
    clvi_arg_int(&l, mean ? 1 : (int32_t)c->n);
    add_geometry(&l, c);
    clvi_arg_int(&l, (int32_t)call->activation);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, mean ? (size_t)c->n : 1, 1, error);
}

clv_status clvi_depthwise_scale(clvi_device *device, const clvi_conv *c, clvi_view weights,
                                clvi_view scale, clvi_view to, clv_error *error)
{
    const int64_t total = c->kh * c->kw * c->ci;
    const clvi_share share = clvi_share_of(total, 2, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "depthwise_conv2d", "depthwise_conv2d_scale", "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, weights);
    clvi_arg_view(&l, scale);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, (int32_t)c->ci);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward_data(clvi_device *device, const clvi_conv *c, const clvi_conv_grads *g,
                                clv_error *error)
{
    const clvi_share share = clvi_share_of(c->n * c->h, 2 * c->w * c->ci, 1);
    char options[32];
    options_of(device, c, options);
    clvi_launch l;
    clvi_launch_begin(&l, device, "depthwise_conv2d", "depthwise_conv2d_bwd_data", options);
    clvi_arg_view(&l, g->dx);
    clvi_arg_view(&l, g->dz);
    clvi_arg_view(&l, g->weights);
    clvi_arg_int(&l, (int32_t)c->n);
    add_geometry(&l, c);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward_param(clvi_device *device, const clvi_conv *c, const clvi_conv_grads *g,
                                 clv_error *error)
{
    const int64_t rows = c->n * c->oh, taps = c->kh * c->kw;
    int64_t chunks = clvi_conv_pixels(c) / (PARAM_LEAST * taps);
    const int64_t most = most_chunks(device);
    chunks = chunks < 1 ? 1 : chunks > most ? most : chunks;
    const int64_t chunk = clvi_div_up(rows, chunks);
    chunks = clvi_div_up(rows, chunk);
    const int items = clvi_tuning_int(device, "items");
    const int64_t channels =
        (items > 1 ? items : PARAM_VECTORS) * clvi_tuning_int(device, "vector");
    const int64_t width = c->ci < channels ? c->ci : channels;
    const int64_t piece = PARAM_PIECE / (width * (c->ow + c->sh * c->w));
    char options[32];
    options_of(device, c, options);
    clvi_launch l;
    clvi_launch_begin(&l, device, "depthwise_conv2d", "depthwise_conv2d_bwd_param", options);
    clvi_arg_view(&l, chunks > 1 ? g->workspace : g->dweights);
    clvi_arg_view(&l, g->x);
    clvi_arg_view(&l, g->dz);
    clvi_arg_int(&l, (int32_t)rows);
    add_geometry(&l, c);
    clvi_arg_int(&l, (int32_t)chunk);
    clvi_arg_int(&l, (int32_t)(piece > 0 ? piece : 1));
    CLV_TRY(clvi_launch_run(&l, (size_t)chunks, (size_t)clvi_div_up(c->ci, channels), 1, error));
    if (chunks == 1)
        return CLV_OK;
    return clvi_sum_parts(device, g->dweights, g->workspace, chunks, taps * c->ci, error);
}

clv_status clvi_depthwise_backward(clvi_device *device, const clvi_conv *c,
                                   const clvi_conv_grads *g, clv_error *error)
{
    if (g->dx.buf)
        CLV_TRY(backward_data(device, c, g, error));
    if (g->dweights.buf)
        CLV_TRY(backward_param(device, c, g, error));
    return CLV_OK;
}

int64_t clvi_depthwise_macs(const clv_graph *graph, const clvi_node *node)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    return c.oh * c.ow * c.ci * c.kh * c.kw;
}
