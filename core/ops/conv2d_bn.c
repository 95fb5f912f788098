/* conv2d_bn: y = act(batch_norm(x * weights)). Inputs: x [N, H, W, C] f32, weights [kh, kw, C,
 * filters], then batch_norm's weight, bias, running_mean, running_var [filters]. Output: y [N, H',
 * W', filters]. Attributes: conv2d's, eps, momentum. Training saves the convolution's result and
 * its statistics, which the convolution takes along; inference folds the normalisation into the
 * weights, and so does training where the op is frozen and no gradient passes it. Frozen with a
 * gradient, it normalises the saved result by the running statistics. Kernels: kernels/conv2d.cl,
 * kernels/batch_norm.cl. Reference: tests/ref/conv2d_bn_ref.c.
 */
#include "ops/conv_norm.h"
#include "ops/expand_depthwise.h"
#include "ops/share.h"
#include "ops/squeeze_excite.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    CLV_TRY(clvi_conv_shape(r, "conv2d_bn", error));
    return clvi_norm_shapes(r, "conv2d_bn", 2, r->outputs[0].dims[3], error);
}

static clvi_amount sum_of(clvi_amount a, clvi_amount b)
{
    return (clvi_amount){a.per_sample + b.per_sample, a.constant + b.constant};
}

/* The statistics that the convolution leaves, for any n. */
static clvi_amount stats_amount(const clvi_device *device, const clvi_conv *one)
{
    const clvi_conv_stats s = clvi_conv_stats_of(device, one);
    if (s.groups == 0)
        return clvi_norm_workspace(one->oh * one->ow, one->co);
    return (clvi_amount){s.groups * clvi_norm_stats(one->co), clvi_norm_stats(one->co)};
}

/* Elements of the packed weights, before the folded statistics. */
static int64_t packed_of(const clvi_device *device, const clvi_conv *c, clv_mode mode,
                         uint32_t wants_grad)
{
    return clvi_conv_packed(device, c, clvi_conv_norm_folds(mode, wants_grad));
}

/* The same, and the statistics: what stands in `prepared` before what a depthwise convolution
 * behind it has there. */
static int64_t prepared_of(const clvi_device *device, const clvi_conv *c)
{
    const int64_t own = packed_of(device, c, CLV_MODE_INFER, 0) + CLVI_NORM_FOLD * c->co;
    return clvi_div_up(own, CLVI_FLAT_STEP) * CLVI_FLAT_STEP;
}

/* What joined nodes need beside it. */
static void joined_needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                         const clvi_conv *c, clvi_needs *out)
{
    const clvi_node *behind = node->behind[0].node;
    clvi_needs own = {0};
    behind->op->needs(device, graph, behind, CLV_MODE_INFER, 0, &own);
    out->prepared.constant = prepared_of(device, c) + own.prepared.constant;
    if (node->joined & CLVI_JOIN_MEAN) {
        const clvi_expand_depthwise both = clvi_expand_depthwise_of(graph, node, 1);
        const int64_t strips = clvi_expand_depthwise_strips(device, &both);
        out->forward_workspace = (clvi_amount){strips * both.depthwise.ci, 0};
    }
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    clvi_conv_norm_needs(&c, c.co, packed_of(device, &c, mode, wants_grad), mode, wants_grad, out);
    out->forward_workspace = clvi_conv_forward_workspace(device, &c);
    if (node->joined & CLVI_JOIN_DEPTHWISE)
        joined_needs(device, graph, node, &c, out);
    if (mode == CLV_MODE_TRAIN)
        out->forward_workspace = sum_of(out->forward_workspace, stats_amount(device, &c));
    if (clvi_conv_norm_folds(mode, wants_grad) || wants_grad == 0)
        return;
    const clvi_amount norm = clvi_norm_workspace(c.oh * c.ow, c.co);
    const bool scaled = (node->joined & CLVI_JOIN_SCALE) != 0;
    const clvi_amount conv = clvi_conv_backward_workspace(device, &c, scaled);
    if (scaled)
        out->backward_inputs |=
            1u << node->op->max_inputs | (wants_grad >> node->op->max_inputs & 1 ? 3u : 0);
    out->backward_workspace =
        (clvi_amount){norm.per_sample > conv.per_sample ? norm.per_sample : conv.per_sample,
                      norm.constant > conv.constant ? norm.constant : conv.constant};
}

static clvi_norm norm_of(const clvi_run *run, const clvi_conv *c)
{
    return clvi_conv_norm_of(run, c, c->co, packed_of(run->device, c, run->mode, run->wants_grad));
}

/* The depthwise convolution behind this one, with its part of `prepared`. */
static clvi_run run_of_depthwise(const clvi_run *run, const clvi_conv *c)
{
    clvi_run behind = clvi_run_behind(run, &run->node->behind[0]);
    behind.prepared = clvi_view_at(run->prepared, prepared_of(run->device, c));
    return behind;
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    const clvi_norm norm = norm_of(run, &c);
    clvi_view scale = {0};
    if (norm.fixed)
        CLV_TRY(clvi_norm_fold(run->device, &norm, norm.saved, error));
    if (clvi_conv_norm_folds(run->mode, run->wants_grad))
        scale = clvi_view_at(norm.saved, 2 * c.co);
    CLV_TRY(clvi_conv_pack(run->device, &c, run->in[1], scale, run->prepared, error));
    if (!(run->node->joined & CLVI_JOIN_DEPTHWISE))
        return CLV_OK;
    const clvi_run behind = run_of_depthwise(run, &c);
    return behind.node->op->prepare(&behind, error);
}

