/* What the options of training do, on small networks inside the test program. Argument: the folder
 * of plugins. Exit 77 where there is no OpenCL device. */
#include "trainings.h"

#include "../unit/test_device.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void train(const char *config, const char *run)
{
    training t = {.config = config, .run = run};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s: %s", run, t.error.message);
}

/* ---- Several batches to a step ---- */

/* No normalisation and no dropout, whose statistics and masks are the batch's own. */
#define PLAIN                                                                                      \
    "[data]\naugment = characters\n[expert.small]\nplugin = cnn\nbatch_norm = no\ndropout = 0\n"

enum { CUTS = 3 };
/* 24 images: a step of 16 and one of 8; each is cut differently. */
static const char *const even[CUTS] = {
    "batch = 16\naccumulate = 1\n", "batch = 4\naccumulate = 4\n", "batch = 8\naccumulate = 2\n"};
/* One step of all, whose last batch is shorter than the others, or of which there are fewer. */
static const char *const uneven[CUTS] = {
    "batch = 24\naccumulate = 1\n", "batch = 5\naccumulate = 5\n", "batch = 7\naccumulate = 9\n"};

static void expect_equal_steps(const char *const cuts[CUTS], const char *more, const char *name)
{
    char runs[CUTS][32];
    for (int i = 0; i < CUTS; i++) {
        char config[1024], last[2][64];
        snprintf(config, sizeof config, PLAIN "%s[train]\nepochs = 3\n%s", more, cuts[i]);
        snprintf(runs[i], sizeof runs[i], "%s%d", name, i);
        train(config, runs[i]);
        snprintf(last[0], sizeof last[0], "%s/last.safetensors", runs[0]);
        snprintf(last[1], sizeof last[1], "%s/last.safetensors", runs[i]);
        const double apart = weights_apart(last[0], last[1]);
        if (!(apart <= 1e-5) || (i > 0 && apart == 0))
            fail_msg("%s%d: %g", name, i, apart);
    }
}

static void test_accumulate(void **state)
{
    (void)state;
    static const char clipped[] = "[optimizer]\nname = sgd\nlr = 0.1\nclip_norm = 0.05\n",
                      weighted[] = "[loss]\nclass_weights = 1, 3, 0.5, 2\n"
                                   "[optimizer]\nname = sgd\nlr = 0.1\n";
    expect_equal_steps(even, "[optimizer]\nname = sgd\nlr = 0.1\n", "sum");
    expect_equal_steps(even, clipped, "clipped");
    expect_equal_steps(even, weighted, "weighted");
    expect_equal_steps(uneven, "[optimizer]\nname = sgd\nlr = 0.1\n", "short sum");
    expect_equal_steps(uneven, clipped, "short clipped");
    expect_equal_steps(uneven, weighted, "short weighted");
}

/* ---- The loss ---- */

/* Weights that are all alike, whatever they are, change nothing, not even a bit. */
static void test_equal_class_weights(void **state)
{
    (void)state;
    train("[train]\nepochs = 2\nbatch = 7\n", "none");
    train("[loss]\nclass_weights = balanced\n[train]\nepochs = 2\nbatch = 7\n", "balanced");
    train("[loss]\nclass_weights = 2, 2, 2,2\n[train]\nepochs = 2\nbatch = 7\n", "twos");
    assert_true(weights_apart("none/last.safetensors", "balanced/last.safetensors") == 0);
    assert_true(weights_apart("none/last.safetensors", "twos/last.safetensors") == 0);
    train("[loss]\nclass_weights = 1, 2, 1, 1\n[train]\nepochs = 2\nbatch = 7\n", "unequal");
    assert_true(weights_apart("none/last.safetensors", "unequal/last.safetensors") > 1e-4);
    train("[loss]\nlabel_smoothing = 0.1\n[train]\nepochs = 2\nbatch = 7\n", "smooth");
    assert_true(weights_apart("none/last.safetensors", "smooth/last.safetensors") > 1e-4);
}

enum { BATCH = 12, PIXELS = TRAINING_SIDE * TRAINING_SIDE };

/* Gradient of the classifier's bias [classes], and the reported loss, for the chosen samples of a
 * batch of noise with labels i % classes. */
