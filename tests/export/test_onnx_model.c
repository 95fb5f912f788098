/* core/export: an ONNX model is put together, written and read again field by field. */
#include "../unit/image_files.h"
#include "../unit/test_device.h"

#include "base/files.h"
#include "export/onnx_model.h"

#include "onnx.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char *folder, path[4096];

static int set_up(void **state)
{
    (void)state;
    folder = folder_make();
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* Segment 7 is a matrix [2, 3]. */
static clv_status read_matrix(const void *user, size_t segment, float *out, clv_error *error)
{
    (void)error;
    assert_ptr_equal(user, folder);
    assert_int_equal(segment, 7);
    for (int i = 0; i < 6; i++)
        out[i] = (float)(10 + i);
    return CLV_OK;
}

static clv_status write_model(const clvi_onnx *x, clv_error *error)
{
    const clvi_onnx_writing how = {.path = path,
                                   .producer = "maker",
                                   .version = "1.2",
                                   .doc = "doc of all",
                                   .read = read_matrix,
                                   .user = folder};
    return clvi_onnx_write(x, &how, error);
}

static Onnx__Model *read_model(void)
{
    char *data;
    size_t bytes;
    OK(clvi_file_read(path, 1 << 20, &data, &bytes, error));
    Onnx__Model *model = onnx__model__unpack(NULL, bytes, (const uint8_t *)data);
    clvi_free(data);
    assert_non_null(model);
    return model;
}

/* relu(x·Wᵀ + 0.5), W [2, 3] turned into [3, 2]; the sum over it, of two values of one name. */
static void put_graph(clvi_onnx *x)
{
    const clv_shape in = CLVI_SHAPE(CLV_F32, CLV_BATCH, 3), out = CLVI_SHAPE(CLV_F32, CLV_BATCH);
    const clv_shape turned = CLVI_SHAPE(CLV_F32, 3, 2);
    const clvi_reorder order = {2, {3, 2}, {1, 3}};
    const float bias[] = {0.5f, -0.25f};
    const int64_t axis = 1;
    clvi_onnx_input(x, "x", &in, "three numbers");
    const char *w = clvi_onnx_variable(x, "layer", 7, &turned, &order);
    const char *b = clvi_onnx_floats(x, "layer", bias, 2, NULL);
    const char *y = clvi_onnx_add(
        x, &(clvi_onnx_node){"Gemm", "layer", ONNX_LIST("x", w, b),
                             ONNX_ATTRS(ONNX_F("alpha", 1), ONNX_I("transA", 0)), NULL});
    y = clvi_onnx_add(x, &(clvi_onnx_node){"Relu", "layer", ONNX_LIST(y), NULL, 0, NULL});
    y = clvi_onnx_add(x, &(clvi_onnx_node){"ReduceMax", "top", ONNX_LIST(y),
                                           ONNX_ATTRS(ONNX_INTS("axes", &axis, 1)), NULL});
    clvi_onnx_output(x, "y", y, &out, NULL);
    clvi_onnx_property(x, "classes", "[\"a\"]");
}

static void expect_values(const Onnx__Tensor *t, const char *name, const float *values,
                          size_t count)
{
    assert_string_equal(t->name, name);
    assert_int_equal(t->data_type, 1);
    assert_int_equal(t->raw_data.len, count * sizeof *values);
    assert_memory_equal(t->raw_data.data, values, count * sizeof *values); /* little-endian hosts */
}

static void expect_node(const Onnx__Node *node, const char *op, const char *output)
{
    assert_string_equal(node->op_type, op);
    assert_int_equal(node->n_output, 1);
    assert_string_equal(node->output[0], output);
}

static void test_graph(void **state)
{
    (void)state;
    const float turned[] = {10, 13, 11, 14, 12, 15}, bias[] = {0.5f, -0.25f};
    clvi_onnx *x;
    OK(clvi_onnx_create(&x, error));
    put_graph(x);
    OK(write_model(x, error));
    clvi_onnx_destroy(x);
    Onnx__Model *m = read_model();
    const Onnx__Graph *g = m->graph;
    assert_int_equal(m->ir_version, CLVI_ONNX_IR);
    assert_string_equal(m->producer_name, "maker");
    assert_string_equal(m->producer_version, "1.2");
    assert_string_equal(m->doc_string, "doc of all");
    assert_int_equal(m->n_opset_import, 1);
    assert_int_equal(m->opset_import[0]->version, CLVI_ONNX_OPSET);
    assert_int_equal(m->n_metadata_props, 1);
    assert_string_equal(m->metadata_props[0]->key, "classes");
    assert_string_equal(m->metadata_props[0]->value, "[\"a\"]");
    assert_int_equal(g->n_input, 1);
    assert_string_equal(g->input[0]->name, "x");
    assert_string_equal(g->input[0]->doc_string, "three numbers");
    const Onnx__TensorShape *shape = g->input[0]->type->tensor_type->shape;
    assert_int_equal(g->input[0]->type->tensor_type->elem_type, 1);
    assert_int_equal(shape->n_dim, 2);
    assert_string_equal(shape->dim[0]->dim_param, "N");
    assert_int_equal(shape->dim[1]->dim_value, 3);
    assert_int_equal(g->n_output, 1);
    assert_string_equal(g->output[0]->name, "y");
    assert_int_equal(g->n_initializer, 2);
    expect_values(g->initializer[0], "layer", turned, 6);
    assert_int_equal(g->initializer[0]->n_dims, 2);
    assert_int_equal(g->initializer[0]->dims[0], 3);
    assert_int_equal(g->initializer[0]->dims[1], 2);
    expect_values(g->initializer[1], "layer.1", bias, 2);
    assert_int_equal(g->n_node, 4);
    expect_node(g->node[0], "Gemm", "layer.2");
    assert_int_equal(g->node[0]->n_input, 3);
    assert_string_equal(g->node[0]->input[0], "x");
    assert_string_equal(g->node[0]->input[1], "layer");
    assert_string_equal(g->node[0]->input[2], "layer.1");
    assert_int_equal(g->node[0]->n_attribute, 2);
    assert_true(g->node[0]->attribute[0]->has_f && g->node[0]->attribute[0]->f == 1);
    assert_int_equal(g->node[0]->attribute[0]->type, 1);
    assert_true(g->node[0]->attribute[1]->has_i && g->node[0]->attribute[1]->i == 0);
    assert_int_equal(g->node[0]->attribute[1]->type, 2);
    expect_node(g->node[1], "Relu", "layer.3");
    assert_string_equal(g->node[1]->input[0], "layer.2");
    expect_node(g->node[2], "ReduceMax", "top");
    assert_int_equal(g->node[2]->attribute[0]->type, 7);
    assert_int_equal(g->node[2]->attribute[0]->n_ints, 1);
    assert_int_equal(g->node[2]->attribute[0]->ints[0], 1);
    expect_node(g->node[3], "Identity", "y");
    onnx__model__free_unpacked(m, NULL);
}

/* ---- What goes wrong ---- */

static void expect_failure(const clvi_onnx *x, clv_status status, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(write_model(x, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in: %s", part, error.message);
    assert_false(clvi_is_file(path));
}

static void test_failures(void **state)
{
    (void)state;
    clvi_onnx *x;
    const clv_shape huge = CLVI_SHAPE(CLV_F32, 30000, 20000);
    const clvi_reorder order = {1, {600000000}, {1}};
    OK(clvi_onnx_create(&x, error));
    assert_false(clvi_onnx_failed(x));
    clvi_onnx_fail(x, CLV_E_USAGE, "the %s", "first");
    clvi_onnx_fail(x, CLV_E_DATA, "the second");
    assert_true(clvi_onnx_failed(x));
    assert_null(clvi_onnx_number(x, "n", 1));
    expect_failure(x, CLV_E_USAGE, "the first");
    clvi_onnx_destroy(x);
    OK(clvi_onnx_create(&x, error));
    const char *const inputs[] = {NULL};
    assert_null(clvi_onnx_add(x, &(clvi_onnx_node){"Relu", "r", inputs, 1, NULL, 0, NULL}));
    expect_failure(x, CLV_E_INTERNAL, "r (Relu) has no input 0");
    clvi_onnx_destroy(x);
    OK(clvi_onnx_create(&x, error));
    assert_non_null(clvi_onnx_variable(x, "huge", 7, &huge, &order));
    expect_failure(x, CLV_E_DATA, "may have 2 GB, and this network would take 2.4 GB");
    clvi_onnx_destroy(x);
}

/* A variable that cannot be read leaves no file. */
static clv_status read_nothing(const void *user, size_t segment, float *out, clv_error *error)
{
    (void)user, (void)segment, (void)out;
    CLV_FAIL(error, CLV_E_IO, "not to be read");
}

static void test_unreadable(void **state)
{
    (void)state;
    clvi_onnx *x;
    clv_error why = CLV_ERROR_INIT;
    const clvi_onnx_writing how = {
        .path = path, .producer = "", .version = "", .doc = "", .read = read_nothing};
    OK(clvi_onnx_create(&x, error));
    put_graph(x);
    assert_int_equal(clvi_onnx_write(x, &how, &why), CLV_E_IO);
    assert_non_null(strstr(why.message, "not to be read"));
    assert_false(clvi_is_file(path));
    clvi_onnx_destroy(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_graph, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
