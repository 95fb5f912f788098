/* core/graph/maps.c: which tensors of networks of every shape are feature maps, and which one is
 * the last. */
#include "graph/maps.h"
#include "plugin/plugin_host.h"

#include <conclave/ops.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CLASSES = 3 };

typedef clv_tensor (*describe)(clv_builder *b, clv_tensor image);

static const clv_conv2d_desc three = {.filters = 4, .kernel = 3, .activation = "relu"};
static const clv_conv2d_desc linear = {.filters = 4, .kernel = 3};

static clv_tensor head(clv_builder *b, clv_tensor x)
{
    return clv_dense(b, "head", clv_global_avg_pool(b, "pool", x), CLASSES, NULL);
}

/* The name of the last map of a network for 8×8 pictures ("": none), and its sizes in turn. */
static void expect_last(describe body, const char *name, const int64_t *sides, size_t count)
{
    clv_error error = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    clvi_maps maps = {0};
    assert_int_equal(clvi_graph_create("test", &graph, &error), CLV_OK);
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, &error);
    const clv_tensor logits = body(&b, clv_image(&b, 8, 8, 1, NULL, NULL));
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", error.message);
    assert_int_equal(clvi_maps_find(graph, logits, &maps, &error), CLV_OK);
    assert_string_equal(maps.last == CLV_NO_TENSOR ? "" : graph->tensors[maps.last].name, name);
    size_t found = 0;
    for (size_t i = 0; i < maps.count; i++) {
        const clvi_map_stage *s = &maps.stages[i];
        if (s->last == CLV_NO_TENSOR)
            continue;
        assert_true(found < count);
        assert_int_equal(s->height, sides[found]);
        assert_int_equal(graph->tensors[s->last].shape.dims[2], sides[found]);
        found++;
    }
    assert_int_equal(found, count);
    clvi_maps_fini(&maps);
    clvi_graph_destroy(graph);
}

/* What is added to a convolution's map, and what becomes of the sum. */
static clv_tensor residual(clv_builder *b, clv_tensor x)
{
    x = clv_conv2d(b, "first", x, &three);
    const clv_tensor y = clv_conv2d(b, "second", x, &linear);
    x = clv_relu(b, "sum_relu", clv_add(b, "sum", x, y));
    return head(b, clv_max_pool2d(b, "pooled", x, 2, 2, 0));
}

/* A short cut with a convolution of its own, the last one of the graph. */
static clv_tensor shortcut(clv_builder *b, clv_tensor x)
{
    const clv_tensor y = clv_conv2d(b, "first", x, &three);
    const clv_tensor cut = clv_conv2d(b, "cut", x, &linear);
    return head(b, clv_relu(b, "sum_relu", clv_add(b, "sum", y, cut)));
}

/* Scaled by what its means make of two dense layers, and dropped now and then. */
static clv_tensor squeezed(clv_builder *b, clv_tensor x)
{
    x = clv_conv2d_bn(b, "conv", "norm", x, &three);
    clv_tensor factor = clv_dense(b, "fc1", clv_global_avg_pool(b, "mean", x), 2, "silu");
    factor = clv_sigmoid(b, "gate", clv_dense(b, "fc2", factor, 4, NULL));
    return head(b, clv_dropout(b, "drop", clv_multiply(b, "scale", x, factor), 0.5));
}

/* Classes by a convolution: their maps are the last ones. */
static clv_tensor convolutional(clv_builder *b, clv_tensor x)
{
    const clv_conv2d_desc classes = {.filters = CLASSES, .kernel = 1};
    x = clv_max_pool2d(b, "half", clv_conv2d(b, "conv", x, &three), 2, 2, 0);
    return clv_global_avg_pool(b, "pool", clv_conv2d(b, "classes", x, &classes));
}

/* Two branches side by side. */
static clv_tensor branches(clv_builder *b, clv_tensor x)
{
    const clv_tensor both[] = {clv_conv2d(b, "left", x, &three), clv_conv2d(b, "right", x, &three)};
    return head(b, clv_concat(b, "both", both, 2));
}

/* Its last convolution has one place. */
static clv_tensor pointed(clv_builder *b, clv_tensor x)
{
    const clv_conv2d_desc whole = {.filters = 4, .kernel = 4, .pad = -1};
    x = clv_max_pool2d(b, "half", clv_conv2d(b, "conv", x, &three), 2, 2, 0);
    return clv_dense(b, "head", clv_flatten(b, "flat", clv_conv2d(b, "point", x, &whole)), CLASSES,
                     NULL);
}

/* Nothing varies but a dense layer: the map is what pooling leaves. And nothing at all. */
static clv_tensor pooled(clv_builder *b, clv_tensor x)
{
    x = clv_avg_pool2d(b, "half", x, 2, 2, 0);
    return clv_dense(b, "head", clv_flatten(b, "flat", x), CLASSES, NULL);
}

static clv_tensor flat(clv_builder *b, clv_tensor x)
{
    return clv_dense(b, "head", clv_flatten(b, "flat", x), CLASSES, NULL);
}

/* A branch that the answer does not read. */
static clv_tensor unread(clv_builder *b, clv_tensor x)
{
    const clv_tensor used = clv_conv2d(b, "used", x, &three);
    clv_output(b, "features", head(b, clv_conv2d(b, "unused", used, &three)));
    clv_scope(b, "own");
    const clv_tensor logits = head(b, used);
    clv_scope_end(b);
    return logits;
}

static void test_last(void **state)
{
    (void)state;
    static const int64_t sides[] = {8, 4};
    expect_last(residual, "sum_relu", sides, 2);
    expect_last(shortcut, "sum_relu", sides, 1);
    expect_last(squeezed, "drop", sides, 1);
    expect_last(convolutional, "classes", sides, 2);
    expect_last(branches, "both", sides, 1);
    expect_last(pointed, "conv", sides, 2);
    expect_last(pooled, "half", sides + 1, 1);
    expect_last(flat, "", sides, 0);
    expect_last(unread, "used", sides, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_last)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
