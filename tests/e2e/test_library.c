/* The library as programs use it: through conclave.h and libconclave.so alone, on a run and a
 * mixture that the command trained. Arguments: the command, the folder of libconclave.so, the
 * source's root, a C compiler, a compiler that takes C++ ("" where there is none), the folder of
 * plugins, and `builtin` where the library has experts linked in, else `files`. Exit 77 where there
 * is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "../unit/image_files.h"
#include "calls.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <conclave/conclave.h>

enum { SHOTS = 6, PICTURES = CLASSES * SHOTS, SIDE = 16, EXPERTS = 3 };

static const char one[] = "[data]\nimage_size = 16\n[mixture]\nexperts = small\n"
                          "[expert.small]\nplugin = cnn\nwidths = 8, 16\n"
                          "[optimizer]\nlr = 0.01\n[train]\nepochs = 4\nbatch = 10\n";
static const char several[] =
    "[run]\nbase = one.ini\n[mixture]\nexperts = a, b, c\nscores = logits\n"
    "[expert.a]\nplugin = cnn\nwidths = 8\n[expert.b]\nplugin = cnn\n"
    "widths = 6\n[expert.c]\nplugin = cnn\nwidths = 4, 6\n"
    "[gate]\nplugin = noisy_topk\nk = 2\n[train]\nepochs = 2\n";

static const char *library, *source, *c_compiler, *cxx_compiler, *plugins;
static bool builtin;
static char paths[PICTURES][64];
static clv_image images[PICTURES];

/* Fails the running test with the error's sentence. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error ok_error = CLV_ERROR_INIT, *error = &ok_error;                                   \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", ok_error.message);                                                      \
    } while (0)
/* A failure of this status whose sentence holds `part`. */
#define REFUSED(call, wanted, part)                                                                \
    do {                                                                                           \
        clv_error no_error = CLV_ERROR_INIT, *error = &no_error;                                   \
        assert_int_equal((call), (wanted));                                                        \
        assert_int_equal(no_error.status, (wanted));                                               \
        contains(no_error.message, (part));                                                        \
    } while (0)

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", 20);
    draw_set("data/test", SHOTS);
    put("one.ini", one);
    put("several.ini", several);
    expect("train one.ini --data data --quiet", 0);
    expect("train several.ini --data data --quiet", 0);
    expect("export runs/one --bundle one.bundle", 0);
    expect("export runs/several --bundle several.bundle", 0);
    for (int i = 0; i < PICTURES; i++) {
        snprintf(paths[i], sizeof paths[i], "data/test/%s/%d.png", class_names[i / SHOTS],
                 i % SHOTS);
        images[i] = clv_image_of_file(paths[i]);
    }
    return 0;
}

static clv_model *open_with(const char *path, uint32_t max_batch)
{
    clv_model_options options = CLV_MODEL_OPTIONS_INIT;
    clv_model *model = NULL;
    options.max_batch = max_batch;
    options.plugin_path = plugins;
    OK(clv_model_open(path, &options, &model, error));
    return model;
}

static clv_result *classify(clv_model *model, const clv_image *what, size_t count)
{
    clv_result *result = NULL;
    OK(clv_model_classify(model, what, count, &result, error));
    assert_int_equal(clv_result_count(result), count);
    return result;
}

static const double *chances_of(const clv_result *result, size_t image)
{
    const double *chances = NULL;
    OK(clv_result_probabilities(result, image, &chances, error));
    return chances;
}

static void expect_same(const clv_result *a, size_t i, const clv_result *b, size_t k)
{
    assert_memory_equal(chances_of(a, i), chances_of(b, k), CLASSES * sizeof(double));
}

/* ---- Answers ---- */

static void test_facts(void **state)
{
    (void)state;
    int32_t height = 0, width = 0, channels = 0;
    clv_model *model = open_with("several.bundle", 0);
    assert_string_equal(clv_version(), "0.1.0");
    assert_int_equal(clv_model_class_count(model), CLASSES);
    for (size_t i = 0; i < CLASSES; i++)
        assert_string_equal(clv_model_class_name(model, i), class_names[i]);
    assert_null(clv_model_class_name(model, CLASSES));
    assert_int_equal(clv_model_expert_count(model), EXPERTS);
    assert_string_equal(clv_model_expert_name(model, 1), "b");
    assert_null(clv_model_expert_name(model, EXPERTS));
    assert_int_equal(clv_model_has_gate(model), 1);
    clv_model_image_size(model, &height, &width, &channels);
    assert_true(height == SIDE && width == SIDE && channels == 1);
    clv_model_image_size(model, NULL, NULL, NULL);
    assert_true(clv_model_temperature(model) > 0);
    assert_true(strlen(clv_model_device(model)) > 0);
    clv_model_close(model);
    clv_model_close(NULL);
    clv_result_destroy(NULL);
}

