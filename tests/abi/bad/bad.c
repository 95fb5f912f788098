/* A plugin that loads and has one thing wrong, for check-plugin to find and name. The build
 * compiles it once per case of meson.build, with CASE_<NAME> defined; expert_<name>.so or
 * gate_<name>.so. */
#include <conclave/ops.h>
#include <conclave/own_op.h>

#include <stdlib.h>

#include "bad.cl.h"

#ifndef KIND
#define KIND CLV_KIND_EXPERT
#endif
#ifndef KERNEL_OPTIONS
#define KERNEL_OPTIONS ""
#endif
#ifndef OP_NAME
#define OP_NAME CASE ".multiply"
#endif

/* Kept where the compiler cannot see that nobody reads it. */
static void *volatile kept;
static volatile int calls;

/* ---- The operation: y = x·w ---- */

static clv_status shape(const clv_op_host *host, clv_run *run, clv_error *error)
{
    clv_shape x = clv_run_input_shape(host, run, 0);
#ifdef CASE_UNSET
    return CLV_OK;
#endif
#ifdef CASE_OP_SHAPE
    x.dims[1] -= 1; /* the kernel writes all columns */
#endif
    return host->set_output(run, 0, &x, error);
}

static clv_status needs(const clv_op_host *host, const clv_run *run, clv_op_needs *out,
                        clv_error *error)
{
    (void)host, (void)run, (void)error;
    out->backward_inputs = 3;
#ifdef CASE_UNDECLARED
    out->backward_inputs = 2;
#endif
#ifdef CASE_NEEDS
    out->forward_per_sample = -1;
#endif
#ifdef CASE_NAN
    out->forward_per_sample = clv_run_input_shape(host, run, 0).dims[1];
#endif
    return CLV_OK;
}

static clv_status multiply(const clv_op_host *host, clv_run *run, uint32_t to, uint32_t from,
                           clv_error *error)
{
    const clv_run_facts f = clv_run_facts_of(host, run);
    double add = 0;
    int64_t rows = f.n;
#ifdef CASE_RANDOM
    add = 1e-3 * calls++;
#endif
#ifdef CASE_MODES
    add = f.mode == CLV_MODE_TRAIN && to == CLV_ARG_OUTPUT ? 0.5 : 0;
#endif
#ifdef CASE_FIRST
    rows = 1;
#endif
    clv_launch l = clv_launch_begin(host, run, "bad", "multiply", KERNEL_OPTIONS, error);
    clv_launch_arg(&l, clv_arg_make(to, 0, 0, 0));
    clv_launch_arg(&l, clv_arg_make(from, 0, 0, 0));
    clv_launch_input(&l, 1);
    clv_launch_int(&l, rows);
    clv_launch_int(&l, clv_run_input_shape(host, run, 0).dims[1]);
    clv_launch_float(&l, add);
#ifdef CASE_ARG
    l.args[1].struct_size = (uint32_t)sizeof(l.args[1]) + 8; /* into the next one */
#endif
    return clv_launch_end(&l, 2, 1, 1);
}

static clv_status forward(const clv_op_host *host, clv_run *run, clv_error *error)
{
#ifdef CASE_LEAK_RUN
    kept = malloc(24);
#endif
#ifdef CASE_FAULT
    clv_launch l = clv_launch_begin(host, run, "bad", "fault", "", error);
    clv_launch_output(&l, 0);
    return clv_launch_end(&l, 1, 1, 1);
#endif
#ifdef CASE_NAN
    return multiply(host, run, CLV_ARG_OUTPUT, CLV_ARG_WORKSPACE, error);
#endif
#ifdef CASE_PRODUCT
    const int64_t columns = clv_run_input_shape(host, run, 0).dims[1];
    const clv_arg a = clv_arg_make(CLV_ARG_INPUT, 0, 0, 0),
                  w = clv_arg_make(CLV_ARG_INPUT, 1, 0, 0),
                  c = clv_arg_make(CLV_ARG_OUTPUT, 0, 0, 0);
    const clv_gemm g = {.struct_size = sizeof(g),
                        .batch = CLV_GEMM_BATCH_M,
                        .m = 1,
                        .n = columns,
                        .k = 1,
                        .a = &a,
                        .b = &w,
                        .c = &c,
                        .lda = INT64_C(1) << 62}; /* four rows of it are 0 in 64 bits */
    return host->gemm(run, &g, error);
#endif
    return multiply(host, run, CLV_ARG_OUTPUT, CLV_ARG_INPUT, error);
}

static clv_status backward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const clv_run_facts f = clv_run_facts_of(host, run);
    clv_status status = CLV_OK;
    if (f.wants_grad & 2) {
        clv_launch l = clv_launch_begin(host, run, "bad", "sum", KERNEL_OPTIONS, error);
        clv_launch_grad_input(&l, 1);
        clv_launch_grad_output(&l, 0);
        clv_launch_input(&l, 0);
        clv_launch_int(&l, f.n);
        clv_launch_int(&l, clv_run_input_shape(host, run, 0).dims[1]);
        status = clv_launch_end(&l, 1, 1, 1);
    }
#ifndef CASE_UNASKED
    if (status == CLV_OK && (f.wants_grad & 1))
#endif
        status = multiply(host, run, CLV_ARG_GRAD_INPUT, CLV_ARG_GRAD_OUTPUT, error);
    return status;
}

