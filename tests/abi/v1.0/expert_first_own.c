/* Expert own: two operations of its own that between them use all that an op can ask for.
 *
 * own.project: y = times·act(x·W + b) + offset[c % 2], with a product, saved memory, workspace,
 * local memory, an optional input and attributes of every type. own.drop: dropout from the run's
 * random numbers; in place; identity when inferring. */
#include <conclave/ops.h>
#include <conclave/own_op.h>

#include <math.h>

#include "first_own.cl.h"

static size_t groups_of(int64_t elements)
{
    const int64_t groups = (elements + 1023) / 1024;
    return (size_t)(groups < 65535 ? groups : 65535);
}

/* ---- own.project ---- */

typedef struct project {
    int64_t n, in, units, times;
    double gain, offset[2];
    int curved;
    uint32_t wants;
    bool bias;
} project;

static project read_project(const clv_op_host *host, const clv_run *run)
{
    const clv_run_facts facts = clv_run_facts_of(host, run);
    const clv_shape w = clv_run_input_shape(host, run, 1);
    const clv_attr offsets = clv_run_attribute(host, run, "offsets");
    project p = {.n = facts.n, .in = w.dims[0], .units = w.dims[1], .wants = facts.wants_grad};
    p.bias = (facts.inputs & 4) != 0;
    p.times = clv_run_attribute(host, run, "times").i;
    p.gain = clv_run_attribute(host, run, "gain").real * (double)p.times;
    p.curved = strcmp(clv_run_attribute(host, run, "activation").text, "tanh") == 0;
    for (uint32_t i = 0; i < 2 && i < offsets.int_count; i++)
        p.offset[i] = (double)offsets.ints[i];
    return p;
}

static clv_status project_shape(const clv_op_host *host, clv_run *run, clv_error *error)
{
    clv_shape x = clv_run_input_shape(host, run, 0);
    const clv_shape w = clv_run_input_shape(host, run, 1);
    if (x.rank != 2 || w.rank != 2 || x.dims[1] != w.dims[0])
        return host->fail(error, CLV_E_SHAPE, __FILE__, __LINE__,
                          "wanted are inputs [N, in] and weights [in, units]");
    x.dims[1] = w.dims[1];
    return host->set_output(run, 0, &x, error);
}

/* A product and its operands. */
typedef struct product {
    clv_arg a, b, c, bias, workspace;
    clv_gemm gemm;
} product;

/* The three products: z = x·W + b, gx = gz·Wᵀ, gw = xᵀ·gz. gz lies at the start of the workspace,
 * behind it the workspace of the products. */
static const clv_gemm *make_product(const project *p, int which, product *m)
{
    const int64_t skip = which == 0 ? 0 : p->n * p->units;
    clv_gemm *g = &m->gemm;
    *g = (clv_gemm){.struct_size = sizeof(*g), .batch = CLV_GEMM_BATCH_M, .m = 1};
    m->a = m->b = clv_arg_make(CLV_ARG_WORKSPACE, 0, 0, 0); /* gz */
    m->bias = clv_arg_make(CLV_ARG_INPUT, 2, 0, 0);
    m->workspace = clv_arg_make(CLV_ARG_WORKSPACE, 0, skip, 0);
    g->a = &m->a, g->b = &m->b, g->c = &m->c, g->workspace = &m->workspace;
    if (which == 0) {
        g->n = p->units, g->k = p->in;
        m->a = clv_arg_make(CLV_ARG_INPUT, 0, 0, 0), m->b = clv_arg_make(CLV_ARG_INPUT, 1, 0, 0);
        m->c = clv_arg_make(CLV_ARG_SAVED, 0, 0, 0);
        g->bias = p->bias ? &m->bias : NULL;
    } else if (which == 1) {
        g->transpose_b = 1, g->n = p->in, g->k = p->units;
        m->b = clv_arg_make(CLV_ARG_INPUT, 1, 0, 0);
        m->c = clv_arg_make(CLV_ARG_GRAD_INPUT, 0, 0, 0);
    } else {
        g->transpose_a = 1, g->batch = CLV_GEMM_BATCH_K, g->m = p->in, g->n = p->units, g->k = 1;
        m->a = clv_arg_make(CLV_ARG_INPUT, 0, 0, 0);
        m->c = clv_arg_make(CLV_ARG_GRAD_INPUT, 1, 0, 0);
    }
    return g;
}

