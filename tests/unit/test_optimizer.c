/* The optimisers on the device: AdamW against the formulas of its paper in double precision, all
 * against PyTorch; sums of gradients; averages. Exit 77: no device. */
#include "test_device.h"
#include "train/average.h"
#include "train/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

enum { GROUPS = 3, STEPS = 100, MOST = 9001 };

/* The variables of each of the groups. */
typedef struct variable {
    int group;
    const char *name;
    int64_t elements;
    bool no_decay, is_state, frozen;
} variable;

static const variable variables[] = {
    {0, "one", 1, false, false, false},       {0, "bias", 33, true, false, false},
    {0, "weight", 4097, false, false, false}, {0, "state", 31, false, true, false},
    {1, "weight", 9001, false, false, false}, {1, "frozen", 65, false, false, true},
    {1, "bias", 63, true, false, false},      {2, "weight", 64, false, false, false},
};
enum { VARIABLES = sizeof variables / sizeof *variables };

static const char *const prefixes[GROUPS] = {"expert.a.", "expert.b.", "head."};

/* A store of these variables, and what they should be. */
typedef struct bench {
    clv_graph *graphs[GROUPS];
    clvi_store *store;
    double *value[VARIABLES], *m[VARIABLES], *v[VARIABLES];
    float *gradient[VARIABLES];
    int64_t t[GROUPS];
    uint64_t random;
} bench;

static double uniform(bench *b)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(b->random >> 11) * 0x1p-53 * 2 - 1;
}

static clvi_trains is_trainable(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "frozen") != 0;
}

static bool moves(const variable *v)
{
    return !v->is_state && !v->frozen;
}

static void bench_open(bench *b)
{
    *b = (bench){.random = 7};
    OK(clvi_store_create(device, &b->store, error));
    for (int g = 0; g < GROUPS; g++) {
        uint32_t base;
        OK(clvi_graph_create("test", &b->graphs[g], error));
        for (int i = 0; i < VARIABLES; i++) {
            const variable *v = &variables[i];
            clv_tensor tensor;
            const clv_variable_desc desc = {.struct_size = sizeof desc,
                                            .flags = v->no_decay ? CLV_PARAMETER_NO_DECAY : 0,
                                            .name = v->name,
                                            .rank = 1,
                                            .init = CLV_INIT_ZEROS,
                                            .dims = {v->elements}};
            if (v->group == g)
                OK(clvi_graph_variable_add(b->graphs[g], &desc, v->is_state, &tensor, error));
        }
        OK(clvi_store_add(b->store, b->graphs[g], prefixes[g], is_trainable, NULL, &base, error));
    }
    OK(clvi_store_commit(b->store, true, error));
    for (int i = 0; i < VARIABLES; i++) {
        const size_t n = (size_t)variables[i].elements;
        float start[MOST];
        b->value[i] = calloc(n, sizeof(double));
        b->m[i] = calloc(n, sizeof(double));
        b->v[i] = calloc(n, sizeof(double));
        b->gradient[i] = calloc(n, sizeof(float));
        for (size_t k = 0; k < n; k++) {
            start[k] = (float)uniform(b);
            b->value[i][k] = (double)start[k];
        }
        OK(clvi_store_write(b->store, (size_t)i, CLVI_STORE_VALUE, start, error));
    }
}

static void bench_close(bench *b)
{
    for (int i = 0; i < VARIABLES; i++) {
        free(b->value[i]);
        free(b->m[i]);
        free(b->v[i]);
        free(b->gradient[i]);
    }
    clvi_store_destroy(b->store);
    for (int g = 0; g < GROUPS; g++)
        clvi_graph_destroy(b->graphs[g]);
}

/* New gradients, of sizes that differ from variable to variable and step to step. */
static void draw_gradients(bench *b)
{
    for (int i = 0; i < VARIABLES; i++) {
        const double scale = exp(3 * uniform(b));
        for (int64_t k = 0; k < variables[i].elements; k++)
            b->gradient[i][k] = (float)(scale * uniform(b));
        if (moves(&variables[i]))
            OK(clvi_store_write(b->store, (size_t)i, CLVI_STORE_GRADIENT, b->gradient[i], error));
    }
}

