/* Numbers that are not finite: of all networks of a mixture the one that wrote the first in a step
 * is named. test_training.c looks for the step. Argument: the folder of plugins. Exit 77 where
 * there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TWO                                                                                        \
    "[expert.a]\nplugin = cnn\nwidths = 4, 6\n[expert.b]\nplugin = cnn\nwidths = 5\n"              \
    "[mixture]\nexperts = a, b\n"

/* Where the first of them was written in a step, with all of a variable at `value` and samples that
 * count `share`. */
static void expect_found(const char *config, const char *name, float value, double share,
                         const char *network, bool backward)
{
    float values[1024];
    const char *found;
    clvi_finding f;
    rig r;
    rig_init(&r, config, true);
    clvi_store *store = clvi_mixture_store(r.mixture);
    const int64_t segment = clvi_store_find(store, name);
    assert_true(segment >= 0);
    const int64_t count = clvi_store_segment(store, (size_t)segment)->elements;
    for (int64_t i = 0; i < count && i < 1024; i++)
        values[i] = value;
    assert_true(count <= 1024);
    OK(clvi_store_write(store, (size_t)segment, CLVI_STORE_VALUE, values, error));
    OK(clvi_mixture_watch(r.mixture, error));
    clvi_mixture_batch batch = rig_batch(&r);
    batch.share = share;
    OK(clvi_mixture_begin_step(r.mixture, error));
    OK(clvi_mixture_step(r.mixture, &batch, error));
    OK(clvi_mixture_watched(r.mixture, true, &found, &f, error));
    print_message("%s: %s %s (%s)\n", found, f.backward ? "backward of" : "output of", f.node,
                  f.op);
    if (!f.found || f.backward != backward || strcmp(found, network) != 0)
        fail_msg("%s: %s, wanted %s", config, f.found ? found : "nothing", network);
    rig_fini(&r);
}

#define LOSSES "[loss]\nterms = ce, expert_ce\n"

/* A gate on pixels runs before the experts and is taught after them; one on features the other way
 * round. */
static void test_watched(void **state)
{
    (void)state;
    static const char on_pixels[] = TWO "[gate]\nplugin = linear\n" LOSSES,
                      on_features[] = TWO "[gate]\nplugin = linear\ninput = features\n" LOSSES;
    static const char weight[] = "expert.b.features.0.0.conv.weight",
                      scale[] = "expert.a.features.1.0.norm.weight";
    expect_found(on_pixels, weight, 3e38f, 0, "expert.b", false);
    expect_found(on_features, weight, 3e38f, 0, "expert.b", false);
    expect_found(on_pixels, "gate.gate.weight", 3e38f, 0, "gate", false);
    expect_found(on_features, "gate.gate.weight", 3e38f, 0, "gate", false);
    /* What the head sends is finite; times the features it is not any more. */
    expect_found(on_pixels, scale, 1000, 1e37, "expert.a", true);
    expect_found(on_features, scale, 1000, 1e37, "gate", true);
}

/* Within an expert that is a mixture, in the order of its own step. */
static void test_nested(void **state)
{
    (void)state;
    static const char nested[] =
        "[mixture.a]\nexperts = x, y\n[expert.a/x]\nplugin = cnn\nwidths = 4, 6\n"
        "[expert.a/y]\nplugin = cnn\nwidths = 5\n[gate.a]\nplugin = linear\n"
        "[expert.b]\nplugin = cnn\nwidths = 3\n[mixture]\nexperts = a, b\n"
        "[gate]\nplugin = linear\n";
    expect_found(nested, "expert.a/y.features.0.0.conv.weight", 3e38f, 0, "expert.a/y", false);
    expect_found(nested, "gate.a.gate.weight", 3e38f, 0, "gate.a", false);
    expect_found(nested, "gate.gate.weight", 3e38f, 0, "gate", false);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_watched),
                                       cmocka_unit_test(test_nested)};
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
