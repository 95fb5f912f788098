/* conclave bench --bundle: how long an answer takes, from a picture's bytes to its probabilities.
 */
#include "bench.h"
#include "session.h"

#include "base/clock.h"
#include "base/reals.h"
#include "data/image.h"
#include "use/classifier.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CALLS = 2 };

typedef struct bench {
    const bench_bundle_desc *desc;
    clvi_model *model;
    clvi_classifier *classifier;
    clv_image *pictures; /* encoded, in memory */
    size_t count;
    clv_image *batch; /* [desc->batch] */
    double *ms;       /* [desc->repeat] of each call */
    double warm_seconds;
} bench;

/* ---- Pictures ---- */

/* A PNG of noise in the size that the network was trained on. */
static clv_status draw_picture(bench *b, clv_error *error)
{
    clvi_image image = {0};
    uint8_t *bytes = NULL;
    size_t length = 0;
    uint32_t noise = 1;
    clvi_model_image(b->model, &image.height, &image.width, &image.channels);
    const size_t pixels = (size_t)image.height * (size_t)image.width * (size_t)image.channels;
    image.pixels = clvi_malloc(pixels);
    if (image.pixels == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for a picture");
    for (size_t i = 0; i < pixels; i++) {
        noise = noise * 1664525u + 1013904223u;
        image.pixels[i] = (uint8_t)(noise >> 24);
    }
    const clv_status status = clvi_image_encode_png(&image, &bytes, &length, error);
    clvi_image_fini(&image);
    CLV_TRY(status);
    b->pictures[b->count++] = clv_image_of_bytes(bytes, length);
    return CLV_OK;
}

static clv_status read_pictures(bench *b, clv_error *error)
{
    const bench_bundle_desc *d = b->desc;
    b->pictures = clvi_calloc(d->image_count + 1, sizeof *b->pictures);
    b->batch = clvi_calloc((size_t)d->batch, sizeof *b->batch);
    b->ms = clvi_calloc((size_t)d->repeat, sizeof *b->ms);
    if (b->pictures == NULL || b->batch == NULL || b->ms == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld times", (long long)d->repeat);
    for (size_t i = 0; i < d->image_count; i++) {
        char *bytes = NULL;
        size_t length = 0;
        CLV_TRY(clvi_file_read(d->images[i], CLVI_IMAGE_FILE_LIMIT, &bytes, &length, error));
        b->pictures[b->count] = clv_image_of_bytes(bytes, length);
        b->pictures[b->count++].name = d->images[i];
    }
    return d->image_count > 0 ? CLV_OK : draw_picture(b, error);
}

/* ---- Measuring ---- */

/* One call with the pictures that follow. */
static clv_status call(bench *b, int64_t number, double *ms, clv_error *error)
{
    clv_result *result = NULL;
    const size_t batch = (size_t)b->desc->batch;
    for (size_t i = 0; i < batch; i++)
        b->batch[i] = b->pictures[((size_t)number * batch + i) % b->count];
    const double begin = clvi_now();
    CLV_TRY(clvi_classifier_run(b->classifier, b->batch, batch, &result, error));
    *ms = 1e3 * (clvi_now() - begin);
    clv_status status = CLV_OK;
    for (size_t i = 0; i < batch && status == CLV_OK; i++) {
        const double *chances;
        status = clv_result_probabilities(result, i, &chances, error);
    }
    clv_result_destroy(result);
    return status;
}

static clv_status measure(bench *b, cli_session *session, clv_error *error)
{
    const clvi_model_place place = {.device = session->device,
                                    .plugins = session->plugins,
                                    .max_batch = b->desc->batch,
                                    .cold = true};
    double unused;
    CLV_TRY(clvi_model_load(b->model, &place, error));
    CLV_TRY(clvi_classifier_create(b->model, b->desc->batch, &b->classifier, error));
    const double begin = clvi_now();
    CLV_TRY(clvi_classifier_warm(b->classifier, error));
    b->warm_seconds = clvi_now() - begin;
    for (int64_t i = 0; i < FIRST_CALLS; i++)
        CLV_TRY(call(b, i, &unused, error));
    for (int64_t i = 0; i < b->desc->repeat; i++)
        CLV_TRY(call(b, i, &b->ms[i], error));
    return CLV_OK;
}

/* ---- Telling ---- */

static clv_status print(bench *b, const clvi_device *device, clv_error *error)
{
    const bench_bundle_desc *d = b->desc;
    double sum = 0;
    const size_t count = (size_t)d->repeat;
    clvi_sort_reals(b->ms, count);
    for (size_t i = 0; i < count; i++)
        sum += b->ms[i];
    const double mean = sum / (double)count, rate = 1e3 * (double)d->batch / mean;
    const double p50 = clvi_quantile(b->ms, count, 0.5), p99 = clvi_quantile(b->ms, count, 0.99);
    if (!d->json) {
        printf("device     %s\npictures   %zu, %s\ncall       %lld picture%s, from %s bytes to "
               "probabilities; %lld calls that count\np50        %.3f ms\np99        %.3f ms\n"
               "mean       %.3f ms, best %.3f ms; %.1f pictures/s\nwarm-up    %.2f s\n",
               clvi_device_banner(device), b->count,
               d->image_count > 0 ? "as given" : "a PNG of noise in the network's size",
               (long long)d->batch, d->batch == 1 ? "" : "s", d->batch == 1 ? "its" : "their",
               (long long)d->repeat, p50, p99, mean, b->ms[0], rate, b->warm_seconds);
        return CLV_OK;
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "bundle", d->path, "device",
        clvi_device_banner(device), "pictures", (json_int_t)b->count, "batch", (json_int_t)d->batch,
        "count", (json_int_t)d->repeat, "p50_ms", p50, "p99_ms", p99, "mean_ms", mean, "best_ms",
        b->ms[0], "images_per_s", rate, "warm_up_s", b->warm_seconds);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return CLV_OK;
}

static clv_status run(bench *b, cli_session *session, clv_error *error)
{
    const bench_bundle_desc *d = b->desc;
    CLV_TRY(clvi_model_open(d->path, CLVI_MODEL_BEST, &b->model, error));
    CLV_TRY(read_pictures(b, error));
    CLV_TRY(cli_session_open_device(session, clvi_model_config(b->model), d->device, error));
    CLV_TRY(measure(b, session, error));
    return print(b, session->device, error);
}

clv_status bench_bundle(struct cli_session *session, const bench_bundle_desc *desc,
                        clv_error *error)
{
    bench b = {.desc = desc};
    const clv_status status = run(&b, session, error);
    clvi_classifier_destroy(b.classifier);
    clvi_model_close(b.model);
    for (size_t i = 0; i < b.count; i++)
        clvi_free((void *)b.pictures[i].data);
    clvi_free(b.pictures);
    clvi_free(b.batch);
    clvi_free(b.ms);
    return status;
}
