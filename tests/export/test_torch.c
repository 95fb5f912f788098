/* core/export: weights in PyTorch's names and orders of axes, and back. Arguments: folders of
 * plugins, separated by ':'; and the script that loads the files into PyTorch's networks
 * (run_torch.py) with the README that it reads, in place of reading them again here. Exit 77 where
 * there is no OpenCL device. */
#include "../unit/image_files.h"
#include "samples.h"

#include "base/files.h"
#include "export/torch.h"
#include "mixture/initial_weights.h"
#include "weights/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static sample_place place;
static const char *script, *readme;
static char *folder;

static void export_expert(const sample *s, size_t leaf, const char *path)
{
    const clvi_export_source source = sample_source(s);
    const clvi_plugin *plugin;
    const char *section = clvi_config_leaf_section(s->config, leaf);
    OK(clvi_plugins_find(place.plugins, CLV_KIND_EXPERT,
                         clvi_config_text(s->config, section, "plugin"), &plugin, error));
    OK(clvi_export_torch(&source, leaf, plugin->table, path, error));
}

#define GREY   "[data]\nimage_size = 8\nchannels = 1\n"
#define COLOUR "[data]\nimage_size = 8\nchannels = 3\n"
#define LARGE  "[data]\nimage_size = 32\nchannels = 3\n"
#define ONE    "[mixture]\nexperts = a\n[expert.a]\n"

typedef struct test_case {
    const char *name, *text;
} test_case;

/* ---- Back again ---- */

static float *values_of(clvi_store *store, size_t segment)
{
    float *out = malloc((size_t)clvi_store_segment(store, segment)->elements * sizeof *out);
    assert_non_null(out);
    OK(clvi_store_read(store, segment, CLVI_STORE_VALUE, out, error));
    return out;
}

/* The variables of an expert, and the answer. */
static void expect_same(sample *a, sample *b, const char *section, const char *name)
{
    clvi_store *from = clvi_mixture_store(a->mixture), *to = clvi_mixture_store(b->mixture);
    size_t compared = 0;
    for (size_t i = 0; i < clvi_store_count(from); i++) {
        const clvi_segment *s = clvi_store_segment(from, i);
        if (strncmp(s->name, section, strlen(section)) != 0)
            continue;
        const int64_t other = clvi_store_find(to, s->name);
        assert_true(other >= 0);
        float *left = values_of(from, i), *right = values_of(to, (size_t)other);
        if (memcmp(left, right, (size_t)s->elements * sizeof *left) != 0)
            fail_msg("%s: %s came back with other bits", name, s->name);
        free(left);
        free(right);
        compared++;
    }
    assert_true(compared > 1);
}

/* Written and read again by [SECTION] weights = FILE, everything else from other random numbers. */
static void expect_return(const test_case *c, size_t leaf, bool whole)
{
    char path[4096], override[8192];
    const char *const overrides[] = {override, "run.seed=77"};
    sample a, b;
    sample_init(&a, &place, c->text);
    const char *section = clvi_config_leaf_section(a.config, leaf);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, c->name);
    export_expert(&a, leaf, path);
    snprintf(override, sizeof override, "%s.weights=%s", section, path);
    sample_place again = place;
    again.overrides = overrides, again.override_count = 2;
    sample_init(&b, &again, c->text);
    if (whole)
        assert_memory_not_equal(a.logits, b.logits, sizeof a.logits);
    OK(clvi_initial_weights_load(b.config, place.plugins, b.mixture, error));
    expect_same(&a, &b, section, c->name);
    sample_answer(&b);
    if (whole && memcmp(a.logits, b.logits, sizeof a.logits) != 0)
        fail_msg("%s: the answers are other bits", c->name);
    sample_fini(&a);
    sample_fini(&b);
}

