/* Expert efficientnet_b0: EfficientNet-B0 (Tan and Le 2019), a stem, seven stages of inverted
 * bottlenecks with squeeze-excite, a 1×1 convolution, global average pooling, a dense head.
 * Variables have torchvision's names, features.0.0.weight … classifier.1.bias. Options and what
 * the variants differ in: plugins/experts/README.md. */
#include <conclave/ops.h>

#include <stdio.h>

enum { STAGES = 7, BLOCKS = 16, STEM_FILTERS = 32, HEAD_FILTERS = 1280 };

typedef struct stage {
    int64_t expand, kernel, filters;
    int repeats;
} stage;

static const stage stages[STAGES] = {{1, 3, 16, 1},  {6, 3, 24, 2},  {6, 5, 40, 2}, {6, 3, 80, 3},
                                     {6, 5, 112, 3}, {6, 5, 192, 4}, {6, 3, 320, 1}};

typedef struct settings {
    bool keras;
    double dropout, drop_path;
    const int64_t *strides; /* of the stem and each stage's first block */
    int channels;
} settings;

static settings read_settings(clv_builder *b, const clv_options *o, const clv_build_input *input)
{
    settings s;
    uint32_t count = 0;
    s.keras = strcmp(clv_option_text(b, o, "variant"), "keras") == 0;
    s.dropout = clv_option_real(b, o, "dropout");
    s.drop_path = clv_option_real(b, o, "drop_path");
    s.strides = clv_option_ints(b, o, "strides", &count);
    s.channels = clv_option_channels(b, o, input);
    if (b->status == CLV_OK && count != STAGES + 1)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "strides has %u numbers, wanted are %d", count,
                         STAGES + 1);
    return s;
}

/* The images must be at least as large as what they are divided by. */
static void check(clv_builder *b, const settings *s, const clv_build_input *input)
{
    const int32_t shorter =
        input->image_height < input->image_width ? input->image_height : input->image_width;
    int64_t factor = 1;
    for (int i = 0; i <= STAGES && b->status == CLV_OK; i++)
        factor *= s->strides[i];
    if (b->status == CLV_OK && shorter < factor)
        CLV_BUILDER_FAIL(b, CLV_E_SHAPE,
                         "images of %d×%d pixels are too small: the strides divide them by %d; "
                         "give images of %d pixels or more, or set one of `strides` to 1",
                         input->image_height, input->image_width, (int)factor, (int)factor);
}

/* What all convolutions of the variant share. */
static clv_conv2d_desc convolution(const settings *s, int64_t filters, int64_t kernel,
                                   int64_t stride, const char *activation)
{
    clv_conv2d_desc d = {0};
    d.filters = filters;
    d.kernel = kernel;
    d.stride = stride;
    d.pad_same = s->keras;
    d.no_bias = true;
    d.activation = activation;
    d.eps = s->keras ? 1e-3 : 1e-5;
    d.momentum = s->keras ? 0.01 : 0.1;
    return d;
}

/* Layer `index` of a block: convolution INDEX.0, normalisation INDEX.1. */
static clv_tensor convolve(clv_builder *b, int index, clv_tensor x, const clv_conv2d_desc *d)
{
    char scope[16];
    snprintf(scope, sizeof(scope), "%d", index);
    clv_scope(b, scope);
    x = clv_conv2d_bn(b, "0", "1", x, d);
    clv_scope_end(b);
    return x;
}

static clv_tensor convolve_depthwise(clv_builder *b, int index, clv_tensor x,
                                     const clv_conv2d_desc *d)
{
    char scope[16];
    snprintf(scope, sizeof(scope), "%d", index);
    clv_scope(b, scope);
    x = clv_depthwise_conv2d_bn(b, "0", "1", x, d);
    clv_scope_end(b);
    return x;
}

/* x times a factor per channel, which two dense layers make from the channels' means (Hu et al.
 * 2018). */
static clv_tensor squeeze_excite(clv_builder *b, int index, clv_tensor x, int64_t squeezed)
{
    const int64_t channels = clv_shape_of(b, x).dims[3];
    char scope[16];
    snprintf(scope, sizeof(scope), "%d", index);
    clv_scope(b, scope);
    clv_tensor factor = clv_global_avg_pool(b, "pool", x);
    factor = clv_dense(b, "fc1", factor, squeezed, "silu");
    factor = clv_sigmoid(b, "gate", clv_dense(b, "fc2", factor, channels, NULL));
    x = clv_multiply(b, "scale", x, factor);
    clv_scope_end(b);
    return x;
}

