/* core/graph/plan.c, layout.c, executor.c on whatever device there is: gradients that meet, memory
 * that is shared over time, batches below the largest. Ops have their own tests; here they are only
 * material. Exit 77 without a device, failure when CONCLAVE_REQUIRE_DEVICE=1. */
#include <stdio.h>

#include "graph/finite.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "plugin/plugin_host.h"

#include <conclave/ops.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WIDTH = 37, MOST = 9 };

static clvi_runtime *runtime;
static clvi_device *device;

#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error ok_error = CLV_ERROR_INIT;                                                       \
        clv_error *error = &ok_error;                                                              \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", ok_error.message);                                                      \
    } while (0)

/* A graph with one input x [N, WIDTH], its store and its plan. */
typedef struct net {
    clv_graph *graph;
    clvi_store *store;
    clvi_plan *plan;
    clvi_buf *x, *gx;
    clv_tensor input, output;
} net;

typedef clv_tensor (*describe)(clv_builder *b, clv_tensor x);

static void net_open(net *t, describe body)
{
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, WIDTH);
    uint32_t base;
    *t = (net){0};
    OK(clvi_graph_create("test", &t->graph, error));
    OK(clvi_graph_input_tensor(t->graph, "x", &shape, &t->input, error));
    clv_error described = CLV_ERROR_INIT;
    clv_builder b = clv_builder_begin(clvi_host_table(), t->graph, &described);
    t->output = body(&b, t->input);
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", described.message);
    OK(clvi_store_create(device, &t->store, error));
    OK(clvi_store_add(t->store, t->graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(t->store, true, error));
    OK(clvi_store_initialise(t->store, 1, error));
    OK(clvi_buf_create(device, MOST * WIDTH * 4, "x", &t->x, error));
    OK(clvi_buf_create(device, MOST * WIDTH * 4, "gx", &t->gx, error));
}

static clvi_plan_desc net_desc(const net *t, clv_mode mode, int64_t max_batch)
{
    const bool train = mode == CLV_MODE_TRAIN;
    return (clvi_plan_desc){.graph = t->graph,
                            .store = t->store,
                            .mode = mode,
                            .max_batch = max_batch,
                            .outputs = &t->output,
                            .output_count = 1,
                            .outputs_with_grad = train,
                            .inputs_with_grad = train};
}

static void net_plan(net *t, clv_mode mode, int64_t max_batch)
{
    const clvi_plan_desc desc = net_desc(t, mode, max_batch);
    OK(clvi_plan_create(&desc, &t->plan, error));
    clvi_plan_bind(t->plan, 0, (clvi_view){t->x, 0}, (clvi_view){t->gx, 0});
}

static void net_close(net *t)
{
    clvi_plan_destroy(t->plan);
    clvi_buf_destroy(t->x);
    clvi_buf_destroy(t->gx);
    clvi_store_destroy(t->store);
    clvi_graph_destroy(t->graph);
}

/* Runs n samples forward and backward from grad y = 1; y and gx [n, WIDTH] may be NULL. */
static void net_run(net *t, int64_t n, const float *x, float *y, float *gx)
{
    const size_t bytes = (size_t)n * WIDTH * 4;
    const float one = 1;
    uint32_t pattern;
    memcpy(&pattern, &one, 4);
    OK(clvi_plan_poison(t->plan, error));
    OK(clvi_upload(device, t->x, 0, x, bytes, error));
    OK(clvi_plan_forward(t->plan, n, NULL, error));
    const clvi_view out = clvi_plan_output(t->plan, 0, n);
    if (y)
        OK(clvi_download(device, out.buf, out.offset * 4, y, bytes, error));
    if (!gx)
        return;
    const clvi_view seed = clvi_plan_grad(t->plan, 0, n);
    OK(clvi_fill(device, seed.buf, seed.offset * 4, bytes, pattern, error));
    OK(clvi_plan_backward(t->plan, error));
    OK(clvi_download(device, t->gx, 0, gx, bytes, error));
    OK(clvi_plan_check_guards(t->plan, error));
}

static float sample(int64_t i)
{
    return sinf((float)i * 0.7f) * 2;
}

