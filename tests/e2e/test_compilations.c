/* Nothing is compiled behind the first step of a training: neither for smaller batches nor for
 * evaluation, the gate or the last scores. Argument: the folder of plugins. Exit 77 where there is
 * no OpenCL device. */
#include "trainings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct counted {
    uint64_t kernels, programs; /* at the end of the first step */
    int64_t steps;
} counted;

static void count(void *user, const clvi_progress *now)
{
    counted *c = user;
    clvi_device_counters counters;
    if (now->phase != CLVI_PROGRESS_TRAIN || c->steps++ > 0)
        return;
    clvi_device_get_counters(trainings_device(), &counters);
    c->kernels = counters.kernels_compiled;
    c->programs = counters.programs_built + counters.programs_cached;
}

static void expect_none(const char *config, const char *run)
{
    clvi_device_counters before, after;
    counted c = {0};
    training t = {.config = config, .run = run, .progress = count, .user = &c};
    clvi_device_get_counters(trainings_device(), &before);
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    clvi_device_get_counters(trainings_device(), &after);
    assert_true(c.steps > 8);
    assert_true(c.kernels > before.kernels_compiled);
    assert_int_equal(after.kernels_compiled - c.kernels, 0);
    assert_int_equal(after.programs_built + after.programs_cached - c.programs, 0);
}

/* Batches of 5 of 24 pictures: the last one has 4. */
static void test_efficientnet(void **state)
{
    (void)state;
    expect_none("[expert.b0]\nplugin = efficientnet_b0\nstrides = 1,1,2,1,2,1,2,1\n"
                "[mixture]\nexperts = b0\n[optimizer]\nclip_norm = 1\n"
                "[train]\nepochs = 2\nbatch = 5\nema = 0.9\n",
                "b0");
}

static void test_mixture(void **state)
{
    (void)state;
    expect_none("[expert.other]\nplugin = cnn\nwidths = 5,7\n[mixture]\nexperts = small, other\n"
                "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\n"
                "[loss]\nterms = ce, importance:0.1, load:0.1\n"
                "[train]\nepochs = 2\nbatch = 5\n",
                "mixture");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_efficientnet),
                                       cmocka_unit_test(test_mixture)};
    return trainings_run(argc, argv, tests, sizeof tests / sizeof *tests);
}