/* Run and bundle say the same to the bit; the command says the same in nine digits. */
static void test_as_predict(void **state)
{
    (void)state;
    static const char *const runs[] = {"runs/one", "runs/several"};
    static const char *const bundles[] = {"one.bundle", "several.bundle"};
    for (int m = 0; m < 2; m++) {
        char arguments[128];
        clv_model *run = open_with(runs[m], 10), *bundle = open_with(bundles[m], 10);
        clv_result *a = classify(run, images, 10), *b = classify(bundle, images, 10);
        snprintf(arguments, sizeof arguments, "predict %s data/test --json --quiet --top 4",
                 runs[m]);
        expect(arguments, 0);
        char *line = call_out;
        for (size_t i = 0; i < 10; i++) {
            char *end = strchr(line, '\n');
            *end = '\0';
            json_t *said = parse(line);
            line = end + 1;
            assert_string_equal(word(said, "path"), paths[i]);
            expect_same(a, i, b, i);
            size_t top[CLASSES];
            OK(clv_result_top(a, i, CLASSES, top, error));
            for (size_t k = 0; k < CLASSES; k++) {
                const json_t *row = json_array_get(json_object_get(said, "predictions"), k);
                const double chance = chances_of(a, i)[top[k]];
                assert_string_equal(word(row, "class"), clv_model_class_name(run, top[k]));
                assert_true(fabs(number(row, "probability") - chance) <= 1e-8 * chance + 1e-300);
            }
            const float *gate = clv_result_gate(a, i);
            assert_int_equal(gate != NULL, clv_model_has_gate(run));
            for (size_t e = 0; gate != NULL && e < EXPERTS; e++) {
                const double weight =
                    number(json_object_get(said, "gate"), clv_model_expert_name(run, e));
                assert_true(fabs(weight - (double)gate[e]) <= 1e-7);
            }
            json_decref(said);
        }
        clv_model_close(run);
        clv_model_close(bundle);
        double sum = 0;
        for (size_t k = 0; k < CLASSES; k++)
            sum += chances_of(b, 3)[k]; /* after the model */
        assert_true(fabs(sum - 1) < 1e-12);
        clv_result_destroy(a);
        clv_result_destroy(b);
    }
}

/* The same picture as a file, as bytes and as pixels, with gaps between rows, grey and RGB. */
static void test_kinds(void **state)
{
    (void)state;
    enum { GAP = 5 };
    uint8_t grey[SIDE * SIDE], gaps[SIDE * (SIDE + GAP)], rgb[SIDE * SIDE * 3];
    memset(gaps, 255, sizeof gaps);
    for (int i = 0; i < SIDE * SIDE; i++) {
        grey[i] = (uint8_t)((i / SIDE * 13 + i % SIDE * 31) % 251);
        gaps[i / SIDE * (SIDE + GAP) + i % SIDE] = grey[i];
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
    }
    const png_form form = {.width = SIDE, .height = SIDE, .bits = 8};
    blob png = png_make(&form, grey);
    file_put(".", "kinds.png", png.bytes, png.length);
    clv_image kinds[5];
    kinds[0] = clv_image_of_file("kinds.png");
    kinds[1] = clv_image_of_bytes(png.bytes, png.length);
    kinds[2] = clv_image_of_pixels(grey, SIDE, SIDE, 1);
    kinds[3] = clv_image_of_pixels(gaps, SIDE, SIDE, 1);
    kinds[3].row_bytes = SIDE + GAP;
    kinds[4] = clv_image_of_pixels(rgb, SIDE, SIDE, 3);
    clv_model *model = open_with("one.bundle", 5);
    for (size_t i = 1; i < 5; i++) {
        clv_result *first = classify(model, kinds, 1), *other = classify(model, kinds + i, 1);
        expect_same(first, 0, other, 0);
        clv_result_destroy(first);
        clv_result_destroy(other);
    }
    /* Another size: resized as a file of that size. */
    const png_form wide = {.width = 8, .height = 32, .bits = 8};
    blob other = png_make(&wide, grey);
    const clv_image pair[2] = {clv_image_of_bytes(other.bytes, other.length),
                               clv_image_of_pixels(grey, 32, 8, 1)};
    clv_result *encoded = classify(model, pair, 1), *pixels = classify(model, pair + 1, 1);
    expect_same(encoded, 0, pixels, 0);
    clv_result_destroy(encoded);
    clv_result_destroy(pixels);
    clv_model_close(model);
    blob_free(&other);
    blob_free(&png);
}

