/* core/weights: tensors of a file into the variables of a network. Files are written here, with the
 * order of axes that PyTorch has. */
#include "base/process.h"
#include "base/text.h"
#include "plugin/plugin_host.h"
#include "weights/reorder.h"
#include "weights/safetensors.h"
#include "weights/transfer.h"

#include <conclave/ops.h>

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLASSES = 3, MOST = 8 * 4 * 4 * 8 };

static char path[] = "/tmp/conclave-transfer-XXXXXX";
static clv_graph *graph;
static clvi_text said; /* log lines */

static void note(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)level;
    clvi_text_printf(&said, "%s\n", line);
}

/* conv [3,3,2,4] with normalisation, depthwise [3,3,4], a flattened 2×3 image of 4 channels, dense
 * [24,5], and the head [5,3]. */
static void build(void)
{
    clv_error error = CLV_ERROR_INIT;
    const clv_conv2d_desc conv = {.filters = 4, .kernel = 3},
                          depth = {.kernel = 3, .no_bias = true};
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, &error);
    clv_tensor x = clv_image(&b, 4, 6, 1, NULL, NULL);
    const clv_tensor both[] = {x, x};
    x = clv_op(&b, "concat", "both", both, 2, NULL, 0);
    x = clv_conv2d_bn(&b, "conv", "norm", x, &conv);
    x = clv_max_pool2d(&b, "pool", x, 2, 2, 0);
    x = clv_depthwise_conv2d(&b, "depth", x, &depth);
    x = clv_dropout(&b, "drop", clv_flatten(&b, "flat", x), 0.5);
    x = clv_dense(&b, "hidden", x, 5, "relu");
    clv_output(&b, "features", x);
    clv_output(&b, "logits", clv_dense(&b, "classifier", x, CLASSES, NULL));
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", error.message);
}

static int set_up(void **state)
{
    (void)state;
    const int made = mkstemp(path);
    clvi_set_log_sink(note, NULL);
    if (made < 0 || clvi_graph_create("expert.a", &graph, NULL) != CLV_OK)
        return -1;
    close(made);
    build();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clvi_graph_destroy(graph);
    clvi_set_log_sink(NULL, NULL);
    clvi_text_fini(&said);
    return unlink(path);
}

/* ---- Files ---- */

typedef struct item {
    const char *name;
    int rank;
    int64_t dims[4];
} item;

static const item whole[] = {
    {"conv.weight", 4, {4, 2, 3, 3}},
    {"norm.weight", 1, {4}},
    {"norm.bias", 1, {4}},
    {"norm.running_mean", 1, {4}},
    {"norm.running_var", 1, {4}},
    {"norm.num_batches_tracked", 0, {0}},
    {"depth.weight", 4, {4, 1, 3, 3}},
    {"hidden.weight", 2, {5, 24}},
    {"hidden.bias", 1, {5}},
    {"classifier.weight", 2, {CLASSES, 5}},
    {"classifier.bias", 1, {CLASSES}},
};
enum { WHOLE = sizeof whole / sizeof *whole };

/* Element k of tensor t is 1000·t + k. */
static void write_items(const item *items, size_t count, const char *prefix, const char *format)
{
    float values[MOST];
    char name[128];
    clvi_tensor_writer *w;
    assert_int_equal(clvi_tensor_writer_create(path, &w, NULL), CLV_OK);
    if (format)
        assert_int_equal(clvi_tensor_writer_metadata(w, "format", format, NULL), CLV_OK);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(name, sizeof name, "%s%s", prefix, items[i].name);
        assert_int_equal(
            clvi_tensor_writer_declare(w, name, CLVI_FILE_F32, items[i].rank, items[i].dims, NULL),
            CLV_OK);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t elements = 1;
        for (int k = 0; k < items[i].rank; k++)
            elements *= items[i].dims[k];
        assert_true(elements <= MOST);
        for (int64_t k = 0; k < elements; k++)
            values[k] = (float)(1000 * i + (size_t)k);
        assert_int_equal(clvi_tensor_writer_append(w, values, elements, NULL), CLV_OK);
    }
    assert_int_equal(clvi_tensor_writer_commit(w, NULL), CLV_OK);
    clvi_tensor_writer_destroy(w);
}