static clv_status project_needs(const clv_op_host *host, const clv_run *run, clv_op_needs *needs,
                                clv_error *error)
{
    const project p = read_project(host, run);
    clv_status status = CLV_OK;
    int64_t most[2] = {0, 0};
    needs->saved_per_sample[0] = p.units; /* z, also when nobody goes back: forward needs it */
    needs->backward_inputs = (p.wants & 1 ? 2u : 0) | (p.wants & 2 ? 1u : 0);
    for (int which = 0; which < 3 && status == CLV_OK; which++) {
        product m;
        int64_t per_sample = 0, constant = 0;
        status =
            host->gemm_workspace(run, make_product(&p, which, &m), &per_sample, &constant, error);
        if (which == 0)
            needs->forward_per_sample = per_sample, needs->forward_constant = constant;
        most[0] = per_sample > most[0] ? per_sample : most[0];
        most[1] = constant > most[1] ? constant : most[1];
    }
    if (p.wants != 0)
        needs->backward_per_sample = p.units + most[0], needs->backward_constant = most[1] + 1;
    return status;
}

static clv_status project_forward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const project p = read_project(host, run);
    product m;
    const clv_status status = host->gemm(run, make_product(&p, 0, &m), error);
    if (status != CLV_OK)
        return status;
    clv_launch l = clv_launch_begin(host, run, "own", "project_act", "-DUNUSED=1", error);
    clv_launch_output(&l, 0);
    clv_launch_saved(&l, 0);
    clv_launch_int(&l, p.n * p.units);
    clv_launch_int(&l, p.units);
    clv_launch_int(&l, p.curved);
    clv_launch_float(&l, p.gain);
    clv_launch_float(&l, p.offset[0]);
    clv_launch_float(&l, p.offset[1]);
    return clv_launch_end(&l, groups_of(p.n * p.units), 1, 1);
}

static clv_status project_bias(const clv_op_host *host, clv_run *run, const project *p,
                               clv_error *error)
{
    clv_launch l = clv_launch_begin(host, run, "own", "project_bias_bwd", "", error);
    clv_launch_grad_input(&l, 2);
    clv_launch_workspace(&l);
    clv_launch_int(&l, p->n);
    clv_launch_int(&l, p->units);
    clv_launch_local(&l, 32 * sizeof(float));
    return clv_launch_end(&l, (size_t)p->units, 1, 1);
}

static clv_status project_backward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const project p = read_project(host, run);
    clv_launch l = clv_launch_begin(host, run, "own", "project_act_bwd", "", error);
    clv_launch_workspace(&l);
    clv_launch_grad_output(&l, 0);
    clv_launch_saved(&l, 0);
    clv_launch_int(&l, p.n * p.units);
    clv_launch_int(&l, p.curved);
    clv_launch_float(&l, p.gain);
    clv_status status = clv_launch_end(&l, groups_of(p.n * p.units), 1, 1);
    for (int which = 1; which < 3 && status == CLV_OK; which++) {
        product m;
        if (p.wants >> (which - 1) & 1)
            status = host->gemm(run, make_product(&p, which, &m), error);
    }
    if (status == CLV_OK && (p.wants & 4))
        status = project_bias(host, run, &p, error);
    return status;
}

static clv_status project_reference(const clv_op_host *host, clv_run *run,
                                    const clv_reference *data, clv_error *error)
{
    const project p = read_project(host, run);
    const double *x = data->inputs[0], *w = data->inputs[1], *b = data->inputs[2];
    (void)error;
    for (int64_t r = 0; r < p.n; r++)
        for (int64_t c = 0; c < p.units; c++) {
            double z = b ? b[c] : 0;
            for (int64_t k = 0; k < p.in; k++)
                z += x[r * p.in + k] * w[k * p.units + c];
            data->outputs[0][r * p.units + c] = p.gain * (p.curved ? tanh(z) : z) + p.offset[c % 2];
        }
    return CLV_OK;
}

/* ---- own.drop ---- */

static clv_status drop_shape(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const clv_shape x = clv_run_input_shape(host, run, 0);
    return host->set_output(run, 0, &x, error);
}

static clv_status drop_needs(const clv_op_host *host, const clv_run *run, clv_op_needs *needs,
                             clv_error *error)
{
    (void)host, (void)run, (void)error;
    needs->forward_in_place = needs->grad_in_place = 1;
    return CLV_OK;
}

static clv_status drop_apply(const clv_op_host *host, clv_run *run, uint32_t to, uint32_t from,
                             clv_error *error)
{
    const clv_run_facts facts = clv_run_facts_of(host, run);
    const clv_shape x = clv_run_input_shape(host, run, 0);
    const double rate = clv_run_attribute(host, run, "rate").real;
    const bool draws = facts.mode == CLV_MODE_TRAIN && rate > 0;
    clv_rng rng = {.struct_size = sizeof(rng)};
    const clv_status status = host->rng(run, &rng, error);
    if (status != CLV_OK)
        return status;
    clv_launch l = clv_launch_begin(host, run, "own", "drop", "", error);
    clv_launch_arg(&l, clv_arg_make(to, 0, 0, 0));
    clv_launch_arg(&l, clv_arg_make(from, 0, 0, 0));
    clv_launch_arg(&l, clv_arg_make(draws ? CLV_ARG_IDS : CLV_ARG_NULL, 0, 0, 0));
    clv_launch_int(&l, facts.n);
    clv_launch_int(&l, clv_shape_count(&x, 1));
    clv_launch_uint(&l, (uint32_t)(rate * 4294967296.0));
    clv_launch_float(&l, 1 / (1 - rate));
    clv_launch_uint(&l, rng.key[0]);
    clv_launch_uint(&l, rng.key[1]);
    clv_launch_uint(&l, rng.epoch);
    clv_launch_uint(&l, rng.op);
    return clv_launch_end(&l, groups_of(clv_shape_count(&x, facts.n)), 1, 1);
}

