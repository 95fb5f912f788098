/* What networks infer by chains of launches is, bit for bit, what they infer launch by launch; and
 * a rehearsal compiles all of it. Argument: the folder of plugins. Exit 77: no device. */
#include "graph/graph.h"
#include "graph/plan.h"
#include "mixture/mixture.h"
#include "runtime/chain.h"
#include "test_device.h"

#include <conclave/ops.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "short_memory.h" /* with cmocka.h, whose macro fail() the ones above do not stand */

/* Two of the same device: launches are put together on the second, where that is possible. */
enum { APART, TOGETHER, SIDES };

static clvi_device *devices[SIDES];
static clvi_plugins *plugins;
static const char *plugin_folder;

static uint64_t launches_of(const clvi_device *device)
{
    clvi_device_counters now;
    clvi_device_get_counters(device, &now);
    return now.launches;
}

static uint64_t compiled_on(const clvi_device *device)
{
    clvi_device_counters now;
    clvi_device_get_counters(device, &now);
    return now.kernels_compiled;
}

/* Whether they are. */
static bool chains(void)
{
    const clvi_device *d = devices[TOGETHER];
    return d->found->atomics && clvi_tuning_int(d, "chain") && !clvi_device_is_gpu_like(d) &&
           !d->sync;
}

/* Finite numbers, not all the same. */
static void expect_numbers(const float *y, size_t count)
{
    bool differ = false;
    for (size_t i = 0; i < count; i++) {
        assert_true(isfinite(y[i]));
        differ = differ || y[i] != y[0];
    }
    assert_true(differ);
}

static void expect_same(const float *a, const float *b, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof(*a)) != 0)
            fail_msg("%s: element %zu is %.9g, launch by launch %.9g", what, i, (double)a[i],
                     (double)b[i]);
}

/* ---- A small graph ---- */

enum { HEIGHT = 16, WIDTH = 28, CHANNELS = 3, MOST = 9, CLASSES = 7 };

static clv_tensor convolve(clv_builder *b, const char *scope, clv_tensor x,
                           const clv_conv2d_desc *d)
{
    clv_scope(b, scope);
    x = clv_conv2d_bn(b, "0", "1", x, d);
    clv_scope_end(b);
    return x;
}

static clv_tensor convolve_1x1(clv_builder *b, const char *scope, clv_tensor x, int64_t filters,
                               const char *activation)
{
    const clv_conv2d_desc d = {.filters = filters, .kernel = 1, .activation = activation};
    return convolve(b, scope, x, &d);
}

/* A block of EfficientNet: expand, depthwise, squeeze and excite, project, add. */
static clv_tensor block(clv_builder *b, clv_tensor x, int64_t kernel, int64_t stride)
{
    const clv_conv2d_desc d = {.kernel = kernel, .stride = stride, .activation = "silu"};
    const int64_t channels = clv_shape_of(b, x).dims[3];
    char name[32];
    (void)snprintf(name, sizeof(name), "block%d_%d", (int)kernel, (int)stride);
    clv_scope(b, name);
    clv_tensor y = convolve_1x1(b, "expand", x, 3 * channels, "silu");
    clv_scope(b, "depthwise");
    y = clv_depthwise_conv2d_bn(b, "0", "1", y, &d);
    clv_scope_end(b);
    clv_tensor f = clv_global_avg_pool(b, "pool", y);
    f = clv_dense(b, "fc1", f, 6, "silu");
    f = clv_sigmoid(b, "gate", clv_dense(b, "fc2", f, 3 * channels, NULL));
    y = clv_multiply(b, "scale", y, f);
    y = convolve_1x1(b, "project", y, channels, "none");
    if (stride == 1)
        y = clv_add(b, "add", y, x);
    clv_scope_end(b);
    return y;
}

/* A stem, blocks with all depthwise filters that they have, convolutions with strides, without, by
 * Winograd's algorithm and with a pooling, a head. */