typedef struct opened {
    clvi_weights *file;
    clvi_transfer *transfer;
    clv_error error;
} opened;

static clv_status try_plan(opened *o, bool strict)
{
    *o = (opened){.error = CLV_ERROR_INIT};
    if (said.data)
        said.data[said.length = 0] = '\0';
    assert_int_equal(clvi_weights_open(path, &o->file, NULL), CLV_OK);
    const clvi_transfer_desc desc = {
        .file = o->file, .graph = graph, .prefix = "expert.a.", .strict = strict};
    return clvi_transfer_plan(&desc, &o->transfer, &o->error);
}

static void close_all(opened *o)
{
    clvi_transfer_destroy(o->transfer);
    clvi_weights_close(o->file);
}

static size_t find_variable(const char *name)
{
    for (size_t v = 0; v < graph->variable_count; v++)
        if (strcmp(graph->variables[v].name, name) == 0)
            return v;
    fail_msg("no variable %s", name);
    return 0;
}

static void plan_or_fail(opened *o, bool strict)
{
    if (try_plan(o, strict) != CLV_OK)
        fail_msg("%s", o->error.message);
}

static float *read_variable(const opened *o, const char *name, float *out)
{
    const size_t v = find_variable(name);
    assert_true(clvi_transfer_tensor(o->transfer, v) >= 0);
    assert_int_equal(clvi_transfer_read(o->transfer, v, out, NULL), CLV_OK);
    return out;
}

static bool has(const opened *o, const char *name)
{
    return clvi_transfer_tensor(o->transfer, find_variable(name)) >= 0;
}

/* ---- Orders of axes ---- */

static void expect_element(float got, int tensor, int k)
{
    assert_int_equal((int)got, 1000 * tensor + k);
}

/* `hidden` is the tensor's number in the file: its inputs are channel, row, column there. */
static void expect_orders(const opened *o, int hidden)
{
    float v[MOST];
    read_variable(o, "conv.weight", v); /* [kh, kw, in, out] of [out, in, kh, kw] */
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            for (int in = 0; in < 2; in++)
                for (int out = 0; out < 4; out++)
                    expect_element(v[((y * 3 + x) * 2 + in) * 4 + out], 0,
                                   ((out * 2 + in) * 3 + y) * 3 + x);
    read_variable(o, "depth.weight", v);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            for (int c = 0; c < 4; c++)
                expect_element(v[(y * 3 + x) * 4 + c], 6, (c * 3 + y) * 3 + x);
    read_variable(o, "hidden.weight", v);
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 3; x++)
            for (int c = 0; c < 4; c++)
                for (int out = 0; out < 5; out++)
                    expect_element(v[((y * 3 + x) * 4 + c) * 5 + out], hidden,
                                   out * 24 + (c * 2 + y) * 3 + x);
    read_variable(o, "classifier.weight", v);
    for (int in = 0; in < 5; in++)
        for (int out = 0; out < CLASSES; out++)
            expect_element(v[in * CLASSES + out], 9, out * 5 + in);
    expect_element(read_variable(o, "norm.running_var", v)[3], 4, 3);
}

static void test_torch(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", "module.", "_orig_mod.model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        opened o;
        write_items(whole, WHOLE, prefixes[i], NULL);
        plan_or_fail(&o, true);
        expect_orders(&o, 7);
        close_all(&o);
    }
}

/* A convolution over the whole image instead of flattening and dense. */
static void test_dense_as_convolution(void **state)
{
    (void)state;
    item items[WHOLE];
    opened o;
    memcpy(items, whole, sizeof whole);
    items[7] = (item){"hidden.weight", 4, {5, 4, 2, 3}};
    items[9] = (item){"classifier.weight", 4, {CLASSES, 5, 1, 1}};
    write_items(items, WHOLE, "", NULL);
    plan_or_fail(&o, true);
    expect_orders(&o, 7);
    close_all(&o);
}

