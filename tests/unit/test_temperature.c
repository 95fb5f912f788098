/* core/train/temperature: the optimum found elsewhere, its limits, and what it does to the scores.
 */
#define _POSIX_C_SOURCE 200809L
#include "train/scores.h"
#include "train/temperature.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

/* Fails on a NaN too. */
static void check_near(double value, double wanted, double tolerance, int line)
{
    if (!(fabs(value - wanted) <= tolerance))
        fail_msg("line %d: %.12g, wanted %.12g", line, value, wanted);
}
#define assert_near(value, wanted, tolerance) check_near((value), (wanted), (tolerance), __LINE__)

static const float rows[6][3] = {{2, 0.5f, -1}, {0, 3, 1},     {1, 1.5f, 0.2f},
                                 {4, 0, 0},     {-1, 2, 2.5f}, {0.3f, -0.2f, 0.1f}};
static const int32_t labels[6] = {0, 1, 0, 2, 2, 1};

/* scipy 1.17.1: minimize_scalar(bounded) over 1/temperature of -log_softmax(rows / temperature),
 * the labels' plus a sixth of the mean of all classes. */
static void test_optimum(void **state)
{
    (void)state;
    const double t = clvi_temperature_fit(rows[0], labels, 6, 3);
    assert_near(t, 3.59800894, 1e-6);

    clv_error error = CLV_ERROR_INIT;
    clvi_scores *scores = NULL;
    assert_int_equal(clvi_scores_create(3, &scores, &error), CLV_OK);
    clvi_scores_calibrate(scores, t);
    clvi_scores_add(scores, rows[0], labels, 6);
    clvi_score_summary s;
    clvi_scores_summary(scores, &s);
    assert_near(s.nll, 1.2427575086920755, 1e-12);
    assert_near(s.nll_calibrated, 1.0199197328789287, 1e-8);
    clvi_scores_destroy(scores);
}

/* Two classes, logits l and 0, right in 3 of 4; with the further sample the optimum says 3.5/5, so
 * l/t = ln(7/3). */
static void test_by_hand(void **state)
{
    (void)state;
    static const float two[] = {5, 0, 5, 0, 5, 0, 5, 0};
    static const int32_t right[] = {0, 0, 1, 0};
    assert_near(clvi_temperature_fit(two, right, 4, 2), 5 / log(7.0 / 3), 1e-9);
    /* And of logits that were too small. */
    static const float small[] = {0.5f, 0, 0.5f, 0, 0.5f, 0, 0.5f, 0};
    assert_near(clvi_temperature_fit(small, right, 4, 2), 0.5 / log(7.0 / 3), 1e-9);
}

/* Dividing all logits by a number divides the temperature by it. */
static void test_scale(void **state)
{
    (void)state;
    float scaled[6][3];
    for (int i = 0; i < 18; i++)
        scaled[i / 3][i % 3] = rows[i / 3][i % 3] / 4;
    assert_near(clvi_temperature_fit(scaled[0], labels, 6, 3),
                clvi_temperature_fit(rows[0], labels, 6, 3) / 4, 1e-6);
}

static void test_limits(void **state)
{
    (void)state;
    static const float clear[] = {2, 0, 0, 3}, alike[] = {1, 1, -2, -2};
    static const int32_t right[] = {0, 1}, wrong[] = {1, 0};
    assert_near(clvi_temperature_fit(clear, wrong, 2, 2), CLVI_TEMPERATURE_LIMIT, 1e-6);
    assert_true(clvi_temperature_fit(alike, right, 2, 2) == 1);
    assert_true(clvi_temperature_fit(clear, right, 0, 2) == 1);
    /* Rows that are not finite are left out. */
    float mixed[7][3];
    int32_t more[7];
    for (int i = 0; i < 21; i++)
        mixed[i / 3][i % 3] = i < 3 ? NAN : rows[i / 3 - 1][i % 3];
    for (int i = 0; i < 7; i++)
        more[i] = i == 0 ? 0 : labels[i - 1];
    assert_near(clvi_temperature_fit(mixed[0], more, 7, 3),
                clvi_temperature_fit(rows[0], labels, 6, 3), 1e-9);
    /* Extreme logits neither overflow nor end nowhere. */
    static const float certain[] = {2, 0, 2, 0};
    static const int32_t both[] = {0, 0};
    assert_near(clvi_temperature_fit(certain, both, 2, 2), 2 / log(5), 1e-9); /* 2.5/3 */
    static const float far[] = {10000, -10000, 10000, -10000, 10000, -10000};
    static const int32_t third[] = {0, 1, 0};
    assert_near(clvi_temperature_fit(far, third, 3, 2), CLVI_TEMPERATURE_LIMIT, 1e-6);
}

/* The expected calibration error of a bin of 4 that are right in 3, before and after the fit. */
static void test_calibration_error(void **state)
{
    (void)state;
    static const float two[] = {5, 0, 5, 0, 5, 0, 5, 0};
    static const int32_t right[] = {0, 0, 1, 0};
    clv_error error = CLV_ERROR_INIT;
    clvi_scores *scores = NULL;
    clvi_score_summary s;
    assert_int_equal(clvi_scores_create(2, &scores, &error), CLV_OK);
    clvi_scores_calibrate(scores, clvi_temperature_fit(two, right, 4, 2));
    clvi_scores_add(scores, two, right, 4);
    clvi_scores_summary(scores, &s);
    assert_near(s.ece, 1 / (1 + exp(-5)) - 0.75, 1e-9);
    assert_near(s.ece_calibrated, 0.75 - 0.7, 1e-9);
    assert_true(s.top1 == 0.75);
    clvi_scores_destroy(scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_calibration_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
