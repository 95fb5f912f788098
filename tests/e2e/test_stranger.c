/* Routing rules of somebody else's: compiled here with the public headers and nothing else, found
 * in a folder of their own, checked, trained, routed; one learns after each step. Arguments: the
 * folder of plugins, the source's root, a C compiler, the command. Exit 77 where there is no OpenCL
 * device. */
#include "trainings.h"

#include "../unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define THREE                                                                                      \
    "[expert.a]\nplugin = cnn\nwidths = 4\n[expert.b]\nplugin = cnn\nwidths = 4\n"                 \
    "[expert.c]\nplugin = cnn\nwidths = 5\n"                                                       \
    "[mixture]\nexperts = a, b, c\nscores = logits\n"
#define MARGIN THREE "[gate]\nplugin = margin\n"
#define STEADY THREE "[gate]\nplugin = steady\n"
#define LEARN                                                                                      \
    "[loss]\nterms = ce, importance:0.1\n[optimizer]\nlr = 0.01\n[train]\nepochs = 3\nbatch = 7\n"

static void expect_trains(const char *config, const char *run)
{
    char again[64], file[2][96];
    snprintf(again, sizeof again, "%s-resumed", run);
    snprintf(file[0], sizeof file[0], "%s/last.safetensors", run);
    snprintf(file[1], sizeof file[1], "%s/last.safetensors", again);
    training t = {.config = config, .run = run};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    training broken = {.config = config, .run = again, .stop_at = 6};
    assert_int_equal(training_run(&broken), CLV_E_INTERRUPTED);
    broken.stop_at = 0;
    broken.resume = true;
    assert_int_equal(training_run(&broken), CLV_OK);
    assert_true(same_file(file[0], file[1]));
}

static void test_trains(void **state)
{
    (void)state;
    expect_trains(MARGIN LEARN, "margin");
    expect_trains(STEADY LEARN "ema = 0.8\n", "steady");
    expect_trains(STEADY LEARN "accumulate = 2\n", "steady-two");
}

static void open_mixture(const char *text, int64_t batch, clvi_config **config, clvi_mixture **m)
{
    *config = trainings_config(text);
    const clvi_mixture_desc desc = trainings_mixture(*config, batch, true);
    OK(clvi_mixture_create(&desc, m, error));
    OK(clvi_mixture_warm(*m, error));
}

static void expect_state(clvi_mixture *m, const char *name, const float *wanted, int count)
{
    float got[3];
    const int64_t index = clvi_store_find(clvi_mixture_store(m), name);
    assert_true(index >= 0);
    OK(clvi_store_read(clvi_mixture_store(m), (size_t)index, CLVI_STORE_VALUE, got, error));
    for (int k = 0; k < count; k++)
        assert_true(got[k] >= wanted[k] - 1e-7f && got[k] <= wanted[k] + 1e-7f);
}

/* Everything to a at first: its handicap becomes -0.01·7; then to b, of two batches, and so on. */
static void test_learns(void **state)
{
    (void)state;
    enum { BATCH = 7 };
    static const float after[][3] = {{-0.07f, 0, 0},
                                     {-0.035f, -0.1f, 0},
                                     {-0.0175f, -0.05f, -0.07f},
                                     {-0.07875f, -0.025f, -0.035f}};
    static uint8_t pixels[BATCH * TRAINING_SIDE * TRAINING_SIDE];
    static const int32_t labels[BATCH];
    clvi_config *config;
    clvi_mixture *m = NULL;
    open_mixture(STEADY, BATCH, &config, &m);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        clvi_mixture_batch batch = {.n = BATCH, .pixels = pixels, .labels = labels};
        OK(clvi_mixture_begin_step(m, error));
        OK(clvi_mixture_step(m, &batch, error));
        batch.n = 3;
        if (i == 1)
            OK(clvi_mixture_step(m, &batch, error));
        OK(clvi_mixture_end_step(m, error));
        expect_state(m, "gate.handicap", after[i], 3);
    }
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
}

/* A mixture in which nothing trains but such a rule learns by the samples that it gets, and only
 * then. */
