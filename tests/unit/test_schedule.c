/* core/train: the learning rate over time, hand-computed. */
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-15))
        fail_msg("%.17g is not %.17g", value, expected);
}

static void test_constant(void **state)
{
    (void)state;
    const clvi_schedule plain = {.kind = CLVI_SCHEDULE_CONSTANT, .lr = 0.25, .steps = 10};
    near(clvi_schedule_rate(&plain, 0), 0.25);
    near(clvi_schedule_rate(&plain, 9), 0.25);
    near(clvi_schedule_rate(&plain, 100), 0.25);
    const clvi_schedule warm = {
        .kind = CLVI_SCHEDULE_CONSTANT, .lr = 0.8, .warmup_steps = 4, .steps = 10};
    static const double rates[] = {0.2, 0.4, 0.6, 0.8, 0.8, 0.8};
    for (int step = 0; step < 6; step++)
        near(clvi_schedule_rate(&warm, step), rates[step]);
}

/* cos of 0, 45, 90, 135 and 180 degrees. */
static void test_cosine(void **state)
{
    (void)state;
    const clvi_schedule plain = {.kind = CLVI_SCHEDULE_COSINE, .lr = 1.0, .steps = 5};
    const double half = sqrt(0.5);
    const double rates[] = {1.0, 0.5 * (1 + half), 0.5, 0.5 * (1 - half), 0.0, 0.0};
    for (int step = 0; step < 6; step++)
        near(clvi_schedule_rate(&plain, step), rates[step]);

    /* Peak 2 at step 2, then down to 0.1 · 2 at step 6. */
    const clvi_schedule warm = {
        .kind = CLVI_SCHEDULE_COSINE, .lr = 2.0, .final_lr = 0.1, .warmup_steps = 3, .steps = 7};
    const double warm_rates[] = {
        2.0 / 3, 4.0 / 3, 2.0, 0.2 + 0.9 * (1 + half), 1.1, 0.2 + 0.9 * (1 - half), 0.2, 0.2};
    for (int step = 0; step < 8; step++)
        near(clvi_schedule_rate(&warm, step), warm_rates[step]);
}

/* Epochs of 4 steps; milestones after 1.5 and 3 epochs, given the wrong way round. */
static void test_milestones(void **state)
{
    (void)state;
    static const double milestones[] = {3, 1.5};
    const clvi_schedule s = {.kind = CLVI_SCHEDULE_STEP,
                             .lr = 8,
                             .milestones = milestones,
                             .milestone_count = 2,
                             .gamma = 0.5,
                             .steps_per_epoch = 4,
                             .warmup_steps = 2,
                             .steps = 20};
    static const double rates[] = {4, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4, 2, 2};
    for (int step = 0; step < 14; step++)
        near(clvi_schedule_rate(&s, step), rates[step]);
    near(clvi_schedule_rate(&s, 19), 2);
}

/* Lowered after each two epochs without a figure that is better by more than 0.1. */
static void test_plateau(void **state)
{
    (void)state;
    const clvi_early_stop_rule rule = {.patience = 2, .min_delta = 0.1};
    static const double figures[] = {5, 4, 4, 3.95, 3.95, 3.95, 3, 3, 3};
    static const double scales[] = {1, 1, 1, 0.25, 0.25, 0.0625, 0.0625, 0.0625, 0.015625};
    clvi_plateau now = {.scale = 1};
    for (int i = 0; i < 9; i++) {
        const double before = now.scale;
        assert_int_equal(clvi_plateau_update(&rule, 0.25, &now, i + 1, figures[i]),
                         scales[i] != before);
        near(now.scale, scales[i]);
    }
    assert_int_equal(now.watch.best_epoch, 7);
}

static void test_short_trainings(void **state)
{
    (void)state;
    clvi_schedule one = {.kind = CLVI_SCHEDULE_COSINE, .lr = 3.0, .steps = 1};
    near(clvi_schedule_rate(&one, 0), 3.0);
    one.warmup_steps = 1;
    near(clvi_schedule_rate(&one, 0), 3.0);
    const clvi_schedule all_warm = {
        .kind = CLVI_SCHEDULE_COSINE, .lr = 3.0, .warmup_steps = 3, .steps = 3};
    near(clvi_schedule_rate(&all_warm, 0), 1.0);
    near(clvi_schedule_rate(&all_warm, 2), 3.0);
    near(clvi_schedule_rate(&all_warm, 9), 3.0);
}

static void test_warmup_steps(void **state)
{
    (void)state;
    assert_int_equal(clvi_schedule_warmup_steps(0, 100, 1000), 0);
    assert_int_equal(clvi_schedule_warmup_steps(2, 100, 1000), 200);
    assert_int_equal(clvi_schedule_warmup_steps(0.5, 5, 1000), 3);
    assert_int_equal(clvi_schedule_warmup_steps(0.001, 100, 1000), 0);
    assert_int_equal(clvi_schedule_warmup_steps(20, 100, 1000), 1000);
    assert_int_equal(clvi_schedule_warmup_steps(1e300, 100, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_milestones),      cmocka_unit_test(test_plateau),
        cmocka_unit_test(test_short_trainings), cmocka_unit_test(test_warmup_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
