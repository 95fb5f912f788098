/* Expert vgg16: VGG with 16 layers (Simonyan and Zisserman 2015, configuration D): five blocks of
 * 3×3 convolutions, each followed by 2×2 maximum pooling, then three dense layers or global average
 * pooling and one. Variables have the names of torchvision's vgg16, with batch normalisation those
 * of its vgg16_bn. Options: plugins/experts/README.md. */
#include <conclave/ops.h>

#include <stdio.h>

enum { BLOCKS = 5, HIDDEN = 4096, MAP = 7 };

static const struct {
    int64_t filters;
    int convs;
} blocks[BLOCKS] = {{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}};

typedef struct settings {
    bool keras, gap, batch_norm;
    double dropout;
    const int64_t *strides; /* of the pooling after each block */
    int channels;
} settings;

static settings read_settings(clv_builder *b, const clv_options *o, const clv_build_input *input)
{
    settings s;
    uint32_t count = 0;
    s.keras = strcmp(clv_option_text(b, o, "variant"), "keras") == 0;
    s.gap = strcmp(clv_option_text(b, o, "top"), "gap") == 0;
    s.batch_norm = clv_option_bool(b, o, "batch_norm");
    s.dropout = clv_option_real(b, o, "dropout");
    s.strides = clv_option_ints(b, o, "strides", &count);
    s.channels = clv_option_channels(b, o, input);
    if (b->status == CLV_OK && count != BLOCKS)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "strides has %u numbers, wanted are %d", count, BLOCKS);
    return s;
}

/* The images must survive the pooling. */
static void check(clv_builder *b, const settings *s, const clv_build_input *input)
{
    const int32_t shorter =
        input->image_height < input->image_width ? input->image_height : input->image_width;
    int64_t factor = 1;
    for (int i = 0; i < BLOCKS && b->status == CLV_OK; i++)
        factor *= s->strides[i];
    if (b->status == CLV_OK && shorter < factor)
        CLV_BUILDER_FAIL(b, CLV_E_SHAPE,
                         "images of %d×%d pixels are too small: the poolings divide them by %d; "
                         "give images of %d pixels or more, or set one of `strides` to 1",
                         input->image_height, input->image_width, (int)factor, (int)factor);
}

/* The convolutions in their scope; layers are counted as torchvision's list has them: a
 * convolution, its normalisation, its activation and a pooling count one each. */
static clv_tensor features(clv_builder *b, const settings *s, clv_tensor x)
{
    clv_conv2d_desc d = {.kernel = 3, .activation = "relu"};
    char name[16], norm[16];
    int layer = 0;
    clv_scope(b, "features");
    for (int i = 0; i < BLOCKS && b->status == CLV_OK; i++) {
        d.filters = blocks[i].filters;
        for (int k = 0; k < blocks[i].convs; k++) {
            snprintf(name, sizeof(name), "%d", layer);
            snprintf(norm, sizeof(norm), "%d", layer + 1);
            x = s->batch_norm ? clv_conv2d_bn(b, name, norm, x, &d) : clv_conv2d(b, name, x, &d);
            layer += s->batch_norm ? 3 : 2;
        }
        snprintf(name, sizeof(name), "%d", layer++);
        if (s->strides[i] != 1)
            x = clv_max_pool2d(b, name, x, s->strides[i], 0, 0);
    }
    clv_scope_end(b);
    return x;
}

static clv_tensor dropout(clv_builder *b, const settings *s, const char *name, clv_tensor x)
{
    return s->dropout > 0 ? clv_dropout(b, name, x, s->dropout) : x;
}

/* Global average pooling and one dense layer. */
static void gap_top(clv_builder *b, const settings *s, clv_tensor x, int64_t classes)
{
    x = clv_global_avg_pool(b, "avgpool", x);
    clv_output(b, "features", x);
    clv_scope(b, "classifier");
    x = dropout(b, s, "0", x);
    clv_output(b, "logits", clv_dense(b, "1", x, classes, NULL));
    clv_scope_end(b);
}

