/* depthwise_conv2d: each channel with a filter of its own. Inputs: x [N, H, W, C] f32, weights
 * [kh, kw, C], bias [C] (optional). Output: y = act(x * weights + bias) [N, H', W', C]. Attributes:
 * those of conv2d. relu goes back by y, silu by the sum before it, which training saves.
 * Kernels: kernels/depthwise_conv2d.cl. Reference: tests/ref/depthwise_conv2d_ref.c. */
#include "ops/activate.h"
#include "ops/conv2d_kernels.h"
#include "ops/share.h"

#include <stdio.h>

enum {
    PARAM_GROUPS = 32,  /* chunks of a weight gradient, where the pictures give them */
    TILED_GROUPS = 128, /* the same for GPUs */
    PARAM_LEAST = 8,    /* outputs of each at least, per tap: the partial sums cost little then */
    PARAM_VECTORS = 64, /* DW_CHANNELS of the kernel, in vectors */
    PARAM_PIECE = 1 << 15, /* elements of x and dz that stay in the nearest caches: 128 KiB */
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clvi_conv_attrs *a = r->attrs;
    const clv_shape *x = r->inputs[0], *w = r->inputs[1], *bias = r->inputs[2];
    char left[64], right[64];
    clvi_shape_text(x, left, sizeof left);
    clvi_shape_text(w, right, sizeof right);
    if (x->dtype != CLV_F32 || x->rank != 4 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d", r,
                        "the input is %s; it must be f32 [N, height, width, channels]", left);
    if (w->dtype != CLV_F32 || w->rank != 3 || clvi_shape_batched(w) || w->dims[2] != x->dims[3])
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d", r,
                        "the weights are %s for an input of %s; they must be f32 [height, width, "
                        "channels]",
                        right, left);
    if (bias && (bias->dtype != CLV_F32 || bias->rank != 1 || bias->dims[0] != x->dims[3]))
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d", r, "the bias must be f32 [%lld]",
                        (long long)x->dims[3]);
    const int64_t h = x->dims[1] + a->pad_top + a->pad_bottom - w->dims[0];
    const int64_t v = x->dims[2] + a->pad_left + a->pad_right - w->dims[1];
    if (h < 0 || v < 0)
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d", r,
                        "a kernel %s does not fit a picture %s with its padding", right, left);
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

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)mode;
    const clvi_conv_attrs *a = node->attrs;
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    const int64_t outputs = c.oh * c.ow * c.ci;
    if (wants_grad == 0)
        return;
    out->backward_inputs = (wants_grad & 1) << 1 | (wants_grad & 2) >> 1;
    out->backward_outputs = a->activation == CLVI_ACT_RELU;
    if (clvi_act_saves_sum(a->activation, wants_grad))
        out->saved[0].per_sample = outputs;
    if (a->activation != CLVI_ACT_NONE && (wants_grad & 3) != 0)
        out->backward_workspace.per_sample = outputs;
    const int64_t parts = wants_grad & 2 ? most_chunks(device) * c.kh * c.kw * c.ci : 0;
    const int64_t sums = wants_grad & 4 ? clvi_act_workspace(c.ci) : 0;
    out->backward_workspace.constant = parts > sums ? parts : sums;
}

/* The extents that all kernels take, from h on. */
static void add_geometry(clvi_launch *l, const clvi_conv *c)
{
    const int64_t values[] = {c->h,  c->w,  c->ci, c->kh, c->kw, c->sh,
                              c->sw, c->pt, c->pl, c->oh, c->ow};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        clvi_arg_int(l, (int32_t)values[i]);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_share share = clvi_share_of(c.n * c.oh, (1 + c.sw) * c.ow * c.ci, 1);
    char options[32];
    options_of(run->device, &c, options);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "depthwise_conv2d", "depthwise_conv2d_fwd", options);
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->saved[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_view(&l, run->in[2]);
    clvi_arg_int(&l, (int32_t)c.n);
    add_geometry(&l, &c);
    clvi_arg_int(&l, (int32_t)a->activation);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward_data(const clvi_run *run, const clvi_conv *c, clvi_view dz,
                                clv_error *error)
{
    const clvi_share share = clvi_share_of(c->n * c->h, 2 * c->w * c->ci, 1);
    char options[32];
    options_of(run->device, c, options);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "depthwise_conv2d", "depthwise_conv2d_bwd_data", options);
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, dz);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_int(&l, (int32_t)c->n);
    add_geometry(&l, c);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward_param(const clvi_run *run, const clvi_conv *c, clvi_view dz,
                                 clvi_view parts, clv_error *error)
{
    const int64_t rows = c->n * c->oh, taps = c->kh * c->kw;
    int64_t chunks = clvi_conv_pixels(c) / (PARAM_LEAST * taps);
    const int64_t most = most_chunks(run->device);
    chunks = chunks < 1 ? 1 : chunks > most ? most : chunks;
    const int64_t chunk = clvi_div_up(rows, chunks);
    chunks = clvi_div_up(rows, chunk);
    const int items = clvi_tuning_int(run->device, "items");
    const int64_t channels =
        (items > 1 ? items : PARAM_VECTORS) * clvi_tuning_int(run->device, "vector");
    const int64_t width = c->ci < channels ? c->ci : channels;
    const int64_t piece = PARAM_PIECE / (width * (c->ow + c->sh * c->w));
    char options[32];
    options_of(run->device, c, options);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "depthwise_conv2d", "depthwise_conv2d_bwd_param", options);
    clvi_arg_view(&l, chunks > 1 ? parts : run->grad_in[1]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, dz);
    clvi_arg_int(&l, (int32_t)rows);
    add_geometry(&l, c);
    clvi_arg_int(&l, (int32_t)chunk);
    clvi_arg_int(&l, (int32_t)(piece > 0 ? piece : 1));
    CLV_TRY(clvi_launch_run(&l, (size_t)chunks, (size_t)clvi_div_up(c->ci, channels), 1, error));
    if (chunks == 1)
        return CLV_OK;
    return clvi_sum_parts(run->device, run->grad_in[1], parts, chunks, taps * c->ci, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const bool own = a->activation != CLVI_ACT_NONE && (run->wants_grad & 3) != 0;
    clvi_view rest = run->workspace;
    if (own)
        rest.offset += (uint64_t)(clvi_conv_pixels(&c) * c.ci);
    clvi_act_grads act = {.workspace = rest,
                          .rows = clvi_conv_pixels(&c),
                          .columns = c.ci,
                          .activation = a->activation};
    CLV_TRY(clvi_act_run_backward(run, &act, own, error));
    if (run->wants_grad & 1)
        CLV_TRY(backward_data(run, &c, act.dz, error));
    if (run->wants_grad & 2)
        CLV_TRY(backward_param(run, &c, act.dz, rest, error));
    return CLV_OK;
}

/* kh·kw for each output element. */
static int64_t macs(const clv_graph *graph, const clvi_node *node)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    return c.oh * c.ow * c.ci * c.kh * c.kw;
}

const clvi_op clvi_op_depthwise_conv2d = {
    .name = "depthwise_conv2d",
    .min_inputs = 2,
    .max_inputs = 3,
    .output_count = 1,
    .attrs = clvi_conv_attr_specs,
    .attr_count = CLVI_DEPTHWISE_ATTRS,
    .attr_bytes = sizeof(clvi_conv_attrs),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
    .macs = macs,
};
