/* Expert first: compiled with the headers of ABI 1.0 beside it, to be loaded by every later host.
 * It calls every layer of these, and has options of every type. expert_first.safetensors has what
 * PyTorch made of it (make_golden.py). */
#include <conclave/ops.h>

/* Two paths, added and weighed by a third. x [N, H, W, C] → [N, H, W, width]. */
static clv_tensor paths(clv_builder *b, clv_tensor x, int64_t width, const char *activation)
{
    const clv_conv2d_desc same = {.filters = width,
                                  .kernel = 3,
                                  .pad_same = true,
                                  .activation = activation,
                                  .eps = 1e-3,
                                  .momentum = 0.2};
    const clv_conv2d_desc depthwise = {.kernel = 3, .activation = "silu"};
    const clv_conv2d_desc grouped = {
        .filters = width, .kernel = 1, .pad = -1, .no_bias = true, .groups = 2};
    clv_tensor y;
    clv_scope(b, "paths");
    y = clv_conv2d_bn(b, "same", "same_norm", x, &same);
    y = clv_add(b, "sum", y, clv_depthwise_conv2d(b, "depthwise", x, &depthwise));
    y = clv_multiply(b, "product", y, clv_conv2d(b, "grouped", x, &grouped));
    y = clv_batch_norm(b, "norm", y, "relu", 0, 0);
    clv_scope_end(b);
    return y;
}

/* A factor per channel, from their means (Hu et al. 2018). */
static clv_tensor squeeze(clv_builder *b, clv_tensor x, int64_t width)
{
    clv_tensor s = clv_global_avg_pool(b, "means", x);
    s = clv_silu(b, "silu", clv_dense(b, "less", s, width / 2, NULL));
    s = clv_sigmoid(b, "sigmoid", clv_dense(b, "more", s, width, "none"));
    return clv_multiply(b, "scaled", x, s);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    static const int64_t around[4] = {1, 0, 2, 1};
    clv_builder b = clv_builder_begin(host, graph, error);
    uint32_t grids, rates;
    const int64_t width = clv_option_int(&b, options, "width");
    const int64_t *grid = clv_option_ints(&b, options, "grid", &grids);
    const double *rate = NULL;
    const char *activation = clv_option_text(&b, options, "activation");
    const double fill = clv_option_real(&b, options, "fill");
    const bool squeezed = clv_option_bool(&b, options, "squeeze");
    const int channels = clv_option_channels(&b, options, in);
    const clv_conv2d_desc stem = {.filters = width, .kernel = 3, .stride = 2, .pad = 1};
    if (b.status == CLV_OK)
        b.status = host->option_reals(options, "rates", &rate, &rates, error);
    if (b.status == CLV_OK && (grids != 2 || rates != 2))
        CLV_BUILDER_FAIL(&b, CLV_E_CONFIG, "grid and rates want two numbers each");
    if (b.status != CLV_OK)
        return clv_builder_end(&b);
    clv_tensor x = clv_image_of_imagenet(&b, in, channels);
    x = clv_relu(&b, "relu", clv_conv2d(&b, "stem", clv_pad(&b, "pad", x, around), &stem));
    x = paths(&b, x, width, activation);
    if (squeezed)
        x = squeeze(&b, x, width);
    x = clv_max_pool2d(&b, "max_pool", x, 3, 1, 1);
    x = clv_avg_pool2d(&b, "avg_pool", x, 3, 1, 1);
    x = clv_adaptive_avg_pool2d(&b, "grid", x, grid[0], grid[1]);
    x = clv_flatten(&b, "flat", x);
    const clv_tensor pieces[3] = {x, clv_softmax(&b, "softmax", clv_dense(&b, "few", x, 4, NULL)),
                                  clv_fill(&b, "fill", x, 2, fill)};
    x = clv_concat(&b, "pieces", pieces, 3);
    x = clv_dropout(&b, "dropout", x, rate[0]);
    x = clv_drop_path(&b, "drop_path", x, rate[1]);
    clv_output(&b, "features", x);
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, in->classes, NULL));
    return clv_builder_end(&b);
}

static const clv_option_spec specs[] = {
    CLV_OPTION("width", INT, "4", 2, 64, NULL, "channels, an even number"),
    CLV_OPTION("grid", INT_LIST, "2, 3", 1, 8, NULL, "height and width of the last map"),
    CLV_OPTION("rates", REAL_LIST, "0.1, 0.2", 0, 0.5, NULL, "of dropout and drop_path"),
    CLV_OPTION("fill", REAL, "0.5", -1, 1, NULL, "a constant feature"),
    CLV_OPTION("squeeze", BOOL, "yes", 0, 0, NULL, "weigh channels by their means"),
    CLV_OPTION("activation", CHOICE, "silu", 0, 0, "none | relu | silu", "of a path"),
    CLV_OPTION("channels", CHOICE, "auto", 0, 0, "auto | 1 | 3", "what it sees"),
    CLV_OPTION("note", TEXT, "", 0, 0, NULL, "anything"),
};

static const clv_layer_name layers[] = {CLV_LAYER_NAME("conv1", "stem"),
                                        CLV_LAYER_NAME("fc", "classifier")};
static const clv_weight_names weight_names[] = {
    CLV_WEIGHT_NAMES("timm", NULL, NULL, layers),
    CLV_WEIGHT_NAMES_OWN("torchvision", "activation", "silu"),
};

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = "first",
    .version = "1.0",
    .summary = "Every layer of ABI 1.0",
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
    .weight_names = weight_names,
    .weight_name_count = 2,
    .weight_name_stride = (uint32_t)sizeof(*weight_names),
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
