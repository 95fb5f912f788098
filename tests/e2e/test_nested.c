/* Mixtures that are experts of others, inside the test program: they are what the flat mixture is,
 * gradients go through them, routed or not; frozen ones stay; resumed to the bit; and mixtures of
 * as many experts as there may be. Argument: the folder of plugins. Exit 77 where there is no
 * OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Smooth everywhere, without states and dropout. */
#define CNN(name, widths)                                                                          \
    "[expert." name "]\nplugin = cnn\nwidths = " widths                                            \
    "\nbatch_norm = no\nactivation = silu\npool = avg\n"
#define LINEAR "plugin = linear\ngrid = 4\n"
#define TOP_1  "plugin = noisy_topk\nk = 1\nnoise = no\ngrid = 4\n"
#define TOP_2  "plugin = noisy_topk\nk = 2\nnoise = no\ngrid = 4\n"

/* Experts a, the mixture of x and y, and b. What follows goes on in [mixture]. */
#define INNER   "[mixture.a]\nexperts = x, y\n" CNN("a/x", "4, 6") CNN("a/y", "5")
#define OUTER   "[mixture]\nexperts = a, b\n"
#define NETWORK INNER "[gate.a]\n" LINEAR CNN("b", "3") OUTER
/* As people write them. */
#define PLAIN(name, widths) "[expert." name "]\nplugin = cnn\nwidths = " widths "\ndropout = 0.2\n"
/* a as before, c the mixture of u and v. */
#define TWO_OF_TWO                                                                                 \
    INNER "[gate.a]\n" LINEAR "[mixture.c]\nexperts = u, v\n" CNN("c/u", "3")                      \
        CNN("c/v", "4") "[gate.c]\n" LINEAR "[mixture]\nexperts = a, c\n"

enum { GATE_WEIGHTS = 4 * 4 * 2 }; /* of LINEAR on grey pictures */

/* ---- The same as without ---- */

/* Copies the values of each variable to that of another name in the other mixture. */
static void copy_values(rig *to, rig *from, const char *const renames[][2], size_t count)
{
    clvi_store *source = clvi_mixture_store(from->mixture),
               *store = clvi_mixture_store(to->mixture);
    size_t copied = 0;
    for (size_t i = 0; i < clvi_store_count(source); i++) {
        const clvi_segment *s = clvi_store_segment(source, i);
        float values[1024];
        assert_true(s->elements <= 1024);
        for (size_t k = 0; k < count; k++) {
            char name[256];
            const size_t length = strlen(renames[k][0]);
            if (strncmp(s->name, renames[k][0], length) != 0)
                continue;
            snprintf(name, sizeof name, "%s%s", renames[k][1], s->name + length);
            const int64_t segment = clvi_store_find(store, name);
            if (segment < 0)
                fail_msg("there is no %s", name);
            OK(clvi_store_read(source, i, CLVI_STORE_VALUE, values, error));
            OK(clvi_store_write(store, (size_t)segment, CLVI_STORE_VALUE, values, error));
            copied++;
        }
    }
    assert_int_equal(copied, clvi_store_count(source));
    assert_int_equal(copied, clvi_store_count(store));
}

static void step(rig *r)
{
    const clvi_mixture_batch batch = rig_batch(r);
    OK(clvi_mixture_begin_step(r->mixture, error));
    OK(clvi_mixture_step(r->mixture, &batch, error));
}

/* Gradients of one step, by the same renaming. */
static void expect_gradients(rig *a, rig *b, const char *const renames[][2], size_t count,
                             const char *what)
{
    clvi_store *left = clvi_mixture_store(a->mixture), *right = clvi_mixture_store(b->mixture);
    step(a);
    step(b);
    for (size_t i = 0; i < clvi_store_count(left); i++) {
        const clvi_segment *s = clvi_store_segment(left, i);
        float got[2][1024];
        char name[256] = "";
        if (!s->trainable)
            continue;
        for (size_t k = 0; k < count; k++)
            if (strncmp(s->name, renames[k][0], strlen(renames[k][0])) == 0)
                snprintf(name, sizeof name, "%s%s", renames[k][1], s->name + strlen(renames[k][0]));
        const int64_t other = clvi_store_find(right, name);
        OK(clvi_store_read(left, i, CLVI_STORE_GRADIENT, got[0], error));
        OK(clvi_store_read(right, (size_t)other, CLVI_STORE_GRADIENT, got[1], error));
        for (int64_t k = 0; k < s->elements; k++)
            if (!(fabs((double)got[0][k] - (double)got[1][k]) <= 2e-6))
                fail_msg("%s: gradient %lld of %s is %g, nested %g", what, (long long)k, s->name,
                         (double)got[0][k], (double)got[1][k]);
    }
}

