/* Gate first: compiled with the headers of ABI 1.0 beside it, to be loaded by every later host. It
 * calls all that these have for routing: noise, the k best, bias and capacity, a state of its own
 * that learns after each step, features in place of pixels. */
#include <conclave/routing.h>

/* Each step adds to a handicap what an expert got more than the mean, and halves what was there. */
static clv_tensor handicapped(clv_builder *b, const clv_build_input *in, clv_tensor z)
{
    const clv_variable_desc desc =
        clv_variable("handicap", CLV_INIT_ZEROS, 0, 1, in->experts, 0, 0, 0);
    const clv_tensor handicap = clv_state(b, &desc);
    const clv_tensor route = clv_topk_mask_biased(b, "route", z, handicap, 1, true);
    if (in->mode == CLV_MODE_TRAIN) {
        const clv_tensor got = clv_step_sum(b, clv_sign(b, "got", route));
        clv_after_step(b, handicap, clv_below_mean(b, "next", got, 0.01));
    }
    return route;
}

static clv_tensor noisy(clv_builder *b, const clv_build_input *in, clv_tensor x, clv_tensor z,
                        int64_t k)
{
    const clv_tensor s = clv_dense_from_zero(b, "noise", x, in->experts);
    const clv_tensor noisy = clv_add_noise(b, "noisy", z, s);
    if (k < in->experts)
        clv_output(b, "load_prob", clv_load_prob(b, "load_prob", z, s, noisy, k));
    return noisy;
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const char *rule = clv_option_text(&b, options, "rule");
    const bool soft = strcmp(rule, "soft") == 0;
    clv_top_desc top = {.k = clv_option_int(&b, options, "k")};
    clv_top_options(&b, options, &top);
    const clv_tensor x = soft ? clv_features(&b, in) : clv_small_image(&b, in, 4);
    clv_tensor z = clv_dense(&b, "judge", x, in->experts, NULL);
    clv_output(&b, "gate_logits", z);
    if (soft) {
        const clv_route_desc route = {.sums_to_one = 1};
        clv_output(&b, "route", clv_softmax(&b, "route", z));
        clv_route(&b, &route);
    } else if (strcmp(rule, "handicap") == 0) {
        const clv_route_desc route = {.sparse = 1, .max_per_sample = 1};
        clv_output(&b, "route", handicapped(&b, in, z));
        clv_route(&b, &route);
    } else if (strcmp(rule, "columns") == 0) {
        const clv_route_desc route = {.sparse = 1, .per_batch = in->mode == CLV_MODE_TRAIN};
        const clv_tensor p = clv_softmax(&b, "p", z);
        clv_output(&b, "route",
                   in->mode == CLV_MODE_TRAIN ? clv_column_topk(&b, "route", p, 1) : p);
        clv_route(&b, &route);
    } else {
        clv_top_route(&b, in, strcmp(rule, "top") == 0 ? z : noisy(&b, in, x, z, top.k), &top);
    }
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("rule", CHOICE, "noisy", 0, 0, "noisy | top | handicap | columns | soft",
               "what it does"),
    CLV_OPTION("k", INT, "1", 1, 64, NULL, "experts of a sample, where noisy"),
    CLV_TOP_OPTIONS,
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "first",
    .version = "1.0",
    .summary = "Every routing of ABI 1.0",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
