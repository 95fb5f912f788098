/* What image.c and the two decoders share. Only core/data includes this. */
#ifndef CLVI_IMAGE_CODEC_H
#define CLVI_IMAGE_CODEC_H

#include "data/image.h"

#define CLVI_IMAGE_MAX_PIXELS 100000000
#define CLVI_IMAGE_MAX_SIDE   1000000

/* Encoded bytes and the name that messages give them. Borrowed for the length of a call. */
typedef struct clvi_encoded {
    const uint8_t *bytes;
    size_t length;
    const char *name;
} clvi_encoded;

/* Storage for a picture of that size. Errors: CLV_E_DATA above the two limits (checked before
 * anything is allocated), CLV_E_MEMORY. The caller owns *out: clvi_image_fini. */
clv_status clvi_image_alloc(const char *name, int width, int height, int channels, clvi_image *out,
                            clv_error *error) CLV_MUST_CHECK;

/* As clvi_image_decode and clvi_image_probe, for bytes that begin as a PNG does. */
clv_status clvi_png_decode(const clvi_encoded *encoded, int channels, clvi_image *out,
                           clv_error *error) CLV_MUST_CHECK;
clv_status clvi_png_probe(const clvi_encoded *encoded, int *channels,
                          clv_error *error) CLV_MUST_CHECK;

/* As clvi_image_decode and clvi_image_probe, for bytes that begin as a JPEG does. */
clv_status clvi_jpeg_decode(const clvi_encoded *encoded, int channels, clvi_image *out,
                            clv_error *error) CLV_MUST_CHECK;
clv_status clvi_jpeg_probe(const clvi_encoded *encoded, int *channels,
                           clv_error *error) CLV_MUST_CHECK;

#endif
