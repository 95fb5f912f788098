/* core/export: mixtures of every kind as ONNX. Arguments: folders of plugins, separated by ':', and
 * the script that runs the files with ONNX Runtime (run_onnx.py). With it each mixture is built on
 * the device, with numbers at random, and its file written beside pictures and what it makes of
 * them; without, all are written without a device. Exit 77 where one is wanted and there is none.
 */
#include "../unit/image_files.h"
#include "samples.h"

#include "base/files.h"
#include "export/onnx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static sample_place place;
static const char *script;
static char *folder;

/* Both files of a configuration. */
static void write_case(const char *name, const char *text)
{
    char path[4096];
    sample s;
    sample_init(&s, &place, text);
    const clvi_export_source source = sample_source(&s);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    OK(clvi_export_onnx(&source, path, error));
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (place.device)
        sample_write_answers(&s, path);
    sample_fini(&s);
}

/* ---- Cases ---- */

#define GREY            "[data]\nimage_size = 8\nchannels = 1\n"
#define COLOUR          "[data]\nimage_size = 8\nchannels = 3\n"
#define WIDE            "[data]\nimage_size = 10x14\nchannels = 3\n"
#define LARGE           "[data]\nimage_size = 32\nchannels = 3\n"
#define ONE             "[mixture]\nexperts = a\n"
#define CNN(name, more) "[expert." name "]\nplugin = cnn\n" more "\n"
#define THREE                                                                                      \
    CNN("a", "widths = 4, 6")                                                                      \
    CNN("b", "widths = 5\nbatch_norm = no")                                                        \
    CNN("c", "widths = 3\nhidden = 6") "[mixture]\nexperts = a, b, c\n"
#define LINEAR "[gate]\nplugin = linear\ngrid = 3\n"
#define CE     "[loss]\nterms = ce\n"

static const struct {
    const char *name, *text;
} cases[] = {
    {"cnn", GREY ONE CNN("a", "")},
    {"cnn-silu", WIDE ONE CNN("a", "widths = 4, 6\nconvs_per_block = 2\nkernel = 5\nhidden = 9\n"
                                   "batch_norm = no\nactivation = silu\npool = avg")},
    {"cnn-margins", "[data]\nimage_size = 8x12\ncrop_share = 0.7\nchannels = 3\n" ONE CNN("a", "")},
    {"cnn-grey-of-colour", COLOUR ONE CNN("a", "channels = 1")},
    {"cnn-colour-of-grey", GREY ONE CNN("a", "channels = 3")},
    {"cnn-bgr", COLOUR ONE CNN("a", "preprocess = keras_vgg")},
    {"every-op", WIDE ONE "[expert.a]\nplugin = many\n"},
    {"every-op-grey", GREY ONE "[expert.a]\nplugin = many\n"},
    {"b0", LARGE ONE "[expert.a]\nplugin = efficientnet_b0\n"},
    {"b0-keras", LARGE ONE "[expert.a]\nplugin = efficientnet_b0\nvariant = keras\n"
                           "strides = 1, 1, 2, 2, 2, 1, 2, 1\n"},
    {"vgg16-gap", LARGE ONE "[expert.a]\nplugin = vgg16\ntop = gap\nbatch_norm = yes\n"},
    {"feature", GREY THREE "fusion = feature\n"},
    {"feature-gated", COLOUR THREE "fusion = feature\ndropout = 0.2\n" LINEAR},
    {"concat", GREY THREE "combine = concat\nscores = probabilities\n"},
    {"concat-logits-gated", GREY THREE "combine = concat\nscores = logits\n" LINEAR},
    {"weighted", GREY THREE "combine = weighted\n" LINEAR},
    {"weighted-logits", GREY THREE "scores = logits\n[gate]\nplugin = cnn\n"},
    {"weighted-by-features", GREY THREE "[gate]\nplugin = linear\ninput = features\n"},
    {"average", GREY THREE "[gate]\nplugin = average\n"},
    {"mean", GREY THREE "combine = mean\n"},
    {"mean-logits", GREY THREE "combine = mean\nscores = logits\n"},
    {"product", GREY THREE "combine = product\n"},
    {"product-gated", GREY THREE "combine = product\n" LINEAR},
    {"product-rule", GREY THREE "combine = product_rule\n"},
    {"max", GREY THREE "combine = max\n"},
    {"max-logits", GREY THREE "combine = max\nscores = logits\n"},
    {"min", GREY THREE "combine = min\n"},
    {"median", GREY THREE "combine = median\n"},
    {"median-logits", GREY THREE "combine = median\nscores = logits\n"},
    {"vote", GREY THREE "combine = vote\n"},
    {"top-2", GREY THREE "[gate]\nplugin = noisy_topk\nk = 2\ngrid = 4\n"},
    {"top-1", GREY THREE "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\ngrid = 4\n" CE},
    {"top-2-median", GREY THREE "combine = median\n[gate]\nplugin = noisy_topk\nk = 2\ngrid = 4\n"},
    {"top-2-max", GREY THREE "combine = max\n[gate]\nplugin = noisy_topk\nk = 2\ngrid = 4\n"},
    {"switch", GREY THREE "scores = logits\n[gate]\nplugin = switch\nbalance_bias = 0.1\n" CE},
    {"choice", GREY THREE "scores = logits\n[gate]\nplugin = expert_choice\nk = 2\n" CE},
    {"forms", COLOUR CNN("a", "preprocess = keras_vgg")
                  CNN("b", "channels = 1") "[expert.c]\nplugin = many\n[mixture]\nexperts = a, b, "
                                           "c\ncombine = mean\n"},
    {"nested", GREY CNN("a/x", "widths = 4") CNN("a/y", "widths = 5")
                   CNN("b", "widths = 3") "[mixture]\nexperts = a, b\n[mixture.a]\nexperts = x, y\n"
                                          "[gate.a]\nplugin = linear\n" LINEAR},
    {"nested-feature",
     GREY CNN("a/x", "widths = 4") CNN("a/y", "widths = 5") CNN(
         "b",
         "widths = 3") "[mixture]\nexperts = a, b\nfusion = feature\n[mixture.a]\nexperts = x, y\n"
                       "fusion = feature\n[gate.a]\nplugin = linear\n" LINEAR},
    {"nested-deep",
     GREY CNN("a/x/u", "widths = 4") CNN("a/x/v", "widths = 2") CNN("a/y", "widths = 5")
         CNN("b", "widths = 3") "[mixture]\nexperts = a, b\ncombine = product\n"
                                "[mixture.a]\nexperts = x, y\ncombine = max\n"
                                "[mixture.a/x]\nexperts = u, v\ncombine = concat\n"},
};

