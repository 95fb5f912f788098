/* core/runtime/gemm.c: which kernels a product takes. Exit 77: no device. */
#include "runtime/gemm.h"
#include "test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 128 };

static clvi_device *device;

/* How many kernels are new to a product of m rows for each m in [first, last]. They are launched
 * over memory of nobody's. */
static uint64_t new_kernels(clvi_gemm gemm, int64_t first, int64_t last)
{
    clvi_device_counters before, after;
    bool all = false;
    clvi_buf *memory = NULL;
    OK(clvi_buf_create(device, 4, "memory", &memory, error));
    gemm.a = gemm.b = gemm.c = gemm.workspace = (clvi_view){memory, 0};
    assert_true(clvi_rehearsal_begin(device));
    for (gemm.m = first; gemm.m <= last; gemm.m++)
        OK(clvi_gemm_run(device, &gemm, error));
    clvi_rehearsal_end(device);
    clvi_device_get_counters(device, &before);
    OK(clvi_rehearsal_perform(device, &all, error));
    assert_true(all);
    clvi_device_get_counters(device, &after);
    clvi_buf_destroy(memory);
    return after.launches - before.launches;
}

/* What a network warms up with takes all the kernels that any batch takes (gemm.h). */
static void test_warm_sizes(void **state)
{
    (void)state;
    static const clvi_gemm products[] = {
        {.n = 384, .k = 640},                      /* cut into parts with 9 to 12 rows only */
        {.transpose_b = true, .n = 64, .k = 1000}, /* with 17 to 84 rows only */
        {.n = 46, .k = 1280},
        {.n = 128, .k = 32768}, /* too large for few groups */
        {.transpose_b = true, .n = 1280, .k = 46},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        int status = 0;
        device = test_device_open(&status); /* a new one: nothing has been launched */
        assert_non_null(device);
        if (!clvi_rehearsal_begin(device)) {
            (void)test_device_close();
            skip();
        }
        clvi_rehearsal_end(device);
        assert_true(new_kernels(products[i], MOST, MOST) > 0);
        new_kernels(products[i], CLVI_GEMM_FEW_TRANSPOSED + 1, CLVI_GEMM_FEW_TRANSPOSED + 1);
        new_kernels(products[i], CLVI_GEMM_FEW + 1, CLVI_GEMM_FEW + 1);
        new_kernels(products[i], 1, 1);
        assert_int_equal(new_kernels(products[i], 1, MOST), 0);
        assert_int_equal(test_device_close(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_warm_sizes)};
    int status = 0;
    if (test_device_open(&status) == NULL)
        return status;
    return test_device_close() != 0 ||
           cmocka_run_group_tests_name("products", tests, NULL, NULL) != 0;
}