/* The step as the papers have it. */
static void expect_step(bench *b, const clvi_optimizer_desc *d, double lr, const bool *active)
{
    double squares = 0;
    for (int i = 0; i < VARIABLES; i++)
        for (int64_t k = 0; k < variables[i].elements; k++)
            if (moves(&variables[i]) && (active == NULL || active[variables[i].group]))
                squares += (double)b->gradient[i][k] * (double)b->gradient[i][k];
    const double clip = d->clip_norm / (sqrt(squares) + 1e-6);
    const double factor = d->clip_norm > 0 && clip < 1 ? clip : 1;
    for (int g = 0; g < GROUPS; g++)
        b->t[g] += active == NULL || active[g];
    for (int i = 0; i < VARIABLES; i++) {
        const variable *var = &variables[i];
        if (!moves(var) || !(active == NULL || active[var->group]))
            continue;
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefixes[var->group], var->name);
        const double rate = lr * (d->multiplier != NULL ? d->multiplier(d->user, name) : 1);
        const double decay = d->decay_all || !var->no_decay ? d->weight_decay : 0;
        const double t = (double)b->t[var->group];
        for (int64_t k = 0; k < var->elements; k++) {
            const double g = factor * (double)b->gradient[i][k];
            double *x = &b->value[i][k], *m = &b->m[i][k], *v = &b->v[i][k];
            *x *= 1 - rate * decay;
            *m = d->betas[0] * *m + (1 - d->betas[0]) * g;
            *v = d->betas[1] * *v + (1 - d->betas[1]) * g * g;
            *x -= rate * (*m / (1 - pow(d->betas[0], t))) /
                  (sqrt(*v / (1 - pow(d->betas[1], t))) + d->eps);
        }
    }
}

static void check_kind(const bench *b, clvi_store_kind kind, double *const *expected, int i,
                       double bound)
{
    float now[MOST];
    OK(clvi_store_read(b->store, (size_t)i, kind, now, error));
    for (int64_t k = 0; k < variables[i].elements; k++) {
        const double e = expected[i][k];
        if (!(fabs((double)now[k] - e) <= bound * (1 + fabs(e))))
            fail_msg("%s%s[%lld], kind %d: %.9g for %.9g", prefixes[variables[i].group],
                     variables[i].name, (long long)k, (int)kind, (double)now[k], e);
    }
}

static void check(const bench *b)
{
    for (int i = 0; i < VARIABLES; i++) {
        check_kind(b, CLVI_STORE_VALUE, b->value, i, 1e-6);
        if (!moves(&variables[i]))
            continue;
        check_kind(b, CLVI_STORE_MOMENT1, b->m, i, 2e-6);
        check_kind(b, CLVI_STORE_MOMENT2, b->v, i, 2e-6);
    }
}

static const clvi_optimizer_desc usual = {
    .betas = {0.9, 0.999}, .eps = 1e-8, .weight_decay = 0.01, .clip_norm = 0};

/* STEPS steps, the rate falling; group 1 sits each third one out where `idle`. */
static void run(bench *b, clvi_optimizer *o, const clvi_optimizer_desc *d, int steps, bool idle)
{
    for (int s = 0; s < steps; s++) {
        const bool active[GROUPS] = {true, s % 3 != 1, s != 0};
        const double lr = 3e-3 * (1 - 0.5 * s / STEPS);
        draw_gradients(b);
        OK(clvi_optimizer_step(o, lr, idle ? active : NULL, error));
        expect_step(b, d, lr, idle ? active : NULL);
    }
}

static void compare_run(const clvi_optimizer_desc *d, bool idle)
{
    bench b;
    clvi_optimizer *o = NULL;
    bench_open(&b);
    OK(clvi_optimizer_create(b.store, d, &o, error));
    run(&b, o, d, STEPS, idle);
    check(&b);
    for (uint32_t g = 0; g < GROUPS; g++)
        assert_int_equal(clvi_optimizer_group_steps(o, g), b.t[g]);
    clvi_optimizer_destroy(o);
    bench_close(&b);
}

static void test_usual(void **state)
{
    (void)state;
    compare_run(&usual, false);
}

static void test_idle_groups_and_clipping(void **state)
{
    (void)state;
    clvi_optimizer_desc d = usual;
    d.clip_norm = 40; /* of norms around 10 … 1000: some steps are clipped, some are not */
    compare_run(&d, true);
}

static double half_for_b(void *user, const char *name)
{
    (void)user;
    return strncmp(name, "expert.b.", 9) == 0 ? 0.5 : 1;
}

static void test_decay_all_and_multiplier(void **state)
{
    (void)state;
    clvi_optimizer_desc d = usual;
    d.decay_all = true;
    d.weight_decay = 0.3;
    d.betas[0] = 0.8;
    d.multiplier = half_for_b;
    compare_run(&d, false);
}

/* An optimiser made anew with the step counts of the old one goes on where that stopped. */
static void test_resume(void **state)
{
    (void)state;
    bench b;
    clvi_optimizer *o = NULL;
    bench_open(&b);
    OK(clvi_optimizer_create(b.store, &usual, &o, error));
    run(&b, o, &usual, 5, true);
    clvi_optimizer_destroy(o);
    OK(clvi_optimizer_create(b.store, &usual, &o, error));
    for (uint32_t g = 0; g < GROUPS; g++)
        clvi_optimizer_set_group_steps(o, g, b.t[g]);
    run(&b, o, &usual, 5, true);
    check(&b);
    clvi_optimizer_destroy(o);
    bench_close(&b);
}

