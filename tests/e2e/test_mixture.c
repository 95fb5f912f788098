/* Mixtures of several experts, inside the test program: every fusion trains, resumes and is what it
 * says; gradients through gate, fusion and experts; keys that do not go together. Argument: the
 * folder of plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Two experts; [mixture] stands last, so that a test goes on with its keys. */
#define TWO                                                                                        \
    "[expert.a]\nplugin = cnn\nwidths = 4, 6\ndropout = 0.2\n"                                     \
    "[expert.b]\nplugin = cnn\nwidths = 5\n"                                                       \
    "[mixture]\nexperts = a, b\n"
#define CNN_GATE "[gate]\nplugin = cnn\nwidths = 3, 4\n"

/* ---- Every fusion ---- */

typedef struct way {
    const char *name, *config;
} way;

static const way ways[] = {
    {"weighted", TWO CNN_GATE},
    {"weighted-logits", TWO "scores = logits\n" CNN_GATE},
    {"average", TWO "[gate]\nplugin = average\n"},
    {"mean", TWO "combine = mean\n"},
    {"concat", TWO "combine = concat\ndropout = 0.1\n" CNN_GATE},
    {"concat-logits", TWO "combine = concat\nscores = logits\n"},
    {"feature", TWO "fusion = feature\ndropout = 0.1\n" CNN_GATE},
    {"feature-alone", TWO "fusion = feature\n"},
    {"product", TWO "combine = product\n" CNN_GATE},
    {"product-rule", TWO "combine = product_rule\n"},
    {"max", TWO "combine = max\n[gate]\nplugin = average\n"},
    {"linear", TWO "[gate]\nplugin = linear\ngrid = 4\n"},
    {"linear-features", TWO "fusion = feature\n[gate]\nplugin = linear\ninput = features\n"},
    {"top-1", TWO "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\n"
                  "[loss]\nterms = ce, importance:0.1, load:0.1\n"},
    {"top-2",
     TWO "[gate]\nplugin = noisy_topk\nk = 2\n[loss]\nterms = jacobs_ce, importance:0.1\n"},
    {"top-1-concat", TWO "combine = concat\n[gate]\nplugin = noisy_topk\nk = 1\n"
                         "[loss]\nterms = ce, expert_ce:0.1, load:0.1\n"},
    {"switch", TWO "scores = logits\n[gate]\nplugin = switch\n[loss]\nterms = ce, switch:0.1\n"},
    {"choice", TWO "scores = logits\n[gate]\nplugin = expert_choice\n"},
    {"choice-feature", TWO "fusion = feature\n[gate]\nplugin = expert_choice\nk = 1.5\n"},
    {"jacobs", TWO CNN_GATE "[loss]\nterms = jacobs_ce:1, importance:0.1\n"},
    {"jacobs-mse", TWO CNN_GATE "[loss]\nterms = jacobs_mse:1, ce:0.5, z_loss:0.01, switch:0.1\n"
                                "class_weights = 1, 2, 1, 1\n"},
    {"nll", TWO CNN_GATE "[loss]\nterms = mixture_nll, entropy:0.1, kl_uniform:0.1\n"},
    {"competitive", TWO CNN_GATE "[loss]\nterms = competitive_ce, competitive:0.5\n"},
    {"cooperative", TWO "scores = logits\n" CNN_GATE
                        "[loss]\nterms = cooperative\ntarget_space = logits\ndistance = mean\n"},
    {"expert-ce", TWO "combine = concat\n" CNN_GATE "[loss]\nterms = ce, expert_ce:0.3\n"},
};
enum { WAYS = sizeof ways / sizeof *ways };

static bool is_sparse(const way *w)
{
    return strncmp(w->name, "top", 3) == 0 || strncmp(w->name, "choice", 6) == 0 ||
           strcmp(w->name, "switch") == 0;
}

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

/* Loss of training in metrics.csv, of the first and of the last epoch. */
static void read_losses(const char *run, double *first, double *last)
{
    char path[256], *text;
    size_t bytes, rows = 0;
    snprintf(path, sizeof path, "%s/metrics.csv", run);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    for (const char *line = text; line && *line; line = strchr(line, '\n') + 1) {
        double loss;
        if (sscanf(line, "%*d,%*d,train,%lf", &loss) != 1)
            continue;
        *(rows++ == 0 ? first : last) = loss;
    }
    clvi_free(text);
    assert_int_equal(rows, 4);
}

