/* core/train/scores: figures worked out by hand, and Wilson's intervals as published. */
#define _POSIX_C_SOURCE 200809L
#include "train/scores.h"

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>

#include <cmocka.h>

static const double tight = 1e-6; /* logits are f32 */

/* Fails on a NaN too. */
static void check_near(double value, double wanted, double tolerance, int line)
{
    if (!(fabs(value - wanted) <= tolerance))
        fail_msg("line %d: %.9g, wanted %.9g", line, value, wanted);
}
#define assert_near(value, wanted, tolerance) check_near((value), (wanted), (tolerance), __LINE__)

static clvi_scores *make(int classes)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_scores *scores = NULL;
    assert_int_equal(clvi_scores_create(classes, &scores, &error), CLV_OK);
    return scores;
}

static void add(clvi_scores *scores, const float *logits, int32_t label)
{
    clvi_scores_add(scores, logits, &label, 1);
}

static clvi_score_summary sum_up(const clvi_scores *scores)
{
    clvi_score_summary summary;
    clvi_scores_summary(scores, &summary);
    return summary;
}

/* Logits of ln 2 and 0 twice: probabilities 1/2, 1/4, 1/4. */
static void test_likelihood_and_brier(void **state)
{
    (void)state;
    clvi_scores *scores = make(3);
    const float row[] = {0, logf(2), 0};
    add(scores, row, 1);
    clvi_score_summary s = sum_up(scores);
    assert_int_equal(s.count, 1);
    assert_true(s.top1 == 1);
    assert_near(s.nll, log(2), tight);
    assert_near(s.brier, 1.0 / 16 + 1.0 / 4 + 1.0 / 16, tight);

    add(scores, row, 0);
    s = sum_up(scores);
    assert_int_equal(s.count, 2);
    assert_true(s.top1 == 0.5);
    assert_near(s.nll, (log(2) + log(4)) / 2, tight);
    assert_near(s.brier, (0.375 + (9.0 / 16 + 1.0 / 4 + 1.0 / 16)) / 2, tight);
    /* Both have confidence 1/2 and half of them are right. */
    assert_near(s.ece, 0, tight);
    clvi_scores_destroy(scores);
}

/* Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
 */
static void test_wilson(void **state)
{
    (void)state;
    static const struct {
        int right, all;
        double low, high;
    } published[] = {{81, 263, 0.2553, 0.3662},
                     {15, 148, 0.0624, 0.1605},
                     {0, 20, 0, 0.1611},
                     {1, 29, 0.0061, 0.1718}};
    const float row[] = {1, 0};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        clvi_scores *scores = make(2);
        for (int k = 0; k < published[i].all; k++)
            add(scores, row, k < published[i].right ? 0 : 1);
        const clvi_score_summary s = sum_up(scores);
        assert_near(s.top1, (double)published[i].right / published[i].all, 1e-12);
        assert_near(s.top1_low, published[i].low, 5e-5);
        assert_near(s.top1_high, published[i].high, 5e-5);
        clvi_scores_destroy(scores);
    }
}

static void test_top5(void **state)
{
    (void)state;
    clvi_scores *scores = make(7);
    const float falling[] = {6, 5, 4, 3, 2, 1, 0}, equal[] = {1, 1, 1, 1, 1, 1, 1};
    add(scores, falling, 4);
    assert_true(sum_up(scores).top5 == 1);
    add(scores, falling, 5);
    assert_true(sum_up(scores).top5 == 0.5);
    /* Ties go to the lower index. */
    add(scores, equal, 4);
    add(scores, equal, 5);
    assert_true(sum_up(scores).top5 == 0.5);
    assert_true(sum_up(scores).top1 == 0);
    clvi_scores_destroy(scores);

    scores = make(5);
    add(scores, falling, 0);
    assert_true(isnan(sum_up(scores).top5));
    clvi_scores_destroy(scores);
}

/* 4 samples of confidence 0.9, all right, and a wrong one of confidence 0.6: too modest in one bin,
 * too sure in the other, (|4 - 3.6| + |0 - 0.6|) / 5. */
static void test_calibration(void **state)
{
    (void)state;
    clvi_scores *scores = make(2);
    const float sure[] = {logf(9), 0}, unsure[] = {0, logf(1.5f)};
    for (int k = 0; k < 4; k++)
        add(scores, sure, 0);
    add(scores, unsure, 0);
    assert_near(sum_up(scores).ece, 1.0 / 5, tight);
    clvi_scores_destroy(scores);
}

