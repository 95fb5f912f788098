/* Gate switch: each sample goes to the one expert with the largest logit, and is weighed by that
 * expert's softmax over all, so that the task teaches the gate (Fedus et al. 2021, arXiv
 * 2101.03961). A dense layer on the picture made small, starting at zero. Options:
 * plugins/gates/README.md. Variables: gate.{weight,bias}, balance_bias where there is one. */
#include <conclave/routing.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const clv_tensor x = clv_small_image(&b, input, clv_option_int(&b, options, "grid"));
    const clv_tensor z = clv_dense_from_zero(&b, "gate", x, input->experts);
    clv_top_desc top = {.k = 1, .before = true};
    clv_top_options(&b, options, &top);
    clv_output(&b, "gate_logits", z);
    clv_top_route(&b, input, z, &top);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_TOP_OPTIONS,
    CLV_OPTION("grid", INT, "8", 1, 1024, NULL, "largest height and width of the picture it sees"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "switch",
    .version = "1.1",
    .summary = "Each sample to one expert, weighed by its probability",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
