/* From pictures to what networks are given, in a mixture and in a trained run. Argument: the folder
 * of plugins. Exit 77 where there is no OpenCL device. */
#include "trainings.h"

#include "../unit/test_device.h"
#include "mixture/expert.h"
#include "train/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCH = 5, MOST = 64 * 64 * 3 };

/* Pixel (y, x) of a picture of noise. */
static uint8_t noise(int picture, int y, int x, int channel)
{
    return (uint8_t)((unsigned)(picture * MOST + (y * 64 + x) * 3 + channel) * 2654435761u >> 24);
}

/* Logits of a network that was drawn by the seed, for a batch of noise from (first, first) on;
 * *said is what is done to its pixels. */
static void logits_from(int first, const char *text, int side, int channels, float *out, char *said)
{
    clvi_config *config = trainings_config(text);
    static uint8_t pixels[BATCH * MOST];
    clvi_mixture *m = NULL;
    clvi_mixture_desc desc = trainings_mixture(config, BATCH, false);
    desc.height = desc.width = side;
    desc.channels = channels;
    uint8_t *at = pixels;
    for (int i = 0; i < BATCH; i++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++)
                for (int c = 0; c < channels; c++)
                    *at++ = noise(i, first + y, first + x, c);
    OK(clvi_mixture_create(&desc, &m, error));
    OK(clvi_mixture_warm(m, error));
    const clvi_mixture_batch batch = {.n = BATCH, .pixels = pixels};
    OK(clvi_mixture_infer(m, &batch, error));
    OK(clvi_mixture_logits(m, out, error));
    snprintf(said, 512, "%s", clvi_mixture_preprocessing(m, 0));
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
}

static void logits_of(const char *text, int side, int channels, float *out, char *said)
{
    logits_from(0, text, side, channels, out, said);
}

#define PREPROCESS(name) "[expert.small]\nplugin = cnn\npreprocess = " name "\n"

/* The form that is named stands in for the plugin's, it is not put on top: where both are the same
 * numbers, so is every bit of the result. */
static void test_once(void **state)
{
    (void)state;
    float own[BATCH * TRAINING_CLASSES], other[BATCH * TRAINING_CLASSES];
    char said[512];
    logits_of(PREPROCESS("auto"), TRAINING_SIDE, 3, own, said);
    assert_string_equal(said,
                        "RGB 8x8, (x/255 - [0.5 0.5 0.5]) / [0.5 0.5 0.5] as the plugin wants it");
    logits_of(PREPROCESS("inception"), TRAINING_SIDE, 3, other, said);
    assert_string_equal(said,
                        "RGB 8x8, (x/255 - [0.5 0.5 0.5]) / [0.5 0.5 0.5] as inception wants it");
    assert_memory_equal(own, other, sizeof own);
    static const char *const different[] = {PREPROCESS("torchvision"), PREPROCESS("keras_vgg")};
    for (int i = 0; i < 2; i++) {
        logits_of(different[i], TRAINING_SIDE, 3, other, said);
        assert_memory_not_equal(own, other, sizeof own);
    }
    /* The same numbers by two names. */
    logits_of(PREPROCESS("torchvision"), TRAINING_SIDE, 3, own, said);
    logits_of(PREPROCESS("timm"), TRAINING_SIDE, 3, other, said);
    assert_memory_equal(own, other, sizeof own);
}

static uint64_t bytes_of(const char *first, const char *second)
{
    char text[512];
    snprintf(text, sizeof text,
             "[mixture]\nexperts = small, other\n[gate]\nplugin = average\n"
             "[expert.small]\nplugin = cnn\npreprocess = %s\n"
             "[expert.other]\nplugin = cnn\nwidths = 4, 6\npreprocess = %s\n",
             first, second);
    clvi_config *config = trainings_config(text);
    clvi_mixture *m = NULL;
    clvi_mixture_desc desc = trainings_mixture(config, BATCH, false);
    desc.channels = 3;
    OK(clvi_mixture_create(&desc, &m, error));
    const uint64_t bytes = clvi_mixture_bytes(m);
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
    return bytes;
}

/* Experts that want the same numbers, by whatever name, share one input. */
static void test_shared(void **state)
{
    (void)state;
    const uint64_t form = (uint64_t)BATCH * TRAINING_SIDE * TRAINING_SIDE * 3 * sizeof(float);
    const uint64_t one = bytes_of("torchvision", "torchvision");
    assert_int_equal(bytes_of("timm", "torchvision"), one);
    assert_int_equal(bytes_of("keras_vgg", "torchvision"), one + form);
}

