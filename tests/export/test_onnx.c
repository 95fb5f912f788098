/* core/export: mixtures of every kind as ONNX. Arguments: folders of plugins, separated by ':', and
 * the script that runs the files with ONNX Runtime (run_onnx.py). With it each mixture is built on
 * the device, with numbers at random, and its file written beside pictures and what it makes of
 * them; without, all are written without a device. Exit 77 where one is wanted and there is none.
 */
#include "../unit/image_files.h"
#include "../unit/test_device.h"

#include "base/process.h"
#include "export/onnx.h"
#include "mixture/picture.h"
#include "train/scores.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { CLASSES = 5, BATCH = 3 };
static const double limit = 1e-5;

static clvi_device *device;
static clvi_plugins *plugins;
static const char *script;
static char *folder;

/* ---- A mixture with numbers ---- */

typedef struct rig {
    clvi_config *config;
    clvi_mixture *mixture;
    int height, width, channels;
    size_t experts;
    double temperature; /* such that probabilities are neither alike nor 0 and 1 */
    uint8_t *pixels;    /* [BATCH, height, width, channels] */
    float logits[BATCH * CLASSES];
} rig;

/* A number in -1 … 1 that follows from a count. */
static float noise(uint64_t index)
{
    uint64_t x = index * 0x9E3779B97F4A7C15u + 0x1234567u;
    x ^= x >> 31, x *= 0xBF58476D1CE4E5B9u, x ^= x >> 29;
    return (float)((double)(x >> 40) / (double)(1 << 23) - 1);
}

static bool has_end(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Values unlike the initial ones, such that nothing explodes: variances above 0, all else that
 * starts alike around where it starts. */
static void stir(clvi_store *store)
{
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (s->init == CLV_INIT_NORMAL || s->init == CLV_INIT_UNIFORM)
            continue;
        const bool variance = has_end(s->name, "running_var");
        float *values = malloc((size_t)s->elements * sizeof *values);
        assert_non_null(values);
        OK(clvi_store_read(store, i, CLVI_STORE_VALUE, values, error));
        for (int64_t k = 0; k < s->elements; k++) {
            const float by = noise((uint64_t)i * 100003 + (uint64_t)k);
            values[k] += variance ? 0.5f * by : 0.2f * by;
        }
        OK(clvi_store_write(store, i, CLVI_STORE_VALUE, values, error));
        free(values);
    }
}

static clv_status try_build(rig *r, const char *text, clv_error *error)
{
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_text report = {0};
    clvi_config_source reported = source;
    reported.report = &report;
    *r = (rig){0};
    if (clvi_config_load(&reported, &r->config, error) != CLV_OK)
        fail_msg("%s\n%s", text, clvi_text_get(&report));
    clvi_text_fini(&report);
    clvi_picture_whole(r->config, &r->height, &r->width);
    r->channels = (int)strtol(clvi_config_text(r->config, "data", "channels"), NULL, 10);
    r->experts = clvi_config_expert_count(r->config);
    const clvi_mixture_desc desc = {.config = r->config,
                                    .plugins = plugins,
                                    .device = device,
                                    .classes = CLASSES,
                                    .height = r->height,
                                    .width = r->width,
                                    .channels = r->channels,
                                    .max_batch = BATCH};
    return device ? clvi_mixture_create(&desc, &r->mixture, error)
                  : clvi_mixture_draft(&desc, &r->mixture, error);
}

static void build(rig *r, const char *text)
{
    OK(try_build(r, text, error));
    if (!device)
        return;
    OK(clvi_mixture_warm(r->mixture, error));
    stir(clvi_mixture_store(r->mixture));
}

static void destroy(rig *r)
{
    clvi_mixture_destroy(r->mixture);
    clvi_config_destroy(r->config);
    free(r->pixels);
}

/* ---- Files ---- */

static const char *class_name(const void *user, size_t index)
{
    static const char *const names[CLASSES] = {"क", "ख", "ग", "घ", "a b"};
    (void)user;
    return names[index];
}

static clv_status read_segment(const void *user, size_t segment, float *out, clv_error *error)
{
    const rig *r = user;
    const clvi_segment *s = clvi_store_segment(clvi_mixture_store(r->mixture), segment);
    for (int64_t k = 0; k < s->elements && !device; k++)
        out[k] = noise((uint64_t)k);
    if (!device)
        return CLV_OK;
    return clvi_store_read(clvi_mixture_store(r->mixture), segment, CLVI_STORE_VALUE, out, error);
}

static clv_status export_rig(const rig *r, const char *path, clv_error *error)
{
    const clvi_export_source source = {.mixture = r->mixture,
                                       .config = r->config,
                                       .height = r->height,
                                       .width = r->width,
                                       .channels = r->channels,
                                       .temperature = r->temperature,
                                       .class_count = CLASSES,
                                       .class_name = class_name,
                                       .read = read_segment,
                                       .user = r};
    return clvi_export_onnx(&source, path, error);
}

static void append_tensor(clvi_tensor_writer *writer, const float *values, size_t count)
{
    OK(clvi_tensor_writer_append(writer, values, (int64_t)count, error));
}

