/* What keeps the experts of a sparse route even: a bias that learns without a gradient, by hand and
 * in training, and a capacity, with what it drops; resumed bit for bit. Argument: the folder of
 * plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"
#include "base/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EXPERTS = 3, BATCH = RIG_BATCH };

#define THREE                                                                                      \
    "[expert.a]\nplugin = cnn\nwidths = 4\n[expert.b]\nplugin = cnn\nwidths = 4\n"                 \
    "[expert.c]\nplugin = cnn\nwidths = 5\n[mixture]\nexperts = a, b, c\nscores = logits\n"

static void step(rig *r, int64_t n)
{
    clvi_mixture_batch batch = rig_batch(r);
    batch.n = n;
    OK(clvi_mixture_step(r->mixture, &batch, error));
}

/* A variable of the gate, EXPERTS numbers. */
static void expect_variable(rig *r, const char *name, const float *wanted)
{
    float got[EXPERTS];
    clvi_store *store = clvi_mixture_store(r->mixture);
    const int64_t index = clvi_store_find(store, name);
    assert_true(index >= 0 && clvi_store_segment(store, (size_t)index)->elements == EXPERTS);
    OK(clvi_store_read(store, (size_t)index, CLVI_STORE_VALUE, got, error));
    for (int i = 0; i < EXPERTS; i++)
        if (got[i] < wanted[i] || got[i] > wanted[i])
            fail_msg("%s[%d] is %g, wanted is %g", name, i, (double)got[i], (double)wanted[i]);
}

/* ---- Balance bias ---- */

/* The gate starts at 0, so that all q are 1/3 and the bias alone chooses: the largest, of equal
 * ones the first expert. Steps of one and of two batches; nothing else learns here. */
static void test_bias(void **state)
{
    (void)state;
    static const float after[][EXPERTS] = {
        {-0.125f, 0.125f, 0.125f}, /* all samples went to a */
        {0, 0, 0.25f},             /* to b */
        {0.125f, 0.125f, 0.125f},  /* to c */
        {0, 0.25f, 0.25f},         /* to a */
    };
    rig r;
    rig_init(&r, THREE "[gate]\nplugin = switch\nbalance_bias = 0.125\n", true);
    expect_variable(&r, "gate.balance_bias", (const float[EXPERTS]){0});
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        float route[BATCH * EXPERTS];
        const clvi_mixture_batch batch = rig_batch(&r);
        OK(clvi_mixture_begin_step(r.mixture, error));
        step(&r, BATCH);
        if (i % 2 == 1)
            step(&r, 3);
        OK(clvi_mixture_end_step(r.mixture, error));
        expect_variable(&r, "gate.balance_bias", after[i]);
        /* Inference chooses by it, weighs without it, and leaves it alone. */
        OK(clvi_mixture_infer(r.mixture, &batch, error));
        OK(clvi_mixture_route(r.mixture, route, error));
        for (int k = 0; k < BATCH * EXPERTS; k++) {
            const int best = (int[]){1, 2, 0, 1}[i];
            const double wanted = k % EXPERTS == best ? 1.0 / 3 : 0;
            assert_true((double)route[k] > wanted - 1e-6 && (double)route[k] < wanted + 1e-6);
        }
        expect_variable(&r, "gate.balance_bias", after[i]);
    }
    rig_fini(&r);
}

static void set_variable(rig *r, const char *name, const float *values)
{
    clvi_store *store = clvi_mixture_store(r->mixture);
    const int64_t index = clvi_store_find(store, name);
    assert_true(index >= 0 && clvi_store_segment(store, (size_t)index)->elements == EXPERTS);
    OK(clvi_store_write(store, (size_t)index, CLVI_STORE_VALUE, values, error));
}

/* Whom the bias chooses gets the sample, though q of it is less than any float: else the bias would
 * see no load and stay where it is. */
static void test_bias_of_nothing(void **state)
{
    (void)state;
    clvi_mixture_metrics metrics;
    rig r;
    rig_init(&r, THREE "[gate]\nplugin = switch\nbalance_bias = 0.125\n", true);
    set_variable(&r, "gate.gate.bias", (const float[EXPERTS]){300, 0, 0});
    set_variable(&r, "gate.balance_bias", (const float[EXPERTS]){0, 0, 2});
    OK(clvi_mixture_begin_step(r.mixture, error));
    step(&r, BATCH);
    OK(clvi_mixture_end_step(r.mixture, error));
    expect_variable(&r, "gate.balance_bias", (const float[EXPERTS]){0.125f, 0.125f, 1.875f});
    OK(clvi_mixture_read_metrics(r.mixture, &metrics, error));
    assert_int_equal(metrics.unrouted, 0);
    rig_fini(&r);
}

