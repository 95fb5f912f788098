/* Gate expert_choice: in training each expert takes its best samples of the batch, k·n/K of them,
 * so that all are used alike; a sample may get several experts or none (Zhou et al. 2022, arXiv
 * 2202.09368). In evaluation, where a sample's answer must not depend on its batch, each sample
 * takes its round(k) best experts. Weights are the softmax over all experts. A dense layer on the
 * picture made small, starting at zero. Options: plugins/gates/README.md. Variables:
 * gate.{weight,bias}. */
#include <conclave/ops.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const double k = clv_option_real(&b, options, "k");
    const int64_t each = k < 1 ? 1 : (int64_t)(k + 0.5);
    if (k > input->experts)
        CLV_BUILDER_FAIL(&b, CLV_E_CONFIG, "k is %g, and there are %d experts", k,
                         (int)input->experts);
    const clv_tensor x = clv_small_image(&b, input, clv_option_int(&b, options, "grid"));
    const clv_tensor z = clv_dense_from_zero(&b, "gate", x, input->experts);
    clv_route_desc route = {0};
    route.sparse = 1;
    clv_output(&b, "gate_logits", z);
    if (input->mode == CLV_MODE_TRAIN) {
        route.per_batch = k;
        clv_output(&b, "route",
                   clv_column_topk(&b, "route", clv_softmax(&b, "probabilities", z), k));
    } else {
        route.max_per_sample = (int32_t)each;
        clv_output(&b, "route", clv_topk_mask(&b, "route", z, each, true));
    }
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("k", REAL, "1", 0.01, 64, NULL, "experts of a sample, on average"),
    CLV_OPTION("grid", INT, "8", 1, 1024, NULL, "largest height and width of the picture it sees"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "expert_choice",
    .version = "1.0",
    .summary = "Each expert takes its best samples of a batch",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
