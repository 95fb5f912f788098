/* An expert with every operation that a network of inference may have, on pictures of a size of its
 * own, and, compiled with GATE, a gate whose route depends on the batch. */
#include <conclave/ops.h>

#ifndef GATE

static clv_tensor reshaped(clv_builder *b, const char *name, clv_tensor x, const int64_t *extents,
                           uint32_t count)
{
    clv_attr shape = clv_attr_int("shape", 0);
    shape.type = CLV_ATTR_INTS, shape.ints = extents, shape.int_count = count;
    return clv_op(b, "reshape", name, &x, 1, &shape, 1);
}

/* Images: groups, padding apart, windows that do not divide, channels side by side. */
static clv_tensor images(clv_builder *b, clv_tensor x)
{
    const int64_t sides[4] = {1, 2, 0, 1};
    const clv_conv2d_desc first = {.filters = 6, .kernel = 3, .stride = 2, .pad_same = true};
    const clv_conv2d_desc groups = {.filters = 8, .kernel = 3, .groups = 2, .activation = "silu"};
    const clv_conv2d_desc depth = {.kernel = 5, .activation = "relu"};
    x = clv_pad(b, "pad", x, sides);
    x = clv_conv2d_bn(b, "first", "norm", x, &first);
    x = clv_conv2d(b, "groups", x, &groups);
    const clv_tensor both[] = {x, clv_depthwise_conv2d(b, "depth", x, &depth)};
    x = clv_concat(b, "both", both, 2);
    x = clv_avg_pool2d(b, "mean", x, 3, 1, 1);
    x = clv_max_pool2d(b, "most", x, 3, 2, 1);
    x = clv_batch_norm(b, "after", x, "silu", 1e-3, 0.1);
    return clv_adaptive_avg_pool2d(b, "spread", x, 2, 5);
}

/* From images to rows and back. */
static clv_tensor turned(clv_builder *b, clv_tensor x)
{
    const int64_t other[] = {5, 4, 8}, rows[] = {20, 8};
    x = reshaped(b, "other", x, other, 3);
    x = reshaped(b, "rows", clv_silu(b, "bent", x), rows, 2);
    x = clv_batch_norm(b, "row_norm", x, "none", 0, 0);
    return reshaped(b, "back", x, other, 3);
}

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    const double mean[] = {0.2, 0.3, 0.4}, std[] = {0.5, 0.6, 0.7};
    (void)options;
    clv_tensor x = images(&b, clv_image(&b, 10, 12, 3, mean, std));
    x = clv_add(&b, "sum", x, clv_multiply(&b, "square", x, clv_sign(&b, "sign", x)));
    x = turned(&b, x);
    const clv_tensor channels = clv_softmax(&b, "share", clv_global_avg_pool(&b, "means", x));
    x = clv_drop_path(&b, "path", clv_multiply(&b, "weigh", x, channels), 0.1);
    /* Once into a layer as it lies, once into what needs the order of the graph. */
    const clv_tensor flat = clv_relu(&b, "rectified", clv_flatten(&b, "flat", x));
    const clv_tensor parts[] = {
        clv_dense(&b, "hidden", clv_dropout(&b, "drop", flat, 0.3), 7, "relu"), flat,
        clv_fill(&b, "constant", flat, 2, 0.25)};
    x = clv_sigmoid(&b, "squash", clv_concat(&b, "parts", parts, 3));
    clv_output(&b, "features", x);
    clv_output(&b, "logits", clv_dense(&b, "last", x, input->classes, NULL));
    return clv_builder_end(&b);
}

#else

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    clv_route_desc route = {0};
    (void)options;
    const clv_tensor z = clv_dense(&b, "gate", clv_small_image(&b, input, 4), input->experts, NULL);
    clv_output(&b, "route", clv_column_topk(&b, "share", clv_softmax(&b, "all", z), 1));
    route.struct_size = (uint32_t)sizeof(route);
    route.sparse = 1;
    route.per_batch = 1;
    if (b.status == CLV_OK)
        b.status = host->route(graph, &route, error);
    return clv_builder_end(&b);
}

#endif

static const clv_plugin plugin = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
#ifdef GATE
    .kind = CLV_KIND_GATE,
#else
    .kind = CLV_KIND_EXPERT,
#endif
    .name = "many",
    .version = "1.0",
    .summary = "Every operation, for the tests of exports",
    .build = build,
};

const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
