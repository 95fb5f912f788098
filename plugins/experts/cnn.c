/* Expert cnn: blocks of convolutions with pooling between them, global average pooling, a dense
 * head. The defaults: 3×3 convolutions of 32, 64 and 128 filters, each with batch normalisation and
 * ReLU, halved by 2×2 maximum pooling after the first and the second. Options:
 * plugins/experts/README.md.
 *
 * Variables, block I, convolution J: features.I.J.conv.weight (.bias without normalisation),
 * features.I.J.norm.{weight,bias,running_mean,running_var}; hidden.{weight,bias} where there is
 * such a layer; classifier.{weight,bias}. */
#include <conclave/ops.h>

#include <stdio.h>

typedef struct settings {
    const int64_t *widths;
    uint32_t blocks;
    int64_t convs, kernel, hidden;
    bool batch_norm, average_pool;
    const char *activation;
    double dropout;
    int channels;
} settings;

static settings read_settings(clv_builder *b, const clv_options *o, const clv_build_input *input)
{
    settings s;
    s.widths = clv_option_ints(b, o, "widths", &s.blocks);
    s.convs = clv_option_int(b, o, "convs_per_block");
    s.kernel = clv_option_int(b, o, "kernel");
    s.hidden = clv_option_int(b, o, "hidden");
    s.batch_norm = clv_option_bool(b, o, "batch_norm");
    s.average_pool = strcmp(clv_option_text(b, o, "pool"), "avg") == 0;
    s.activation = clv_option_text(b, o, "activation");
    s.dropout = clv_option_real(b, o, "dropout");
    s.channels = clv_option_channels(b, o, input);
    return s;
}

/* The wrong values that no range can tell. */
static void check(clv_builder *b, const settings *s, const clv_build_input *input)
{
    const int32_t shorter =
        input->image_height < input->image_width ? input->image_height : input->image_width;
    if (s->blocks < 1 || s->blocks > 16)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "widths has %u numbers, wanted are 1 to 16", s->blocks);
    if (s->kernel % 2 == 0)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "kernel is %d, wanted is an odd number", (int)s->kernel);
    if (b->status == CLV_OK && shorter >> (s->blocks - 1) < 1)
        CLV_BUILDER_FAIL(b, CLV_E_SHAPE,
                         "images of %d×%d pixels are too small for %u blocks: each but the last "
                         "halves them; give larger images or fewer widths",
                         input->image_height, input->image_width, s->blocks);
}

/* One convolution with what follows it, in the scope of its index in the block. */
static clv_tensor convolution(clv_builder *b, const settings *s, clv_tensor x, int64_t filters,
                              int index)
{
    clv_conv2d_desc desc = {0};
    char scope[16];
    desc.filters = filters;
    desc.kernel = s->kernel;
    desc.activation = s->activation;
    snprintf(scope, sizeof(scope), "%d", index);
    clv_scope(b, scope);
    x = s->batch_norm ? clv_conv2d_bn(b, "conv", "norm", x, &desc)
                      : clv_conv2d(b, "conv", x, &desc);
    clv_scope_end(b);
    return x;
}

static clv_tensor block(clv_builder *b, const settings *s, clv_tensor x, uint32_t index)
{
    char scope[16];
    snprintf(scope, sizeof(scope), "%u", index);
    clv_scope(b, scope);
    for (int i = 0; i < s->convs; i++)
        x = convolution(b, s, x, s->widths[index], i);
    if (index + 1 < s->blocks)
        x = s->average_pool ? clv_avg_pool2d(b, "pool", x, 2, 2, 0)
                            : clv_max_pool2d(b, "pool", x, 2, 2, 0);
    clv_scope_end(b);
    return x;
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const settings s = read_settings(&b, options, input);
    check(&b, &s, input);
    clv_tensor x = clv_image(&b, input->image_height, input->image_width, s.channels, NULL, NULL);
    clv_scope(&b, "features");
    for (uint32_t i = 0; i < s.blocks && b.status == CLV_OK; i++)
        x = block(&b, &s, x, i);
    clv_scope_end(&b);
    x = clv_global_avg_pool(&b, "pool", x);
    if (s.hidden > 0)
        x = clv_dense(&b, "hidden", x, s.hidden, s.activation);
    clv_output(&b, "features", x);
    if (s.dropout > 0)
        x = clv_dropout(&b, "dropout", x, s.dropout);
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, input->classes, NULL));
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("widths", INT_LIST, "32, 64, 128", 1, 4096, NULL, "filters of each block"),
    CLV_OPTION("convs_per_block", INT, "1", 1, 16, NULL, "convolutions in each block"),
    CLV_OPTION("kernel", INT, "3", 1, 15, NULL, "height and width of the convolutions, odd"),
    CLV_OPTION("batch_norm", BOOL, "yes", 0, 0, NULL, "normalise after each convolution"),
    CLV_OPTION("activation", CHOICE, "relu", 0, 0, "relu | silu", "after each convolution"),
    CLV_OPTION("pool", CHOICE, "max", 0, 0, "max | avg",
               "2×2 pooling after each block but the last"),
    CLV_OPTION("hidden", INT, "0", 0, 65536, NULL,
               "units of a dense layer before the head; 0: none"),
    CLV_OPTION("dropout", REAL, "0", 0, 0.95, NULL,
               "share of the head's inputs dropped in training"),
    CLV_OPTION("channels", CHOICE, "auto", 0, 0, "auto | 1 | 3",
               "1: sees grey, 3: sees colour, auto: as the data set is"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "cnn",
    .version = "1.0",
    .summary = "Convolution blocks with pooling between them and a dense head",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
