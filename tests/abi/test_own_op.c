/* Operations of a plugin's own in the host: they are found, train, and are refused with a sentence
 * where they are wrong. Arguments: the folder of the experts of own_op/, that of bad/. */
#include "base/process.h"
#include "graph/plan.h"
#include "plugin/own_op.h"
#include "plugin/plugin_host.h"
#include "unit/short_memory.h"
#include "unit/test_device.h"

#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char own_folder[PATH_MAX], bad_folder[PATH_MAX];
static clvi_device *device;

enum { CLASSES = 3, HEIGHT = 5, WIDTH = 4, PIXELS = HEIGHT * WIDTH, SAMPLES = 24, STEPS = 60 };

static clvi_plugins *open_set(const char *folder)
{
    clvi_plugins *plugins = NULL;
    OK(clvi_plugins_create(folder, NULL, &plugins, error));
    return plugins;
}

static clv_status build(clvi_plugins *plugins, const char *name, clv_graph **graph,
                        clv_error *error)
{
    const clv_build_input input = {
        (uint32_t)sizeof(input), CLV_MODE_TRAIN, CLASSES, 1, HEIGHT, WIDTH, 1, 0};
    const clvi_plugin *plugin = NULL;
    clv_options *options = NULL;
    CLV_TRY(clvi_plugins_find(plugins, CLV_KIND_EXPERT, name, &plugin, error));
    CLV_TRY(clvi_options_create(plugin->table, "expert.a", NULL, 0, &options, error));
    const clv_status status = clvi_plugin_build(plugin, options, &input, "expert.a", graph, error);
    clvi_options_destroy(options);
    return status;
}

/* ---- Training ---- */

typedef struct trainer {
    clv_graph *graph;
    clvi_store *store;
    clvi_plan *plan;
    clvi_buf *pixels, *labels, *ids;
    const char *frozen; /* part of the names that are not trained; NULL: none */
} trainer;

static clvi_trains is_trainable(void *user, const char *name)
{
    const trainer *t = user;
    return t->frozen == NULL || strstr(name, t->frozen) == NULL;
}

/* Class c is a bright row c, on noise. */
static void draw(float *pixels, int32_t *labels)
{
    uint32_t state = 12345;
    for (int s = 0; s < SAMPLES; s++) {
        labels[s] = s % CLASSES;
        for (int k = 0; k < PIXELS; k++) {
            state = state * 1664525u + 1013904223u;
            const float noise = (float)(state >> 8) / 16777216.0f - 0.5f;
            pixels[s * PIXELS + k] = noise + (k / WIDTH == labels[s] ? 1.0f : 0.0f);
        }
    }
}

static void open_trainer(trainer *t, clvi_plugins *plugins, const char *name, const char *frozen)
{
    const clv_shape labels_shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    clv_tensor inputs[2], loss;
    float pixels[SAMPLES * PIXELS];
    int32_t labels[SAMPLES];
    uint32_t ids[SAMPLES], base = 0;
    *t = (trainer){.frozen = frozen};
    OK(build(plugins, name, &t->graph, error));
    inputs[0] = clvi_graph_find_output(t->graph, "logits");
    OK(clvi_graph_input_tensor(t->graph, "labels", &labels_shape, &inputs[1], error));
    OK(clvi_graph_add_op(t->graph, "cross_entropy", "ce", inputs, 2, NULL, 0, 0, &loss, 1, error));
    OK(clvi_store_create(device, &t->store, error));
    OK(clvi_store_add(t->store, t->graph, "t.", is_trainable, t, &base, error));
    OK(clvi_store_commit(t->store, true, error));
    OK(clvi_store_initialise(t->store, 7, error));
    const clvi_plan_desc desc = {.graph = t->graph,
                                 .store = t->store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = SAMPLES,
                                 .outputs = &loss,
                                 .output_count = 1,
                                 .outputs_with_grad = 1};
    OK(clvi_plan_create(&desc, &t->plan, error));
    draw(pixels, labels);
    for (uint32_t s = 0; s < SAMPLES; s++)
        ids[s] = s;
    OK(clvi_buf_create(device, sizeof(pixels), "pixels", &t->pixels, error));
    OK(clvi_buf_create(device, sizeof(labels), "labels", &t->labels, error));
    OK(clvi_buf_create(device, sizeof(ids), "ids", &t->ids, error));
    OK(clvi_upload(device, t->pixels, 0, pixels, sizeof(pixels), error));
    OK(clvi_upload(device, t->labels, 0, labels, sizeof(labels), error));
    OK(clvi_upload(device, t->ids, 0, ids, sizeof(ids), error));
    clvi_plan_bind(t->plan, 0, (clvi_view){t->pixels, 0}, (clvi_view){NULL, 0});
    clvi_plan_bind(t->plan, 1, (clvi_view){t->labels, 0}, (clvi_view){NULL, 0});
}