/* ---- What goes wrong ---- */

static void test_bad_images(void **state)
{
    (void)state;
    static const uint8_t grey[4] = {1, 2, 3, 4};
    const double *chances = NULL;
    size_t top[CLASSES + 1];
    clv_image some[7] = {images[0],
                         clv_image_of_file("none.png"),
                         images[7],
                         clv_image_of_bytes("rubbish", 7),
                         clv_image_of_pixels(grey, 2, 2, 2),
                         clv_image_of_pixels(grey, 0, 2, 1),
                         clv_image_of_pixels(grey, 2, 2, 1)};
    some[6].row_bytes = 1;
    clv_model *model = open_with("several.bundle", 2);
    clv_result *r = classify(model, some, 7);
    clv_result *good = classify(model, (const clv_image[]){images[0], images[7]}, 2);
    expect_same(r, 0, good, 0);
    expect_same(r, 2, good, 1);
    REFUSED(clv_result_probabilities(r, 1, &chances, error), CLV_E_IO, "none.png");
    REFUSED(clv_result_top(r, 3, 1, top, error), CLV_E_DATA, "image 4: neither a PNG nor a JPEG");
    REFUSED(clv_result_top(r, 4, 1, top, error), CLV_E_USAGE, "image 5: pixels of 2 channels");
    REFUSED(clv_result_top(r, 5, 1, top, error), CLV_E_USAGE, "image 6: it has no pixels");
    REFUSED(clv_result_top(r, 6, 1, top, error), CLV_E_USAGE, "image 7: a row of 1 bytes");
    REFUSED(clv_result_top(r, 7, 1, top, error), CLV_E_USAGE, "there is no answer 7");
    REFUSED(clv_result_top(r, 0, 0, top, error), CLV_E_USAGE, "give 1 to 4");
    REFUSED(clv_result_top(r, 0, CLASSES + 1, top, error), CLV_E_USAGE, "give 1 to 4");
    assert_null(clv_result_gate(r, 1));
    assert_null(clv_result_gate(r, 7));
    assert_non_null(clv_result_gate(r, 2));
    assert_null(chances);
    clv_result_destroy(r);
    clv_result_destroy(good);

    clv_result *none = NULL;
    REFUSED(clv_model_classify(model, images, 0, &none, error), CLV_E_USAGE, "no images");
    REFUSED(clv_model_classify(model, NULL, 1, &none, error), CLV_E_USAGE, "no images");
    some[1].kind = 4;
    REFUSED(clv_model_classify(model, some, 2, &none, error), CLV_E_USAGE, "no kind 4");
    some[1] = clv_image_of_bytes(NULL, 3);
    REFUSED(clv_model_classify(model, some, 2, &none, error), CLV_E_USAGE, "image 2: its data");
    some[1].struct_size = 8;
    REFUSED(clv_model_classify(model, some, 2, &none, error), CLV_E_USAGE, "struct_size is 8");
    assert_null(none);
    assert_int_equal(clv_model_classify(model, some, 2, &none, NULL), CLV_E_USAGE);
    clv_model_close(model);
}

static void open_refused(const char *path, const clv_model_options *options, clv_status status,
                         const char *part)
{
    clv_model *model = NULL;
    REFUSED(clv_model_open(path, options, &model, error), status, part);
    assert_null(model);
}

static void cut(const char *from, const char *to, size_t bytes)
{
    static char whole[1 << 20];
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    const size_t length = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_true(bytes < length && length < sizeof whole);
    file_put(".", to, whole, bytes > 0 ? bytes : length);
}

