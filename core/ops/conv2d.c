/* conv2d: y = act(x * weights + bias). Inputs: x [N, H, W, C] f32, weights [kh, kw, C /
 * groups, filters], bias [filters] (optional). Output: y [N, H', W', filters]. Attributes: strides,
 * padding on each side, activation, groups (filter k of F is in group k·groups/F and sees that
 * group's channels only). relu goes back by y, silu by the sum before it, which training saves.
 * Kernels: kernels/conv2d.cl, kernels/bias_act.cl. Reference: tests/ref/conv2d_ref.c. */
#include "ops/activate.h"
#include "ops/conv2d_kernels.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    CLV_TRY(clvi_conv_shape(r, "conv2d", error));
    const clv_shape *bias = r->inputs[2];
    const int64_t filters = r->outputs[0].dims[3];
    if (bias && (bias->dtype != CLV_F32 || bias->rank != 1 || bias->dims[0] != filters))
        CLVI_SHAPE_FAIL(error, "conv2d", r, "the bias must be f32 [%lld]", (long long)filters);
    return CLV_OK;
}

/* Elements of dz, the gradient to the convolution's sum, per sample: without an activation it is
 * the gradient to y itself. */
static int64_t dz_elements(const clvi_conv *c, const clvi_conv_attrs *a)
{
    return a->activation != CLVI_ACT_NONE ? c->oh * c->ow * c->co : 0;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)mode;
    const clvi_conv_attrs *a = node->attrs;
    const clvi_conv c = clvi_conv_of(graph, node, 1);
    out->forward_workspace = clvi_conv_forward_workspace(device, &c);
    out->prepared = (clvi_amount){0, clvi_conv_packed(device, &c, false)};
    if (wants_grad == 0)
        return;
    if (wants_grad & 1)
        out->backward_inputs |= 1u << 1;
    if (wants_grad & 2)
        out->backward_inputs |= 1u << 0;
    out->backward_outputs = a->activation == CLVI_ACT_RELU;
    if (clvi_act_saves_sum(a->activation, wants_grad))
        out->saved[0] = (clvi_amount){c.oh * c.ow * c.co, 0};
    clvi_amount rest = clvi_conv_backward_workspace(device, &c, false);
    const int64_t sums = clvi_act_workspace(c.co);
    rest.constant = rest.constant > sums ? rest.constant : sums;
    rest.per_sample += dz_elements(&c, a);
    out->backward_workspace = rest;
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    const clvi_conv c = clvi_conv_of(run->graph, run->node, 1);
    return clvi_conv_pack(run->device, &c, run->in[1], (clvi_view){0}, run->prepared, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    const bool apart = clvi_act_saves_sum(a->activation, run->wants_grad);
    clvi_conv_call call = {.x = run->in[0],
                           .packed = run->prepared,
                           .weights = run->in[1],
                           .y = apart ? run->saved[0] : run->out[0],
                           .workspace = run->workspace,
                           .bias = run->in[2],
                           .activation = apart ? CLVI_ACT_NONE : a->activation};
    clvi_conv_take_joined(run, &call);
    CLV_TRY(clvi_conv_forward(run->device, &c, &call, error));
    if (!apart)
        return CLV_OK;
    return clvi_activate(run->device, run->out[0], run->saved[0], clvi_conv_pixels(&c) * c.co,
                         a->activation, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_conv_attrs *a = run->node->attrs;
    const clvi_conv c = clvi_conv_of(run->graph, run->node, run->n);
    clvi_view rest = run->workspace;
    rest.offset += (uint64_t)(dz_elements(&c, a) * run->n);
    const bool products = run->grad_in[0].buf || run->grad_in[1].buf;
    const bool own = dz_elements(&c, a) > 0 && products;
    clvi_act_grads act = {.workspace = rest,
                          .rows = clvi_conv_pixels(&c),
                          .columns = c.co,
                          .activation = a->activation};
    CLV_TRY(clvi_act_run_backward(run, &act, own, error));
    const clvi_conv_grads grads = {.x = run->in[0],
                                   .weights = run->in[1],
                                   .dz = act.dz,
                                   .workspace = rest,
                                   .dx = run->grad_in[0],
                                   .dweights = run->grad_in[1]};
    return clvi_conv_backward(run->device, &c, &grads, error);
}

static uint32_t joins(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                      bool training)
{
    return training ? 0 : clvi_conv_joins(device, graph, node, false);
}

const clvi_op clvi_op_conv2d = {
    .name = "conv2d",
    .min_inputs = 2,
    .max_inputs = 3,
    .output_count = 1,
    .attrs = clvi_conv_attr_specs,
    .attr_count = CLVI_CONV_ATTRS,
    .attr_bytes = sizeof(clvi_conv_attrs),
    .shape = shape,
    .needs = needs,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .joins = joins,
    .macs = clvi_weight_macs,
};