static void close_trainer(trainer *t)
{
    clvi_plan_destroy(t->plan);
    clvi_store_destroy(t->store);
    clvi_graph_destroy(t->graph);
    clvi_buf_destroy(t->pixels);
    clvi_buf_destroy(t->labels);
    clvi_buf_destroy(t->ids);
}

/* The mean loss of n samples. */
static double forward(trainer *t, int64_t n, uint32_t epoch)
{
    const clvi_run_random random = {.key = {3, 4}, .epoch = epoch, .ids = {t->ids, 0}};
    float losses[SAMPLES];
    double sum = 0;
    OK(clvi_plan_forward(t->plan, n, &random, error));
    const clvi_view at = clvi_plan_output(t->plan, 0, n);
    OK(clvi_download(device, at.buf, (size_t)at.offset * 4, losses, (size_t)n * 4, error));
    for (int64_t s = 0; s < n; s++)
        sum += (double)losses[s];
    return sum / (double)n;
}

/* w -= rate·g of every trained variable, on the host. */
static void descend(trainer *t, float rate)
{
    for (size_t v = 0; v < clvi_store_count(t->store); v++) {
        const clvi_segment *segment = clvi_store_segment(t->store, v);
        if (!segment->trainable)
            continue;
        float *w = calloc((size_t)segment->elements, 2 * sizeof(*w));
        assert_non_null(w);
        float *g = w + segment->elements;
        OK(clvi_store_read(t->store, v, CLVI_STORE_VALUE, w, error));
        OK(clvi_store_read(t->store, v, CLVI_STORE_GRADIENT, g, error));
        for (int64_t k = 0; k < segment->elements; k++)
            w[k] -= rate * g[k];
        OK(clvi_store_write(t->store, v, CLVI_STORE_VALUE, w, error));
        free(w);
    }
}

/* Trains with whole and partial batches; returns the loss after it. */
static double train(trainer *t)
{
    float seed[SAMPLES];
    const double first = forward(t, SAMPLES, 0);
    assert_true(first > 0.5 && first < 5);
    for (int step = 0; step < STEPS; step++) {
        const int64_t n = step % 4 == 3 ? SAMPLES - 5 : SAMPLES;
        forward(t, n, (uint32_t)step);
        for (int64_t s = 0; s < n; s++)
            seed[s] = 1.0f / (float)n;
        const clvi_view at = clvi_plan_grad(t->plan, 0, n);
        OK(clvi_upload(device, at.buf, (size_t)at.offset * 4, seed, (size_t)n * 4, error));
        OK(clvi_plan_backward(t->plan, error));
        descend(t, 0.2f);
    }
    return forward(t, SAMPLES, STEPS);
}

/* The sum of a variable's absolute values. */
static double size_of(const trainer *t, const char *name)
{
    const int64_t index = clvi_store_find(t->store, name);
    float values[4096];
    double sum = 0;
    assert_true(index >= 0);
    const int64_t elements = clvi_store_segment(t->store, (size_t)index)->elements;
    assert_true(elements <= 4096);
    OK(clvi_store_read(t->store, (size_t)index, CLVI_STORE_VALUE, values, error));
    for (int64_t k = 0; k < elements; k++)
        sum += fabs((double)values[k]);
    return sum;
}

static void test_trains(void **state)
{
    static const char *const names[] = {"scaled", "own"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        clvi_plugins *plugins = open_set(own_folder);
        trainer t;
        open_trainer(&t, plugins, names[i], NULL);
        const double loss = train(&t);
        if (!(loss < 0.25))
            fail_msg("%s: the loss after training is %g", names[i], loss);
        close_trainer(&t);
        clvi_plugins_destroy(plugins);
    }
}

