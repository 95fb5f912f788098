/* The table of operations: how each is written in ONNX. Names and attributes of nodes are those of
 * operator set 13. Losses and what only trains have no row. */
#include "export/onnx_part.h"

/* ---- What several share ---- */

/* x times its sigmoid: operator set 13 has no operation for it. */
static const char *silu_of(clvi_onnx_part *p, const clvi_node *node, const char *x)
{
    const char *name = clvi_onnx_name(p, node);
    const char *s = clvi_onnx_plain(p->onnx, "Sigmoid", name, ONNX_LIST(x));
    return clvi_onnx_plain(p->onnx, "Mul", name, ONNX_LIST(x, s));
}

/* The activation that a node applies to its own result. */
static const char *activated(clvi_onnx_part *p, const clvi_node *node, const char *x)
{
    const int64_t activation = clvi_onnx_int_of(node, "activation");
    if (activation == CLVI_ACT_RELU)
        return clvi_onnx_plain(p->onnx, "Relu", clvi_onnx_name(p, node), ONNX_LIST(x));
    return activation == CLVI_ACT_SILU ? silu_of(p, node, x) : x;
}

/* The input as it is. */
static void pass(clvi_onnx_part *p, const clvi_node *node)
{
    const clvi_onnx_value x = clvi_onnx_raw(p, node, 0);
    clvi_onnx_set_like(p, node, x.name, &x);
}

/* A function of each element. */
static void elementwise(clvi_onnx_part *p, const clvi_node *node, const char *op)
{
    const clvi_onnx_value x = clvi_onnx_raw(p, node, 0);
    clvi_onnx_set_like(
        p, node, clvi_onnx_plain(p->onnx, op, clvi_onnx_name(p, node), ONNX_LIST(x.name)), &x);
}

static void relu(clvi_onnx_part *p, const clvi_node *node)
{
    elementwise(p, node, "Relu");
}

static void sigmoid(clvi_onnx_part *p, const clvi_node *node)
{
    elementwise(p, node, "Sigmoid");
}

static void sign(clvi_onnx_part *p, const clvi_node *node)
{
    elementwise(p, node, "Sign");
}

static void silu(clvi_onnx_part *p, const clvi_node *node)
{
    const clvi_onnx_value x = clvi_onnx_raw(p, node, 0);
    clvi_onnx_set_like(p, node, silu_of(p, node, x.name), &x);
}

static void add(clvi_onnx_part *p, const clvi_node *node)
{
    const char *a = clvi_onnx_in(p, node, 0), *b = clvi_onnx_in(p, node, 1);
    clvi_onnx_set(p, node,
                  clvi_onnx_plain(p->onnx, "Add", clvi_onnx_name(p, node), ONNX_LIST(a, b)));
}

/* A factor per channel stands on the channels of [N, C, H, W]. */
static void multiply(clvi_onnx_part *p, const clvi_node *node)
{
    const char *a = clvi_onnx_in(p, node, 0), *b = clvi_onnx_in(p, node, 1);
    const char *name = clvi_onnx_name(p, node);
    const clv_shape *x = clvi_onnx_shape(p, node->inputs[0]);
    const clv_shape *y = clvi_onnx_shape(p, node->inputs[1]);
    if (x->rank == 4 && y->rank == 2)
        b = clvi_onnx_reshaped(p->onnx, name, b, (int64_t[]){-1, y->dims[1], 1, 1}, 4);
    clvi_onnx_set(p, node, clvi_onnx_plain(p->onnx, "Mul", name, ONNX_LIST(a, b)));
}

/* ---- Layers with weights ---- */

/* Weights [kh, kw, in, out], of a depthwise convolution [kh, kw, C], as [out, in, kh, kw]. */
static const char *filters(clvi_onnx_part *p, const clvi_node *node)
{
    const clv_shape *w = clvi_onnx_shape(p, node->inputs[1]);
    const int64_t kh = w->dims[0], kw = w->dims[1], in = w->rank == 4 ? w->dims[2] : 1;
    const int64_t out = w->dims[w->rank - 1];
    const clvi_reorder order = {4, {out, in, kh, kw}, {1, out, kw * in * out, in * out}};
    const clv_shape shape = CLVI_SHAPE(CLV_F32, out, in, kh, kw);
    return clvi_onnx_weight(p, node, 1, &shape, &order);
}

