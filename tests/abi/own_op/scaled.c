/* scaled.c: expert scaled, a dense layer whose outputs are multiplied by a learned weight each, by
 * an operation of its own, scaled.scale. */
#include <conclave/ops.h>
#include <conclave/own_op.h>

#include "scaled.cl.h" /* conclave embed scaled.cl */

/* x [N, C], w [C] → y [N, C] */
static clv_status scale_shape(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const clv_shape x = clv_run_input_shape(host, run, 0), w = clv_run_input_shape(host, run, 1);
    if (x.rank != 2 || w.rank != 1 || w.dims[0] != x.dims[1])
        return host->fail(error, CLV_E_SHAPE, __FILE__, __LINE__,
                          "wanted are inputs [N, C] and weights [C]");
    return host->set_output(run, 0, &x, error);
}

static clv_status scale_needs(const clv_op_host *host, const clv_run *run, clv_op_needs *needs,
                              clv_error *error)
{
    const uint32_t wants = clv_run_facts_of(host, run).wants_grad;
    (void)error;
    /* The gradient of x reads w, that of w reads x. */
    needs->backward_inputs = (wants & 1 ? 2u : 0) | (wants & 2 ? 1u : 0);
    return CLV_OK;
}

/* to = from·w, for forward and for the gradient of x. */
static clv_status scale_apply(const clv_op_host *host, clv_run *run, uint32_t to, uint32_t from,
                              clv_error *error)
{
    const clv_shape x = clv_run_input_shape(host, run, 0);
    const int64_t n = clv_run_facts_of(host, run).n, elements = clv_shape_count(&x, n);
    const int64_t groups = (elements + 4095) / 4096;
    clv_launch l = clv_launch_begin(host, run, "scale", "scale_fwd", "", error);
    clv_launch_arg(&l, clv_arg_make(to, 0, 0, 0));
    clv_launch_arg(&l, clv_arg_make(from, 0, 0, 0));
    clv_launch_input(&l, 1);
    clv_launch_int(&l, n);
    clv_launch_int(&l, x.dims[1]);
    return clv_launch_end(&l, (size_t)(groups < 65535 ? groups : 65535), 1, 1);
}

static clv_status scale_forward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    return scale_apply(host, run, CLV_ARG_OUTPUT, CLV_ARG_INPUT, error);
}

static clv_status scale_backward(const clv_op_host *host, clv_run *run, clv_error *error)
{
    const clv_run_facts facts = clv_run_facts_of(host, run);
    const clv_shape x = clv_run_input_shape(host, run, 0);
    clv_status status = CLV_OK;
    if (facts.wants_grad & 2) {
        clv_launch l = clv_launch_begin(host, run, "scale", "scale_bwd_w", "", error);
        clv_launch_grad_input(&l, 1);
        clv_launch_grad_output(&l, 0);
        clv_launch_input(&l, 0);
        clv_launch_int(&l, facts.n);
        clv_launch_int(&l, x.dims[1]);
        status = clv_launch_end(&l, (size_t)((x.dims[1] + 31) / 32), 1, 1);
    }
    if (status == CLV_OK && (facts.wants_grad & 1))
        status = scale_apply(host, run, CLV_ARG_GRAD_INPUT, CLV_ARG_GRAD_OUTPUT, error);
    return status;
}

static clv_status scale_reference(const clv_op_host *host, clv_run *run, const clv_reference *data,
                                  clv_error *error)
{
    const int64_t n = clv_run_facts_of(host, run).n;
    const int64_t columns = clv_run_input_shape(host, run, 0).dims[1];
    (void)error;
    for (int64_t i = 0; i < n * columns; i++)
        data->outputs[0][i] = data->inputs[0][i] * data->inputs[1][i % columns];
    return CLV_OK;
}

static clv_status init(const clv_host *host, clv_error *error)
{
    const clv_source source = CLV_SOURCE("scale", scaled_cl);
    const clv_op_desc scale = {
        .struct_size = sizeof(scale),
        .min_inputs = 2,
        .max_inputs = 2,
        .output_count = 1,
        .name = "scaled.scale",
        .sources = &source,
        .source_count = 1,
        .source_stride = sizeof(source),
        .shape = scale_shape,
        .forward = scale_forward,
        .backward = scale_backward,
        .needs = scale_needs,
        .reference = scale_reference,
    };
    return host->register_op(host, &scale, error);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int64_t units = clv_option_int(&b, options, "units");
    clv_tensor x = clv_image(&b, in->image_height, in->image_width, in->image_channels, NULL, NULL);
    x = clv_dense(&b, "hidden", clv_flatten(&b, "flat", x), units, "silu");
    const clv_variable_desc scale = clv_variable("scale", CLV_INIT_ONES, 0, 1, units, 0, 0, 0);
    const clv_tensor inputs[2] = {x, clv_parameter(&b, &scale)};
    x = clv_op(&b, "scaled.scale", "scaled", inputs, 2, NULL, 0);
    clv_output(&b, "features", x);
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, in->classes, NULL));
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("units", INT, "24", 1, 4096, NULL, "hidden units"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "scaled",
    .version = "1.0",
    .summary = "One hidden layer with a learned scale",
    .options = specs,
    .option_count = 1,
    .option_stride = sizeof(clv_option_spec),
    .build = build,
    .init = init,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
