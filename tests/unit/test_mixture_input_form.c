/* What is done to a pixel, by configuration, plugin and picture. */
#include "mixture/input_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

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

static clvi_config *load(const char *value)
{
    char text[256];
    snprintf(text, sizeof text,
             "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\npreprocess = %s\n", value);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clv_error error = CLV_ERROR_INIT;
    clvi_config *config = NULL;
    if (clvi_config_load(&source, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
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
    static const char *const names[] = {"torchvision", "timm", "inception", "keras_vgg",
                                        "keras_efficientnet"};
    static const double wanted[][3] = {{-1.946656, -0.285014, 1.681394},
                                       {-1.946656, -0.285014, 1.681394},
                                       {-0.921569, -0.215686, 0.568627},
                                       {96.061, -16.779, -113.68},
                                       {-1.946656, -0.285014, 1.681394}};
    for (int i = 0; i < 5; i++) {
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
        cmocka_unit_test(test_values), cmocka_unit_test(test_once),
        cmocka_unit_test(test_same),   cmocka_unit_test(test_grey_network),
        cmocka_unit_test(test_settle), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests_name("mixture_input_form", tests, NULL, NULL);
}