static const char *convolved(clvi_onnx_part *p, const clvi_node *node, int64_t groups, bool biased)
{
    const int64_t strides[] = {clvi_onnx_int_of(node, "stride_h"),
                               clvi_onnx_int_of(node, "stride_w")};
    const int64_t pads[] = {clvi_onnx_int_of(node, "pad_top"), clvi_onnx_int_of(node, "pad_left"),
                            clvi_onnx_int_of(node, "pad_bottom"),
                            clvi_onnx_int_of(node, "pad_right")};
    const int64_t *kernel = clvi_onnx_shape(p, node->inputs[1])->dims;
    const char *inputs[] = {clvi_onnx_in(p, node, 0), filters(p, node),
                            biased ? clvi_onnx_weight(p, node, 2, NULL, NULL) : NULL};
    return clvi_onnx_add(
        p->onnx, &(clvi_onnx_node){"Conv", clvi_onnx_name(p, node), inputs, biased ? 3 : 2,
                                   ONNX_ATTRS(ONNX_INTS("kernel_shape", kernel, 2),
                                              ONNX_INTS("strides", strides, 2),
                                              ONNX_INTS("pads", pads, 4), ONNX_I("group", groups)),
                                   NULL});
}

static bool has_input(const clvi_node *node, int index)
{
    return index < node->input_count && node->inputs[index] != CLV_NO_TENSOR;
}

static void conv2d(clvi_onnx_part *p, const clvi_node *node)
{
    const char *y = convolved(p, node, clvi_onnx_int_of(node, "groups"), has_input(node, 2));
    clvi_onnx_set(p, node, activated(p, node, y));
}

static void depthwise(clvi_onnx_part *p, const clvi_node *node)
{
    const int64_t channels = clvi_onnx_shape(p, node->inputs[0])->dims[3];
    clvi_onnx_set(p, node, activated(p, node, convolved(p, node, channels, has_input(node, 2))));
}

/* By running statistics; weight, bias, mean and variance are inputs from `first` on. */
static const char *normalised(clvi_onnx_part *p, const clvi_node *node, const char *x, int first)
{
    const char *inputs[] = {x, clvi_onnx_weight(p, node, first, NULL, NULL),
                            clvi_onnx_weight(p, node, first + 1, NULL, NULL),
                            clvi_onnx_weight(p, node, first + 2, NULL, NULL),
                            clvi_onnx_weight(p, node, first + 3, NULL, NULL)};
    return clvi_onnx_add(
        p->onnx, &(clvi_onnx_node){
                     "BatchNormalization", clvi_onnx_name(p, node), inputs, 5,
                     ONNX_ATTRS(ONNX_F("epsilon", (float)clvi_onnx_real_of(node, "eps"))), NULL});
}

static void conv2d_bn(clvi_onnx_part *p, const clvi_node *node)
{
    const char *y = convolved(p, node, clvi_onnx_int_of(node, "groups"), false);
    clvi_onnx_set(p, node, activated(p, node, normalised(p, node, y, 2)));
}

static void depthwise_bn(clvi_onnx_part *p, const clvi_node *node)
{
    const int64_t channels = clvi_onnx_shape(p, node->inputs[0])->dims[3];
    const char *y = convolved(p, node, channels, false);
    clvi_onnx_set(p, node, activated(p, node, normalised(p, node, y, 2)));
}

/* Channels are the second axis there; but for images they are the last here. */
static void batch_norm(clvi_onnx_part *p, const clvi_node *node)
{
    const clv_shape *s = clvi_onnx_shape(p, node->inputs[0]);
    const char *x = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    const bool rows = s->rank != 2 && s->rank != 4;
    if (rows)
        x = clvi_onnx_reshaped(p->onnx, name, x, (int64_t[]){-1, s->dims[s->rank - 1]}, 2);
    x = activated(p, node, normalised(p, node, x, 1));
    if (rows) {
        int64_t dims[CLV_MAX_RANK];
        memcpy(dims, s->dims, sizeof dims); /* the batch is -1 here, too */
        x = clvi_onnx_reshaped(p->onnx, name, x, dims, (size_t)s->rank);
    }
    clvi_onnx_set(p, node, x);
}

/* A flattened image keeps its order, and the weights take it. */
static void dense(clvi_onnx_part *p, const clvi_node *node)
{
    const clvi_onnx_value x = clvi_onnx_raw(p, node, 0);
    const int64_t out = clvi_onnx_shape(p, node->inputs[1])->dims[1];
    const int64_t h = x.image[0], w = x.image[1], c = x.image[2];
    const clvi_reorder order = {4, {c, h, w, out}, {out, w * c * out, c * out, 1}};
    const char *weight = clvi_onnx_weight(p, node, 1, NULL, x.flat ? &order : NULL);
    const char *bias = clvi_onnx_weight(p, node, 2, NULL, NULL);
    const char *inputs[] = {x.flat ? x.name : clvi_onnx_in(p, node, 0), weight, bias};
    const char *y = clvi_onnx_plain(p->onnx, "Gemm", clvi_onnx_name(p, node), inputs,
                                    has_input(node, 2) ? 3 : 2);
    clvi_onnx_set(p, node, activated(p, node, y));
}