static void test_ways(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        double first = NAN, last = NAN;
        assert_int_equal(train(ways[i].config, ways[i].name, 0, false), CLV_OK);
        read_losses(ways[i].name, &first, &last);
        if (!(last < first))
            fail_msg("%s: the loss goes from %g to %g", ways[i].name, first, last);
    }
}

static const char *way_named(const char *name)
{
    for (int i = 0; i < WAYS; i++)
        if (strcmp(ways[i].name, name) == 0)
            return ways[i].config;
    fail_msg("no way is called %s", name);
    return NULL;
}

/* Stopped in the middle of an epoch and resumed: the same bits as the unbroken run of test_ways,
 * with a dense gate and with gates whose experts see some of the samples and step at times. */
static void test_resume(void **state)
{
    (void)state;
    static const char *const names[] = {"nll", "top-1", "choice"}, *const files[] = {
                                                                       "last.safetensors",
                                                                       "best.safetensors",
                                                                       "signals.csv",
                                                                       "signal_pairs.csv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *config = way_named(names[i]);
        char run[32];
        snprintf(run, sizeof run, "%s-broken", names[i]);
        assert_int_equal(train(config, run, 10, false), CLV_E_INTERRUPTED);
        assert_int_equal(train(config, run, 0, true), CLV_OK);
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            char whole[64], broken[64];
            snprintf(whole, sizeof whole, "%s/%s", names[i], files[k]);
            snprintf(broken, sizeof broken, "%s/%s", run, files[k]);
            if (!same_file(whole, broken))
                fail_msg("%s differs from %s", broken, whole);
        }
        assert_true(same_metrics(names[i], run));
    }
}

/* ---- Signals ---- */

/* Whether experts have answers of their own. */
static bool answers(const way *w)
{
    return strstr(w->config, "expert_ce") != NULL ||
           (strstr(w->config, "concat") == NULL && strstr(w->config, "feature") == NULL);
}

/* What holds of every mixture; the runs are those of test_ways. */
static void test_signals(void **state)
{
    (void)state;
    double rows[TABLE_NUMBERS / SIGNAL_COLUMNS][SIGNAL_COLUMNS], pairs[TABLE_NUMBERS];
    for (int i = 0; i < WAYS; i++) {
        const char *name = ways[i].name;
        const bool sparse = is_sparse(&ways[i]), gated = strstr(ways[i].config, "[gate]") != NULL;
        const bool logits = answers(&ways[i]) || strstr(ways[i].config, "concat") != NULL;
        assert_int_equal(read_numbers(name, "signals.csv", 4, 1, SIGNAL_COLUMNS, rows[0]), 3);
        assert_int_equal(read_numbers(name, "signal_pairs.csv", 4, 2, PAIR_COLUMNS, pairs), 1);
        expect_close(rows[0][SIGNAL_SHARE] + rows[1][SIGNAL_SHARE], 1);
        expect_close(rows[0][SIGNAL_WEIGHT] + rows[1][SIGNAL_WEIGHT], 1);
        if (!sparse)
            expect_close(rows[0][SIGNAL_SHARE], 0.5);
        if (gated)
            expect_close(rows[0][SIGNAL_FIRST] + rows[1][SIGNAL_FIRST], 1);
        if (answers(&ways[i]))
            expect_close(rows[0][SIGNAL_POSTERIOR] + rows[1][SIGNAL_POSTERIOR], 1);
        assert_int_equal(isnan(rows[0][SIGNAL_POSTERIOR]), !answers(&ways[i]));
        assert_int_equal(isnan(rows[1][SIGNAL_TOP1]), !answers(&ways[i]));
        assert_int_equal(rows[0][SIGNAL_LOGIT_GRADIENT] > 0, logits);
        assert_true(rows[0][SIGNAL_GRADIENT] > 0 && rows[1][SIGNAL_GRADIENT] > 0);
        /* Two networks, which are not alike. */
        assert_true(isnan(pairs[PAIR_COSINE]) && isnan(pairs[PAIR_DISTANCE]));
        if (answers(&ways[i]) && !sparse)
            assert_true(pairs[PAIR_DISAGREEMENT] >= 0 && pairs[PAIR_DISAGREEMENT] <= 1);
    }
    /* One expert has no signals. */
    training t = {.run = "alone", .config = "[train]\nepochs = 1\n"};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_false(clvi_is_file("alone/signals.csv"));
}