static void test_learns_inside(void **state)
{
    (void)state;
    enum { BATCH = 7 };
    static const float outer[][2] = {{-0.07f, 0}, {-0.035f, -0.07f}, {-0.0875f, -0.035f}};
    static const float inner[][2] = {{-0.07f, 0}, {-0.07f, 0}, {-0.035f, -0.07f}};
    static uint8_t pixels[BATCH * TRAINING_SIDE * TRAINING_SIDE];
    static const int32_t labels[BATCH];
    const clvi_mixture_batch batch = {.n = BATCH, .pixels = pixels, .labels = labels};
    clvi_config *config;
    clvi_mixture *m = NULL;
    open_mixture("[mixture]\nexperts = a, b\nscores = logits\n[gate]\nplugin = steady\n"
                 "[mixture.a]\nexperts = x, y\nscores = logits\n[gate.a]\nplugin = steady\n"
                 "judge = no\n[expert.a/x]\nplugin = cnn\nwidths = 4\ntrainable = none\n"
                 "[expert.a/y]\nplugin = cnn\nwidths = 5\ntrainable = none\n"
                 "[expert.b]\nplugin = cnn\nwidths = 4\n",
                 BATCH, &config, &m);
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) {
        OK(clvi_mixture_begin_step(m, error));
        OK(clvi_mixture_step(m, &batch, error));
        OK(clvi_mixture_end_step(m, error));
        expect_state(m, "gate.handicap", outer[i], 2);
        expect_state(m, "gate.a.handicap", inner[i], 2);
    }
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
}

/* The core sends what the rule says: experts without weight have not answered. */
static void test_routes(void **state)
{
    (void)state;
    enum { BATCH = 16, EXPERTS = 3, PIXELS = TRAINING_SIDE * TRAINING_SIDE };
    static uint8_t pixels[BATCH * PIXELS];
    float gate[BATCH * EXPERTS], logits[BATCH * EXPERTS * TRAINING_CLASSES];
    clvi_config *config = trainings_config(MARGIN);
    clvi_mixture *m = NULL;
    int sent = 0;
    for (int i = 0; i < BATCH * PIXELS; i++)
        pixels[i] = (uint8_t)(i / PIXELS * 16 + i % 7);
    const clvi_mixture_desc desc = trainings_mixture(config, BATCH, false);
    OK(clvi_mixture_create(&desc, &m, error));
    OK(clvi_mixture_warm(m, error));
    /* Away from where all three are above the margin. */
    const int64_t bias = clvi_store_find(clvi_mixture_store(m), "gate.judge.bias");
    assert_true(bias >= 0);
    OK(clvi_store_write(clvi_mixture_store(m), (size_t)bias, CLVI_STORE_VALUE,
                        (const float[]){1.2f, 0, -1}, error));
    const clvi_mixture_batch batch = {.n = BATCH, .pixels = pixels};
    OK(clvi_mixture_infer(m, &batch, error));
    OK(clvi_mixture_route(m, gate, error));
    OK(clvi_mixture_expert_logits(m, logits, error));
    for (int i = 0; i < BATCH * EXPERTS; i++) {
        bool answered = false;
        for (int c = 0; c < TRAINING_CLASSES; c++)
            answered |= logits[i * TRAINING_CLASSES + c] != 0;
        assert_true(answered == (gate[i] != 0) && gate[i] >= 0);
        sent += answered;
    }
    assert_true(sent >= BATCH && sent < EXPERTS * BATCH);
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
}

/* No expert is good enough for anybody. In training nobody answers, and nothing is counted but
 * that; in evaluation each sample goes to its best one, with its softmax as weight. */