/* Each parameter of the op alone: its gradient must not need that of the others. */
static void test_trains_when_frozen(void **state)
{
    clvi_plugins *plugins = open_set(own_folder);
    trainer t;
    (void)state;
    open_trainer(&t, plugins, "scaled", "scale");
    double before = size_of(&t, "t.scale");
    assert_true(train(&t) < 0.4);
    assert_true(!(size_of(&t, "t.scale") < before) && !(size_of(&t, "t.scale") > before));
    close_trainer(&t);
    open_trainer(&t, plugins, "scaled", "hidden");
    before = size_of(&t, "t.hidden.weight");
    const double scale = size_of(&t, "t.scale");
    assert_true(train(&t) < 1.0);
    assert_true(!(size_of(&t, "t.hidden.weight") < before) &&
                !(size_of(&t, "t.hidden.weight") > before));
    assert_true(size_of(&t, "t.scale") < scale || size_of(&t, "t.scale") > scale);
    close_trainer(&t);
    clvi_plugins_destroy(plugins);
}

/* ---- Names ---- */

static clv_status add(clv_graph *graph, const char *op, clv_error *error)
{
    const clv_shape image = CLVI_SHAPE(CLV_F32, CLV_BATCH, 6);
    const clv_variable_desc w = {
        .struct_size = sizeof(w), .name = "w", .rank = 1, .init = CLV_INIT_ONES, .dims = {6}};
    clv_tensor inputs[2], out;
    CLV_TRY(clvi_graph_input_tensor(graph, "x", &image, &inputs[0], error));
    CLV_TRY(clvi_graph_variable_add(graph, &w, false, &inputs[1], error));
    return clvi_graph_add_op(graph, op, "node", inputs, 2, NULL, 0, 0, &out, 1, error);
}

/* An op is known to the graphs of the plugins opened with its own, and to no others. */
static void test_belongs_to_its_set(void **state)
{
    clvi_plugins *plugins = open_set(own_folder);
    const clvi_plugin *plugin = NULL;
    clv_error unknown = CLV_ERROR_INIT, near = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    (void)state;
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "own", &plugin, error));
    assert_int_equal(plugin->ops->count, 2);
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "scaled", &plugin, error));
    assert_int_equal(plugin->ops->count, 3);
    assert_true(clvi_op_is_own(plugin->ops->ops[2]));
    assert_false(clvi_op_is_own(clvi_op_find("dense")));

    OK(clvi_graph_create("test", &graph, error));
    assert_int_equal(add(graph, "scaled.scale", &unknown), CLV_E_PLUGIN);
    assert_non_null(strstr(unknown.message, "there is no operation \"scaled.scale\""));
    clvi_graph_destroy(graph);

    OK(clvi_graph_create("test", &graph, error));
    clvi_graph_offer_ops(graph, plugin->ops);
    assert_int_equal(add(graph, "scaled.scal", &near), CLV_E_PLUGIN);
    assert_non_null(strstr(near.message, "did you mean scaled.scale?"));
    clvi_graph_destroy(graph);

    OK(clvi_graph_create("test", &graph, error));
    clvi_graph_offer_ops(graph, plugin->ops);
    OK(add(graph, "scaled.scale", error));
    clvi_graph_destroy(graph);
    clvi_plugins_destroy(plugins);
}

/* ---- Refusals ---- */

static void test_wrong_registrations(void **state)
{
    static const char *const wrong[][2] = {
        {"op_name", "an operation is named \"other.multiply\", wanted is \"op_name.\""},
        {"op_twice", "\"op_twice.multiply\": another one of that name is registered already"},
        {"no_forward", "\"no_forward.multiply\": clv_op_desc.forward is NULL, it is mandatory"},
        {"init_fails", "init: init fails without saying why"},
    };
    clvi_plugins *plugins = open_set(bad_folder);
    const clvi_plugin *fine = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        clv_error error = CLV_ERROR_INIT;
        const clvi_plugin *found = NULL;
        char path[PATH_MAX + 64];
        snprintf(path, sizeof(path), "%s/expert_%s.so", bad_folder, wrong[i][0]);
        assert_true(clvi_plugins_find(plugins, CLV_KIND_EXPERT, wrong[i][0], &found, &error) !=
                    CLV_OK);
        assert_null(found);
        if (strstr(error.message, wrong[i][1]) == NULL || strstr(error.message, path) == NULL)
            fail_msg("\"%s\"; expected \"%s\"", error.message, wrong[i][1]);
        assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
    }
    /* Nothing of them stays behind. */
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "fine", &fine, error));
    assert_int_equal(fine->ops->count, 1);
    clvi_plugins_destroy(plugins);
}

