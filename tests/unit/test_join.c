/* core/graph/join.c: what inference and training compute with nodes made part of others is what
 * they compute node by node, which they do where every tensor between is wanted. Exit 77: no
 * device. */
#include "graph/graph.h"
#include "graph/plan_internal.h"
#include "plugin/plugin_host.h"
#include "test_device.h"

#include <conclave/ops.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HEIGHT = 5, CHANNELS = 20, MOST = 9, TENSORS = 12, VARIABLES = 32 };
static int width = 7;
#define ONE (HEIGHT * width * CHANNELS)

static clvi_device *device;

/* What a body makes on the way; the last is the output. */
typedef struct made {
    clv_tensor tensors[TENSORS];
    size_t count;
} made;

typedef void (*describe)(clv_builder *b, clv_tensor x, made *m);

static clv_tensor keep(made *m, clv_tensor t)
{
    m->tensors[m->count++] = t;
    return t;
}

static clv_tensor convolve(clv_builder *b, const char *scope, clv_tensor x, int64_t filters,
                           const char *activation)
{
    const clv_conv2d_desc d = {.filters = filters, .kernel = 1, .activation = activation};
    clv_scope(b, scope);
    x = clv_conv2d_bn(b, "0", "1", x, &d);
    clv_scope_end(b);
    return x;
}

/* y times a factor per channel that is made from y. */
static clv_tensor squeeze_excite(clv_builder *b, made *m, clv_tensor y)
{
    clv_tensor f = keep(m, clv_global_avg_pool(b, "pool", y));
    f = keep(m, clv_dense(b, "fc1", f, 6, "silu"));
    f = keep(m, clv_dense(b, "fc2", f, clv_shape_of(b, y).dims[3], NULL));
    f = keep(m, clv_sigmoid(b, "gate", f));
    return keep(m, clv_multiply(b, "scale", y, f));
}

/* A depthwise convolution of 3 × 3. */
static clv_tensor spread(clv_builder *b, clv_tensor x, int64_t stride)
{
    const clv_conv2d_desc d = {.kernel = 3, .stride = stride, .activation = "silu"};
    clv_scope(b, "spread");
    x = clv_depthwise_conv2d_bn(b, "0", "1", x, &d);
    clv_scope_end(b);
    return x;
}

/* A block as EfficientNet has them, of channels that are no whole vectors. Joined: pool, both dense
 * layers, gate, scale, both drops and add. */
static void bottleneck(clv_builder *b, clv_tensor x, made *m)
{
    clv_tensor y = keep(m, convolve(b, "expand", x, 70, "silu"));
    y = keep(m, spread(b, y, 1));
    y = squeeze_excite(b, m, y);
    y = keep(m, clv_dropout(b, "dropout", y, 0.5));
    y = keep(m, convolve(b, "project", y, CHANNELS, "none"));
    y = keep(m, clv_drop_path(b, "drop", y, 0.5));
    keep(m, clv_add(b, "add", y, x));
}

/* The depthwise convolutions that join the one before them. */
static clv_conv2d_desc behind;

/* Joined: the depthwise convolution, and what bottleneck's joins but drops and sum. */
static void inverted(clv_builder *b, clv_tensor x, made *m)
{
    clv_tensor y = keep(m, convolve(b, "expand", x, 80, "relu"));
    clv_scope(b, "spread");
    y = keep(m, clv_depthwise_conv2d_bn(b, "0", "1", y, &behind));
    clv_scope_end(b);
    y = squeeze_excite(b, m, y);
    keep(m, convolve(b, "project", y, CHANNELS, "none"));
}

/* Joined: the depthwise convolution, behind another whose result is read twice. */
static void twice(clv_builder *b, clv_tensor x, made *m)
{
    const clv_conv2d_desc d = {.kernel = 5, .stride = 2, .activation = "relu"};
    const clv_tensor y = keep(m, convolve(b, "first", x, 48, "silu"));
    const clv_tensor z = keep(m, convolve(b, "second", y, 48, "none"));
    const clv_tensor left = keep(m, clv_depthwise_conv2d_bn(b, "left", "left.1", y, &d));
    const clv_tensor right = keep(m, clv_depthwise_conv2d_bn(b, "right", "right.1", z, &d));
    keep(m, clv_multiply(b, "product", left, right));
}

/* A mean that is read by a dense layer and something else: joined, but not the dense layers; nor
 * where what stands between them is read again. */
