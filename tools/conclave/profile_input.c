/* See profile_input.h. */
#include "profile_input.h"

#include "base/clock.h"
#include "base/reals.h"
#include "data/sampler.h"
#include "show.h"

#include <stdio.h>

/* Steps of a round. The first one of those from files waits for its images in any case. */
enum { LEAST_STEPS = 8, MOST_STEPS = 64 };
static const double round_seconds = 2;

/* What the steps of a round took. */
typedef struct lap {
    double seconds, processor; /* of all threads */
} lap;

typedef struct input {
    const bench_steps *steps;
    clvi_dataset *data;
    clvi_loader *loader;
    uint32_t *order;
    size_t image_bytes, count; /* training images */
    int per_round;             /* steps of each kind */
    /* Batches in memory, per_round of them. */
    uint8_t *pixels;
    int32_t *labels;
    uint32_t *ids;
    lap *memory, *files; /* [rounds] */
    double waited;       /* seconds that `files` passed waiting for the loader */
} input;

/* Takes the first `batches` batches of a shuffled epoch. */
static clv_status start(input *in, uint32_t epoch, int batches, clv_error *error)
{
    const size_t wanted = (size_t)batches * (size_t)in->steps->desc->batch;
    CLV_TRY(clvi_sampler_order(in->data, CLVI_SAMPLER_SHUFFLE, clvi_philox_stream(1, "shuffle"),
                               epoch, in->order, error));
    return clvi_loader_start(in->loader, in->order, wanted, error);
}

/* Decodes every image once, which keeps what can be kept. */
static clv_status fill_cache(input *in, clv_error *error)
{
    clvi_batch b = {.count = 1};
    CLV_TRY(clvi_loader_start_in_order(in->loader, error));
    while (b.count > 0)
        CLV_TRY(clvi_loader_next(in->loader, &b, error));
    return CLV_OK;
}

static clv_status keep_batches(input *in, int batches, clv_error *error)
{
    const size_t batch = (size_t)in->steps->desc->batch;
    CLV_TRY(start(in, 0, batches, error));
    for (size_t i = 0; i < (size_t)batches; i++) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(in->loader, &b, error));
        if (b.count != batch)
            CLV_FAIL(error, CLV_E_DATA, "a batch has %zu images of %zu: some cannot be read",
                     b.count, batch);
        memcpy(in->pixels + i * batch * in->image_bytes, b.pixels, batch * in->image_bytes);
        memcpy(in->labels + i * batch, b.labels, batch * sizeof *b.labels);
        memcpy(in->ids + i * batch, b.ids, batch * sizeof *b.ids);
    }
    return CLV_OK;
}

static lap lap_begin(void)
{
    return (lap){.seconds = clvi_now(), .processor = clvi_processor_now()};
}

/* Waits for the device. */
static clv_status lap_end(const input *in, lap begin, lap *out, clv_error *error)
{
    CLV_TRY(clvi_wait(in->steps->device, error));
    *out = (lap){.seconds = clvi_now() - begin.seconds,
                 .processor = clvi_processor_now() - begin.processor};
    return CLV_OK;
}

static clv_status from_memory(const input *in, int batches, lap *out, clv_error *error)
{
    const size_t batch = (size_t)in->steps->desc->batch;
    const lap begin = lap_begin();
    for (size_t i = 0; i < (size_t)batches; i++) {
        const clvi_mixture_batch b = {.n = (int64_t)batch,
                                      .pixels = in->pixels + i * batch * in->image_bytes,
                                      .labels = in->labels + i * batch,
                                      .ids = in->ids + i * batch};
        CLV_TRY(bench_steps_run_on(in->steps, &b, error));
    }
    return lap_end(in, begin, out, error);
}

static clv_status from_files(input *in, uint32_t round, lap *out, clv_error *error)
{
    const lap begin = lap_begin();
    CLV_TRY(start(in, round, in->per_round, error));
    for (;;) {
        clvi_batch b;
        const double asked = clvi_now();
        CLV_TRY(clvi_loader_next(in->loader, &b, error));
        in->waited += clvi_now() - asked;
        if (b.count == 0)
            break;
        const clvi_mixture_batch batch = {
            .n = (int64_t)b.count, .pixels = b.pixels, .labels = b.labels, .ids = b.ids};
        CLV_TRY(bench_steps_run_on(in->steps, &batch, error));
    }
    return lap_end(in, begin, out, error);
}

/* How many steps a round has: as many as fit into its time, within what there is. */
static clv_status choose_steps(input *in, int most, clv_error *error)
{
    lap two;
    CLV_TRY(keep_batches(in, 2, error));
    CLV_TRY(from_memory(in, 2, &two, error));
    CLV_TRY(from_memory(in, 2, &two, error));
    const double fit = 2 * round_seconds / two.seconds;
    const int least = most < LEAST_STEPS ? most : LEAST_STEPS;
    in->per_round = fit >= most ? most : fit > least ? (int)fit : least;
    return keep_batches(in, in->per_round, error);
}