static clv_tensor describe(clv_builder *b, clv_tensor x)
{
    const clv_conv2d_desc stem = {.filters = 32, .kernel = 3, .activation = "silu"};
    const clv_conv2d_desc half = {.filters = 24, .kernel = 3, .stride = 2, .activation = "relu"};
    const clv_conv2d_desc many = {.filters = 66, .kernel = 3, .activation = "relu"};
    const clv_conv2d_desc large = {
        .filters = 18, .kernel = 5, .pad = -1, .activation = "relu", .no_bias = true};
    clv_tensor y = convolve(b, "stem", x, &stem);
    y = block(b, y, 3, 1);
    y = block(b, y, 5, 1);
    clv_tensor z = clv_conv2d(b, "large", y, &large);
    z = clv_max_pool2d(b, "pool", clv_conv2d(b, "few", z, &half), 2, 2, 0);
    z = clv_global_avg_pool(b, "mean", z);
    y = block(b, y, 3, 2);
    y = convolve(b, "many", convolve_1x1(b, "wide", y, 64, "relu"), &many);
    y = clv_max_pool2d(b, "half", convolve(b, "again", y, &many), 2, 2, 0);
    y = block(b, y, 5, 2);
    y = convolve_1x1(b, "head", y, 90, "silu");
    y = clv_dense(b, "classes", clv_global_avg_pool(b, "mean2", y), CLASSES, NULL);
    return clv_add(b, "sum", y, clv_dense(b, "other", z, CLASSES, "silu"));
}

typedef struct net {
    clv_graph *graph;
    clv_tensor y;
    struct {
        clvi_store *store;
        clvi_plan *plan;
        clvi_buf *x;
    } sides[SIDES];
} net;

static void net_open_side(net *t, int side)
{
    enum { FLOATS = MOST * HEIGHT * WIDTH * CHANNELS };
    static float x[FLOATS];
    clvi_device *device = devices[side];
    uint32_t base;
    for (int i = 0; i < FLOATS; i++)
        x[i] = sinf((float)i * 0.7f) * 2;
    OK(clvi_store_create(device, &t->sides[side].store, error));
    OK(clvi_store_add(t->sides[side].store, t->graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(t->sides[side].store, false, error));
    OK(clvi_store_initialise(t->sides[side].store, 1, error));
    const clvi_plan_desc desc = {.graph = t->graph,
                                 .store = t->sides[side].store,
                                 .base = base,
                                 .mode = CLV_MODE_INFER,
                                 .max_batch = MOST,
                                 .outputs = &t->y,
                                 .output_count = 1};
    OK(clvi_plan_create(&desc, &t->sides[side].plan, error));
    OK(clvi_buf_create(device, sizeof(x), "x", &t->sides[side].x, error));
    OK(clvi_upload(device, t->sides[side].x, 0, x, sizeof(x), error));
    clvi_plan_bind(t->sides[side].plan, 0, (clvi_view){t->sides[side].x, 0}, (clvi_view){NULL, 0});
}

static void net_open(net *t)
{
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, HEIGHT, WIDTH, CHANNELS);
    clv_tensor x;
    clv_error described = CLV_ERROR_INIT;
    *t = (net){0};
    OK(clvi_graph_create("test", &t->graph, error));
    OK(clvi_graph_input_tensor(t->graph, "x", &shape, &x, error));
    clv_builder b = clv_builder_begin(clvi_host_table(), t->graph, &described);
    t->y = describe(&b, x);
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", described.message);
    for (int side = 0; side < SIDES; side++)
        net_open_side(t, side);
}

static void net_close(net *t)
{
    for (int side = 0; side < SIDES; side++) {
        clvi_plan_destroy(t->sides[side].plan);
        clvi_buf_destroy(t->sides[side].x);
        clvi_store_destroy(t->sides[side].store);
    }
    clvi_graph_destroy(t->graph);
}

/* The output of a batch of n: y [n, CLASSES]; how many launches it took. */
static uint64_t infer(const net *t, int side, int64_t n, float *y)
{
    clvi_plan *plan = t->sides[side].plan;
    const uint64_t before = launches_of(devices[side]);
    OK(clvi_plan_forward(plan, n, NULL, error));
    const clvi_view out = clvi_plan_output(plan, 0, n);
    OK(clvi_download(devices[side], out.buf, out.offset * 4, y, (size_t)n * CLASSES * 4, error));
    return launches_of(devices[side]) - before;
}

static void test_small_network(void **state)
{
    (void)state;
    net t;
    float wanted[MOST + 1][MOST * CLASSES], y[MOST * CLASSES];
    uint64_t apart[MOST + 1];
    net_open(&t);
    for (int side = 0; side < SIDES; side++) {
        OK(clvi_plan_poison(t.sides[side].plan, error));
        infer(&t, side, MOST, y); /* weights are packed */
        if (side == TOGETHER)
            expect_same(y, wanted[MOST], MOST * CLASSES, "the first one");
        for (int64_t n = 1; side == APART && n <= MOST; n++) {
            apart[n] = infer(&t, side, n, wanted[n]);
            expect_numbers(wanted[n], (size_t)n * CLASSES);
        }
    }
    uint32_t random = 1;
    for (int round = 0; round < 300; round++) {
        random = random * 1664525u + 1013904223u;
        const int64_t n = 1 + (random >> 8) % MOST;
        const uint64_t launches = infer(&t, TOGETHER, n, y);
        if (chains() ? 3 * launches >= 2 * apart[n] : launches != apart[n])
            fail_msg("%d launches for %d", (int)launches, (int)apart[n]);
        expect_same(y, wanted[n], (size_t)n * CLASSES, "the small network");
    }
    net_close(&t);
}