/* One inverted bottleneck; `depth` counts the blocks of the whole network. */
static clv_tensor block(clv_builder *b, const settings *s, clv_tensor x, const stage *g,
                        int64_t stride, int depth)
{
    const int64_t in = clv_shape_of(b, x).dims[3], wide = in * g->expand;
    const clv_conv2d_desc expand = convolution(s, wide, 1, 1, "silu");
    const clv_conv2d_desc depthwise = convolution(s, wide, g->kernel, stride, "silu");
    const clv_conv2d_desc project = convolution(s, g->filters, 1, 1, "none");
    const double drop = s->drop_path * depth / BLOCKS;
    clv_tensor y = x;
    int layer = 0;
    clv_scope(b, "block");
    if (g->expand != 1)
        y = convolve(b, layer++, y, &expand);
    y = convolve_depthwise(b, layer++, y, &depthwise);
    y = squeeze_excite(b, layer++, y, in > 4 ? in / 4 : 1);
    y = convolve(b, layer, y, &project);
    clv_scope_end(b);
    if (stride != 1 || in != g->filters)
        return y;
    if (drop > 0)
        y = clv_drop_path(b, "drop_path", y, drop);
    return clv_add(b, "add", y, x);
}

/* Stage `index`, 1 … 7, in the scope of its number; `depth` counts blocks on. */
static clv_tensor run_stage(clv_builder *b, const settings *s, clv_tensor x, int index, int *depth)
{
    const stage *g = &stages[index - 1];
    char scope[16];
    snprintf(scope, sizeof(scope), "%d", index);
    clv_scope(b, scope);
    for (int i = 0; i < g->repeats && b->status == CLV_OK; i++) {
        snprintf(scope, sizeof(scope), "%d", i);
        clv_scope(b, scope);
        x = block(b, s, x, g, i == 0 ? s->strides[index] : 1, (*depth)++);
        clv_scope_end(b);
    }
    clv_scope_end(b);
    return x;
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const settings s = read_settings(&b, options, input);
    check(&b, &s, input);
    if (b.status != CLV_OK)
        return b.status;
    const clv_conv2d_desc stem = convolution(&s, STEM_FILTERS, 3, s.strides[0], "silu");
    const clv_conv2d_desc head = convolution(&s, HEAD_FILTERS, 1, 1, "silu");
    int depth = 0;
    clv_tensor x = clv_image_of_imagenet(&b, input, s.channels);
    clv_scope(&b, "features");
    x = convolve(&b, 0, x, &stem);
    for (int i = 1; i <= STAGES; i++)
        x = run_stage(&b, &s, x, i, &depth);
    x = convolve(&b, STAGES + 1, x, &head);
    clv_scope_end(&b);
    x = clv_global_avg_pool(&b, "avgpool", x);
    clv_output(&b, "features", x);
    clv_scope(&b, "classifier");
    if (s.dropout > 0)
        x = clv_dropout(&b, "0", x, s.dropout);
    clv_output(&b, "logits", clv_dense(&b, "1", x, input->classes, NULL));
    clv_scope_end(&b);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("variant", CHOICE, "torchvision", 0, 0, "torchvision | keras",
               "whose padding and normalisation"),
    CLV_OPTION("dropout", REAL, "0.2", 0, 0.95, NULL,
               "share of the head's inputs dropped in training"),
    CLV_OPTION(
        "drop_path", REAL, "0.2", 0, 0.95, NULL,
        "how often a block is skipped in training: a rate that grows towards this with depth"),
    CLV_OPTION("strides", INT_LIST, "2, 1, 2, 2, 2, 1, 2, 1", 1, 2, NULL,
               "of the stem and the first block of each of the seven stages"),
    CLV_OPTION("channels", CHOICE, "3", 0, 0, "auto | 1 | 3",
               "1: sees grey, 3: sees colour, auto: as the data set is"),
};

/* ---- Names in weight files: the variables' own are torchvision's ---- */

#define TIMM_FIRST(theirs, keras, ours)                                                            \
    CLV_LAYER_NAME("blocks." theirs ".conv_dw", "features." ours ".block.0.0"),                    \
        CLV_LAYER_NAME("blocks." theirs ".bn1", "features." ours ".block.0.1"),                    \
        CLV_LAYER_NAME("blocks." theirs ".se.conv_reduce", "features." ours ".block.1.fc1"),       \
        CLV_LAYER_NAME("blocks." theirs ".se.conv_expand", "features." ours ".block.1.fc2"),       \
        CLV_LAYER_NAME("blocks." theirs ".conv_pw", "features." ours ".block.2.0"),                \
        CLV_LAYER_NAME("blocks." theirs ".bn2", "features." ours ".block.2.1")