static double bias_gradient(const char *config_text, const int *chosen, int count, float *out)
{
    clvi_config *config = trainings_config(config_text);
    static uint8_t pixels[BATCH * PIXELS];
    int32_t labels[BATCH];
    clvi_mixture *m = NULL;
    const clvi_mixture_desc desc = trainings_mixture(config, BATCH, true);
    for (int i = 0; i < count; i++) {
        labels[i] = chosen[i] % TRAINING_CLASSES;
        for (int k = 0; k < PIXELS; k++)
            pixels[i * PIXELS + k] =
                (uint8_t)((unsigned)(chosen[i] * PIXELS + k) * 2654435761u >> 24);
    }
    OK(clvi_mixture_create(&desc, &m, error));
    OK(clvi_mixture_warm(m, error));
    const clvi_mixture_batch batch = {.n = count, .pixels = pixels, .labels = labels};
    OK(clvi_mixture_step(m, &batch, error));
    clvi_mixture_metrics metrics;
    OK(clvi_mixture_read_metrics(m, &metrics, error));
    const int64_t bias = clvi_store_find(clvi_mixture_store(m), "expert.small.classifier.bias");
    assert_true(bias >= 0);
    OK(clvi_store_read(clvi_mixture_store(m), (size_t)bias, CLVI_STORE_GRADIENT, out, error));
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
    return metrics.loss;
}

static void expect_near(const float *got, const double *wanted, const char *what)
{
    for (int c = 0; c < TRAINING_CLASSES; c++)
        if (!(fabs((double)got[c] - wanted[c]) <= 1e-6))
            fail_msg("%s, class %d: %g for %g", what, c, (double)got[c], wanted[c]);
}

/* Weighted mean: what the classes alone give, each times its weight. */
static void test_class_weights(void **state)
{
    (void)state;
    static const double weights[] = {1, 3, 0, 0.5};
    static const int all[] = {0, 1, 2, 3,
                              4, 5, 6, 8}; /* three of class 0, two of 1 and 2, one of 3 */
    static const int alone[4][3] = {{0, 4, 8}, {1, 5}, {2, 6}, {3}}, counts[] = {3, 2, 2, 1};
    double wanted[TRAINING_CLASSES] = {0}, sum = 0;
    float one[TRAINING_CLASSES], together[TRAINING_CLASSES];
    for (int c = 0; c < TRAINING_CLASSES; c++) {
        (void)bias_gradient(PLAIN, alone[c], counts[c], one);
        sum += weights[c] * counts[c];
        for (int k = 0; k < TRAINING_CLASSES; k++)
            wanted[k] += weights[c] * counts[c] * (double)one[k];
    }
    for (int k = 0; k < TRAINING_CLASSES; k++)
        wanted[k] /= sum;
    (void)bias_gradient(PLAIN "[loss]\nclass_weights = 1, 3, 0, 0.5\n", all, 8, together);
    expect_near(together, wanted, "class_weights");
}

/* With labels smoothed by s the gradient of the bias, mean(p - q), moves by s·(share of the class -
 * 1/C); the loss that is reported stays that of the labels. */
static void test_label_smoothing(void **state)
{
    (void)state;
    static const int all[] = {0, 1, 2, 3, 4, 5, 6, 8};
    static const double shares[] = {3. / 8, 2. / 8, 2. / 8, 1. / 8};
    float plain[TRAINING_CLASSES], smooth[TRAINING_CLASSES];
    double wanted[TRAINING_CLASSES];
    const double loss = bias_gradient(PLAIN, all, 8, plain);
    const double same = bias_gradient(PLAIN "[loss]\nlabel_smoothing = 0.25\n", all, 8, smooth);
    assert_true(loss == same);
    for (int c = 0; c < TRAINING_CLASSES; c++)
        wanted[c] = (double)plain[c] + 0.25 * (shares[c] - 0.25);
    expect_near(smooth, wanted, "label_smoothing");
}

/* ---- Averages ---- */

/* Averaged weights are those of the formula, over the weights that training without averages has
 * after each step. */
