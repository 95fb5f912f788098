/* What the operations' cases cannot hold: shapes that are refused, numbers that are not finite, and
 * labels that are no class. Exit 77: no device. */
#include "graph/plan.h"
#include "unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

/* ---- Refusals
 * -------------------------------------------------------------------------------------- */

/* Adding `op` to inputs of these shapes fails, and the sentence has node, op and `part`. */
static void refuse(const char *op, const clv_shape *shapes, uint32_t count, const clv_attr *attrs,
                   uint32_t attr_count, const char *part)
{
    clv_graph *graph = NULL;
    clv_tensor inputs[2], output = CLV_NO_TENSOR;
    clv_error error = CLV_ERROR_INIT;
    char named[64];
    snprintf(named, sizeof named, "node (%s): ", op);
    assert_int_equal(clvi_graph_create("test", &graph, NULL), CLV_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(
            clvi_graph_input_tensor(graph, i == 0 ? "a" : "b", &shapes[i], &inputs[i], NULL),
            CLV_OK);
    assert_int_equal(clvi_graph_add_op(graph, op, "node", inputs, count, attrs, attr_count,
                                       sizeof(clv_attr), &output, 1, &error),
                     CLV_E_SHAPE);
    if (strstr(error.message, named) == NULL || strstr(error.message, part) == NULL)
        fail_msg("expected \"%s…%s\" in \"%s\"", named, part, error.message);
    assert_int_equal(output, CLV_NO_TENSOR);
    clvi_graph_destroy(graph);
}

static clv_attr attr_int(const char *name, int64_t value)
{
    return (clv_attr){
        .struct_size = sizeof(clv_attr), .type = CLV_ATTR_INT, .name = name, .i = value};
}

static void test_refusals(void **state)
{
    (void)state;
    const clv_shape row = CLVI_SHAPE(CLV_F32, CLV_BATCH, 5);
    const clv_shape longer = CLVI_SHAPE(CLV_F32, CLV_BATCH, 6);
    const clv_shape picture = CLVI_SHAPE(CLV_F32, CLV_BATCH, 4, 5, 3);
    const clv_shape labels = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    const clv_shape single = CLVI_SHAPE(CLV_F32, CLV_BATCH);
    const clv_shape integers = CLVI_SHAPE(CLV_I32, CLV_BATCH, 5);
    static const char *const pools[] = {"max_pool2d", "avg_pool2d"};
    static const char *const unary[] = {"relu", "silu", "softmax", "dropout"};
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++)
        refuse(unary[i], &integers, 1, NULL, 0, "f32");
    refuse("softmax", &single, 1, NULL, 0, "[N, …, C]");
    refuse("add", (clv_shape[]){row, longer}, 2, NULL, 0, "[N, 5] and [N, 6]");
    refuse("add", (clv_shape[]){row, picture}, 2, NULL, 0, "equal");
    refuse("cross_entropy", (clv_shape[]){row, row}, 2, NULL, 0, "i32");
    refuse("cross_entropy", (clv_shape[]){picture, labels}, 2, NULL, 0, "[N, C]");
    refuse("global_avg_pool", &row, 1, NULL, 0, "[N, H, W, C]");
    for (size_t i = 0; i < 2; i++) {
        const clv_attr large[] = {attr_int("kernel", 5)};
        const clv_attr pads[] = {attr_int("kernel", 3), attr_int("pad", 2)};
        refuse(pools[i], &row, 1, NULL, 0, "[N, H, W, C]");
        refuse(pools[i], &picture, 1, large, 1, "does not fit");
        refuse(pools[i], &picture, 1, pads, 2, "more than half");
    }
    const clv_shape filters = CLVI_SHAPE(CLV_F32, 3, 3, 1, 4);
    const clv_attr two = attr_int("groups", 2), three = attr_int("groups", 3);
    refuse("conv2d", (clv_shape[]){picture, filters}, 2, &two, 1, "3 channels do not fall into 2");
    refuse("conv2d", (clv_shape[]){picture, filters}, 2, &three, 1, "4 filters do not fall into 3");
    refuse("conv2d", (clv_shape[]){picture, filters}, 2, NULL, 0, "it has 3");
    const int64_t wrong[] = {7, 9}, nearly[] = {4, 5, 2}, six[] = {4, 5, 3, 1, 1, 1};
    clv_attr shape = {.struct_size = sizeof shape, .type = CLV_ATTR_INTS, .name = "shape"};
    shape.ints = wrong, shape.int_count = 2;
    refuse("reshape", &picture, 1, &shape, 1, "multiply to the 60 elements");
    shape.ints = nearly, shape.int_count = 3;
    refuse("reshape", &picture, 1, &shape, 1, "multiply to the 60 elements");
    shape.ints = six, shape.int_count = 6;
    refuse("reshape", &picture, 1, &shape, 1, "at most 5");
}

/* ---- Values
 * ---------------------------------------------------------------------------------------- */

/* Runs `op` on x [n, dims…] (and labels [n] where not NULL); gives y and, with grad y = 1, grad x.
 */
