/* depthwise_conv2d_bn: y = act(batch_norm(x * weights)), each channel with a filter of its own.
 * Inputs: x [N, H, W, C] f32, weights [kh, kw, C], then batch_norm's weight, bias, running_mean,
 * running_var [C]. Output: y [N, H', W', C]. Attributes: conv2d's (groups: 1), eps, momentum.
 * Training saves the convolution's result; inference folds the normalisation into weights and bias,
 * and so does training where the op is frozen and no gradient passes it. Frozen with a gradient, it
 * normalises the saved result by the running statistics. Kernels: kernels/depthwise_conv2d.cl,
 * kernels/batch_norm.cl. Reference: tests/ref/depthwise_conv2d_bn_ref.c. */
#include "ops/conv_norm.h"
#include "ops/depthwise_kernels.h"
#include "ops/squeeze_excite.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clvi_conv_attrs *a = r->attrs;
    if (a->groups != 1)
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d_bn", r,
                        "groups is %lld, but each channel is a group already; leave it out",
                        (long long)a->groups);
    CLV_TRY(clvi_depthwise_shape(r, "depthwise_conv2d_bn", error));
    return clvi_norm_shapes(r, "depthwise_conv2d_bn", 2, r->outputs[0].dims[3], error);
}

/* The weights that a normalisation is folded into, which lie before its statistics. */
static int64_t folded_weights(const clvi_conv *c, clv_mode mode, uint32_t wants_grad)
{
    return clvi_conv_norm_folds(mode, wants_grad) ? c->kh * c->kw * c->ci : 0;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    const clvi_amount norm = clvi_norm_workspace(c.oh * c.ow, c.ci);
    const int64_t stats = clvi_depthwise_stats(device, &c).count * clvi_norm_stats(c.ci);
    clvi_conv_norm_needs(&c, c.ci, folded_weights(&c, mode, wants_grad), mode, wants_grad, out);
    const bool mean = (node->joined & CLVI_JOIN_MEAN) != 0;
    if (clvi_conv_norm_folds(mode, wants_grad))
        out->forward_workspace =
            (clvi_amount){mean ? clvi_depthwise_parts_of_mean(&c) * c.ci : 0, 0};
    else if (mode == CLV_MODE_TRAIN || mean)
        out->forward_workspace =
            (clvi_amount){stats > norm.per_sample ? stats : norm.per_sample, norm.constant};
    if (clvi_conv_norm_folds(mode, wants_grad) || wants_grad == 0)
        return;
    const int64_t parts = wants_grad & 2 ? clvi_depthwise_parts(device, &c) : 0;
    out->backward_workspace = norm;
    if (parts > norm.constant)
        out->backward_workspace.constant = parts;
}

static clvi_norm norm_of(const clvi_run *run, const clvi_conv *c)
{
    return clvi_conv_norm_of(run, c, c->ci, folded_weights(c, run->mode, run->wants_grad));
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    const clvi_norm norm = norm_of(run, &c);
    if (!norm.fixed)
        return CLV_OK;
    CLV_TRY(clvi_norm_fold(run->device, &norm, norm.saved, error));
    if (!clvi_conv_norm_folds(run->mode, run->wants_grad))
        return CLV_OK;
    return clvi_depthwise_scale(run->device, &c, run->in[1], clvi_view_at(norm.saved, 2 * c.ci),
                                run->prepared, error);
}

clvi_view clvi_depthwise_folded_bias(const clvi_run *run)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    return clvi_view_at(norm_of(run, &c).saved, 3 * c.ci);
}

/* With what has joined. */
static clv_status folded_forward(const clvi_run *run, const clvi_conv *c, clvi_depthwise_call *call,
                                 clv_error *error)
{
    if (!(run->node->joined & CLVI_JOIN_MEAN))
        return clvi_depthwise_forward(run->device, c, call, error);
    call->parts = run->workspace;
    CLV_TRY(clvi_depthwise_forward(run->device, c, call, error));
    const clvi_pixel_sums sums = {call->parts, c->n, clvi_depthwise_parts_of_mean(c), c->ci};
    return clvi_squeeze(run, &sums, c->oh * c->ow, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    clvi_depthwise_call call = {.x = run->in[0]};
    if (clvi_conv_norm_folds(run->mode, run->wants_grad)) {
        call.weights = run->prepared;
        call.y = run->out[0];
        call.bias = clvi_view_at(norm.saved, 3 * c.ci);
        call.activation = a->activation;
        return folded_forward(run, &c, &call, error);
    }
    call.weights = run->in[1];
    call.y = run->saved[0];
    clvi_norm_groups groups = clvi_depthwise_stats(run->device, &c);
    call.stats = !norm.fixed && groups.count > 0 ? run->workspace : (clvi_view){0};
    CLV_TRY(clvi_depthwise_forward(run->device, &c, &call, error));
    if (!norm.fixed && groups.count == 0) {
        groups = clvi_norm_groups_of(norm.pixels, norm.channels);
        CLV_TRY(clvi_norm_statistics(run->device, &norm, run->saved[0], run->workspace, error));
    }
    if (!norm.fixed)
        CLV_TRY(clvi_norm_finish(run->device, &norm, run->workspace, groups, error));
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
    return clvi_depthwise_backward(run->device, &c, &grads, error);
}

const clvi_op clvi_op_depthwise_conv2d_bn = {
    .name = "depthwise_conv2d_bn",
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
    .joins = clvi_depthwise_joins,
    .macs = clvi_depthwise_macs,
};