/* Warming changes nothing and never waits; a step that all groups sit out changes nothing. */
static void test_warm_moves_nothing(void **state)
{
    (void)state;
    bench b;
    clvi_optimizer *o = NULL;
    clvi_optimizer_desc d = usual;
    d.clip_norm = 1;
    bench_open(&b);
    draw_gradients(&b);
    OK(clvi_optimizer_create(b.store, &d, &o, error));
    clvi_device_counters before, after;
    clvi_device_get_counters(device, &before);
    const uint64_t version = clvi_store_version(b.store);
    OK(clvi_optimizer_warm(o, error));
    assert_int_equal(clvi_store_version(b.store), version);
    const bool none[GROUPS] = {false, false, false};
    OK(clvi_optimizer_step(o, 0.1, none, error));
    clvi_device_get_counters(device, &after);
    assert_int_equal(after.reads, before.reads);
    assert_int_equal(after.waits, before.waits);
    assert_int_equal(clvi_optimizer_group_steps(o, 0), 0);
    assert_true(clvi_store_version(b.store) > version);
    check(&b);
    clvi_optimizer_destroy(o);
    clvi_optimizer_destroy(NULL);
    bench_close(&b);
}

/* ---- What PyTorch makes of it ---- */

enum { GOLDEN = 33 };
typedef struct golden_case {
    clvi_optimizer_kind kind;
    double lr, betas[2], eps, momentum;
    bool nesterov;
    double weight_decay, clip_norm;
    double values[GOLDEN]; /* after STEPS steps */
} golden_case;
static const golden_case golden[] = {
#include "../golden/optimizers.h"
};

/* A store of one variable of GOLDEN numbers. */
static void open_one(uint32_t kinds, clv_graph **graph, clvi_store **store)
{
    uint32_t base;
    clv_tensor tensor;
    const clv_variable_desc desc = {.struct_size = sizeof desc,
                                    .name = "numbers",
                                    .rank = 1,
                                    .init = CLV_INIT_ZEROS,
                                    .dims = {GOLDEN}};
    OK(clvi_graph_create("one", graph, error));
    OK(clvi_graph_variable_add(*graph, &desc, false, &tensor, error));
    OK(clvi_store_create(device, store, error));
    OK(clvi_store_add(*store, *graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit_kinds(*store, kinds, error));
}

/* The next GOLDEN numbers of the generator that optimizers.py has too. */
static void draw_golden(bench *noise, double scale, float *out)
{
    for (int i = 0; i < GOLDEN; i++)
        out[i] = (float)(uniform(noise) * scale);
}

static void compare_golden(const golden_case *g, int number)
{
    clv_graph *graph;
    clvi_store *store;
    clvi_optimizer *o = NULL;
    bench noise = {.random = 7};
    float numbers[GOLDEN];
    const clvi_optimizer_desc desc = {.kind = g->kind,
                                      .betas = {g->betas[0], g->betas[1]},
                                      .eps = g->eps,
                                      .momentum = g->momentum,
                                      .nesterov = g->nesterov,
                                      .weight_decay = g->weight_decay,
                                      .clip_norm = g->clip_norm,
                                      .decay_all = true};
    open_one(clvi_optimizer_kinds(&desc, false), &graph, &store);
    assert_int_equal(clvi_store_keeps(store, CLVI_STORE_MOMENT2), g->kind != CLVI_SGD);
    OK(clvi_optimizer_create(store, &desc, &o, error));
    OK(clvi_optimizer_warm(o, error));
    draw_golden(&noise, 1, numbers);
    OK(clvi_store_write(store, 0, CLVI_STORE_VALUE, numbers, error));
    for (int s = 0; s < STEPS; s++) {
        draw_golden(&noise, ldexp(1, s * 7 % 9 - 6), numbers);
        OK(clvi_store_write(store, 0, CLVI_STORE_GRADIENT, numbers, error));
        OK(clvi_optimizer_step(o, g->lr * (1 - 0.5 * s / STEPS), NULL, error));
    }
    OK(clvi_store_read(store, 0, CLVI_STORE_VALUE, numbers, error));
    for (int i = 0; i < GOLDEN; i++)
        if (!(fabs((double)numbers[i] - g->values[i]) <= 1e-6 * (1 + fabs(g->values[i]))))
            fail_msg("case %d, number %d: %.9g for %.9g", number, i, (double)numbers[i],
                     g->values[i]);
    clvi_optimizer_destroy(o);
    clvi_store_destroy(store);
    clvi_graph_destroy(graph);
}

static void test_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        compare_golden(&golden[i], (int)i);
}