/* ---- Windows ---- */

static void pool(clvi_onnx_part *p, const clvi_node *node, const char *op)
{
    const int64_t k = clvi_onnx_int_of(node, "kernel"), s = clvi_onnx_int_of(node, "stride");
    const int64_t pad = clvi_onnx_int_of(node, "pad");
    const int64_t kernel[] = {k, k}, strides[] = {s, s}, pads[] = {pad, pad, pad, pad};
    const char *x = clvi_onnx_in(p, node, 0);
    clvi_onnx_set(
        p, node,
        clvi_onnx_add(p->onnx, &(clvi_onnx_node){op, clvi_onnx_name(p, node), ONNX_LIST(x),
                                                 ONNX_ATTRS(ONNX_INTS("kernel_shape", kernel, 2),
                                                            ONNX_INTS("strides", strides, 2),
                                                            ONNX_INTS("pads", pads, 4)),
                                                 NULL}));
}

static void max_pool(clvi_onnx_part *p, const clvi_node *node)
{
    pool(p, node, "MaxPool");
}

static void avg_pool(clvi_onnx_part *p, const clvi_node *node)
{
    pool(p, node, "AveragePool");
}

static void global_avg_pool(clvi_onnx_part *p, const clvi_node *node)
{
    const char *x = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    x = clvi_onnx_plain(p->onnx, "GlobalAveragePool", name, ONNX_LIST(x));
    clvi_onnx_set(p, node, clvi_onnx_along(p->onnx, "Flatten", name, x, "axis", 1));
}

/* Means over windows that share `from` pixels out among `to`: [to, from]; NULL: as many. */
static const float *means(clvi_onnx_part *p, int64_t from, int64_t to)
{
    float *m = from != to ? clvi_onnx_alloc(p->onnx, (size_t)(from * to) * sizeof *m) : NULL;
    for (int64_t o = 0; o < to && m; o++) {
        const int64_t begin = o * from / to, end = ((o + 1) * from + to - 1) / to;
        for (int64_t i = begin; i < end; i++)
            m[o * from + i] = 1.0f / (float)(end - begin);
    }
    return m;
}

static void adaptive_avg_pool(clvi_onnx_part *p, const clvi_node *node)
{
    const int64_t *from = clvi_onnx_shape(p, node->inputs[0])->dims;
    const int64_t *to = clvi_onnx_shape(p, node->outputs[0])->dims;
    const char *x = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    if (from[1] % to[1] == 0 && from[2] % to[2] == 0) {
        const int64_t kernel[] = {from[1] / to[1], from[2] / to[2]};
        x = clvi_onnx_add(p->onnx,
                          &(clvi_onnx_node){"AveragePool", name, ONNX_LIST(x),
                                            ONNX_ATTRS(ONNX_INTS("kernel_shape", kernel, 2),
                                                       ONNX_INTS("strides", kernel, 2)),
                                            NULL});
    } else {
        const clvi_onnx_axes axes = {.rows = means(p, from[1], to[1]),
                                     .columns = means(p, from[2], to[2]),
                                     .height = from[1],
                                     .width = from[2],
                                     .to_height = to[1],
                                     .to_width = to[2]};
        x = clvi_onnx_mapped(p->onnx, name, x, &axes);
    }
    clvi_onnx_set(p, node, x);
}

/* ---- Shapes ---- */

static void pad(clvi_onnx_part *p, const clvi_node *node)
{
    const int64_t pads[] = {
        0, 0, clvi_onnx_int_of(node, "top"),    clvi_onnx_int_of(node, "left"),
        0, 0, clvi_onnx_int_of(node, "bottom"), clvi_onnx_int_of(node, "right")};
    const char *x = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    const char *sizes = clvi_onnx_ints(p->onnx, clvi_onnx_text(p->onnx, "%s.pads", name), pads, 8);
    clvi_onnx_set(p, node, clvi_onnx_plain(p->onnx, "Pad", name, ONNX_LIST(x, sizes)));
}

static void concat(clvi_onnx_part *p, const clvi_node *node)
{
    const char *inputs[CLVI_MAX_INPUTS];
    const int32_t rank = clvi_onnx_shape(p, node->inputs[0])->rank;
    for (int i = 0; i < node->input_count; i++)
        inputs[i] = clvi_onnx_in(p, node, i);
    clvi_onnx_set(
        p, node,
        clvi_onnx_add(
            p->onnx,
            &(clvi_onnx_node){"Concat", clvi_onnx_name(p, node), inputs, (size_t)node->input_count,
                              ONNX_ATTRS(ONNX_I("axis", rank == 4 ? 1 : rank - 1)), NULL}));
}