/* What the mixture makes of pictures that differ in brightness and colour, and from place to place.
 */
static void answer(rig *r)
{
    const size_t area = (size_t)r->height * (size_t)r->width, c = (size_t)r->channels;
    double top = 0;
    r->pixels = malloc(BATCH * area * c);
    assert_non_null(r->pixels);
    for (size_t i = 0; i < BATCH * area * c; i++) {
        const size_t x = i / c % (size_t)r->width, y = i / c / (size_t)r->width % (size_t)r->height;
        const double slope = 90.0 * (double)x / r->width + 30.0 * (double)y / r->height;
        r->pixels[i] = (uint8_t)(slope + (double)(i / (area * c) * 47 % 64) + (double)(i % c * 9) +
                                 20 * (1 + (double)noise(7 * i)));
    }
    const clvi_mixture_batch batch = {.n = BATCH, .pixels = r->pixels};
    OK(clvi_mixture_infer(r->mixture, &batch, error));
    OK(clvi_mixture_logits(r->mixture, r->logits, error));
    for (int i = 0; i < BATCH * CLASSES; i++)
        top = fmax(top, fabs((double)(r->logits[i] - r->logits[0])));
    r->temperature = top / 2;
}

/* The pictures as ONNX is given them, the probabilities and the weights. */
static void write_answers(rig *r, const char *path)
{
    const size_t area = (size_t)r->height * (size_t)r->width, c = (size_t)r->channels;
    float *planes = malloc(BATCH * area * c * sizeof *planes), chances[BATCH * CLASSES];
    float weights[BATCH * 16];
    double row[CLASSES];
    clvi_tensor_writer *writer;
    const bool gated = clvi_mixture_has_gate(r->mixture);
    assert_true(planes && r->experts <= 16);
    for (size_t i = 0; i < BATCH * area * c; i++)
        planes[(i / (area * c) * c + i % c) * area + i / c % area] = r->pixels[i];
    if (gated)
        OK(clvi_mixture_route(r->mixture, weights, error));
    for (int i = 0; i < BATCH * CLASSES; i++) {
        if (i % CLASSES == 0)
            clvi_softmax_row(r->logits + i, CLASSES, r->temperature, row);
        chances[i] = (float)row[i % CLASSES];
    }
    OK(clvi_tensor_writer_create(path, &writer, error));
    OK(clvi_tensor_writer_declare(writer, "image", CLVI_FILE_F32, 4,
                                  (int64_t[]){BATCH, r->channels, r->height, r->width}, error));
    OK(clvi_tensor_writer_declare(writer, "probabilities", CLVI_FILE_F32, 2,
                                  (int64_t[]){BATCH, CLASSES}, error));
    if (gated)
        OK(clvi_tensor_writer_declare(writer, "weights", CLVI_FILE_F32, 2,
                                      (int64_t[]){BATCH, (int64_t)r->experts}, error));
    append_tensor(writer, planes, BATCH * area * c);
    append_tensor(writer, chances, BATCH * CLASSES);
    if (gated)
        append_tensor(writer, weights, BATCH * r->experts);
    OK(clvi_tensor_writer_commit(writer, error));
    clvi_tensor_writer_destroy(writer);
    free(planes);
}

/* Both files of a configuration. */
static void write_case(const char *name, const char *text)
{
    char path[4096];
    rig r;
    build(&r, text);
    if (device)
        answer(&r);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    OK(export_rig(&r, path, error));
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (device)
        write_answers(&r, path);
    destroy(&r);
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
    const char *python = getenv("CONCLAVE_PYTHON");
    char command[8192];
    if (!script)
        skip();
    snprintf(command, sizeof command, "'%s' '%s' '%s' %g", python ? python : "/usr/bin/python3",
             script, folder, limit);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- What cannot be written ---- */

static void expect_refused(const char *text, const char *part)
{
    char path[4096];
    rig r;
    clv_error why = CLV_ERROR_INIT;
    snprintf(path, sizeof path, "%s/refused.onnx", folder);
    OK(try_build(&r, text, error));
    assert_int_equal(export_rig(&r, path, &why), CLV_E_USAGE);
    if (!strstr(why.message, part))
        fail_msg("'%s' is not in: %s", part, why.message);
    assert_false(clvi_is_file(path));
    destroy(&r);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(COLOUR ONE "[expert.a]\nplugin = own\n", "expert.a: the operation own");
    expect_refused(GREY THREE "scores = logits\n[gate]\nplugin = many\n" CE,
                   "[gate]: this gate sends images to few experts by an operation (column_topk)");
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
    device = script ? test_device_open(&status) : NULL;
    if (script && device == NULL)
        return status;
    folder = folder_make();
    if (clvi_plugins_create(argv[1], NULL, &plugins, &error) != CLV_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest with_peer[] = {cmocka_unit_test(test_write),
                                           cmocka_unit_test(test_run)};
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_write),
                                       cmocka_unit_test(test_refused)};
    status = script ? cmocka_run_group_tests(with_peer, NULL, NULL)
                    : cmocka_run_group_tests(alone, NULL, NULL);
    clvi_plugins_destroy(plugins);
    folder_remove(folder);
    return (device && test_device_close() != 0) || status != 0;
}
