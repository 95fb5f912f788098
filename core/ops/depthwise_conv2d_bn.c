/* depthwise_conv2d_bn: y = act(batch_norm(x * weights)), each channel with a filter of its own.
 * Inputs: x [N, H, W, C] f32, weights [kh, kw, C], then batch_norm's weight, bias, running_mean,
 * running_var [C]. Output: y [N, H', W', C]. Attributes: conv2d's (groups: 1), eps, momentum.
 * Training saves the convolution's result; inference folds the normalisation into weights and bias,
 * and so does training where the op is frozen and no gradient passes it. Frozen with a gradient, it
 * normalises the saved result by the running statistics. Kernels: kernels/depthwise_conv2d.cl,
 * kernels/batch_norm.cl. Reference: tests/ref/depthwise_conv2d_bn_ref.c. */
#include "ops/batch_norm_kernels.h"
#include "ops/depthwise_kernels.h"

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

/* Whether the normalisation is in the weights. */
static bool folds(clv_mode mode, uint32_t wants_grad)
{
    return mode == CLV_MODE_INFER || (mode == CLVI_MODE_FROZEN && wants_grad == 0);
}

/* The weights that a normalisation is folded into, which lie before its statistics. */
static int64_t folded_weights(const clvi_conv *c, clv_mode mode, uint32_t wants_grad)
{
    return folds(mode, wants_grad) ? c->kh * c->kw * c->ci : 0;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    const clvi_amount norm = clvi_norm_workspace(c.oh * c.ow, c.ci);
    if (mode != CLV_MODE_TRAIN) {
        out->prepared.constant = folded_weights(&c, mode, wants_grad) + CLVI_NORM_FOLD * c.ci;
        out->prepared_in_backward = true;
    } else {
        out->forward_workspace = norm;
        out->saved[1] = (clvi_amount){0, 2 * c.ci};
    }
    if (folds(mode, wants_grad))
        return;
    out->saved[0] = (clvi_amount){c.oh * c.ow * c.ci, 0};
    if (wants_grad == 0)
        return;
    out->backward_inputs = 1u << 2 | 1u << 3;
    if (wants_grad & 1)
        out->backward_inputs |= 1u << 1;
    if (wants_grad & 2)
        out->backward_inputs |= 1u << 0;
    const int64_t parts = wants_grad & 2 ? clvi_depthwise_parts(device, &c) : 0;
    out->backward_workspace = norm;
    if (parts > norm.constant)
        out->backward_workspace.constant = parts;
}

/* The folded statistics, which lie behind the folded weights. */
static clvi_view fold_of(const clvi_run *run, const clvi_conv *c)
{
    return clvi_view_at(run->prepared, folded_weights(c, run->mode, run->wants_grad));
}

static clvi_norm norm_of(const clvi_run *run, const clvi_conv *c)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const bool fixed = run->mode != CLV_MODE_TRAIN;
    return (clvi_norm){.pixels = clvi_conv_pixels(c),
                       .channels = c->ci,
                       .activation = a->activation,
                       .eps = a->eps,
                       .momentum = a->momentum,
                       .fixed = fixed,
                       .gamma = run->in[2],
                       .beta = run->in[3],
                       .running_mean = run->in[4],
                       .running_var = run->in[5],
                       .saved = fixed ? fold_of(run, c) : run->saved[1]};
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    const clvi_norm norm = norm_of(run, &c);
    if (!norm.fixed)
        return CLV_OK;
    CLV_TRY(clvi_norm_fold(run->device, &norm, norm.saved, error));
    if (!folds(run->mode, run->wants_grad))
        return CLV_OK;
    return clvi_depthwise_scale(run->device, &c, run->in[1], clvi_view_at(norm.saved, 2 * c.ci),
                                run->prepared, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    clvi_depthwise_call call = {.x = run->in[0]};
    if (folds(run->mode, run->wants_grad)) {
        call.weights = run->prepared;
        call.y = run->out[0];
        call.bias = clvi_view_at(fold_of(run, &c), 3 * c.ci);
        call.activation = a->activation;
        return clvi_depthwise_forward(run->device, &c, &call, error);
    }
    const clvi_norm norm = norm_of(run, &c);
    call.weights = run->in[1];
    call.y = run->saved[0];
    CLV_TRY(clvi_depthwise_forward(run->device, &c, &call, error));
    if (!norm.fixed) {
        const clvi_norm_groups groups = clvi_norm_groups_of(norm.pixels, norm.channels);
        CLV_TRY(clvi_norm_statistics(run->device, &norm, run->saved[0], run->workspace, error));
        CLV_TRY(clvi_norm_finish(run->device, &norm, run->workspace, groups, error));
    }
    return clvi_norm_apply(run->device, &norm, run->saved[0], run->out[0], error);
}

/* From the convolution's result. */
static clv_status again(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    return clvi_norm_apply(run->device, &norm, run->saved[0], run->out[0], error);
}

/* As in conv2d_bn, the gradient to the convolution's result takes the result's place. */
static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    const bool products = run->grad_in[0].buf || run->grad_in[1].buf;
    const clvi_norm_grads to_norm = {.z = run->saved[0],
                                     .dy = run->grad_out[0],
                                     .dz = products ? run->saved[0] : (clvi_view){0},
                                     .dgamma = run->grad_in[2],
                                     .dbeta = run->grad_in[3],
                                     .workspace = run->workspace};
    CLV_TRY(clvi_norm_backward(run->device, &norm, &to_norm, error));
    const clvi_conv_grads grads = {.x = run->in[0],
                                   .weights = run->in[1],
                                   .dz = run->saved[0],
                                   .workspace = run->workspace,
                                   .dx = run->grad_in[0],
                                   .dweights = run->grad_in[1]};
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
    .macs = clvi_depthwise_macs,
};