static void expect_answers(rig *a, rig *b, const char *what)
{
    double got[2][RIG_BATCH * TRAINING_CLASSES];
    rig_predict(a, got[0]);
    rig_predict(b, got[1]);
    for (int i = 0; i < RIG_BATCH * TRAINING_CLASSES; i++)
        if (!(fabs(got[0][i] - got[1][i]) <= 1e-6))
            fail_msg("%s: answer %d is %g, nested %g", what, i, got[0][i], got[1][i]);
}

/* An average of averages is the average of all. */
static void test_flat_average(void **state)
{
    (void)state;
    static const char flat[] = CNN("x", "4, 6") CNN("y", "5") CNN("u", "3")
        CNN("v", "4") "[mixture]\nexperts = x, y, u, v\n[gate]\nplugin = average\n";
    static const char nested[] = CNN("a/x", "4, 6") CNN("a/y", "5") CNN("c/u", "3")
        CNN("c/v", "4") "[mixture]\nexperts = a, c\n[gate]\nplugin = average\n"
                        "[mixture.a]\nexperts = x, y\n[gate.a]\nplugin = average\n"
                        "[mixture.c]\nexperts = u, v\ncombine = mean\n";
    static const char *const renames[][2] = {{"expert.x.", "expert.a/x."},
                                             {"expert.y.", "expert.a/y."},
                                             {"expert.u.", "expert.c/u."},
                                             {"expert.v.", "expert.c/v."}};
    rig a, b;
    rig_init(&a, flat, true);
    rig_init(&b, nested, true);
    copy_values(&b, &a, renames, 4);
    expect_answers(&a, &b, "average");
    expect_gradients(&a, &b, renames, 4, "average");
    rig_fini(&a);
    rig_fini(&b);
}

/* A mixture that is the only expert of another is itself: fusion, gate, dispatch and what balances
 * its gate. */
