/* PNG through libpng. libpng leaves by longjmp where it finds a fault, so everything that must
 * survive the jump lives in a png_reading, never in a local variable. Ancillary chunks are skipped
 * unread (no colour profiles, no gamma): the numbers in the file are the numbers delivered. */
#include "data/image_codec.h"

#include "base/memory.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>

typedef struct png_reading {
    const clvi_encoded *encoded;
    size_t at; /* bytes taken so far */
    png_structp png;
    png_infop info;
    int width, height;
    int stored;       /* channels as a caller counts them: 1 or 3 */
    int samples;      /* per pixel as libpng delivers it: 1 to 4, alpha included */
    uint8_t *scratch; /* [height, width, samples] where that is not what is wanted */
    bool truncated, exhausted;
    char reason[96];
} png_reading;

static void on_error(png_structp png, png_const_charp message)
{
    png_reading *reading = png_get_error_ptr(png);
    (void)snprintf(reading->reason, sizeof reading->reason, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t bytes)
{
    void *block = clvi_malloc(bytes);
    if (!block)
        ((png_reading *)png_get_mem_ptr(png))->exhausted = true;
    return block;
}

static void release(png_structp png, png_voidp block)
{
    (void)png;
    clvi_free(block);
}

static void take(png_structp png, png_bytep out, size_t length)
{
    png_reading *reading = png_get_io_ptr(png);
    if (length > reading->encoded->length - reading->at) {
        reading->truncated = true;
        png_error(png, "truncated");
    }
    memcpy(out, reading->encoded->bytes + reading->at, length);
    reading->at += length;
}

static void end_reading(png_reading *reading)
{
    png_destroy_read_struct(&reading->png, &reading->info, NULL);
    clvi_free(reading->scratch);
    reading->scratch = NULL;
}

/* Records why the reading failed and frees it. */
static clv_status give_up(png_reading *reading, clv_error *error)
{
    end_reading(reading);
    const char *name = reading->encoded->name;
    if (reading->exhausted)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to decode the PNG", name);
    if (reading->truncated)
        CLV_FAIL(error, CLV_E_DATA, "%s: truncated PNG", name);
    CLV_FAIL(error, CLV_E_DATA, "%s: damaged PNG (%s)", name, reading->reason);
}

static bool read_header(png_reading *reading)
{
    png_structp png = reading->png;
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_read_fn(png, reading, take);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    /* The limit is ours (clvi_image_alloc), so that the message is, too. */
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(png, reading->info);
    reading->width = (int)png_get_image_width(png, reading->info);
    reading->height = (int)png_get_image_height(png, reading->info);
    /* A palette counts as colour, as the colour bit of its type says. */
    reading->stored = (png_get_color_type(png, reading->info) & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
    return true;
}

/* Brings every kind of PNG to 8-bit grey or RGB, with alpha if the file has any. */
static bool set_transformations(png_reading *reading)
{
    if (setjmp(png_jmpbuf(reading->png)))
        return false;
    png_set_expand(reading->png);
    png_set_scale_16(reading->png);
    (void)png_set_interlace_handling(reading->png);
    png_read_update_info(reading->png, reading->info);
    reading->samples = (int)png_get_channels(reading->png, reading->info);
    return true;
}

static bool read_pixels(png_reading *reading, uint8_t *pixels)
{
    png_structp png = reading->png;
    if (setjmp(png_jmpbuf(png)))
        return false;
    const size_t row_bytes = (size_t)reading->width * (size_t)reading->samples;
    const bool interlaced = png_get_interlace_type(png, reading->info) != PNG_INTERLACE_NONE;
    const int passes = interlaced ? PNG_INTERLACE_ADAM7_PASSES : 1;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < reading->height; y++)
            png_read_row(png, pixels + (size_t)y * row_bytes, NULL);
    png_read_end(png, NULL);
    return true;
}

/* Composes alpha over black and converts between grey and RGB. */
static void convert(const uint8_t *from, int samples, clvi_image *to)
{
    const size_t count = (size_t)to->width * (size_t)to->height;
    const bool colour = samples >= 3, alpha = samples % 2 == 0;
    uint8_t *out = to->pixels;
    for (size_t i = 0; i < count; i++, from += samples) {
        const unsigned opacity = alpha ? from[samples - 1] : 255u;
        const unsigned red = (from[0] * opacity + 127u) / 255u;
        const unsigned green = colour ? (from[1] * opacity + 127u) / 255u : red;
        const unsigned blue = colour ? (from[2] * opacity + 127u) / 255u : red;
        if (to->channels == 1) {
            *out++ = colour ? clvi_image_luma(red, green, blue) : (uint8_t)red;
        } else {
            *out++ = (uint8_t)red;
            *out++ = (uint8_t)green;
            *out++ = (uint8_t)blue;
        }
    }
}

static clv_status begin_reading(png_reading *reading, clv_error *error)
{
    reading->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reading, on_error, on_warning,
                                            reading, allocate, release);
    if (reading->png)
        reading->info = png_create_info_struct(reading->png);
    if (!reading->info) {
        reading->exhausted = true;
        return give_up(reading, error);
    }
    return read_header(reading) ? CLV_OK : give_up(reading, error);
}

clv_status clvi_png_decode(const clvi_encoded *encoded, int channels, clvi_image *out,
                           clv_error *error)
{
    png_reading reading = {.encoded = encoded};
    CLV_TRY(begin_reading(&reading, error));
    clvi_image image = {0};
    const clv_status status =
        clvi_image_alloc(encoded->name, reading.width, reading.height,
                         channels != 0 ? channels : reading.stored, &image, error);
    if (status != CLV_OK) {
        end_reading(&reading);
        return status;
    }
    bool ok = set_transformations(&reading);
    uint8_t *pixels = image.pixels;
    if (ok && reading.samples != image.channels) {
        pixels = reading.scratch =
            clvi_malloc((size_t)image.width * (size_t)image.height * (size_t)reading.samples);
        reading.exhausted = !pixels;
        ok = !reading.exhausted;
    }
    ok = ok && read_pixels(&reading, pixels);
    if (!ok) {
        clvi_image_fini(&image);
        return give_up(&reading, error);
    }
    if (reading.scratch)
        convert(reading.scratch, reading.samples, &image);
    end_reading(&reading);
    *out = image;
    return CLV_OK;
}

clv_status clvi_png_probe(const clvi_encoded *encoded, int *channels, clv_error *error)
{
    png_reading reading = {.encoded = encoded};
    CLV_TRY(begin_reading(&reading, error));
    end_reading(&reading);
    *channels = reading.stored;
    return CLV_OK;
}