/* Gives back what the runtime got for launches that are put together. */
static void forget(void)
{
    OK(clvi_wait(devices[TOGETHER], error));
    clvi_chain_fini(devices[TOGETHER]);
    assert_true(clvi_staging_fini(devices[TOGETHER]));
}

/* An inference of which allocation number `at` fails, and the next one, which is right. *reached:
 * there was such an allocation. */
static clv_status infer_in_need(const net *t, int at, const float *wanted, bool *reached)
{
    clv_error fault = CLV_ERROR_INIT;
    float y[MOST * CLASSES];
    blocks = 0;
    allowed = INT_MAX;
    fail_at = at;
    clvi_set_allocator(&short_memory);
    const clv_status status = clvi_plan_forward(t->sides[TOGETHER].plan, MOST, NULL, &fault);
    *reached = fail_at == 0;
    fail_at = 0;
    if (status != CLV_OK && (status != CLV_E_MEMORY || fault.message[0] == '\0'))
        fail_msg("allocation %d: status %d, \"%s\"", at, status, fault.message);
    infer(t, TOGETHER, MOST, y);
    expect_same(y, wanted, MOST * CLASSES, "after an error");
    forget();
    clvi_set_allocator(NULL);
    return status;
}

static void test_short_memory(void **state)
{
    (void)state;
    net t;
    float wanted[MOST * CLASSES], y[MOST * CLASSES];
    int failed = 0;
    bool reached = true;
    net_open(&t);
    infer(&t, APART, MOST, wanted);
    infer(&t, TOGETHER, MOST, y);
    forget();
    /* Without the first allocation launches are made one by one, of kernels that stay. */
    assert_int_equal(infer_in_need(&t, 1, wanted, &reached), CLV_OK);
    for (int at = 1; reached; at++) {
        failed += infer_in_need(&t, at, wanted, &reached) != CLV_OK;
        assert_int_equal(blocks, 0);
    }
    assert_true(!chains() || failed > 6);
    net_close(&t);
}

/* ---- Mixtures ---- */

enum { SIZE = 32, BATCH = 8 };

static clvi_mixture *mixture_open(const clvi_config *config, clvi_device *device)
{
    clvi_mixture *mixture = NULL;
    const clvi_mixture_desc desc = {.config = config,
                                    .plugins = plugins,
                                    .device = device,
                                    .classes = CLASSES,
                                    .height = SIZE,
                                    .width = SIZE,
                                    .channels = 3,
                                    .max_batch = BATCH};
    OK(clvi_mixture_create(&desc, &mixture, error));
    OK(clvi_mixture_warm(mixture, error));
    return mixture;
}

static void check_mixture(const char *text)
{
    static const int64_t batches[] = {1, 3, BATCH};
    static uint8_t pixels[BATCH * SIZE * SIZE * 3];
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    clvi_mixture *mixtures[SIDES];
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    OK(clvi_config_load(&source, &config, error));
    for (int side = 0; side < SIDES; side++)
        mixtures[side] = mixture_open(config, devices[side]);
    const uint64_t compiled = compiled_on(devices[TOGETHER]);
    for (int round = 0; round < 8; round++)
        for (size_t k = 0; k < sizeof(batches) / sizeof(*batches); k++) {
            const clvi_mixture_batch batch = {.n = batches[k], .pixels = pixels};
            float y[SIDES][BATCH * CLASSES];
            uint64_t launches[SIDES];
            for (int side = 0; side < SIDES; side++) {
                const uint64_t before = launches_of(devices[side]);
                OK(clvi_mixture_infer(mixtures[side], &batch, error));
                OK(clvi_mixture_logits(mixtures[side], y[side], error));
                launches[side] = launches_of(devices[side]) - before;
            }
            if (chains() ? launches[TOGETHER] >= launches[APART]
                         : launches[TOGETHER] != launches[APART])
                fail_msg("%d launches for %d", (int)launches[TOGETHER], (int)launches[APART]);
            expect_numbers(y[APART], (size_t)batches[k] * CLASSES);
            expect_same(y[TOGETHER], y[APART], (size_t)batches[k] * CLASSES, text);
        }
    assert_int_equal(compiled_on(devices[TOGETHER]), compiled);
    for (int side = 0; side < SIDES; side++)
        clvi_mixture_destroy(mixtures[side]);
    clvi_config_destroy(config);
}

