/* core/report/statistics: cases worked out by hand, and values of statsmodels 0.15.0 and scipy
 * 1.17.1. */
#define _POSIX_C_SOURCE 200809L
#include "report/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Fails on a NaN too. */
static void check_near(double value, double wanted, double tolerance, int line)
{
    if (!(fabs(value - wanted) <= tolerance))
        fail_msg("line %d: %.12g, wanted %.12g", line, value, wanted);
}
#define assert_near(value, wanted, tolerance) check_near((value), (wanted), (tolerance), __LINE__)

/* statsmodels.stats.contingency_tables.mcnemar(exact=True) */
static void test_mcnemar(void **state)
{
    (void)state;
    static const struct {
        int64_t b, c;
        double p;
    } known[] = {{0, 1, 1},
                 {1, 9, 0.021484375},
                 {12, 30, 0.007915897334896727},
                 {10, 10, 1},
                 {400, 500, 0.0009564441369189373},
                 {0, 20, 1.9073486328125e-06}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_near(clvi_mcnemar(known[i].b, known[i].c), known[i].p, 1e-11);
        assert_near(clvi_mcnemar(known[i].c, known[i].b), known[i].p, 1e-11);
    }
    assert_true(clvi_mcnemar(0, 0) == 1);
    /* By hand: 2 of 2 on one side, 2·(1/2)². */
    assert_near(clvi_mcnemar(2, 0), 0.5, 1e-12);
    assert_true(clvi_mcnemar(100000, 200000) >= 0);
}

/* statsmodels.stats.multitest.multipletests(method="holm") */
static void test_holm(void **state)
{
    (void)state;
    double p[] = {0.01, 0.04, NAN, 0.03, 0.005, 0.9};
    static const double wanted[] = {0.04, 0.09, NAN, 0.09, 0.025, 0.9};
    clvi_holm(p, 6);
    for (int i = 0; i < 6; i++)
        if (i == 2)
            assert_true(isnan(p[i]));
        else
            assert_near(p[i], wanted[i], 1e-12);
    double equal[] = {0.02, 0.02, 0.3, 0.0001};
    clvi_holm(equal, 4);
    assert_near(equal[0], 0.06, 1e-12);
    assert_near(equal[1], 0.06, 1e-12);
    assert_near(equal[2], 0.3, 1e-12);
    assert_near(equal[3], 0.0004, 1e-12);
    double one[] = {0.7, 0.8};
    clvi_holm(one, 2);
    assert_true(one[0] == 1 && one[1] == 1);
    clvi_holm(NULL, 0);
}

enum { IMAGES = 400 };

/* One pair of runs: the bootstrap over images alone. 30 images for the first, 14 for the second:
 * scipy.stats.bootstrap(percentile, 200,000 resamples) gives 0.0075 to 0.0725. */
static void test_one_seed(void **state)
{
    (void)state;
    int8_t d[IMAGES] = {0};
    memset(d, 1, 30);
    memset(d + 30, -1, 14);
    const int8_t *const seeds[] = {d};
    clv_error error = CLV_ERROR_INIT;
    clvi_difference got;
    assert_int_equal(clvi_bootstrap(seeds, 1, IMAGES, &got, &error), CLV_OK);
    assert_near(got.mean, 0.04, 1e-12);
    assert_near(got.low, 0.0075, 0.003);
    assert_near(got.high, 0.0725, 0.003);
}

/* Three seeds: 40,000 resamples of seeds and of images by numpy gave 0.016667 to 0.086667 around
 * 0.05, and p = 0.0036. */
