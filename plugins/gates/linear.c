/* Gate linear: one dense layer weighs the experts for each sample, from the picture made small
 * (input = pixels) or from the experts' own features side by side (input = features). Its weights
 * start at zero, so that all experts count the same at first. Options: plugins/gates/README.md.
 * Variables: gate.{weight,bias}. */
#include <conclave/ops.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const clv_route_desc route = {.sums_to_one = 1};
    const bool features = strcmp(clv_option_text(&b, options, "input"), "features") == 0;
    const int64_t grid = clv_option_int(&b, options, "grid");
    clv_tensor x = features ? clv_features(&b, input) : clv_small_image(&b, input, grid);
    x = clv_dense_from_zero(&b, "gate", x, input->experts);
    clv_output(&b, "gate_logits", x);
    clv_output(&b, "route", clv_softmax(&b, "route", x));
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("input", CHOICE, "pixels", 0, 0, "pixels | features",
               "what it sees: the picture, or the experts' features"),
    CLV_OPTION("grid", INT, "8", 1, 1024, NULL, "largest height and width of the picture it sees"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "linear",
    .version = "1.0",
    .summary = "One dense layer on pixels or features weighs the experts",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
