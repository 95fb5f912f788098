/* Gate cnn: a small network on the picture weighs the experts for each sample. Blocks of a 3×3
 * convolution and 2×2 maximum pooling, global average pooling, a dense layer with one output for
 * each expert, softmax. Options: plugins/gates/README.md.
 *
 * Variables, block I: features.I.conv.weight (.bias without normalisation), features.I.norm.*;
 * hidden.{weight,bias} where there is such a layer; gate.{weight,bias}. */
#include <conclave/ops.h>

#include <stdio.h>

static clv_tensor block(clv_builder *b, clv_tensor x, int64_t filters, bool batch_norm,
                        uint32_t index)
{
    clv_conv2d_desc desc = {0};
    char scope[16];
    desc.filters = filters;
    desc.kernel = 3;
    desc.activation = "relu";
    snprintf(scope, sizeof(scope), "%u", index);
    clv_scope(b, scope);
    x = batch_norm ? clv_conv2d_bn(b, "conv", "norm", x, &desc) : clv_conv2d(b, "conv", x, &desc);
    const clv_shape s = clv_shape_of(b, x);
    if (s.rank == 4 && s.dims[1] > 1 && s.dims[2] > 1)
        x = clv_max_pool2d(b, "pool", x, 2, 2, 0);
    clv_scope_end(b);
    return x;
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const clv_route_desc route = {.sums_to_one = 1};
    uint32_t blocks;
    const int64_t *widths = clv_option_ints(&b, options, "widths", &blocks);
    const int64_t hidden = clv_option_int(&b, options, "hidden");
    const bool batch_norm = clv_option_bool(&b, options, "batch_norm");
    const double dropout = clv_option_real(&b, options, "dropout");
    if (blocks < 1 || blocks > 16)
        CLV_BUILDER_FAIL(&b, CLV_E_CONFIG, "widths has %u numbers, wanted are 1 to 16", blocks);
    clv_tensor x =
        clv_image(&b, input->image_height, input->image_width, input->image_channels, NULL, NULL);
    clv_scope(&b, "features");
    for (uint32_t i = 0; i < blocks && b.status == CLV_OK; i++)
        x = block(&b, x, widths[i], batch_norm, i);
    clv_scope_end(&b);
    x = clv_global_avg_pool(&b, "pool", x);
    if (hidden > 0)
        x = clv_dense(&b, "hidden", x, hidden, "relu");
    if (dropout > 0)
        x = clv_dropout(&b, "dropout", x, dropout);
    x = clv_dense(&b, "gate", x, input->experts, NULL);
    clv_output(&b, "gate_logits", x);
    clv_output(&b, "route", clv_softmax(&b, "route", x));
    clv_route(&b, &route);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("widths", INT_LIST, "16, 32", 1, 4096, NULL, "filters of each block"),
    CLV_OPTION("batch_norm", BOOL, "yes", 0, 0, NULL, "normalise after each convolution"),
    CLV_OPTION("hidden", INT, "0", 0, 65536, NULL,
               "units of a dense layer before the last one; 0: none"),
    CLV_OPTION("dropout", REAL, "0", 0, 0.95, NULL,
               "share of the last layer's inputs dropped in training"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_GATE,
    .name = "cnn",
    .version = "1.0",
    .summary = "Convolutions on the picture weigh the experts",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
