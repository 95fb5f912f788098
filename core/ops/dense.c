/* dense: y = act(x·weights + bias). Inputs: x [N, in] f32, weights [in, units], bias [units]
 * (optional). Output: y [N, units]. Attribute: activation. relu goes back by y, silu by the sum
 * before it, which training saves. Products by runtime/gemm.h; kernels/bias_act.cl.
 * Reference: tests/ref/dense_ref.c. */
#include "ops/dense.h"

#include "ops/activate.h"
#include "runtime/gemm.h"

#include <stddef.h>

typedef struct attributes {
    int64_t activation;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {"activation", CLV_ATTR_TEXT, offsetof(attributes, activation), 0, 0, 0, CLVI_ACT_CHOICES,
     false},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *w = r->inputs[1], *b = r->inputs[2];
    char given[64];
    if (x->dtype != CLV_F32 || x->rank != 2 || !clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, "dense", r, "the input is %s, wanted is f32 [N, values]",
                        clvi_shape_text(x, given, sizeof(given)));
    if (w->dtype != CLV_F32 || w->rank != 2 || w->dims[0] != x->dims[1])
        CLVI_SHAPE_FAIL(error, "dense", r, "the weights are %s, wanted is f32 [%lld, units]",
                        clvi_shape_text(w, given, sizeof(given)), (long long)x->dims[1]);
    if (b && (b->dtype != CLV_F32 || b->rank != 1 || b->dims[0] != w->dims[1]))
        CLVI_SHAPE_FAIL(error, "dense", r, "the bias must be f32 [%lld]", (long long)w->dims[1]);
    r->outputs[0] = CLVI_SHAPE(CLV_F32, CLV_BATCH, w->dims[1]);
    return CLV_OK;
}

/* The three products: y = x·w, dx = dz·wᵀ, dw = xᵀ·dz. */
static clvi_gemm product_y(const clv_graph *graph, const clvi_node *node, int64_t n)
{
    const int64_t *w = clvi_in_shape(graph, node, 1)->dims;
    return (clvi_gemm){.m = n, .n = w[1], .k = w[0]};
}

static clvi_gemm product_dx(const clv_graph *graph, const clvi_node *node, int64_t n)
{
    const int64_t *w = clvi_in_shape(graph, node, 1)->dims;
    return (clvi_gemm){.transpose_b = true, .m = n, .n = w[0], .k = w[1]};
}

static clvi_gemm product_dw(const clv_graph *graph, const clvi_node *node, int64_t n)
{
    const int64_t *w = clvi_in_shape(graph, node, 1)->dims;
    return (clvi_gemm){.transpose_a = true, .m = w[0], .n = w[1], .k = n};
}

/* Elements of dz for n samples: none of its own without an activation. */
static int64_t dz_elements(const clvi_node *node, int64_t units)
{
    const attributes *a = node->attrs;
    return a->activation != CLVI_ACT_NONE ? units : 0;
}

/* `a` made large enough for a product whose m (or k) is the batch, too. */
static clvi_amount with_product(clvi_amount a, const clvi_device *device, const clvi_gemm *gemm,
                                bool k_varies)
{
    const clvi_gemm_bound b = clvi_gemm_workspace_bound(device, gemm, k_varies);
    return (clvi_amount){a.per_sample > b.per_unit ? a.per_sample : b.per_unit,
                         a.constant > b.constant ? a.constant : b.constant};
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)mode;
    const attributes *a = node->attrs;
    const int64_t units = clvi_out_shape(graph, node, 0)->dims[1];
    const clvi_gemm y = product_y(graph, node, out->max_batch);
    const clvi_gemm dx = product_dx(graph, node, out->max_batch);
    const clvi_gemm dw = product_dw(graph, node, 1);
    out->forward_workspace = with_product((clvi_amount){0, 0}, device, &y, false);
    if (wants_grad == 0)
        return;
    if (wants_grad & 1)
        out->backward_inputs |= 1u << 1;
    if (wants_grad & 2)
        out->backward_inputs |= 1u << 0;
    out->backward_outputs = a->activation == CLVI_ACT_RELU;
    if (clvi_act_saves_sum(a->activation, wants_grad))
        out->saved[0] = (clvi_amount){units, 0};
    clvi_amount rest =
        with_product((clvi_amount){0, clvi_act_workspace(units)}, device, &dx, false);
    rest = with_product(rest, device, &dw, true);
    /* dz, and so that what follows it keeps the alignment that CLBlast asks for. */
    rest.per_sample += dz_elements(node, units);
    rest.constant += CLVI_GEMM_ALIGN;
    out->backward_workspace = rest;
}

int64_t clvi_dense_activation(const clvi_node *node)
{
    const attributes *a = node->attrs;
    return node->joined & CLVI_JOIN_SIGMOID ? CLVI_ACT_SIGMOID : a->activation;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const bool apart = clvi_act_saves_sum(a->activation, run->wants_grad);
    const int64_t activation = clvi_dense_activation(run->node);
    clvi_gemm y = product_y(run->graph, run->node, run->n);
    y.a = run->in[0], y.b = run->in[1], y.bias = run->in[2];
    y.c = apart ? run->saved[0] : run->out[0];
    y.workspace = run->workspace;
    if (!apart && clvi_gemm_activates(run->device, &y))
        y.activation = (int32_t)activation;
    CLV_TRY(clvi_gemm_run(run->device, &y, error));
    if (activation == y.activation)
        return CLV_OK;
    return clvi_activate(run->device, run->out[0], y.c, y.m * y.n, activation, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const int64_t units = clvi_out_shape(run->graph, run->node, 0)->dims[1];
    const int64_t own = dz_elements(run->node, units) * run->n;
    clvi_view rest = run->workspace;
    rest.offset =
        (rest.offset + (uint64_t)own + CLVI_GEMM_ALIGN - 1) / CLVI_GEMM_ALIGN * CLVI_GEMM_ALIGN;
    const bool products = run->grad_in[0].buf || run->grad_in[1].buf;
    clvi_act_grads act = {
        .workspace = rest, .rows = run->n, .columns = units, .activation = a->activation};
    CLV_TRY(clvi_act_run_backward(run, &act, own > 0 && products, error));
    if (run->grad_in[0].buf) {
        clvi_gemm dx = product_dx(run->graph, run->node, run->n);
        dx.a = act.dz, dx.b = run->in[1], dx.c = run->grad_in[0], dx.workspace = rest;
        CLV_TRY(clvi_gemm_run(run->device, &dx, error));
    }
    if (run->grad_in[1].buf) {
        clvi_gemm dw = product_dw(run->graph, run->node, run->n);
        dw.a = run->in[0], dw.b = act.dz, dw.c = run->grad_in[1], dw.workspace = rest;
        CLV_TRY(clvi_gemm_run(run->device, &dw, error));
    }
    return CLV_OK;
}

static uint32_t joins(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                      bool training)
{
    (void)device, (void)graph;
    const attributes *a = node->attrs;
    return a->activation == CLVI_ACT_NONE && !training ? CLVI_JOIN_SIGMOID : 0;
}

const clvi_op clvi_op_dense = {
    .name = "dense",
    .min_inputs = 2,
    .max_inputs = 3,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = sizeof(attr_specs) / sizeof(*attr_specs),
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
    .joins = joins,
    .macs = clvi_weight_macs,
};