/* x is read by three ops: y = relu(x) + (silu(x) + x) + relu(x + x). */
static clv_tensor residual(clv_builder *b, clv_tensor x)
{
    const clv_tensor left = clv_add(b, "silu_x", clv_silu(b, "silu", x), x);
    const clv_tensor right = clv_relu(b, "right", clv_add(b, "twice", x, x));
    return clv_add(b, "y", clv_add(b, "sum", clv_relu(b, "relu", x), left), right);
}

static void test_gradients_meet(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, MOST, 4, MOST};
    float x[MOST * WIDTH], y[MOST * WIDTH], gx[MOST * WIDTH];
    net t;
    net_open(&t, residual);
    net_plan(&t, CLV_MODE_TRAIN, MOST);
    for (int64_t i = 0; i < MOST * WIDTH; i++)
        x[i] = sample(i + 1);
    for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
        net_run(&t, batches[k], x, y, gx);
        for (int64_t i = 0; i < batches[k] * WIDTH; i++) {
            const float v = x[i], s = 1 / (1 + expf(-v)), positive = v > 0;
            assert_float_equal(y[i], positive * v + v * s + v + positive * 2 * v, 1e-5);
            assert_float_equal(gx[i], positive + s + v * s * (1 - s) + 1 + positive * 2, 1e-5);
        }
    }
    net_close(&t);
}

static clv_tensor chain(clv_builder *b, clv_tensor x)
{
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    for (int i = 0; i < 8; i++)
        x = clv_silu(b, names[i], x);
    return x;
}

/* Eight layers in inference need the memory of two values at most, in training more. */
static void test_memory_is_shared(void **state)
{
    (void)state;
    clvi_device_counters before, after;
    const char *arena = getenv("CONCLAVE_ARENA");
    if (arena && *arena == '0')
        skip();
    net t;
    net_open(&t, chain);
    clvi_device_get_counters(device, &before);
    net_plan(&t, CLV_MODE_INFER, MOST);
    clvi_device_get_counters(device, &after);
    const size_t unit = clvi_device_get_info(device)->align_bytes;
    const uint64_t value = (WIDTH * 4 + unit - 1) / unit * unit * MOST;
    assert_int_equal(after.live_bytes - before.live_bytes, clvi_plan_bytes(t.plan));
    assert_in_range(clvi_plan_bytes(t.plan), value, 2 * value);
    const uint64_t inference = clvi_plan_bytes(t.plan);
    clvi_plan_destroy(t.plan);
    net_plan(&t, CLV_MODE_TRAIN, MOST);
    assert_in_range(clvi_plan_bytes(t.plan), inference + 6 * value, 12 * value);
    net_close(&t);
}

static clv_tensor two_dense(clv_builder *b, clv_tensor x)
{
    return clv_dense(b, "second", clv_dense(b, "first", x, WIDTH, "relu"), WIDTH, NULL);
}

/* A plan has got ready what it uses of the slabs, not what a larger one there does. */
static void expect_own_share(const clvi_plan *large, const clvi_plan *small)
{
    const clvi_plan *const plans[] = {small, large};
    const char *arena = getenv("CONCLAVE_ARENA");
    if (arena && *arena == '0')
        return;
    for (int i = 0; i < 2; i++) {
        clvi_device_counters before, after;
        clvi_device_get_counters(device, &before);
        clvi_plan_expect(plans[i]);
        clvi_device_get_counters(device, &after);
        assert_int_equal(after.expected_bytes - before.expected_bytes, clvi_plan_bytes(plans[i]));
    }
    assert_true(clvi_plan_bytes(small) < clvi_plan_bytes(large));
}

