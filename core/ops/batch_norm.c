/* batch_norm: y = act((x - mean)/√(var + eps)·weight + bias) over the channels of the last axis.
 * Inputs: x [N, …, C] f32, weight, bias, running_mean, running_var [C]. Output: y, as x.
 * Attributes: eps, momentum, activation. Training normalises by the batch's m = N·… values per
 * channel and moves the running statistics (m = 1: variance 0, they stay); inference, and training
 * where the op is frozen, normalise by the running ones. Saves mean and 1/√(var + eps). Kernels:
 * kernels/batch_norm.cl. Reference: tests/ref/batch_norm_ref.c. */
#include "ops/batch_norm_kernels.h"

#include <stddef.h>

enum { PARAMETERS = 1 << 1 | 1 << 2 }; /* weight and bias among the inputs */

typedef struct attributes {
    double eps, momentum;
    int64_t activation;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {"eps", CLV_ATTR_REAL, offsetof(attributes, eps), 1e-5, 1e-12, 1, NULL, false},
    {"momentum", CLV_ATTR_REAL, offsetof(attributes, momentum), 0.1, 0, 1, NULL, false},
    {"activation", CLV_ATTR_TEXT, offsetof(attributes, activation), 0, 0, 0, CLVI_ACT_CHOICES,
     false},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0];
    char given[64];
    if (x->dtype != CLV_F32 || x->rank < 2 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, "batch_norm", r, "the input is %s, wanted is f32 [N, …, channels]",
                        clvi_shape_text(x, given, sizeof(given)));
    CLV_TRY(clvi_norm_shapes(r, "batch_norm", 1, x->dims[x->rank - 1], error));
    r->outputs[0] = *x;
    return CLV_OK;
}

static int64_t channels_of(const clv_graph *graph, const clvi_node *node)
{
    const clv_shape *x = clvi_in_shape(graph, node, 0);
    return x->dims[x->rank - 1];
}

/* Per sample. */
static int64_t pixels_of(const clv_graph *graph, const clvi_node *node)
{
    return clvi_shape_elements(clvi_in_shape(graph, node, 0)) / channels_of(graph, node);
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device;
    const int64_t channels = channels_of(graph, node);
    const clvi_amount sums = clvi_norm_workspace(pixels_of(graph, node), channels);
    if (mode == CLV_MODE_TRAIN) {
        out->saved[0] = (clvi_amount){0, 2 * channels};
        out->forward_workspace = sums;
    } else {
        out->prepared = (clvi_amount){0, CLVI_NORM_FOLD * channels};
        out->prepared_in_backward = true;
        out->forward_in_place = 1;
    }
    if (wants_grad == 0)
        return;
    out->backward_inputs = 7;
    if (mode == CLV_MODE_TRAIN || (wants_grad & PARAMETERS) != 0)
        out->backward_workspace = sums;
    out->grad_in_place = 1;
}

static clvi_norm norm_of(const clvi_run *run)
{
    const attributes *a = run->node->attrs;
    return (clvi_norm){.pixels = run->n * pixels_of(run->graph, run->node),
                       .channels = channels_of(run->graph, run->node),
                       .activation = a->activation,
                       .eps = a->eps,
                       .momentum = a->momentum,
                       .fixed = run->mode != CLV_MODE_TRAIN,
                       .gamma = run->in[1],
                       .beta = run->in[2],
                       .running_mean = run->in[3],
                       .running_var = run->in[4],
                       .saved = run->mode == CLV_MODE_TRAIN ? run->saved[0] : run->prepared};
}

static clv_status prepare(const clvi_run *run, clv_error *error)
{
    if (run->mode == CLV_MODE_TRAIN)
        return CLV_OK;
    const clvi_norm norm = norm_of(run);
    return clvi_norm_fold(run->device, &norm, run->prepared, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const clvi_norm norm = norm_of(run);
    if (run->mode == CLV_MODE_TRAIN) {
        const clvi_norm_groups groups = clvi_norm_groups_of(norm.pixels, norm.channels);
        CLV_TRY(clvi_norm_statistics(run->device, &norm, run->in[0], run->workspace, error));
        CLV_TRY(clvi_norm_finish(run->device, &norm, run->workspace, groups, error));
    }
    const clvi_norm_result to = {.y = run->out[0]};
    return clvi_norm_apply(run->device, &norm, run->in[0], &to, error);
}

static clv_status again(const clvi_run *run, clv_error *error)
{
    const clvi_norm norm = norm_of(run);
    const clvi_norm_result to = {.y = run->out[0]};
    return clvi_norm_apply(run->device, &norm, run->in[0], &to, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const clvi_norm norm = norm_of(run);
    const clvi_norm_grads grads = {.z = run->in[0],
                                   .dy = run->grad_out[0],
                                   .dz = run->grad_in[0],
                                   .dgamma = run->grad_in[1],
                                   .dbeta = run->grad_in[2],
                                   .workspace = run->workspace};
    return clvi_norm_backward(run->device, &norm, &grads, error);
}

const clvi_op clvi_op_batch_norm = {
    .name = "batch_norm",
    .min_inputs = 5,
    .max_inputs = 5,
    .output_count = 1,
    .norm_inputs = PARAMETERS,
    .attrs = attr_specs,
    .attr_count = sizeof(attr_specs) / sizeof(*attr_specs),
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = again,
    .again_inputs = 1 | PARAMETERS,
};