static void test_own(void **state)
{
    (void)state;
    static const item own[] = {{"conv.weight", 4, {3, 3, 2, 4}},
                               {"norm.weight", 1, {4}},
                               {"norm.bias", 1, {4}},
                               {"norm.running_mean", 1, {4}},
                               {"norm.running_var", 1, {4}},
                               {"depth.weight", 3, {3, 3, 4}},
                               {"hidden.weight", 2, {24, 5}},
                               {"hidden.bias", 1, {5}},
                               {"classifier.bias", 1, {CLASSES}},
                               {"classifier.weight", 2, {5, CLASSES}}};
    float v[MOST];
    opened o;
    write_items(own, sizeof own / sizeof *own, "expert.a.", "conclave 1");
    plan_or_fail(&o, true);
    read_variable(&o, "conv.weight", v);
    for (int k = 0; k < 72; k++)
        expect_element(v[k], 0, k);
    expect_element(read_variable(&o, "hidden.weight", v)[119], 6, 119);
    close_all(&o);
    /* The only expert is meant whatever it is called; of several, the one of the name. */
    write_items(own, sizeof own / sizeof *own, "expert.b.", "conclave 1");
    plan_or_fail(&o, true);
    expect_element(read_variable(&o, "hidden.weight", v)[119], 6, 119);
    close_all(&o);
    const item two[] = {{"b.norm.weight", 1, {4}}, {"c.norm.weight", 1, {4}}};
    write_items(two, sizeof two / sizeof *two, "expert.", "conclave 1");
    assert_int_equal(try_plan(&o, true), CLV_E_DATA);
    assert_non_null(strstr(o.error.message, "this checkpoint has no expert.a"));
    close_all(&o);
}

/* ---- A bias before a normalisation ---- */

/* Element k of the running mean is 3000 + k, of the bias 11000 + k. */
static void test_bias_before_normalisation(void **state)
{
    (void)state;
    item items[WHOLE + 1];
    float v[MOST];
    opened o;
    memcpy(items, whole, sizeof whole);
    items[WHOLE] = (item){"conv.bias", 1, {4}};
    write_items(items, WHOLE + 1, "", NULL);
    plan_or_fail(&o, true);
    read_variable(&o, "norm.running_mean", v);
    for (int k = 0; k < 4; k++)
        assert_int_equal((int)v[k], 3000 - 11000);
    expect_element(read_variable(&o, "norm.running_var", v)[3], 4, 3);
    expect_element(read_variable(&o, "norm.bias", v)[3], 2, 3);
    close_all(&o);
    items[WHOLE].dims[0] = 3; /* not this convolution's */
    write_items(items, WHOLE + 1, "", NULL);
    assert_int_equal(try_plan(&o, true), CLV_E_DATA);
    assert_non_null(strstr(o.error.message, "1 tensor is unexpected (conv.bias)"));
    close_all(&o);
    items[WHOLE].name = "depth.bias"; /* nothing takes it away */
    items[WHOLE].dims[0] = 4;
    write_items(items, WHOLE + 1, "", NULL);
    assert_int_equal(try_plan(&o, true), CLV_E_DATA);
    assert_non_null(strstr(o.error.message, "1 tensor is unexpected (depth.bias)"));
    close_all(&o);
}

/* ---- What does not fit ---- */

static void test_other_classes(void **state)
{
    (void)state;
    item items[WHOLE];
    opened o;
    memcpy(items, whole, sizeof whole);
    items[9].dims[0] = items[10].dims[0] = 7;
    write_items(items, WHOLE, "", NULL);
    plan_or_fail(&o, true);
    assert_false(has(&o, "classifier.weight"));
    assert_false(has(&o, "classifier.bias"));
    assert_true(has(&o, "hidden.weight"));
    assert_non_null(strstr(clvi_text_get(&said), "tells 7 classes apart"));
    assert_non_null(strstr(clvi_text_get(&said), "and 3 here"));
    close_all(&o);
    write_items(whole, WHOLE - 2, "", NULL); /* no head at all */
    plan_or_fail(&o, true);
    assert_false(has(&o, "classifier.weight"));
    assert_non_null(strstr(clvi_text_get(&said), "has no last layer"));
    close_all(&o);
}