static void test_alone(void **state)
{
    (void)state;
    static const struct {
        const char *name, *mixture, *gate, *terms;
    } cases[] = {
        {"weighted", "", LINEAR, "ce"},
        {"balanced", "", LINEAR, "ce, importance:0.3, z_loss:0.1"},
        {"logits", "scores = logits\n", LINEAR, "ce, kl_uniform:0.2"},
        {"concat", "combine = concat\n", LINEAR, "ce"},
        {"max", "combine = max\n", LINEAR, "ce, entropy:0.1"},
        {"feature", "fusion = feature\n", LINEAR, "ce, switch:0.1"},
        {"on-features", "", "plugin = linear\ninput = features\n", "ce, importance:0.3"},
        {"top-1", "scores = logits\n", TOP_1, "ce, importance:0.3"},
        {"choice", "scores = logits\n", "plugin = expert_choice\ngrid = 4\n", "ce"},
    };
    static const char *const renames[][2] = {{"expert.x.", "expert.a/x."},
                                             {"expert.y.", "expert.a/y."},
                                             {"gate.", "gate.a."},
                                             {"head.", "head.a."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flat[1024], nested[1024];
        rig a, b;
        snprintf(flat, sizeof flat,
                 CNN("x", "4, 6") CNN("y", "5") "[mixture]\nexperts = x, y\n%s[gate]\n%s"
                                                "[loss]\nterms = %s\n",
                 cases[i].mixture, cases[i].gate, cases[i].terms);
        snprintf(nested, sizeof nested,
                 "[mixture]\nexperts = a\n" INNER "[mixture.a]\n%s"
                 "[gate.a]\n%s[loss.a]\nterms = %s\n",
                 cases[i].mixture, cases[i].gate, cases[i].terms);
        rig_init(&a, flat, true);
        rig_init(&b, nested, true);
        rig_stir(&a);
        copy_values(&b, &a, renames, 4);
        expect_answers(&a, &b, cases[i].name);
        expect_gradients(&a, &b, renames, 4, cases[i].name);
        rig_fini(&a);
        rig_fini(&b);
    }
}

/* ---- Gradients ---- */

static void test_gradients(void **state)
{
    (void)state;
    static const struct {
        const char *name, *config;
    } cases[] = {
        {"weighted", NETWORK "[gate]\n" LINEAR},
        {"weighted logits", NETWORK "scores = logits\n[gate]\n" LINEAR},
        {"mixture_nll", NETWORK "[gate]\n" LINEAR "[loss]\nterms = mixture_nll\n"},
        {"inner concat", NETWORK "[gate]\n" LINEAR "[mixture.a]\ncombine = concat\n"},
        {"outer concat", NETWORK "combine = concat\n[gate]\n" LINEAR},
        {"inner product", NETWORK "combine = mean\n[mixture.a]\ncombine = product\n"},
        {"inner max",
         INNER "[mixture.a]\ncombine = max\n" CNN("b", "3") OUTER "combine = product_rule\n"},
        {"features", NETWORK "fusion = feature\n[gate]\n" LINEAR "[mixture.a]\nfusion = feature\n"},
        {"features of equals",
         INNER "[mixture.a]\nfusion = feature\n" CNN("b", "3") OUTER "fusion = feature\n"},
        {"a gate on features", NETWORK "[gate]\nplugin = linear\ninput = features\n"
                                       "[mixture.a]\nfusion = feature\n"},
        {"two of two", TWO_OF_TWO "[gate]\n" LINEAR},
        {"one inside",
         "[mixture.a]\nexperts = x\n" CNN("a/x", "4") CNN("b", "3") OUTER "[gate]\n" LINEAR},
        {"four deep",
         "[mixture.a]\nexperts = x, y\n" CNN(
             "a/y", "3") "[gate.a]\n" LINEAR
                         "[mixture.a/x]\nexperts = p, q\ncombine = concat\n" CNN(
                             "a/x/q", "4") "[mixture.a/x/p]\nexperts = u, v\n" CNN("a/x/p/u", "3")
                             CNN("a/x/p/v", "5") "[gate.a/x/p]\n" LINEAR CNN("b", "3") OUTER
         "[gate]\n" LINEAR},
        {"routed inside", INNER "[mixture.a]\nscores = logits\n[gate.a]\n" TOP_1 CNN("b", "3") OUTER
         "[gate]\n" LINEAR},
        {"routed outside", NETWORK "scores = logits\n[gate]\n" TOP_1},
        {"routed twice", INNER "[mixture.a]\nscores = logits\n[gate.a]\n" TOP_1 CNN("b", "3") OUTER
         "scores = logits\n[gate]\n" TOP_1},
        {"chosen inside",
         INNER CNN("b", "3") OUTER "[gate]\n" LINEAR "[gate.a]\nplugin = expert_choice\ngrid = 4\n"
                                   "[mixture.a]\nscores = logits\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_slopes(cases[i].config, cases[i].name);
}

/* A mixture without a gate offers what its experts gave, which has no gradient where they are
 * frozen; its own layer trains, or would if anybody read it. */
static void test_handed_on(void **state)
{
    (void)state;
#define FROZEN_INSIDE                                                                              \
    INNER "[expert.a/x]\ntrainable = none\n[expert.a/y]\ntrainable = none\n" CNN("b", "3") OUTER   \
        "[mixture.a]\nfusion = feature\n[mixture]\n"
    static const char *const outer[] = {
        "fusion = feature\n",
        "fusion = feature\n[gate]\n" LINEAR,
        "fusion = feature\n[gate]\n" TOP_1,
        "[gate]\nplugin = linear\ninput = features\n",
    };
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) {
        char text[2048];
        snprintf(text, sizeof text, FROZEN_INSIDE "%s", outer[i]);
        expect_slopes(text, outer[i]);
    }
}

/* ---- Routed ---- */

/* Every sample sent to all, outside, inside and both, is what dense gates give, dropout included.
 */
static void test_all_chosen(void **state)
{
    (void)state;
    static const char *const gates[][2][2] = {{{LINEAR, LINEAR}, {LINEAR, TOP_2}},
                                              {{LINEAR, LINEAR}, {TOP_2, LINEAR}},
                                              {{LINEAR, LINEAR}, {TOP_2, TOP_2}},
                                              {{TOP_1, LINEAR}, {TOP_1, TOP_2}}};
    static const char *const renames[][2] = {{"", ""}};
    for (int k = 0; k < 4; k++) {
        char text[2][2048];
        rig r[2];
        for (int i = 0; i < 2; i++) {
            const char *const *gate = gates[k][i];
            snprintf(text[i], sizeof text[i],
                     "[mixture.a]\nexperts = x, y\n" PLAIN("a/x", "4, 6") PLAIN("a/y", "5")
                         PLAIN("b", "4") OUTER
                     "scores = logits\n[gate.a]\n%s[gate]\n%s"
                     "[loss]\nterms = ce, importance:0.1\n[loss.a]\nterms = importance:0.2\n",
                     gate[1], gate[0]);
            rig_init(&r[i], text[i], true);
        }
        rig_stir(&r[0]);
        copy_values(&r[1], &r[0], renames, 1);
        expect_answers(&r[0], &r[1], "all chosen");
        expect_gradients(&r[0], &r[1], renames, 1, "all chosen");
        rig_fini(&r[0]);
        rig_fini(&r[1]);
    }
}

static void expect_bias(rig *r, const char *name, float first, float second)
{
    float got[2];
    clvi_store *store = clvi_mixture_store(r->mixture);
    const int64_t index = clvi_store_find(store, name);
    assert_true(index >= 0);
    OK(clvi_store_read(store, (size_t)index, CLVI_STORE_VALUE, got, error));
    if (got[0] < first || got[0] > first || got[1] < second || got[1] > second)
        fail_msg("%s is %g, %g; wanted is %g, %g", name, (double)got[0], (double)got[1],
                 (double)first, (double)second);
}

/* Gates start at 0, so that their balance biases alone choose: inside, it learns from what the
 * outer one sends there. */
static void test_biased(void **state)
{
    (void)state;
    static const char config[] =
        INNER "[mixture.a]\nscores = logits\n[gate.a]\nplugin = switch\nbalance_bias = 0.125\n" CNN(
            "b", "3") OUTER "scores = logits\n[gate]\nplugin = switch\nbalance_bias = 0.25\n";
    rig r;
    rig_init(&r, config, true);
    const clvi_mixture_batch batch = rig_batch(&r);
    for (int s = 0; s < 3; s++) {
        OK(clvi_mixture_begin_step(r.mixture, error));
        OK(clvi_mixture_step(r.mixture, &batch, error));
        OK(clvi_mixture_end_step(r.mixture, error));
        /* To a, there to x; to b; to a, there to y. */
        expect_bias(&r, "gate.balance_bias", s == 1 ? 0 : -0.25f, s == 1 ? 0 : 0.25f);
        expect_bias(&r, "gate.a.balance_bias", s == 2 ? 0 : -0.125f, s == 2 ? 0 : 0.125f);
    }
    rig_fini(&r);
}

/* What a mixture gives as logits are logs of probabilities, whatever it fuses. */
static void test_probabilities(void **state)
{
    (void)state;
    static const char *const inner[] = {"", "scores = logits\n", "combine = concat\n",
                                        "combine = max\n", "combine = product\n"};
    for (int k = 0; k < 5; k++) {
        char text[2048];
        float logits[RIG_BATCH][2][TRAINING_CLASSES];
        double answers[RIG_BATCH * TRAINING_CLASSES];
        rig r;
        snprintf(text, sizeof text, NETWORK "[gate]\n" LINEAR "[mixture.a]\n%s", inner[k]);
        rig_init(&r, text, false);
        rig_stir(&r);
        rig_predict(&r, answers);
        OK(clvi_mixture_expert_logits(r.mixture, &logits[0][0][0], error));
        for (int i = 0; i < RIG_BATCH; i++) {
            double sum = 0;
            for (int c = 0; c < TRAINING_CLASSES; c++)
                sum += exp((double)logits[i][0][c]);
            if (!(fabs(sum - 1) < 1e-5))
                fail_msg("%s: the probabilities of sample %d sum to %g", inner[k], i, sum);
        }
        rig_fini(&r);
    }
}

/* ---- What balances an inner gate ---- */

/* The gradient of a gate's layer in one step of a batch. */
static void gate_gradient(const char *config, const char *gate, const rig *values,
                          const clvi_mixture_batch *batch, double out[GATE_WEIGHTS])
{
    char name[64], own[64];
    float read[GATE_WEIGHTS];
    rig r;
    rig_init(&r, config, true);
    clvi_store *store = clvi_mixture_store(r.mixture), *from = clvi_mixture_store(values->mixture);
    for (size_t i = 0; i < clvi_store_count(store); i++) { /* the gates; experts do not matter */
        const clvi_segment *s = clvi_store_segment(store, i);
        float kept[1024];
        if (strncmp(s->name, "gate", 4) != 0)
            continue;
        snprintf(own, sizeof own, "%s%s", strcmp(gate, "gate") == 0 ? "gate.a" : "",
                 strcmp(gate, "gate") == 0 ? s->name + 4 : s->name);
        const int64_t segment = clvi_store_find(from, own);
        assert_true(segment >= 0);
        OK(clvi_store_read(from, (size_t)segment, CLVI_STORE_VALUE, kept, error));
        OK(clvi_store_write(store, i, CLVI_STORE_VALUE, kept, error));
    }
    OK(clvi_mixture_begin_step(r.mixture, error));
    OK(clvi_mixture_step(r.mixture, batch, error));
    snprintf(name, sizeof name, "%s.gate.weight", gate);
    const int64_t segment = clvi_store_find(store, name);
    assert_true(segment >= 0);
    assert_int_equal(clvi_store_segment(store, (size_t)segment)->elements, GATE_WEIGHTS);
    OK(clvi_store_read(store, (size_t)segment, CLVI_STORE_GRADIENT, read, error));
    for (int i = 0; i < GATE_WEIGHTS; i++)
        out[i] = (double)read[i];
    rig_fini(&r);
}

#define ROUTED INNER "[gate.a]\n" LINEAR CNN("b", "3") OUTER "scores = logits\n[gate]\n" TOP_1
#define FLAT   CNN("x", "4, 6") CNN("y", "5") "[mixture]\nexperts = x, y\n[gate]\n" LINEAR "[loss]\n"

/* It looks at the samples that reach the mixture, and counts as their share of the batch. */
static void test_balance_of_some(void **state)
{
    (void)state;
    double all[2][GATE_WEIGHTS], some[2][GATE_WEIGHTS], answers[RIG_BATCH * TRAINING_CLASSES];
    float route[RIG_BATCH][2];
    uint8_t pixels[RIG_BATCH * RIG_PIXELS];
    int64_t n = 0;
    rig r;
    rig_init(&r, ROUTED, true);
    rig_stir(&r);
    rig_predict(&r, answers);
    OK(clvi_mixture_route(r.mixture, &route[0][0], error));
    for (int i = 0; i < RIG_BATCH; i++)
        if (route[i][0] != 0)
            memcpy(pixels + RIG_PIXELS * n++, r.pixels + RIG_PIXELS * i, RIG_PIXELS);
    assert_true(n > 1 && n < RIG_BATCH);
    const clvi_mixture_batch batch = rig_batch(&r);
    const clvi_mixture_batch part = {.n = n, .pixels = pixels, .labels = r.labels, .ids = r.ids};
    gate_gradient(ROUTED, "gate.a", &r, &batch, all[0]);
    gate_gradient(ROUTED "[loss.a]\nterms = importance:5\n", "gate.a", &r, &batch, all[1]);
    gate_gradient(FLAT "terms = ce\n", "gate", &r, &part, some[0]);
    gate_gradient(FLAT "terms = ce, importance:5\n", "gate", &r, &part, some[1]);
    double largest = 0;
    for (int i = 0; i < GATE_WEIGHTS; i++) {
        const double got = all[1][i] - all[0][i];
        const double wanted = (some[1][i] - some[0][i]) * (double)n / RIG_BATCH;
        largest = fmax(largest, fabs(wanted));
        if (!(fabs(got - wanted) <= 1e-5))
            fail_msg("weight %d: %g for %g", i, got, wanted);
    }
    assert_true(largest > 1e-3);
    rig_fini(&r);
}

/* Sum of the absolute gradients of variables that begin so. */
static double gradients_of(rig *r, const char *prefix)
{
    clvi_store *store = clvi_mixture_store(r->mixture);
    double sum = 0;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        float values[1024];
        if (!s->trainable || strncmp(s->name, prefix, strlen(prefix)) != 0)
            continue;
        OK(clvi_store_read(store, i, CLVI_STORE_GRADIENT, values, error));
        for (int64_t k = 0; k < s->elements; k++)
            sum += fabs((double)values[k]);
    }
    return sum;
}

static bool steps(rig *r, const char *variable)
{
    const int64_t segment = clvi_store_find(clvi_mixture_store(r->mixture), variable);
    const bool *active = clvi_mixture_active(r->mixture, 0);
    assert_true(segment >= 0);
    return active == NULL ||
           active[clvi_store_segment(clvi_mixture_store(r->mixture), (size_t)segment)->group];
}

/* Makes a gate's layer 0: ties, of which the first expert gets all. */
static void tie(rig *r, const char *weight, const char *bias)
{
    static const float zeros[1024];
    clvi_store *store = clvi_mixture_store(r->mixture);
    const int64_t segments[] = {clvi_store_find(store, weight), clvi_store_find(store, bias)};
    for (int i = 0; i < 2; i++) {
        assert_true(segments[i] >= 0);
        OK(clvi_store_write(store, (size_t)segments[i], CLVI_STORE_VALUE, zeros, error));
    }
}

/* A mixture that gets no sample has gradients of 0 in all its networks and takes no step. */
static void test_nobody_sent(void **state)
{
    (void)state;
    rig r;
    rig_init(&r,
             "[mixture]\nexperts = b, a\nscores = logits\n" INNER "[mixture.a]\n"
             "scores = logits\n[gate.a]\n" TOP_1 CNN("b", "3") "[gate]\n" TOP_1
                                                               "[loss.a]\nterms = importance:0.1\n",
             true);
    tie(&r, "gate.gate.weight", "gate.gate.bias");
    step(&r);
    assert_true(gradients_of(&r, "expert.a/") == 0 && gradients_of(&r, "gate.a.") == 0);
    assert_true(gradients_of(&r, "expert.b.") > 0);
    assert_false(steps(&r, "expert.a/x.classifier.weight"));
    assert_false(steps(&r, "gate.a.gate.weight"));
    assert_true(steps(&r, "expert.b.classifier.weight"));
    rig_fini(&r);

    rig_init(&r,
             "[mixture]\nexperts = a, b\nscores = logits\n" INNER "[mixture.a]\n"
             "scores = logits\n[gate.a]\n" TOP_1 CNN("b", "3") "[gate]\n" TOP_1,
             true);
    tie(&r, "gate.gate.weight", "gate.gate.bias");
    tie(&r, "gate.a.gate.weight", "gate.a.gate.bias");
    step(&r);
    assert_true(gradients_of(&r, "expert.a/x") > 0 && gradients_of(&r, "expert.a/y") == 0);
    assert_true(steps(&r, "expert.a/x.classifier.weight") && steps(&r, "gate.a.gate.weight"));
    assert_false(steps(&r, "expert.a/y.classifier.weight"));
    assert_false(steps(&r, "expert.b.classifier.weight"));
    rig_fini(&r);
}

/* ---- Trainings ---- */

#define TRAINED                                                                                    \
    "[mixture.a]\nexperts = x, y\n" PLAIN("a/x", "4, 6") PLAIN("a/y", "5") PLAIN("b", "4") OUTER

static const struct way {
    const char *name, *config;
    int reads; /* of a step */
} ways[] = {
    {"dense", TRAINED "[gate]\nplugin = cnn\nwidths = 3\n[gate.a]\nplugin = linear\n", 0},
    {"jacobs",
     TRAINED "[gate]\nplugin = cnn\nwidths = 3\n[gate.a]\nplugin = linear\n"
             "[loss]\nterms = jacobs_ce, importance:0.1\n[loss.a]\nterms = importance:0.1\n",
     0},
    {"feature",
     TRAINED "fusion = feature\n[mixture.a]\nfusion = feature\n[gate.a]\nplugin = linear\n", 0},
    {"sparse-outside",
     TRAINED "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\n[gate.a]\nplugin = linear\n"
             "[loss.a]\nterms = ce, importance:0.1\n",
     1},
    {"sparse-twice",
     TRAINED "scores = logits\n[gate]\nplugin = noisy_topk\nk = 2\n[mixture.a]\nscores = logits\n"
             "[gate.a]\nplugin = switch\n[loss.a]\nterms = switch:0.1\n",
     2},
};
enum { WAYS = sizeof ways / sizeof *ways };

static clv_status train(const char *config, const char *run, int64_t stop_at, bool resume)
{
    char text[2048];
    training t = {.run = run, .stop_at = stop_at, .resume = resume, .config = text};
    snprintf(text, sizeof text, "%s[train]\nepochs = 4\nbatch = 7\n[optimizer]\nlr = 0.01\n",
             config);
    const clv_status status = training_run(&t);
    if (status != CLV_OK && status != CLV_E_INTERRUPTED)
        fail_msg("%s: %s", run, t.error.message);
    return status;
}

/* Each trains; stopped in the middle of an epoch and resumed it has the bits of an unbroken run. */
static void test_resume(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        char broken[64], paths[2][96];
        snprintf(broken, sizeof broken, "%s-broken", ways[i].name);
        assert_int_equal(train(ways[i].config, ways[i].name, 0, false), CLV_OK);
        assert_int_equal(train(ways[i].config, broken, 7, false), CLV_E_INTERRUPTED);
        assert_int_equal(train(ways[i].config, broken, 0, true), CLV_OK);
        snprintf(paths[0], sizeof paths[0], "%s/last.safetensors", ways[i].name);
        snprintf(paths[1], sizeof paths[1], "%s/last.safetensors", broken);
        if (!same_file(paths[0], paths[1]) || !same_metrics(ways[i].name, broken))
            fail_msg("%s: resumed it goes another way", ways[i].name);
    }
}

