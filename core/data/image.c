/* Tells JPEG from PNG and hands the bytes to the right decoder. */
#define _POSIX_C_SOURCE 200809L
#include "data/image_codec.h"

#include "base/memory.h"

#include <strings.h>

bool clvi_image_name(const char *path)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    const size_t length = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t ending = strlen(endings[i]);
        if (length > ending && strcasecmp(path + length - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

clv_status clvi_image_check_size(const char *name, int width, int height, clv_error *error)
{
    if (width < 1 || height < 1)
        CLV_FAIL(error, CLV_E_DATA, "%s: the picture has no pixels (%d x %d)", name, width, height);
    if ((int64_t)width * height > CLVI_IMAGE_MAX_PIXELS || width > CLVI_IMAGE_MAX_SIDE ||
        height > CLVI_IMAGE_MAX_SIDE)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: %d x %d pixels are more than the %d megapixels (and %d on a side) allowed",
                 name, width, height, CLVI_IMAGE_MAX_PIXELS / 1000000, CLVI_IMAGE_MAX_SIDE);
    return CLV_OK;
}

clv_status clvi_image_alloc(const char *name, int width, int height, int channels, clvi_image *out,
                            clv_error *error)
{
    CLV_TRY(clvi_image_check_size(name, width, height, error));
    uint8_t *storage = clvi_malloc((size_t)width * (size_t)height * (size_t)channels);
    if (!storage)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for %d x %d pixels", name, width, height);
    *out = (clvi_image){.pixels = storage, .height = height, .width = width, .channels = channels};
    return CLV_OK;
}

void clvi_image_fini(clvi_image *image)
{
    clvi_free(image->pixels);
    *image = (clvi_image){0};
}

typedef enum file_kind { KIND_PNG, KIND_JPEG, KIND_OTHER } file_kind;

static file_kind kind_of(const clvi_encoded *encoded)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    if (encoded->length >= sizeof png && memcmp(encoded->bytes, png, sizeof png) == 0)
        return KIND_PNG;
    if (encoded->length >= sizeof jpeg && memcmp(encoded->bytes, jpeg, sizeof jpeg) == 0)
        return KIND_JPEG;
    return KIND_OTHER;
}

static clv_status refuse(const clvi_encoded *encoded, clv_error *error)
{
    if (encoded->length == 0)
        CLV_FAIL(error, CLV_E_DATA, "%s: the file is empty", encoded->name);
    CLV_FAIL(error, CLV_E_DATA, "%s: neither a PNG nor a JPEG", encoded->name);
}

static clv_status decode(const clvi_encoded *encoded, int channels, const clvi_image_form *form,
                         clvi_image *out, clv_error *error)
{
    switch (kind_of(encoded)) {
    case KIND_PNG:
        return clvi_png_decode(encoded, channels, out, error);
    case KIND_JPEG:
        return clvi_jpeg_decode(encoded, channels, form, out, error);
    case KIND_OTHER:
        break;
    }
    return refuse(encoded, error);
}

clv_status clvi_image_decode(const void *bytes, size_t length, const char *name, int channels,
                             clvi_image *out, clv_error *error)
{
    if (channels != 0 && channels != 1 && channels != 3)
        CLV_FAIL(error, CLV_E_USAGE, "%s: channels is %d; it must be 0, 1 or 3", name, channels);
    const clvi_encoded encoded = {.bytes = bytes, .length = length, .name = name};
    return decode(&encoded, channels, NULL, out, error);
}

clv_status clvi_image_load(const void *bytes, size_t length, const char *name,
                           const clvi_image_form *form, uint8_t *out, clv_error *error)
{
    if (form->channels != 1 && form->channels != 3)
        CLV_FAIL(error, CLV_E_USAGE, "%s: channels is %d; it must be 1 or 3", name, form->channels);
    const clvi_encoded encoded = {.bytes = bytes, .length = length, .name = name};
    clvi_image image = {0};
    CLV_TRY(decode(&encoded, form->channels, form, &image, error));
    const clv_status status = clvi_image_fit(&image, form, out, error);
    clvi_image_fini(&image);
    return status;
}

clv_status clvi_image_probe(const void *bytes, size_t length, const char *name, int *channels,
                            clv_error *error)
{
    const clvi_encoded encoded = {.bytes = bytes, .length = length, .name = name};
    switch (kind_of(&encoded)) {
    case KIND_PNG:
        return clvi_png_probe(&encoded, channels, error);
    case KIND_JPEG:
        return clvi_jpeg_probe(&encoded, channels, error);
    case KIND_OTHER:
        break;
    }
    return refuse(&encoded, error);
}