static void test_wrong_shapes(void **state)
{
    clvi_plugins *plugins = open_set(own_folder);
    const clvi_plugin *plugin = NULL;
    const clv_shape five = CLVI_SHAPE(CLV_F32, CLV_BATCH, 5), six = CLVI_SHAPE(CLV_F32, 6);
    clv_tensor inputs[2], out = 77;
    clv_graph *graph = NULL;
    clv_error error_shape = CLV_ERROR_INIT;
    (void)state;
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "scaled", &plugin, error));
    OK(clvi_graph_create("test", &graph, error));
    clvi_graph_offer_ops(graph, plugin->ops);
    OK(clvi_graph_input_tensor(graph, "a", &five, &inputs[0], error));
    OK(clvi_graph_input_tensor(graph, "b", &six, &inputs[1], error));
    assert_int_equal(clvi_graph_add_op(graph, "scaled.scale", "node", inputs, 2, NULL, 0, 0, &out,
                                       1, &error_shape),
                     CLV_E_SHAPE);
    assert_string_equal(error_shape.message,
                        "node (scaled.scale): wanted are inputs [N, C] and weights [C]");
    assert_int_equal(out, 77);
    clvi_graph_destroy(graph);
    clvi_plugins_destroy(plugins);
}

/* A name means one program as long as a device lives. */
static void test_sources(void **state)
{
    static const char first[] = "__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void k("
                                "__global float *y, ulong y_at) { y[y_at] = 7; }";
    clv_error error_text = CLV_ERROR_INIT;
    clvi_buf *buf = NULL;
    clvi_launch launch;
    float value = 0;
    (void)state;
    OK(clvi_device_add_source(device, "test.one", first, error));
    OK(clvi_device_add_source(device, "test.one", first, error));
    assert_int_equal(clvi_device_add_source(device, "test.one", "other", &error_text),
                     CLV_E_PLUGIN);
    assert_non_null(strstr(error_text.message, "two programs \"test.one\" with different texts"));
    OK(clvi_buf_create(device, 64, "test", &buf, error));
    clvi_launch_begin(&launch, device, "test.one", "k", "");
    clvi_arg_view(&launch, (clvi_view){buf, 3});
    OK(clvi_launch_run(&launch, 1, 1, 1, error));
    OK(clvi_download(device, buf, 12, &value, 4, error));
    assert_true(value > 6.9f && value < 7.1f);
    clvi_buf_destroy(buf);
}

/* ---- Memory ---- */

static clv_status load_and_build(clv_error *error)
{
    clvi_plugins *plugins = NULL;
    clv_graph *graph = NULL;
    CLV_TRY(clvi_plugins_create(own_folder, NULL, &plugins, error));
    const clv_status status = build(plugins, "own", &graph, error);
    clvi_graph_destroy(graph);
    clvi_plugins_destroy(plugins);
    return status;
}

static void test_out_of_memory(void **state)
{
    clv_status status = CLV_E_MEMORY;
    (void)state;
    clvi_set_allocator(&short_memory);
    for (int n = 0; status != CLV_OK && n < 300; n++) {
        clv_error error = CLV_ERROR_INIT;
        allowed = n;
        blocks = 0;
        status = load_and_build(&error);
        assert_int_equal(blocks, 0);
        assert_true(status == CLV_OK || (status == CLV_E_MEMORY && error.message[0] != '\0'));
    }
    clvi_set_allocator(NULL);
    assert_int_equal(status, CLV_OK);
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc != 3 || realpath(argv[1], own_folder) == NULL ||
        realpath(argv[2], bad_folder) == NULL) {
        fputs("usage: test_own_op FOLDER_OF_OWN_OPS FOLDER_OF_BAD_PLUGINS\n", stderr);
        return 2;
    }
    unsetenv("CONCLAVE_KEEP_PLUGINS"); /* here it matters that they are closed */
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trains),
        cmocka_unit_test(test_trains_when_frozen),
        cmocka_unit_test(test_belongs_to_its_set),
        cmocka_unit_test(test_wrong_registrations),
        cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_out_of_memory),
    };
    const int failed = cmocka_run_group_tests_name("own_op", tests, NULL, NULL);
    return test_device_close() != 0 || failed;
}