static void test_not_opened(void **state)
{
    (void)state;
    clv_model_options options = CLV_MODEL_OPTIONS_INIT;
    open_refused(NULL, NULL, CLV_E_USAGE, "which model?");
    open_refused("", NULL, CLV_E_USAGE, "which model?");
    open_refused("nowhere", NULL, CLV_E_IO, "nowhere");
    open_refused("data", NULL, CLV_E_DATA, "no run");
    open_refused("one.ini", NULL, CLV_E_FORMAT, "one.ini");
    cut("one.bundle", "cut.bundle", 3000);
    open_refused("cut.bundle", NULL, CLV_E_FORMAT, "cut.bundle");
    options.plugin_path = plugins;
    options.device = "no-such-device";
    open_refused("one.bundle", &options, CLV_E_DEVICE, "no-such-device");
    options.device = NULL;
    options.checkpoint = "first";
    open_refused("runs/one", &options, CLV_E_USAGE, "give best or last");
    options.checkpoint = "last";
    options.max_batch = 1 << 20;
    open_refused("runs/one", &options, CLV_E_USAGE, "max_batch is 1048576");
    options.struct_size = 4;
    open_refused("runs/one", &options, CLV_E_USAGE, "CLV_MODEL_OPTIONS_INIT");
    options = (clv_model_options)CLV_MODEL_OPTIONS_INIT;
    options.checkpoint = "last";
    options.plugin_path = plugins;
    clv_model *last = NULL;
    OK(clv_model_open("runs/one", &options, &last, error));
    assert_true(clv_model_temperature(last) == 0);
    clv_model_close(last);
}

/* Programs that were compiled with an older or a later conclave.h than the library's. */
static void test_other_versions(void **state)
{
    (void)state;
    enum { PART = offsetof(clv_image, data), LATER = sizeof(clv_image) + 24 };
    clv_model_options options = CLV_MODEL_OPTIONS_INIT;
    clv_model *model = NULL;
    clv_result *result = NULL;
    char older[3 * PART], later[3 * LATER];
    options.max_batch = 3;
    options.plugin_path = plugins;
    options.checkpoint = "beyond the end";
    options.struct_size = offsetof(clv_model_options, checkpoint);
    OK(clv_model_open("runs/one", &options, &model, error));
    clv_model_close(model);
    options.struct_size = offsetof(clv_model_options, max_batch);
    open_refused("runs/one", &options, CLV_E_USAGE, "struct_size is 4");
    struct {
        clv_model_options known;
        char unknown[16];
    } more = {CLV_MODEL_OPTIONS_INIT, "of the future"};
    more.known.struct_size = sizeof more;
    more.known.plugin_path = plugins;
    OK(clv_model_open("one.bundle", &more.known, &model, error));

    memset(later, 0x55, sizeof later);
    for (size_t i = 0; i < 3; i++) {
        clv_image image = images[7 * i];
        image.struct_size = PART;
        memcpy(older + i * PART, &image, PART);
        image.struct_size = LATER;
        memcpy(later + i * LATER, &image, sizeof image);
    }
    clv_result *wanted = classify(model, (const clv_image[]){images[0], images[7], images[14]}, 3);
    clv_result *few = classify(model, (const clv_image *)(void *)older, 3);
    clv_result *many = classify(model, (const clv_image *)(void *)later, 3);
    for (size_t i = 0; i < 3; i++) {
        expect_same(few, i, wanted, i);
        expect_same(many, i, wanted, i);
    }
    /* Fields that are not there are 0, whatever lies in their place. */
    static const uint8_t grey[4] = {1, 2, 3, 4};
    clv_image pixels = clv_image_of_pixels(grey, 2, 2, 1);
    size_t top;
    pixels.struct_size = offsetof(clv_image, height);
    clv_result *none = classify(model, &pixels, 1);
    REFUSED(clv_result_top(none, 0, 1, &top, error), CLV_E_USAGE, "pixels of 0 channels");
    pixels.struct_size = offsetof(clv_image, name);
    REFUSED(clv_model_classify(model, &pixels, 1, &result, error), CLV_E_USAGE,
            "image 1: struct_size is 8");
    pixels.struct_size = 0;
    REFUSED(clv_model_classify(model, &pixels, 1, &result, error), CLV_E_USAGE,
            "image 1: struct_size is 0");
    assert_null(result);
    clv_result_destroy(wanted);
    clv_result_destroy(few);
    clv_result_destroy(many);
    clv_result_destroy(none);
    clv_model_close(model);
}

/* ---- Compiling ---- */

