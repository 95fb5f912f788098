/* conclave bench --images: decoding and resizing on one thread. */
#include "bench.h"

#include "base/clock.h"
#include "data/dataset.h"

#include <stdio.h>

typedef struct images {
    const bench_images_desc *desc;
    const clvi_dataset *data;
    size_t count;        /* images of a step */
    double read, decode; /* mean seconds of an image in the last step */
} images;

static clv_status step(void *user, double *ms, clv_error *error)
{
    images *in = user;
    const double begin = clvi_now();
    CLV_TRY(
        clvi_dataset_time_images(in->data, CLVI_TRAIN, in->count, &in->read, &in->decode, error));
    *ms = 1e3 * (clvi_now() - begin);
    return CLV_OK;
}

static clv_status measure(images *in, double *median_ms, clv_error *error)
{
    double unused, *ms = clvi_malloc((size_t)in->desc->repeat * sizeof *ms);
    if (ms == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld times", (long long)in->desc->repeat);
    clv_status status = step(in, &unused, error);
    for (int64_t i = 0; i < in->desc->repeat && status == CLV_OK; i++)
        status = step(in, &ms[i], error);
    if (status == CLV_OK)
        *median_ms = bench_median(ms, (size_t)in->desc->repeat);
    clvi_free(ms);
    return status;
}

static clv_status run(images *in, clv_error *error)
{
    const bench_images_desc *d = in->desc;
    double ms = 0;
    if (d->paced)
        return bench_paced_by(step, in, error);
    CLV_TRY(measure(in, &ms, error));
    const double rate = 1e3 * (double)in->count / ms;
    if (printf(d->json ? "{\"images\":%zu,\"image_size\":%d,\"images_per_s\":%.6g,\"read_ms\":%.6g,"
                         "\"decode_ms\":%.6g}\n"
                       : "%zu images to %d pixels on one thread: %.1f images/s; of one, reading "
                         "takes %.3f ms, decoding and resizing %.3f ms\n",
               in->count, d->size, rate, 1e3 * in->read, 1e3 * in->decode) < 0)
        CLV_FAIL(error, CLV_E_IO, "the result cannot be written");
    return CLV_OK;
}

clv_status bench_images(const bench_images_desc *desc, clv_error *error)
{
    const clvi_data_options options = {.path = desc->path,
                                       .keep_duplicates = true,
                                       .height = desc->size,
                                       .width = desc->size,
                                       .workers = 1,
                                       .no_cache = true};
    clvi_dataset *data;
    CLV_TRY(clvi_dataset_open(&options, &data, error));
    const size_t all = clvi_dataset_count(data, CLVI_TRAIN), most = (size_t)desc->count;
    images in = {.desc = desc, .data = data, .count = all < most ? all : most};
    const clv_status status = run(&in, error);
    clvi_dataset_close(data);
    return status;
}
