/* A gate that this project does not know, with a rule that learns without a gradient: each sample
 * goes to the expert with the largest softmax weight plus handicap, and after each step of the
 * optimiser a handicap becomes half of what it was, less a hundredth for each sample that the
 * expert got. With judge = no the handicaps alone decide: it has no parameter at all. Sees
 * <conclave/…> only and is no part of the build: test_stranger compiles it as anybody would. */
#include <conclave/ops.h>

static clv_tensor state_of(clv_builder *b, const char *name, double value, int32_t experts)
{
    const clv_variable_desc desc =
        clv_variable(name, CLV_INIT_CONSTANT, value, 1, experts, 0, 0, 0);
    return clv_state(b, &desc);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int32_t experts = input->experts;
    clv_route_desc route = {0};
    const clv_tensor handicap = state_of(&b, "handicap", 0, experts);
    const clv_tensor keep = state_of(&b, "keep", 0.5, experts);
    const clv_tensor each = state_of(&b, "each", -0.01, experts);
    const clv_tensor x = clv_small_image(&b, input, 4);
    const clv_tensor z = clv_option_bool(&b, options, "judge")
                             ? clv_dense_from_zero(&b, "judge", x, experts)
                             : clv_fill(&b, "alike", x, experts, 0);
    const clv_tensor way = clv_topk_mask_biased(&b, "way", z, handicap, 1, true);
    clv_output(&b, "gate_logits", z);
    clv_output(&b, "route", way);
    if (input->mode == CLV_MODE_TRAIN) {
        const clv_tensor got = clv_step_sum(&b, clv_sign(&b, "got", way));
        const clv_tensor old = clv_multiply(&b, "old", handicap, keep);
        clv_after_step(&b, handicap, clv_add(&b, "new", old, clv_multiply(&b, "less", got, each)));
    }
    route.sparse = 1;
    route.max_per_sample = 1;
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("judge", BOOL, "yes", 0, 0, NULL, "look at the picture"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "steady",
    .version = "0.1",
    .summary = "One expert, with a handicap for those that are much used",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