/* Training and inference take turns in the same slabs; changed weights are seen by both. */
static void test_plans_take_turns(void **state)
{
    (void)state;
    float x[MOST * WIDTH], before[MOST * WIDTH], after[MOST * WIDTH], gx[MOST * WIDTH];
    float weight[WIDTH * WIDTH];
    for (int64_t i = 0; i < MOST * WIDTH; i++)
        x[i] = sample(i);
    net t;
    clvi_slabs *slabs;
    clvi_plan *train, *infer;
    net_open(&t, two_dense);
    OK(clvi_slabs_create(device, &slabs, error));
    clvi_plan_desc desc = net_desc(&t, CLV_MODE_TRAIN, MOST);
    desc.slabs = slabs;
    OK(clvi_plan_create(&desc, &train, error));
    desc = net_desc(&t, CLV_MODE_INFER, MOST);
    desc.slabs = slabs;
    OK(clvi_plan_create(&desc, &infer, error));
    expect_own_share(train, infer);
    clvi_plan_bind(train, 0, (clvi_view){t.x, 0}, (clvi_view){t.gx, 0});
    clvi_plan_bind(infer, 0, (clvi_view){t.x, 0}, (clvi_view){NULL, 0});
    t.plan = infer;
    net_run(&t, MOST, x, before, NULL);
    t.plan = train;
    net_run(&t, MOST, x, after, gx);
    for (int i = 0; i < MOST * WIDTH; i++)
        assert_float_equal(before[i], after[i], 1e-5);
    OK(clvi_plan_forward(infer, MOST, NULL, error)); /* after training used the slabs */
    const clvi_view out = clvi_plan_output(infer, 0, MOST);
    OK(clvi_download(device, out.buf, out.offset * 4, after, sizeof after, error));
    assert_memory_equal(before, after, sizeof before);
    const int64_t second = clvi_store_find(t.store, "second.weight");
    OK(clvi_store_read(t.store, (size_t)second, CLVI_STORE_VALUE, weight, error));
    for (int i = 0; i < WIDTH * WIDTH; i++)
        weight[i] *= 2;
    OK(clvi_store_write(t.store, (size_t)second, CLVI_STORE_VALUE, weight, error));
    OK(clvi_plan_forward(infer, MOST, NULL, error));
    OK(clvi_download(device, out.buf, out.offset * 4, after, sizeof after, error));
    assert_memory_not_equal(before, after, sizeof before);
    clvi_plan_destroy(train);
    clvi_plan_destroy(infer);
    t.plan = NULL;
    net_close(&t);
    clvi_slabs_destroy(slabs);
}

/* A picture of one column: its filters are packed for inference. */
static clv_tensor column(clv_builder *b, clv_tensor x)
{
    static const int64_t picture[] = {WIDTH, 1, 1};
    clv_attr shape = clv_attr_int("shape", 0);
    shape.type = CLV_ATTR_INTS, shape.ints = picture, shape.int_count = 3;
    const clv_conv2d_desc one = {.filters = 8, .kernel = 3}, two = {.filters = 1, .kernel = 3};
    x = clv_op(b, "reshape", "picture", &x, 1, &shape, 1);
    x = clv_conv2d_bn(b, "conv1", "norm", x, &one);
    return clv_flatten(b, "flat", clv_conv2d(b, "conv2", x, &two));
}

/* What inference prepares once stays where it is while the batch changes. */
static void test_prepared_stays(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, MOST, 3, 1, MOST - 1};
    float x[MOST * WIDTH], all[MOST * WIDTH], some[MOST * WIDTH];
    for (int64_t i = 0; i < MOST * WIDTH; i++)
        x[i] = sample(i);
    net t;
    net_open(&t, column);
    net_plan(&t, CLV_MODE_INFER, MOST);
    net_run(&t, MOST, x, all, NULL);
    for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
        const size_t bytes = (size_t)batches[k] * WIDTH * 4;
        OK(clvi_upload(device, t.x, 0, x, bytes, error));
        OK(clvi_plan_forward(t.plan, batches[k], NULL, error));
        const clvi_view out = clvi_plan_output(t.plan, 0, batches[k]);
        OK(clvi_download(device, out.buf, out.offset * 4, some, bytes, error));
        OK(clvi_plan_check_guards(t.plan, error));
        for (int64_t i = 0; i < batches[k] * WIDTH; i++)
            assert_float_equal(some[i], all[i], 1e-5);
    }
    net_close(&t);
}

static clv_status no_memory(const clvi_run *run, clv_error *error)
{
    (void)run;
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
}