/* What each expert is worth is in summary.json where its head got a loss, also of a sparse gate. */
static void test_worth(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        char path[256], *text;
        size_t bytes;
        snprintf(path, sizeof path, "%s/summary.json", ways[i].name);
        OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
        const bool gated = strstr(ways[i].config, "[gate]") != NULL;
        assert_int_equal(strstr(text, "\"alone\"") != NULL, answers(&ways[i]));
        assert_int_equal(strstr(text, "\"oracle\"") != NULL, answers(&ways[i]));
        assert_int_equal(strstr(text, "\"uniform\"") != NULL, gated);
        assert_int_equal(strstr(text, "\"without\"") != NULL, gated);
        clvi_free(text);
    }
}

/* ---- What a fusion is ---- */

enum { BATCH = RIG_BATCH, PIXELS = RIG_PIXELS, MOST = 64 };

/* Of the mixture's own experts and gate, by the definition. */
static void fuse(rig *r, const char *rule, double *out)
{
    float gate[BATCH * 2], logits[BATCH * 2 * TRAINING_CLASSES];
    OK(clvi_mixture_route(r->mixture, gate, error));
    assert_true(clvi_mixture_has_expert_logits(r->mixture));
    OK(clvi_mixture_expert_logits(r->mixture, logits, error));
    for (int i = 0; i < BATCH; i++) {
        double p[2][TRAINING_CLASSES], sum = 0, *y = out + i * TRAINING_CLASSES;
        const double g[2] = {(double)gate[2 * i], (double)gate[2 * i + 1]};
        for (int e = 0; e < 2; e++)
            clvi_softmax_row(logits + (2 * i + e) * TRAINING_CLASSES, TRAINING_CLASSES, 1, p[e]);
        assert_true(fabs(g[0] + g[1] - 1) < 1e-6 && g[0] != 0.5);
        for (int c = 0; c < TRAINING_CLASSES; c++) {
            y[c] = strcmp(rule, "weighted") == 0       ? g[0] * p[0][c] + g[1] * p[1][c]
                   : strcmp(rule, "product") == 0      ? pow(p[0][c], g[0]) * pow(p[1][c], g[1])
                   : strcmp(rule, "product_rule") == 0 ? p[0][c] * p[1][c]
                   : strcmp(rule, "max") == 0          ? fmax(p[0][c], p[1][c])
                                                       : fmin(p[0][c], p[1][c]);
            sum += y[c];
        }
        for (int c = 0; c < TRAINING_CLASSES; c++)
            y[c] /= sum;
    }
}

static void test_definitions(void **state)
{
    (void)state;
    static const char *const rules[] = {"weighted", "product", "product_rule", "max", "min"};
    for (int k = 0; k < 5; k++) {
        double got[BATCH * TRAINING_CLASSES], wanted[BATCH * TRAINING_CLASSES];
        char text[1024];
        rig r;
        snprintf(text, sizeof text, TWO "combine = %s\n" CNN_GATE, rules[k]);
        rig_init(&r, text, false);
        rig_predict(&r, got);
        fuse(&r, rules[k], wanted);
        for (int i = 0; i < BATCH * TRAINING_CLASSES; i++)
            if (!(fabs(got[i] - wanted[i]) <= 2e-6))
                fail_msg("%s, element %d: %g for %g", rules[k], i, got[i], wanted[i]);
        rig_fini(&r);
    }
}

/* The average gate is the mean. */
static void test_average(void **state)
{
    (void)state;
    assert_true(weights_apart("average/last.safetensors", "mean/last.safetensors") == 0);
}

/* ---- Gradients through everything ---- */

/* Without normalisation, whose states a step moves, and without dropout. */
#define SMOOTH                                                                                     \
    "[expert.a]\nplugin = cnn\nwidths = 4, 6\nbatch_norm = no\nactivation = silu\npool = avg\n"    \
    "[expert.b]\nplugin = cnn\nwidths = 5\nbatch_norm = no\nactivation = silu\n"                   \
    "[mixture]\nexperts = a, b\n"
#define SMOOTH_GATE "[gate]\nplugin = linear\ngrid = 4\n"

