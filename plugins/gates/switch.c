/* Gate switch: each sample goes to the one expert with the largest logit, and is weighed by that
 * expert's softmax over all, so that the task teaches the gate (Fedus et al. 2021, arXiv
 * 2101.03961). A dense layer on the picture made small, starting at zero. Options:
 * plugins/gates/README.md. Variables: gate.{weight,bias}. */
#include <conclave/ops.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const clv_tensor x = clv_small_image(&b, input, clv_option_int(&b, options, "grid"));
    const clv_tensor z = clv_dense_from_zero(&b, "gate", x, input->experts);
    clv_output(&b, "gate_logits", z);
    clv_output(&b, "route", clv_topk_mask(&b, "route", z, 1, true));
    clv_route_desc route = {0};
    route.struct_size = (uint32_t)sizeof(route);
    route.sparse = 1;
    route.max_per_sample = 1;
    if (b.status == CLV_OK)
        b.status = host->route(graph, &route, error);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("grid", INT, "8", 1, 1024, NULL, "largest height and width of the picture it sees"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "switch",
    .version = "1.0",
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