static void mean_twice(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = keep(m, spread(b, x, 1));
    const clv_tensor mean = keep(m, clv_global_avg_pool(b, "pool", y));
    const clv_tensor one = keep(m, clv_dense(b, "fc1", mean, CHANNELS, "silu"));
    const clv_tensor two = keep(m, clv_dense(b, "fc2", one, CHANNELS, "silu"));
    keep(m, clv_multiply(b, "product", two, mean));
}

/* Weights that are made from parameters, after the mean: dense layers cannot join it. */
static void made_dense(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = keep(m, spread(b, x, 1));
    const clv_variable_desc w = clv_variable("raw", CLV_INIT_UNIFORM, 0.5, 2, CHANNELS, 6, 0, 0);
    const clv_variable_desc w2 = clv_variable("raw2", CLV_INIT_UNIFORM, 0.5, 2, 6, CHANNELS, 0, 0);
    const clv_attr act[] = {clv_attr_text("activation", "silu")};
    clv_tensor in[2] = {keep(m, clv_global_avg_pool(b, "pool", y))};
    in[1] = keep(m, clv_silu(b, "made", clv_parameter(b, &w)));
    in[0] = keep(m, clv_op(b, "dense", "fc1", in, 2, act, 1));
    in[1] = keep(m, clv_silu(b, "made2", clv_parameter(b, &w2)));
    keep(m, clv_op(b, "dense", "fc2", in, 2, act, 1));
}

/* The same of a depthwise convolution behind another. */
static void made_depthwise(clv_builder *b, clv_tensor x, made *m)
{
    const clv_conv2d_desc d = {.kernel = 3, .activation = "silu"};
    const clv_tensor y = keep(m, convolve(b, "expand", x, 32, "silu"));
    clv_tensor in[6] = {y};
    clv_attr attrs[CLV_CONV2D_ATTRS];
    clv_scope(b, "filter");
    in[1] = keep(m, clv_silu(b, "made", clv_depthwise_conv2d_weight(b, 32, &d)));
    clv_scope_end(b);
    clv_scope(b, "norm");
    clv_batch_norm_variables(b, 32, in + 2);
    clv_scope_end(b);
    const uint32_t count = (uint32_t)clv_conv2d_attrs(b, y, &d, true, attrs);
    keep(m, clv_op(b, "depthwise_conv2d_bn", "spread", in, 6, attrs, count));
}

/* The sum's other side first, and an activation before it. Joined: add. */
static void sum_of_relu(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = keep(m, convolve(b, "conv", x, CHANNELS, "relu"));
    keep(m, clv_add(b, "add", x, y));
}

/* A mean of fewer channels than a vector has. Joined: pool. */
static void mean_of_few(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = keep(m, convolve(b, "narrow", x, 3, "none"));
    const clv_tensor mean = clv_global_avg_pool(b, "pool", keep(m, spread(b, y, 2)));
    keep(m, clv_silu(b, "silu", keep(m, mean)));
}

/* Nothing can be joined: the product and the convolution's result are read twice, the last sum's
 * other side is made after the convolution. */
static void nothing(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = squeeze_excite(b, m, x);
    const clv_tensor left = keep(m, convolve(b, "left", y, CHANNELS, "none"));
    const clv_tensor late = keep(m, clv_silu(b, "late", y));
    const clv_tensor sum = keep(m, clv_add(b, "sum", left, late));
    keep(m, clv_add(b, "twice", sum, left));
}

/* A convolution to pictures of 6 × 8 pixels, behind which the largest of each 2 × 2 is taken. */
static clv_tensor pooled(clv_builder *b, clv_tensor x, int64_t filters, const char *activation,
                         made *m)
{
    const clv_conv2d_desc d = {.filters = filters, .kernel = 4, .pad = 2, .activation = activation};
    const clv_tensor y = keep(m, clv_conv2d_bn(b, "0", "1", x, &d));
    return keep(m, clv_max_pool2d(b, "pool", y, 2, 2, 0));
}

/* Joined: the pooling, where blocks have a multiple of four rows. */
static void halved(clv_builder *b, clv_tensor x, made *m)
{
    pooled(b, x, 70, "relu", m);
}

/* Not so behind silu, which is not monotonous, and for windows that overlap. */
static void not_halved(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = pooled(b, x, 18, "silu", m);
    const clv_conv2d_desc d = {.filters = 9, .kernel = 2, .pad = 1, .activation = "relu"};
    const clv_tensor z = keep(m, clv_conv2d(b, "conv", y, &d));
    keep(m, clv_max_pool2d(b, "overlapping", z, 2, 1, 0));
}