/* Two of three, chosen with noise, with a capacity; two batches to a step, averages of all values,
 * the bias among them. */
#define RESUMED                                                                                    \
    THREE                                                                                          \
    "[gate]\nplugin = noisy_topk\nbalance_bias = 0.01\ncapacity_factor = 0.8\n"                    \
    "[loss]\nterms = ce, importance:0.01\n[optimizer]\nlr = 0.01\n"                                \
    "[train]\nepochs = 3\nbatch = 5\naccumulate = 2\nlog_every = 3\nema = 0.9\n"

static void test_resumed(void **state)
{
    (void)state;
    training t = {.config = RESUMED, .run = "whole"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    for (int stop = 1; stop <= 8; stop++) {
        char run[32], file[64];
        snprintf(run, sizeof run, "broken-%d", stop);
        snprintf(file, sizeof file, "%s/last.safetensors", run);
        training broken = {.config = RESUMED, .run = run, .stop_at = stop};
        assert_int_equal(training_run(&broken), CLV_E_INTERRUPTED);
        broken.stop_at = 0;
        broken.resume = true;
        assert_int_equal(training_run(&broken), CLV_OK);
        assert_true(same_file("whole/last.safetensors", file));
        assert_true(same_metrics("whole", run));
    }
}

/* Smallest share of assignments of an expert in a run's training images. */
static double smallest_share(const char *run)
{
    char path[64], *text;
    size_t bytes;
    double least = 1;
    int rows = 0;
    snprintf(path, sizeof path, "%s/usage.csv", run);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    for (const char *line = text; line && *line; line = strchr(line, '\n') + 1) {
        double share;
        if (sscanf(line, "train,all,,%*[^,],%*d,%*d,%*d,%lf", &share) != 1)
            continue;
        least = share < least ? share : least;
        rows++;
    }
    clvi_free(text);
    assert_int_equal(rows, EXPERTS);
    return least;
}

/* Only one expert learns: a gate left alone does without one of the others. */
#define ONE_LEARNS                                                                                 \
    "[expert.a]\nplugin = cnn\nwidths = 6\n"                                                       \
    "[expert.b]\nplugin = cnn\nwidths = 4\ntrainable = none\n"                                     \
    "[expert.c]\nplugin = cnn\nwidths = 4\ntrainable = none\n"                                     \
    "[mixture]\nexperts = a, b, c\nscores = logits\n"                                              \
    "[train]\nepochs = 20\nbatch = 6\n[optimizer]\nlr = 0.02\n[gate]\nplugin = switch\n"

static void test_evener(void **state)
{
    (void)state;
    training alone = {.config = ONE_LEARNS, .run = "alone"};
    training biased = {.config = ONE_LEARNS "balance_bias = 0.05\n", .run = "biased"};
    if (training_run(&alone) != CLV_OK || training_run(&biased) != CLV_OK)
        fail_msg("%s%s", alone.error.message, biased.error.message);
    const double without = smallest_share("alone"), with = smallest_share("biased");
    print_message("smallest share %.3f without, %.3f with a balance bias\n", without, with);
    assert_true(without < 0.05);
    assert_true(with > 0.15);
}

/* ---- Capacity ---- */

static void expect_counts(rig *r, int64_t count, int64_t unrouted, int64_t wanted, int64_t dropped)
{
    clvi_mixture_metrics m;
    OK(clvi_mixture_read_metrics(r->mixture, &m, error));
    assert_int_equal(m.count, count);
    assert_int_equal(m.unrouted, unrouted);
    assert_int_equal(m.wanted, wanted);
    assert_int_equal(m.dropped, dropped);
}

/* Gradients of an expert, one behind the other. */
static int64_t gradients_of(rig *r, const char *prefix, float *out, int64_t most)
{
    clvi_store *store = clvi_mixture_store(r->mixture);
    int64_t count = 0;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (!s->trainable || strncmp(s->name, prefix, strlen(prefix)) != 0)
            continue;
        assert_true(count + s->elements <= most);
        OK(clvi_store_read(store, i, CLVI_STORE_GRADIENT, out + count, error));
        count += s->elements;
    }
    return count;
}

/* All nine samples want the first expert, which has room for ⌈9/3⌉: the first three of the batch,
 * as all weigh the same. What it learns is what these three teach, of a mean over nine. */
