/* Sums of several terms, with class weights and through what fuses, and routes that need not sum to
 * 1: the gradients against slopes of the loss as it is written down, computed here from the
 * experts' answers. Argument: the folder of plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { BATCH = RIG_BATCH, CLASSES = TRAINING_CLASSES, MOST = 3 };

static const double class_weights[CLASSES] = {1, 2, 0.5, 3};
#define CLASS_WEIGHTS "class_weights = 1, 2, 0.5, 3\n"

/* What is known of one sample. */
typedef struct sample {
    int experts, label;
    double g[MOST], p[MOST][CLASSES], o[MOST][CLASSES], fused[CLASSES];
} sample;

static double distance(const double *u, int label)
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += pow((c == label) - u[c], 2);
    return sum;
}

typedef double sample_loss(const sample *s);

static double importance(const double *sums, int experts)
{
    double mean = 0, variance = 0;
    for (int e = 0; e < experts; e++)
        mean += sums[e] / experts;
    for (int e = 0; e < experts; e++)
        variance += pow(sums[e] - mean, 2) / experts;
    return variance / (mean * mean);
}

/* The mean over the batch, with class weights where wanted, and 0.1 of the importance. */
static double total(rig *r, sample_loss *loss, bool weighted, double balance)
{
    float route[BATCH * MOST], logits[BATCH * MOST * CLASSES];
    double fused[BATCH * CLASSES], sums[MOST] = {0}, sum = 0, weights = 0;
    const int experts = (int)clvi_mixture_expert_count(r->mixture);
    rig_predict(r, fused);
    OK(clvi_mixture_route(r->mixture, route, error));
    OK(clvi_mixture_expert_logits(r->mixture, logits, error));
    for (int i = 0; i < BATCH; i++) {
        sample s = {.experts = experts, .label = r->labels[i]};
        const double weight = weighted ? class_weights[s.label] : 1;
        for (int e = 0; e < experts; e++) {
            const float *row = logits + (i * experts + e) * CLASSES;
            s.g[e] = (double)route[i * experts + e];
            sums[e] += s.g[e];
            clvi_softmax_row(row, CLASSES, 1, s.p[e]);
            for (int c = 0; c < CLASSES; c++)
                s.o[e][c] = (double)row[c];
        }
        for (int c = 0; c < CLASSES; c++)
            s.fused[c] = fused[i * CLASSES + c];
        sum += weight * loss(&s);
        weights += weight;
    }
    return sum / weights + balance * importance(sums, experts);
}

static double jacobs_mse(const sample *s, bool logits)
{
    double sum = 0;
    for (int e = 0; e < s->experts; e++)
        sum += s->g[e] * exp(-0.5 * distance(logits ? s->o[e] : s->p[e], s->label));
    return -log(sum);
}

static double mean_ce(const sample *s)
{
    double sum = 0;
    for (int e = 0; e < s->experts; e++)
        sum -= log(s->p[e][s->label]) / s->experts;
    return sum;
}

/* ---- Many terms ---- */

static double of_many(const sample *s)
{
    double mean[CLASSES] = {0}, competitive = 0, entropy = 0;
    for (int e = 0; e < s->experts; e++) {
        for (int c = 0; c < CLASSES; c++)
            mean[c] += s->g[e] * s->p[e][c];
        competitive += s->g[e] * distance(s->p[e], s->label);
        entropy -= s->g[e] * log(s->p[e][s->label]);
    }
    return jacobs_mse(s, false) + 0.5 * distance(mean, s->label) + 0.3 * competitive +
           0.2 * entropy + 0.4 * mean_ce(s);
}

static double many(rig *r)
{
    return total(r, of_many, true, 0.1);
}

static double of_head(const sample *s)
{
    return -log(s->fused[s->label]) + 0.4 * mean_ce(s);
}

static double head(rig *r)
{
    return total(r, of_head, true, 0.1);
}

#define EXPERT(name, width)                                                                        \
    "[expert." name "]\nplugin = cnn\nwidths = " width                                             \
    "\nbatch_norm = no\nactivation = silu\npool = avg\n"
#define TWO    EXPERT("a", "4, 6") EXPERT("b", "5") "[mixture]\nexperts = a, b\n"
#define LINEAR "[gate]\nplugin = linear\ngrid = 4\n"

static void test_many(void **state)
{
    (void)state;
    expect_slopes_of(TWO LINEAR "[loss]\nterms = jacobs_mse, cooperative:0.5, competitive:0.3, "
                                "competitive_ce:0.2, expert_ce:0.4, importance:0.1\n" CLASS_WEIGHTS,
                     "many terms", many);
    expect_slopes_of(TWO "combine = concat\n" LINEAR
                         "[loss]\nterms = ce, expert_ce:0.4, importance:0.1\n" CLASS_WEIGHTS,
                     "through the head", head);
}

/* ---- Normalised before and after the choice ---- */

static double of_jacobs(const sample *s)
{
    return jacobs_mse(s, true);
}

static double jacobs(rig *r)
{
    return total(r, of_jacobs, false, 0);
}

#define THREE                                                                                      \
    EXPERT("a", "4, 6")                                                                            \
    EXPERT("b", "5") EXPERT("c", "3") "[mixture]\nexperts = a, b, c\nscores = logits\n"
#define TOP(how) "[gate]\nplugin = noisy_topk\nnoise = no\nk = 2\ngrid = 4\nnormalise = " how "\n"
#define JACOBS   "[loss]\nterms = jacobs_mse\ntarget_space = logits\n"

static void test_normalised(void **state)
{
    (void)state;
    expect_slopes_of(THREE TOP("after") JACOBS, "after", jacobs);
    expect_slopes_of(THREE TOP("before") JACOBS, "before", jacobs);
    expect_slopes(THREE TOP("after"), "after, ce");
    expect_slopes(THREE TOP("before"), "before, ce");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_normalised)};
    return trainings_run(argc, argv, tests, sizeof tests / sizeof *tests);
}
