/* core/mixture/trainable.c on a graph of its own: which parameters the words of `trainable` name,
 * how nodes run, where the part ends that stays the same. Needs no device. */
#include "mixture/trainable.h"
#include "ops/op.h"
#include "plugin/plugin_host.h"

#include <conclave/ops.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error ok_error = CLV_ERROR_INIT;                                                       \
        clv_error *error = &ok_error;                                                              \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", ok_error.message);                                                      \
    } while (0)

/* Input dropout; features.0: convolution and normalisation; features.1: a residual block with
 * drop_path; features.2: one with its normalisation apart and called by another number, features.3;
 * pool, dropout, classifier. BYPASS: features.0 also leads to the classifier directly; FEATURELESS:
 * the output `features` is not declared. */
typedef enum form { PLAIN, BYPASS, FEATURELESS } form;

static clv_graph *describe(form kind)
{
    clv_graph *graph = NULL;
    clv_error failed = CLV_ERROR_INIT;
    OK(clvi_graph_create("test", &graph, error));
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, &failed);
    const clv_conv2d_desc conv = {.filters = 4, .kernel = 3, .activation = "silu"};
    clv_tensor x = clv_image(&b, 8, 8, 3, NULL, NULL);
    x = clv_dropout(&b, "shake", x, 0.1);
    clv_scope(&b, "features");
    clv_scope(&b, "0");
    x = clv_conv2d_bn(&b, "conv", "norm", x, &conv);
    clv_scope_end(&b);
    const clv_tensor first = x;
    clv_scope(&b, "1");
    clv_tensor y = clv_conv2d(&b, "conv", x, &conv);
    x = clv_add(&b, "add", clv_drop_path(&b, "drop", y, 0.2), x);
    clv_scope_end(&b);
    clv_scope_end(&b);
    y = clv_conv2d_bn(&b, "features.2.conv", "features.3.norm", x, &conv);
    y = clv_batch_norm(&b, "features.2.after", y, "relu", 0, 0);
    x = clv_add(&b, "features.2.add", y, x);
    x = clv_global_avg_pool(&b, "pool", x);
    if (kind != FEATURELESS)
        clv_output(&b, "features", x);
    x = clv_dropout(&b, "dropout", x, 0.3);
    if (kind == BYPASS) {
        const clv_tensor both[] = {x, clv_global_avg_pool(&b, "side", first)};
        x = clv_concat(&b, "both", both, 2);
    }
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, 5, NULL));
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", failed.message);
    return graph;
}

typedef struct bench {
    clv_graph *graph;
    clvi_config *config;
    clvi_trainable *trainable;
} bench;

static clv_status bench_open(bench *t, const char *keys, form kind, clv_error *fault)
{
    char text[512];
    clvi_config_source source = {.name = "test.ini", .text = text};
    source.text_bytes = (size_t)snprintf(
        text, sizeof text, "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n%s\n", keys);
    *t = (bench){.graph = describe(kind)};
    OK(clvi_config_load(&source, &t->config, error));
    return clvi_trainable_create(t->config, "expert.a", t->graph, &t->trainable, fault);
}

static void bench_close(bench *t)
{
    clvi_trainable_destroy(t->trainable);
    clvi_config_destroy(t->config);
    clvi_graph_destroy(t->graph);
}

/* One letter per node, in the graph's order: Train, Infer, Frozen. */
static const char *modes(const bench *t, int stage, char *out)
{
    const uint8_t *m = clvi_trainable_modes(t->trainable, stage);
    for (size_t k = 0; k < t->graph->node_count; k++)
        out[k] = m[k] == CLV_MODE_TRAIN ? 'T' : m[k] == CLV_MODE_INFER ? 'I' : 'F';
    out[t->graph->node_count] = '\0';
    return out;
}

/* shake, 0, 1.conv, 1.drop, 1.add, 2.conv, 2.after, 2.add, pool, dropout, classifier */
static void expect(const char *keys, const char *wanted)
{
    bench t;
    char given[64];
    OK(bench_open(&t, keys, PLAIN, error));
    if (strcmp(modes(&t, 0, given), wanted) != 0)
        fail_msg("%s: %s for %s", keys, given, wanted);
    bench_close(&t);
}

static void test_modes(void **state)
{
    (void)state;
    expect("", "TTTTTTTTTTT");
    /* All up to the last frozen block, its drop_path included; not the head's dropout. */
    expect("trainable = head", "IIIIIIIITTT");
    expect("trainable = features.2, features.3, head", "IIIIITTTTTT");
    expect("trainable = last:1", "IIIIITTTTTT");
    expect("trainable = last:2", "IITTTTTTTTT");
    /* What a gradient passes: frozen normalisations by their running statistics. */
    expect("trainable = features.1", "IITTTFFTTTT");
    expect("trainable = features.0", "TTTTTFFTTTT");
    expect("trainable = features.2.after", "IIIIIITTTTT");
    expect("trainable = features.2.conv", "IIIIIFFTTTT");
    /* The keys of normalisations. */
    expect("trainable = head\nbn = train", "ITIIITTITTT");
    expect("bn = frozen", "TFTTTFFTTTT");
    expect("trainable = last:1\nbn = frozen", "IIIIIFFTTTT");
}