static void test_seeds(void **state)
{
    (void)state;
    int8_t d[3][IMAGES] = {{0}};
    const int8_t *const seeds[] = {d[0], d[1], d[2]};
    for (int s = 0; s < 3; s++) {
        memset(d[s] + s * 7, 1, (size_t)(20 + 10 * s));
        memset(d[s] + 200 + s * 5, -1, 10);
    }
    clv_error error = CLV_ERROR_INIT;
    clvi_difference got, again;
    assert_int_equal(clvi_bootstrap(seeds, 3, IMAGES, &got, &error), CLV_OK);
    assert_near(got.mean, 0.05, 1e-12);
    assert_near(got.low, 0.016667, 0.004);
    assert_near(got.high, 0.086667, 0.004);
    assert_near(got.p, 0.0036, 0.003);
    assert_int_equal(clvi_bootstrap(seeds, 3, IMAGES, &again, &error), CLV_OK);
    assert_memory_equal(&got, &again, sizeof got);
}

/* Always the same difference leaves nothing to draw; none is no difference. */
static void test_certain(void **state)
{
    (void)state;
    int8_t d[IMAGES];
    const int8_t *const seeds[] = {d, d, d};
    clv_error error = CLV_ERROR_INIT;
    clvi_difference got;
    memset(d, 1, sizeof d);
    assert_int_equal(clvi_bootstrap(seeds, 3, IMAGES, &got, &error), CLV_OK);
    assert_true(got.mean == 1 && got.low == 1 && got.high == 1 && got.p < 0.001 && got.p > 0);
    memset(d, 0, sizeof d);
    assert_int_equal(clvi_bootstrap(seeds, 3, IMAGES, &got, &error), CLV_OK);
    assert_true(got.mean == 0 && got.low == 0 && got.high == 0 && got.p == 1);
}

static void test_mean(void **state)
{
    (void)state;
    static const double values[] = {1, NAN, 2, 4};
    double mean, deviation;
    clvi_mean_deviation(values, 4, &mean, &deviation);
    assert_near(mean, 7.0 / 3, 1e-12);
    assert_near(deviation, sqrt(7.0 / 3), 1e-12); /* (16 + 1 + 25) / 9 / 2 */
    clvi_mean_deviation(values, 1, &mean, &deviation);
    assert_true(mean == 1 && isnan(deviation));
    clvi_mean_deviation(values, 0, &mean, &deviation);
    assert_true(isnan(mean));
}

#define P(name, is, said)                                                                          \
    {                                                                                              \
        .image = name, .label = is, .predicted = said                                              \
    }
static void test_pairing(void **state)
{
    (void)state;
    clvi_prediction a[] = {P("x", 0, 0), P("y", 1, 0), P("z", 2, 2), P("w", 1, -1)};
    clvi_prediction b[] = {P("w", 1, 1), P("z", 2, 2), P("y", 1, 2), P("x", 0, 3)};
    const clvi_predictions first = {.items = a, .count = 4}, second = {.items = b, .count = 4};
    clv_error error = CLV_ERROR_INIT;
    clvi_pairing p;
    assert_int_equal(clvi_pairing_make(&first, &second, &p, &error), CLV_OK);
    assert_int_equal(p.only_first, 1);  /* x */
    assert_int_equal(p.only_second, 1); /* w */
    static const int8_t wanted[] = {-1, 1, 0, 0};
    assert_memory_equal(p.differences, wanted, 4); /* w x y z */
    clvi_pairing_fini(&p);

    b[3].label = 1;
    assert_int_equal(clvi_pairing_make(&first, &second, &p, &error), CLV_E_DATA);
    assert_non_null(strstr(error.message, "x is of class 0"));
    b[3] = (clvi_prediction)P("other", 0, 0);
    error = (clv_error)CLV_ERROR_INIT;
    assert_int_equal(clvi_pairing_make(&first, &second, &p, &error), CLV_E_DATA);
    assert_non_null(strstr(error.message, "other images"));
    const clvi_predictions fewer = {.items = b, .count = 3};
    error = (clv_error)CLV_ERROR_INIT;
    assert_int_equal(clvi_pairing_make(&first, &fewer, &p, &error), CLV_E_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcnemar),  cmocka_unit_test(test_holm),
        cmocka_unit_test(test_one_seed), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_certain),  cmocka_unit_test(test_mean),
        cmocka_unit_test(test_pairing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
