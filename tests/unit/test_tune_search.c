/* The choice of `conclave tune`, with made-up times; and what counts as the same result. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tune/result.h"
#include "tune/search.h"

/* A device that exists in numbers only: the time of a step is a product of what each key costs. */
typedef struct fake {
    double (*cost)(const char *key, int value);
    int limit; /* fails after so many measurements; 0: never */
    int measured, taken, left_out, begun;
    double seconds;     /* each measurement takes */
    int lucky;          /* the measurement that chance makes a winner; 0: none */
    const char *breaks; /* a key whose other values do not build */
    char last[80];
    double left;
} fake;

static fake device;
static double clock_seconds;

static double now(void)
{
    return clock_seconds;
}

static int shipped(void *user, const char *key)
{
    static const struct {
        const char *key;
        int value;
    } rows[] = {{"group_work", 1 << 20}, {"cached_weights", 131072},
                {"gemm_mr", 12},         {"gemm_nv", 2},
                {"param_mr", 8},         {"vector", 16},
                {"tile_side", 16},       {"tile_block", 4},
                {"items", 64},           {"prefetch", 1}};
    (void)user;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].key, key) == 0)
            return rows[i].value;
    fail_msg("the search asks for %s", key);
    return 0;
}

static double cost_of(const tune_values *values)
{
    double cost = 1;
    for (size_t i = 0; i < values->count; i++)
        cost *= device.cost(values->items[i].key, values->items[i].value);
    return cost;
}

static clv_status measure(void *user, const tune_values *best, const tune_values *candidate,
                          tune_outcome *out, clv_error *error)
{
    (void)user;
    device.measured++;
    clock_seconds += device.seconds;
    if (device.limit > 0 && device.measured > device.limit)
        CLV_FAIL(error, CLV_E_INTERRUPTED, "stopped");
    *out = (tune_outcome){.gain = cost_of(best) / cost_of(candidate)};
    out->worst = out->gain;
    for (size_t i = 0; device.breaks != NULL && i < candidate->count; i++)
        if (strcmp(candidate->items[i].key, device.breaks) == 0)
            snprintf(out->dropped, sizeof out->dropped, "it does not build");
    if (device.measured == device.lucky)
        out->gain = out->worst = 1.5;
    return CLV_OK;
}

static void say(void *user, const char *what, const tune_outcome *outcome, bool taken, double left)
{
    (void)user;
    snprintf(device.last, sizeof device.last, "%s", what);
    device.begun += outcome == NULL;
    device.taken += taken;
    device.left_out += outcome != NULL && outcome->dropped[0] != '\0';
    device.left = left;
}

static tune_search search_of(bool tiled, bool quick)
{
    clock_seconds = 100;
    return (tune_search){.shipped = shipped,
                         .measure = measure,
                         .say = say,
                         .now = now,
                         .tiled = tiled,
                         .quick = quick,
                         .max_group = 1024,
                         .until = 1e9};
}

static int value_of(const tune_values *values, const char *key)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i].key, key) == 0)
            return values->items[i].value;
    return shipped(NULL, key);
}

static double all_alike(const char *key, int value)
{
    (void)key;
    (void)value;
    return 1;
}

static double narrow_blocks(const char *key, int value)
{
    if (strcmp(key, "gemm_mr") == 0)
        return value == 8 ? 0.8 : value == 6 ? 0.9 : 1;
    if (strcmp(key, "param_mr") == 0)
        return value == 4 ? 0.98 : 1.2; /* better, but by less than what counts */
    return strcmp(key, "group_work") == 0 ? 1.1 : 1;
}

static void test_finds_what_is_faster(void **state)
{
    (void)state;
    for (int quick = 0; quick < 2; quick++) {
        tune_values best;
        bool whole = false;
        clv_error error = CLV_ERROR_INIT;
        device = (fake){.cost = narrow_blocks};
        const tune_search s = search_of(false, quick == 1);
        assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
        assert_true(whole);
        assert_int_equal(best.count, 1);
        assert_int_equal(value_of(&best, "gemm_mr"), 8);
        assert_int_equal(value_of(&best, "param_mr"), 8);
        assert_int_equal(value_of(&best, "group_work"), 1 << 20);
        assert_true(fabs(best.items[0].gain - 1 / 0.8) < 1e-9);
        assert_int_equal(device.taken, 1);
        clvi_text text = {0};
        tune_values_text(&best, true, &text);
        assert_string_equal(clvi_text_get(&text),
                            "# 1.25 times as fast when it was chosen\ngemm_mr = 8\n");
        clvi_text_fini(&text);
    }
}