static clv_status drop_forward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    return drop_apply(host, run, CLV_ARG_OUTPUT, CLV_ARG_INPUT, error);
}

static clv_status drop_backward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    return drop_apply(host, run, CLV_ARG_GRAD_INPUT, CLV_ARG_GRAD_OUTPUT, error);
}

/* ---- The plugin ---- */

static clv_status init(const clv_host *host, clv_error *error)
{
    const clv_source source = CLV_SOURCE("own", own_cl);
    const clv_attr_spec attrs[] = {
        CLV_ATTR_SPEC("activation", TEXT, 1, 0, 0, "none|tanh", 0),
        CLV_ATTR_SPEC("gain", REAL, 0.5, 0, 10, NULL, 0),
        CLV_ATTR_SPEC("times", INT, 0, 1, 9, NULL, 1),
        CLV_ATTR_SPEC("offsets", INTS, 0, -9, 9, NULL, 0),
    };
    const clv_attr_spec rate = CLV_ATTR_SPEC("rate", REAL, 0.5, 0, 0.9, NULL, 0);
    clv_op_desc op = {
        .struct_size = sizeof(op),
        .min_inputs = 2,
        .max_inputs = 3,
        .output_count = 1,
        .name = "first_own.project",
        .attrs = attrs,
        .attr_count = 4,
        .attr_stride = sizeof(*attrs),
        .sources = &source,
        .source_count = 1,
        .source_stride = sizeof(source),
        .shape = project_shape,
        .forward = project_forward,
        .backward = project_backward,
        .needs = project_needs,
        .reference = project_reference,
    };
    const clv_status status = host->register_op(host, &op, error);
    if (status != CLV_OK)
        return status;
    op.name = "first_own.drop", op.min_inputs = op.max_inputs = 1;
    op.attrs = &rate, op.attr_count = 1;
    op.shape = drop_shape, op.forward = drop_forward, op.backward = drop_backward;
    op.needs = drop_needs, op.reference = NULL;
    return host->register_op(host, &op, error);
}

static clv_tensor project_layer(clv_builder *b, const char *name, clv_tensor x, int64_t units,
                                bool bias)
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t in = s.rank == 2 ? s.dims[1] : 1;
    const int64_t offsets[2] = {1, -2};
    const clv_attr attrs[3] = {clv_attr_int("times", 2), clv_attr_text("activation", "tanh"),
                               clv_attr_ints("offsets", offsets, 2)};
    const clv_variable_desc w =
        clv_variable("weight", CLV_INIT_UNIFORM, 1 / sqrt((double)in), 2, in, units, 0, 0);
    const clv_variable_desc v = clv_variable("bias", CLV_INIT_UNIFORM, 0.1, 1, units, 0, 0, 0);
    clv_tensor inputs[3] = {x, CLV_NO_TENSOR, CLV_NO_TENSOR};
    clv_scope(b, name);
    inputs[1] = clv_parameter(b, &w);
    if (bias)
        inputs[2] = clv_parameter(b, &v);
    clv_scope_end(b);
    return clv_op(b, "first_own.project", name, inputs, bias ? 3 : 2, attrs, 3);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int64_t units = clv_option_int(&b, options, "units");
    const clv_attr rate = clv_attr_real("rate", clv_option_real(&b, options, "rate"));
    clv_tensor x = clv_image(&b, in->image_height, in->image_width, in->image_channels, NULL, NULL);
    x = project_layer(&b, "first", clv_flatten(&b, "flat", x), units, true);
    x = project_layer(&b, "second", x, units, false);
    x = clv_op(&b, "first_own.drop", "drop", &x, 1, &rate, 1);
    clv_output(&b, "features", x);
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, in->classes, NULL));
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    {sizeof(clv_option_spec), CLV_OPTION_INT, "units", "19", 1, 4096, NULL, "hidden units"},
    {sizeof(clv_option_spec), CLV_OPTION_REAL, "rate", "0.25", 0, 0.9, NULL, "share dropped"},
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "first_own",
    .version = "1.0",
    .summary = "Layers of its own making",
    .options = specs,
    .option_count = 2,
    .option_stride = sizeof(clv_option_spec),
    .build = build,
    .init = init,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