/* Class 0 is found in 2 of 3, once taken for 1; class 1 in 1 of 1; class 2 does not occur. */
static void test_classes(void **state)
{
    (void)state;
    clvi_scores *scores = make(3);
    const float zero[] = {1, 0, 0}, one[] = {0, 1, 0};
    const float rows[] = {1, 0, 0, 1, 0, 0, 0, 1, 0};
    const int32_t labels[] = {0, 0, 0};
    clvi_scores_add(scores, rows, labels, 3);
    add(scores, one, 1);
    clvi_class_score c;
    clvi_scores_class(scores, 0, &c);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.predicted, 2);
    assert_int_equal(c.correct, 2);
    assert_near(c.precision, 1, 1e-12);
    assert_near(c.recall, 2.0 / 3, 1e-12);
    assert_near(c.f1, 0.8, 1e-12);
    clvi_scores_class(scores, 1, &c);
    assert_near(c.precision, 0.5, 1e-12);
    assert_near(c.recall, 1, 1e-12);
    assert_near(c.f1, 2.0 / 3, 1e-12);
    clvi_scores_class(scores, 2, &c);
    assert_int_equal(c.count + c.predicted, 0);
    assert_true(c.precision == 0 && c.recall == 0 && c.f1 == 0);
    assert_int_equal(clvi_scores_confusion(scores, 0, 1), 1);
    assert_int_equal(clvi_scores_confusion(scores, 1, 0), 0);

    clvi_score_summary s = sum_up(scores);
    assert_near(s.precision, 0.75, 1e-12);
    assert_near(s.recall, 5.0 / 6, 1e-12);
    assert_near(s.f1, (0.8 + 2.0 / 3) / 2, 1e-12);

    /* One that occurs and is never predicted counts with 0. */
    add(scores, zero, 2);
    s = sum_up(scores);
    assert_near(s.precision, (2.0 / 3 + 0.5 + 0) / 3, 1e-12);
    assert_near(s.recall, (2.0 / 3 + 1 + 0) / 3, 1e-12);
    clvi_scores_destroy(scores);
}

static void test_extreme_logits(void **state)
{
    (void)state;
    clvi_scores *scores = make(2);
    const float far[] = {1000, -1000};
    double chances[2];
    clvi_softmax_row(far, 2, 1, chances);
    assert_true(chances[0] == 1 && chances[1] == 0);
    add(scores, far, 0);
    assert_near(sum_up(scores).nll, 0, 1e-12);
    add(scores, far, 1);
    assert_near(sum_up(scores).nll, 1000, 1e-9);
    assert_near(sum_up(scores).brier, 1, 1e-12);
    clvi_scores_destroy(scores);
}

static void test_not_finite(void **state)
{
    (void)state;
    clvi_scores *scores = make(6);
    const float good[] = {2, 0, 0, 0, 0, 0}, bad[] = {2, 0, 0, NAN, 0, 0};
    const float endless[] = {INFINITY, 0, 0, 0, 0, 0};
    add(scores, good, 0);
    add(scores, bad, 0);
    add(scores, endless, 0);
    const clvi_score_summary s = sum_up(scores);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.not_finite, 2);
    assert_near(s.top1, 1.0 / 3, 1e-12);
    assert_near(s.top5, 1.0 / 3, 1e-12);
    assert_true(isnan(s.nll));
    assert_true(isfinite(s.brier) && isfinite(s.ece));
    assert_int_equal(clvi_scores_confusion(scores, 0, 0), 1);
    clvi_scores_destroy(scores);
}

/* Where no sample has finite logits, nothing is known, and not that all is well. */
static void test_none_finite(void **state)
{
    (void)state;
    clvi_scores *scores = make(6);
    const float bad[] = {2, 0, 0, NAN, 0, 0};
    add(scores, bad, 0);
    const clvi_score_summary s = sum_up(scores);
    assert_true(s.top1 == 0 && isnan(s.nll) && isnan(s.brier));
    assert_true(isnan(s.ece) && isnan(s.ece_calibrated));
    clvi_scores_destroy(scores);
}

static void test_top_classes(void **state)
{
    (void)state;
    const double chances[] = {0.1, 0.3, 0.2, 0.3, 0.1}, nan[] = {NAN, 0.5, 0.1};
    static const size_t wanted[] = {1, 3, 2, 0, 4};
    size_t top[6];
    for (size_t count = 0; count <= 5; count++) {
        top[count] = 99;
        clvi_top_classes(chances, 5, count, top);
        assert_memory_equal(top, wanted, count * sizeof *top);
        assert_int_equal(top[count], 99);
    }
    clvi_top_classes(nan, 3, 3, top); /* whatever the order, each once */
    assert_int_equal(1 << top[0] | 1 << top[1] | 1 << top[2], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likelihood_and_brier),
        cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_top5),
        cmocka_unit_test(test_top_classes),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_extreme_logits),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_none_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