static void test_warm_up(void **state)
{
    (void)state;
    enum { BATCH = 5 };
    for (int m = 0; m < 2; m++) {
        clv_model *model = open_with(m == 0 ? "one.bundle" : "several.bundle", BATCH);
        assert_true(clv_model_compilations(model) == 0);
        OK(clv_model_warm_up(model, error));
        const uint64_t warm = clv_model_compilations(model);
        assert_true(warm > 0);
        for (size_t n = 1; n <= 2 * BATCH + 1; n++)
            clv_result_destroy(classify(model, images + n, n));
        assert_true(clv_model_compilations(model) == warm);
        OK(clv_model_warm_up(model, error));
        assert_true(clv_model_compilations(model) == warm);
        /* What was warmed up says what one that was not says. */
        clv_model *cold = open_with(m == 0 ? "one.bundle" : "several.bundle", BATCH);
        clv_result *a = classify(model, images, BATCH), *b = classify(cold, images, BATCH);
        for (size_t i = 0; i < BATCH; i++)
            expect_same(a, i, b, i);
        assert_true(clv_model_compilations(cold) > 0);
        clv_result_destroy(a);
        clv_result_destroy(b);
        clv_model_close(cold);
        clv_model_close(model);
    }
}

/* ---- Threads ---- */

enum { THREADS = 8, ROUNDS = 12 };

typedef struct asker {
    pthread_t thread;
    clv_model *model;
    unsigned number;
    double said[ROUNDS][3][CLASSES];
    char fault[512];
} asker;

/* 1 to 3 pictures that follow from `number` and `round`. */
static size_t choose(unsigned number, int round, clv_image chosen[3])
{
    const size_t count = 1 + (number + (unsigned)round) % 3;
    for (size_t i = 0; i < count; i++)
        chosen[i] = images[(number * 7 + (unsigned)round * 5 + i * 3) % PICTURES];
    return count;
}

static void *ask(void *user)
{
    asker *a = user;
    for (int round = 0; round < ROUNDS; round++) {
        clv_image chosen[3];
        clv_error error = CLV_ERROR_INIT;
        clv_result *result = NULL;
        const double *chances = NULL;
        const size_t count = choose(a->number, round, chosen);
        clv_status status = clv_model_classify(a->model, chosen, count, &result, &error);
        for (size_t i = 0; i < count && status == CLV_OK; i++) {
            status = clv_result_probabilities(result, i, &chances, &error);
            if (status == CLV_OK)
                memcpy(a->said[round][i], chances, sizeof a->said[round][i]);
        }
        clv_result_destroy(result);
        if (status != CLV_OK)
            snprintf(a->fault, sizeof a->fault, "%s", error.message);
    }
    return NULL;
}

/* Each of them alone, then all at once: the same bits. */
static void expect_same_in_threads(clv_model *const models[2])
{
    static asker alone[THREADS], together[THREADS];
    for (unsigned t = 0; t < THREADS; t++) {
        alone[t] = together[t] = (asker){.model = models[t % 2], .number = t};
        ask(&alone[t]);
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&together[t].thread, NULL, ask, &together[t]), 0);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(together[t].thread, NULL), 0);
    for (unsigned t = 0; t < THREADS; t++) {
        assert_string_equal(alone[t].fault, "");
        assert_string_equal(together[t].fault, "");
        assert_memory_equal(alone[t].said, together[t].said, sizeof alone[t].said);
    }
}

static void test_threads(void **state)
{
    (void)state;
    clv_model *shared = open_with("several.bundle", 2);
    expect_same_in_threads((clv_model *const[]){shared, shared});
    clv_model *other = open_with("runs/one", 3);
    expect_same_in_threads((clv_model *const[]){shared, other});
    clv_model_close(shared);
    clv_model_close(other);
}

typedef struct opener {
    pthread_t thread;
    const char *path;
    double said[CLASSES];
    char fault[512];
} opener;

static void *open_and_ask(void *user)
{
    opener *o = user;
    clv_model_options options = CLV_MODEL_OPTIONS_INIT;
    clv_error error = CLV_ERROR_INIT;
    clv_model *model = NULL;
    clv_result *result = NULL;
    const double *chances = NULL;
    options.plugin_path = plugins;
    clv_status status = clv_model_open(o->path, &options, &model, &error);
    if (status == CLV_OK)
        status = clv_model_warm_up(model, &error);
    if (status == CLV_OK)
        status = clv_model_classify(model, images + 2, 1, &result, &error);
    if (status == CLV_OK)
        status = clv_result_probabilities(result, 0, &chances, &error);
    if (status == CLV_OK)
        memcpy(o->said, chances, sizeof o->said);
    else
        snprintf(o->fault, sizeof o->fault, "%s", error.message);
    clv_result_destroy(result);
    clv_model_close(model);
    return NULL;
}

