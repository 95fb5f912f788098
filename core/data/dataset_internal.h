/* The data set as dataset.c, pixels.c and loader.c see it. Only core/data includes this. */
#ifndef CLVI_DATASET_INTERNAL_H
#define CLVI_DATASET_INTERNAL_H

#include "data/dataset.h"
#include "data/sources.h"

#include <stdatomic.h>

/* What is known of one image's pixels; one for each image of the sources. */
enum { CLVI_PIXELS_NONE, CLVI_PIXELS_FILLING, CLVI_PIXELS_READY, CLVI_PIXELS_BAD };

struct clvi_dataset {
    clvi_sources sources;
    clvi_sample *samples[CLVI_SPLIT_COUNT];
    size_t counts[CLVI_SPLIT_COUNT];
    clvi_image_form form; /* of the pixels delivered */
    int workers;
    bool skip_bad;
    size_t image_bytes;  /* height · width · channels */
    atomic_uchar *state; /* [all images] CLVI_PIXELS_… */
    uint8_t *cache;      /* [all images, image_bytes], valid where READY; NULL: no cache */
    char *summary;
    char fingerprint[65];
};

/* Makes `state`, and `cache` where it is wanted and small enough. */
clv_status clvi_pixels_init(clvi_dataset *data, bool want_cache, clv_error *error) CLV_MUST_CHECK;
void clvi_pixels_fini(clvi_dataset *data);
/* Writes image `id` to out[0..image_bytes): from the cache, or decoded and resized (and then
 * cached). Under skip_bad, an image that is known to be bad gives CLV_E_DATA without a message.
 * Errors: those of reading and decoding; CLV_E_DATA is the image's fault.
 * Thread: any number, each with its own scratch. */
clv_status clvi_pixels_get(clvi_dataset *data, uint32_t id, clvi_scratch *scratch, uint8_t *out,
                           clv_error *error) CLV_MUST_CHECK;

#endif