static void test_gradients(void **state)
{
    (void)state;
    expect_slopes(SMOOTH SMOOTH_GATE, "weighted");
    expect_slopes(SMOOTH SMOOTH_GATE "[loss]\nterms = mixture_nll\n", "mixture_nll");
    expect_slopes(SMOOTH SMOOTH_GATE "[loss]\nterms = jacobs_ce\nbeta = 1\n", "jacobs_ce, beta 1");
    expect_slopes(SMOOTH "scores = logits\n" SMOOTH_GATE, "weighted logits");
    expect_slopes(SMOOTH "combine = concat\n" SMOOTH_GATE, "concat");
    expect_slopes(SMOOTH "combine = product_rule\n", "product_rule");
    expect_slopes(SMOOTH "fusion = feature\n" SMOOTH_GATE, "feature");
    expect_slopes(SMOOTH "fusion = feature\n[gate]\nplugin = linear\ninput = features\n",
                  "gate on features");
    expect_slopes(SMOOTH "[gate]\nplugin = linear\ninput = features\n",
                  "gate on features, fused scores");
}

/* ---- Late fusion ---- */

#define LATE_A "[expert.a]\nplugin = cnn\nwidths = 4, 6\n"
#define LATE_B "[expert.b]\nplugin = cnn\nwidths = 5\n"
#define TRAINED                                                                                    \
    "[expert.a]\nplugin = cnn\nwidths = 4, 6\nweights = late-a/best.safetensors\n"                 \
    "trainable = none\n[expert.b]\nplugin = cnn\nwidths = 5\n"                                     \
    "weights = late-b/best.safetensors\ntrainable = none\n[mixture]\nexperts = a, b\n"

/* Experts trained apart, fused without any training; and only the fusing layer trained. */
static void test_late(void **state)
{
    (void)state;
    static const char *const rules[] = {"mean", "product_rule", "max", "median", "min", "vote"};
    assert_int_equal(train(LATE_A "[mixture]\nexperts = a\n", "late-a", 0, false), CLV_OK);
    assert_int_equal(train(LATE_B "[mixture]\nexperts = b\n", "late-b", 0, false), CLV_OK);
    for (int k = 0; k < 6; k++) {
        char config[1024], run[32];
        training t = {.run = run, .config = config};
        snprintf(config, sizeof config, TRAINED "combine = %s\n", rules[k]);
        snprintf(run, sizeof run, "late-%s", rules[k]);
        if (training_run(&t) != CLV_OK)
            fail_msg("%s: %s", run, t.error.message);
        assert_true(t.result.val.count > 0 && isfinite(t.result.val.nll));
    }
    assert_true(weights_apart("late-mean/best.safetensors", "late-max/best.safetensors") == 0);
    assert_int_equal(train(TRAINED "combine = concat\n", "late-concat", 0, false), CLV_OK);
}

/* ---- Sparse routes ---- */

/* Gradients of one step, of everything that trains. */
static int64_t all_gradients(rig *r, const char *without, float *out, int64_t most)
{
    clvi_store *store = clvi_mixture_store(r->mixture);
    const clvi_mixture_batch batch = rig_batch(r);
    int64_t count = 0;
    OK(clvi_mixture_begin_step(r->mixture, error));
    OK(clvi_mixture_step(r->mixture, &batch, error));
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (!s->trainable || strncmp(s->name, without, strlen(without)) == 0)
            continue;
        assert_true(count + s->elements <= most);
        OK(clvi_store_read(store, i, CLVI_STORE_GRADIENT, out + count, error));
        count += s->elements;
    }
    return count;
}

#define GATE_WEIGHTS 4 * 4 * 2

/* Gives the gate's layer these weights, so that it chooses. */
static void set_gate(rig *r, float scale)
{
    float weights[GATE_WEIGHTS];
    clvi_store *store = clvi_mixture_store(r->mixture);
    const int64_t segment = clvi_store_find(store, "gate.gate.weight");
    assert_true(segment >= 0 &&
                clvi_store_segment(store, (size_t)segment)->elements == GATE_WEIGHTS);
    for (int i = 0; i < GATE_WEIGHTS; i++)
        weights[i] = scale * (float)((i * 7) % 11 - 5);
    OK(clvi_store_write(store, (size_t)segment, CLVI_STORE_VALUE, weights, error));
}