/* What the run's config.ini says, without any other file, is the same mixture. */
static void test_run_alone(void **state)
{
    (void)state;
    static const char inner[] =
        "[mixture]\nexperts = x, y\n[expert.x]\nplugin = cnn\nwidths = 4\n[expert.y]\n"
        "plugin = cnn\nwidths = 5\n[gate]\nplugin = linear\n[train]\nepochs = 9\n";
    OK(clvi_file_write("inner.ini", inner, sizeof inner - 1, error));
    assert_int_equal(train("[mixture]\nexperts = a, b\n[expert.a]\nmixture = inner.ini\n" PLAIN(
                               "b", "4") "[gate]\nplugin = average\n",
                           "from-file", 0, false),
                     CLV_OK);
    assert_int_equal(remove("inner.ini"), 0);
    const clvi_config_source source = {.name = "from-file/config.ini"};
    clvi_config *config = NULL;
    OK(clvi_config_load(&source, &config, error));
    assert_int_equal(clvi_config_leaf_count(config), 3);
    assert_int_equal(clvi_config_int(config, "train", "epochs"), 4);
    clvi_config_destroy(config);
}

/* Largest change of a variable that begins so, between what a seed gives and the end of a run. */
static void test_frozen(void **state)
{
    (void)state;
    static const char config[] = TRAINED "[gate]\nplugin = linear\n[gate.a]\nplugin = noisy_topk\n"
                                         "k = 1\n[mixture.a]\nscores = logits\n[expert.a]\n"
                                         "trainable = none\n";
    rig r;
    rig_init(&r, config, true);
    clvi_store *store = clvi_mixture_store(r.mixture);
    static float before[64][1024];
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        const bool inside = strstr(s->name, ".a/") != NULL || strncmp(s->name, "gate.a.", 7) == 0;
        assert_true(i < 64 && s->elements <= 1024);
        assert_int_equal(s->trainable, !s->is_state && !inside);
        OK(clvi_store_read(store, i, CLVI_STORE_VALUE, before[i], error));
    }
    step(&r);
    /* Running statistics of what is frozen stay, those of b move. */
    int moved = 0;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        float now[1024];
        OK(clvi_store_read(store, i, CLVI_STORE_VALUE, now, error));
        const bool same = memcmp(now, before[i], (size_t)s->elements * 4) == 0;
        assert_true(same || (s->is_state && strncmp(s->name, "expert.b.", 9) == 0));
        moved += !same;
    }
    assert_true(moved > 0);
    rig_fini(&r);
    assert_int_equal(train(config, "frozen", 0, false), CLV_OK);
}