static void test_write(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        write_case(cases[i].name, cases[i].text);
}

static void test_run(void **state)
{
    (void)state;
    char arguments[4096];
    snprintf(arguments, sizeof arguments, "'%s' 1e-5", folder);
    sample_run_script(script, arguments);
}

/* ---- What cannot be written ---- */

static void expect_refused(const char *text, const char *part)
{
    char path[4096];
    sample s;
    clv_error why = CLV_ERROR_INIT;
    snprintf(path, sizeof path, "%s/refused.onnx", folder);
    OK(sample_try(&s, &place, text, error));
    const clvi_export_source source = sample_source(&s);
    assert_int_equal(clvi_export_onnx(&source, path, &why), CLV_E_USAGE);
    if (!strstr(why.message, part))
        fail_msg("'%s' is not in: %s", part, why.message);
    assert_false(clvi_is_file(path));
    sample_fini(&s);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(COLOUR ONE "[expert.a]\nplugin = own\n", "expert.a: the operation own");
    expect_refused(GREY THREE "scores = logits\n[gate]\nplugin = many\n" CE,
                   "[gate] plugin = many: this gate sends images to few experts by an operation "
                   "(column_topk)");
    expect_refused(
        GREY CNN("a/x", "widths = 4") CNN("a/y", "widths = 5") CNN(
            "b",
            "widths = 3") "[mixture]\nexperts = a, b\ncombine = mean\n[mixture.a]\nexperts = x, y\n"
                          "scores = logits\n[gate.a]\nplugin = many\n",
        "[gate.a] plugin = many: ");
}

int main(int argc, char **argv)
{
    int status = 0;
    clv_error error = CLV_ERROR_INIT;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s PLUGINS [SCRIPT]\n", argv[0]);
        return 2;
    }
    script = argc > 2 ? argv[2] : NULL;
    place.device = script ? test_device_open(&status) : NULL;
    if (script && place.device == NULL)
        return status;
    folder = folder_make();
    if (clvi_plugins_create(argv[1], NULL, &place.plugins, &error) != CLV_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest with_peer[] = {cmocka_unit_test(test_write),
                                           cmocka_unit_test(test_run)};
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_write),
                                       cmocka_unit_test(test_refused)};
    status = script ? cmocka_run_group_tests(with_peer, NULL, NULL)
                    : cmocka_run_group_tests(alone, NULL, NULL);
    clvi_plugins_destroy(place.plugins);
    folder_remove(folder);
    return (place.device && test_device_close() != 0) || status != 0;
}
