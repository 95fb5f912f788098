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
    for (int i = 0; i < 3; i++)
        assert_false(clvi_usage_dead(&e[i], 3));
}

static void test_histogram(void **state)
{
    (void)state;
    int64_t counts[4], none;
    clvi_usage_histogram(&input, 1, 4, counts, &none); /* 0.25, 1, 0.5 */
    static const int64_t second[] = {0, 1, 1, 1};
    assert_memory_equal(counts, second, sizeof second);
    assert_int_equal(none, 0);
    clvi_usage_histogram(&input, 2, 4, counts, &none); /* 0.25, not sent twice */
    static const int64_t third[] = {0, 1, 0, 0};
    assert_memory_equal(counts, third, sizeof third);
    assert_int_equal(none, 2);
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
    assert_true(clvi_usage_dead(&e[0], 3) && !clvi_usage_dead(&e[1], 3));
    clvi_usage_count(&input, labels, 7, &u, e);
    assert_int_equal(u.samples, 0);
    assert_true(e[0].share == 0 && e[0].weight_share == 0);
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
    assert_true(u.mean_entropy == 1 && u.entropy_of_mean == 1);
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

/* Two experts, the first always says class 0, the second class 1, but for the last sample. */
static void test_alone(void **state)
{
    (void)state;
    enum { N = 5 };
    static const int32_t truth[N] = {0, 0, 0, 1, 2};
    static const float logits[N][2][3] = {{{1, 0, 0}, {0, 3, 0}},
                                          {{1, 0, 0}, {0, 3, 0}},
                                          {{1, 0, 0.5f}, {0, 3, 0}},
                                          {{1, 0, 0}, {-1, 3, 0}},
                                          {{1, 1, 0}, {1, 0, 1}}};
    int32_t answers[N][2];
    clvi_usage_answers(logits[0][0], N, 2, 3, answers[0]);
    static const int32_t wanted[N][2] = {{0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 0}};
    assert_memory_equal(answers, wanted, sizeof wanted);
    const clvi_usage_input in = {N, 2, 3, NULL, truth};
    double alone[2], oracle;
    clvi_usage_alone(&in, answers[0], alone, &oracle);
    assert_near(alone[0], 3.0 / 5, 1e-12);
    assert_near(alone[1], 1.0 / 5, 1e-12);
    assert_near(oracle, 4.0 / 5, 1e-12);
    const clvi_usage_input none = {0, 2, 3, NULL, truth};
    clvi_usage_alone(&none, answers[0], alone, &oracle);
    assert_true(isnan(alone[0]) && isnan(oracle));
}

/* Yule's Q = (ad - bc) / (ad + bc) with a both right, d none, b and c one of them. */
static void test_pair(void **state)
{
    (void)state;
    static const int32_t truth[] = {0, 0, 0, 0, 0, 0, 0, 0};
    static const int32_t answers[] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 2, 1, 1};
    const clvi_usage_input in = {8, 2, 3, NULL, truth};
    clvi_usage_pair pair;
    clvi_usage_compare(&in, answers, 0, 1, &pair);
    assert_near(pair.disagreement, 3.0 / 8, 1e-12);
    assert_near(pair.yule_q, (3.0 * 3 - 1) / (3 * 3 + 1), 1e-12);
    clvi_usage_compare(&in, answers, 0, 0, &pair);
    assert_near(pair.disagreement, 0, 1e-12);
    assert_near(pair.yule_q, 1, 1e-12);
    const clvi_usage_input right = {3, 2, 3, NULL, truth};
    clvi_usage_compare(&right, answers, 0, 1, &pair);
    assert_true(isnan(pair.yule_q)); /* nobody errs */
}

static void test_other_gates(void **state)
{
    (void)state;
    float out[12];
    clvi_usage_uniform(&input, 4, out);
    for (int i = 0; i < 12; i++)
        assert_near((double)out[i], 1.0 / 3, 1e-7);
    static const uint32_t order[] = {3, 2, 1, 0};
    clvi_usage_shuffled(&input, order, 1, 2, out);
    assert_memory_equal(out, gate + 6, 3 * sizeof *out);
    assert_memory_equal(out + 3, gate + 3, 3 * sizeof *out);
    clvi_usage_without(&input, 1, 0, 4, out);
    static const float wanted[] = {2.0f / 3, 0, 1.0f / 3, 0.5f, 0, 0.5f, 2, 0, 0, 0, 0, 0};
    for (int i = 0; i < 12; i++)
        assert_near((double)out[i], (double)wanted[i], 1e-6);
    clvi_usage_without(&input, 2, 1, 1, out);
    assert_memory_equal(out, gate + 3, 3 * sizeof *out);
}

static void test_shuffle(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    uint32_t *order, *again;
    assert_int_equal(clvi_usage_shuffle(100, 1, &order, &error), CLV_OK);
    assert_int_equal(clvi_usage_shuffle(100, 1, &again, &error), CLV_OK);
    assert_memory_equal(order, again, 100 * sizeof *order);
    int seen[100] = {0}, moved = 0;
    for (uint32_t i = 0; i < 100; i++) {
        seen[order[i]]++;
        moved += order[i] != i;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
    clvi_free(order);
    clvi_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),       cmocka_unit_test(test_groups),
        cmocka_unit_test(test_alike),       cmocka_unit_test(test_dead),
        cmocka_unit_test(test_information), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_pair),        cmocka_unit_test(test_other_gates),
        cmocka_unit_test(test_shuffle),     cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