/* A dense step never waits; each sparse gate that somebody was sent to reads once. What is planned
 * is what is there. */
static void test_cost(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        clvi_device_counters before, after;
        rig r;
        rig_init(&r, ways[i].config, true);
        clvi_device_get_counters(trainings_device(), &before);
        step(&r);
        clvi_device_get_counters(trainings_device(), &after);
        assert_int_equal(after.reads - before.reads, ways[i].reads);
        assert_int_equal(after.waits, before.waits);
        rig_fini(&r);
        clvi_config *config = trainings_config(ways[i].config);
        clvi_dataset *data = trainings_data(config);
        const clvi_train_desc desc = {.config = config,
                                      .data = data,
                                      .plugins = trainings_plugins(),
                                      .device = trainings_device()};
        clvi_trial trial;
        OK(clvi_train_try(&desc, &trial, error));
        assert_int_equal(trial.planned_bytes, trial.device_bytes);
        clvi_dataset_close(data);
        clvi_config_destroy(config);
    }
}

/* A seed of the whole mixture moves all in it and nothing else; an expert's own comes first. */
static float first_value(const char *config, const char *name)
{
    float values[1024];
    rig r;
    rig_init(&r, config, true);
    const int64_t segment = clvi_store_find(clvi_mixture_store(r.mixture), name);
    assert_true(segment >= 0);
    OK(clvi_store_read(clvi_mixture_store(r.mixture), (size_t)segment, CLVI_STORE_VALUE, values,
                       error));
    rig_fini(&r);
    return values[0];
}

