/* core/mixture/usage: small cases worked out by hand, and the information of scikit-learn 1.9.1's
 * mutual_info_score with Miller and Madow's correction added. */
#define _POSIX_C_SOURCE 200809L
#include "mixture/usage.h"

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

/* Four samples, three experts: dense, top-1, one whose weights sum to 2, one that nobody took. */
static const float gate[] = {0.5f, 0.25f, 0.25f, 0, 1, 0, 1, 1, 0, 0, 0, 0};
static const int32_t labels[] = {0, 1, 0, 1};
static const clvi_usage_input input = {4, 3, 2, gate, labels};

static void test_count(void **state)
{
    (void)state;
    clvi_usage u;
    clvi_usage_expert e[3];
    clvi_usage_count(&input, NULL, 0, &u, e);
    assert_int_equal(u.samples, 4);
    assert_int_equal(u.unrouted, 1);
    assert_int_equal(u.assignments, 6);
    assert_int_equal(e[0].assigned, 2);
    assert_int_equal(e[1].assigned, 3);
    assert_int_equal(e[2].assigned, 1);
    assert_near(e[0].share + e[1].share + e[2].share, 1, 1e-12);
    assert_int_equal(e[0].first, 2); /* of equal ones the first */
    assert_int_equal(e[1].first, 1);
    assert_near(e[0].weight_share, (0.5 + 0 + 0.5) / 3, 1e-7);
    assert_near(e[1].weight_share, (0.25 + 1 + 0.5) / 3, 1e-7);
    /* Entropies: 1.5 ln 2, 0, ln 2; of the mean (4, 7, 1) / 12. */
    assert_near(u.mean_entropy, 2.5 * log(2) / 3 / log(3), 1e-7);
    const double mean = -(4 * log(4.0 / 12) + 7 * log(7.0 / 12) + log(1.0 / 12)) / 12;
    assert_near(u.entropy_of_mean, mean / log(3), 1e-7);
    assert_false(u.dead);
}

static void test_groups(void **state)
{
    (void)state;
    clvi_usage u;
    clvi_usage_expert e[3];
    clvi_usage_count(&input, labels, 1, &u, e);
    assert_int_equal(u.samples, 2);
    assert_int_equal(u.unrouted, 1);
    assert_near(e[1].share, 1, 1e-12);
    assert_near(e[1].weight_share, 1, 1e-12);
    assert_near(u.entropy_of_mean, 0, 1e-12);
    assert_true(u.dead);
    clvi_usage_count(&input, labels, 7, &u, e);
    assert_int_equal(u.samples, 0);
    assert_true(e[0].share == 0 && e[0].weight_share == 0 && !u.dead);
}

static void test_alike(void **state)
{
    (void)state;
    static const float alike[] = {0.25f, 0.25f, 0.25f, 0.25f}, one[] = {1};
    const clvi_usage_input four = {1, 4, 2, alike, labels}, single = {1, 1, 2, one, labels};
    clvi_usage u;
    clvi_usage_expert e[4];
    clvi_usage_count(&four, NULL, 0, &u, e);
    assert_near(u.mean_entropy, 1, 1e-12);
    assert_near(u.entropy_of_mean, 1, 1e-12);
    clvi_usage_count(&single, NULL, 0, &u, e);
    assert_true(u.mean_entropy == 1 && u.entropy_of_mean == 1 && !u.dead);
}

/* Dead is below a tenth of an equal share, of assignments or of weights. */
static void test_dead(void **state)
{
    (void)state;
    assert_false(clvi_usage_dead(&(clvi_usage_expert){.share = 0.5, .weight_share = 0.05}, 2));
    assert_true(clvi_usage_dead(&(clvi_usage_expert){.share = 0.5, .weight_share = 0.049}, 2));
    assert_true(clvi_usage_dead(&(clvi_usage_expert){.share = 0.049, .weight_share = 0.5}, 2));
}

static void test_information(void **state)
{
    (void)state;
    static const int choice[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 2};
    static const int32_t classes[] = {0, 0, 1, 1, 1, 0, 2, 2, 2, 1};
    float hot[10][3] = {{0}};
    for (int i = 0; i < 10; i++)
        hot[i][choice[i]] = 0.9f;
    const clvi_usage_input in = {10, 3, 3, hot[0], classes};
    clv_error error = CLV_ERROR_INIT;
    double bits, chance;
    assert_int_equal(clvi_usage_information(&in, &bits, &chance, &error), CLV_OK);
    assert_near(bits, 0.6233270921938738, 1e-12);
    assert_true(chance < bits);

    /* An expert for each of four classes: 2 bits (no correction: (3 + 3 - 3) / 2N = 3 / 800 nats).
     */
    static float pure[400][4];
    static int32_t four[400];
    for (int i = 0; i < 400; i++) {
        four[i] = i % 4;
        pure[i][i % 4] = 1;
    }
    const clvi_usage_input sure = {400, 4, 4, pure[0], four};
    assert_int_equal(clvi_usage_information(&sure, &bits, &chance, &error), CLV_OK);
    assert_near(bits, 2 + 3 / 800.0 / log(2), 1e-9);
    /* Under shuffled labels nothing is left but noise around 0. */
    assert_near(chance, 0, 0.01);

    static const float nobody[20] = {0};
    const clvi_usage_input none = {10, 2, 3, nobody, classes};
    assert_int_equal(clvi_usage_information(&none, &bits, &chance, &error), CLV_OK);
    assert_true(isnan(bits));
}