static void test_nobody(void **state)
{
    (void)state;
    enum { BATCH = 16, EXPERTS = 3, PIXELS = TRAINING_SIDE * TRAINING_SIDE };
    static uint8_t pixels[BATCH * PIXELS];
    static const int32_t labels[BATCH];
    float gate[BATCH * EXPERTS], logits[BATCH * EXPERTS * TRAINING_CLASSES];
    clvi_config *config = trainings_config(MARGIN "least = 2.9\n");
    clvi_mixture *m = NULL;
    clvi_mixture_metrics metrics;
    for (int i = 0; i < BATCH * PIXELS; i++)
        pixels[i] = (uint8_t)(i / PIXELS * 16 + i % 7);
    const clvi_mixture_desc desc = trainings_mixture(config, BATCH, true);
    OK(clvi_mixture_create(&desc, &m, error));
    OK(clvi_mixture_warm(m, error));
    /* Softmax of 1, 1.5, 0 and what the picture adds, which is less. */
    clvi_store *store = clvi_mixture_store(m);
    const int64_t bias = clvi_store_find(store, "gate.judge.bias"),
                  weight = clvi_store_find(store, "gate.judge.weight");
    static const float zeros[64];
    assert_true(bias >= 0 && weight >= 0 &&
                clvi_store_segment(store, (size_t)weight)->elements <= 64);
    OK(clvi_store_write(store, (size_t)bias, CLVI_STORE_VALUE, (const float[]){1, 1.5f, 0}, error));
    OK(clvi_store_write(store, (size_t)weight, CLVI_STORE_VALUE, zeros, error));
    const clvi_mixture_batch batch = {.n = BATCH, .pixels = pixels, .labels = labels};
    OK(clvi_mixture_step(m, &batch, error));
    OK(clvi_mixture_read_metrics(m, &metrics, error));
    assert_int_equal(metrics.count, 0);
    assert_int_equal(metrics.unrouted, BATCH);
    OK(clvi_mixture_infer(m, &batch, error));
    OK(clvi_mixture_read_metrics(m, &metrics, error));
    assert_int_equal(metrics.count, BATCH);
    assert_int_equal(metrics.unrouted, 0);
    OK(clvi_mixture_route(m, gate, error));
    OK(clvi_mixture_expert_logits(m, logits, error));
    for (int i = 0; i < BATCH * EXPERTS; i++) {
        /* exp(1.5)/(exp(1) + exp(1.5) + 1) */
        const double wanted = i % EXPERTS == 1 ? 0.5465494 : 0;
        assert_true((double)gate[i] > wanted - 1e-6 && (double)gate[i] < wanted + 1e-6);
        bool answered = false;
        for (int c = 0; c < TRAINING_CLASSES; c++)
            answered |= logits[i * TRAINING_CLASSES + c] != 0;
        assert_true(answered == (i % EXPERTS == 1));
    }
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
    training t = {.config = MARGIN "least = 2.9\n" LEARN, .run = "nobody"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    assert_true(t.result.unrouted > 0.5 && t.result.val.count == 8);
}

/* The same where the experts' outputs are kept. */
static void test_nobody_kept(void **state)
{
    (void)state;
    static const char plain[] =
        MARGIN "least = 2.9\n[expert.a]\ntrainable = none\n[expert.b]\ntrainable = none\n"
               "[expert.c]\ntrainable = none\n" LEARN;
    char kept[2048];
    snprintf(kept, sizeof kept, "%scache_features = yes\n", plain);
    training t[2] = {{.config = plain, .run = "nobody-plain"},
                     {.config = kept, .run = "nobody-kept"}};
    for (int i = 0; i < 2; i++)
        if (training_run(&t[i]) != CLV_OK)
            fail_msg("%s", t[i].error.message);
    expect_close(t[0].result.val.nll, t[1].result.val.nll);
    expect_close(t[0].result.val.top1, t[1].result.val.top1);
}

static char conclave[4096];
static const char *gate_folder;

/* conclave check-plugin finds nothing wrong with them. */
static void test_checked(void **state)
{
    (void)state;
    static const char *const rows[] = {"margin", "steady"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[8192];
        snprintf(line, sizeof line, "'%s' check-plugin %s/gate_%s.so >&2", conclave, gate_folder,
                 rows[i]);
        assert_int_equal(system(line), 0);
    }
}

static const char *const gates[] = {"margin", "steady"};
enum { GATES = sizeof gates / sizeof *gates };

/* cc -shared …, as plugins/README.md says. */
static int compile(const char *root, const char *compiler, const char *folder)
{
    int failed = 0;
    for (int i = 0; i < GATES; i++) {
        char command[4096];
        snprintf(
            command, sizeof command,
            "%s -std=c11 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -I%s/core/include "
            "-o %s/gate_%s.so %s/tests/e2e/stranger/gate_%s.c -lm",
            compiler, root, folder, gates[i], root, gates[i]);
        failed |= system(command);
    }
    return failed;
}

static void remove_all(const char *folder)
{
    for (int i = 0; i < GATES; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s/gate_%s.so", folder, gates[i]);
        remove(file);
    }
    remove(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trains),        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_learns_inside), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_nobody),        cmocka_unit_test(test_nobody_kept),
        cmocka_unit_test(test_checked)};
    char folder[] = "/tmp/stranger-XXXXXX", path[4096];
    if (argc != 5 || realpath(argv[4], conclave) == NULL || mkdtemp(folder) == NULL ||
        compile(argv[2], argv[3], folder) != 0) {
        fprintf(stderr, "usage: test_stranger PLUGINS SOURCE_ROOT CC CONCLAVE, or the plugin does "
                        "not compile\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s:%s", argv[1], folder);
    gate_folder = folder;
    const int status = trainings_begin(path);
    const int failed = status == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
    const int ended = status == 0 ? trainings_end() : 0;
    remove_all(folder);
    return status != 0 ? status : failed != 0 || ended != 0;
}