/* The fault, the sentence of strict reading, and that the other way goes on without the variable.
 */
static void expect_fault(const item *items, size_t count, const char *part, const char *lost)
{
    opened o;
    write_items(items, count, "", NULL);
    assert_int_equal(try_plan(&o, true), CLV_E_DATA);
    if (!strstr(o.error.message, part) || !strstr(o.error.message, path) ||
        !strstr(o.error.message, "expert.a"))
        fail_msg("'%s' is not in '%s'", part, o.error.message);
    close_all(&o);
    plan_or_fail(&o, false);
    assert_non_null(strstr(clvi_text_get(&said), part));
    if (lost)
        assert_false(has(&o, lost));
    assert_true(has(&o, "depth.weight"));
    close_all(&o);
}

static void test_faults(void **state)
{
    (void)state;
    item items[WHOLE + 1];
    memcpy(items, whole, sizeof whole);
    items[WHOLE] = (item){"extra.weight", 1, {2}};
    expect_fault(items, WHOLE + 1, "1 tensor is unexpected (extra.weight)", NULL);
    items[0].dims[1] = 3;
    expect_fault(items, WHOLE,
                 "1 tensor is of another shape (conv.weight is [4, 3, 3, 3] and should be "
                 "[4, 2, 3, 3])",
                 "conv.weight");
    memcpy(items, whole, sizeof whole);
    items[7].dims[0] = 24, items[7].dims[1] = 5; /* not turned */
    expect_fault(items, WHOLE, "hidden.weight is [24, 5] and should be [5, 24]", "hidden.weight");
    memcpy(items, whole, sizeof whole);
    items[0].name = "first.weight";
    expect_fault(items, WHOLE,
                 "1 tensor is missing (conv.weight); 1 tensor is unexpected "
                 "(first.weight)",
                 "conv.weight");
    memcpy(items, whole, sizeof whole);
    items[9].dims[1] = 6; /* same classes, other features: no new head, but a fault */
    expect_fault(items, WHOLE, "classifier.weight is [3, 6]", "classifier.weight");
}

static void test_nothing_fits(void **state)
{
    (void)state;
    static const item other[] = {
        {"a", 1, {2}}, {"b", 1, {2}}, {"c", 1, {2}}, {"d", 1, {2}}, {"e", 1, {2}}};
    opened o;
    write_items(other, 5, "", NULL);
    for (int strict = 0; strict < 2; strict++) {
        assert_int_equal(try_plan(&o, strict), CLV_E_DATA);
        assert_non_null(strstr(o.error.message, "fits no layer of expert.a"));
        assert_non_null(strstr(o.error.message, "5 tensors are unexpected (a, b, c, d, …)"));
        close_all(&o);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    float v[MOST];
    opened o;
    clvi_tensor_writer *w;
    const float values[] = {1, 2, 1e30f * 1e30f, 4};
    assert_int_equal(clvi_tensor_writer_create(path, &w, NULL), CLV_OK);
    assert_int_equal(
        clvi_tensor_writer_declare(w, "norm.bias", CLVI_FILE_F32, 1, (int64_t[]){4}, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(w, values, 4, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_commit(w, NULL), CLV_OK);
    clvi_tensor_writer_destroy(w);
    plan_or_fail(&o, false);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_transfer_read(o.transfer, find_variable("norm.bias"), v, &error),
                     CLV_E_DATA);
    assert_non_null(strstr(error.message, "'norm.bias' has a number that is not finite"));
    close_all(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch),      cmocka_unit_test(test_dense_as_convolution),
        cmocka_unit_test(test_own),        cmocka_unit_test(test_other_classes),
        cmocka_unit_test(test_faults),     cmocka_unit_test(test_nothing_fits),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_bias_before_normalisation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
