/* Gate average: every expert counts the same for every sample. No parameters, no options. */
#include <conclave/ops.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const clv_route_desc route = {.sums_to_one = 1};
    const int32_t experts = input->experts;
    (void)options;
    /* Of the image only the number of samples counts. */
    const clv_tensor x =
        clv_image(&b, input->image_height, input->image_width, input->image_channels, NULL, NULL);
    clv_output(&b, "gate_logits", clv_fill(&b, "gate_logits", x, experts, 0));
    clv_output(&b, "route", clv_fill(&b, "route", x, experts, 1.0 / experts));
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "average",
    .version = "1.0",
    .summary = "The same weight for every expert",
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