/* An inference that failed half-way has prepared nothing: the next one does it all. */
static void test_failed_forward(void **state)
{
    (void)state;
    float x[MOST * WIDTH], good[MOST * WIDTH], again[MOST * WIDTH];
    for (int64_t i = 0; i < MOST * WIDTH; i++)
        x[i] = sample(i);
    net t;
    net_open(&t, column);
    net_plan(&t, CLV_MODE_INFER, MOST);
    net_run(&t, MOST, x, good, NULL);
    int prepared = 0;
    for (size_t i = 0; i < t.graph->node_count; i++) {
        clvi_node *node = &t.graph->nodes[i];
        const clvi_op *op = node->op;
        if (op->prepare == NULL)
            continue;
        clv_error e = CLV_ERROR_INIT;
        clvi_op faulty = *op;
        faulty.prepare = no_memory;
        node->op = &faulty;
        OK(clvi_plan_poison(t.plan, error));
        OK(clvi_store_initialise(t.store, 1, error)); /* another version, the same values */
        assert_int_equal(clvi_plan_forward(t.plan, MOST, NULL, &e), CLV_E_MEMORY);
        assert_non_null(strstr(e.message, node->name));
        node->op = op;
        OK(clvi_plan_forward(t.plan, MOST, NULL, error));
        const clvi_view out = clvi_plan_output(t.plan, 0, MOST);
        OK(clvi_download(device, out.buf, out.offset * 4, again, sizeof again, error));
        assert_memory_equal(good, again, sizeof good);
        prepared++;
    }
    assert_int_equal(prepared, 2);
    net_close(&t);
}

/* Frozen parameters get no gradient, and what lies below them no backward. */
static clvi_trains only_second(void *user, const char *name)
{
    (void)user;
    return strncmp(name, "second", 6) == 0;
}