/* All experts of a sparse gate are the dense gate, dropout included: answers and gradients. */
static void expect_alike(const char *dense, const char *sparse)
{
    enum { ALL = 4096 };
    static float grads[2][ALL];
    double answers[2][BATCH * TRAINING_CLASSES];
    int64_t counts[2];
    for (int k = 0; k < 2; k++) {
        rig r;
        rig_init(&r, k == 0 ? dense : sparse, true);
        set_gate(&r, 0.3f);
        rig_predict(&r, answers[k]);
        counts[k] = all_gradients(&r, "none", grads[k], ALL);
        rig_fini(&r);
    }
    assert_int_equal(counts[0], counts[1]);
    for (int i = 0; i < BATCH * TRAINING_CLASSES; i++)
        assert_true(fabs(answers[0][i] - answers[1][i]) <= 1e-6);
    for (int64_t i = 0; i < counts[0]; i++)
        if (!(fabs((double)grads[0][i] - (double)grads[1][i]) <= 1e-6))
            fail_msg("%s: gradient %lld: %g for %g", sparse, (long long)i, (double)grads[1][i],
                     (double)grads[0][i]);
}

static void test_all_chosen(void **state)
{
    (void)state;
    expect_alike(TWO
                 "[gate]\nplugin = linear\ngrid = 4\n[loss]\nterms = jacobs_ce, importance:0.1\n",
                 TWO "[gate]\nplugin = noisy_topk\nk = 2\nnoise = no\ngrid = 4\n"
                     "[loss]\nterms = jacobs_ce, importance:0.1\n");
    expect_alike(TWO "scores = logits\n[gate]\nplugin = linear\ngrid = 4\n",
                 TWO "scores = logits\n[gate]\nplugin = expert_choice\nk = 2\ngrid = 4\n");
}

/* Only the samples that are sent run: the answer is that of the chosen expert alone. And with one
 * expert left out, its gradients are 0 and it takes no step. */
static void test_routed(void **state)
{
    (void)state;
    static const char config[] = TWO "scores = logits\n[gate]\nplugin = switch\ngrid = 4\n";
    float gate[BATCH * 2], some[BATCH * 2 * TRAINING_CLASSES], all[BATCH * 2 * TRAINING_CLASSES];
    double answers[BATCH * TRAINING_CLASSES];
    int counts[2] = {0, 0};
    rig r, dense;
    rig_init(&r, config, true);
    set_gate(&r, 0.3f);
    rig_predict(&r, answers);
    OK(clvi_mixture_route(r.mixture, gate, error));
    OK(clvi_mixture_expert_logits(r.mixture, some, error));
    rig_init(&dense, TWO "scores = logits\n[gate]\nplugin = average\n", true);
    rig_predict(&dense, answers);
    OK(clvi_mixture_expert_logits(dense.mixture, all, error));
    for (int i = 0; i < BATCH * 2; i++) {
        counts[i % 2] += gate[i] != 0;
        for (int c = 0; c < TRAINING_CLASSES; c++) {
            const float wanted = gate[i] != 0 ? all[i * TRAINING_CLASSES + c] : 0;
            assert_true(fabs((double)(some[i * TRAINING_CLASSES + c] - wanted)) <= 1e-6);
        }
    }
    assert_true(counts[0] > 0 && counts[1] > 0 && counts[0] + counts[1] == BATCH);
    rig_fini(&dense);

    set_gate(&r, 0); /* ties: all samples go to the first expert */
    static float grads[4096];
    const int64_t count = all_gradients(&r, "expert.a", grads, 4096);
    const int64_t segment =
        clvi_store_find(clvi_mixture_store(r.mixture), "expert.b.classifier.weight");
    const bool *active = clvi_mixture_active(r.mixture, 0);
    assert_true(active != NULL && segment >= 0);
    const clvi_segment *s = clvi_store_segment(clvi_mixture_store(r.mixture), (size_t)segment);
    assert_false(active[s->group]);
    double sum = 0;
    for (int64_t i = 0; i + GATE_WEIGHTS + 2 < count; i++) /* the gate's stand last */
        sum += fabs((double)grads[i]);
    assert_true(sum == 0);
    rig_fini(&r);
}

