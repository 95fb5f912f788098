/* What is done to a pixel, by configuration, plugin and picture. */
#include "base/files.h"
#include "base/memory.h"
#include "image_files.h"
#include "mixture/input_form.h"
#include "weights/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char *folder;

/* What a plugin asks for when it says nothing of its own, and what one for ImageNet does. */
static const clv_input_desc plain = {.struct_size = sizeof plain,
                                     .height = 32,
                                     .width = 48,
                                     .channels = 3,
                                     .mean = {0.5, 0.5, 0.5},
                                     .std = {0.5, 0.5, 0.5}};
static const clv_input_desc imagenet = {.struct_size = sizeof imagenet,
                                        .height = 32,
                                        .width = 48,
                                        .channels = 3,
                                        .mean = {0.485, 0.456, 0.406},
                                        .std = {0.229, 0.224, 0.225}};
static const clv_input_desc grey = {.struct_size = sizeof grey,
                                    .height = 32,
                                    .width = 48,
                                    .channels = 1,
                                    .mean = {0.25},
                                    .std = {1}};

static clvi_config *load_weights(const char *value, const char *weights)
{
    char text[512];
    snprintf(text, sizeof text,
             "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\npreprocess = %s\nweights = %s\n",
             value, weights);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clv_error error = CLV_ERROR_INIT;
    clvi_config *config = NULL;
    if (clvi_config_load(&source, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

static clvi_config *load(const char *value)
{
    return load_weights(value, "");
}

static clvi_input_form choose(const char *value, const clv_input_desc *desc)
{
    clvi_config *config = load(value);
    clvi_input_form form;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_input_form_choose(config, "expert.a", desc, &form, &error) != CLV_OK)
        fail_msg("%s", error.message);
    clvi_config_destroy(config);
    assert_int_equal(form.height, desc->height);
    assert_int_equal(form.width, desc->width);
    assert_int_equal(form.channels, desc->channels);
    return form;
}

/* The value of a pixel 0 … 255 of red, green, blue in channel c. */
static double value(const clvi_input_form *f, const double rgb[3], int c)
{
    return (rgb[f->bgr ? 2 - c : c] / f->range - f->mean[c]) / f->std[c];
}

static const double pixel[3] = {10, 100, 200};

static void expect(const clvi_input_form *form, double first, double second, double third)
{
    const double wanted[3] = {first, second, third};
    for (int c = 0; c < 3; c++) {
        const double got = value(form, pixel, c), apart = got - wanted[c];
        if (!(apart > -1e-4 && apart < 1e-4))
            fail_msg("channel %d: %g for %g", c, got, wanted[c]);
    }
}

/* The numbers are those of torchvision's, timm's and Keras' own preprocessing of that pixel. */
static void test_values(void **state)
{
    (void)state;
    static const char *const names[] = {"torchvision",        "timm", "inception", "keras_vgg",
                                        "keras_efficientnet", "unit"};
    static const double wanted[][3] = {
        {-1.946656, -0.285014, 1.681394}, {-1.946656, -0.285014, 1.681394},
        {-0.921569, -0.215686, 0.568627}, {96.061, -16.779, -113.68},
        {-1.946656, -0.285014, 1.681394}, {0.039216, 0.392157, 0.784314}};
    for (int i = 0; i < 6; i++) {
        const clvi_input_form form = choose(names[i], &plain);
        expect(&form, wanted[i][0], wanted[i][1], wanted[i][2]);
    }
}

/* What is named takes the place of what the plugin asks for: nothing is done twice. */
static void test_once(void **state)
{
    (void)state;
    static const char *const names[] = {"torchvision", "timm", "inception", "keras_vgg",
                                        "keras_efficientnet"};
    for (int i = 0; i < 5; i++) {
        const clvi_input_form a = choose(names[i], &plain), b = choose(names[i], &imagenet);
        assert_true(clvi_input_form_same(&a, &b));
    }
    const clvi_input_form own = choose("plugin", &imagenet), none = choose("auto", &imagenet);
    const clvi_input_form torch = choose("torchvision", &plain);
    assert_true(clvi_input_form_same(&own, &none));
    assert_true(clvi_input_form_same(&own, &torch));
}

static void test_same(void **state)
{
    (void)state;
    const clvi_input_form torch = choose("torchvision", &plain);
    static const char *const alike[] = {"timm", "keras_efficientnet"};
    static const char *const others[] = {"plugin", "inception", "keras_vgg"};
    for (int i = 0; i < 2; i++) {
        const clvi_input_form form = choose(alike[i], &plain);
        assert_true(clvi_input_form_same(&torch, &form));
    }
    for (int i = 0; i < 3; i++) {
        const clvi_input_form form = choose(others[i], &plain);
        assert_int_equal(clvi_input_form_same(&torch, &form), false);
    }
    clvi_input_form form = torch;
    form.width++;
    assert_false(clvi_input_form_same(&torch, &form));
    form = torch;
    form.bgr = true;
    assert_false(clvi_input_form_same(&torch, &form));
    form = torch;
    form.std[2] = 0.3;
    assert_false(clvi_input_form_same(&torch, &form));
    form = torch;
    form.range = 1;
    assert_false(clvi_input_form_same(&torch, &form));
    const clvi_input_form inception = choose("inception", &plain), own = choose("auto", &plain);
    assert_true(clvi_input_form_same(&inception, &own));
}

static void test_grey_network(void **state)
{
    (void)state;
    const clvi_input_form form = choose("auto", &grey);
    assert_true(form.mean[0] == 0.25 && form.std[0] == 1 && form.range == 255);
    clvi_config *config = load("torchvision");
    clv_error error = CLV_ERROR_INIT;
    clvi_input_form untouched = {.height = 7};
    assert_int_equal(clvi_input_form_choose(config, "expert.a", &grey, &untouched, &error),
                     CLV_E_CONFIG);
    assert_int_equal(untouched.height, 7);
    assert_non_null(strstr(error.message, "test.ini:5: [expert.a] preprocess: 'torchvision' is"));
    clvi_config_destroy(config);
}

static void test_settle(void **state)
{
    (void)state;
    static const char *const ways[][2] = {{"auto", "plugin"}, {"keras_vgg", "keras_vgg"}};
    for (int i = 0; i < 2; i++) {
        clvi_config *config = load(ways[i][0]);
        assert_int_equal(clvi_input_form_settle(config, "expert.a", NULL), CLV_OK);
        assert_string_equal(clvi_config_text(config, "expert.a", "preprocess"), ways[i][1]);
        clvi_config_destroy(config);
    }
}

/* ---- What weights tell ---- */

/* What tensors called normalization hold, the first and the second of a file. */
static float normalization[2][3];

/* Numbers of a tensor: those behind a '#' in its name, else 1. */
static int64_t numbers_of(const char *name)
{
    const char *mark = strchr(name, '#');
    return strstr(name, "normalization") ? 3 : mark ? strtoll(mark + 1, NULL, 10) : 1;
}

/* A safetensors file FOLDER/name with tensors of one number, of as many as stand behind a '#' in
 * the name, or of three where it is called normalization; and metadata. The names end at NULL. */
static char *file_with(const char *name, const char *const *tensors, const char *config)
{
    static const float zeros[3 * 3 * 1152];
    size_t next = 0;
    clv_error error = CLV_ERROR_INIT;
    clvi_tensor_writer *writer = NULL;
    char *path = clvi_path_join(folder, name);
    clv_status status = clvi_tensor_writer_create(path, &writer, &error);
    if (status == CLV_OK && config)
        status = clvi_tensor_writer_metadata(writer, "format", "conclave 1", &error);
    if (status == CLV_OK && config)
        status = clvi_tensor_writer_metadata(writer, "config", config, &error);
    for (size_t i = 0; tensors[i] && status == CLV_OK; i++) {
        const int64_t numbers = numbers_of(tensors[i]);
        char called[128];
        snprintf(called, sizeof called, "%.*s", (int)strcspn(tensors[i], "#"), tensors[i]);
        status = clvi_tensor_writer_declare(writer, called, CLVI_FILE_F32, 1, &numbers, &error);
    }
    for (size_t i = 0; tensors[i] && status == CLV_OK; i++)
        status = clvi_tensor_writer_append(
            writer, strstr(tensors[i], "normalization") ? normalization[next++] : zeros,
            numbers_of(tensors[i]), &error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_commit(writer, &error);
    clvi_tensor_writer_destroy(writer);
    if (status != CLV_OK)
        fail_msg("%s", error.message);
    return path;
}

/* What `auto` is settled to with those weights; frees the path. */
static void expect_auto(char *path, const char *wanted)
{
    clvi_config *config = load_weights("auto", path);
    clv_error error = CLV_ERROR_INIT;
    clvi_input_form direct;
    if (clvi_input_form_choose(config, "expert.a", &plain, &direct, &error) != CLV_OK ||
        clvi_input_form_settle(config, "expert.a", &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_string_equal(clvi_config_text(config, "expert.a", "preprocess"), wanted);
    const clvi_input_form form = choose(wanted, &plain);
    assert_true(clvi_input_form_same(&form, &direct));
    clvi_config_destroy(config);
    /* What is said counts, whatever the weights are. */
    config = load_weights("keras_vgg", path);
    assert_int_equal(clvi_input_form_settle(config, "expert.a", NULL), CLV_OK);
    assert_string_equal(clvi_config_text(config, "expert.a", "preprocess"), "keras_vgg");
    clvi_config_destroy(config);
    clvi_free(path);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define TIMM       NAMES("conv_stem.weight", "blocks.0.0.conv_dw.weight")

static void test_weights(void **state)
{
    (void)state;
    expect_auto(file_with("1", NAMES("features.0.0.weight", "features.1.0.block.0.0.weight"), NULL),
                "torchvision");
    expect_auto(
        file_with("2", NAMES("module.features.28.weight", "module.classifier.6.weight"), NULL),
        "torchvision");
    expect_auto(file_with("3", NAMES("features.40.weight", "classifier.6.weight"), NULL),
                "torchvision");
    expect_auto(file_with("4", NAMES("features.0.weight", "pre_logits.fc1.weight"), NULL), "timm");
    expect_auto(file_with("5", TIMM, NULL), "timm");
    expect_auto(file_with("efficientnet_b0.ra4_e3600_r224_in1k", TIMM, NULL), "inception");
    expect_auto(file_with("tf_efficientnet_b0.ap_in1k", TIMM, NULL), "inception");
    expect_auto(file_with("6", NAMES("stem_conv/kernel:0", "block1a_dwconv/kernel:0"), NULL),
                "keras_efficientnet");
    expect_auto(
        file_with("7", NAMES("block1_conv1/block1_conv1_W_1:0", "block5_conv3/block5_conv3_W_1:0"),
                  NULL),
        "keras_vgg");
    /* Nobody's: the plugin's. One of two names is not enough, nor is a part of a name. */
    expect_auto(file_with("8", NAMES("features.0.0.weight", "classifier.weight"), NULL), "plugin");
    expect_auto(file_with("9", NAMES("my_conv_stem.weight", "blocks.0.0.conv_dw.weight"), NULL),
                "plugin");
}

#define CONFIG(preprocess)                                                                         \
    "[mixture]\nexperts = a, b\n[gate]\nplugin = average\n[expert.b]\nplugin = cnn\n"              \
    "[expert.a]\nplugin = cnn\npreprocess = " preprocess "\n"

static void test_checkpoint(void **state)
{
    (void)state;
    expect_auto(file_with("c1", NAMES("expert.a.x"), CONFIG("keras_vgg")), "keras_vgg");
    expect_auto(file_with("c2", NAMES("expert.a.x"), CONFIG("auto")), "plugin");
    /* A checkpoint says it itself, whatever its tensors are called. */
    expect_auto(file_with("c3", TIMM, CONFIG("plugin")), "plugin");
}

static void put_beside(const char *text)
{
    char *path = clvi_path_join(folder, "config.json");
    assert_int_equal(clvi_file_write(path, text, strlen(text), NULL), CLV_OK);
    clvi_free(path);
}

static void test_timm_config(void **state)
{
    (void)state;
    put_beside("{\"pretrained_cfg\": {\"mean\": [0.5, 0.5, 0.5], \"std\": [0.5, 0.5, 0.5]}}");
    expect_auto(file_with("t1", TIMM, NULL), "inception");
    put_beside("{\"pretrained_cfg\": {\"mean\": [0.485, 0.456, 0.406],"
               " \"std\": [0.229, 0.224, 0.225]}}");
    expect_auto(file_with("tf_efficientnet_b0.ap_in1k", TIMM, NULL), "timm");
    put_beside("{\"pretrained_cfg\": {\"mean\": [0.5, 0.5], \"std\": 1}}");
    expect_auto(file_with("t2", TIMM, NULL), "timm");
    put_beside("not JSON");
    expect_auto(file_with("t3", TIMM, NULL), "timm");
    put_beside("{\"pretrained_cfg\": {\"mean\": [0, 0, 0], \"std\": [1, 1, 1]}}");
    expect_auto(file_with("t5", TIMM, NULL), "unit");
    put_beside("{\"pretrained_cfg\": {\"mean\": [0, 0, 0.5], \"std\": [1, 1, 1]}}");
    char *path = file_with("t4", TIMM, NULL);
    clvi_config *config = load_weights("auto", path);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_input_form_settle(config, "expert.a", &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "test.ini:5: [expert.a] preprocess: the config.json of"));
    assert_non_null(strstr(error.message, "mean 0 0 0.5, std 1 1 1"));
    clvi_config_destroy(config);
    clvi_free(path);
}

#define KERAS                                                                                      \
    "stem_conv/kernel:0", "block1a_dwconv/depthwise_kernel:0",                                     \
        "normalization/normalization/mean:0", "normalization/normalization/variance:0"

static void test_keras_layer(void **state)
{
    (void)state;
    static const float usual[2][3] = {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
    static const float nothing[2][3] = {{0, 0, 0}, {1, 1, 1}};
    memcpy(normalization, usual, sizeof usual);
    expect_auto(file_with("k1", NAMES(KERAS), NULL), "keras_efficientnet");
    memcpy(normalization, nothing, sizeof nothing);
    expect_auto(file_with("k2", NAMES(KERAS), NULL), "unit");
    /* Another layer's. */
    expect_auto(file_with("k3",
                          NAMES("stem_conv/kernel", "block1a_dwconv/kernel",
                                "batch_normalization/mean", "batch_normalization/variance"),
                          NULL),
                "keras_efficientnet");
    /* Keras 3: by number. */
    const char *const three[] = {
        "layers/conv2d/vars/0#864", "layers/depthwise_conv2d_15/vars/0#10368",
        "layers/normalization/vars/0", "layers/normalization/vars/1", NULL};
    expect_auto(file_with("k5", three, NULL), "unit");
    memcpy(normalization, usual, sizeof usual);
    expect_auto(file_with("k6", three, NULL), "keras_efficientnet");
    expect_auto(file_with("k7",
                          NAMES("layers/functional/layers/conv2d/vars/1#64",
                                "layers/functional/layers/conv2d_12/vars/1#512"),
                          NULL),
                "keras_vgg");
    expect_auto(file_with("k8",
                          NAMES("layers/conv2d/vars/1#64", "layers/conv2d_12/vars/1#512",
                                "layers/conv2d_13/vars/0"),
                          NULL),
                "plugin");
    expect_auto(
        file_with("k9", NAMES("layers/conv2d/vars/1#64", "layers/conv2d_12/vars/1#256"), NULL),
        "plugin");
    memcpy(normalization, nothing, sizeof nothing);
    normalization[0][1] = 0.5f;
    char *path = file_with("k4", NAMES(KERAS), NULL);
    clvi_config *config = load_weights("auto", path);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_input_form_settle(config, "expert.a", &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "mean 0 0.5 0, variance 1 1 1"));
    clvi_config_destroy(config);
    clvi_free(path);
}

static void test_no_weights(void **state)
{
    (void)state;
    clvi_config *config = load_weights("auto", "/nowhere/at-all.pth");
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_input_form_settle(config, "expert.a", &error), CLV_E_IO);
    assert_non_null(strstr(error.message, "test.ini:6: [expert.a] weights: "));
    assert_non_null(strstr(error.message, "/nowhere/at-all.pth"));
    clvi_config_destroy(config);
}

/* ---- What is said ---- */

static void expect_text(const clvi_input_form *form, const clvi_picture *picture,
                        const char *wanted)
{
    clvi_text text = {0};
    clvi_input_form_describe(form, picture, &text);
    assert_string_equal(text.data, wanted);
    clvi_text_fini(&text);
}

static void test_text(void **state)
{
    (void)state;
    const clvi_input_form torch = choose("torchvision", &plain), own = choose("auto", &grey);
    const clvi_input_form caffe = choose("keras_vgg", &plain);
    expect_text(&torch, &(clvi_picture){32, 48, 3, 0, 0},
                "RGB 48x32, (x/255 - [0.485 0.456 0.406]) / [0.229 0.224 0.225] as torchvision "
                "wants it");
    expect_text(&torch, &(clvi_picture){64, 48, 1, 3, 2},
                "RGB 48x32, (x/255 - [0.485 0.456 0.406]) / [0.229 0.224 0.225] as torchvision "
                "wants it; the pictures are grey: three times the same; the middle of 52x70; "
                "resized from 48x64, bilinear");
    expect_text(&caffe, &(clvi_picture){32, 48, 0, 0, 0},
                "BGR 48x32, x - [103.939 116.779 123.68] as keras_vgg wants it");
    expect_text(&own, &(clvi_picture){32, 48, 3, 0, 0},
                "grey 48x32, x/255 - [0.25] as the plugin wants it; the pictures are coloured: "
                "0.299 R + 0.587 G + 0.114 B");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_once),
        cmocka_unit_test(test_same),        cmocka_unit_test(test_grey_network),
        cmocka_unit_test(test_weights),     cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_timm_config), cmocka_unit_test(test_keras_layer),
        cmocka_unit_test(test_no_weights),  cmocka_unit_test(test_settle),
        cmocka_unit_test(test_text),
    };
    folder = folder_make();
    const int failed = cmocka_run_group_tests_name("mixture_input_form", tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}
