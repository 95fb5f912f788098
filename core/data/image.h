/* One picture: decoding (JPEG by libjpeg-turbo, PNG by libpng), orientation, grey/RGB conversion,
 * resizing. */
#ifndef CLVI_IMAGE_H
#define CLVI_IMAGE_H

#include "base/error.h"

#include <stdbool.h>

#define CLVI_IMAGE_FILE_LIMIT ((uint64_t)64 << 20) /* bytes of an encoded picture */

/* A part of a picture in units of its pixels; all zero: the whole. */
typedef struct clvi_image_box {
    double y, x, height, width;
} clvi_image_box;

typedef struct clvi_image {
    uint8_t *pixels; /* [height, width, channels], owned; free with clvi_image_fini */
    int height, width, channels;
    clvi_image_box
        box; /* what the picture fills: a reduced one may end within its outermost pixels */
} clvi_image;

/* Filters of a resize; both widen with the reduction, as Pillow's do. */
typedef enum clvi_resample {
    CLVI_BILINEAR, /* triangle */
    CLVI_BICUBIC   /* Keys' cubic with a = -0.5 */
} clvi_resample;

typedef enum clvi_fit {
    CLVI_STRETCH, /* the whole picture, each axis by itself */
    CLVI_CROP     /* both axes by one factor, so that it just covers; then the middle */
} clvi_fit;

/* The picture that is wanted. */
typedef struct clvi_image_form {
    int height, width, channels; /* channels: 1, 3; where an image is given: ignored */
    clvi_resample resample;
    clvi_fit fit;
} clvi_image_form;

/* True when the name ends in .png, .jpg or .jpeg, any case. */
bool clvi_image_name(const char *path);

/* Decodes a JPEG or PNG held in memory (told apart by content) to `channels` 1 (grey, Rec. 601
 * luma) or 3 (RGB), 0: as stored. Alpha is composed over black; CMYK becomes RGB by (1 - ink)(1 -
 * black); the EXIF orientation of a JPEG is applied. `name` is for messages. At most 100 megapixels
 * and a million pixels on a side. The numbers are those of the file: colour profiles and gamma are
 * not applied. Errors: CLV_E_DATA naming `name` and the reason (a cut or damaged file, too large),
 * CLV_E_MEMORY. Owns: *out is the caller's, for clvi_image_fini. */
clv_status clvi_image_decode(const void *bytes, size_t length, const char *name, int channels,
                             clvi_image *out, clv_error *error) CLV_MUST_CHECK;
/* Stored channel count (1 or 3) without decoding the pixels. Errors as clvi_image_decode. */
clv_status clvi_image_probe(const void *bytes, size_t length, const char *name, int *channels,
                            clv_error *error) CLV_MUST_CHECK;

/* Brings a picture to form->height × form->width; `out` holds height·width·channels bytes. The
 * numbers are those of Pillow's resize, and for CLVI_CROP of torchvision's Resize (to the shorter
 * side, or to what just covers) followed by CenterCrop. Same size: a copy. Errors: CLV_E_USAGE for
 * a side below 1, CLV_E_MEMORY. */
clv_status clvi_image_fit(const clvi_image *image, const clvi_image_form *form, uint8_t *out,
                          clv_error *error) CLV_MUST_CHECK;
/* clvi_image_fit, stretched and bilinear. */
clv_status clvi_image_resize(const clvi_image *image, int height, int width, uint8_t *out,
                             clv_error *error) CLV_MUST_CHECK;
/* clvi_image_decode and clvi_image_fit in one: what training sees. A JPEG far larger than the form
 * is decoded at a reduced size (jpeg.c says when and what that changes). Errors as of both. */
clv_status clvi_image_load(const void *bytes, size_t length, const char *name,
                           const clvi_image_form *form, uint8_t *out,
                           clv_error *error) CLV_MUST_CHECK;

/* Pixels of a program's own, 8 bits each: [height, width, channels], 1 (grey) or 3 (RGB). */
typedef struct clvi_raw_image {
    const uint8_t *pixels;
    int height, width, channels;
    size_t row_bytes; /* from one row to the next; 0: width · channels */
} clvi_raw_image;
/* What clvi_image_load gives of a PNG with these pixels. Errors: CLV_E_USAGE naming `name` (no
 * pixels, other channels, rows that overlap), those of clvi_image_fit, CLV_E_DATA (too large). */
clv_status clvi_image_load_raw(const clvi_raw_image *raw, const char *name,
                               const clvi_image_form *form, uint8_t *out,
                               clv_error *error) CLV_MUST_CHECK;

/* Encodes a picture of 1 or 3 channels as PNG. *bytes: freed by the caller with clvi_free. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_image_encode_png(const clvi_image *image, uint8_t **bytes, size_t *length,
                                 clv_error *error) CLV_MUST_CHECK;

void clvi_image_fini(clvi_image *image); /* frees the pixels; an empty one is allowed */

#endif