static void test_grey(void **state)
{
    (void)state;
    float out[BATCH * TRAINING_CLASSES];
    char said[512];
    logits_of(PREPROCESS("torchvision") "channels = 3\n", TRAINING_SIDE, 1, out, said);
    assert_non_null(strstr(said, "; the pictures are grey: three times the same"));
    logits_of(PREPROCESS("auto") "channels = 1\n", TRAINING_SIDE, 3, out, said);
    assert_non_null(strstr(said, "; the pictures are coloured: 0.299 R + 0.587 G + 0.114 B"));
}

/* With data.crop_share networks see the middle of what they are given, bit for bit, whether they
 * train or not; a training and the use of it agree about the size. */
static void test_crop_share(void **state)
{
    (void)state;
    float cut[BATCH * TRAINING_CLASSES], whole[BATCH * TRAINING_CLASSES];
    char said[512];
    logits_from(2, "", TRAINING_SIDE, 3, cut, said);
    logits_from(0, "[data]\ncrop_share = 0.667\n", TRAINING_SIDE + 4, 3, whole, said);
    assert_non_null(strstr(said, "RGB 8x8, "));
    assert_non_null(strstr(said, "; the middle of 12x12"));
    assert_memory_equal(cut, whole, sizeof cut);
    logits_from(0, "", TRAINING_SIDE, 3, whole, said);
    assert_memory_not_equal(cut, whole, sizeof cut);
    training t = {.config = "[data]\ncrop_share = 0.667\naugment = photos\n"
                            "[train]\nepochs = 1\n",
                  .run = "cut"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    clvi_model *model;
    int height, width, channels;
    OK(clvi_model_open("cut", CLVI_MODEL_LAST, &model, error));
    clvi_model_image(model, &height, &width, &channels);
    assert_int_equal(height, TRAINING_SIDE + 4);
    const clvi_data_options data = clvi_train_data_options(clvi_model_config(model));
    assert_int_equal(data.width, width);
    clvi_model_close(model);
}

static void expect_remembered(const char *text, const char *run)
{
    training t = {.config = text, .run = run};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    clvi_model *model;
    OK(clvi_model_open(run, CLVI_MODEL_BEST, &model, error));
    assert_string_equal(clvi_config_text(clvi_model_config(model), "expert.small", "preprocess"),
                        "keras_vgg");
    const clvi_model_place place = {
        .device = trainings_device(), .plugins = trainings_plugins(), .max_batch = 2};
    OK(clvi_model_load(model, &place, error));
    assert_non_null(strstr(clvi_mixture_preprocessing(clvi_model_mixture(model), 0),
                           "BGR 8x8, x - [103.939 116.779 123.68]"));
    clvi_model_close(model);
}

/* A trained run knows how its pixels were scaled, in its configuration and when it is opened; so
 * does one that began with its weights, also when these are gone. */
static void test_run_remembers(void **state)
{
    (void)state;
    expect_remembered(PREPROCESS("keras_vgg") "channels = 3\n[train]\nepochs = 1\n", "vgg");
    assert_int_equal(rename("vgg/best.safetensors", "start.safetensors"), 0);
    expect_remembered(PREPROCESS("auto") "channels = 3\nweights = start.safetensors\n"
                                         "[train]\nepochs = 1\n",
                      "heir");
    assert_int_equal(remove("start.safetensors"), 0);
    training t = {.config = PREPROCESS("auto") "channels = 3\nweights = start.safetensors\n",
                  .run = "orphan"};
    assert_int_equal(training_run(&t), CLV_E_IO);
    clvi_model *model;
    OK(clvi_model_open("heir", CLVI_MODEL_LAST, &model, error));
    const clvi_model_place place = {
        .device = trainings_device(), .plugins = trainings_plugins(), .max_batch = 1};
    OK(clvi_model_load(model, &place, error));
    clvi_model_close(model);
}

static void expect_pixels(const char *config_text, const char *wanted)
{
    clvi_config *config = trainings_config(config_text);
    clvi_text text = {0};
    const clvi_picture picture = {.height = 8, .width = 8, .channels = 1};
    clvi_experts_describe_pixels(config, trainings_plugins(), &picture, &text);
    if (strstr(clvi_text_get(&text), wanted) == NULL)
        fail_msg("%s", clvi_text_get(&text));
    clvi_text_fini(&text);
    clvi_config_destroy(config);
}

/* The comment of `conclave config --dump`. */
static void test_comment(void **state)
{
    (void)state;
    expect_pixels("", "# expert.small: a pixel x of 0 to 255 becomes grey 8x8, (x/255 - [0.5]) / "
                      "[0.5] as the plugin wants it\n");
    expect_pixels(PREPROCESS("torchvision"), "# expert.small: what is done to a pixel cannot be "
                                             "said: ");
    expect_pixels("[expert.small]\nplugin = nowhere\n", "cannot be said: ");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),          cmocka_unit_test(test_shared),
        cmocka_unit_test(test_grey),          cmocka_unit_test(test_crop_share),
        cmocka_unit_test(test_run_remembers), cmocka_unit_test(test_comment),
    };
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
