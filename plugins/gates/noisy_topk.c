/* Gate noisy_topk: each sample goes to the k experts with the largest logits, to which training
 * adds learned noise (Shazeer et al. 2017, arXiv 1701.06538). Logits and noise are dense layers on
 * the picture made small, both starting at zero. Options: plugins/gates/README.md. Variables:
 * gate.{weight,bias}, noise.{weight,bias} where there is noise, balance_bias where there is one. */
#include <conclave/routing.h>

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const int64_t experts = input->experts;
    clv_top_desc top = {.k = clv_option_int(&b, options, "k")};
    const bool noise = clv_option_bool(&b, options, "noise");
    const char *normalise = clv_option_text(&b, options, "normalise");
    top.before = strcmp(normalise, "before") == 0 ||
                 (strcmp(normalise, "auto") == 0 && top.k == 1 && experts > 1);
    clv_top_options(&b, options, &top);
    const clv_tensor x = clv_small_image(&b, input, clv_option_int(&b, options, "grid"));
    const clv_tensor clean = clv_dense_from_zero(&b, "gate", x, experts);
    clv_tensor chosen_by = clean;
    if (noise) {
        const clv_tensor spread = clv_dense_from_zero(&b, "noise", x, experts);
        const clv_tensor noisy = clv_add_noise(&b, "noisy", clean, spread);
        /* With a bias the threshold is one of probabilities, and load_prob not what is chosen by.
         */
        if (top.k < experts && top.balance_bias <= 0 && input->mode == CLV_MODE_TRAIN)
            clv_output(&b, "load_prob", clv_load_prob(&b, "load", clean, spread, noisy, top.k));
        chosen_by = noisy;
    }
    clv_output(&b, "gate_logits", clean);
    clv_top_route(&b, input, chosen_by, &top);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("k", INT, "2", 1, 64, NULL, "experts of each sample"),
    CLV_OPTION("noise", BOOL, "yes", 0, 0, NULL, "add learned noise to the logits in training"),
    CLV_OPTION("normalise", CHOICE, "auto", 0, 0, "auto | after | before",
               "softmax over the chosen or over all experts; auto: before where k is 1"),
    CLV_TOP_OPTIONS,
    CLV_OPTION("grid", INT, "8", 1, 1024, NULL, "largest height and width of the picture it sees"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "noisy_topk",
    .version = "1.1",
    .summary = "Each sample to the k best experts, with learned noise in training",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
