#include "ops/conv_norm.h"

bool clvi_conv_norm_folds(clv_mode mode, uint32_t wants_grad)
{
    return mode == CLV_MODE_INFER || (mode == CLVI_MODE_FROZEN && wants_grad == 0);
}

void clvi_conv_norm_needs(const clvi_conv *one, int64_t channels, int64_t weights, clv_mode mode,
                          uint32_t wants_grad, clvi_needs *out)
{
    out->prepared = (clvi_amount){0, weights};
    if (mode != CLV_MODE_TRAIN) {
        out->prepared.constant += CLVI_NORM_FOLD * channels;
        out->prepared_in_backward = true;
    } else {
        out->saved[1] = (clvi_amount){0, 2 * channels};
    }
    if (clvi_conv_norm_folds(mode, wants_grad))
        return;
    out->saved[0] = (clvi_amount){one->oh * one->ow * channels, 0};
    if (wants_grad == 0)
        return;
    out->backward_inputs = 1u << 2 | 1u << 3;
    if (wants_grad & 1)
        out->backward_inputs |= 1u << 1;
    if (wants_grad & 2)
        out->backward_inputs |= 1u << 0;
}

clvi_norm clvi_conv_norm_of(const clvi_run *run, const clvi_conv *conv, int64_t channels,
                            int64_t weights)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const bool fixed = run->mode != CLV_MODE_TRAIN;
    return (clvi_norm){.pixels = clvi_conv_pixels(conv),
                       .image = conv->oh * conv->ow,
                       .channels = channels,
                       .activation = a->activation,
                       .eps = a->eps,
                       .momentum = a->momentum,
                       .fixed = fixed,
                       .gamma = run->in[2],
                       .beta = run->in[3],
                       .running_mean = run->in[4],
                       .running_var = run->in[5],
                       .saved = fixed ? clvi_view_at(run->prepared, weights) : run->saved[1]};
}

clv_status clvi_conv_norm_apply(const clvi_run *run, const clvi_norm *norm, clv_error *error)
{
    const bool mean = (run->node->joined & CLVI_JOIN_MEAN) != 0;
    const clvi_norm_result to = {
        .y = run->out[0], .mean = mean ? run->out[1] : (clvi_view){0}, .workspace = run->workspace};
    return clvi_norm_apply(run->device, norm, run->saved[0], &to, error);
}

clv_status clvi_conv_norm_again(const clvi_run *run, const clvi_norm *norm, clv_error *error)
{
    const clvi_norm_result to = {.y = run->out[0]};
    return clvi_norm_apply(run->device, norm, run->saved[0], &to, error);
}

clv_status clvi_conv_norm_backward(const clvi_run *run, const clvi_norm *norm, clvi_conv_grads *out,
                                   clv_error *error)
{
    const bool scaled = (run->node->joined & CLVI_JOIN_SCALE) != 0;
    const int behind = run->node->op->max_inputs;
    const clvi_view dscale = scaled ? run->grad_in[behind] : (clvi_view){0};
    const bool products = run->grad_in[0].buf || run->grad_in[1].buf || dscale.buf;
    const bool mean = (run->node->joined & CLVI_JOIN_MEAN) != 0;
    const clvi_norm_grads to_norm = {.z = run->saved[0],
                                     .dy = run->grad_out[0],
                                     .dmean = mean ? run->grad_out[1] : (clvi_view){0},
                                     .dz = products ? run->saved[0] : (clvi_view){0},
                                     .dgamma = run->grad_in[2],
                                     .dbeta = run->grad_in[3],
                                     .workspace = run->workspace};
    *out = (clvi_conv_grads){.x = run->in[0],
                             .weights = run->in[1],
                             .dz = run->saved[0],
                             .workspace = run->workspace,
                             .dx = run->grad_in[0],
                             .dweights = run->grad_in[1],
                             .scale = scaled ? run->in[behind] : (clvi_view){0},
                             .dscale = dscale,
                             .image = norm->image};
    return clvi_norm_backward(run->device, norm, &to_norm, error);
}
