#include "ops/expand_depthwise.h"

enum {
    STRIP_BYTES = 256 << 10, /* of local memory, at most: a part of a level-2 cache */
    FEW_PIXELS = 4,          /* of a picture */
    LEAST_GROUPS = 8         /* of a picture, as far as its rows go */
};

clvi_expand_depthwise clvi_expand_depthwise_of(const clv_graph *graph, const clvi_node *node,
                                               int64_t n)
{
    return (clvi_expand_depthwise){
        .expand = clvi_conv_of(graph, node, n),
        .depthwise = clvi_conv_of(graph, node->behind[0].node, n),
    };
}

/* Outputs that the kernel computes at a time: what fits the registers, and a row in whole blocks if
 * it can be. */
static int64_t block_of(const clvi_device *device, const clvi_conv *depthwise)
{
    if (clvi_tuning_int(device, "vector") < 16)
        return depthwise->sw == 2 ? 3 : 4;
    if (depthwise->ow % 7 == 0)
        return 7;
    return depthwise->ow > 4 && depthwise->kw == 5 && depthwise->sw == 1 ? 8 : 4;
}

/* How a picture is cut: output rows of a work-group, how many, pixels of a row in local memory
 * and bytes of it. rows 0: it does not fit. */
typedef struct strips {
    int64_t rows, count, wide, bytes;
} strips;

static strips strips_of(const clvi_device *device, const clvi_conv *d)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t block = block_of(device, d);
    const int64_t over = (clvi_div_up(d->ow, block) * block - 1) * d->sw + d->kw;
    strips c = {.wide = over > d->pl + d->w ? over : d->pl + d->w};
    const int64_t most = (int64_t)clvi_device_get_info(device)->local_bytes;
    const int64_t row = c.wide * wide.columns * 4;
    const int64_t rows = (most < STRIP_BYTES ? most : STRIP_BYTES) / row;
    if (rows < d->kh)
        return c;
    c.count = clvi_div_up(d->oh, (rows - d->kh) / d->sh + 1);
    const int64_t blocks = clvi_div_up(d->ci, wide.columns);
    if (c.count * blocks < LEAST_GROUPS)
        c.count = clvi_div_up(LEAST_GROUPS, blocks);
    c.rows = clvi_div_up(d->oh, c.count < d->oh ? c.count : d->oh);
    c.count = clvi_div_up(d->oh, c.rows);
    c.bytes = ((c.rows - 1) * d->sh + d->kh) * row;
    return c;
}

bool clvi_expand_depthwise_serves(const clvi_device *device, const clv_graph *graph,
                                  const clvi_node *expand, const clvi_node *depthwise,
                                  int64_t batch)
{
    const clvi_conv e = clvi_conv_of(graph, expand, 1), d = clvi_conv_of(graph, depthwise, 1);
    const int64_t pixels = e.h * e.w;
    if (pixels <= FEW_PIXELS && batch * pixels > clvi_wide_of(device).rows)
        return false;
    return !clvi_device_is_gpu_like(device) && clvi_conv_is_plain(&e) && e.groups == 1 &&
           d.kh == d.kw && (d.kh == 3 || d.kh == 5) && d.sh == d.sw && d.sh <= 2 &&
           d.ci % clvi_tuning_int(device, "vector") == 0 && strips_of(device, &d).rows > 0;
}

int64_t clvi_expand_depthwise_strips(const clvi_device *device, const clvi_expand_depthwise *c)
{
    return strips_of(device, &c->depthwise).count;
}

clv_status clvi_expand_depthwise_forward(clvi_device *device, const clvi_expand_depthwise *c,
                                         const clvi_expand_depthwise_call *call, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const clvi_conv *d = &c->depthwise;
    const strips cut = strips_of(device, d);
    clvi_launch l;
    clvi_launch_begin(&l, device, "expand_depthwise", "expand_depthwise_fwd", wide.options);
    clvi_arg_view(&l, call->y);
    clvi_arg_view(&l, call->parts);
    clvi_arg_view(&l, call->x);
    clvi_arg_view(&l, call->packed);
    clvi_arg_view(&l, call->bias);
    clvi_arg_view(&l, call->weights);
    clvi_arg_view(&l, call->bias2);
    clvi_arg_local(&l, (size_t)cut.bytes);
    clvi_arg_int(&l, (int32_t)d->h);
    clvi_arg_int(&l, (int32_t)d->w);
    clvi_arg_int(&l, (int32_t)c->expand.ci);
    clvi_arg_int(&l, (int32_t)d->ci);
    clvi_arg_int(&l, (int32_t)d->pt);
    clvi_arg_int(&l, (int32_t)d->pl);
    clvi_arg_int(&l, (int32_t)d->kh);
    clvi_arg_int(&l, (int32_t)d->sh);
    clvi_arg_int(&l, (int32_t)block_of(device, d));
    clvi_arg_int(&l, (int32_t)d->oh);
    clvi_arg_int(&l, (int32_t)d->ow);
    clvi_arg_int(&l, (int32_t)call->activation);
    clvi_arg_int(&l, (int32_t)call->activation2);
    clvi_arg_int(&l, (int32_t)cut.rows);
    clvi_arg_int(&l, (int32_t)cut.wide);
    return clvi_launch_run(&l, (size_t)clvi_div_up(d->ci, wide.columns), (size_t)cut.count,
                           (size_t)d->n, error);
}