static void test_capacity(void **state)
{
    (void)state;
    enum { MOST = 1024 };
    static float grads[2][MOST];
    float route[BATCH * EXPERTS];
    rig limited, free;
    rig_init(&limited, THREE "[gate]\nplugin = switch\ncapacity_factor = 1\n", true);
    rig_init(&free, THREE "[gate]\nplugin = switch\n", true);
    step(&limited, BATCH);
    expect_counts(&limited, 3, 6, 9, 6);
    clvi_mixture_batch three = rig_batch(&free);
    three.n = 3;
    three.share = 1.0 / BATCH;
    OK(clvi_mixture_step(free.mixture, &three, error));
    expect_counts(&free, 3, 0, 3, 0);
    const int64_t count = gradients_of(&limited, "expert.a.", grads[0], MOST);
    assert_true(count > 0 && gradients_of(&free, "expert.a.", grads[1], MOST) == count);
    bool any = false;
    for (int64_t i = 0; i < count; i++) {
        assert_true(grads[0][i] >= grads[1][i] && grads[0][i] <= grads[1][i]);
        any |= grads[0][i] < 0 || grads[0][i] > 0;
    }
    assert_true(any);
    /* Evaluation drops nothing, and counts nothing. */
    const clvi_mixture_batch all = rig_batch(&limited);
    OK(clvi_mixture_infer(limited.mixture, &all, error));
    OK(clvi_mixture_route(limited.mixture, route, error));
    for (int i = 0; i < BATCH; i++)
        assert_true(route[i * EXPERTS] > 0);
    expect_counts(&limited, BATCH, 0, 0, 0);
    rig_fini(&limited);
    rig_fini(&free);
}

/* Two of three experts each, room for ⌈0.75·2·9/3⌉ = 5: the first five samples keep both, the
 * others have none. With a step of two batches each has its own room. */
static void test_capacity_of_two(void **state)
{
    (void)state;
    rig r;
    rig_init(&r, THREE "[gate]\nplugin = noisy_topk\nnoise = no\ncapacity_factor = 0.75\n", true);
    step(&r, BATCH);
    expect_counts(&r, 5, 4, 18, 8);
    step(&r, BATCH);
    step(&r, 5); /* ⌈0.75·2·5/3⌉ = 3 */
    expect_counts(&r, 5 + 3, 4 + 2, 18 + 10, 8 + 4);
    rig_fini(&r);
    /* K/k: there is room for all. */
    rig_init(&r, THREE "[gate]\nplugin = noisy_topk\nnoise = no\ncapacity_factor = 1.5\n", true);
    step(&r, BATCH);
    expect_counts(&r, 9, 0, 18, 0);
    rig_fini(&r);
}

/* What a training says of it: in the result, metrics.csv and summary.json. Of one expert each, who
 * is dropped has none. */
static void test_reported(void **state)
{
    (void)state;
    char *text, row[64], field[64];
    size_t bytes;
    training t = {.config = THREE "[gate]\nplugin = switch\ncapacity_factor = 1\n[train]\n"
                                  "epochs = 2\nbatch = 8\n",
                  .run = "capacity"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    /* At most three experts of three, of at most 24. */
    assert_true(t.result.dropped > 0 && t.result.dropped <= 15.0 / 24);
    assert_true(t.result.unrouted >= t.result.dropped && t.result.unrouted <= t.result.dropped);
    snprintf(row, sizeof row, ",%.6g,%.6g\n2,6,val", t.result.dropped, t.result.dropped);
    OK(clvi_file_read("capacity/metrics.csv", 1 << 20, &text, &bytes, error));
    assert_non_null(strstr(text, row));
    clvi_free(text);
    OK(clvi_file_read("capacity/summary.json", 1 << 20, &text, &bytes, error));
    const char *routing = strstr(text, "\"routing\": {");
    assert_non_null(routing);
    snprintf(field, sizeof field, "\"dropped\": %.9g", t.result.dropped);
    assert_non_null(strstr(routing, field));
    snprintf(field, sizeof field, "\"unrouted\": %.9g", t.result.unrouted);
    assert_non_null(strstr(routing, field));
    clvi_free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bias),     cmocka_unit_test(test_bias_of_nothing),
        cmocka_unit_test(test_resumed),  cmocka_unit_test(test_evener),
        cmocka_unit_test(test_capacity), cmocka_unit_test(test_capacity_of_two),
        cmocka_unit_test(test_reported)};
    return trainings_run(argc, argv, tests, sizeof tests / sizeof *tests);
}