static void evaluate(const char *op, const clv_shape *shape, int64_t n, const float *x,
                     const int32_t *labels, float *y, float *gx)
{
    clv_graph *graph = NULL;
    clvi_store *store = NULL;
    clvi_plan *plan = NULL;
    clvi_buf *bufs[3] = {NULL, NULL, NULL};
    const clv_shape label_shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    clv_shape out = {.struct_size = sizeof out};
    clv_tensor inputs[2], output;
    uint32_t base;
    OK(clvi_graph_create("test", &graph, error));
    OK(clvi_graph_input_tensor(graph, "x", shape, &inputs[0], error));
    if (labels != NULL)
        OK(clvi_graph_input_tensor(graph, "labels", &label_shape, &inputs[1], error));
    OK(clvi_graph_add_op(graph, op, "node", inputs, labels != NULL ? 2 : 1, NULL, 0,
                         sizeof(clv_attr), &output, 1, error));
    OK(clvi_graph_shape(graph, output, &out, error));
    OK(clvi_store_create(device, &store, error));
    OK(clvi_store_add(store, graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(store, true, error));
    const clvi_plan_desc desc = {.graph = graph,
                                 .store = store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = n,
                                 .outputs = &output,
                                 .output_count = 1,
                                 .outputs_with_grad = 1,
                                 .inputs_with_grad = 1};
    OK(clvi_plan_create(&desc, &plan, error));
    const size_t in_bytes = (size_t)(clvi_shape_elements(shape) * n) * 4;
    const size_t out_bytes = (size_t)(clvi_shape_elements(&out) * n) * 4;
    for (int i = 0; i < 3; i++)
        OK(clvi_buf_create(device, in_bytes, "test", &bufs[i], error));
    OK(clvi_upload(device, bufs[0], 0, x, in_bytes, error));
    clvi_plan_bind(plan, 0, (clvi_view){bufs[0], 0}, (clvi_view){bufs[1], 0});
    if (labels != NULL) {
        OK(clvi_upload(device, bufs[2], 0, labels, (size_t)n * 4, error));
        clvi_plan_bind(plan, 1, (clvi_view){bufs[2], 0}, (clvi_view){NULL, 0});
    }
    OK(clvi_plan_forward(plan, n, NULL, error));
    const clvi_view to = clvi_plan_output(plan, 0, n), grad = clvi_plan_grad(plan, 0, n);
    OK(clvi_download(device, to.buf, to.offset * 4, y, out_bytes, error));
    OK(clvi_fill(device, grad.buf, grad.offset * 4, out_bytes, 0x3F800000u, error));
    OK(clvi_plan_backward(plan, error));
    OK(clvi_download(device, bufs[1], 0, gx, in_bytes, error));
    clvi_plan_destroy(plan);
    clvi_store_destroy(store);
    clvi_graph_destroy(graph);
    for (int i = 0; i < 3; i++)
        clvi_buf_destroy(bufs[i]);
}

/* A NaN is never turned into a number: training must see that something went wrong. */
static void test_nan_stays(void **state)
{
    (void)state;
    const clv_shape row = CLVI_SHAPE(CLV_F32, CLV_BATCH, 19);
    static const char *const ops[] = {"relu", "silu", "softmax"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        float x[38], y[38], gx[38];
        for (int k = 0; k < 38; k++)
            x[k] = (float)k * 0.1f - 1.5f;
        x[17] = NAN; /* in the first of two rows */
        evaluate(ops[i], &row, 2, x, NULL, y, gx);
        assert_true(isnan(y[17]));
        for (int k = 19; k < 38; k++)
            assert_true(isfinite(y[k]) && isfinite(gx[k]));
    }
    const clv_shape picture = CLVI_SHAPE(CLV_F32, CLV_BATCH, 2, 4, 1);
    for (int k = 0; k < 8; k++) {
        float x[8] = {3, 1, 4, 1, 5, 9, 2, 6}, y[2], gx[8];
        x[k] = NAN;
        evaluate("max_pool2d", &picture, 1, x, NULL, y, gx);
        assert_true(isnan(y[k % 4 / 2]));
        assert_true(gx[k] == 1);
        assert_true(isfinite(y[1 - k % 4 / 2]) != 0);
    }
}

static void test_wrong_labels(void **state)
{
    (void)state;
    const clv_shape logits = CLVI_SHAPE(CLV_F32, CLV_BATCH, 5);
    const int32_t labels[4] = {4, 5, -1, INT32_MAX};
    float x[20], y[4], gx[20];
    for (int k = 0; k < 20; k++)
        x[k] = (float)(k % 7);
    evaluate("cross_entropy", &logits, 4, x, labels, y, gx);
    for (int n = 0; n < 4; n++)
        for (int c = 0; c < 5; c++) {
            assert_true(isfinite(y[n]) == (n == 0));
            assert_true(isfinite(gx[n * 5 + c]) == (n == 0));
        }
}

/* test_edges [fast]: with kernels built as fast_math = yes does. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nan_stays),
        cmocka_unit_test(test_wrong_labels),
    };
    const bool fast = argc == 2 && strcmp(argv[1], "fast") == 0;
    int status = 0;
    device =
        test_device_open_with(&(clvi_device_options){.select = "auto", .fast_math = fast}, &status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("edges", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