/* Both convolutions, and what is made of the second one's mean. call: that of the first. */
static clv_status forward_both(const clvi_run *run, const clvi_conv *c, const clvi_conv_call *call,
                               clv_error *error)
{
    const clvi_expand_depthwise both = clvi_expand_depthwise_of(run->graph, run->node, run->n);
    const clvi_conv *d = &both.depthwise;
    const clvi_run behind = run_of_depthwise(run, c);
    const clvi_conv_attrs *a = behind.node->attrs;
    const bool mean = (run->node->joined & CLVI_JOIN_MEAN) != 0;
    const clvi_expand_depthwise_call two = {.x = call->x,
                                            .packed = call->packed,
                                            .bias = call->bias,
                                            .weights = behind.prepared,
                                            .bias2 = clvi_depthwise_folded_bias(&behind),
                                            .y = call->y,
                                            .parts = mean ? run->workspace : (clvi_view){0},
                                            .activation = call->activation,
                                            .activation2 = a->activation};
    CLV_TRY(clvi_expand_depthwise_forward(run->device, &both, &two, error));
    if (!mean)
        return CLV_OK;
    const clvi_pixel_sums sums = {run->workspace, run->n,
                                  clvi_expand_depthwise_strips(run->device, &both), d->ci};
    return clvi_squeeze(run, &sums, d->oh * d->ow, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    clvi_conv_call call = {.x = run->in[0], .packed = run->prepared, .workspace = run->workspace};
    clvi_conv_take_joined(run, &call);
    if (clvi_conv_norm_folds(run->mode, run->wants_grad)) {
        call.y = run->out[0];
        call.bias = clvi_view_at(norm.saved, 3 * c.co);
        call.activation = a->activation;
        if (run->node->joined & CLVI_JOIN_DEPTHWISE)
            return forward_both(run, &c, &call, error);
        return clvi_conv_forward(run->device, &c, &call, error);
    }
    const clvi_conv_stats s = clvi_conv_stats_of(run->device, &c);
    const clvi_amount flat = clvi_conv_forward_workspace(run->device, &c);
    const clvi_view stats = clvi_view_at(run->workspace, flat.per_sample * run->n + flat.constant);
    clvi_norm_groups groups = {s.groups, s.share};
    call.y = run->saved[0];
    call.weights = run->in[1];
    call.stats = s.groups > 0 && !norm.fixed ? stats : (clvi_view){0};
    CLV_TRY(clvi_conv_forward(run->device, &c, &call, error));
    if (!norm.fixed && s.groups == 0) {
        groups = clvi_norm_groups_of(norm.pixels, norm.channels);
        CLV_TRY(clvi_norm_statistics(run->device, &norm, run->saved[0], stats, error));
    }
    if (!norm.fixed)
        CLV_TRY(clvi_norm_finish(run->device, &norm, stats, groups, error));
    return clvi_conv_norm_apply(run, &norm, error);
}

static clv_status again(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    return clvi_conv_norm_again(run, &norm, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    clvi_conv_grads grads;
    CLV_TRY(clvi_conv_norm_backward(run, &norm, &grads, error));
    const bool any = grads.dx.buf || grads.dweights.buf || grads.dscale.buf;
    return any ? clvi_conv_backward(run->device, &c, &grads, error) : CLV_OK;
}

static uint32_t joins(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                      bool training)
{
    if (node->joined & CLVI_JOIN_DEPTHWISE)
        return CLVI_JOIN_MEAN | CLVI_JOIN_DENSE;
    const uint32_t alone = clvi_conv_joins(device, graph, node, training);
    return node->joined || training ? alone : alone | CLVI_JOIN_DEPTHWISE;
}

static int64_t macs(const clv_graph *graph, const clvi_node *node)
{
    if (!(node->joined & CLVI_JOIN_DEPTHWISE))
        return clvi_weight_macs(graph, node);
    const clvi_expand_depthwise both = clvi_expand_depthwise_of(graph, node, 1);
    return clvi_conv_pixels(&both.expand) * both.expand.ci * both.expand.co +
           clvi_depthwise_macs(graph, node->behind[0].node);
}

const clvi_op clvi_op_conv2d_bn = {
    .name = "conv2d_bn",
    .min_inputs = 6,
    .max_inputs = 6,
    .output_count = 1,
    .norm_inputs = 1u << 2 | 1u << 3,
    .attrs = clvi_conv_attr_specs,
    .attr_count = CLVI_CONV_BN_ATTRS,
    .attr_bytes = sizeof(clvi_conv_attrs),
    .shape = shape,
    .needs = needs,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = again,
    .again_inputs = 1u << 2 | 1u << 3,
    .joins = joins,
    .macs = macs,
};
