/* conv2d_bn: y = act(batch_norm(x * weights)). Inputs: x [N, H, W, C] f32, weights [kh, kw, C,
 * filters], then batch_norm's weight, bias, running_mean, running_var [filters]. Output: y [N, H',
 * W', filters]. Attributes: conv2d's, eps, momentum. Training saves the convolution's result and
 * its statistics, which the convolution takes along; inference folds the normalisation into the
 * weights, and so does training where the op is frozen and no gradient passes it. Frozen with a
 * gradient, it normalises the saved result by the running statistics. Kernels: kernels/conv2d.cl,
 * kernels/batch_norm.cl. Reference: tests/ref/conv2d_bn_ref.c.
 */
#include "ops/batch_norm_kernels.h"
#include "ops/conv2d_kernels.h"

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

/* Whether the normalisation is in the packed weights. */
static bool folds(clv_mode mode, uint32_t wants_grad)
{
    return mode == CLV_MODE_INFER || (mode == CLVI_MODE_FROZEN && wants_grad == 0);
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    const int64_t packed = clvi_conv_packed(device, &c, folds(mode, wants_grad));
    out->forward_workspace = clvi_conv_forward_workspace(device, &c);
    out->prepared = (clvi_amount){0, packed};
    if (mode != CLV_MODE_TRAIN) {
        out->prepared.constant += CLVI_NORM_FOLD * c.co;
        out->prepared_in_backward = true;
    } else {
        out->forward_workspace = sum_of(out->forward_workspace, stats_amount(device, &c));
        out->saved[1] = (clvi_amount){0, 2 * c.co};
    }
    if (folds(mode, wants_grad))
        return;
    out->saved[0] = (clvi_amount){c.oh * c.ow * c.co, 0};
    if (wants_grad == 0)
        return;
    out->backward_inputs = 1u << 2 | 1u << 3;
    if (wants_grad & 1)
        out->backward_inputs |= 1u << 1;
    if (wants_grad & 2)
        out->backward_inputs |= 1u << 0;
    const clvi_amount norm = clvi_norm_workspace(c.oh * c.ow, c.co);
    const clvi_amount conv = clvi_conv_backward_workspace(device, &c);
    out->backward_workspace =
        (clvi_amount){norm.per_sample > conv.per_sample ? norm.per_sample : conv.per_sample,
                      norm.constant > conv.constant ? norm.constant : conv.constant};
}

/* The folded statistics, which lie behind the packed weights. */
static clvi_view fold_of(const clvi_run *run)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    return clvi_view_at(run->prepared,
                        clvi_conv_packed(run->device, &c, folds(run->mode, run->wants_grad)));
}

static clvi_norm norm_of(const clvi_run *run, const clvi_conv *c)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const bool fixed = run->mode != CLV_MODE_TRAIN;
    return (clvi_norm){.pixels = clvi_conv_pixels(c),
                       .channels = c->co,
                       .activation = a->activation,
                       .eps = a->eps,
                       .momentum = a->momentum,
                       .fixed = fixed,
                       .gamma = run->in[2],
                       .beta = run->in[3],
                       .running_mean = run->in[4],
                       .running_var = run->in[5],
                       .saved = fixed ? fold_of(run) : run->saved[1]};
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    clvi_view scale = {0};
    if (run->mode != CLV_MODE_TRAIN) {
        const clvi_norm norm = norm_of(run, &c);
        CLV_TRY(clvi_norm_fold(run->device, &norm, norm.saved, error));
        if (folds(run->mode, run->wants_grad))
            scale = clvi_view_at(norm.saved, 2 * c.co);
    }
    return clvi_conv_pack(run->device, &c, run->in[1], scale, run->prepared, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    clvi_conv_call call = {.x = run->in[0], .packed = run->prepared, .workspace = run->workspace};
    if (folds(run->mode, run->wants_grad)) {
        call.y = run->out[0];
        call.bias = clvi_view_at(fold_of(run), 3 * c.co);
        call.activation = a->activation;
        return clvi_conv_forward(run->device, &c, &call, error);
    }
    const clvi_norm norm = norm_of(run, &c);
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
    return clvi_norm_apply(run->device, &norm, run->saved[0], run->out[0], error);
}

/* From the convolution's result. */
static clv_status again(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_norm norm = norm_of(run, &c);
    return clvi_norm_apply(run->device, &norm, run->saved[0], run->out[0], error);
}

/* The gradient to the convolution's result takes the result's place: nothing reads that afterwards,
 * and memory that was just read is cheaper to write than any other. */
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
    return products ? clvi_conv_backward(run->device, &c, &grads, error) : CLV_OK;
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
    .macs = clvi_weight_macs,
};