/* Winograd's convolution, with a bias. */
static void halved_winograd(clv_builder *b, clv_tensor x, made *m)
{
    const clv_conv2d_desc first = {.filters = 64, .kernel = 4, .pad = 2};
    const clv_conv2d_desc d = {.filters = 66, .kernel = 3, .activation = "relu"};
    const clv_tensor y = keep(m, clv_conv2d(b, "first", x, &first));
    const clv_tensor z = keep(m, clv_conv2d(b, "conv", y, &d));
    keep(m, clv_max_pool2d(b, "pool", z, 2, 2, 0));
}

typedef struct net {
    clv_graph *graph;
    clvi_store *store;
    clvi_buf *x;
    made made;
    int64_t elements; /* of the output, of a sample */
} net;

/* Normalisations that shift and scale, by statistics that are not 0 and 1; and biases. */
static void vary(const net *t)
{
    for (size_t v = 0; v < t->graph->variable_count; v++) {
        const clvi_tensor *tensor = &t->graph->tensors[t->graph->variables[v].tensor];
        const clvi_view to = clvi_store_view(t->store, (uint32_t)v, CLVI_STORE_VALUE);
        const int64_t count = t->graph->variables[v].elements;
        const bool positive = strstr(tensor->name, "var") || strstr(tensor->name, "weight");
        if (tensor->shape.rank != 1)
            continue;
        float *values = malloc((size_t)count * 4);
        for (int64_t i = 0; i < count; i++)
            values[i] = (positive ? 0.9f : 0.2f) + 0.4f * sinf((float)i * 1.1f + (float)v);
        OK(clvi_upload(device, to.buf, to.offset * 4, values, (size_t)count * 4, error));
        free(values);
    }
}

static void net_open(net *t, describe body)
{
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, HEIGHT, width, CHANNELS);
    clv_tensor input;
    uint32_t base;
    *t = (net){0};
    OK(clvi_graph_create("test", &t->graph, error));
    OK(clvi_graph_input_tensor(t->graph, "x", &shape, &input, error));
    clv_error described = CLV_ERROR_INIT;
    clv_builder b = clv_builder_begin(clvi_host_table(), t->graph, &described);
    body(&b, input, &t->made);
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", described.message);
    const clv_tensor last = t->made.tensors[t->made.count - 1];
    t->elements = clvi_shape_elements(&t->graph->tensors[last].shape);
    OK(clvi_store_create(device, &t->store, error));
    OK(clvi_store_add(t->store, t->graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(t->store, true, error));
    OK(clvi_store_initialise(t->store, 1, error));
    vary(t);
    OK(clvi_buf_create(device, (uint64_t)(MOST * ONE * 4), "x", &t->x, error));
    float *x = malloc((size_t)(MOST * ONE * 4));
    for (int i = 0; i < MOST * ONE; i++)
        x[i] = sinf((float)i * 0.7f) * 2;
    OK(clvi_upload(device, t->x, 0, x, (uint64_t)(MOST * ONE * 4), error));
    free(x);
}

static void net_close(net *t)
{
    clvi_buf_destroy(t->x);
    clvi_store_destroy(t->store);
    clvi_graph_destroy(t->graph);
}

/* The output [n, elements] of inference that wants the last `wanted` tensors, and how many steps it
 * has; the caller frees. */
static float *infer(const net *t, size_t wanted, int64_t n, size_t *steps)
{
    clvi_plan_desc desc = {.graph = t->graph,
                           .store = t->store,
                           .mode = CLV_MODE_INFER,
                           .max_batch = MOST,
                           .outputs = t->made.tensors + t->made.count - wanted,
                           .output_count = wanted};
    clvi_plan *plan;
    const size_t bytes = (size_t)(n * t->elements) * 4;
    float *y = malloc(bytes);
    OK(clvi_plan_create(&desc, &plan, error));
    clvi_plan_bind(plan, 0, (clvi_view){t->x, 0}, (clvi_view){NULL, 0});
    OK(clvi_plan_poison(plan, error));
    OK(clvi_plan_forward(plan, n, NULL, error));
    const clvi_view out = clvi_plan_output(plan, wanted - 1, n);
    OK(clvi_download(device, out.buf, out.offset * 4, y, bytes, error));
    OK(clvi_plan_check_guards(plan, error));
    *steps = plan->step_count;
    clvi_plan_destroy(plan);
    return y;
}

