/* The shipped experts and gates as graphs: names, shapes, parameters, options, odd sizes. Argument:
 * their folder. */
#include "graph/graph.h"
#include "ops/op.h"
#include "plugin/plugin_host.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *folder;

typedef struct request {
    clv_kind kind;
    const char *plugin;
    clv_build_input input;
    clvi_raw_option options[4]; /* up to the first without a key */
} request;

#define INPUT(classes, experts, height, width, channels)                                           \
    {                                                                                              \
        (uint32_t)sizeof(clv_build_input), CLV_MODE_TRAIN, classes, experts, height, width,        \
            channels, 0                                                                            \
    }

/* The graph of a request; the caller destroys it. Nothing of it lies in the plugin. */
static clv_status build(const request *r, clv_graph **graph, clv_error *error)
{
    clvi_plugins *plugins = NULL;
    const clvi_plugin *plugin = NULL;
    clv_options *options = NULL;
    size_t count = 0;
    while (count < 4 && r->options[count].key != NULL)
        count++;
    CLV_TRY(clvi_plugins_create(folder, NULL, &plugins, error));
    clv_status status = clvi_plugins_find(plugins, r->kind, r->plugin, &plugin, error);
    if (status == CLV_OK)
        status = clvi_options_create(plugin->table, "expert.a", r->options, count, &options, error);
    if (status == CLV_OK)
        status = clvi_plugin_build(plugin, options, &r->input, "expert.a", graph, error);
    clvi_options_destroy(options);
    clvi_plugins_destroy(plugins);
    return status;
}

static clv_graph *built(const request *r)
{
    clv_error error = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    if (build(r, &graph, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return graph;
}

static void refused(const request *r, clv_status status, const char *sentence)
{
    clv_error error = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    if (build(r, &graph, &error) != status || strstr(error.message, sentence) == NULL)
        fail_msg("status %d, \"%s\"; expected \"%s\"", error.status, error.message, sentence);
    assert_null(graph);
}

static void assert_output(const clv_graph *graph, const char *role, const char *shape)
{
    char text[64];
    const clv_tensor tensor = clvi_graph_find_output(graph, role);
    assert_int_not_equal(tensor, CLV_NO_TENSOR);
    assert_string_equal(clvi_shape_text(&graph->tensors[tensor].shape, text, sizeof(text)), shape);
}

static int64_t parameters(const clv_graph *graph)
{
    int64_t sum = 0;
    for (size_t i = 0; i < graph->variable_count; i++)
        sum += graph->variables[i].is_state ? 0 : graph->variables[i].elements;
    return sum;
}

/* Nodes of an operation. */
static size_t count_ops(const clv_graph *graph, const char *op)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        count += strcmp(graph->nodes[i].op->name, op) == 0;
    return count;
}

static const clvi_variable *find_variable(const clv_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->variable_count; i++)
        if (strcmp(graph->variables[i].name, name) == 0)
            return &graph->variables[i];
    fail_msg("no variable %s", name);
    return NULL;
}

