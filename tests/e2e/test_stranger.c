/* A routing rule of somebody else's: compiled here with the public headers and nothing else, found
 * in a folder of its own, trained, routed. Arguments: the folder of plugins, the source's root, a C
 * compiler. Exit 77 where there is no OpenCL device. */
#include "trainings.h"

#include "../unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MARGIN                                                                                     \
    "[expert.a]\nplugin = cnn\nwidths = 4\n[expert.b]\nplugin = cnn\nwidths = 4\n"                 \
    "[expert.c]\nplugin = cnn\nwidths = 5\n"                                                       \
    "[mixture]\nexperts = a, b, c\nscores = logits\n[gate]\nplugin = margin\n"

static void test_trains(void **state)
{
    (void)state;
    training t = {.config = MARGIN "[loss]\nterms = ce, importance:0.1\n[train]\nepochs = 3\n"
                                   "batch = 7\n[optimizer]\nlr = 0.01\n",
                  .run = "stranger"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    training broken = {.config = t.config, .run = "resumed", .stop_at = 6};
    assert_int_equal(training_run(&broken), CLV_E_INTERRUPTED);
    broken.stop_at = 0;
    broken.resume = true;
    assert_int_equal(training_run(&broken), CLV_OK);
    assert_true(same_file("stranger/last.safetensors", "resumed/last.safetensors"));
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
    const clvi_mixture_desc desc = {.config = config,
                                    .plugins = trainings_plugins(),
                                    .device = trainings_device(),
                                    .classes = TRAINING_CLASSES,
                                    .height = TRAINING_SIDE,
                                    .width = TRAINING_SIDE,
                                    .channels = 1,
                                    .max_batch = BATCH};
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

/* cc -shared …, as plugins/README.md says. */
static int compile(const char *root, const char *compiler, const char *folder)
{
    char command[4096];
    snprintf(
        command, sizeof command,
        "%s -std=c11 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -I%s/core/include "
        "-o %s/gate_margin.so %s/tests/e2e/stranger/gate_margin.c -lm",
        compiler, root, folder, root);
    return system(command);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trains),
                                       cmocka_unit_test(test_routes)};
    char folder[] = "/tmp/stranger-XXXXXX", path[4096], file[64];
    if (argc != 4 || mkdtemp(folder) == NULL || compile(argv[2], argv[3], folder) != 0) {
        fprintf(stderr,
                "usage: test_stranger PLUGINS SOURCE_ROOT CC, or the plugin does not compile\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s:%s", argv[1], folder);
    snprintf(file, sizeof file, "%s/gate_margin.so", folder);
    const int status = trainings_begin(path);
    const int failed = status == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
    const int ended = status == 0 ? trainings_end() : 0;
    remove(file);
    remove(folder);
    return status != 0 ? status : failed != 0 || ended != 0;
}
