/* Distorting and drawing a character; see draw.h. Lengths that look like pixels are for pictures of
 * 32 × 32 and grow with the picture. */
#include "draw.h"

#include <cairo.h>
#include <math.h>
#include <string.h>

#define TWO_PI 6.28318530718f
#define WAVES  2 /* sine waves per axis that bend the character */

struct clvi_demo_canvas {
    int size;
    cairo_surface_t *surface; /* alpha only: the character's coverage */
    cairo_t *cairo;
    float *points; /* the distorted outline, x and y by turns */
    size_t point_capacity;
    float *plane, *blurred;
    unsigned char *pixels;
};

float clvi_demo_unit(clvi_demo_random *random)
{
    if (random->used == 0)
        clvi_philox(random->key, random->split, random->label, random->index, random->block++,
                    random->words);
    const float unit = clvi_philox_unit(random->words[random->used]);
    random->used = (random->used + 1) % 4;
    return unit;
}

float clvi_demo_between(clvi_demo_random *random, float low, float high)
{
    return low + (high - low) * clvi_demo_unit(random);
}

size_t clvi_demo_pick(clvi_demo_random *random, size_t count)
{
    const size_t pick = (size_t)(clvi_demo_unit(random) * (float)count);
    return pick < count ? pick : count - 1; /* the product may round up to count */
}

