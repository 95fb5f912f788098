/* Antialiased resize: each output pixel is a weighted mean under a triangle whose half width is the
 * reduction factor (1 where the picture grows). Two passes, rows then columns, each rounded to
 * 8 bits; weights in fixed point, so that every machine gives the same bytes. */
#include "data/image.h"

#include "base/memory.h"

#include <math.h>

enum { FRACTION_BITS = 22 }; /* 255 · 2^22 and the rounding still fit in an int32_t */

/* For each output position: input positions first[i] .. first[i]+count[i]-1 and their weights at
 * weights[i · taps], which add up to 2^FRACTION_BITS (± rounding). */
typedef struct axis {
    int taps;
    int *first, *count;
    int32_t *weights;
    void *storage;
} axis;

static double triangle(double x)
{
    return x < 0.0 ? fmax(0.0, 1.0 + x) : fmax(0.0, 1.0 - x);
}

static void fill_axis(axis *a, int from, int to, double *raw)
{
    const double scale = (double)from / to;
    const double support = fmax(scale, 1.0);
    for (int i = 0; i < to; i++) {
        const double centre = (i + 0.5) * scale;
        const int low = (int)fmax(0.0, floor(centre - support + 0.5));
        const int high = (int)fmin(from, floor(centre + support + 0.5));
        double sum = 0.0;
        for (int j = low; j < high; j++)
            sum += raw[j - low] = triangle((j + 0.5 - centre) / support);
        a->first[i] = low;
        a->count[i] = high - low;
        for (int j = 0; j < high - low; j++)
            a->weights[(size_t)i * (size_t)a->taps + (size_t)j] =
                (int32_t)lround(raw[j] / sum * (double)(1 << FRACTION_BITS));
    }
}

static clv_status build_axis(axis *a, int from, int to, clv_error *error)
{
    const double support = fmax((double)from / to, 1.0);
    const size_t taps = (size_t)ceil(support) * 2 + 1, count = (size_t)to;
    uint8_t *block =
        clvi_malloc(taps * sizeof(double) + count * (2 * sizeof(int) + taps * sizeof(int32_t)));
    if (!block)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture from %d to %d pixels", from,
                 to);
    double *raw = (double *)(void *)block;
    a->storage = block;
    a->taps = (int)taps;
    a->first = (int *)(void *)(raw + taps);
    a->count = a->first + count;
    a->weights = (int32_t *)(void *)(a->count + count);
    fill_axis(a, from, to, raw);
    return CLV_OK;
}

static uint8_t to_byte(int32_t sum)
{
    const int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value > 255 ? 255 : value);
}

static void row_grey(const uint8_t *from, const axis *a, int width, uint8_t *to)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *p = from + a->first[x];
        const int32_t *w = a->weights + (size_t)x * (size_t)a->taps;
        int32_t sum = 1 << (FRACTION_BITS - 1);
        for (int j = 0; j < a->count[x]; j++)
            sum += w[j] * p[j];
        to[x] = to_byte(sum);
    }
}

static void row_rgb(const uint8_t *from, const axis *a, int width, uint8_t *to)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *p = from + 3 * (size_t)a->first[x];
        const int32_t *w = a->weights + (size_t)x * (size_t)a->taps;
        int32_t red = 1 << (FRACTION_BITS - 1), green = red, blue = red;
        for (int j = 0; j < a->count[x]; j++, p += 3) {
            red += w[j] * p[0];
            green += w[j] * p[1];
            blue += w[j] * p[2];
        }
        to[3 * x] = to_byte(red);
        to[3 * x + 1] = to_byte(green);
        to[3 * x + 2] = to_byte(blue);
    }
}

/* from [height, from_width, channels] → to [height, width, channels] */
static clv_status resize_rows(const clvi_image *from, int width, uint8_t *to, clv_error *error)
{
    axis a;
    CLV_TRY(build_axis(&a, from->width, width, error));
    const size_t channels = (size_t)from->channels;
    for (size_t y = 0; y < (size_t)from->height; y++) {
        const uint8_t *row = from->pixels + y * (size_t)from->width * channels;
        if (channels == 1)
            row_grey(row, &a, width, to + y * (size_t)width);
        else
            row_rgb(row, &a, width, to + y * (size_t)width * 3);
    }
    clvi_free(a.storage);
    return CLV_OK;
}

/* from [from_height, row_bytes] → to [height, row_bytes] */
static clv_status resize_columns(const clvi_image *from, int height, uint8_t *to, clv_error *error)
{
    const size_t row_bytes = (size_t)from->width * (size_t)from->channels;
    axis a;
    CLV_TRY(build_axis(&a, from->height, height, error));
    int32_t *sums = clvi_malloc(row_bytes * sizeof *sums);
    if (!sums) {
        clvi_free(a.storage);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture to height %d", height);
    }
    for (size_t y = 0; y < (size_t)height; y++) {
        for (size_t x = 0; x < row_bytes; x++)
            sums[x] = 1 << (FRACTION_BITS - 1);
        for (int j = 0; j < a.count[y]; j++) {
            const uint8_t *row = from->pixels + (size_t)(a.first[y] + j) * row_bytes;
            const int32_t weight = a.weights[y * (size_t)a.taps + (size_t)j];
            for (size_t x = 0; x < row_bytes; x++)
                sums[x] += weight * row[x];
        }
        for (size_t x = 0; x < row_bytes; x++)
            to[y * row_bytes + x] = to_byte(sums[x]);
    }
    clvi_free(sums);
    clvi_free(a.storage);
    return CLV_OK;
}

clv_status clvi_image_resize(const clvi_image *image, int height, int width, uint8_t *out,
                             clv_error *error)
{
    if (height < 1 || width < 1)
        CLV_FAIL(error, CLV_E_USAGE, "a picture cannot be resized to %d x %d pixels", width,
                 height);
    if (height == image->height && width == image->width) {
        memcpy(out, image->pixels, (size_t)height * (size_t)width * (size_t)image->channels);
        return CLV_OK;
    }
    if (width == image->width)
        return resize_columns(image, height, out, error);
    if (height == image->height)
        return resize_rows(image, width, out, error);
    clvi_image narrow = {.height = image->height, .width = width, .channels = image->channels};
    narrow.pixels = clvi_malloc((size_t)narrow.height * (size_t)width * (size_t)narrow.channels);
    if (!narrow.pixels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture to %d x %d pixels", width,
                 height);
    clv_status status = resize_rows(image, width, narrow.pixels, error);
    if (status == CLV_OK)
        status = resize_columns(&narrow, height, out, error);
    clvi_image_fini(&narrow);
    return status;
}