static void test_backward_stops(void **state)
{
    (void)state;
    float x[MOST * WIDTH] = {0};
    net t;
    uint32_t base;
    net_open(&t, two_dense);
    clvi_store_destroy(t.store);
    OK(clvi_store_create(device, &t.store, error));
    OK(clvi_store_add(t.store, t.graph, "", only_second, NULL, &base, error));
    OK(clvi_store_commit(t.store, true, error));
    OK(clvi_store_initialise(t.store, 1, error));
    assert_int_equal(clvi_store_parameters(t.store, true), WIDTH * WIDTH + WIDTH);
    assert_null(clvi_store_view(t.store, 0, CLVI_STORE_GRADIENT).buf);
    clvi_plan_desc desc = net_desc(&t, CLV_MODE_TRAIN, MOST);
    desc.inputs_with_grad = 0;
    OK(clvi_plan_create(&desc, &t.plan, error));
    clvi_plan_bind(t.plan, 0, (clvi_view){t.x, 0}, (clvi_view){NULL, 0});
    OK(clvi_upload(device, t.x, 0, x, sizeof x, error));
    clvi_device_counters a, b, c;
    OK(clvi_plan_forward(t.plan, MOST, NULL, error));
    clvi_device_get_counters(device, &a);
    const clvi_view seed = clvi_plan_grad(t.plan, 0, MOST);
    OK(clvi_fill(device, seed.buf, seed.offset * 4, MOST * WIDTH * 4, 0, error));
    OK(clvi_plan_backward(t.plan, error));
    clvi_device_get_counters(device, &b);
    clvi_plan_destroy(t.plan);
    t.plan = NULL;
    clvi_store_destroy(t.store);
    OK(clvi_store_create(device, &t.store, error));
    OK(clvi_store_add(t.store, t.graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(t.store, true, error));
    net_plan(&t, CLV_MODE_TRAIN, MOST);
    OK(clvi_plan_forward(t.plan, MOST, NULL, error));
    clvi_device_counters d;
    clvi_device_get_counters(device, &c);
    OK(clvi_plan_backward(t.plan, error));
    clvi_device_get_counters(device, &d);
    assert_true(b.launches - a.launches < d.launches - c.launches);
    net_close(&t);
}

/* Rows, normalised, with something dropped and noise on the way to a dense layer. The middle
 * is what is read twice. */
static clv_tensor middle;
static clv_tensor behind(clv_builder *b, clv_tensor x)
{
    const clv_tensor whole = clv_dense(b, "first", x, WIDTH, NULL);
    middle = clv_silu(b, "middle", whole);
    clv_tensor y = clv_batch_norm(b, "norm", middle, "silu", 1e-5, 0.1);
    y = clv_dropout(b, "dropout", clv_drop_path(b, "path", y, 0.5), 0.5);
    y = clv_add_noise(b, "noise", y, middle);
    return clv_multiply(b, "product", clv_dense(b, "second", y, WIDTH, NULL), middle);
}

/* Σ_i i/WIDTH·y_i of one sample. */
static double weighed_output(const net *t)
{
    float y[WIDTH];
    double sum = 0;
    const clvi_view out = clvi_plan_output(t->plan, 0, 1);
    OK(clvi_plan_forward(t->plan, 1, NULL, error));
    OK(clvi_download(device, out.buf, out.offset * 4, y, sizeof y, error));
    for (int i = 0; i < WIDTH; i++)
        sum += (double)y[i] * i / WIDTH;
    return sum;
}

/* The gradient of the tensor that a plan begins at, with everything as in inference, against
 * central differences; nothing of it is trained. */
static void test_gradient_in_the_middle(void **state)
{
    (void)state;
    float values[WIDTH], seed[WIDTH], got[WIDTH];
    uint8_t modes[8];
    const bool trains[16] = {false};
    net t;
    net_open(&t, behind);
    assert_true(t.graph->node_count <= sizeof modes && t.graph->variable_count <= 16);
    for (size_t k = 0; k < t.graph->node_count; k++) {
        const clvi_op *op = t.graph->nodes[k].op;
        modes[k] = (uint8_t)(op->norm_inputs || op->draws ? CLVI_MODE_FROZEN : CLV_MODE_TRAIN);
    }
    clvi_plan_desc desc = net_desc(&t, CLV_MODE_TRAIN, 1);
    desc.inputs_with_grad = 0;
    desc.node_modes = modes;
    desc.trains = trains;
    desc.from = middle;
    desc.has_from = desc.from_with_grad = true;
    OK(clvi_plan_create(&desc, &t.plan, error));
    OK(clvi_plan_poison(t.plan, error));
    clvi_plan_bind_from(t.plan, (clvi_view){t.x, 0});
    for (int i = 0; i < WIDTH; i++)
        values[i] = sample(i + 3), seed[i] = (float)i / WIDTH;
    OK(clvi_upload(device, t.x, 0, values, sizeof values, error));
    (void)weighed_output(&t);
    const clvi_view to = clvi_plan_grad(t.plan, 0, 1), from = clvi_plan_from_grad(t.plan, 1);
    OK(clvi_upload(device, to.buf, to.offset * 4, seed, sizeof seed, error));
    OK(clvi_plan_backward(t.plan, error));
    OK(clvi_download(device, from.buf, from.offset * 4, got, sizeof got, error));
    OK(clvi_plan_check_guards(t.plan, error));
    for (int i = 0; i < WIDTH; i++) {
        const float step = 0.02f, kept = values[i];
        double side[2];
        for (int up = 0; up < 2; up++) {
            values[i] = kept + (up ? step : -step);
            OK(clvi_upload(device, t.x, 0, values, sizeof values, error));
            side[up] = weighed_output(&t);
        }
        values[i] = kept;
        assert_float_equal(got[i], (float)((side[1] - side[0]) / (2 * (double)step)), 2e-3);
    }
    net_close(&t);
}

/* A plan whose output is what it begins at hands the gradient back. */
static void test_gradient_of_nothing(void **state)
{
    (void)state;
    float seed[WIDTH], got[WIDTH];
    const bool trains[16] = {false};
    net t;
    net_open(&t, behind);
    clvi_plan_desc desc = net_desc(&t, CLV_MODE_TRAIN, 1);
    desc.inputs_with_grad = 0;
    desc.trains = trains;
    desc.from = middle;
    desc.outputs = &middle;
    desc.has_from = desc.from_with_grad = true;
    OK(clvi_plan_create(&desc, &t.plan, error));
    clvi_plan_bind_from(t.plan, (clvi_view){t.x, 0});
    for (int i = 0; i < WIDTH; i++)
        seed[i] = sample(i);
    OK(clvi_plan_forward(t.plan, 1, NULL, error));
    const clvi_view to = clvi_plan_grad(t.plan, 0, 1), from = clvi_plan_from_grad(t.plan, 1);
    OK(clvi_upload(device, to.buf, to.offset * 4, seed, sizeof seed, error));
    OK(clvi_plan_backward(t.plan, error));
    OK(clvi_download(device, from.buf, from.offset * 4, got, sizeof got, error));
    assert_memory_equal(got, seed, sizeof got);
    net_close(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    clv_error e = CLV_ERROR_INIT;
    net t;
    net_open(&t, chain);
    const clvi_plan_desc desc = net_desc(&t, CLV_MODE_TRAIN, (int64_t)1 << 40);
    assert_int_equal(clvi_plan_create(&desc, &t.plan, &e), CLV_E_MEMORY);
    assert_non_null(strstr(e.message, "largest: "));
    assert_null(t.plan);
    net_plan(&t, CLV_MODE_INFER, 2);
    clvi_error_clear(&e);
    assert_int_equal(clvi_plan_forward(t.plan, 3, NULL, &e), CLV_E_INTERNAL);
    assert_int_equal(clvi_plan_forward(t.plan, 0, NULL, NULL), CLV_E_INTERNAL);
    net_close(&t);
}

/* y = (relu(x + x))². */
static clv_tensor squares(clv_builder *b, clv_tensor x)
{
    const clv_tensor even = clv_relu(b, "relu", clv_add(b, "twice", x, x));
    return clv_multiply(b, "square", even, even);
}

/* Runs 3 samples forward, and backward from gradients `seed`, all x but one being 1; the last one
 * of the first sample is `x`. */
static clvi_finding watch(net *t, float x, float seed)
{
    enum { N = 3 };
    float values[N * WIDTH];
    uint32_t pattern;
    clvi_finding found;
    memcpy(&pattern, &seed, 4);
    for (int i = 0; i < N * WIDTH; i++)
        values[i] = 1;
    values[WIDTH - 1] = x;
    OK(clvi_upload(device, t->x, 0, values, sizeof values, error));
    OK(clvi_plan_forward(t->plan, N, NULL, error));
    const clvi_view grad = clvi_plan_grad(t->plan, 0, N);
    OK(clvi_fill(device, grad.buf, grad.offset * 4, sizeof values, pattern, error));
    OK(clvi_plan_backward(t->plan, error));
    OK(clvi_plan_watched(t->plan, &found, error));
    return found;
}

/* A watched plan names the node that first wrote what is not finite. */
static void test_watch(void **state)
{
    (void)state;
    net t;
    net_open(&t, squares);
    net_plan(&t, CLV_MODE_TRAIN, MOST);
    OK(clvi_plan_watch(t.plan, error));
    clvi_finding f = watch(&t, 2, 1);
    assert_false(f.found);
    f = watch(&t, 1e20f, 1);
    assert_true(f.found && !f.backward && f.count == 1);
    assert_string_equal(f.node, "square");
    assert_string_equal(f.op, "multiply");
    f = watch(&t, 3e38f, 1);
    assert_true(f.found && !f.backward && f.count == 1);
    assert_string_equal(f.node, "twice");
    f = watch(&t, NAN, 1);
    assert_string_equal(f.node, "twice");
    f = watch(&t, 1e15f, 3e30f);
    assert_true(f.found && f.backward && f.count == 1);
    assert_string_equal(f.node, "square");
    assert_string_equal(f.tensor, "relu");
    /* What a run found is forgotten by the next one. */
    f = watch(&t, 2, 1);
    assert_false(f.found);
    net_close(&t);
}

/* ---- Made again in backward ---- */

static clv_tensor normalise(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_batch_norm(b, name, x, "silu", 1e-5, 0.1);
}

/* Steps 0 … 3. What dense reads is a pass over what its normalisation reads. */
static clv_tensor two_layers(clv_builder *b, clv_tensor x)
{
    const clv_tensor first = clv_dense(b, "d1", normalise(b, "n1", x), WIDTH, NULL);
    return clv_dense(b, "d2", normalise(b, "n2", first), WIDTH, NULL);
}

/* A product whose factors are made again before it is. */
static clv_tensor gated(clv_builder *b, clv_tensor x)
{
    const clv_tensor first = clv_dense(b, "d1", normalise(b, "n1", x), WIDTH, NULL);
    const clv_tensor open = clv_silu(b, "open", clv_dense(b, "d2", first, WIDTH, NULL));
    const clv_tensor both = clv_multiply(b, "both", normalise(b, "n2", first), open);
    return clv_add(b, "y", clv_dense(b, "d3", both, WIDTH, NULL), normalise(b, "n3", both));
}

typedef struct outcome {
    uint64_t bytes;
    float y[MOST * WIDTH], gx[MOST * WIDTH], gradients[8 * WIDTH * WIDTH];
    size_t gradient_count;
} outcome;

static void run_on(clvi_device *chosen, describe body, outcome *out)
{
    clvi_device *const usual = device;
    float x[MOST * WIDTH];
    net t;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < MOST * WIDTH; i++)
        x[i] = sample(i);
    device = chosen;
    net_open(&t, body);
    net_plan(&t, CLV_MODE_TRAIN, MOST);
    out->bytes = clvi_plan_bytes(t.plan);
    net_run(&t, MOST, x, out->y, out->gx);
    for (size_t i = 0; i < clvi_store_count(t.store); i++) {
        const clvi_segment *s = clvi_store_segment(t.store, i);
        if (!s->trainable)
            continue;
        assert_true(out->gradient_count + (size_t)s->elements <= 8 * WIDTH * WIDTH);
        OK(clvi_store_read(t.store, i, CLVI_STORE_GRADIENT, out->gradients + out->gradient_count,
                           error));
        out->gradient_count += (size_t)s->elements;
    }
    net_close(&t);
    device = usual;
}

/* The same bits, with less memory. By hand, in tensors of [MOST, WIDTH]: the most live in backward
 * of d2, where there are n2, d1, the output, its gradient and that to n2 either way, and n1 only
 * where it is kept. */
static void test_made_again(void **state)
{
    (void)state;
    static const describe bodies[] = {two_layers, gated};
    static outcome kept, again;
    const clvi_device_options options = {.select = "auto", .recompute = true};
    const char *arena = getenv("CONCLAVE_ARENA");
    const uint64_t unit = clvi_device_get_info(device)->align_bytes;
    const uint64_t sample_bytes = (WIDTH * 4 + unit - 1) / unit * unit;
    clvi_device *other = NULL;
    OK(clvi_device_open(runtime, &options, &other, error));
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        run_on(device, bodies[i], &kept);
        run_on(other, bodies[i], &again);
        assert_memory_equal(kept.y, again.y, sizeof kept.y);
        assert_memory_equal(kept.gx, again.gx, sizeof kept.gx);
        assert_true(kept.gradient_count > WIDTH);
        assert_memory_equal(kept.gradients, again.gradients, sizeof kept.gradients);
        if (i == 0 && !(arena && strcmp(arena, "0") == 0))
            assert_int_equal(kept.bytes - again.bytes, MOST * sample_bytes);
    }
    clvi_device_close(other);
}

static int no_device(const char *why)
{
    const char *need = getenv("CONCLAVE_REQUIRE_DEVICE");
    fprintf(stderr, "%s\n", why);
    return need && *need == '1' ? 1 : 77;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_meet),
        cmocka_unit_test(test_memory_is_shared),
        cmocka_unit_test(test_plans_take_turns),
        cmocka_unit_test(test_backward_stops),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_gradient_in_the_middle),
        cmocka_unit_test(test_gradient_of_nothing),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_prepared_stays),
        cmocka_unit_test(test_failed_forward),
        cmocka_unit_test(test_made_again),
    };
    clv_error error = CLV_ERROR_INIT;
    const clvi_device_options options = {.select = "auto"};
    if (clvi_runtime_create(&runtime, &error) != CLV_OK ||
        clvi_device_open(runtime, &options, &device, &error) != CLV_OK)
        return no_device(error.message);
    const int failed = cmocka_run_group_tests_name("plan", tests, NULL, NULL);
    clvi_device_counters counters;
    clvi_device_get_counters(device, &counters);
    clvi_device_close(device);
    clvi_runtime_destroy(runtime);
    return failed != 0 || counters.live_buffers != 0;
}
