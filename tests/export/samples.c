/* See samples.h. */
#include "samples.h"

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

/* ---- Numbers ---- */

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

clv_status sample_try(sample *s, const sample_place *place, const char *text, clv_error *error)
{
    clvi_text report = {0};
    const clvi_config_source source = {.name = "test.ini",
                                       .text = text,
                                       .text_bytes = strlen(text),
                                       .overrides = place->overrides,
                                       .override_count = place->override_count,
                                       .report = &report};
    *s = (sample){.device = place->device};
    if (clvi_config_load(&source, &s->config, error) != CLV_OK)
        fail_msg("%s\n%s", text, clvi_text_get(&report));
    clvi_text_fini(&report);
    clvi_picture_whole(s->config, &s->height, &s->width);
    s->channels = (int)strtol(clvi_config_text(s->config, "data", "channels"), NULL, 10);
    s->experts = clvi_config_expert_count(s->config);
    const clvi_mixture_desc desc = {.config = s->config,
                                    .plugins = place->plugins,
                                    .device = place->device,
                                    .classes = SAMPLE_CLASSES,
                                    .height = s->height,
                                    .width = s->width,
                                    .channels = s->channels,
                                    .max_batch = SAMPLE_BATCH};
    return place->device ? clvi_mixture_create(&desc, &s->mixture, error)
                         : clvi_mixture_draft(&desc, &s->mixture, error);
}

void sample_init(sample *s, const sample_place *place, const char *text)
{
    OK(sample_try(s, place, text, error));
    if (!place->device)
        return;
    OK(clvi_mixture_warm(s->mixture, error));
    stir(clvi_mixture_store(s->mixture));
    sample_answer(s);
}

void sample_fini(sample *s)
{
    clvi_mixture_destroy(s->mixture);
    clvi_config_destroy(s->config);
    free(s->pixels);
}

/* ---- Files ---- */

static const char *class_name(const void *user, size_t index)
{
    static const char *const names[SAMPLE_CLASSES] = {"क", "ख", "ग", "घ", "a b"};
    (void)user;
    return names[index];
}

static clv_status read_segment(const void *user, size_t segment, float *out, clv_error *error)
{
    const sample *s = user;
    const clvi_segment *to = clvi_store_segment(clvi_mixture_store(s->mixture), segment);
    for (int64_t k = 0; k < to->elements && !s->device; k++)
        out[k] = noise((uint64_t)k);
    if (!s->device)
        return CLV_OK;
    return clvi_store_read(clvi_mixture_store(s->mixture), segment, CLVI_STORE_VALUE, out, error);
}

clvi_export_source sample_source(const sample *s)
{
    return (clvi_export_source){.mixture = s->mixture,
                                .config = s->config,
                                .height = s->height,
                                .width = s->width,
                                .channels = s->channels,
                                .temperature = s->temperature,
                                .steps = 1234567890123,
                                .class_count = SAMPLE_CLASSES,
                                .class_name = class_name,
                                .read = read_segment,
                                .user = s};
}

static void append_tensor(clvi_tensor_writer *writer, const float *values, size_t count)
{
    OK(clvi_tensor_writer_append(writer, values, (int64_t)count, error));
}

void sample_answer(sample *s)
{
    const size_t area = (size_t)s->height * (size_t)s->width, c = (size_t)s->channels;
    double top = 0;
    free(s->pixels);
    s->pixels = malloc(SAMPLE_BATCH * area * c);
    assert_non_null(s->pixels);
    for (size_t i = 0; i < SAMPLE_BATCH * area * c; i++) {
        const size_t x = i / c % (size_t)s->width, y = i / c / (size_t)s->width % (size_t)s->height;
        const double slope = 90.0 * (double)x / s->width + 30.0 * (double)y / s->height;
        s->pixels[i] = (uint8_t)(slope + (double)(i / (area * c) * 47 % 64) + (double)(i % c * 9) +
                                 20 * (1 + (double)noise(7 * i)));
    }
    const clvi_mixture_batch batch = {.n = SAMPLE_BATCH, .pixels = s->pixels};
    OK(clvi_mixture_infer(s->mixture, &batch, error));
    OK(clvi_mixture_logits(s->mixture, s->logits, error));
    for (int i = 0; i < SAMPLE_BATCH * SAMPLE_CLASSES; i++)
        top = fmax(top, fabs((double)(s->logits[i] - s->logits[0])));
    s->temperature = top / 2;
}

void sample_write_answers(sample *s, const char *path)
{
    const size_t area = (size_t)s->height * (size_t)s->width, c = (size_t)s->channels;
    float *planes = malloc(SAMPLE_BATCH * area * c * sizeof *planes),
          chances[SAMPLE_BATCH * SAMPLE_CLASSES];
    float weights[SAMPLE_BATCH * 16];
    const float divisor = (float)s->temperature;
    double row[SAMPLE_CLASSES];
    clvi_tensor_writer *writer;
    const bool gated = clvi_mixture_has_gate(s->mixture);
    assert_true(planes && s->experts <= 16);
    for (size_t i = 0; i < SAMPLE_BATCH * area * c; i++)
        planes[(i / (area * c) * c + i % c) * area + i / c % area] = s->pixels[i];
    if (gated)
        OK(clvi_mixture_route(s->mixture, weights, error));
    for (int i = 0; i < SAMPLE_BATCH * SAMPLE_CLASSES; i++) {
        if (i % SAMPLE_CLASSES == 0)
            clvi_softmax_row(s->logits + i, SAMPLE_CLASSES, s->temperature, row);
        chances[i] = (float)row[i % SAMPLE_CLASSES];
    }
    OK(clvi_tensor_writer_create(path, &writer, error));
    OK(clvi_tensor_writer_declare(writer, "image", CLVI_FILE_F32, 4,
                                  (int64_t[]){SAMPLE_BATCH, s->channels, s->height, s->width},
                                  error));
    OK(clvi_tensor_writer_declare(writer, "probabilities", CLVI_FILE_F32, 2,
                                  (int64_t[]){SAMPLE_BATCH, SAMPLE_CLASSES}, error));
    if (gated)
        OK(clvi_tensor_writer_declare(writer, "weights", CLVI_FILE_F32, 2,
                                      (int64_t[]){SAMPLE_BATCH, (int64_t)s->experts}, error));
    OK(clvi_tensor_writer_declare(writer, "temperature", CLVI_FILE_F32, 0, NULL, error));
    append_tensor(writer, planes, SAMPLE_BATCH * area * c);
    append_tensor(writer, chances, SAMPLE_BATCH * SAMPLE_CLASSES);
    if (gated)
        append_tensor(writer, weights, SAMPLE_BATCH * s->experts);
    append_tensor(writer, &divisor, 1);
    OK(clvi_tensor_writer_commit(writer, error));
    clvi_tensor_writer_destroy(writer);
    free(planes);
}

void sample_run_script(const char *script, const char *arguments)
{
    const char *python = getenv("CONCLAVE_PYTHON");
    char command[16384];
    snprintf(command, sizeof command, "'%s' '%s' %s", python ? python : "/usr/bin/python3", script,
             arguments);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}