static void test_stages(void **state)
{
    (void)state;
    bench t;
    char given[64];
    OK(bench_open(&t, "trainable = head\nunfreeze_at_epoch = 3\nunfreeze = features.1", PLAIN,
                  error));
    assert_int_equal(clvi_trainable_stages(t.trainable), 2);
    assert_int_equal(clvi_trainable_stage(t.trainable, 0), 0);
    assert_int_equal(clvi_trainable_stage(t.trainable, 1), 0);
    assert_int_equal(clvi_trainable_stage(t.trainable, 2), 1);
    assert_string_equal(modes(&t, 0, given), "IIIIIIIITTT");
    assert_string_equal(modes(&t, 1, given), "IITTTFFTTTT");
    assert_int_equal(clvi_trainable_of(t.trainable, "classifier.bias"), CLVI_TRAINS);
    assert_int_equal(clvi_trainable_of(t.trainable, "features.1.conv.bias"), CLVI_TRAINS_LATER);
    assert_int_equal(clvi_trainable_of(t.trainable, "features.0.conv.weight"), CLVI_TRAINS_NEVER);
    assert_int_equal(clvi_trainable_of(t.trainable, "nonesuch"), CLVI_TRAINS_NEVER);
    bench_close(&t);
}

/* The parameter that trains, one letter each: weights in the graph's order. */
static void expect_named(const char *keys, const char *const *names, size_t count)
{
    bench t;
    OK(bench_open(&t, keys, PLAIN, error));
    const bool *trains = clvi_trainable_variables(t.trainable, 0);
    for (size_t v = 0; v < t.graph->variable_count; v++) {
        bool wanted = false;
        for (size_t i = 0; i < count; i++)
            wanted |= strcmp(t.graph->variables[v].name, names[i]) == 0;
        if (trains[v] != wanted)
            fail_msg("%s: %s %s", keys, t.graph->variables[v].name, wanted ? "stays" : "trains");
    }
    bench_close(&t);
}
#define NAMED(keys, ...)                                                                           \
    expect_named((keys), (const char *const[]){__VA_ARGS__},                                       \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
#define HEAD "classifier.weight", "classifier.bias"

static void test_words(void **state)
{
    (void)state;
    NAMED("trainable = head", HEAD);
    NAMED("trainable = none", "");
    NAMED("trainable = *.bias", "features.0.norm.bias", "features.1.conv.bias",
          "features.3.norm.bias", "features.2.after.bias", "classifier.bias");
    NAMED("trainable = features.?.conv.weight", "features.0.conv.weight", "features.1.conv.weight",
          "features.2.conv.weight");
    NAMED("trainable = features.3, classifier.bias", "features.3.norm.weight",
          "features.3.norm.bias", "classifier.bias");
    /* features.3 is of the block of the convolution that it normalises. */
    NAMED("trainable = last:1", "features.2.conv.weight", "features.3.norm.weight",
          "features.3.norm.bias", "features.2.after.weight", "features.2.after.bias", HEAD);
}

static void expect_cut(const char *keys, form kind, const char *wanted)
{
    bench t;
    clv_tensor cut = CLV_NO_TENSOR;
    clv_error fault = CLV_ERROR_INIT;
    OK(bench_open(&t, keys, kind, error));
    const clv_status status = clvi_trainable_cut(t.trainable, &cut, &fault);
    const char *given = status == CLV_OK ? t.graph->tensors[cut].name : fault.message;
    if (strstr(given, wanted) == NULL)
        fail_msg("%s: %s for %s", keys, given, wanted);
    bench_close(&t);
}

static void test_cut(void **state)
{
    (void)state;
    expect_cut("trainable = head", PLAIN, "pool");
    expect_cut("trainable = last:1", PLAIN, "features.1.add");
    expect_cut("trainable = last:2", PLAIN, "features.0.conv");
    expect_cut("trainable = features.1", PLAIN, "features.0.conv");
    expect_cut("trainable = features.2.after, head", PLAIN, "several places");
    expect_cut("trainable = head", BYPASS, "several places");
    expect_cut("trainable = last:3", PLAIN, "no layer is frozen below");
    expect_cut("trainable = head\nbn = train", PLAIN, "bn = train");
    expect_cut("trainable = none", PLAIN, "nothing of the expert trains");
}

/* Without features nothing tells where the head begins. */
static void test_no_features(void **state)
{
    (void)state;
    bench t;
    clv_error fault = CLV_ERROR_INIT;
    assert_int_equal(bench_open(&t, "trainable = head", FEATURELESS, &fault), CLV_E_CONFIG);
    assert_non_null(strstr(fault.message, "this expert has no head"));
    bench_close(&t);
    OK(bench_open(&t, "trainable = features.1", FEATURELESS, error));
    bench_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),       cmocka_unit_test(test_stages),
        cmocka_unit_test(test_words),       cmocka_unit_test(test_cut),
        cmocka_unit_test(test_no_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