/* The three dense layers. */
static void fc_top(clv_builder *b, const settings *s, clv_tensor x, int64_t classes)
{
    const clv_shape map = clv_shape_of(b, x);
    if (!s->keras && (map.dims[1] != MAP || map.dims[2] != MAP))
        x = clv_adaptive_avg_pool2d(b, "avgpool", x, MAP, MAP);
    x = clv_flatten(b, "flatten", x);
    clv_scope(b, "classifier");
    x = dropout(b, s, "2", clv_dense(b, "0", x, HIDDEN, "relu"));
    x = clv_dense(b, "3", x, HIDDEN, "relu");
    clv_output(b, "features", x);
    x = dropout(b, s, "5", x);
    clv_output(b, "logits", clv_dense(b, "6", x, classes, NULL));
    clv_scope_end(b);
}

/* torchvision's pixels, or Keras': 0 … 255 minus the means of ImageNet's. */
static clv_tensor image(clv_builder *b, const settings *s, const clv_build_input *input)
{
    const double mean[] = {123.68 / 255, 116.779 / 255, 103.939 / 255};
    const double grey_mean[] = {(123.68 + 116.779 + 103.939) / 3 / 255};
    const double std[] = {1.0 / 255, 1.0 / 255, 1.0 / 255};
    if (!s->keras)
        return clv_image_of_imagenet(b, input, s->channels);
    return clv_image(b, input->image_height, input->image_width, s->channels,
                     s->channels == 3 ? mean : grey_mean, std);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const settings s = read_settings(&b, options, input);
    check(&b, &s, input);
    if (b.status != CLV_OK)
        return b.status;
    const clv_tensor x = features(&b, &s, image(&b, &s, input));
    if (s.gap)
        gap_top(&b, &s, x, input->classes);
    else
        fc_top(&b, &s, x, input->classes);
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("variant", CHOICE, "torchvision", 0, 0, "torchvision | keras",
               "whose pixels, and whose size of the last map with top = fc"),
    CLV_OPTION("top", CHOICE, "fc", 0, 0, "fc | gap",
               "fc: two dense layers of 4096 before the head; gap: global average pooling instead"),
    CLV_OPTION("batch_norm", BOOL, "no", 0, 0, NULL, "normalise after each convolution"),
    CLV_OPTION("dropout", REAL, "0.5", 0, 0.95, NULL,
               "share of the inputs of dense layers dropped in training"),
    CLV_OPTION("strides", INT_LIST, "2, 2, 2, 2, 2", 1, 2, NULL,
               "of the pooling after each of the five blocks; 1: none"),
    CLV_OPTION("channels", CHOICE, "3", 0, 0, "auto | 1 | 3",
               "1: sees grey, 3: sees colour, auto: as the data set is"),
};

/* ---- Names in weight files: the variables' own are torchvision's ---- */

static const clv_layer_name timm_layers[] = {
    CLV_LAYER_NAME("pre_logits.fc1", "classifier.0"),
    CLV_LAYER_NAME("pre_logits.fc2", "classifier.3"),
    CLV_LAYER_NAME("head.fc", "classifier.6"),
};
static const clv_layer_name keras_layers[] = {
    CLV_LAYER_NAME("block1_conv1", "features.0"),  CLV_LAYER_NAME("block1_conv2", "features.2"),
    CLV_LAYER_NAME("block2_conv1", "features.5"),  CLV_LAYER_NAME("block2_conv2", "features.7"),
    CLV_LAYER_NAME("block3_conv1", "features.10"), CLV_LAYER_NAME("block3_conv2", "features.12"),
    CLV_LAYER_NAME("block3_conv3", "features.14"), CLV_LAYER_NAME("block4_conv1", "features.17"),
    CLV_LAYER_NAME("block4_conv2", "features.19"), CLV_LAYER_NAME("block4_conv3", "features.21"),
    CLV_LAYER_NAME("block5_conv1", "features.24"), CLV_LAYER_NAME("block5_conv2", "features.26"),
    CLV_LAYER_NAME("block5_conv3", "features.28"), CLV_LAYER_NAME("fc1", "classifier.0"),
    CLV_LAYER_NAME("fc2", "classifier.3"),         CLV_LAYER_NAME("predictions", "classifier.6"),
};
static const clv_weight_names weight_names[] = {
    CLV_WEIGHT_NAMES_OWN("torchvision", NULL, NULL),
    CLV_WEIGHT_NAMES("timm", NULL, NULL, timm_layers),
    CLV_WEIGHT_NAMES("keras", NULL, NULL, keras_layers),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "vgg16",
    .version = "1.0",
    .summary = "VGG16",
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