static void test_average(void **state)
{
    (void)state;
    enum { STEPS = 4, VALUES = 6 * TRAINING_CLASSES };
    static const char name[] = "expert.small.classifier.weight";
    double average[VALUES];
    float now[VALUES];
    clvi_safetensors *file;
    for (int step = 0; step <= STEPS; step++) {
        /* An epoch is one step; a learning rate of 1e-12 at step 0 gives the first values. */
        char config[256], run[32], path[64];
        snprintf(config, sizeof config, "[optimizer]\nlr = %s\n[train]\nepochs = %d\nbatch = 24\n",
                 step > 0 ? "0.01" : "1e-12", step > 0 ? step : 1);
        snprintf(run, sizeof run, "plain%d", step);
        snprintf(path, sizeof path, "%s/last.safetensors", run);
        train(config, run);
        OK(clvi_safetensors_open(path, &file, error));
        OK(clvi_safetensors_read_f32(file, (size_t)clvi_safetensors_find(file, name), now, error));
        clvi_safetensors_close(file);
        const double early = (1. + step) / (10. + step), decay = early < 0.25 ? early : 0.25;
        for (int k = 0; k < VALUES; k++)
            average[k] =
                step > 0 ? decay * average[k] + (1 - decay) * (double)now[k] : (double)now[k];
    }
    train("[optimizer]\nlr = 0.01\n[train]\nepochs = 4\nbatch = 24\nema = 0.25\n", "averaged");
    OK(clvi_safetensors_open("averaged/last.safetensors", &file, error));
    OK(clvi_safetensors_read_f32(file, (size_t)clvi_safetensors_find(file, name), now, error));
    for (int k = 0; k < VALUES; k++)
        if (!(fabs((double)now[k] - average[k]) <= 1e-6))
            fail_msg("%d: %g for %g", k, (double)now[k], average[k]);
    float raw[VALUES], plain[VALUES];
    OK(clvi_safetensors_read_f32(
        file, (size_t)clvi_safetensors_find(file, "training.expert.small.classifier.weight"), raw,
        error));
    clvi_safetensors_close(file);
    OK(clvi_safetensors_open("plain4/last.safetensors", &file, error));
    OK(clvi_safetensors_read_f32(file, (size_t)clvi_safetensors_find(file, name), plain, error));
    clvi_safetensors_close(file);
    assert_memory_equal(raw, plain, sizeof raw);
}

/* ---- The device ---- */

typedef struct watched {
    uint64_t reads, waits;
    int64_t every, seen;
} watched;

static void count_reads(void *user, const clvi_progress *now)
{
    watched *w = user;
    clvi_device_counters c;
    clvi_device_get_counters(trainings_device(), &c);
    if (now->phase == CLVI_PROGRESS_TRAIN && now->step > 1) {
        const uint64_t expected = now->step % w->every == 0 ? 1 : 0;
        assert_int_equal(c.reads - w->reads, expected);
        assert_int_equal(c.waits - w->waits, 0);
        w->seen++;
    }
    w->reads = c.reads;
    w->waits = c.waits;
}

/* A step never waits for the device; the metrics are read every log_every steps. */
static void test_reads(void **state)
{
    (void)state;
    watched w = {.every = 5};
    training t = {.config = "[loss]\nclass_weights = balanced\n"
                            "[optimizer]\nclip_norm = 1\n"
                            "[train]\nepochs = 2\nbatch = 2\nlog_every = 5\nema = 0.9\n",
                  .run = "reads",
                  .progress = count_reads,
                  .user = &w};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_int_equal(w.seen, 22);
    w = (watched){.every = 4};
    t = (training){.config = "[optimizer]\nname = sgd\n"
                             "[train]\nepochs = 1\nbatch = 2\naccumulate = 2\nlog_every = 4\n",
                   .run = "reads2",
                   .progress = count_reads,
                   .user = &w};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_int_equal(w.seen, 5);
    w = (watched){.every = 5};
    t = (training){.config = "[expert.other]\nplugin = cnn\n"
                             "[mixture]\nexperts = small, other\n"
                             "[gate]\nplugin = cnn\n"
                             "[train]\nepochs = 2\nbatch = 2\nlog_every = 5\n",
                   .run = "reads3",
                   .progress = count_reads,
                   .user = &w};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_int_equal(w.seen, 22);
}