/* Bytes beside the variables, of training eight experts with batches of up to max_batch. */
static uint64_t bytes_of(const char *gate, int64_t max_batch)
{
    char text[2048];
    size_t at = 0;
    clvi_mixture *mixture;
    for (int i = 0; i < 8; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "[expert.e%d]\nplugin = cnn\nwidths = 32, 64\n", i);
    snprintf(text + at, sizeof text - at,
             "[mixture]\nexperts = e0, e1, e2, e3, e4, e5, e6, e7\nscores = logits\n%s", gate);
    clvi_config *config = trainings_config(text);
    const clvi_mixture_desc desc = trainings_mixture(config, max_batch, true);
    OK(clvi_mixture_create(&desc, &mixture, error));
    OK(clvi_mixture_warm(mixture, error));
    const uint64_t bytes =
        clvi_mixture_bytes(mixture) - clvi_store_bytes(clvi_mixture_store(mixture));
    clvi_mixture_destroy(mixture);
    clvi_config_destroy(config);
    return bytes;
}

/* Memory of training: that of the assignments, not of every expert's whole batch. In all, and what
 * each further sample takes: an eighth, and what does not depend on how many experts see it. */
static void test_sparse_memory(void **state)
{
    (void)state;
    enum { SMALL = 64, LARGE = 128 };
    static const char dense[] = "[gate]\nplugin = linear\n",
                      sparse[] = "[gate]\nplugin = noisy_topk\nk = 1\n";
    const uint64_t all[] = {bytes_of(dense, SMALL), bytes_of(dense, LARGE)},
                   one[] = {bytes_of(sparse, SMALL), bytes_of(sparse, LARGE)};
    if (!(one[1] * 4 < all[1]) || !((one[1] - one[0]) * 5 < all[1] - all[0]))
        fail_msg("%llu bytes beside the variables, dense %llu; of 64 samples %llu, dense %llu",
                 (unsigned long long)one[1], (unsigned long long)all[1],
                 (unsigned long long)(one[1] - one[0]), (unsigned long long)(all[1] - all[0]));
}

/* ---- Seeds ---- */

static float first_weight(const char *config, const char *name)
{
    rig r;
    float values[1024];
    rig_init(&r, config, true);
    const int64_t segment = clvi_store_find(clvi_mixture_store(r.mixture), name);
    assert_true(segment >= 0);
    OK(clvi_store_read(clvi_mixture_store(r.mixture), (size_t)segment, CLVI_STORE_VALUE, values,
                       error));
    rig_fini(&r);
    return values[0];
}

/* A seed of its own moves an expert and nothing else. */
static void test_seeds(void **state)
{
    (void)state;
    static const char a[] = "expert.a.classifier.weight", b[] = "expert.b.classifier.weight";
    static const char seeded[] = TWO CNN_GATE "[expert.a]\nseed = 7\n";
    assert_true(first_weight(TWO CNN_GATE, a) != first_weight(seeded, a));
    assert_true(first_weight(TWO CNN_GATE, b) == first_weight(seeded, b));
    assert_true(first_weight(TWO CNN_GATE "[expert.a]\nseed = 1\n", a) ==
                first_weight(TWO CNN_GATE, a)); /* run.seed is 1 */
}

/* ---- Other gates ---- */

/* Once every expert of a sparse gate was asked, the gate's own weights give what they gave. */
static void test_ask_all(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        rig r;
        float route[BATCH * 2], equal[BATCH * 2], before[BATCH * TRAINING_CLASSES],
            after[BATCH * TRAINING_CLASSES], first[2 * BATCH * TRAINING_CLASSES],
            second[2 * BATCH * TRAINING_CLASSES];
        if (!is_sparse(&ways[i]))
            continue;
        rig_init(&r, ways[i].config, true);
        const clvi_mixture_batch batch = rig_batch(&r);
        const bool logits = clvi_mixture_has_expert_logits(r.mixture);
        for (int k = 0; k < BATCH * 2; k++)
            equal[k] = 0.5f;
        OK(clvi_mixture_infer(r.mixture, &batch, error));
        OK(clvi_mixture_route(r.mixture, route, error));
        OK(clvi_mixture_logits(r.mixture, before, error));
        OK(clvi_mixture_reroute(r.mixture, equal, error));
        if (logits)
            OK(clvi_mixture_expert_logits(r.mixture, first, error));
        OK(clvi_mixture_reroute(r.mixture, route, error));
        OK(clvi_mixture_logits(r.mixture, after, error));
        assert_memory_equal(before, after, sizeof before);
        if (logits) { /* they stay, and each is there */
            OK(clvi_mixture_expert_logits(r.mixture, second, error));
            assert_memory_equal(first, second, sizeof first);
            for (int k = 0; k < 2 * BATCH * TRAINING_CLASSES; k++)
                assert_true(first[k] != 0);
        }
        rig_fini(&r);
    }
}