clv_status clvi_demo_canvas_create(int size, clvi_demo_canvas **out, clv_error *error)
{
    clvi_demo_canvas *canvas = clvi_calloc(1, sizeof(*canvas));
    if (!canvas)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    const size_t count = (size_t)size * (size_t)size;
    canvas->size = size;
    canvas->surface = cairo_image_surface_create(CAIRO_FORMAT_A8, size, size);
    canvas->cairo = cairo_create(canvas->surface);
    canvas->plane = clvi_malloc(count * sizeof(float));
    canvas->blurred = clvi_malloc(count * sizeof(float));
    canvas->pixels = clvi_malloc(count);
    if (cairo_status(canvas->cairo) != CAIRO_STATUS_SUCCESS || !canvas->plane || !canvas->blurred ||
        !canvas->pixels) {
        clvi_demo_canvas_destroy(canvas);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory for pictures of %d x %d", size, size);
    }
    cairo_set_line_join(canvas->cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(canvas->cairo, CAIRO_LINE_CAP_ROUND);
    *out = canvas;
    return CLV_OK;
}

void clvi_demo_canvas_destroy(clvi_demo_canvas *canvas)
{
    if (!canvas)
        return;
    cairo_destroy(canvas->cairo);
    cairo_surface_destroy(canvas->surface);
    clvi_free(canvas->points);
    clvi_free(canvas->plane);
    clvi_free(canvas->blurred);
    clvi_free(canvas->pixels);
    clvi_free(canvas);
}

/* Rotation, shear, stretch and bending of the outline's points, still around (0, 0), longer side
 * about 1. */
static void distort(const clvi_demo_outline *outline, clvi_demo_random *random, float *points)
{
    const float angle = clvi_demo_between(random, -0.2f, 0.2f); /* ± 11 degrees */
    const float shear = clvi_demo_between(random, -0.25f, 0.25f);
    const float stretch = expf(clvi_demo_between(random, -0.2f, 0.2f));
    const float matrix[2][2] = {
        {stretch * cosf(angle), shear * cosf(angle) - sinf(angle) / stretch},
        {stretch * sinf(angle), shear * sinf(angle) + cosf(angle) / stretch}};
    float wave[2][WAVES][4]; /* amplitude, frequency along x and y in periods, phase */
    for (int axis = 0; axis < 2; axis++) {
        for (int i = 0; i < WAVES; i++) {
            wave[axis][i][0] = clvi_demo_between(random, 0.0f, 0.03f);
            wave[axis][i][1] = clvi_demo_between(random, -1.2f, 1.2f);
            wave[axis][i][2] = clvi_demo_between(random, -1.2f, 1.2f);
            wave[axis][i][3] = clvi_demo_between(random, 0.0f, 1.0f);
        }
    }
    for (size_t i = 0; i < outline->point_count; i++) {
        const float x = outline->points[2 * i], y = outline->points[2 * i + 1];
        for (int axis = 0; axis < 2; axis++) {
            float moved = matrix[axis][0] * x + matrix[axis][1] * y;
            for (int j = 0; j < WAVES; j++) {
                const float *w = wave[axis][j];
                moved += w[0] * sinf(TWO_PI * (w[1] * x + w[2] * y + w[3]));
            }
            points[2 * i + (size_t)axis] = moved;
        }
    }
}

/* Moves and scales the points so that they fill a random part of the picture and stay inside. */
static void place(size_t count, float *points, float size, clvi_demo_random *random)
{
    float low[2] = {points[0], points[1]}, high[2] = {points[0], points[1]};
    for (size_t i = 0; i < count; i++) {
        for (size_t axis = 0; axis < 2; axis++) {
            low[axis] = fminf(low[axis], points[2 * i + axis]);
            high[axis] = fmaxf(high[axis], points[2 * i + axis]);
        }
    }
    const float extent = fmaxf(high[0] - low[0], high[1] - low[1]);
    const float scale = size * clvi_demo_between(random, 0.66f, 0.88f) / extent;
    for (size_t axis = 0; axis < 2; axis++) {
        const float spare = size - scale * (high[axis] - low[axis]);
        const float room = fminf(0.5f * spare, size * 0.06f);
        const float start = 0.5f * spare + clvi_demo_between(random, -room, room);
        for (size_t i = 0; i < count; i++)
            points[2 * i + axis] = (points[2 * i + axis] - low[axis]) * scale + start;
    }
}

static void trace(cairo_t *cairo, const clvi_demo_outline *outline, const float *points)
{
    const float *at = points;
    cairo_new_path(cairo);
    for (size_t i = 0; i < outline->verb_count; i++) {
        switch (outline->verbs[i]) {
        case 'M':
            cairo_move_to(cairo, (double)at[0], (double)at[1]);
            at += 2;
            break;
        case 'L':
            cairo_line_to(cairo, (double)at[0], (double)at[1]);
            at += 2;
            break;
        case 'C':
            cairo_curve_to(cairo, (double)at[0], (double)at[1], (double)at[2], (double)at[3],
                           (double)at[4], (double)at[5]);
            at += 6;
            break;
        default:
            cairo_close_path(cairo);
            break;
        }
    }
}

/* Fills the path, then makes its strokes heavier or lighter by drawing along its edge. */
static void fill(cairo_t *cairo, float pixel, bool bold, clvi_demo_random *random)
{
    cairo_save(cairo);
    cairo_set_operator(cairo, CAIRO_OPERATOR_CLEAR);
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_set_source_rgba(cairo, 1, 1, 1, 1);
    cairo_fill_preserve(cairo);
    const float weight =
        pixel * clvi_demo_between(random, bold ? -0.6f : -0.2f, bold ? 0.3f : 1.5f);
    cairo_set_line_width(cairo, (double)fabsf(weight));
    cairo_save(cairo);
    if (weight < 0.0f)
        cairo_set_operator(cairo, CAIRO_OPERATOR_DEST_OUT);
    cairo_stroke(cairo);
    cairo_restore(cairo);
}

/* The coverage as 0 … 1, smoothed by [side, 1 − 2·side, side] in both directions. */
static void blur(clvi_demo_canvas *canvas, float side)
{
    const int size = canvas->size;
    cairo_surface_flush(canvas->surface);
    const unsigned char *data = cairo_image_surface_get_data(canvas->surface);
    const int stride = cairo_image_surface_get_stride(canvas->surface);
    const float scale = 1.0f / 255.0f, middle = 1.0f - 2.0f * side;
    for (int y = 0; y < size; y++) {
        const unsigned char *row = data + (size_t)y * (size_t)stride;
        float *to = canvas->plane + (size_t)y * (size_t)size;
        for (int x = 0; x < size; x++) {
            const float left = x > 0 ? row[x - 1] : 0, right = x + 1 < size ? row[x + 1] : 0;
            to[x] = scale * (middle * row[x] + side * (left + right));
        }
    }
    for (int y = 0; y < size; y++) {
        const float *row = canvas->plane + (size_t)y * (size_t)size;
        float *to = canvas->blurred + (size_t)y * (size_t)size;
        for (int x = 0; x < size; x++) {
            const float above = y > 0 ? row[x - size] : 0, below = y + 1 < size ? row[x + size] : 0;
            to[x] = middle * row[x] + side * (above + below);
        }
    }
}

/* Grey levels and noise. */
static void develop(clvi_demo_canvas *canvas, clvi_demo_random *random)
{
    const float dark = clvi_demo_between(random, 0.0f, 40.0f);
    const float light = clvi_demo_between(random, 170.0f, 255.0f);
    const float noise = clvi_demo_between(random, 0.0f, 14.0f); /* standard deviation */
    const size_t count = (size_t)canvas->size * (size_t)canvas->size;
    for (size_t i = 0; i < count; i++) {
        /* A sum of four uniforms has variance 1/3 and is near enough to normal. */
        const float sum = clvi_demo_unit(random) + clvi_demo_unit(random) + clvi_demo_unit(random) +
                          clvi_demo_unit(random);
        const float level =
            dark + (light - dark) * canvas->blurred[i] + noise * 1.7320508f * (sum - 2.0f);
        canvas->pixels[i] = (unsigned char)(fminf(fmaxf(level, 0.0f), 255.0f) + 0.5f);
    }
}

clv_status clvi_demo_draw(clvi_demo_canvas *canvas, const clvi_demo_outline *outline, bool bold,
                          clvi_demo_random *random, const unsigned char **pixels, clv_error *error)
{
    const float size = (float)canvas->size;
    CLV_TRY(clvi_grow((void **)&canvas->points, &canvas->point_capacity, outline->point_count,
                      2 * sizeof(float), error));
    distort(outline, random, canvas->points);
    place(outline->point_count, canvas->points, size, random);
    trace(canvas->cairo, outline, canvas->points);
    fill(canvas->cairo, size / 32.0f, bold, random);
    if (cairo_status(canvas->cairo) != CAIRO_STATUS_SUCCESS)
        CLV_FAIL(error, CLV_E_MEMORY, "drawing failed: %s",
                 cairo_status_to_string(cairo_status(canvas->cairo)));
    blur(canvas, clvi_demo_between(random, 0.0f, 0.2f));
    develop(canvas, random);
    *pixels = canvas->pixels;
    return CLV_OK;
}