static void expect_planned(const char *text)
{
    clvi_config *config = trainings_config(text);
    clvi_dataset *data = trainings_data(config);
    const clvi_train_desc desc = {.config = config,
                                  .data = data,
                                  .plugins = trainings_plugins(),
                                  .device = trainings_device()};
    clvi_trial trial;
    OK(clvi_train_try(&desc, &trial, error));
    assert_true(trial.device_bytes > 0);
    assert_int_equal(trial.planned_bytes, trial.device_bytes);
    assert_true(trial.epoch_seconds > 0 && trial.seconds > trial.epoch_seconds);
    clvi_dataset_close(data);
    clvi_config_destroy(config);
}

/* What is planned is what the device holds after steps of training and inference. */
static void test_memory(void **state)
{
    (void)state;
    expect_planned("[train]\nbatch = 7\n");
    expect_planned("[loss]\nlabel_smoothing = 0.1\nclass_weights = 1, 2, 3, 4\n"
                   "[train]\nbatch = 3\naccumulate = 3\nema = 0.99\n");
    expect_planned("[optimizer]\nname = sgd\nmomentum = 0\n[train]\nbatch = 24\n");
}

/* ---- Numbers that are not finite ---- */

/* Two good epochs, or two and a half; then the rate is 10^8 times as large. */
#define BLOWS_UP(when)                                                                             \
    "[data]\naugment = characters\n"                                                               \
    "[expert.small]\nplugin = cnn\nbatch_norm = no\n"                                              \
    "[optimizer]\nname = sgd\nlr = 0.01\nmomentum = 0.5\n"                                         \
    "[schedule]\nkind = step\nmilestones = " when ", " when ", " when ", " when "\ngamma = 100\n"  \
    "[train]\nepochs = 9\nbatch = 6\nlog_every = 100\ncheckpoint_every = 2\n"

static void expect_place(const char *message, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(message, parts[i]) == NULL)
            fail_msg("\"%s\" is not in: %s", parts[i], message);
}

/* Training stops, and a replay names the step and what wrote the first such number. */
static void test_not_finite(void **state)
{
    (void)state;
    training t = {.config = BLOWS_UP("2"), .run = "blown"};
    assert_int_equal(training_run(&t), CLV_E_NUMERIC);
    print_message("%s\n", t.error.message);
    static const char *const parts[] = {"epoch 3, step ", " of 4: ", "(", "of expert.small",
                                        "optimizer.lr"};
    expect_place(t.error.message, parts, sizeof parts / sizeof *parts);
    /* The checkpoint of epoch 2 is as it was, and leads there again. */
    assert_true(clvi_is_file("blown/last.safetensors"));
    char first[512];
    snprintf(first, sizeof first, "%s", t.error.message);
    t.resume = true;
    assert_int_equal(training_run(&t), CLV_E_NUMERIC);
    assert_string_equal(t.error.message, first);
}

/* The steps are finite, the validation behind them is not. */
static void test_not_finite_in_validation(void **state)
{
    (void)state;
    training t = {.config = BLOWS_UP("2.5"), .run = "blown later"};
    assert_int_equal(training_run(&t), CLV_E_NUMERIC);
    print_message("%s\n", t.error.message);
    static const char *const parts[] = {"epoch 3, validation after step 4 of 4: ", "(",
                                        "of expert.small", "its output"};
    expect_place(t.error.message, parts, sizeof parts / sizeof *parts);
}

/* Without any checkpoint the replay begins at the beginning. */
static void test_not_finite_at_once(void **state)
{
    (void)state;
    training t = {.config = "[expert.small]\nplugin = cnn\nbatch_norm = no\n"
                            "[optimizer]\nname = sgd\nlr = 1000\nweight_decay = 10\n"
                            "[train]\nepochs = 9\nbatch = 2\nlog_every = 100\n",
                  .run = "blown at once"};
    assert_int_equal(training_run(&t), CLV_E_NUMERIC);
    print_message("%s\n", t.error.message);
    static const char *const parts[] = {"epoch 1, step ", " of 12: ", "not finite"};
    expect_place(t.error.message, parts, sizeof parts / sizeof *parts);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accumulate),
        cmocka_unit_test(test_equal_class_weights),
        cmocka_unit_test(test_class_weights),
        cmocka_unit_test(test_label_smoothing),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_not_finite_at_once),
        cmocka_unit_test(test_not_finite_in_validation),
    };
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