/* ---- Sums and averages ---- */

/* Three gradients, added, times a factor, are a step with their sum times the factor; the gradients
 * in the store do not count then. */
static void test_sums(void **state)
{
    (void)state;
    static const double clips[] = {0, 0.5};
    for (int c = 0; c < 2; c++) {
        clv_graph *graph;
        clvi_store *store;
        clvi_optimizer *o = NULL;
        float part[GOLDEN], now[GOLDEN];
        double sum[GOLDEN] = {0}, squares = 0;
        bench noise = {.random = 11};
        const clvi_optimizer_desc desc = {.kind = CLVI_SGD, .clip_norm = clips[c]};
        open_one(clvi_optimizer_kinds(&desc, true), &graph, &store);
        OK(clvi_optimizer_create(store, &desc, &o, error));
        OK(clvi_optimizer_warm(o, error));
        OK(clvi_store_zero(store, CLVI_STORE_VALUE, error));
        for (int k = 0; k < 3; k++) {
            draw_golden(&noise, 1, part);
            OK(clvi_store_write(store, 0, CLVI_STORE_GRADIENT, part, error));
            OK(clvi_optimizer_add(o, error));
            for (int i = 0; i < GOLDEN; i++)
                sum[i] += 0.25 * (double)part[i];
        }
        for (int i = 0; i < GOLDEN; i++)
            squares += sum[i] * sum[i];
        const double clip = clips[c] > 0 ? fmin(1, clips[c] / (sqrt(squares) + 1e-6)) : 1;
        OK(clvi_optimizer_set_factor(o, 0.25, error));
        OK(clvi_optimizer_step(o, 2, NULL, error));
        OK(clvi_store_read(store, 0, CLVI_STORE_VALUE, now, error));
        for (int i = 0; i < GOLDEN; i++)
            assert_true(fabs((double)now[i] + 2 * clip * sum[i]) <= 1e-6);
        /* The next step takes what lies in the store, and the factor stays until it is changed. */
        OK(clvi_optimizer_set_factor(o, 1, error));
        OK(clvi_optimizer_step(o, 0, NULL, error));
        clvi_optimizer_destroy(o);
        clvi_store_destroy(store);
        clvi_graph_destroy(graph);
    }
}

static void test_averages(void **state)
{
    (void)state;
    clv_graph *graph;
    clvi_store *store;
    float value[GOLDEN], now[GOLDEN];
    double average[GOLDEN];
    bench noise = {.random = 13};
    assert_true(clvi_average_decay(0.999, 1) == 2.0 / 11);
    assert_true(clvi_average_decay(0.999, 90) == 0.91);
    assert_true(clvi_average_decay(0.5, 90) == 0.5);
    open_one(CLVI_STORE_ONLY_VALUES | 1u << CLVI_STORE_AVERAGE, &graph, &store);
    draw_golden(&noise, 1, value);
    OK(clvi_store_write(store, 0, CLVI_STORE_VALUE, value, error));
    OK(clvi_store_copy(store, CLVI_STORE_VALUE, CLVI_STORE_AVERAGE, error));
    for (int i = 0; i < GOLDEN; i++)
        average[i] = (double)value[i];
    for (int s = 1; s <= 20; s++) {
        draw_golden(&noise, 1, value);
        OK(clvi_store_write(store, 0, CLVI_STORE_VALUE, value, error));
        const double decay = clvi_average_decay(0.6, s);
        OK(clvi_average_step(store, decay, error));
        for (int i = 0; i < GOLDEN; i++)
            average[i] = decay * average[i] + (1 - decay) * (double)value[i];
    }
    const uint64_t version = clvi_store_version(store);
    clvi_store_swap_average(store);
    assert_true(clvi_store_version(store) > version);
    OK(clvi_store_read(store, 0, CLVI_STORE_VALUE, now, error));
    for (int i = 0; i < GOLDEN; i++)
        assert_true(fabs((double)now[i] - average[i]) <= 1e-6);
    clvi_store_swap_average(store);
    OK(clvi_store_read(store, 0, CLVI_STORE_VALUE, now, error));
    assert_memory_equal(now, value, sizeof now);
    clvi_device_counters counters;
    clvi_device_get_counters(device, &counters);
    assert_int_equal(clvi_store_bytes(store), counters.live_bytes);
    clvi_store_destroy(store);
    clvi_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),
        cmocka_unit_test(test_idle_groups_and_clipping),
        cmocka_unit_test(test_decay_all_and_multiplier),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_warm_moves_nothing),
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_averages),
    };
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
