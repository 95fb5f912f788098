/* A gate that this project does not know: each expert whose softmax weight exceeds a part of an
 * equal share gets the sample, with what is above, so that a sample has one expert, several or all;
 * or none, where the part is more than 1. Sees <conclave/…> only and is no part of the build:
 * test_stranger compiles it as anybody would. */
#include <conclave/ops.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int32_t experts = input->experts;
    clv_conv2d_desc look = {0};
    clv_route_desc route = {0};
    const double least = clv_option_real(&b, options, "least") / experts;
    look.filters = 6;
    look.kernel = 3;
    look.activation = "relu";
    const clv_tensor picture =
        clv_image(&b, input->image_height, input->image_width, input->image_channels, NULL, NULL);
    clv_tensor z = clv_global_avg_pool(&b, "pool", clv_conv2d(&b, "look", picture, &look));
    z = clv_dense(&b, "judge", z, experts, NULL);
    const clv_tensor less = clv_fill(&b, "less", z, experts, -least);
    const clv_tensor above = clv_add(&b, "above", clv_softmax(&b, "weights", z), less);
    clv_output(&b, "gate_logits", z);
    clv_output(&b, "route", clv_relu(&b, "route", above));
    route.sparse = 1; /* max_per_sample 0: up to all */
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("least", REAL, "0.5", 0, 64, NULL, "part of an equal share that is too little"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "margin",
    .version = "0.1",
    .summary = "Experts above a part of an equal share",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
