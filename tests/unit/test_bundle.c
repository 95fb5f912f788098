/* core/train/bundle: what is written is read again, and what is damaged or foreign is refused in
 * one sentence that names the file and the key. */
#include "train/bundle.h"
#include "image_files.h"
#include "short_memory.h"
#include "train/model.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static const char config[] = "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n";
static const char preprocessing[] = "{\"height\":8,\"width\":9,\"channels\":3}";

typedef struct pair {
    const char *key, *value;
} pair;
static const pair good[] = {
    {"format", CLVI_BUNDLE_FORMAT}, {"conclave", "0.1.0"},  {"config", config},
    {"classes", "[\"x\",\"y\"]"},   {"temperature", "1.5"}, {"preprocessing", preprocessing},
    {"training", "{\"epoch\":3}"},
};
enum { PAIRS = sizeof good / sizeof *good };

/* A file with the metadata of a bundle, but for one key, which is left out (value NULL) or another.
 */
static void put(const char *path, const char *key, const char *value)
{
    static const int64_t shape[] = {2};
    static const float numbers[] = {1, 2};
    clv_error error = CLV_ERROR_INIT;
    clvi_tensor_writer *writer = NULL;
    assert_int_equal(clvi_tensor_writer_create(path, &writer, &error), CLV_OK);
    for (size_t i = 0; i < PAIRS; i++) {
        const char *text = strcmp(good[i].key, key) == 0 ? value : good[i].value;
        if (text != NULL)
            assert_int_equal(clvi_tensor_writer_metadata(writer, good[i].key, text, &error),
                             CLV_OK);
    }
    assert_int_equal(
        clvi_tensor_writer_declare(writer, "expert.a.w", CLVI_FILE_F32, 1, shape, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, numbers, 2, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_commit(writer, &error), CLV_OK);
    clvi_tensor_writer_destroy(writer);
}

static int enter(void **state)
{
    *state = folder_make();
    return chdir(*state);
}

static int leave(void **state)
{
    const int status = chdir("/");
    folder_remove(*state);
    return status;
}

static clvi_model *opened(const char *path)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_model *model = NULL;
    if (clvi_model_open(path, CLVI_MODEL_BEST, &model, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return model;
}

static void test_read(void **state)
{
    (void)state;
    int height, width, channels;
    put("good", "", NULL);
    clvi_model *model = opened("good");
    assert_int_equal(clvi_model_class_count(model), 2);
    assert_string_equal(clvi_model_class_name(model, 1), "y");
    clvi_model_image(model, &height, &width, &channels);
    assert_true(height == 8 && width == 9 && channels == 3);
    assert_true(clvi_model_temperature(model) == 1.5);
    assert_int_equal(clvi_model_epoch(model), 3);
    clvi_model_close(model);
    put("uncalibrated", "temperature", NULL);
    model = opened("uncalibrated");
    assert_true(clvi_model_temperature(model) == 0);
    clvi_model_close(model);
}

static void refused(const char *path, clv_status status, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_model *model = NULL;
    assert_int_equal(clvi_model_open(path, CLVI_MODEL_BEST, &model, &error), status);
    assert_null(model);
    if (strstr(error.message, path) == NULL || strstr(error.message, part) == NULL ||
        strchr(error.message, '\n') != NULL)
        fail_msg("\"%s\" is not in: %s", part, error.message);
}

static void test_damaged(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *part;
        clv_status status;
    } cases[] = {
        {"format", NULL, "neither a checkpoint nor a bundle", CLV_E_FORMAT},
        {"format", "pt", "neither a checkpoint nor a bundle", CLV_E_FORMAT},
        {"format", "conclave bundle 2", "neither a checkpoint nor a bundle", CLV_E_FORMAT},
        {"config", NULL, "`config` is missing", CLV_E_FORMAT},
        {"config", "[mixture]\nexprets = a\n", "did you mean", CLV_E_CONFIG},
        {"config", "[mixture]\nexperts = a\n[expert.a]\nplugin = ./expert_cnn.so\n",
         "[expert.a] plugin = ./expert_cnn.so is a file", CLV_E_FORMAT},
        {"config",
         "[mixture]\nexperts = a, b\n[expert.a]\nplugin = cnn\n[expert.b]\nplugin = cnn\n"
         "[gate]\nplugin = x/gate_linear.so\n",
         "[gate] plugin = x/gate_linear.so is a file", CLV_E_FORMAT},
        {"classes", NULL, "`classes` is missing", CLV_E_FORMAT},
        {"classes", "[\"x\"", "`classes` is no JSON", CLV_E_FORMAT},
        {"classes", "{\"x\":1}", "`classes` is no list", CLV_E_FORMAT},
        {"classes", "[\"x\"]", "`classes` is no list of two", CLV_E_FORMAT},
        {"classes", "[\"x\",2]", "`classes` is no list of two", CLV_E_FORMAT},
        {"preprocessing", NULL, "`preprocessing` is missing", CLV_E_FORMAT},
        {"preprocessing", "[]", "`preprocessing` has no size", CLV_E_FORMAT},
        {"preprocessing", "{\"height\":0,\"width\":8,\"channels\":3}", "has no size", CLV_E_FORMAT},
        {"preprocessing", "{\"height\":8,\"width\":8e9,\"channels\":3}", "has no size",
         CLV_E_FORMAT},
        {"preprocessing", "{\"height\":8,\"width\":8,\"channels\":2}", "has no size", CLV_E_FORMAT},
        {"training", NULL, "`training` is missing", CLV_E_FORMAT},
        {"training", "{}", "`training` has no epoch", CLV_E_FORMAT},
        {"training", "{\"epoch\":-1}", "`training` has no epoch", CLV_E_FORMAT},
        {"temperature", "", "`temperature` is no number", CLV_E_FORMAT},
        {"temperature", "0", "`temperature` is no number", CLV_E_FORMAT},
        {"temperature", "-1", "`temperature` is no number", CLV_E_FORMAT},
        {"temperature", "nan", "`temperature` is no number", CLV_E_FORMAT},
        {"temperature", "1e999", "`temperature` is no number", CLV_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("bad.bundle", cases[i].key, cases[i].value);
        refused("bad.bundle", cases[i].status, cases[i].part);
    }
}

/* Cut off anywhere, also within its data. */
static void test_cut(void **state)
{
    (void)state;
    static char whole[1 << 16];
    put("good", "", NULL);
    FILE *file = fopen("good", "rb");
    assert_non_null(file);
    const size_t length = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_true(length > 300 && length < sizeof whole);
    for (size_t bytes = 0; bytes < length; bytes += bytes < length - 20 ? 13 : 1) {
        file_put(".", "cut.bundle", whole, bytes);
        refused("cut.bundle", CLV_E_FORMAT, "cut.bundle");
    }
}

/* What is known of validation goes along; a tensor that is none of it is refused when asked for. */
static void test_validation(void **state)
{
    (void)state;
    static double confidence[] = {0.25, 1, 0.5}, entropy[] = {NAN, NAN, 0.125};
    static const int64_t shape[] = {2};
    static const float numbers[] = {1, 2};
    static const char *const names[] = {"second", "third"};
    clv_error error = CLV_ERROR_INIT;
    put("good", "", NULL);
    json_t *classes = json_pack("[s,s]", "x", "y"), *training = json_pack("{s:i}", "epoch", 1);
    json_t *form = json_loads(preprocessing, 0, NULL);
    clvi_safetensors *from = NULL;
    assert_int_equal(clvi_safetensors_open("good", &from, &error), CLV_OK);
    const clvi_bundle_parts parts = {.from = from,
                                     .config = config,
                                     .classes = classes,
                                     .preprocessing = form,
                                     .training = training,
                                     .temperature = 2,
                                     .validation = {confidence, entropy, 3}};
    assert_int_equal(clvi_bundle_write("known", &parts, &error), CLV_OK);
    clvi_safetensors_close(from);
    clvi_model *model = opened("known");
    for (int again = 0; again < 2; again++) {
        clvi_predictions known = {0};
        assert_int_equal(clvi_model_validation(model, &known, &error), CLV_OK);
        assert_int_equal(known.count, 3);
        for (size_t i = 0; i < 3; i++)
            assert_true(known.items[i].confidence == confidence[i]);
        assert_true(isnan(known.items[0].gate_entropy) && known.items[2].gate_entropy == 0.125);
        clvi_predictions_fini(&known);
        assert_int_equal(clvi_model_export(model, names[again], &error), CLV_OK);
        clvi_model_close(model);
        model = opened(names[again]);
    }
    clvi_model_close(model);
    assert_int_equal(system("cmp second third"), 0);
    json_decref(classes);
    json_decref(training);
    json_decref(form);

    clvi_tensor_writer *writer = NULL;
    clvi_safetensors *file = NULL;
    clvi_bundle_validation none = {0};
    assert_int_equal(clvi_tensor_writer_create("odd", &writer, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "validation.confidence", CLVI_FILE_F32, 1,
                                                shape, &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, numbers, 2, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_commit(writer, &error), CLV_OK);
    clvi_tensor_writer_destroy(writer);
    assert_int_equal(clvi_safetensors_open("odd", &file, &error), CLV_OK);
    assert_int_equal(clvi_bundle_validation_read(file, &none, &error), CLV_E_FORMAT);
    assert_non_null(strstr(error.message, "odd: a damaged bundle: its tensor validation.conf"));
    clvi_safetensors_close(file);
}

/* A checkpoint, not a bundle, of two experts and a gate. */
static void put_checkpoint(const char *path, const char *expert, const char *gate)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_tensor_writer *writer = NULL;
    char text[1024];
    snprintf(text, sizeof text,
             "[mixture]\nexperts = a, b\n[expert.a]\nplugin = %s\n[expert.b]\nplugin = cnn\n"
             "[gate]\nplugin = %s\n",
             expert, gate);
    assert_int_equal(clvi_tensor_writer_create(path, &writer, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "format", "conclave 1", &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "config", text, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_metadata(
                         writer, "training",
                         "{\"epoch\":1,\"step\":1,\"best\":0.5,\"best_epoch\":1,\"waited\":0,"
                         "\"image\":[8,8,3],\"classes\":[\"x\",\"y\"]}",
                         &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_commit(writer, &error), CLV_OK);
    clvi_tensor_writer_destroy(writer);
}

/* Files of plugins become their names, however long; what could not be opened is not written. */
static void test_plugin_files(void **state)
{
    (void)state;
    static const struct {
        const char *expert, *gate, *section;
    } bad[] = {
        {"plugins/mine.so", "uniform",
         "[expert.a] plugin = plugins/mine.so: a bundle calls plugins "
         "by name; call the file expert_NAME.so"},
        {"my_cnn.so", "uniform", "call the file expert_NAME.so"},
        {"gate_cnn.so", "uniform", "call the file expert_NAME.so"},
        {"lib/expert_.so", "uniform", "call the file expert_NAME.so"},
        {"lib/expert_cnn", "uniform", "call the file expert_NAME.so"},
        {"cnn", "lib/expert_uniform.so",
         "[gate] plugin = lib/expert_uniform.so: a bundle calls "
         "plugins by name; call the file gate_NAME.so"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clv_error error = CLV_ERROR_INIT;
        put_checkpoint("run", bad[i].expert, bad[i].gate);
        clvi_model *model = opened("run");
        assert_int_equal(clvi_model_export(model, "out", &error), CLV_E_USAGE);
        if (strstr(error.message, bad[i].section) == NULL)
            fail_msg("%s", error.message);
        assert_int_not_equal(access("out", F_OK), 0);
        clvi_model_close(model);
    }
    clv_error error = CLV_ERROR_INIT;
    char file[256], name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(file, sizeof file, "lib/expert_%s.so", name);
    put_checkpoint("run", file, "gate_uniform.so");
    clvi_model *model = opened("run");
    if (clvi_model_export(model, "out", &error) != CLV_OK)
        fail_msg("%s", error.message);
    clvi_model_close(model);
    model = opened("out");
    assert_string_equal(clvi_config_text(clvi_model_config(model), "expert.a", "plugin"), name);
    assert_string_equal(clvi_config_text(clvi_model_config(model), "gate", "plugin"), "uniform");
    clvi_model_close(model);
}

/* Everything is of the file that was opened, also where another one has taken its name since. */
static void test_replaced(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    clvi_predictions known = {0};
    assert_int_equal(system("cp known replaced"), 0);
    clvi_model *model = opened("replaced");
    put_checkpoint("other", "cnn", "uniform");
    assert_int_equal(rename("other", "replaced"), 0);
    assert_int_equal(clvi_model_validation(model, &known, &error), CLV_OK);
    assert_int_equal(known.count, 3);
    clvi_predictions_fini(&known);
    assert_int_equal(clvi_model_export(model, "kept", &error), CLV_OK);
    clvi_model_close(model);
    model = opened("known");
    assert_int_equal(clvi_model_export(model, "wanted", &error), CLV_OK);
    clvi_model_close(model);
    assert_int_equal(system("cmp wanted kept"), 0);
}

static clv_status open_one(void *context, clv_error *error)
{
    clvi_model *model = NULL;
    const clv_status status = clvi_model_open(context, CLVI_MODEL_BEST, &model, error);
    clvi_model_close(model);
    return status;
}

/* Without memory at any place nothing is written; then what is written from what was read is the
 * same file. */
static void test_short_memory(void **state)
{
    (void)state;
    char from[] = "good";
    put(from, "", NULL);
    fail_each_allocation(open_one, from);
    clvi_model *model = opened(from);
    clv_status status = CLV_E_MEMORY;
    int n = 1;
    for (; status != CLV_OK; n++) {
        clv_error error = CLV_ERROR_INIT;
        blocks = 0, allowed = INT_MAX, fail_at = n;
        clvi_set_allocator(&short_memory);
        status = clvi_model_export(model, "again", &error);
        clvi_set_allocator(NULL);
        assert_int_equal(blocks, 0);
        assert_int_equal(access("again", F_OK) == 0, status == CLV_OK);
        assert_int_equal(error.message[0] != '\0', status != CLV_OK);
    }
    assert_true(n > 5);
    fail_at = 0;
    clvi_model_close(model);
    model = opened("again");
    assert_true(clvi_model_temperature(model) == 1.5 && clvi_model_epoch(model) == 3);
    assert_int_equal(clvi_model_export(model, "third", NULL), CLV_OK);
    clvi_model_close(model);
    assert_int_equal(system("cmp again third"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),         cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_validation),
        cmocka_unit_test(test_plugin_files), cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
