/* What image.c, the two decoders and the resize share. Only core/data includes this. */
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

/* CLV_E_DATA for a picture without pixels, or above one of the two limits. */
clv_status clvi_image_check_size(const char *name, int width, int height,
                                 clv_error *error) CLV_MUST_CHECK;
/* Storage for a picture of that size, checked before anything is allocated. Errors: those of the
 * check, CLV_E_MEMORY. The caller owns *out: clvi_image_fini. */
clv_status clvi_image_alloc(const char *name, int width, int height, int channels, clvi_image *out,
                            clv_error *error) CLV_MUST_CHECK;
/* Rec. 601 luma, weights in 1/65536 that add up to one. */
static inline uint8_t clvi_image_luma(unsigned red, unsigned green, unsigned blue)
{
    return (uint8_t)((19595u * red + 38470u * green + 7471u * blue + 32768u) >> 16);
}

/* Turns and mirrors a picture as EXIF's `orientation` 1 … 8 asks. Errors: CLV_E_MEMORY, and the
 * picture is as it was. */
clv_status clvi_image_orient(const char *name, int orientation, clvi_image *image,
                             clv_error *error) CLV_MUST_CHECK;
/* Size that the whole of a height × width picture is brought to before anything is cut off. Of
 * numbers that differ by a common factor only, the result is the same. */
void clvi_image_fit_size(const clvi_image_form *form, double height, double width,
                         int64_t *fit_height, int64_t *fit_width);

/* As clvi_image_decode and clvi_image_probe, for bytes that begin as a PNG does. */
clv_status clvi_png_decode(const clvi_encoded *encoded, int channels, clvi_image *out,
                           clv_error *error) CLV_MUST_CHECK;
clv_status clvi_png_probe(const clvi_encoded *encoded, int *channels,
                          clv_error *error) CLV_MUST_CHECK;

/* As clvi_image_decode and clvi_image_probe, for bytes that begin as a JPEG does. With a `form`
 * (NULL allowed) the picture may come reduced, as clvi_image_load says. */
clv_status clvi_jpeg_decode(const clvi_encoded *encoded, int channels, const clvi_image_form *form,
                            clvi_image *out, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_jpeg_probe(const clvi_encoded *encoded, int *channels,
                           clv_error *error) CLV_MUST_CHECK;

/* What the segments before the picture data of a JPEG say, read without trust. */
typedef struct clvi_jpeg_notes {
    int orientation;               /* EXIF's, 1 … 8; 1 where it is not told or makes no sense */
    int width, height, components; /* of the frame; 0 where none was found */
    bool adobe;                    /* an Adobe segment: the inks of CMYK are stored inverted */
} clvi_jpeg_notes;
clvi_jpeg_notes clvi_jpeg_read_notes(const uint8_t *bytes, size_t length);

#endif