static void test_seeds(void **state)
{
    (void)state;
#define CNN_GATES                                                                                  \
    INNER "[gate.a]\nplugin = cnn\nwidths = 3\n" CNN("b", "3") OUTER                               \
        "[gate]\nplugin = cnn\nwidths = 3\n"
    static const char plain[] = CNN_GATES;
    static const char seeded[] = CNN_GATES "[expert.a]\nseed = 7\n"
                                           "[expert.a/y]\nseed = 1\n";
    static const char *const moved[] = {"expert.a/x.classifier.weight", "gate.a.gate.weight"};
    static const char *const same[] = {"expert.a/y.classifier.weight", "expert.b.classifier.weight",
                                       "gate.gate.weight"};
    for (int i = 0; i < 2; i++)
        assert_true(first_value(plain, moved[i]) != first_value(seeded, moved[i]));
    for (int i = 0; i < 3; i++)
        assert_true(first_value(plain, same[i]) == first_value(seeded, same[i]));
}

/* ---- Many ---- */

static void many(clvi_text *text, int count, const char *rest)
{
    clvi_text_append(text, "[mixture]\n");
    for (int i = 0; i < count; i++)
        clvi_text_printf(text, "%se%d", i ? ", " : "experts = ", i);
    clvi_text_printf(text, "\n%s", rest);
    for (int i = 0; i < count; i++)
        clvi_text_printf(text, "[expert.e%d]\nplugin = cnn\nwidths = 2\nhidden = 0\n", i);
}