/* ---- Waiting and memory ---- */

/* A dense step never waits; a sparse one reads how many samples each expert gets. */
static void test_no_wait(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        rig r;
        rig_init(&r, ways[i].config, true);
        const clvi_mixture_batch batch = rig_batch(&r);
        clvi_device_counters before, after;
        clvi_device_get_counters(trainings_device(), &before);
        OK(clvi_mixture_step(r.mixture, &batch, error));
        clvi_device_get_counters(trainings_device(), &after);
        assert_int_equal(after.reads - before.reads, is_sparse(&ways[i]));
        assert_int_equal(after.waits, before.waits);
        rig_fini(&r);
    }
}

static void test_memory(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
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

/* ---- What is refused ---- */

static const struct {
    const char *config, *parts[3];
} refused[] = {
    {TWO CNN_GATE "[loss]\nterms = cross:1\n", {"test.ini:", "[loss] terms", "'cross'"}},
    {TWO CNN_GATE "[loss]\nterms = jacobs_cee\n", {"did you mean jacobs_ce?", "[loss]", ""}},
    {TWO CNN_GATE "[loss]\nterms = ce:0\n", {"'0' is no weight", "ce:1", ""}},
    {TWO CNN_GATE "[loss]\nterms = ce, ce:2\n", {"ce stands there twice", "", ""}},
    {TWO CNN_GATE "[loss]\nterms = importance:1\n",
     {"[loss] terms", "mixture.combine = weighted", "needed is one of ce"}},
    {TWO CNN_GATE "[loss]\nterms = ce, mixture_nll\n",
     {"[loss] terms", "are the same", "mixture.combine = weighted"}},
    {TWO "combine = concat\n" CNN_GATE "[loss]\nterms = jacobs_ce\n",
     {"[loss] terms", "mixture.combine = concat", "needed is ce"}},
    {TWO "fusion = feature\n" CNN_GATE "[loss]\nterms = ce, cooperative\n",
     {"[loss] terms", "cooperative does not go with", "mixture.fusion = feature"}},
    {TWO "combine = max\n" CNN_GATE "[loss]\nterms = ce, jacobs_ce\n",
     {"[loss] terms", "jacobs_ce does not go with", "mixture.combine = max"}},
    {TWO "scores = logits\n" CNN_GATE "[loss]\nterms = cooperative\n",
     {"[loss] terms", "mixture.scores = logits", "loss.target_space = logits"}},
    {TWO CNN_GATE "[loss]\nterms = cooperative\ntarget_space = logits\n",
     {"[loss] terms", "mixture.scores = probabilities", "target_space = probabilities"}},
    {TWO CNN_GATE "[loss]\nterms = ce\ntarget_space = logits\n",
     {"[loss] target_space", "loss.terms (ce)", ""}},
    {TWO "combine = median\n" CNN_GATE, {"[mixture] combine", "median", "trainable = none"}},
    {TWO "combine = mean\n" CNN_GATE, {"[mixture] combine", "mean", "gate.plugin = cnn"}},
    {TWO "combine = max\n" CNN_GATE,
     {"[mixture] combine", "max does not weigh", "gate.plugin = cnn"}},
    {TWO "combine = product_rule\n[gate]\nplugin = noisy_topk\nk = 1\nnormalise = after\n"
         "[loss]\nterms = ce, importance\n",
     {"[mixture] combine", "product_rule does not weigh", "nothing in loss.terms"}},
    {TWO CNN_GATE "[loss]\nterms = ce\nbeta = 1\n",
     {"[loss] beta", "jacobs_ce", "loss.terms (ce)"}},
    {TWO "fusion = feature\ncombine = concat\n" CNN_GATE,
     {"[mixture] combine", "mixture.fusion = feature", ""}},
    {TWO "dropout = 0.5\n" CNN_GATE, {"[mixture] dropout", "mixture.combine = weighted", ""}},
    {TWO "[gate]\nplugin = average\n[loss]\nterms = ce, importance:0.1\n",
     {"[loss] terms", "importance cannot teach", "gate.plugin = average"}},
    {TWO "combine = mean\n[loss]\nterms = ce, importance:0.1\n",
     {"[loss] terms", "importance", "no gate.plugin"}},
    {TWO CNN_GATE "[loss]\nterms = ce, load:0.1\n", {"[loss] terms", "load", "gate.plugin = cnn"}},
    {TWO "[gate]\nplugin = noisy_topk\nk = 3\n",
     {"test.ini:", "[gate]", "k is 3, and there are 2 experts"}},
    {TWO "[gate]\nplugin = noisy_topk\nk = 0\n", {"test.ini:", "[gate] k", "1 to 64"}},
    {TWO "[gate]\nplugin = expert_choice\nk = 3\n", {"test.ini:", "[gate]", "k is 3"}},
    {TWO "[gate]\nplugin = expert_choice\nk = 0\n", {"test.ini:", "[gate] k", "0.01 to 64"}},
    {TWO "[gate]\nplugin = switch\ncapacity_factor = 0\n",
     {"test.ini:", "[gate] capacity_factor", "0.001 to 64"}},
    {TWO "[gate]\nplugin = noisy_topk\ncapacity_factor = -1\n",
     {"test.ini:", "[gate] capacity_factor", "0.001 to 64"}},
    {TWO "[gate]\nplugin = expert_choice\ncapacity_factor = 1\n",
     {"test.ini:", "[gate] capacity_factor", "no such option"}},
    {TWO "[gate]\nplugin = switch\nbalance_bias = -0.1\n",
     {"test.ini:", "[gate] balance_bias", "0 to 1"}},
    {TWO "[gate]\nplugin = noisy_topk\nk = 2\nbalance_bias = 0.001\n",
     {"test.ini:", "[gate]", "balance_bias has nothing to choose"}},
    {TWO "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\nbalance_bias = 0.001\n"
         "[loss]\nterms = ce, load\n",
     {"[loss] terms", "load", "no balance_bias"}},
    {TWO "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\nnormalise = after\n"
         "balance_bias = 0.001\n",
     {"[gate] plugin", "noisy_topk", "nothing in loss.terms teaches it"}},
    {TWO "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\nnormalise = after\n"
         "capacity_factor = 1\n",
     {"[gate] plugin", "noisy_topk", "nothing in loss.terms teaches it"}},
    {TWO "[gate]\nplugin = noisy_topk\nk = 2\ncapacity_factor = 0.5\n",
     {"[mixture] scores", "need not sum to 1", "scores = logits"}},
    {TWO "[gate]\nplugin = switch\n",
     {"[mixture] scores", "gate.plugin = switch", "scores = logits"}},
    {TWO "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\nnormalise = after\n",
     {"[gate] plugin", "noisy_topk", "nothing in loss.terms teaches it"}},
    {TWO "[gate]\nplugin = noisy_topk\nnoise = no\n[loss]\nterms = ce, load\n",
     {"[loss] terms", "load", "draw noise"}},
    {"[loss]\nterms = ce, expert_ce\n", {"[loss] terms", "expert_ce", "one expert"}},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        clv_error error = CLV_ERROR_INIT;
        rig r;
        if (rig_try(&r, refused[i].config, true, &error) != CLV_E_CONFIG)
            fail_msg("%s: status %d, %s", refused[i].config, error.status, error.message);
        for (int k = 0; k < 3; k++)
            if (strstr(error.message, refused[i].parts[k]) == NULL)
                fail_msg("\"%s\" is not in: %s", refused[i].parts[k], error.message);
        rig_fini(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),       cmocka_unit_test(test_resume),
        cmocka_unit_test(test_signals),    cmocka_unit_test(test_worth),
        cmocka_unit_test(test_ask_all),    cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_average),    cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_seeds),      cmocka_unit_test(test_late),
        cmocka_unit_test(test_all_chosen), cmocka_unit_test(test_routed),
        cmocka_unit_test(test_no_wait),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_sparse_memory),
    };
    /* The last one is about memory that is shared, which is none between guard bands. */
    const char *arena = getenv("CONCLAVE_ARENA");
    const size_t apart = arena != NULL && strcmp(arena, "0") == 0;
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed =
        _cmocka_run_group_tests("mixture", tests, sizeof tests / sizeof *tests - apart, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
