/* Weights that PyTorch and Keras wrote, in networks on a device: the answers must be theirs.
 * Arguments: the folders of plugins and of the files, tests/weights. */
#include "../unit/test_device.h"

#include "base/process.h"
#include "mixture/initial_weights.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PICTURES = 3, SIZE = 8, CLASSES = 5 };

static const char *plugin_folder, *fixtures;
static clvi_plugins *plugins;
static clvi_device *device;

/* As tests/weights/make_keras.py makes them. */
static void draw(uint8_t *pixels)
{
    for (int n = 0; n < PICTURES; n++)
        for (int y = 0; y < SIZE; y++)
            for (int x = 0; x < SIZE; x++)
                for (int c = 0; c < 3; c++)
                    *pixels++ = (uint8_t)((37 * n + 11 * y + 7 * x + 50 * c) % 256);
}

/* An expert cnn like tests/weights/make_keras.py's chain. */
static clv_status run(const char *file, const char *more, float *logits, clv_error *error)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "[data]\nimage_size = 8\nchannels = 3\n[mixture]\nexperts = a\n[expert.a]\n"
                   "plugin = cnn\nwidths = 4, 6\nbatch_norm = no\nhidden = 7\ndropout = 0.5\n"
                   "weights = %s/%s\n%s\n",
                   fixtures, file, more);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    clvi_mixture *mixture = NULL;
    uint8_t pixels[PICTURES * SIZE * SIZE * 3];
    draw(pixels);
    clv_status status = clvi_config_load(&source, &config, error);
    const clvi_mixture_desc desc = {.config = config,
                                    .plugins = plugins,
                                    .device = device,
                                    .classes = CLASSES,
                                    .height = SIZE,
                                    .width = SIZE,
                                    .channels = 3,
                                    .max_batch = PICTURES};
    const clvi_mixture_batch batch = {.n = PICTURES, .pixels = pixels};
    if (status == CLV_OK)
        status = clvi_mixture_create(&desc, &mixture, error);
    if (status == CLV_OK)
        status = clvi_mixture_warm(mixture, error);
    if (status == CLV_OK)
        status = clvi_initial_weights_load(config, plugins, mixture, error);
    if (status == CLV_OK)
        status = clvi_mixture_infer(mixture, &batch, error);
    if (status == CLV_OK)
        status = clvi_mixture_logits(mixture, logits, error);
    clvi_mixture_destroy(mixture);
    clvi_config_destroy(config);
    return status;
}

static void read_wanted(float *out)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/chain.txt", fixtures);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < PICTURES * CLASSES; i++)
        assert_int_equal(fscanf(file, "%f", &out[i]), 1);
    fclose(file);
}

/* Both forms of Keras' files, by the order of the layers. */
static void test_keras(void **state)
{
    (void)state;
    static const char *const files[] = {"chain.h5", "chain.weights.h5"};
    float wanted[PICTURES * CLASSES], got[PICTURES * CLASSES];
    if (!clvi_env_get(CLVI_ENV_H5))
        skip();
    read_wanted(wanted);
    for (int f = 0; f < 2; f++) {
        clv_error error = CLV_ERROR_INIT;
        if (run(files[f], "", got, &error) != CLV_OK)
            fail_msg("%s", error.message);
        for (int i = 0; i < PICTURES * CLASSES; i++)
            if (!(fabsf(got[i] - wanted[i]) <= 1e-5f))
                fail_msg("%s: logit %d is %g and should be %g", files[f], i, (double)got[i],
                         (double)wanted[i]);
    }
}

static void test_misfits(void **state)
{
    (void)state;
    float logits[PICTURES * CLASSES];
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(run("zip.pth", "", logits, &error), CLV_E_DATA);
    assert_non_null(strstr(error.message, "test.ini:12: [expert.a] weights: "));
    assert_non_null(strstr(error.message, "fits no layer of expert.a"));
    clvi_error_clear(&error);
    assert_int_equal(run("zip.pth", "weights_strict = no", logits, &error), CLV_E_DATA);
}

static int set_up(void **state)
{
    (void)state;
    return clvi_plugins_create(plugin_folder, NULL, &plugins, NULL) == CLV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    clvi_plugins_destroy(plugins);
    return 0;
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keras),
        cmocka_unit_test(test_misfits),
    };
    plugin_folder = count > 1 ? arguments[1] : "plugins";
    fixtures = count > 2 ? arguments[2] : "tests/weights";
    int status;
    device = test_device_open(&status);
    if (!device)
        return status;
    const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return failed != 0 ? failed : test_device_close();
}