static void test_many(void **state)
{
    (void)state;
    static const char *const gates[] = {
        "[gate]\nplugin = cnn\nwidths = 2\n[loss]\nterms = jacobs_ce, importance:0.1\n",
        "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\n[loss]\nterms = ce, load:0.1\n",
        "fusion = feature\n[gate]\nplugin = linear\n",
        "scores = logits\n[gate]\nplugin = expert_choice\nk = 3\n",
        "scores = logits\n[gate]\nplugin = switch\n[loss]\nterms = ce, switch:0.1\n",
        "combine = max\n"};
    enum { MANY = sizeof gates / sizeof *gates };
    for (int k = 0; k < MANY; k++) {
        char run[16];
        clvi_text text = {0};
        double answers[RIG_BATCH * TRAINING_CLASSES];
        rig r;
        many(&text, 64, gates[k]);
        rig_init(&r, clvi_text_get(&text), true);
        for (int i = 0; i < 3; i++)
            step(&r);
        rig_predict(&r, answers);
        for (int i = 0; i < RIG_BATCH; i++) {
            double sum = 0;
            for (int c = 0; c < TRAINING_CLASSES; c++)
                sum += answers[i * TRAINING_CLASSES + c];
            assert_true(fabs(sum - 1) < 1e-5);
        }
        rig_fini(&r);
        clvi_text_append(&text, "[train]\nepochs = 1\nbatch = 7\n");
        snprintf(run, sizeof run, "many-%d", k);
        training t = {.run = run, .config = clvi_text_get(&text)};
        if (training_run(&t) != CLV_OK)
            fail_msg("%s", t.error.message);
        clvi_text_fini(&text);
    }
}

