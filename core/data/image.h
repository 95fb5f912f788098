/* One picture: decoding (JPEG by libjpeg-turbo, PNG by libpng), grey/RGB conversion, resizing. */
#ifndef CLVI_IMAGE_H
#define CLVI_IMAGE_H

#include "base/error.h"

#include <stdbool.h>

typedef struct clvi_image {
    uint8_t *pixels; /* [height, width, channels], owned; free with clvi_image_fini */
    int height, width, channels;
} clvi_image;

/* True when the name ends in .png, .jpg or .jpeg, any case. */
bool clvi_image_name(const char *path);

/* Decodes a JPEG or PNG held in memory (told apart by content) to `channels` 1 (grey, Rec. 601
 * luma) or 3 (RGB), 0: as stored; alpha is composed over black. `name` is for messages.
 * At most 100 megapixels and a million pixels on a side. The numbers are those of the file: colour
 * profiles and gamma are not applied. Errors: CLV_E_DATA naming `name` and the reason (a cut or
 * damaged file, too large, CMYK), CLV_E_MEMORY. Owns: *out is the caller's, for clvi_image_fini. */
clv_status clvi_image_decode(const void *bytes, size_t length, const char *name, int channels,
                             clvi_image *out, clv_error *error) CLV_MUST_CHECK;
/* Stored channel count (1 or 3) without decoding the pixels. Errors as clvi_image_decode. */
clv_status clvi_image_probe(const void *bytes, size_t length, const char *name, int *channels,
                            clv_error *error) CLV_MUST_CHECK;
/* Antialiased bilinear resize (triangle filter whose support grows with the reduction, as Pillow's)
 * of the whole picture to height × width; `out` holds height·width·channels bytes. Same size: a
 * copy. Errors: CLV_E_USAGE for a side below 1, CLV_E_MEMORY. */
clv_status clvi_image_resize(const clvi_image *image, int height, int width, uint8_t *out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_image_fini(clvi_image *image); /* frees the pixels; an empty one is allowed */

#endif