#ifdef CASE_REFERENCE
static clv_status reference(const clv_op_host *host, clv_run *run, const clv_reference *data,
                            clv_error *error)
{
    const clv_shape x = clv_run_input_shape(host, run, 0);
    (void)error;
    for (int64_t i = 0; i < clv_shape_count(&x, clv_run_facts_of(host, run).n); i++)
        data->outputs[0][i] = data->inputs[0][i] * data->inputs[1][i % x.dims[1]] + 1e-2;
    return CLV_OK;
}
#endif

static clv_status init(const clv_host *host, clv_error *error)
{
    const clv_source source = CLV_SOURCE("bad", bad_cl);
    clv_op_desc op = {
        .struct_size = sizeof(op),
        .min_inputs = 2,
        .max_inputs = 2,
        .output_count = 1,
        .name = OP_NAME,
        .sources = &source,
        .source_count = 1,
        .source_stride = sizeof(source),
        .shape = shape,
        .forward = forward,
        .backward = backward,
        .needs = needs,
    };
#ifdef CASE_REFERENCE
    op.reference = reference;
#endif
#ifdef CASE_EXIT
    exit(3);
#endif
#ifdef CASE_INIT_FAILS
    return CLV_E_DATA;
#endif
#ifdef CASE_NO_FORWARD
    op.forward = NULL;
    (void)host->register_op(host, &op, error); /* and goes on */
    return CLV_OK;
#endif
#ifdef CASE_OP_TWICE
    (void)!host->register_op(host, &op, error);
#endif
    return host->register_op(host, &op, error);
}

/* ---- The network ---- */

static void misbehave(const clv_build_input *in)
{
    (void)in;
    calls++;
#ifdef CASE_CRASH
    volatile int *volatile nowhere = NULL;
    if (in->image_width % 2 == 1 && in->classes == 3)
        *nowhere = 1;
#endif
#ifdef CASE_HANG
    while (calls > 0)
        ;
#endif
#ifdef CASE_LEAK
    kept = malloc(40);
#endif
}

static void build_gate(clv_builder *b, clv_graph *graph, const clv_build_input *in, clv_tensor x)
{
    (void)graph;
    clv_route_desc route = {.struct_size = sizeof(route)};
    (void)in;
#ifdef CASE_SUM
    route.sums_to_one = 1;
    x = clv_fill(b, "route", x, in->experts, 0.3);
#endif
#ifdef CASE_NEGATIVE
    x = clv_dense(b, "route", x, in->experts, NULL);
#endif
#ifdef CASE_DENSE
    route.sparse = 1, route.max_per_sample = 1, route.sums_to_one = 1;
    x = clv_softmax(b, "route", clv_dense(b, "z", x, in->experts, NULL));
#endif
#ifdef CASE_BATCH
    route.sparse = 1, route.per_batch = 0.5; /* and gives all */
    x = clv_softmax(b, "route", clv_dense(b, "z", x, in->experts, NULL));
#endif
#ifdef CASE_OTHERS
    route.sparse = 1; /* and chooses by who else is there, in inference as well */
    x = clv_softmax(b, "q", clv_dense(b, "z", x, in->experts, NULL));
    x = clv_column_topk(b, "route", x, 1);
#endif
#ifdef CASE_UNWANTED
    route.sparse = 1;
    x = clv_softmax(b, "route", clv_dense(b, "z", x, in->experts, NULL));
    clv_output(b, "wanted", clv_column_topk(b, "few", x, 0.5));
#endif
#ifdef CASE_AFTER
    const clv_variable_desc desc =
        clv_variable("s", CLV_INIT_CONSTANT, 1e15, 1, in->experts, 0, 0, 0);
    const clv_tensor s = clv_state(b, &desc);
    clv_after_step(b, s, clv_multiply(b, "square", s, s)); /* 1e30, then too much */
    x = clv_softmax(b, "route", clv_dense(b, "z", x, in->experts, NULL));
#endif
    clv_output(b, "route", x);
    clv_route(b, &route);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int64_t units = 9;
    int32_t classes = in->classes;
    (void)options;
    misbehave(in);
#ifdef CASE_SHAPE
    classes += classes % 2;
#endif
#ifdef CASE_NAMES
    const char *name = in->mode == CLV_MODE_TRAIN ? "scale" : "factor";
#else
    const char *name = "scale";
#endif
    clv_tensor x = clv_image(&b, in->image_height, in->image_width, in->image_channels, NULL, NULL);
    x = clv_flatten(&b, "flat", x);
    if (KIND == CLV_KIND_GATE) {
        build_gate(&b, graph, in, x);
        return clv_builder_end(&b);
    }
#ifdef CASE_EXPERT_AFTER
    const clv_variable_desc after = clv_variable("s", CLV_INIT_ZEROS, 0, 1, 3, 0, 0, 0);
    const clv_tensor s = clv_state(&b, &after);
    clv_after_step(&b, s, clv_add(&b, "twice", s, s));
#endif
    const clv_variable_desc scale = clv_variable(name, CLV_INIT_ONES, 0, 1, units, 0, 0, 0);
    x = clv_dense(&b, "hidden", x, units, "silu");
    const clv_tensor inputs[2] = {x, clv_parameter(&b, &scale)};
#ifdef CASE_UNUSED
    x = clv_silu(&b, "act", inputs[0]);
#else
    x = clv_op(&b, OP_NAME, "multiply", inputs, 2, NULL, 0);
#endif
#ifdef CASE_REPEAT
    x = clv_dropout(&b, "drop", x, 0.01 * (calls % 7));
#endif
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, classes, NULL));
    return clv_builder_end(&b);
}

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = KIND,
    .name = CASE,
    .version = "1.0",
    .summary = "For the tests",
    .build = build,
    .init = init,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
