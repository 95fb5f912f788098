/* Pixels that a program has, brought to the form that a network was trained on. */
#include "data/image_codec.h"

/* A row of `width` pixels to `channels`, 1 or 3, of them. */
static void convert_row(const uint8_t *from, int from_channels, int width, int channels,
                        uint8_t *to)
{
    for (int x = 0; x < width; x++, from += from_channels, to += channels) {
        if (channels == from_channels)
            memcpy(to, from, (size_t)channels);
        else if (channels == 1)
            to[0] = clvi_image_luma(from[0], from[1], from[2]);
        else
            to[0] = to[1] = to[2] = from[0];
    }
}

clv_status clvi_image_load_raw(const clvi_raw_image *raw, const char *name,
                               const clvi_image_form *form, uint8_t *out, clv_error *error)
{
    if (raw->channels != 1 && raw->channels != 3)
        CLV_FAIL(error, CLV_E_USAGE, "%s: pixels of %d channels; it must be 1 (grey) or 3 (RGB)",
                 name, raw->channels);
    if (raw->height < 1 || raw->width < 1)
        CLV_FAIL(error, CLV_E_USAGE, "%s: it has no pixels (%d x %d)", name, raw->width,
                 raw->height);
    const size_t packed = (size_t)raw->width * (size_t)raw->channels;
    const size_t row_bytes = raw->row_bytes > 0 ? raw->row_bytes : packed;
    if (row_bytes < packed)
        CLV_FAIL(error, CLV_E_USAGE, "%s: a row of %zu bytes is shorter than its %zu of pixels",
                 name, row_bytes, packed);
    clvi_image image = {0};
    CLV_TRY(clvi_image_alloc(name, raw->width, raw->height, form->channels, &image, error));
    for (int y = 0; y < raw->height; y++)
        convert_row(raw->pixels + (size_t)y * row_bytes, raw->channels, raw->width, form->channels,
                    image.pixels + (size_t)y * (size_t)raw->width * (size_t)form->channels);
    const clv_status status = clvi_image_fit(&image, form, out, error);
    clvi_image_fini(&image);
    return status;
}