static void test_efficientnet(void **state)
{
    (void)state;
    check_mixture("[data]\nimage_size = 32\nchannels = 3\n[mixture]\nexperts = a\n"
                  "[expert.a]\nplugin = efficientnet_b0\nstrides = 1,1,2,2,2,1,2,1\n");
    check_mixture("[data]\nimage_size = 32\nchannels = 3\n[mixture]\nexperts = a\n"
                  "[expert.a]\nplugin = efficientnet_b0\nvariant = keras\n");
}

static void test_gated_mixture(void **state)
{
    (void)state;
    check_mixture("[data]\nimage_size = 32\nchannels = 3\n[mixture]\nexperts = a, b\n"
                  "[gate]\nplugin = cnn\n[expert.a]\nplugin = cnn\nwidths = 16, 64, 66\n"
                  "[expert.b]\nplugin = cnn\nwidths = 5, 7\nbatch_norm = no\n");
}

/* Memory that runs out in a mixture's first inference, whose weights were to be packed: the next
 * one packs them. */
static void test_failed_inference(void **state)
{
    static const char text[] = "[data]\nimage_size = 32\nchannels = 3\n[mixture]\nexperts = a\n"
                               "[expert.a]\nplugin = cnn\nwidths = 5, 7\nbatch_norm = no\n";
    static const uint8_t pixels[BATCH * SIZE * SIZE * 3] = {200, 1, 77};
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    const clvi_mixture_batch batch = {.n = 3, .pixels = pixels};
    float wanted[BATCH * CLASSES], y[BATCH * CLASSES];
    clvi_config *config = NULL;
    (void)state;
    OK(clvi_config_load(&source, &config, error));
    clvi_mixture *apart = mixture_open(config, devices[APART]);
    OK(clvi_mixture_infer(apart, &batch, error));
    OK(clvi_mixture_logits(apart, wanted, error));
    clvi_mixture_destroy(apart);
    bool reached = true;
    int failed = 0;
    for (int at = 1; reached; at++) {
        clv_error fault = CLV_ERROR_INIT;
        clvi_chain_fini(devices[TOGETHER]);
        clvi_mixture *m = mixture_open(config, devices[TOGETHER]);
        blocks = 0;
        allowed = INT_MAX;
        fail_at = at;
        clvi_set_allocator(&short_memory);
        failed += clvi_mixture_infer(m, &batch, &fault) != CLV_OK;
        reached = fail_at == 0;
        fail_at = 0;
        clvi_set_allocator(NULL);
        OK(clvi_mixture_infer(m, &batch, error));
        OK(clvi_mixture_logits(m, y, error));
        expect_same(y, wanted, 3 * CLASSES, "after an error");
        clvi_mixture_destroy(m);
    }
    assert_true(!chains() || failed > 2);
    clvi_config_destroy(config);
}

/* ---- Set-up ---- */

static int close_plugins(void **state)
{
    (void)state;
    clvi_plugins_destroy(plugins);
    return 0;
}

static int open_plugins(void **state)
{
    (void)state;
    return clvi_plugins_create(plugin_folder, NULL, &plugins, NULL) == CLV_OK ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_network),    cmocka_unit_test(test_short_memory),
        cmocka_unit_test(test_efficientnet),     cmocka_unit_test(test_gated_mixture),
        cmocka_unit_test(test_failed_inference),
    };
    if (argc != 2) {
        (void)fputs("usage: test_chain_networks PLUGINS\n", stderr);
        return 2;
    }
    plugin_folder = argv[1];
    int status = 0;
    clvi_runtime *runtime = NULL;
    clv_error error = CLV_ERROR_INIT;
    devices[TOGETHER] = test_device_open_with(&(clvi_device_options){.tuning = ""}, &status);
    if (devices[TOGETHER] == NULL)
        return status;
    const clvi_device_options apart = {.select = clvi_device_get_info(devices[TOGETHER])->selector,
                                       .tuning = "chain = 0\n"};
    if (clvi_runtime_create(&runtime, &error) != CLV_OK ||
        clvi_device_open(runtime, &apart, &devices[APART], &error) != CLV_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int failed = cmocka_run_group_tests_name("chain_networks", tests, open_plugins, close_plugins);
    clvi_device_close(devices[APART]);
    clvi_runtime_destroy(runtime);
    failed += test_device_close();
    return failed != 0;
}