static void test_nothing_is_faster(void **state)
{
    (void)state;
    tune_values best;
    bool whole = false;
    clv_error error = CLV_ERROR_INIT;
    device = (fake){.cost = all_alike, .lucky = 3};
    const tune_search s = search_of(false, false);
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
    assert_int_equal(best.count, 0);
    assert_int_equal(device.taken, 0); /* a winner by chance is measured again */
    assert_int_equal(device.measured, device.begun + 1);
    const int all = device.begun;
    device = (fake){.cost = all_alike, .breaks = "gemm_mr"};
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
    assert_int_equal(device.begun, all);
    assert_true(device.left_out > 3);
    assert_int_equal(best.count, 0);
}

static double tiles_of_8(const char *key, int value)
{
    return strcmp(key, "tile_side") == 0 ? (value == 8 ? 0.7 : 1.1) : 1;
}

static void test_tiles(void **state)
{
    (void)state;
    tune_values best;
    bool whole = false;
    clv_error error = CLV_ERROR_INIT;
    device = (fake){.cost = tiles_of_8};
    tune_search s = search_of(true, true);
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
    assert_int_equal(value_of(&best, "tile_side"), 8);
    const int with_all = device.begun;
    s.max_group = 64; /* neither tiles of 16 × 16 work-items nor groups of 128 */
    device = (fake){.cost = tiles_of_8};
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
    assert_true(device.begun < with_all);
}

static void test_time_and_stop(void **state)
{
    (void)state;
    tune_values best = {.count = 7};
    bool whole = true;
    clv_error error = CLV_ERROR_INIT;
    device = (fake){.cost = all_alike, .seconds = 10};
    tune_search s = search_of(false, false);
    s.until = clock_seconds + 35;
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_OK);
    assert_false(whole);
    assert_int_equal(device.measured, 3); /* the fourth would end after 40 */
    assert_true(device.left <= 5);
    device = (fake){.cost = narrow_blocks, .limit = 2};
    s.until = 1e9;
    best.count = 7;
    assert_int_equal(tune_search_run(&s, &best, &whole, &error), CLV_E_INTERRUPTED);
    assert_int_equal(best.count, 7); /* untouched */
}

static void test_gain(void **state)
{
    (void)state;
    const double slow[] = {10, 11, 10, 30, 10}, fast[] = {5, 5.5, 5, 5, 50};
    const double same[] = {10, 10, 11, 10, 9.9}, odd[] = {9, 12, 12, 12, 12};
    assert_true(fabs(tune_gain(slow, fast, 5) - 2) < 1e-9);
    assert_true(fabs(tune_gain(fast, slow, 5) - 0.5) < 1e-9);
    assert_true(tune_gain(slow, same, 5) < 1.02);
    /* The shortest is shorter, most are longer: nobody knows. */
    assert_true(tune_gain(same, odd, 5) == 1);
    assert_true(tune_gain(slow, fast, 1) == 2);
    assert_true(tune_disturbed(odd, 5));
    assert_false(tune_disturbed(same, 5));
}

static void test_results(void **state)
{
    float want_values[] = {1, -2, 0.5f, 1e-9f, 2e-9f}, got_values[5];
    tune_part parts[] = {{0, 3, 2}, {3, 2, 2e-9}};
    const tune_result want = {2.5, want_values, parts, 5, 2};
    tune_part got_parts[2];
    tune_result got = {2.5, got_values, got_parts, 5, 2};
    (void)state;
    memcpy(got_parts, parts, sizeof parts);
    memcpy(got_values, want_values, sizeof want_values);
    assert_true(tune_results_agree(&want, &got));
    got_values[1] = -2.001f;
    got_values[3] = 5e-8f; /* rounding of what is nothing */
    assert_true(tune_results_agree(&want, &got));
    got_values[1] = -1.9f;
    assert_false(tune_results_agree(&want, &got));
    got_values[1] = NAN;
    assert_false(tune_results_agree(&want, &got));
    got_values[1] = -2;
    got.loss = 2.6;
    assert_false(tune_results_agree(&want, &got));
    got.loss = (double)NAN;
    assert_false(tune_results_agree(&want, &got));
    got.loss = 2.5;
    got_parts[0].largest = 3;
    assert_false(tune_results_agree(&want, &got));
    got_parts[0].largest = (double)NAN;
    assert_false(tune_results_agree(&want, &got));
    got_parts[0].largest = 2;
    got.part_count = 1;
    assert_false(tune_results_agree(&want, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_what_is_faster),
        cmocka_unit_test(test_nothing_is_faster),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_time_and_stop),
        cmocka_unit_test(test_gain),
        cmocka_unit_test(test_results),
    };
    return cmocka_run_group_tests_name("tune_search", tests, NULL, NULL);
}