static clv_status prepare(input *in, bool kept, clv_error *error)
{
    const bench_model_desc *d = in->steps->desc;
    const size_t batch = (size_t)d->batch, rounds = (size_t)d->repeat;
    const size_t whole = in->count / batch;
    if (whole < 2)
        CLV_FAIL(error, CLV_E_DATA,
                 "%zu training images are fewer than two batches of %zu; use a smaller --batch",
                 in->count, batch);
    const size_t most = whole < MOST_STEPS ? whole : MOST_STEPS;
    in->image_bytes = (size_t)d->height * (size_t)d->width * (size_t)d->channels;
    in->order = clvi_malloc(in->count * sizeof *in->order);
    in->pixels = clvi_malloc(most * batch * in->image_bytes);
    in->labels = clvi_malloc(most * batch * sizeof *in->labels);
    in->ids = clvi_malloc(most * batch * sizeof *in->ids);
    in->memory = clvi_malloc(rounds * sizeof *in->memory);
    in->files = clvi_malloc(rounds * sizeof *in->files);
    if (!in->order || !in->pixels || !in->labels || !in->ids || !in->memory || !in->files)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu batches of %zu images", most, batch);
    CLV_TRY(clvi_loader_create(in->data, CLVI_TRAIN, batch, &in->loader, error));
    if (kept)
        CLV_TRY(fill_cache(in, error));
    return choose_steps(in, (int)most, error);
}

static clv_status measure(input *in, clv_error *error)
{
    lap unused;
    CLV_TRY(from_files(in, 1, &unused, error));
    in->waited = 0;
    for (uint32_t i = 0; i < (uint32_t)in->steps->desc->repeat; i++) {
        CLV_TRY(from_memory(in, in->per_round, &in->memory[i], error));
        CLV_TRY(from_files(in, i + 2, &in->files[i], error));
    }
    return CLV_OK;
}

/* Of the rounds: medians, and quartiles of the ratio. */
typedef struct summary {
    double memory, files; /* images per second */
    double low, middle, high;
    double processor; /* ratio of processor times */
    double waited;    /* share of the time from files */
} summary;

static clv_status sum_up(const input *in, summary *out, clv_error *error)
{
    const size_t rounds = (size_t)in->steps->desc->repeat;
    const double images = (double)in->steps->desc->batch * in->per_round;
    double *values = clvi_malloc(4 * rounds * sizeof *values), all = 0;
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu ratios", rounds);
    double *files = values + rounds, *ratio = files + rounds, *processor = ratio + rounds;
    for (size_t i = 0; i < rounds; i++) {
        const lap *memory = &in->memory[i], *file = &in->files[i];
        values[i] = images / memory->seconds;
        files[i] = images / file->seconds;
        ratio[i] = memory->seconds / file->seconds;
        processor[i] = memory->processor / file->processor;
        all += file->seconds;
    }
    *out = (summary){.memory = bench_median(values, rounds),
                     .files = bench_median(files, rounds),
                     .middle = bench_median(ratio, rounds), /* sorted from here on */
                     .processor = bench_median(processor, rounds),
                     .waited = in->waited / all};
    out->low = clvi_quantile(ratio, rounds, 0.25);
    out->high = clvi_quantile(ratio, rounds, 0.75);
    clvi_free(values);
    return CLV_OK;
}

static clv_status print(const input *in, bool json, clv_error *error)
{
    const bench_model_desc *d = in->steps->desc;
    summary s = {0};
    CLV_TRY(sum_up(in, &s, error));
    if (json)
        return cli_show_json(json_pack("{s:I, s:i, s:I, s:f, s:f, s:[f, f, f], s:f, s:f}", "batch",
                                       (json_int_t)d->batch, "steps", in->per_round, "rounds",
                                       (json_int_t)d->repeat, "memory_images_per_s", s.memory,
                                       "files_images_per_s", s.files, "ratio", s.low, s.middle,
                                       s.high, "processor_ratio", s.processor, "waited", s.waited),
                             0, error);
    printf("training, %dx%d, batch %lld, %lld rounds of %d steps: %.1f images/s from memory, %.1f "
           "from files\n"
           "speed from files %.1f %% of that from memory (quartiles %.1f and %.1f), by processor "
           "time %.1f %%; waiting for images took %.1f %% of it\n",
           d->height, d->width, (long long)d->batch, (long long)d->repeat, in->per_round, s.memory,
           s.files, 100 * s.middle, 100 * s.low, 100 * s.high, 100 * s.processor, 100 * s.waited);
    return CLV_OK;
}

clv_status profile_input(const bench_steps *steps, clvi_dataset *data, bool kept, bool json,
                         clv_error *error)
{
    input in = {.steps = steps, .data = data, .count = clvi_dataset_count(data, CLVI_TRAIN)};
    clv_status status = prepare(&in, kept, error);
    if (status == CLV_OK)
        status = measure(&in, error);
    if (status == CLV_OK)
        status = print(&in, json, error);
    clvi_loader_destroy(in.loader);
    clvi_free(in.order);
    clvi_free(in.pixels);
    clvi_free(in.labels);
    clvi_free(in.ids);
    clvi_free(in.memory);
    clvi_free(in.files);
    return status;
}