/* [N, C, H, W] as [N, H, W, C], or the other way round. */
static const char *turned(clvi_onnx_part *p, const char *name, const char *x, bool to_graph)
{
    const int64_t there[] = {0, 2, 3, 1}, back[] = {0, 3, 1, 2};
    return clvi_onnx_add(
        p->onnx,
        &(clvi_onnx_node){"Transpose", name, ONNX_LIST(x),
                          ONNX_ATTRS(ONNX_INTS("perm", to_graph ? there : back, 4)), NULL});
}

/* Elements keep the graph's order; only an image that is flattened lies as it is, and says so. */
static void reshape(clvi_onnx_part *p, const clvi_node *node)
{
    const clv_shape *from = clvi_onnx_shape(p, node->inputs[0]);
    const clv_shape *to = clvi_onnx_shape(p, node->outputs[0]);
    const char *x = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    const bool image = from->rank == 4 && from->dims[1] * from->dims[2] > 1 && from->dims[3] > 1;
    if (from->rank == 4 && to->rank == 2) {
        clvi_onnx_value v = {.flat = image};
        memcpy(v.image, from->dims + 1, sizeof v.image);
        clvi_onnx_set_like(p, node, clvi_onnx_along(p->onnx, "Flatten", name, x, "axis", 1), &v);
        return;
    }
    int64_t dims[CLV_MAX_RANK];
    memcpy(dims, to->dims, sizeof dims);
    if (image)
        x = turned(p, name, x, true);
    x = clvi_onnx_reshaped(p->onnx, name, x, dims, (size_t)to->rank);
    clvi_onnx_set(p, node, to->rank == 4 ? turned(p, name, x, false) : x);
}

/* [N, units] of one value; N is the input's. */
static void fill(clvi_onnx_part *p, const clvi_node *node)
{
    const char *x = clvi_onnx_raw(p, node, 0).name, *name = clvi_onnx_name(p, node);
    const int64_t first = 0, units = clvi_onnx_int_of(node, "units");
    const char *at = clvi_onnx_ints(p->onnx, clvi_onnx_text(p->onnx, "%s.first", name), &first, 1);
    const char *each =
        clvi_onnx_ints(p->onnx, clvi_onnx_text(p->onnx, "%s.units", name), &units, 1);
    const char *value = clvi_onnx_number(p->onnx, clvi_onnx_text(p->onnx, "%s.value", name),
                                         clvi_onnx_real_of(node, "value"));
    const char *n = clvi_onnx_plain(p->onnx, "Shape", name, ONNX_LIST(x));
    n = clvi_onnx_plain(p->onnx, "Gather", name, ONNX_LIST(n, at));
    n = clvi_onnx_add(p->onnx, &(clvi_onnx_node){"Concat", name, ONNX_LIST(n, each),
                                                 ONNX_ATTRS(ONNX_I("axis", 0)), NULL});
    clvi_onnx_set(p, node, clvi_onnx_plain(p->onnx, "Expand", name, ONNX_LIST(value, n)));
}

static void softmax(clvi_onnx_part *p, const clvi_node *node)
{
    const char *x = clvi_onnx_in(p, node, 0);
    const int32_t rank = clvi_onnx_shape(p, node->inputs[0])->rank;
    clvi_onnx_set(p, node,
                  clvi_onnx_along(p->onnx, "Softmax", clvi_onnx_name(p, node), x, "axis",
                                  rank == 4 ? 1 : -1));
}

/* ---- The table ---- */

static const struct row {
    const char *op;
    clvi_onnx_emit *emit;
} rows[] = {
    {"adaptive_avg_pool2d", adaptive_avg_pool},
    {"add", add},
    {"add_noise", pass}, /* in training only */
    {"avg_pool2d", avg_pool},
    {"batch_norm", batch_norm},
    {"concat", concat},
    {"conv2d", conv2d},
    {"conv2d_bn", conv2d_bn},
    {"dense", dense},
    {"depthwise_conv2d", depthwise},
    {"depthwise_conv2d_bn", depthwise_bn},
    {"drop_path", pass},
    {"dropout", pass},
    {"fill", fill},
    {"fuse_scores", clvi_onnx_fuse_scores},
    {"global_avg_pool", global_avg_pool},
    {"max_pool2d", max_pool},
    {"multiply", multiply},
    {"pad", pad},
    {"relu", relu},
    {"reshape", reshape},
    {"sigmoid", sigmoid},
    {"sign", sign},
    {"silu", silu},
    {"softmax", softmax},
    {"topk_mask", clvi_onnx_topk_mask},
    {"weigh_columns", clvi_onnx_weigh_columns},
};

clvi_onnx_emit *clvi_onnx_emitter(const char *op)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].op, op) == 0)
            return rows[i].emit;
    return NULL;
}
