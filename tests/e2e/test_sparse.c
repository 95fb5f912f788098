/* What a sparse route costs: every expert runs the samples that were sent to it and no others.
 * Argument: the folder of plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"
#include "runtime/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { EXPERTS = 8, BATCH = RIG_BATCH };

/* Samples that the networks' forward passes ran between begin and now, by their multiply-adds. */
static void rows_run(const rig *r, double rows[EXPERTS])
{
    const clvi_profile_launch *launches;
    size_t count;
    unsigned long last = 0;
    OK(clvi_profile_end(trainings_device(), &launches, &count, error));
    for (int e = 0; e < EXPERTS; e++)
        rows[e] = 0;
    for (size_t i = 0; i < count; i++) {
        const clvi_profile_scope *s = &launches[i].scope;
        int e;
        if (sscanf(s->part, "expert.e%d", &e) != 1 || strcmp(s->pass, "forward") != 0 ||
            launches[i].call == last)
            continue;
        last = launches[i].call; /* a step of several launches counts once */
        assert_true(e >= 0 && e < EXPERTS);
        rows[e] += s->macs / (double)clvi_mixture_part_macs(r->mixture, (size_t)e);
    }
}

/* Each expert ran what the route says, all together `total` samples. */
static void expect_rows(rig *r, bool routed, double total)
{
    float route[BATCH * EXPERTS];
    double rows[EXPERTS], sum = 0;
    int asked = 0;
    rows_run(r, rows);
    OK(clvi_mixture_route(r->mixture, route, error));
    for (int e = 0; e < EXPERTS; e++) {
        int sent = 0;
        for (int i = 0; i < BATCH; i++)
            sent += !routed || route[i * EXPERTS + e] > 0;
        expect_close(rows[e], sent);
        asked += sent > 0;
        sum += rows[e];
    }
    expect_close(sum, total);
    assert_true(asked > 1);
}

static void expect_cost(const char *gate, bool routed, double total)
{
    char text[2048];
    size_t at = 0;
    rig r;
    for (int i = 0; i < EXPERTS; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "[expert.e%d]\nplugin = cnn\nwidths = 4, 6\n", i);
    snprintf(text + at, sizeof text - at,
             "[mixture]\nexperts = e0, e1, e2, e3, e4, e5, e6, e7\nscores = logits\n%s", gate);
    rig_init(&r, text, true);
    rig_stir(&r);
    const clvi_mixture_batch batch = rig_batch(&r);
    OK(clvi_profile_begin(trainings_device(), error));
    OK(clvi_mixture_infer(r.mixture, &batch, error));
    expect_rows(&r, routed, total);
    OK(clvi_mixture_begin_step(r.mixture, error));
    OK(clvi_profile_begin(trainings_device(), error));
    OK(clvi_mixture_step(r.mixture, &batch, error));
    expect_rows(&r, routed, total);
    rig_fini(&r);
}

static void test_cost(void **state)
{
    (void)state;
    clv_error refusal = CLV_ERROR_INIT;
    const clvi_profile_launch *launches;
    size_t count;
    if (clvi_profile_begin(trainings_device(), &refusal) != CLV_OK) {
        print_message("not counted: %s\n", refusal.message);
        skip();
    }
    OK(clvi_profile_end(trainings_device(), &launches, &count, error));
    expect_cost("[gate]\nplugin = linear\n", false, EXPERTS * BATCH);
    expect_cost("[gate]\nplugin = switch\n", true, BATCH);
    expect_cost("[gate]\nplugin = noisy_topk\nnoise = no\nk = 1\n", true, BATCH);
    expect_cost("[gate]\nplugin = noisy_topk\nnoise = no\nk = 2\n", true, 2 * BATCH);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cost)};
    return trainings_run(argc, argv, tests, sizeof tests / sizeof *tests);
}