static void check(describe body, size_t joined)
{
    static const int64_t batches[] = {1, 3, MOST};
    net t;
    net_open(&t, body);
    for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
        const int64_t n = batches[k];
        size_t apart, together;
        float *each = infer(&t, t.made.count, n, &apart), *y = infer(&t, 1, n, &together);
        assert_int_equal(apart - together, joined);
        for (int64_t i = 0; i < n * t.elements; i++)
            assert_true(fabsf(y[i] - each[i]) <= 1e-5f * (1 + fabsf(each[i])));
        free(each);
        free(y);
    }
    net_close(&t);
}

/* The convolutions take along what they can in the form that the device has. */
static bool is_wide(void)
{
    return !clvi_device_is_gpu_like(device);
}

static void test_bottleneck(void **state)
{
    (void)state;
    check(bottleneck, is_wide() ? 8 : 3);
}

/* Filters of 3 and 5, strides of 1 and 2, rows of one block, of several and of a part of one,
 * pixels that no output reads, margins on one side only, and pictures of several strips of rows. */
static void test_inverted(void **state)
{
    (void)state;
    static const clv_conv2d_desc all[] = {
        {.kernel = 3, .activation = "silu"},
        {.kernel = 3, .stride = 2, .activation = "silu"},
        {.kernel = 3, .stride = 2, .pad = -1, .activation = "silu"},
        {.kernel = 5, .activation = "silu"},
        {.kernel = 5, .stride = 2, .activation = "relu"},
        {.kernel = 5, .pad = 3, .activation = "none"},
        {.kernel = 3, .pad = 5, .activation = "silu"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (width = 7; width <= 16; width += 9) {
            behind = all[i];
            check(inverted, is_wide() ? 6 : 1);
        }
    width = 7;
    behind = (clv_conv2d_desc){.kernel = 3, .stride = 3, .activation = "silu"};
    check(inverted, is_wide() ? 5 : 1);
}

/* What joins reads nothing that is made after the node that it joins. */
static void test_made(void **state)
{
    (void)state;
    check(made_dense, is_wide() ? 1 : 0);
    check(made_depthwise, 0);
}

static void test_twice(void **state)
{
    (void)state;
    check(twice, is_wide() ? 1 : 0);
    check(mean_twice, is_wide() ? 1 : 0);
}

static void test_mean(void **state)
{
    (void)state;
    check(mean_of_few, is_wide() ? 1 : 0);
}

static void test_sum(void **state)
{
    (void)state;
    check(sum_of_relu, is_wide() ? 1 : 0);
}

static void test_nothing(void **state)
{
    (void)state;
    check(nothing, 1); /* but the gate's sigmoid */
}

static void test_pooling(void **state)
{
    (void)state;
    const bool fours = is_wide() && clvi_tuning_int(device, "gemm_mr") % 4 == 0;
    check(halved, fours ? 1 : 0);
    check(not_halved, 0);
    check(halved_winograd, is_wide() ? 1 : 0);
}

static void gate(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor few = keep(m, clv_global_avg_pool(b, "pool", x));
    keep(m, clv_sigmoid(b, "gate", keep(m, clv_dense(b, "dense", few, 5, NULL))));
}

/* A NaN is none of the numbers that a sigmoid may be, whatever its bits. */
static void test_nan(void **state)
{
    (void)state;
    static const uint32_t patterns[] = {0x7fffffff, 0x7fc00001, 0xffc00000};
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        net t;
        size_t steps;
        net_open(&t, gate);
        OK(clvi_fill(device, t.x, 0, 4, patterns[k], error));
        float *y = infer(&t, 1, 3, &steps);
        assert_int_equal(steps, 2);
        for (int64_t i = 0; i < 3 * t.elements; i++)
            assert_true(!isnan(y[i]) == (i >= t.elements));
        free(y);
        net_close(&t);
    }
}

/* A part that is wanted is there, and what does not need it is joined all the same. */
static void test_wanted(void **state)
{
    (void)state;
    net t;
    net_open(&t, bottleneck);
    size_t steps, all;
    float *each = infer(&t, t.made.count, 3, &all), *y = infer(&t, 2, 3, &steps);
    assert_int_equal(all - steps, is_wide() ? 7 : 3); /* all but the sum */
    for (int i = 0; i < 3 * t.elements; i++)
        assert_true(fabsf(y[i] - each[i]) <= 1e-5f * (1 + fabsf(each[i])));
    free(each);
    free(y);
    net_close(&t);
}

/* ---- Training ---- */

/* A block as EfficientNet has them, without drops. Joined: pool and scale. */
static void trained_block(clv_builder *b, clv_tensor x, made *m)
{
    clv_tensor y = keep(m, convolve(b, "expand", x, 70, "silu"));
    y = squeeze_excite(b, m, keep(m, spread(b, y, 1)));
    y = keep(m, convolve(b, "project", y, CHANNELS, "none"));
    keep(m, clv_add(b, "add", y, x));
}

/* The mean alone goes on, of an output whose own gradient is none, and without an exponential; and
 * a factor whose product a convolution to more channels than it has pixels reads. Joined: the pool.
 */
static void trained_mean(clv_builder *b, clv_tensor x, made *m)
{
    const clv_conv2d_desc d = {.kernel = 3, .stride = 2, .activation = "relu"};
    clv_scope(b, "halve");
    const clv_tensor y = keep(m, clv_depthwise_conv2d_bn(b, "0", "1", x, &d));
    clv_scope_end(b);
    const clv_tensor f =
        keep(m, clv_dense(b, "fc", keep(m, clv_global_avg_pool(b, "pool", y)), 20, NULL));
    const clv_tensor scaled = keep(m, clv_multiply(b, "scale", x, f));
    keep(m, convolve(b, "widen", scaled, 60, "relu"));
}

/* A mean of what is read twice besides, and factors of the graph's own input. Joined: both. */
static void trained_mesh(clv_builder *b, clv_tensor x, made *m)
{
    const clv_tensor y = keep(m, spread(b, x, 1));
    const clv_tensor f =
        keep(m, clv_sigmoid(b, "gate", keep(m, clv_global_avg_pool(b, "pool", y))));
    const clv_tensor left =
        keep(m, convolve(b, "left", keep(m, clv_multiply(b, "scale", x, f)), 17, "silu"));
    const clv_tensor right = keep(m, convolve(b, "right", y, 17, "none"));
    keep(m, clv_add(b, "sum", left, right));
}

/* How a training runs. */
typedef struct training {
    bool apart;      /* all tensors between are wanted, so that nothing is joined */
    bool frozen;     /* normalisations take their running statistics */
    uint32_t trains; /* variables with any of these bits in their number; 0: all */
} training;

/* What a step leaves: output, gradient to x, gradients to the variables that have one. */
typedef struct outcome {
    size_t steps;
    float *parts[VARIABLES + 2];
    int64_t counts[VARIABLES + 2];
} outcome;

static float *downloaded(clvi_view view, int64_t count)
{
    float *to = malloc((size_t)count * 4);
    OK(clvi_download(device, view.buf, view.offset * 4, to, (size_t)count * 4, error));
    return to;
}

/* One forward and backward; the gradient of the output is -2 … 2. */
static outcome train(const net *t, const training *how, int64_t n)
{
    bool trains[VARIABLES];
    uint8_t modes[TENSORS * 2];
    const size_t wanted = how->apart ? t->made.count : 1, variables = t->graph->variable_count;
    assert_true(variables <= VARIABLES && t->graph->node_count <= sizeof modes);
    for (size_t v = 0; v < variables; v++)
        trains[v] = !t->graph->variables[v].is_state && (!how->trains || (v & how->trains) != 0);
    for (size_t k = 0; k < t->graph->node_count; k++)
        modes[k] = t->graph->nodes[k].op->norm_inputs && how->frozen ? (uint8_t)CLVI_MODE_FROZEN
                                                                     : (uint8_t)CLV_MODE_TRAIN;
    const clvi_plan_desc desc = {.graph = t->graph,
                                 .store = t->store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = MOST,
                                 .outputs = t->made.tensors + t->made.count - wanted,
                                 .output_count = wanted,
                                 .outputs_with_grad = 1u << (wanted - 1),
                                 .inputs_with_grad = 1,
                                 .node_modes = modes,
                                 .trains = trains};
    clvi_plan *plan;
    clvi_buf *dx;
    outcome o = {0};
    OK(clvi_store_initialise(t->store, 1, error));
    vary(t);
    OK(clvi_buf_create(device, (uint64_t)(MOST * ONE * 4), "dx", &dx, error));
    OK(clvi_plan_create(&desc, &plan, error));
    clvi_plan_bind(plan, 0, (clvi_view){t->x, 0}, (clvi_view){dx, 0});
    OK(clvi_plan_poison(plan, error));
    OK(clvi_plan_forward(plan, n, NULL, error));
    const int64_t elements = n * t->elements;
    o.parts[0] = downloaded(clvi_plan_output(plan, wanted - 1, n), o.counts[0] = elements);
    float *dy = malloc((size_t)elements * 4);
    for (int64_t i = 0; i < elements; i++)
        dy[i] = cosf((float)i * 1.3f) * 2;
    const clvi_view grad = clvi_plan_grad(plan, wanted - 1, n);
    OK(clvi_upload(device, grad.buf, grad.offset * 4, dy, (size_t)elements * 4, error));
    OK(clvi_plan_backward(plan, error));
    OK(clvi_plan_check_guards(plan, error));
    o.parts[1] = downloaded((clvi_view){dx, 0}, o.counts[1] = n * ONE);
    for (size_t v = 0; v < variables; v++)
        if (trains[v])
            o.parts[v + 2] = downloaded(clvi_store_view(t->store, v, CLVI_STORE_GRADIENT),
                                        o.counts[v + 2] = t->graph->variables[v].elements);
    o.steps = plan->step_count;
    clvi_plan_destroy(plan);
    clvi_buf_destroy(dx);
    free(dy);
    return o;
}

static void outcome_fini(outcome *o)
{
    for (int k = 0; k < VARIABLES + 2; k++)
        free(o->parts[k]);
}

/* Element by element, as near as rounding lets sums of the largest of them be. */
static void same(const outcome *a, const outcome *b)
{
    for (int k = 0; k < VARIABLES + 2; k++) {
        float most = 0;
        assert_int_equal(a->counts[k], b->counts[k]);
        for (int64_t i = 0; i < a->counts[k]; i++)
            most = fmaxf(most, fabsf(b->parts[k][i]));
        for (int64_t i = 0; i < a->counts[k]; i++)
            if (!(fabsf(a->parts[k][i] - b->parts[k][i]) <= 2e-5f * most))
                fail_msg("part %d, element %lld: %g for %g", k, (long long)i,
                         (double)a->parts[k][i], (double)b->parts[k][i]);
    }
}

static void check_training(describe body, const training *how, size_t joined)
{
    static const int64_t batches[] = {1, 3, MOST};
    net t;
    net_open(&t, body);
    for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
        training apart = *how;
        apart.apart = true;
        outcome each = train(&t, &apart, batches[k]), all = train(&t, how, batches[k]);
        assert_int_equal(each.steps - all.steps, joined);
        same(&all, &each);
        outcome_fini(&each);
        outcome_fini(&all);
    }
    net_close(&t);
}

