/* core/train: which epoch is best, and when training stops. */
#include "train/early_stop.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_minimise(void **state)
{
    (void)state;
    const clvi_early_stop_rule rule = {.patience = 2};
    clvi_early_stop_state now = {0};
    assert_false(clvi_early_stop_done(&rule, &now));
    assert_true(clvi_early_stop_update(&rule, &now, 1, 5.0));
    assert_true(clvi_early_stop_update(&rule, &now, 2, 4.0));
    assert_false(clvi_early_stop_update(&rule, &now, 3, 4.0)); /* equal is not better */
    assert_false(clvi_early_stop_done(&rule, &now));
    assert_true(clvi_early_stop_update(&rule, &now, 4, 3.0));
    assert_int_equal(now.waited, 0);
    assert_false(clvi_early_stop_update(&rule, &now, 5, 3.5));
    assert_false(clvi_early_stop_done(&rule, &now));
    assert_false(clvi_early_stop_update(&rule, &now, 6, 3.1));
    assert_true(clvi_early_stop_done(&rule, &now));
    assert_int_equal(now.best_epoch, 4);
    assert_true(now.best == 3.0);
}

static void test_maximise_by_a_margin(void **state)
{
    (void)state;
    const clvi_early_stop_rule rule = {.maximise = true, .patience = 3, .min_delta = 0.25};
    clvi_early_stop_state now = {0};
    assert_true(clvi_early_stop_update(&rule, &now, 1, -1.0));
    assert_false(clvi_early_stop_update(&rule, &now, 2, -0.75)); /* by exactly the margin */
    assert_true(clvi_early_stop_update(&rule, &now, 3, -0.5));
    assert_false(clvi_early_stop_update(&rule, &now, 4, -2.0));
    assert_int_equal(now.best_epoch, 3);
}

static void test_never_stops_without_patience(void **state)
{
    (void)state;
    const clvi_early_stop_rule rule = {.patience = 0};
    clvi_early_stop_state now = {0};
    for (int epoch = 1; epoch <= 1000; epoch++)
        assert_true(clvi_early_stop_update(&rule, &now, epoch, 0.0) == (epoch == 1));
    assert_int_equal(now.waited, 999);
    assert_false(clvi_early_stop_done(&rule, &now));
}

static void test_figures_that_are_not_finite(void **state)
{
    (void)state;
    const clvi_early_stop_rule rule = {.maximise = true, .patience = 2};
    clvi_early_stop_state now = {0};
    assert_false(clvi_early_stop_update(&rule, &now, 1, NAN));
    assert_true(clvi_early_stop_update(&rule, &now, 2, 0.5));
    assert_false(clvi_early_stop_update(&rule, &now, 3, INFINITY));
    assert_false(clvi_early_stop_update(&rule, &now, 4, NAN));
    assert_true(clvi_early_stop_done(&rule, &now));
    assert_int_equal(now.best_epoch, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimise),
        cmocka_unit_test(test_maximise_by_a_margin),
        cmocka_unit_test(test_never_stops_without_patience),
        cmocka_unit_test(test_figures_that_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
