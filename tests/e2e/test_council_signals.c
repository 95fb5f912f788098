/* What core/mixture/council_signals.c takes from networks that train, inside the test program. The
 * sums themselves are in unit/test_signals.c, the tables of all ways of fusing in test_mixture.c.
 * Argument: the folder of plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"
#include "mixture/signals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST_VALUES = 4096, MOST_WORDS = 1024, ROWS = 8 };

/* The mean of logits sends the same to each expert; several batches of a step are as one. */
static void test_signals_of_alike(void **state)
{
    (void)state;
    double rows[ROWS][SIGNAL_COLUMNS], others[ROWS][SIGNAL_COLUMNS], pairs[ROWS][PAIR_COLUMNS];
#define THREE                                                                                      \
    "[expert.a]\nplugin = cnn\nwidths = 4\nbatch_norm = no\ndropout = 0\n"                         \
    "[expert.b]\nplugin = cnn\nwidths = 4\nbatch_norm = no\ndropout = 0\n"                         \
    "[expert.c]\nplugin = cnn\nwidths = 4\nbatch_norm = no\ndropout = 0\n"                         \
    "[mixture]\nexperts = a, b, c\n"
#define MEAN THREE "combine = mean\nscores = logits\n"
    training t = {.run = "parts", .config = MEAN "[train]\nepochs = 1\nbatch = 14\n"};
    assert_int_equal(training_run(&t), CLV_OK);
    t = (training){.run = "several",
                   .config = MEAN "[train]\nepochs = 1\nbatch = 7\naccumulate = 2\n"};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_int_equal(read_numbers("several", "signal_pairs.csv", 1, 2, PAIR_COLUMNS, pairs[0]), 3);
    assert_true(pairs[1][PAIR_COSINE] < 0.999 && pairs[1][PAIR_DISTANCE] > 0.1);
    assert_int_equal(read_numbers("parts", "signals.csv", 1, 1, SIGNAL_COLUMNS, rows[0]), 4);
    assert_int_equal(read_numbers("several", "signals.csv", 1, 1, SIGNAL_COLUMNS, others[0]), 4);
    expect_close(rows[0][SIGNAL_LOGIT_GRADIENT], rows[2][SIGNAL_LOGIT_GRADIENT]);
    assert_true(isnan(rows[0][SIGNAL_FIRST]) && isnan(rows[3][SIGNAL_GRADIENT]));
    expect_close(rows[3][SIGNAL_ENTROPY], 1);
    for (int i = 0; i < 3; i++) {
        expect_close(others[i][SIGNAL_LOGIT_GRADIENT], rows[i][SIGNAL_LOGIT_GRADIENT]);
        expect_close(others[i][SIGNAL_GRADIENT], rows[i][SIGNAL_GRADIENT]);
    }
}

/* Stopped at any call of progress and resumed: the same rows. */
static void test_stops(void **state)
{
    (void)state;
    static const char config[] = THREE "[gate]\nplugin = noisy_topk\nk = 2\n"
                                       "[train]\nepochs = 2\nbatch = 7\n";
    training whole = {.run = "whole", .config = config};
    assert_int_equal(training_run(&whole), CLV_OK);
    assert_true(whole.calls > 8);
    for (int64_t stop = 1; stop < whole.calls; stop++) {
        char run[32], paths[2][64];
        snprintf(run, sizeof run, "stop%d", (int)stop);
        training t = {.run = run, .config = config, .stop_at = stop};
        const clv_status status = training_run(&t);
        assert_true(status == CLV_E_INTERRUPTED || status == CLV_OK);
        t = (training){.run = run, .config = config, .resume = true};
        if (status != CLV_OK)
            assert_int_equal(training_run(&t), CLV_OK);
        snprintf(paths[0], sizeof paths[0], "%s/signals.csv", run);
        snprintf(paths[1], sizeof paths[1], "%s/signal_pairs.csv", run);
        assert_true(same_file("whole/signals.csv", paths[0]));
        assert_true(same_file("whole/signal_pairs.csv", paths[1]));
    }
}

/* ---- Gradients of parameters ---- */

/* Products of two lists of networks over the parameters that train, from the store. */
static void products_of(rig *r, const char *const first[], const char *const second[], double *dot,
                        double *apart)
{
    const clvi_store *store = clvi_mixture_store(r->mixture);
    const bool same = first == second;
    *dot = *apart = 0;
    for (size_t v = 0; v < clvi_store_count(store); v++) {
        const clvi_segment *s = clvi_store_segment(store, v);
        static float gradients[2][MOST_VALUES], values[2][MOST_VALUES];
        for (int k = 0; first[k]; k++) {
            const size_t length = strlen(first[k]);
            char name[128];
            if (!s->trainable || strncmp(s->name, first[k], length) != 0 || s->name[length] != '.')
                continue;
            snprintf(name, sizeof name, "%s%s", second[k], s->name + length);
            const size_t indices[2] = {v, (size_t)clvi_store_find(store, name)};
            assert_true(s->elements <= MOST_VALUES);
            for (int i = 0; i < 2; i++) {
                OK(clvi_store_read(store, indices[i], CLVI_STORE_GRADIENT, gradients[i], error));
                OK(clvi_store_read(store, indices[i], CLVI_STORE_VALUE, values[i], error));
            }
            for (int64_t i = 0; i < s->elements; i++) {
                const double d = (double)values[0][i] - (same ? 0 : (double)values[1][i]);
                *dot += (double)gradients[0][i] * (double)gradients[1][i];
                *apart += d * d;
            }
        }
    }
}

