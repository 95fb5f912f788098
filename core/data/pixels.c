/* Pixels of one image at the size of the data set, and the memory that keeps them. */
#define _POSIX_C_SOURCE 200809L
#include "data/dataset_internal.h"

#include "base/clock.h"
#include "base/process.h"
#include "data/image.h"

enum { NAME_BYTES = 400 };

clv_status clvi_pixels_init(clvi_dataset *data, bool want_cache, clv_error *error)
{
    const size_t count = clvi_sources_total(&data->sources);
    const clvi_image_form *form = &data->form;
    data->image_bytes = (size_t)form->height * (size_t)form->width * (size_t)form->channels;
    data->state = clvi_malloc(count * sizeof *data->state);
    if (!data->state)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for %zu images", data->sources.title, count);
    for (size_t i = 0; i < count; i++)
        atomic_init(&data->state[i], CLVI_PIXELS_NONE);
    if (!want_cache)
        return CLV_OK;
    const uint64_t most = clvi_physical_bytes() / 4;
    const bool fits = count <= most / data->image_bytes;
    /* Not zeroed: the system gives a page when the first picture is written to it. */
    if (fits)
        data->cache = clvi_malloc(count * data->image_bytes);
    if (!data->cache)
        clvi_log(
            CLVI_LOG_INFO,
            "%s: pixels are decoded anew in each pass: %zu images of %zu bytes do not fit in a "
            "quarter of memory",
            data->sources.title, count, data->image_bytes);
    return CLV_OK;
}

void clvi_pixels_fini(clvi_dataset *data)
{
    clvi_free(data->state);
    clvi_free(data->cache);
    data->state = NULL;
    data->cache = NULL;
}

static clv_status decode(const clvi_dataset *data, uint32_t id, clvi_scratch *scratch, uint8_t *out,
                         clv_error *error)
{
    char name[NAME_BYTES];
    (void)clvi_sources_name(&data->sources, id, name, sizeof name);
    const uint8_t *bytes = NULL;
    size_t length = 0;
    CLV_TRY(clvi_sources_read(&data->sources, id, scratch, &bytes, &length, error));
    return clvi_image_load(bytes, length, name, &data->form, out, error);
}

clv_status clvi_pixels_get(clvi_dataset *data, uint32_t id, clvi_scratch *scratch, uint8_t *out,
                           clv_error *error)
{
    atomic_uchar *state = &data->state[id];
    const unsigned char seen = atomic_load_explicit(state, memory_order_acquire);
    uint8_t *kept = data->cache ? data->cache + (size_t)id * data->image_bytes : NULL;
    if (seen == CLVI_PIXELS_READY) {
        memcpy(out, kept, data->image_bytes);
        return CLV_OK;
    }
    if (seen == CLVI_PIXELS_BAD)
        return CLV_E_DATA;
    const clv_status status = decode(data, id, scratch, out, error);
    /* Whoever comes first fills the cache; nobody waits for it. */
    unsigned char none = CLVI_PIXELS_NONE;
    if (status == CLV_OK && kept &&
        atomic_compare_exchange_strong(state, &none, CLVI_PIXELS_FILLING)) {
        memcpy(kept, out, data->image_bytes);
        atomic_store_explicit(state, CLVI_PIXELS_READY, memory_order_release);
    }
    if (status == CLV_E_DATA && data->skip_bad)
        atomic_store_explicit(state, CLVI_PIXELS_BAD, memory_order_relaxed);
    return status;
}

clv_status clvi_dataset_time_images(const clvi_dataset *data, clvi_split split, size_t count,
                                    double *read, double *decode, clv_error *error)
{
    clvi_scratch scratch = {0};
    uint8_t *pixels = clvi_malloc(data->image_bytes);
    double reading = 0, decoding = 0;
    size_t done = 0;
    if (!pixels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for an image of %zu bytes", data->image_bytes);
    for (size_t i = 0; i < count && i < clvi_dataset_count(data, split); i++) {
        const uint8_t *bytes;
        size_t length;
        const uint32_t id = clvi_dataset_sample(data, split, i)->id;
        const double begin = clvi_now();
        if (clvi_sources_read(&data->sources, id, &scratch, &bytes, &length, NULL) != CLV_OK)
            continue;
        const double middle = clvi_now();
        if (clvi_image_load(bytes, length, "", &data->form, pixels, NULL) != CLV_OK)
            continue;
        reading += middle - begin;
        decoding += clvi_now() - middle;
        done++;
    }
    clvi_free(scratch.data);
    clvi_free(pixels);
    *read = done > 0 ? reading / (double)done : 0;
    *decode = done > 0 ? decoding / (double)done : 0;
    return CLV_OK;
}