static void test_return(void **state)
{
    (void)state;
    static const test_case cases[] = {
        {"cnn", GREY ONE "plugin = cnn\n"},
        {"cnn-more", COLOUR ONE "plugin = cnn\nwidths = 4, 6\nconvs_per_block = 2\nkernel = 5\n"
                                "batch_norm = no\nhidden = 9\npreprocess = unit\n"},
        {"b0", LARGE ONE "plugin = efficientnet_b0\n"},
        {"b0-keras", LARGE ONE "plugin = efficientnet_b0\nvariant = keras\n"},
        {"vgg16-gap", LARGE ONE "plugin = vgg16\ntop = gap\nbatch_norm = yes\n"},
        {"vgg16-keras-pixels", LARGE ONE "plugin = vgg16\ntop = gap\npreprocess = keras_vgg\n"},
        {"many", COLOUR ONE "plugin = many\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_return(&cases[i], 0, true);
}

static void test_nested(void **state)
{
    (void)state;
    static const test_case nested = {
        "nested", GREY "[mixture]\nexperts = a, b\ncombine = mean\n[mixture.a]\nexperts = x, y\n"
                       "combine = mean\n[expert.a/x]\nplugin = cnn\nwidths = 4\n"
                       "[expert.a/y]\nplugin = cnn\nwidths = 5, 6\n[expert.b]\nplugin = cnn\n"};
    expect_return(&nested, 1, false);
}

/* ---- What is in the file ---- */

static const clvi_file_tensor *tensor_of(const clvi_weights *file, const char *name, int64_t *index)
{
    for (size_t i = 0; i < clvi_weights_count(file); i++)
        if (strcmp(clvi_weights_at(file, i)->name, name) == 0) {
            *index = (int64_t)i;
            return clvi_weights_at(file, i);
        }
    fail_msg("there is no %s", name);
    return NULL;
}

static void expect_shape(const clvi_weights *file, const char *name, int rank, const int64_t *dims)
{
    int64_t index;
    const clvi_file_tensor *t = tensor_of(file, name, &index);
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(t->dims[i], dims[i]);
}

/* Element [o, i, y, x] of the file is [y, x, i, o] here; names and counters; timm's where Keras'
 * variant is. */
static void test_contents(void **state)
{
    (void)state;
    char path[4096];
    sample s;
    clvi_weights *file;
    int64_t index;
    snprintf(path, sizeof path, "%s/contents.safetensors", folder);
    sample_init(&s, &place, LARGE ONE "plugin = efficientnet_b0\npreprocess = inception\n");
    export_expert(&s, 0, path);
    OK(clvi_weights_open(path, &file, error));
    expect_shape(file, "features.0.0.weight", 4, (int64_t[]){32, 3, 3, 3});
    expect_shape(file, "features.1.0.block.0.0.weight", 4, (int64_t[]){32, 1, 3, 3});
    expect_shape(file, "features.1.0.block.1.fc1.weight", 4, (int64_t[]){8, 32, 1, 1});
    expect_shape(file, "classifier.1.weight", 2, (int64_t[]){SAMPLE_CLASSES, 1280});
    expect_shape(file, "features.0.1.num_batches_tracked", 0, NULL);
    assert_string_equal(clvi_weights_metadata(file, CLVI_WEIGHTS_PREPROCESS), "inception");
    assert_string_equal(clvi_weights_metadata(file, "format"), "pt");
    float theirs[32 * 3 * 3 * 3];
    (void)tensor_of(file, "features.0.0.weight", &index);
    OK(clvi_weights_read_f32(file, (size_t)index, theirs, error));
    clvi_store *store = clvi_mixture_store(s.mixture);
    float *ours = values_of(store, (size_t)clvi_store_find(store, "expert.a.features.0.0.weight"));
    for (int k = 0; k < 32 * 27; k++) /* o, i, y, x */
        assert_true(theirs[k] == ours[(k / 3 % 3 * 3 + k % 3) * 96 + k / 9 % 3 * 32 + k / 27]);
    free(ours);
    clvi_weights_close(file);
    sample_fini(&s);
    sample_init(&s, &place, LARGE ONE "plugin = efficientnet_b0\nvariant = keras\n");
    export_expert(&s, 0, path);
    OK(clvi_weights_open(path, &file, error));
    expect_shape(file, "conv_stem.weight", 4, (int64_t[]){32, 3, 3, 3});
    clvi_weights_close(file);
    sample_fini(&s);
}

/* ---- PyTorch ---- */

static void test_strict(void **state)
{
    (void)state;
    static const test_case cases[] = {
        {"cnn-plain", GREY ONE "plugin = cnn\n"},
        {"cnn-more", COLOUR ONE "plugin = cnn\nwidths = 4, 6\nconvs_per_block = 2\nkernel = 5\n"
                                "batch_norm = no\nhidden = 9\nactivation = silu\npool = avg\n"},
        {"efficientnet_b0", LARGE ONE "plugin = efficientnet_b0\n"},
        {"vgg16", LARGE ONE "plugin = vgg16\n"},
        {"vgg16_bn", LARGE ONE "plugin = vgg16\nbatch_norm = yes\n"},
    };
    char path[4096], arguments[16384];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sample s;
        sample_init(&s, &place, cases[i].text);
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, cases[i].name);
        export_expert(&s, 0, path);
        snprintf(path, sizeof path, "%s/%s.answers", folder, cases[i].name);
        sample_write_answers(&s, path);
        sample_fini(&s);
    }
    snprintf(arguments, sizeof arguments, "'%s' 1e-5 '%s'", folder, readme);
    sample_run_script(script, arguments);
}

int main(int argc, char **argv)
{
    int status = 0;
    clv_error error = CLV_ERROR_INIT;
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: %s PLUGINS [SCRIPT README]\n", argv[0]);
        return 2;
    }
    script = argc > 2 ? argv[2] : NULL;
    readme = argc > 2 ? argv[3] : NULL;
    place.device = test_device_open(&status);
    if (place.device == NULL)
        return status;
    folder = folder_make();
    if (clvi_plugins_create(argv[1], NULL, &place.plugins, &error) != CLV_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest with_peer[] = {cmocka_unit_test(test_strict)};
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_return), cmocka_unit_test(test_nested),
                                       cmocka_unit_test(test_contents)};
    status = script ? cmocka_run_group_tests(with_peer, NULL, NULL)
                    : cmocka_run_group_tests(alone, NULL, NULL);
    clvi_plugins_destroy(place.plugins);
    folder_remove(folder);
    return test_device_close() != 0 || status != 0;
}