static void test_training(void **state)
{
    (void)state;
    const training how = {0};
    check_training(trained_block, &how, is_wide() ? 2 : 0);
    check_training(trained_mean, &how, is_wide() ? 1 : 0);
    check_training(trained_mesh, &how, is_wide() ? 2 : 0);
}

/* Running statistics; and half of the variables, so that each gradient is wanted without others. */
static void test_frozen(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 5; bit++)
        for (int frozen = 0; frozen < 2; frozen++) {
            const training how = {.frozen = frozen != 0, .trains = bit ? 1u << (bit - 1) : 0};
            check_training(trained_block, &how, is_wide() ? 2 : 0);
            check_training(trained_mean, &how, is_wide() ? 1 : 0);
        }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bottleneck), cmocka_unit_test(test_inverted),
        cmocka_unit_test(test_twice),      cmocka_unit_test(test_made),
        cmocka_unit_test(test_mean),       cmocka_unit_test(test_sum),
        cmocka_unit_test(test_nothing),    cmocka_unit_test(test_pooling),
        cmocka_unit_test(test_nan),        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_training),   cmocka_unit_test(test_frozen),
    };
    int status = 0;
    device = test_device_open(&status);
    if (!device)
        return status;
    int failed = cmocka_run_group_tests_name("join", tests, NULL, NULL);
    failed += test_device_close();
    /* With activations that are made again. */
    const clvi_device_options again = {.select = "auto", .recompute = true};
    static const struct CMUnitTest trainings[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_frozen),
    };
    device = test_device_open_with(&again, &status);
    if (!device)
        return status;
    failed += cmocka_run_group_tests_name("join, made again", trainings, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
