/* Weights that PyTorch and Keras wrote, in networks on a device: the answers must be theirs.
 * Arguments: the folders of plugins and of the files, tests/weights. */
#include "../unit/test_device.h"

#include "base/process.h"
#include "graph/weight_names.h"
#include "mixture/expert.h"
#include "mixture/initial_weights.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* Reads the weights of an EfficientNet-B0 that are asked for by `name`. */
static clv_status read_named(const char *name, const char *more, clv_error *fault)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "[data]\nimage_size = 32\nchannels = 3\n[mixture]\nexperts = a\n[expert.a]\n"
                   "plugin = efficientnet_b0\nweights = %s\n%s\n",
                   name, more);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    clvi_mixture *mixture = NULL;
    OK(clvi_config_load(&source, &config, error));
    const clvi_mixture_desc desc = {.config = config,
                                    .plugins = plugins,
                                    .device = device,
                                    .classes = CLASSES,
                                    .height = 32,
                                    .width = 32,
                                    .channels = 3,
                                    .max_batch = 1};
    OK(clvi_mixture_create(&desc, &mixture, error));
    const clv_status status = clvi_initial_weights_load(config, plugins, mixture, fault);
    clvi_mixture_destroy(mixture);
    clvi_config_destroy(config);
    return status;
}

/* TensorFlow's padding and ε, of which the names in the file say nothing. The file holds a tensor
 * of no network, which is what is said where the name is in order. */
static void test_name_needs_variant(void **state)
{
    (void)state;
    static const char name[] = "timm:tf_efficientnet_b0";
    static const char *const others[] = {"variant = keras", "weights_strict = no"};
    char folder[] = "/tmp/conclave-weights-XXXXXX", path[128];
    clvi_tensor_writer *writer;
    clv_error fault = CLV_ERROR_INIT;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/tf_efficientnet_b0.in1k.safetensors", folder);
    OK(clvi_tensor_writer_create(path, &writer, error));
    OK(clvi_tensor_writer_declare(writer, "w", CLVI_FILE_U8, 0, NULL, error));
    OK(clvi_tensor_writer_append(writer, "x", 1, error));
    OK(clvi_tensor_writer_commit(writer, error));
    clvi_tensor_writer_destroy(writer);
    setenv("CONCLAVE_WEIGHTS", folder, 1);
    setenv("HF_HUB_CACHE", "/nowhere", 1);
    assert_int_equal(read_named(name, "", &fault), CLV_E_CONFIG);
    assert_non_null(strstr(fault.message, "test.ini:8: [expert.a] weights: "));
    assert_non_null(
        strstr(fault.message, "timm:tf_efficientnet_b0 need variant = keras, here it is torchvis"));
    for (int i = 0; i < 2; i++) {
        clvi_error_clear(&fault);
        assert_int_equal(read_named(name, others[i], &fault), CLV_E_DATA);
        assert_non_null(strstr(fault.message, "fits no layer of expert.a"));
    }
    unlink(path);
    rmdir(folder);
}

/* Each layer of a plugin's lists is one of its network, and stands there once. */
static void expect_layers(const char *name, const char *options)
{
    char text[512];
    (void)snprintf(text, sizeof text, "[mixture]\nexperts = a\n[expert.a]\nplugin = %s\n%s\n", name,
                   options);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    const clv_build_input input = {.struct_size = sizeof input,
                                   .mode = CLV_MODE_INFER,
                                   .classes = CLASSES,
                                   .experts = 1,
                                   .image_height = 224,
                                   .image_width = 224,
                                   .image_channels = 3};
    clvi_config *config;
    clvi_expert expert = {0};
    const clvi_plugin *plugin;
    OK(clvi_config_load(&source, &config, error));
    OK(clvi_expert_build(config, plugins, clvi_config_expert_section(config, 0), &input, &expert,
                         error));
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, name, &plugin, error));
    assert_int_equal(clvi_weight_names_count(plugin->table), 3);
    for (size_t i = 0; i < 3; i++) {
        const clv_weight_names names = clvi_weight_names_at(plugin->table, i);
        for (size_t k = 0; k < names.layer_count; k++) {
            const clv_layer_name layer = clvi_weight_layer_at(&names, k);
            char weight[128];
            bool found = false;
            (void)snprintf(weight, sizeof weight, "%s.weight", layer.ours);
            for (size_t v = 0; v < expert.graph->variable_count; v++)
                found |= strcmp(expert.graph->variables[v].name, weight) == 0;
            if (!found)
                fail_msg("%s of %s: %s is no layer", name, names.family, layer.ours);
            assert_string_equal(clvi_weight_layer_ours(&names, layer.theirs), layer.ours);
            for (size_t other = 0; other < k; other++)
                assert_string_not_equal(clvi_weight_layer_at(&names, other).ours, layer.ours);
        }
        if (strcmp(name, "efficientnet_b0") == 0 && names.layer_count > 0)
            assert_int_equal(names.layer_count, 49 + 49 + 32 + 1); /* all of them */
    }
    clvi_expert_fini(&expert);
    clvi_config_destroy(config);
}

static void test_lists(void **state)
{
    (void)state;
    expect_layers("efficientnet_b0", "");
    expect_layers("vgg16", "");
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
        cmocka_unit_test(test_name_needs_variant),
        cmocka_unit_test(test_lists),
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