/* ---- What is refused ---- */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *parts[3];
    } cases[] = {
        {NETWORK "fusion = feature\n[gate]\n" LINEAR,
         {"[mixture] fusion", "[expert.a]", "fusion = feature itself"}},
        {NETWORK "[gate]\n" LINEAR "[loss.a]\nterms = ce, load:0.1\n",
         {"[loss.a] terms", "load", "gate.plugin = linear"}},
        {NETWORK "[gate]\n" LINEAR "[mixture.a]\ncombine = median\n",
         {"[mixture.a] combine", "median", "trainable = none"}},
        {INNER CNN("b", "3") OUTER "[gate]\n" LINEAR "[gate.a]\nplugin = switch\n",
         {"[mixture.a] scores", "gate.plugin = switch", "scores = logits"}},
        {INNER CNN("b", "3") OUTER "[gate]\n" LINEAR "[gate.a]\nplugin = swich\n",
         {"[gate.a] plugin", "switch", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clv_error error = CLV_ERROR_INIT;
        rig r;
        if (rig_try(&r, cases[i].config, true, &error) == CLV_OK)
            fail_msg("%s was not refused", cases[i].config);
        for (int k = 0; k < 3; k++)
            if (strstr(error.message, cases[i].parts[k]) == NULL)
                fail_msg("\"%s\" is not in: %s", cases[i].parts[k], error.message);
        rig_fini(&r);
    }
    training t = {.run = "kept",
                  .config = NETWORK "[gate]\n" LINEAR
                                    "[expert.a]\ntrainable = none\n[expert.b]\ntrainable = none\n"
                                    "[train]\ncache_features = yes\n"};
    assert_int_equal(training_run(&t), CLV_E_CONFIG);
    assert_non_null(
        strstr(t.error.message, "[train] cache_features: features are kept of experts"));
    assert_non_null(strstr(t.error.message, "[expert.a] is a mixture"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat_average),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_handed_on),
        cmocka_unit_test(test_all_chosen),
        cmocka_unit_test(test_biased),
        cmocka_unit_test(test_nobody_sent),
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_balance_of_some),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_run_alone),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),
    };
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
