/* core/train/likeness: distances by hand, how often equal distributions are taken for others, and
 * how small a difference is found. */
#define _POSIX_C_SOURCE 200809L
#include "train/likeness.h"

#include "base/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void fill(clvi_likeness_sample *to, const double *values, size_t count)
{
    clv_error error = CLV_ERROR_INIT;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(clvi_likeness_add(to, values[i], &error), CLV_OK);
}

static void check_near(double value, double wanted)
{
    assert_true(fabs(value - wanted) < 1e-12);
}

/* Of the known ones 4 of 5 lie below 0.5, of the given 1 of 4: 0.8 - 0.25. */
static void test_by_hand(void **state)
{
    (void)state;
    clvi_likeness_sample known = {0}, given = {0};
    clvi_likeness r = {0};
    fill(&known, (const double[]){0.9, 0.1, 0.2, NAN, 0.4, 0.3}, 6);
    assert_false(clvi_likeness_compare(&known, &given, &r));
    assert_false(clvi_likeness_compare(&given, &known, &r));
    fill(&given, (const double[]){0.8, 0.25, INFINITY, 0.7, 0.6}, 5);
    assert_true(clvi_likeness_compare(&known, &given, &r));
    assert_int_equal(r.images, 4);
    assert_int_equal(r.known_images, 5);
    check_near(r.difference, 0.55);
    check_near(r.known_mean, 0.38);
    check_near(r.mean, 0.5875);
    /* sqrt(ln(2/0.0005)/2 * 9/20): too few to tell anything. */
    assert_true(fabs(r.threshold - 1.3661) < 1e-4);
    assert_false(r.unlike);
    assert_true(clvi_likeness_compare(&given, &known, &r));
    check_near(r.difference, 0.55);
    clvi_likeness_fini(&known);
    clvi_likeness_fini(&given);
}

/* A gate that weighs all images alike, and rounding. */
static void test_grain(void **state)
{
    (void)state;
    clvi_likeness_sample known = {0}, given = {0};
    clvi_likeness r;
    for (int i = 0; i < 1000; i++) {
        fill(&known, &(const double){1}, 1);
        fill(&given, &(const double){0.9999999}, 1);
    }
    assert_true(clvi_likeness_compare(&known, &given, &r));
    check_near(r.difference, 0);
    check_near(r.threshold, CLVI_LIKENESS_LEAST);
    for (int i = 0; i < 120; i++)
        fill(&given, &(const double){0.98}, 1);
    assert_true(clvi_likeness_compare(&known, &given, &r));
    check_near(r.difference, 120.0 / 1120);
    assert_true(r.unlike);
    clvi_likeness_fini(&known);
    clvi_likeness_fini(&given);
}

enum { TRIALS = 4000, KNOWN = 150, GIVEN = 100 };

/* How many of TRIALS pairs of samples of numbers u^power, the second with another power, are
 * unlike: u is equally distributed. */
static int alarms(double power, double other)
{
    clvi_likeness_sample known = {0}, given = {0};
    int found = 0;
    const clvi_philox_key key = clvi_philox_stream(1, "likeness");
    for (uint32_t t = 0; t < TRIALS; t++) {
        clvi_likeness r;
        known.count = given.count = 0;
        for (uint32_t i = 0; i < KNOWN + GIVEN; i++) {
            uint32_t words[4];
            clvi_philox(key, 0, t, 0, i, words);
            const double value = pow((double)clvi_philox_unit(words[0]), i < KNOWN ? power : other);
            fill(i < KNOWN ? &known : &given, &value, 1);
        }
        assert_true(clvi_likeness_compare(&known, &given, &r));
        found += r.unlike;
    }
    clvi_likeness_fini(&known);
    clvi_likeness_fini(&given);
    return found;
}

/* Equal distributions: 4,000 · 0.0005 = 2 are expected at most, 10 have a chance of 5e-5. The
 * others: images of which the network is surer or less sure. */
static void test_alarms(void **state)
{
    (void)state;
    assert_true(alarms(1, 1) < 10);
    assert_true(alarms(0.2, 0.2) < 10);
    assert_int_equal(alarms(0.2, 1), TRIALS);
    assert_true(alarms(1, 3) > TRIALS * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_grain),
        cmocka_unit_test(test_alarms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