/* Models that are opened, warmed up, used and closed at the same time. */
static void test_models_at_once(void **state)
{
    (void)state;
    enum { MODELS = 4 };
    opener alone[MODELS], together[MODELS];
    memset(alone, 0, sizeof alone);
    for (int i = 0; i < MODELS; i++) {
        alone[i].path = i % 2 == 0 ? "one.bundle" : "several.bundle";
        together[i] = alone[i];
        open_and_ask(&alone[i]);
    }
    for (int i = 0; i < MODELS; i++)
        assert_int_equal(pthread_create(&together[i].thread, NULL, open_and_ask, &together[i]), 0);
    for (int i = 0; i < MODELS; i++)
        assert_int_equal(pthread_join(together[i].thread, NULL), 0);
    for (int i = 0; i < MODELS; i++) {
        assert_string_equal(alone[i].fault, "");
        assert_string_equal(together[i].fault, "");
        assert_memory_equal(alone[i].said, together[i].said, sizeof alone[i].said);
    }
}

/* ---- The example ---- */

static void run(const char *command, int status)
{
    const int got = system(command);
    read_whole("out.txt", call_out, sizeof call_out);
    if (got != status << 8)
        fail_msg("%s: %d\n%s", command, got, call_out);
}

static void expect_example(const char *compiler, const char *dialect)
{
    char command[8 * PATH_MAX];
    snprintf(command, sizeof command,
             "%s %s -Wall -Wextra -Wpedantic -Werror -I'%s/core/include' "
             "'%s/core/examples/classify.c' -x none -L'%s' -lconclave -Wl,-rpath,'%s' "
             "-o classify >out.txt 2>&1",
             compiler, dialect, source, source, library, library);
    run(command, 0);
    run("./classify one.bundle data/test/rows/1.png data/test/disc/2.png >out.txt 2>&1", 0);
    contains(call_out, " %  rows  data/test/rows/1.png\n");
    contains(call_out, " %  disc  data/test/disc/2.png\n");
    run("./classify one.bundle one.ini >out.txt 2>&1", 1);
    contains(call_out, "one.ini: neither a PNG nor a JPEG\n");
    run("./classify >out.txt 2>&1", 2);
}

static void test_example(void **state)
{
    (void)state;
    expect_example(c_compiler, "-x c -std=c99");
}

static void test_example_in_cxx(void **state)
{
    (void)state;
    if (cxx_compiler[0] == '\0')
        skip();
    expect_example(cxx_compiler, "-x c++ -std=c++11");
}

/* The library alone in a folder, as where it is installed: plugins are found in conclave/plugins
 * beside it, and where experts are linked in nobody needs them. */
static void test_example_elsewhere(void **state)
{
    (void)state;
    char command[4 * PATH_MAX];
    expect_example(c_compiler, "-x c -std=c99");
    snprintf(command, sizeof command, "mkdir -p alone && cp '%s'/libconclave.so.1 alone/ >out.txt",
             library);
    run(command, 0);
    const char *ask = "LD_LIBRARY_PATH=alone ./classify one.bundle data/test/rows/1.png "
                      ">out.txt 2>&1";
    run(ask, builtin ? 0 : 1);
    contains(call_out, builtin ? " %  rows  " : "alone/conclave/plugins (no such folder)\n");
    snprintf(command, sizeof command,
             "mkdir alone/conclave && cp -r '%s' alone/conclave/plugins "
             ">out.txt",
             plugins);
    run(command, 0);
    run(ask, 0);
    contains(call_out, " %  rows  data/test/rows/1.png\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),          cmocka_unit_test(test_as_predict),
        cmocka_unit_test(test_kinds),          cmocka_unit_test(test_bad_images),
        cmocka_unit_test(test_not_opened),     cmocka_unit_test(test_other_versions),
        cmocka_unit_test(test_warm_up),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_models_at_once), cmocka_unit_test(test_example),
        cmocka_unit_test(test_example_in_cxx), cmocka_unit_test(test_example_elsewhere),
    };
    if (argc != 8) {
        fprintf(stderr, "usage: %s CONCLAVE LIBRARY SOURCE CC CXX PLUGINS builtin|files\n",
                argv[0]);
        return 2;
    }
    library = argv[2], source = argv[3], c_compiler = argv[4], cxx_compiler = argv[5];
    plugins = argv[6], builtin = strcmp(argv[7], "builtin") == 0;
    const int status = calls_begin(2, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
