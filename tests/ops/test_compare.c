/* The comparator catches what it is there for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "compare.h"

enum { COUNT = 1000000 };

typedef struct pair {
    float *a;
    double *b;
} pair;

static int setup(void **state)
{
    pair *p = malloc(sizeof *p);
    p->a = malloc(COUNT * sizeof *p->a);
    p->b = malloc(COUNT * sizeof *p->b);
    for (int i = 0; i < COUNT; i++) {
        p->a[i] = (float)(((i % 1009) * 7919 % 1009) - 504) / 37.0f;
        p->b[i] = (double)p->a[i];
    }
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    pair *p = *state;
    free(p->a);
    free(p->b);
    free(p);
    return 0;
}

static bool same(const pair *p, compare_result *r)
{
    return compare(p->a, p->b, COUNT, 1e-6, 1e-6, r);
}

static void test_equal(void **state)
{
    compare_result r;
    assert_true(same(*state, &r));
    assert_int_equal(r.count, COUNT);
    assert_int_equal(r.bad, 0);
    assert_true(r.worst_abs == 0);
    assert_true(compare(NULL, NULL, 0, 0, 0, NULL));
}

static void test_one_wrong_in_a_million(void **state)
{
    pair *p = *state;
    const int places[] = {0, 1, 31, 499999, COUNT - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const float kept = p->a[places[i]];
        const float wrong[] = {NAN, INFINITY, -INFINITY, kept + 0.001f, -kept - 0.001f};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            compare_result r;
            p->a[places[i]] = wrong[k];
            assert_false(same(p, &r));
            assert_int_equal(r.bad, 1);
            assert_int_equal(r.worst, places[i]);
        }
        p->a[places[i]] = kept;
    }
    assert_true(same(p, NULL));
}

static void test_reference_not_finite(void **state)
{
    pair *p = *state;
    const double kept = p->b[77];
    p->b[77] = NAN;
    assert_false(same(p, NULL));
    p->b[77] = INFINITY;
    assert_false(same(p, NULL));
    p->a[77] = INFINITY; /* equal infinities are no agreement */
    assert_false(same(p, NULL));
    p->a[77] = (float)kept;
    p->b[77] = kept;
}

static void test_sign_and_order(void **state)
{
    pair *p = *state;
    p->a[1000] = -p->a[1000];
    assert_false(same(p, NULL));
    p->a[1000] = -p->a[1000];
    const float first = p->a[2000], second = p->a[2001];
    assert_true(first != second);
    p->a[2000] = second;
    p->a[2001] = first;
    compare_result r;
    assert_false(same(p, &r));
    assert_int_equal(r.bad, 2);
    p->a[2000] = first;
    p->a[2001] = second;
}

static void test_bounds(void **state)
{
    (void)state;
    const float a[] = {1.0f, 2.0f};
    const double b[] = {1.0625, 1.75}; /* off by 1/16 and 1/4 */
    compare_result r;
    assert_true(compare(a, b, 2, 0.25, 0, NULL));
    assert_true(compare(a, b, 1, 0, 0.0625, NULL));
    assert_false(compare(a, b, 1, 0, 0.0588, NULL));
    assert_false(compare(a, b, 2, 0.125, 0, &r));
    assert_int_equal(r.bad, 1);
    assert_int_equal(r.worst, 1);
    assert_true(fabs(r.worst_abs - 0.25) < 1e-12 && fabs(r.worst_rel - 1.0 / 7) < 1e-12);
    assert_true(compare(a, b, 2, 0, 0.15, NULL));
    char text[256];
    assert_string_equal(compare_text(&r, text),
                        "1 of 2 differ, worst at 1: 2 for 1.75 (abs 0.25, rel 0.14)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_one_wrong_in_a_million),
        cmocka_unit_test(test_reference_not_finite),
        cmocka_unit_test(test_sign_and_order),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("compare", tests, setup, teardown);
}