/* Weighted logits. */
static void fuse(void *user, const double *weights, const float *logits, double *scores)
{
    const clvi_usage_input *in = user;
    for (int c = 0; c < in->classes; c++) {
        scores[c] = 0;
        for (int i = 0; i < in->experts; i++)
            scores[c] += weights[i] * (double)logits[i * in->classes + c];
    }
}

/* Two experts, the first always says class 0 (by 1), the second always class 1 (by 3). */
static void test_accuracy(void **state)
{
    (void)state;
    enum { N = 6 };
    static const int32_t truth[N] = {0, 0, 0, 0, 1, 1};
    static const float weights[N][2] = {{1, 0},       {1, 0},       {0.9f, 0.1f},
                                        {0.1f, 0.9f}, {0.1f, 0.9f}, {1, 0}};
    float logits[N][2][2];
    for (int n = 0; n < N; n++) {
        logits[n][0][0] = 1, logits[n][0][1] = 0;
        logits[n][1][0] = 0, logits[n][1][1] = 3;
    }
    const clvi_usage_input in = {N, 2, 2, weights[0], truth};
    clv_error error = CLV_ERROR_INIT;
    clvi_usage_worth w;
    double alone[2], without[2];
    clvi_usage_input copy = in;
    assert_int_equal(
        clvi_usage_accuracy(&in, logits[0][0], fuse, &copy, &w, alone, without, &error), CLV_OK);
    assert_near(w.fused, 4.0 / 6, 1e-12);   /* 0, 1, 2, 4 */
    assert_near(w.uniform, 2.0 / 6, 1e-12); /* always class 1 */
    assert_near(w.oracle, 1, 1e-12);
    assert_near(alone[0], 4.0 / 6, 1e-12);
    assert_near(alone[1], 2.0 / 6, 1e-12);
    assert_near(without[0], 2.0 / 6, 1e-12); /* the second takes all, also those it had none of */
    assert_near(without[1], 4.0 / 6, 1e-12);
    /* Four of the six gates lead to class 0; how they fall on the labels is fixed. */
    assert_true(w.shuffled >= 0 && w.shuffled <= 1);

    clvi_usage_pair pair;
    clvi_usage_compare(&in, logits[0][0], 0, 1, &pair);
    assert_near(pair.disagreement, 1, 1e-12);
    assert_near(pair.yule_q, -1, 1e-12);
    clvi_usage_compare(&in, logits[0][0], 0, 0, &pair);
    assert_near(pair.disagreement, 0, 1e-12);
    assert_near(pair.yule_q, 1, 1e-12);

    const float *single = &weights[0][0];
    const clvi_usage_input one = {1, 1, 2, single, truth};
    copy = one;
    assert_int_equal(
        clvi_usage_accuracy(&one, logits[0][0], fuse, &copy, &w, alone, without, &error), CLV_OK);
    assert_true(w.fused == 1 && alone[0] == 1 && isnan(without[0]));
}

/* A gate that sends every sample to the expert that is right: shuffled, half of that is left. */
static void test_shuffled_gate(void **state)
{
    (void)state;
    enum { N = 2000 };
    static int32_t truth[N];
    static float weights[N][2], logits[N][2][2];
    for (int n = 0; n < N; n++) {
        truth[n] = n % 2;
        weights[n][n % 2] = 1;
        logits[n][0][0] = 1;
        logits[n][1][1] = 1;
    }
    clvi_usage_input in = {N, 2, 2, weights[0], truth};
    clv_error error = CLV_ERROR_INIT;
    clvi_usage_worth w;
    double alone[2], without[2];
    assert_int_equal(clvi_usage_accuracy(&in, logits[0][0], fuse, &in, &w, alone, without, &error),
                     CLV_OK);
    assert_near(w.fused, 1, 1e-12);
    assert_near(w.shuffled, 0.5, 0.05);
    assert_near(alone[0], 0.5, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),         cmocka_unit_test(test_groups),
        cmocka_unit_test(test_alike),         cmocka_unit_test(test_dead),
        cmocka_unit_test(test_information),   cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_shuffled_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
