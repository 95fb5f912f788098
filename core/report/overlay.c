/* See overlay.h. */
#include "report/overlay.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { RAMP = 5, GAP = 2 };

/* Of heat, in equal steps; the first is under no heat, and not seen. */
static const double ramp[RAMP][3] = {
    {40, 20, 120}, {150, 25, 130}, {225, 60, 75}, {252, 145, 35}, {255, 240, 120}};

static clv_status start(int height, int width, int channels, clvi_image *out, clv_error *error)
{
    clvi_image image = {.height = height, .width = width, .channels = channels};
    const size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    image.pixels = clvi_malloc(bytes);
    if (!image.pixels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for a picture of %d × %d pixels", width, height);
    memset(image.pixels, 255, bytes);
    *out = image;
    return CLV_OK;
}

static uint8_t byte_of(double value)
{
    return (uint8_t)(value <= 0 ? 0 : value >= 255 ? 255 : value + 0.5);
}

/* ---- Heat ---- */

/* The two places that a pixel lies between, and how far it is on the way. */
typedef struct between {
    int64_t low, high;
    double part;
} between;

static between find_between(int pixel, int pixels, int64_t places)
{
    const double at = (pixel + 0.5) * (double)places / pixels - 0.5;
    between b = {.low = (int64_t)floor(at)};
    b.part = at - (double)b.low;
    b.high = b.low + 1 < places ? b.low + 1 : places - 1;
    b.low = b.low < 0 ? 0 : b.low;
    return b;
}

/* Colour of heat 0 … 1. */
static double colour_of(double heat, int channel)
{
    const double at = heat * (RAMP - 1);
    const int low = at >= RAMP - 1 ? RAMP - 2 : (int)at;
    return ramp[low][channel] + (at - low) * (ramp[low + 1][channel] - ramp[low][channel]);
}

/* One pixel: half of its colour is taken away, heat is laid over it. */
static void paint(const uint8_t *from, int channels, double heat, uint8_t *to)
{
    const double rgb[3] = {from[0], from[channels == 3], from[channels == 3 ? 2 : 0]};
    const double grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    const double cover = 0.8 * sqrt(heat);
    for (int c = 0; c < 3; c++)
        to[c] = byte_of((1 - cover) * (0.5 * grey + 0.5 * rgb[c]) + cover * colour_of(heat, c));
}

clv_status clvi_overlay_heat(const clvi_image *picture, const float *heat, int64_t height,
                             int64_t width, clvi_image *out, clv_error *error)
{
    double most = 0;
    CLV_TRY(start(picture->height, picture->width, 3, out, error));
    for (int64_t i = 0; heat && i < height * width; i++)
        most = (double)heat[i] > most ? (double)heat[i] : most;
    for (int y = 0; y < picture->height; y++) {
        const between v = find_between(y, picture->height, height);
        for (int x = 0; x < picture->width; x++) {
            const size_t pixel = (size_t)y * (size_t)picture->width + (size_t)x;
            const between u = find_between(x, picture->width, width);
            double here = 0;
            if (most > 0) {
                const float *above = heat + v.low * width, *below = heat + v.high * width;
                here =
                    (1 - v.part) *
                        ((1 - u.part) * (double)above[u.low] + u.part * (double)above[u.high]) +
                    v.part * ((1 - u.part) * (double)below[u.low] + u.part * (double)below[u.high]);
                here /= most;
            }
            paint(picture->pixels + pixel * (size_t)picture->channels, picture->channels, here,
                  out->pixels + pixel * 3);
        }
    }
    return CLV_OK;
}

/* ---- Maps ---- */

typedef struct channel {
    double low, high, variance;
} channel;

static channel look_at(const clvi_overlay_maps *m, int64_t k)
{
    const int64_t places = m->height * m->width;
    channel c = {.low = INFINITY, .high = -INFINITY};
    double sum = 0, square = 0;
    for (int64_t p = 0; p < places; p++) {
        const double value = (double)m->values[p * m->channels + k];
        c.low = value < c.low ? value : c.low;
        c.high = value > c.high ? value : c.high;
        sum += value;
        square += value * value;
    }
    c.variance = square / (double)places - sum * sum / (double)(places * places);
    return c;
}

/* Side of a tile along one axis of a map. */
static int tile_side(int64_t side, int64_t longer, int tile)
{
    const int64_t scaled = side * tile / longer;
    return scaled < 1 ? 1 : (int)scaled;
}

/* A square of a sheet. */
typedef struct square {
    clvi_image *sheet;
    int top, left, side;
} square;

/* Channel k in a square of the sheet; smaller than the map, each pixel is the mean of what it
 * covers. */
static void put_tile(const clvi_overlay_maps *m, int64_t k, const channel *c, square to)
{
    const int64_t longer = m->height > m->width ? m->height : m->width;
    const int high = tile_side(m->height, longer, to.side);
    const int wide = tile_side(m->width, longer, to.side);
    for (int y = 0; y < high; y++)
        for (int x = 0; x < wide; x++) {
            const int64_t y0 = y * m->height / high, x0 = x * m->width / wide;
            const int64_t y1 = (y + 1) * m->height / high, x1 = (x + 1) * m->width / wide;
            double sum = 0;
            int64_t n = 0;
            for (int64_t v = y0; v < (y1 > y0 ? y1 : y0 + 1); v++)
                for (int64_t u = x0; u < (x1 > x0 ? x1 : x0 + 1); u++, n++)
                    sum += (double)m->values[(v * m->width + u) * m->channels + k];
            const double range = c->high - c->low;
            const uint8_t value = byte_of(range > 0 ? 255 * (sum / (double)n - c->low) / range : 0);
            const size_t row = (size_t)(to.top + y), column = (size_t)(to.left + x);
            to.sheet->pixels[row * (size_t)to.sheet->width + column] = value;
        }
}

/* The row of one tensor: chosen by variance, of equal ones the lowest first. */
static clv_status put_row(const clvi_overlay_maps *m, int columns, int tile, clvi_image *out,
                          int top, clv_error *error)
{
    channel *channels = clvi_malloc((size_t)m->channels * sizeof *channels);
    if (!channels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld maps", (long long)m->channels);
    for (int64_t k = 0; k < m->channels; k++)
        channels[k] = look_at(m, k);
    for (int column = 0; column < columns && column < m->channels; column++) {
        int64_t best = 0;
        for (int64_t k = 1; k < m->channels; k++)
            if (channels[k].variance > channels[best].variance)
                best = k;
        put_tile(m, best, &channels[best], (square){out, top, column * (tile + GAP), tile});
        channels[best].variance = -INFINITY;
    }
    clvi_free(channels);
    return CLV_OK;
}

clv_status clvi_overlay_sheet(const clvi_overlay_maps *maps, size_t count, int columns, int tile,
                              clvi_image *out, clv_error *error)
{
    int height = 0;
    clvi_image image = {0};
    for (size_t i = 0; i < count; i++)
        height += (i > 0 ? GAP : 0) +
                  tile_side(maps[i].height,
                            maps[i].height > maps[i].width ? maps[i].height : maps[i].width, tile);
    CLV_TRY(start(height, columns * (tile + GAP) - GAP, 1, &image, error));
    clv_status status = CLV_OK;
    int top = 0;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        const int64_t longer = maps[i].height > maps[i].width ? maps[i].height : maps[i].width;
        status = put_row(&maps[i], columns, tile, &image, top, error);
        top += tile_side(maps[i].height, longer, tile) + GAP;
    }
    if (status != CLV_OK) {
        clvi_image_fini(&image);
        return status;
    }
    *out = image;
    return CLV_OK;
}

/* ---- Side by side ---- */

clv_status clvi_overlay_strip(const clvi_image *pictures, size_t count, int gap, clvi_image *out,
                              clv_error *error)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        width += pictures[i].width + (i > 0 ? gap : 0);
    CLV_TRY(start(pictures[0].height, width, 3, out, error));
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t wide = (size_t)pictures[i].width * 3;
        for (int y = 0; y < pictures[i].height; y++)
            memcpy(out->pixels + ((size_t)y * (size_t)width + left) * 3,
                   pictures[i].pixels + (size_t)y * wide, wide);
        left += (size_t)(pictures[i].width + gap);
    }
    return CLV_OK;
}
