/* depthwise_conv2d: each channel with a filter of its own. Inputs: x [N, H, W, C] f32, weights
 * [kh, kw, C], bias [C] (optional). Output: y = act(x * weights + bias) [N, H', W', C]. Attributes:
 * those of conv2d. relu goes back by y, silu by the sum before it, which training saves.
 * Kernels: kernels/depthwise_conv2d.cl. Reference: tests/ref/depthwise_conv2d_ref.c. */
#include "ops/activate.h"
#include "ops/depthwise_kernels.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    CLV_TRY(clvi_depthwise_shape(r, "depthwise_conv2d", error));
    const clv_shape *bias = r->inputs[2];
    const int64_t channels = r->inputs[0]->dims[3];
    if (bias && (bias->dtype != CLV_F32 || bias->rank != 1 || bias->dims[0] != channels))
        CLVI_SHAPE_FAIL(error, "depthwise_conv2d", r, "the bias must be f32 [%lld]",
                        (long long)channels);
    return CLV_OK;
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
    const int64_t parts = wants_grad & 2 ? clvi_depthwise_parts(device, &c) : 0;
    const int64_t sums = wants_grad & 4 ? clvi_act_workspace(c.ci) : 0;
    out->backward_workspace.constant = parts > sums ? parts : sums;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const clvi_depthwise_call call = {.x = run->in[0],
                                      .weights = run->in[1],
                                      .y = run->out[0],
                                      .bias = run->in[2],
                                      .sum = run->saved[0],
                                      .activation = a->activation};
    return clvi_depthwise_forward(run->device, &c, &call, error);
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
    const clvi_conv_grads grads = {.x = run->in[0],
                                   .weights = run->in[1],
                                   .dz = act.dz,
                                   .workspace = rest,
                                   .dx = run->wants_grad & 1 ? run->grad_in[0] : (clvi_view){0},
                                   .dweights =
                                       run->wants_grad & 2 ? run->grad_in[1] : (clvi_view){0}};
    return clvi_depthwise_backward(run->device, &c, &grads, error);
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
    .macs = clvi_depthwise_macs,
};