/* What signals say of two experts against the store. */
static void expect_products(rig *r, const uint32_t *words, size_t experts,
                            const char *const *const networks[], size_t first, size_t second)
{
    double dot[3], apart[3];
    clvi_signals_pair pair;
    products_of(r, networks[first], networks[first], &dot[0], &apart[0]);
    products_of(r, networks[second], networks[second], &dot[1], &apart[1]);
    products_of(r, networks[first], networks[second], &dot[2], &apart[2]);
    clvi_signals_pair_of(words, experts, first, second, &pair);
    assert_true(dot[0] > 0 && dot[1] > 0);
    expect_close(clvi_signals_gradient_of(words, experts, first), sqrt(dot[0]));
    expect_close(clvi_signals_gradient_of(words, experts, second), sqrt(dot[1]));
    expect_close(pair.cosine, dot[2] / sqrt(dot[0] * dot[1]));
    expect_close(pair.distance, sqrt(2 * apart[2] / (apart[0] + apart[1])));
}

/* A step, and a look at its gradients. */
static void step(rig *r, uint32_t epoch, uint32_t words[MOST_WORDS])
{
    const clvi_mixture_batch batch = rig_batch(r);
    memset(words, 0, MOST_WORDS * sizeof *words);
    assert_true(clvi_signals_words(clvi_mixture_expert_count(r->mixture)) <= MOST_WORDS);
    OK(clvi_mixture_put_signals(r->mixture, words, error));
    OK(clvi_mixture_step(r->mixture, &batch, error));
    OK(clvi_mixture_look_at_gradients(r->mixture, CLVI_STORE_GRADIENT, 1, epoch, error));
    OK(clvi_mixture_take_signals(r->mixture, words, error));
}

/* Of experts, of which two are copies, and the gate; where not all of them trains, or later. */
static void test_parameters(void **state)
{
    (void)state;
    static const char *const a[] = {"expert.a", NULL}, *const b[] = {"expert.b", NULL},
                             *const gate[] = {"gate", NULL};
    static const char *const *const networks[] = {a, b, NULL, gate};
    static uint32_t words[MOST_WORDS];
    double dot, apart;
    clvi_signals_pair pair;
    rig r;
    rig_init(&r,
             THREE "[gate]\nplugin = cnn\nwidths = 3, 4\n"
                   "[expert.a]\ntrainable = head\n[expert.b]\ntrainable = head\n"
                   "[expert.c]\ntrainable = head\nunfreeze_at_epoch = 2\nunfreeze = all\n",
             true);
    clvi_store *store = clvi_mixture_store(r.mixture);
    const size_t variables = clvi_mixture_expert_graph(r.mixture, 0)->variable_count;
    for (size_t v = 0; v < variables; v++) { /* the experts come first */
        static float values[MOST_VALUES];
        OK(clvi_store_read(store, v, CLVI_STORE_VALUE, values, error));
        OK(clvi_store_write(store, v + variables, CLVI_STORE_VALUE, values, error));
    }
    for (uint32_t epoch = 0; epoch < 3; epoch += 2) {
        step(&r, epoch, words);
        expect_products(&r, words, 3, networks, 0, 1);
        products_of(&r, gate, gate, &dot, &apart);
        expect_close(clvi_signals_gradient_of(words, 3, 3), sqrt(dot));
        clvi_signals_pair_of(words, 3, 0, 1, &pair);
        expect_close(pair.distance, 0);
        expect_close(pair.disagreement, 0);
        clvi_signals_pair_of(words, 3, 0, 2, &pair); /* alike until more of c trains */
        assert_int_equal(isfinite(pair.cosine) != 0, epoch == 0);
        assert_int_equal(pair.distance > 0.1, epoch == 0);
    }
    assert_int_equal(clvi_mixture_expert_training(r.mixture, 2, 0),
                     clvi_mixture_expert_training(r.mixture, 0, 2));
    assert_true(clvi_mixture_expert_training(r.mixture, 2, 0) <
                clvi_mixture_expert_training(r.mixture, 2, 2));
    rig_fini(&r);
}

/* An expert that is a mixture has the parameters of all its networks. */
static void test_nested(void **state)
{
    (void)state;
    static const char *const a[] = {"expert.a/x", "expert.a/y", "gate.a", NULL},
                             *const c[] = {"expert.c/u", "expert.c/v", "gate.c", NULL},
                             *const b[] = {"expert.b", NULL};
    static const char *const *const networks[] = {a, b, c};
    static uint32_t words[MOST_WORDS];
    clvi_signals_pair pair;
    rig r;
    rig_init(&r,
             "[mixture.a]\nexperts = x, y\n[gate.a]\nplugin = linear\n"
             "[expert.a/x]\nplugin = cnn\nwidths = 4\n[expert.a/y]\nplugin = cnn\nwidths = 3\n"
             "[mixture.c]\nexperts = u, v\n[gate.c]\nplugin = linear\n"
             "[expert.c/u]\nplugin = cnn\nwidths = 4\n[expert.c/v]\nplugin = cnn\nwidths = 3\n"
             "[expert.b]\nplugin = cnn\nwidths = 4\n"
             "[mixture]\nexperts = a, b, c\n[gate]\nplugin = linear\n",
             true);
    rig_stir(&r);
    step(&r, 0, words);
    expect_products(&r, words, 3, networks, 0, 2);
    clvi_signals_pair_of(words, 3, 0, 1, &pair);
    assert_true(isnan(pair.cosine) && pair.disagreement >= 0);
    assert_true(clvi_mixture_expert_training(r.mixture, 0, 0) >
                clvi_mixture_expert_training(r.mixture, 1, 0));
    rig_fini(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_of_alike),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_nested),
    };
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
