/* Pixels as a PNG, through libpng's simplified interface: it does not jump. See image.h. */
#include "base/memory.h"
#include "data/image.h"

#include <png.h>

clv_status clvi_image_encode_png(const clvi_image *image, uint8_t **bytes, size_t *length,
                                 clv_error *error)
{
    png_image form = {.version = PNG_IMAGE_VERSION,
                      .width = (png_uint_32)image->width,
                      .height = (png_uint_32)image->height,
                      .format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t most = PNG_IMAGE_PNG_SIZE_MAX(form);
    uint8_t *out = clvi_malloc(most);
    if (!out)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for a PNG of %d × %d pixels", image->width,
                 image->height);
    if (!png_image_write_to_memory(&form, out, &most, 0, image->pixels, 0, NULL)) {
        clvi_free(out);
        CLV_FAIL(error, CLV_E_MEMORY, "a PNG of %d × %d pixels: %s", image->width, image->height,
                 form.message);
    }
    *bytes = out;
    *length = most;
    return CLV_OK;
}