#define TIMM(theirs, keras, ours)                                                                  \
    CLV_LAYER_NAME("blocks." theirs ".conv_pw", "features." ours ".block.0.0"),                    \
        CLV_LAYER_NAME("blocks." theirs ".bn1", "features." ours ".block.0.1"),                    \
        CLV_LAYER_NAME("blocks." theirs ".conv_dw", "features." ours ".block.1.0"),                \
        CLV_LAYER_NAME("blocks." theirs ".bn2", "features." ours ".block.1.1"),                    \
        CLV_LAYER_NAME("blocks." theirs ".se.conv_reduce", "features." ours ".block.2.fc1"),       \
        CLV_LAYER_NAME("blocks." theirs ".se.conv_expand", "features." ours ".block.2.fc2"),       \
        CLV_LAYER_NAME("blocks." theirs ".conv_pwl", "features." ours ".block.3.0"),               \
        CLV_LAYER_NAME("blocks." theirs ".bn3", "features." ours ".block.3.1")
#define KERAS_FIRST(timm, theirs, ours)                                                            \
    CLV_LAYER_NAME("block" theirs "_dwconv", "features." ours ".block.0.0"),                       \
        CLV_LAYER_NAME("block" theirs "_bn", "features." ours ".block.0.1"),                       \
        CLV_LAYER_NAME("block" theirs "_se_reduce", "features." ours ".block.1.fc1"),              \
        CLV_LAYER_NAME("block" theirs "_se_expand", "features." ours ".block.1.fc2"),              \
        CLV_LAYER_NAME("block" theirs "_project_conv", "features." ours ".block.2.0"),             \
        CLV_LAYER_NAME("block" theirs "_project_bn", "features." ours ".block.2.1")
#define KERAS(timm, theirs, ours)                                                                  \
    CLV_LAYER_NAME("block" theirs "_expand_conv", "features." ours ".block.0.0"),                  \
        CLV_LAYER_NAME("block" theirs "_expand_bn", "features." ours ".block.0.1"),                \
        CLV_LAYER_NAME("block" theirs "_dwconv", "features." ours ".block.1.0"),                   \
        CLV_LAYER_NAME("block" theirs "_bn", "features." ours ".block.1.1"),                       \
        CLV_LAYER_NAME("block" theirs "_se_reduce", "features." ours ".block.2.fc1"),              \
        CLV_LAYER_NAME("block" theirs "_se_expand", "features." ours ".block.2.fc2"),              \
        CLV_LAYER_NAME("block" theirs "_project_conv", "features." ours ".block.3.0"),             \
        CLV_LAYER_NAME("block" theirs "_project_bn", "features." ours ".block.3.1")

/* The sixteen blocks as timm, Keras and torchvision call them; the first widens nothing. */
#define EACH_BLOCK(FIRST, OTHER)                                                                   \
    FIRST("0.0", "1a", "1.0"), OTHER("1.0", "2a", "2.0"), OTHER("1.1", "2b", "2.1"),               \
        OTHER("2.0", "3a", "3.0"), OTHER("2.1", "3b", "3.1"), OTHER("3.0", "4a", "4.0"),           \
        OTHER("3.1", "4b", "4.1"), OTHER("3.2", "4c", "4.2"), OTHER("4.0", "5a", "5.0"),           \
        OTHER("4.1", "5b", "5.1"), OTHER("4.2", "5c", "5.2"), OTHER("5.0", "6a", "6.0"),           \
        OTHER("5.1", "6b", "6.1"), OTHER("5.2", "6c", "6.2"), OTHER("5.3", "6d", "6.3"),           \
        OTHER("6.0", "7a", "7.0")

static const clv_layer_name timm_layers[] = {
    CLV_LAYER_NAME("conv_stem", "features.0.0"),
    CLV_LAYER_NAME("bn1", "features.0.1"),
    EACH_BLOCK(TIMM_FIRST, TIMM),
    CLV_LAYER_NAME("conv_head", "features.8.0"),
    CLV_LAYER_NAME("bn2", "features.8.1"),
    CLV_LAYER_NAME("classifier", "classifier.1"),
};

static const clv_layer_name keras_layers[] = {
    CLV_LAYER_NAME("stem_conv", "features.0.0"),
    CLV_LAYER_NAME("stem_bn", "features.0.1"),
    EACH_BLOCK(KERAS_FIRST, KERAS),
    CLV_LAYER_NAME("top_conv", "features.8.0"),
    CLV_LAYER_NAME("top_bn", "features.8.1"),
    CLV_LAYER_NAME("predictions", "classifier.1"),
};

/* timm has both variants under the same names. */
static const clv_weight_names weight_names[] = {
    CLV_WEIGHT_NAMES_OWN("torchvision", "variant", "torchvision"),
    CLV_WEIGHT_NAMES("timm", NULL, NULL, timm_layers),
    CLV_WEIGHT_NAMES("keras", "variant", "keras", keras_layers),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "efficientnet_b0",
    .version = "1.0",
    .summary = "EfficientNet-B0",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
    .weight_names = weight_names,
    .weight_name_count = (uint32_t)(sizeof(weight_names) / sizeof(*weight_names)),
    .weight_name_stride = (uint32_t)sizeof(*weight_names),
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