static void test_cnn_default(void **state)
{
    static const char *const names[] = {
        "features.0.0.conv.weight",
        "features.0.0.norm.weight",
        "features.0.0.norm.bias",
        "features.0.0.norm.running_mean",
        "features.0.0.norm.running_var",
        "features.1.0.conv.weight",
        "features.2.0.norm.running_mean",
        "classifier.weight",
        "classifier.bias",
    };
    const request r = {CLV_KIND_EXPERT, "cnn", INPUT(46, 1, 32, 32, 3), {{0}}};
    clv_graph *graph = built(&r);
    (void)state;
    assert_output(graph, "features", "[N, 128]");
    assert_output(graph, "logits", "[N, 46]");
    /* 3·9·32 + 64 + 32·9·64 + 128 + 64·9·128 + 256 + 128·46 + 46 */
    assert_int_equal(parameters(graph), 99406);
    assert_int_equal(count_ops(graph, "conv2d_bn"), 3);
    assert_int_equal(count_ops(graph, "max_pool2d"), 2);
    assert_int_equal(count_ops(graph, "dropout"), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        find_variable(graph, names[i]);
    assert_int_equal(graph->variable_count, 17);
    assert_true(find_variable(graph, "classifier.bias")->no_decay);
    assert_false(find_variable(graph, "classifier.weight")->no_decay);
    assert_true(graph->inputs[0].desc.mean[2] == 0.5 && graph->inputs[0].desc.std[0] == 0.5);
    clvi_graph_destroy(graph);
}

static void test_cnn_options(void **state)
{
    const request plain = {CLV_KIND_EXPERT,
                           "cnn",
                           INPUT(5, 1, 7, 9, 3),
                           {{"batch_norm", "no", "t"},
                            {"widths", "4, 6", "t"},
                            {"convs_per_block", "2", "t"},
                            {"channels", "1", "t"}}};
    clv_graph *graph = built(&plain);
    (void)state;
    assert_int_equal(count_ops(graph, "conv2d"), 4);
    assert_int_equal(count_ops(graph, "max_pool2d"), 1);
    /* 9·4 + 4 + 4·9·4 + 4 + 4·9·6 + 6 + 6·9·6 + 6 + 6·5 + 5 */
    assert_int_equal(parameters(graph), 775);
    assert_int_equal(graph->inputs[0].desc.channels, 1);
    find_variable(graph, "features.1.1.conv.bias");
    assert_output(graph, "features", "[N, 6]");
    clvi_graph_destroy(graph);

    const request head = {CLV_KIND_EXPERT,
                          "cnn",
                          INPUT(5, 1, 8, 8, 1),
                          {{"hidden", "10", "t"},
                           {"dropout", "0.25", "t"},
                           {"pool", "avg", "t"},
                           {"activation", "silu", "t"}}};
    graph = built(&head);
    assert_output(graph, "features", "[N, 10]");
    assert_output(graph, "logits", "[N, 5]");
    assert_int_equal(count_ops(graph, "avg_pool2d"), 2);
    assert_int_equal(count_ops(graph, "dropout"), 1);
    find_variable(graph, "hidden.weight");
    clvi_graph_destroy(graph);
}

static void test_cnn_refusals(void **state)
{
    request r = {CLV_KIND_EXPERT, "cnn", INPUT(5, 1, 3, 64, 3), {{0}}};
    (void)state;
    refused(&r, CLV_E_SHAPE, "images of 3×64 pixels are too small for 3 blocks");
    r.input.image_height = 4;
    clvi_graph_destroy(built(&r));
    r.options[0] = (clvi_raw_option){"kernel", "4", "t"};
    refused(&r, CLV_E_CONFIG, "kernel is 4, wanted is an odd number");
    r.options[0] = (clvi_raw_option){"widths", "", "t"};
    refused(&r, CLV_E_CONFIG, "widths has 0 numbers");
    r.options[0] = (clvi_raw_option){"widths", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "t"};
    refused(&r, CLV_E_CONFIG, "widths has 17 numbers");
    r.options[0] = (clvi_raw_option){"channels", "2", "a.ini:3"};
    refused(&r, CLV_E_CONFIG, "a.ini:3: [expert.a] channels: \"2\"");
}

/* The same twice, and its names do not hang on the plugin staying open. */
static void test_builds_are_alike(void **state)
{
    const request r = {CLV_KIND_EXPERT, "cnn", INPUT(3, 1, 13, 11, 1), {{0}}};
    clv_graph *a = built(&r), *b = built(&r);
    (void)state;
    assert_int_equal(a->node_count, b->node_count);
    assert_int_equal(a->tensor_count, b->tensor_count);
    for (size_t i = 0; i < a->tensor_count; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_int_equal(a->tensors[i].shape.rank, b->tensors[i].shape.rank);
        assert_memory_equal(a->tensors[i].shape.dims, b->tensors[i].shape.dims,
                            sizeof a->tensors[i].shape.dims);
    }
    clvi_graph_destroy(a);
    clvi_graph_destroy(b);
}

static void test_average(void **state)
{
    const request r = {CLV_KIND_GATE, "average", INPUT(46, 3, 32, 32, 1), {{0}}};
    clv_graph *graph = built(&r);
    (void)state;
    assert_output(graph, "route", "[N, 3]");
    assert_output(graph, "gate_logits", "[N, 3]");
    assert_int_equal(graph->variable_count, 0);
    assert_int_equal(graph->route.sparse, 0);
    assert_int_equal(graph->route.sums_to_one, 1);
    const clv_tensor route = clvi_graph_find_output(graph, "route");
    assert_string_equal(graph->nodes[graph->tensors[route].producer].op->name, "fill");
    clvi_graph_destroy(graph);
    request one = r;
    one.options[0] = (clvi_raw_option){"k", "2", "a.ini:9"};
    refused(&one, CLV_E_CONFIG, "a.ini:9: [expert.a] k: plugin average has no such option");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: test_plugins FOLDER_OF_THE_PLUGINS\n", stderr);
        return 2;
    }
    folder = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cnn_default),  cmocka_unit_test(test_cnn_options),
        cmocka_unit_test(test_cnn_refusals), cmocka_unit_test(test_builds_are_alike),
        cmocka_unit_test(test_average),
    };
    return cmocka_run_group_tests_name("plugins", tests, NULL, NULL);
}
