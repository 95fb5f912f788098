/* From bytes to network inputs: core/mixture/image.c against a plain version in double precision.
 * Exit 77: no device. */
#include "base/philox.h"
#include "mixture/image.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

enum { GUARD = 32, NODES = 4 };
static const uint32_t guard_pattern = 0x7FC0DEADu;

/* A batch with its own random bytes on host and device. */
typedef struct bench {
    clvi_picture_desc desc;
    size_t elements; /* of the pictures */
    int whole_h, whole_w;
    uint8_t *pixels; /* [n, whole_h, whole_w, channels] */
    size_t bytes;
    uint32_t *ids;
    clvi_buf *pixel_buf, *id_buf, *picture_buf;
    float *pictures; /* what the device made of it */
} bench;

static clvi_buf *guarded(size_t elements)
{
    clvi_buf *buf = NULL;
    OK(clvi_buf_create(device, (elements + 2 * GUARD) * 4, "test", &buf, error));
    OK(clvi_fill(device, buf, 0, (elements + 2 * GUARD) * 4, guard_pattern, error));
    return buf;
}

/* The data of a guarded buffer; fails where a guard was written. The caller frees. */
static float *fetch(clvi_buf *buf, size_t elements)
{
    float *all = malloc((elements + 2 * GUARD) * 4), *out = malloc(elements * 4);
    OK(clvi_download(device, buf, 0, all, (elements + 2 * GUARD) * 4, error));
    for (size_t i = 0; i < GUARD; i++) {
        assert_memory_equal(&all[i], &guard_pattern, 4);
        assert_memory_equal(&all[GUARD + elements + i], &guard_pattern, 4);
    }
    memcpy(out, all + GUARD, elements * 4);
    free(all);
    return out;
}

static void bench_open(bench *b, int64_t n, const clvi_picture *seen)
{
    const int h = seen->height, w = seen->width, c = seen->channels;
    *b = (bench){.desc = {.n = n, .seen = *seen, .epoch = 5}};
    b->whole_h = h + 2 * seen->margin_y;
    b->whole_w = w + 2 * seen->margin_x;
    b->bytes = (size_t)(n * b->whole_h * b->whole_w * c);
    b->desc.key[0] = 0xCAFEu;
    b->desc.key[1] = 0xF00Du;
    b->elements = (size_t)(n * h * w * c);
    b->pixels = malloc(b->bytes);
    b->ids = malloc((size_t)n * 4);
    uint32_t seed = (uint32_t)(h * 1000 + w);
    for (size_t i = 0; i < b->bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->pixels[i] = (uint8_t)(seed >> 24);
    }
    for (int64_t s = 0; s < n; s++)
        b->ids[s] = (uint32_t)(s * 7919 + 3);
    OK(clvi_buf_create(device, b->bytes + 8, "pixels", &b->pixel_buf, error));
    OK(clvi_upload(device, b->pixel_buf, 5, b->pixels, b->bytes, error));
    b->id_buf = guarded((size_t)n);
    OK(clvi_upload(device, b->id_buf, GUARD * 4, b->ids, (size_t)n * 4, error));
    b->desc.ids = (clvi_view){b->id_buf, GUARD};
    b->picture_buf = guarded(b->elements);
}

static const clvi_augment none = {.kind = CLVI_AUGMENT_NONE};
static const clvi_augment characters = {.kind = CLVI_AUGMENT_CHARACTERS};

static void augment(bench *b, const clvi_augment *how)
{
    OK(clvi_image_augment(device, &b->desc, how, (clvi_view){b->pixel_buf, 5},
                          (clvi_view){b->picture_buf, GUARD}, error));
    free(b->pictures);
    b->pictures = fetch(b->picture_buf, b->elements);
}

static void bench_close(bench *b)
{
    clvi_buf_destroy(b->pixel_buf);
    clvi_buf_destroy(b->id_buf);
    clvi_buf_destroy(b->picture_buf);
    free(b->pixels);
    free(b->ids);
    free(b->pictures);
}

/* ---- The plain version
 * ----------------------------------------------------------------------------- */

/* Bilinear value of channel k of sample s at (x, y) of the whole, the border going on outside. */
static double at(const bench *b, int64_t s, double x, double y, int k)
{
    x = fmin(fmax(x, 0), b->whole_w - 1);
    y = fmin(fmax(y, 0), b->whole_h - 1);
    const int x0 = (int)x, y0 = (int)y;
    double sum = 0;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            const int px = x0 + i < b->whole_w ? x0 + i : b->whole_w - 1;
            const int py = y0 + j < b->whole_h ? y0 + j : b->whole_h - 1;
            const double share = (i ? x - x0 : 1 - (x - x0)) * (j ? y - y0 : 1 - (y - y0));
            const int64_t row = (s * b->whole_h + py) * b->whole_w;
            sum += share * b->pixels[(row + px) * b->desc.seen.channels + k];
        }
    return sum;
}

/* Number i of counter (epoch, id, op, index), in (0, 1). */
static double unit(const bench *b, int64_t s, uint32_t op, uint32_t index, int i)
{
    const clvi_philox_key key = {{b->desc.key[0], b->desc.key[1]}};
    uint32_t words[4];
    clvi_philox(key, b->desc.epoch, b->ids[s], op, index, words);
    return (double)clvi_philox_unit(words[i]);
}

/* Number i of counter (epoch, id, 0, index), in (-1, 1). */
static double drawn(const bench *b, int64_t s, uint32_t index, int i)
{
    return 2 * unit(b, s, 0, index, i) - 1;
}

/* Displacement along axis 0 (x) or 1 (y) of the point (gx, gy) of the grid of nodes. */
static double bend(const bench *b, int64_t s, double gx, double gy, int axis)
{
    const int i = gx < NODES - 2 ? (int)gx : NODES - 2, j = gy < NODES - 2 ? (int)gy : NODES - 2;
    const double most = 0.035 * (axis == 0 ? b->desc.seen.width : b->desc.seen.height);
    double sum = 0;
    for (int dj = 0; dj < 2; dj++)
        for (int di = 0; di < 2; di++) {
            const int node = (j + dj) * NODES + i + di;
            const double share = (di ? gx - i : 1 - (gx - i)) * (dj ? gy - j : 1 - (gy - j));
            sum += share * most * drawn(b, s, 2 + (uint32_t)node / 2, node % 2 * 2 + axis);
        }
    return sum;
}

/* What `characters` makes of pixel (x, y) of sample s. */
static double expected(const bench *b, int64_t s, int x, int y, int k)
{
    const double pi = 3.14159265358979323846;
    const int h = b->desc.seen.height, w = b->desc.seen.width;
    const double angle = drawn(b, s, 0, 0) * 12 * pi / 180, shear = drawn(b, s, 0, 1) * 0.15;
    const double px = (x + 0.5 - w / 2.0) * (1 + 0.12 * drawn(b, s, 0, 2));
    const double py = (y + 0.5 - h / 2.0) * (1 + 0.12 * drawn(b, s, 0, 3));
    const double sheared = px + shear * py; /* then rotated, shifted and bent */
    const double gx = (x + 0.5) * (NODES - 1) / w, gy = (y + 0.5) * (NODES - 1) / h;
    const double from_x = cos(angle) * sheared - sin(angle) * py + 0.08 * w * drawn(b, s, 1, 0) +
                          w / 2.0 - 0.5 + bend(b, s, gx, gy, 0);
    const double from_y = sin(angle) * sheared + cos(angle) * py + 0.08 * h * drawn(b, s, 1, 1) +
                          h / 2.0 - 0.5 + bend(b, s, gx, gy, 1);
    const double v =
        (at(b, s, from_x + b->desc.seen.margin_x, from_y + b->desc.seen.margin_y, k) - 127.5) *
            (1 + 0.15 * drawn(b, s, 1, 2)) +
        127.5 + 12 * drawn(b, s, 1, 3);
    return fmin(fmax(v, 0), 255);
}

/* A rectangle: corner and sides as shares of the picture's. */
typedef struct part {
    double x, y, width, height;
} part;

/* Of `area`, as near to `quotient` (width by height) as fits, at a place in (0, 1)². */
static part part_of(double area, double quotient, double at_x, double at_y)
{
    part p = {.width = sqrt(area * quotient), .height = sqrt(area / quotient)};
    if (p.width > 1) {
        p.width = 1;
        p.height = area;
    } else if (p.height > 1) {
        p.width = area;
        p.height = 1;
    }
    p.x = at_x * (1 - p.width);
    p.y = at_y * (1 - p.height);
    return p;
}

static part crop_of(const bench *b, int64_t s, double least)
{
    return part_of(1 - (1 - least) * unit(b, s, 1, 0, 0),
                   pow(4.0 / 3.0, 2 * unit(b, s, 1, 0, 1) - 1), unit(b, s, 1, 0, 2),
                   unit(b, s, 1, 0, 3));
}

/* True where pixel (x, y) is erased. */
static bool erased(const bench *b, int64_t s, double how_often, int x, int y)
{
    if (unit(b, s, 1, 2, 1) >= how_often)
        return false;
    const part p =
        part_of(0.02 + 0.18 * unit(b, s, 1, 2, 2), pow(10.0 / 3.0, 2 * unit(b, s, 1, 2, 3) - 1),
                unit(b, s, 1, 3, 0), unit(b, s, 1, 3, 1));
    const int w = b->desc.seen.width, h = b->desc.seen.height;
    return x >= rint(p.x * w) && x < rint((p.x + p.width) * w) && y >= rint(p.y * h) &&
           y < rint((p.y + p.height) * h);
}

/* Hue, saturation, contrast, brightness, one after the other. v: 3 channels, or one. */
static void recolour(const bench *b, int64_t s, const clvi_augment *how, double v[3])
{
    const double pi = 3.14159265358979323846;
    const double brightness = 1 + how->colour * (2 * unit(b, s, 1, 1, 1) - 1);
    const double contrast = 1 + how->colour * (2 * unit(b, s, 1, 1, 2) - 1);
    const double saturation = 1 + how->colour * (2 * unit(b, s, 1, 1, 3) - 1);
    const double turn = how->hue * (2 * unit(b, s, 1, 2, 0) - 1) * 2 * pi;
    if (b->desc.seen.channels == 3) {
        /* Turned about the axis (1, 1, 1)/√3: along it nothing changes; what stands at right angles
         * to it turns towards its product with the axis. */
        const double along = (v[0] + v[1] + v[2]) / 3, r = v[0], g = v[1], l = v[2];
        const double across[3] = {(l - g) / sqrt(3), (r - l) / sqrt(3), (g - r) / sqrt(3)};
        for (int k = 0; k < 3; k++)
            v[k] = along + cos(turn) * (v[k] - along) + sin(turn) * across[k];
        const double grey = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
        for (int k = 0; k < 3; k++)
            v[k] = grey + saturation * (v[k] - grey);
    }
    for (int k = 0; k < b->desc.seen.channels; k++)
        v[k] = fmin(fmax(brightness * (127.5 + contrast * (v[k] - 127.5)), 0), 255);
}

/* What steps make of pixel (x, y) of sample s. */
static void expected_steps(const bench *b, const clvi_augment *how, const int64_t where[3],
                           double v[3])
{
    const int64_t s = where[0];
    const int x = (int)where[1], y = (int)where[2], w = b->desc.seen.width, h = b->desc.seen.height;
    part p = crop_of(b, s, how->crop);
    if (how->crop == 0)
        p = (part){.x = (double)b->desc.seen.margin_x / b->whole_w,
                   .y = (double)b->desc.seen.margin_y / b->whole_h,
                   .width = (double)w / b->whole_w,
                   .height = (double)h / b->whole_h};
    const bool mirrored = unit(b, s, 1, 1, 0) < how->flip;
    const double across = (mirrored ? w - x - 0.5 : x + 0.5) / w;
    for (int k = 0; k < b->desc.seen.channels; k++)
        v[k] = at(b, s, (p.x + across * p.width) * b->whole_w - 0.5,
                  (p.y + (y + 0.5) / h * p.height) * b->whole_h - 0.5, k);
    recolour(b, s, how, v);
    if (erased(b, s, how->erase, x, y))
        v[0] = v[1] = v[2] = 127.5;
}

/* ---- Tests
 * ----------------------------------------------------------------------------------------- */

static const struct {
    int64_t n;
    clvi_picture seen;
} sizes[] = {{1, {1, 1, 1, 0, 0}},   {3, {2, 5, 3, 0, 0}},   {2, {31, 33, 1, 2, 1}},
             {5, {32, 32, 1, 0, 0}}, {3, {17, 64, 3, 0, 5}}, {2, {65, 13, 1, 4, 0}},
             {70, {9, 7, 3, 0, 0}},  {4, {28, 28, 3, 2, 2}}, {2, {5, 1, 3, 0, 0}},
             {2, {1, 19, 3, 0, 0}},  {2, {3, 1, 1, 0, 0}}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void test_plain(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, &sizes[k].seen);
        augment(&b, &none);
        const clvi_picture *p = &b.desc.seen;
        const int row = p->width * p->channels;
        for (size_t i = 0; i < b.elements; i++) {
            const int64_t line = (int64_t)i / row, s = line / p->height;
            const int64_t from = s * b.whole_h + line % p->height + p->margin_y;
            const int64_t first = (from * b.whole_w + p->margin_x) * p->channels;
            assert_true(b.pictures[i] == (float)b.pixels[first + (int64_t)i % row]);
        }
        bench_close(&b);
    }
}

/* In one launch what two make of the same pixels, bit for bit. */
static void test_at_once(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, &sizes[k].seen);
        augment(&b, &none);
        const clvi_picture *p = &b.desc.seen;
        const clvi_input_form to = {.height = p->height,
                                    .width = p->width,
                                    .channels = p->channels,
                                    .range = 255,
                                    .mean = {0.485, 0.456, 0.406},
                                    .std = {0.229, 0.224, 0.225}};
        clvi_buf *one = guarded(b.elements), *two = guarded(b.elements);
        assert_true(clvi_image_is_plain(p, &none, &to));
        assert_false(clvi_image_is_plain(p, &characters, &to));
        OK(clvi_image_plain(device, &b.desc, &to, (clvi_view){b.pixel_buf, 5},
                            (clvi_view){one, GUARD}, error));
        OK(clvi_image_normalise(device, &b.desc, &to, (clvi_view){b.picture_buf, GUARD},
                                (clvi_view){two, GUARD}, error));
        float *got = fetch(one, b.elements), *wanted = fetch(two, b.elements);
        assert_memory_equal(got, wanted, b.elements * sizeof *got);
        free(got);
        free(wanted);
        clvi_buf_destroy(one);
        clvi_buf_destroy(two);
        bench_close(&b);
    }
}

static void test_characters(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, &sizes[k].seen);
        augment(&b, &characters);
        const clvi_picture_desc *d = &b.desc;
        size_t i = 0;
        for (int64_t s = 0; s < d->n; s++)
            for (int y = 0; y < d->seen.height; y++)
                for (int x = 0; x < d->seen.width; x++)
                    for (int c = 0; c < d->seen.channels; c++, i++) {
                        const double e = expected(&b, s, x, y, c);
                        /* 65 pixels in f32 are known to 1e-5, and a pixel's step is up to 255. */
                        if (!(fabs((double)b.pictures[i] - e) <= 1e-2))
                            fail_msg("sample %d, (%d, %d): %g for %g", (int)s, x, y,
                                     (double)b.pictures[i], e);
                    }
        bench_close(&b);
    }
}

static void check_steps(bench *b, const clvi_augment *how)
{
    augment(b, how);
    const clvi_picture_desc *d = &b->desc;
    const float *got = b->pictures;
    for (int64_t s = 0; s < d->n; s++)
        for (int y = 0; y < d->seen.height; y++)
            for (int x = 0; x < d->seen.width; x++, got += d->seen.channels) {
                double v[3];
                expected_steps(b, how, (int64_t[]){s, x, y}, v);
                for (int k = 0; k < d->seen.channels; k++)
                    if (!(fabs((double)got[k] - v[k]) <= 1e-2))
                        fail_msg("sample %d, (%d, %d), channel %d: %g for %g", (int)s, x, y, k,
                                 (double)got[k], v[k]);
            }
}

static void test_steps(void **state)
{
    (void)state;
    static const clvi_augment ways[] = {
        {.kind = CLVI_AUGMENT_STEPS, .crop = 0.35, .flip = 0.5, .colour = 0.2}, /* photos */
        {.kind = CLVI_AUGMENT_STEPS, .crop = 0.08},
        {.kind = CLVI_AUGMENT_STEPS, .flip = 0.5},
        {.kind = CLVI_AUGMENT_STEPS, .colour = 0.9},
        {.kind = CLVI_AUGMENT_STEPS, .hue = 0.5},
        {.kind = CLVI_AUGMENT_STEPS, .erase = 0.7},
        {.kind = CLVI_AUGMENT_STEPS, .crop = 0.2, .flip = 1, .colour = 0.4, .hue = 0.1, .erase = 1},
    };
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, &sizes[k].seen);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            check_steps(&b, &ways[i]);
        bench_close(&b);
    }
}

/* With only a flip pixels stay what they are, to the bit. */
static void test_flip(void **state)
{
    (void)state;
    const clvi_augment flip = {.kind = CLVI_AUGMENT_STEPS, .flip = 0.5};
    bench b;
    bench_open(&b, 2000, &(clvi_picture){3, 5, 3, 0, 0});
    augment(&b, &flip);
    int flipped = 0;
    for (int s = 0; s < 2000; s++) {
        const uint8_t *from = b.pixels + s * 45;
        const float *got = b.pictures + s * 45;
        const bool mirrored =
            got[0] != (float)from[0] || got[1] != (float)from[1] || got[2] != (float)from[2];
        flipped += mirrored;
        for (int i = 0; i < 15; i++)
            for (int k = 0; k < 3; k++) {
                const int column = mirrored ? 4 - i % 5 : i % 5;
                assert_true(got[i * 3 + k] == (float)from[(i / 5 * 5 + column) * 3 + k]);
            }
    }
    assert_in_range(flipped, 920, 1080); /* 3.6 standard deviations of a fair coin */
    bench_close(&b);
}

/* Fails unless the values spread evenly over low … high: no value outside, and the share below each
 * fifth as it should be. */
static void assert_even(const double *values, int count, double low, double high, const char *what)
{
    int below[5] = {0};
    for (int i = 0; i < count; i++) {
        const double place = (values[i] - low) / (high - low);
        if (!(place > -1e-3 && place < 1 + 1e-3))
            fail_msg("%s: %g is not within %g … %g", what, values[i], low, high);
        below[place < 0 ? 0 : place >= 1 ? 4 : (int)(place * 5)]++;
    }
    for (int k = 0; k < 5; k++)
        if (fabs((double)below[k] / count - 0.2) > 4 * sqrt(0.16 / count)) /* standard deviations */
            fail_msg("%s: %d of %d in fifth %d", what, below[k], count, k);
}

enum { MANY = 2000, RAMP = 21 };

/* Where the crops lie, read off ramps: red is 12·x, green 12·y. */
static void test_crop_distribution(void **state)
{
    (void)state;
    const clvi_augment crop = {.kind = CLVI_AUGMENT_STEPS, .crop = 0.35};
    const size_t bytes = (size_t)MANY * RAMP * RAMP * 3;
    static double area[MANY], x[MANY], y[MANY], quotient[MANY];
    bench b;
    bench_open(&b, MANY, &(clvi_picture){RAMP, RAMP, 3, 0, 0});
    for (size_t i = 0; i < bytes; i += 3) {
        b.pixels[i] = (uint8_t)(i / 3 % RAMP * 12);
        b.pixels[i + 1] = (uint8_t)(i / 3 / RAMP % RAMP * 12);
    }
    OK(clvi_upload(device, b.pixel_buf, 5, b.pixels, bytes, error));
    augment(&b, &crop);
    int free_count = 0, inner = 0;
    for (int s = 0; s < MANY; s++) {
        const float *p = b.pictures + (size_t)s * RAMP * RAMP * 3;
        const size_t low = (RAMP * 1 + 1) * 3, high = (RAMP * 19 + 19) * 3; /* (1, 1), (19, 19) */
        const double across = (double)(p[high] - p[low]) / 12 / 18;
        const double down = (double)(p[high + 1] - p[low + 1]) / 12 / 18;
        area[s] = across * down;
        quotient[s] = log(across / down) / log(4.0 / 3.0);
        x[s] = ((double)p[low] / 12 + 0.5 - 1.5 * across) / RAMP / (1 - across);
        y[s] = ((double)p[low + 1] / 12 + 0.5 - 1.5 * down) / RAMP / (1 - down);
        assert_true(fabs(quotient[s]) <= 1 + 1e-3);
        if (area[s] <= 0.75) /* above there is not room for every quotient */
            quotient[free_count++] = quotient[s];
    }
    assert_even(area, MANY, 0.35, 1, "area");
    assert_even(quotient, free_count, -1, 1, "quotient");
    for (int s = 0; s < MANY; s++)
        if (area[s] < 0.6) { /* the numbers read off are too coarse where there is little room */
            x[inner] = x[s];
            y[inner++] = y[s];
        }
    assert_even(x, inner, 0, 1, "place along x");
    assert_even(y, inner, 0, 1, "place along y");
    bench_close(&b);
}

/* Brightness times contrast, and how far the holes reach, over many samples of one grey. */
static void test_colour_and_hole_distribution(void **state)
{
    (void)state;
    clvi_augment how = {.kind = CLVI_AUGMENT_STEPS, .colour = 0.3};
    static double brightness[MANY], holes[MANY];
    bench b;
    bench_open(&b, MANY, &(clvi_picture){RAMP, RAMP, 1, 0, 0});
    memset(b.pixels, 127, b.elements);
    OK(clvi_upload(device, b.pixel_buf, 5, b.pixels, b.elements, error));
    augment(&b, &how);
    for (int s = 0; s < MANY; s++) /* contrast leaves middle grey as it is, nearly: 0.5·0.3 */
        brightness[s] = (double)b.pictures[(size_t)s * RAMP * RAMP] / 127.5 + 0.5 / 127.5;
    for (int s = 0; s < MANY; s++)
        assert_true(brightness[s] > 0.69 && brightness[s] < 1.31);
    assert_even(brightness, MANY, 0.695, 1.305, "brightness");
    how = (clvi_augment){.kind = CLVI_AUGMENT_STEPS, .erase = 0.4};
    augment(&b, &how);
    int count = 0;
    for (int s = 0; s < MANY; s++) {
        int gone = 0;
        for (int i = 0; i < RAMP * RAMP; i++)
            gone += b.pictures[s * RAMP * RAMP + i] == 127.5f;
        if (gone > 0)
            holes[count++] = (double)gone / (RAMP * RAMP);
    }
    assert_in_range(count, 760, 840 + 20);
    double mean = 0;
    for (int i = 0; i < count; i++)
        mean += holes[i] / count;
    assert_true(fabs(mean - 0.11) < 0.01);
    bench_close(&b);
}

/* Another epoch or sample draws anew; where a sample stands in the batch and what else is in it
 * does not matter, and the same again gives the same bits. */
static void check_draws(const clvi_augment *how)
{
    bench b;
    bench_open(&b, 4, &(clvi_picture){16, 16, 1, 0, 0});
    memcpy(b.pixels + 3 * 256, b.pixels, 256);
    b.ids[3] = b.ids[0];
    OK(clvi_upload(device, b.pixel_buf, 5, b.pixels, b.elements, error));
    OK(clvi_upload(device, b.id_buf, GUARD * 4, b.ids, 16, error));
    augment(&b, how);
    float first[256];
    memcpy(first, b.pictures, sizeof first);
    assert_memory_equal(b.pictures + 3 * 256, first, sizeof first);
    b.desc.epoch++;
    augment(&b, how);
    assert_memory_not_equal(b.pictures, first, sizeof first);
    b.desc.epoch--;
    b.desc.n = 1;
    augment(&b, how);
    assert_memory_equal(b.pictures, first, sizeof first);
    b.ids[0]++;
    OK(clvi_upload(device, b.id_buf, GUARD * 4, b.ids, 4, error));
    augment(&b, how);
    assert_memory_not_equal(b.pictures, first, sizeof first);
    bench_close(&b);
}

static void test_draws(void **state)
{
    (void)state;
    static const clvi_augment photos = {
        .kind = CLVI_AUGMENT_STEPS, .crop = 0.35, .flip = 0.5, .colour = 0.2};
    check_draws(&characters);
    check_draws(&photos);
}

/* Mean of channel k of sample s around (x, y), over distances up to `reach` of weights that fall
 * evenly to 0. */
static double around(const double *pictures, const clvi_picture_desc *d, int64_t s,
                     const double where[2], const double reach[2], int k)
{
    double sum = 0, all = 0;
    for (int j = 0; j < d->seen.height; j++)
        for (int i = 0; i < d->seen.width; i++) {
            const double far_x = fabs(i + 0.5 - where[0]) / reach[0];
            const double far_y = fabs(j + 0.5 - where[1]) / reach[1];
            const double weight = fmax(1 - far_x, 0) * fmax(1 - far_y, 0);
            sum += weight *
                   pictures[((s * d->seen.height + j) * d->seen.width + i) * d->seen.channels + k];
            all += weight;
        }
    return sum / all;
}

/* What channel k of the form is, of red, green and blue or of grey (in v[0]). */
static double formed(const clvi_input_form *to, int channels, const double v[3], int k)
{
    double value = channels == 1 ? v[0] : v[to->bgr ? 2 - k : k];
    if (channels == 3 && to->channels == 1)
        value = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
    return (value / to->range - to->mean[k]) / to->std[k];
}

static void check_form(bench *b, int h, int w, int c, bool bgr)
{
    clvi_input_form to = {.height = h,
                          .width = w,
                          .channels = c,
                          .range = 255,
                          .mean = {0.485, 0.456, 0.406},
                          .std = {0.229, 0.224, 0.225}};
    if (bgr) {
        const double mean[3] = {103.939, 116.779, 123.68};
        to.bgr = true;
        to.range = to.std[0] = to.std[1] = to.std[2] = 1;
        memcpy(to.mean, mean, sizeof mean);
    }
    const clvi_picture_desc *d = &b->desc;
    const size_t elements = (size_t)(d->n * h * w * c);
    clvi_buf *buf = guarded(elements);
    OK(clvi_image_normalise(device, d, &to, (clvi_view){b->picture_buf, GUARD},
                            (clvi_view){buf, GUARD}, error));
    float *got = fetch(buf, elements);
    double *pictures = malloc(b->elements * sizeof *pictures);
    for (size_t i = 0; i < b->elements; i++)
        pictures[i] = (double)b->pictures[i];
    const double step[2] = {(double)d->seen.width / w, (double)d->seen.height / h};
    const double reach[2] = {fmax(step[0], 1), fmax(step[1], 1)};
    size_t i = 0;
    for (int64_t s = 0; s < d->n; s++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const double where[2] = {(x + 0.5) * step[0], (y + 0.5) * step[1]};
                double v[3] = {0, 0, 0};
                for (int j = 0; j < d->seen.channels; j++)
                    v[j] = around(pictures, d, s, where, reach, j);
                for (int k = 0; k < c; k++, i++) {
                    const double e = formed(&to, d->seen.channels, v, k);
                    if (!(fabs((double)got[i] - e) <= (bgr ? 1e-2 : 2e-4)))
                        fail_msg("sample %d, (%d, %d), channel %d: %g for %g", (int)s, x, y, k,
                                 (double)got[i], e);
                }
            }
    free(pictures);
    free(got);
    clvi_buf_destroy(buf);
}

static void test_normalise(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, &sizes[k].seen);
        augment(&b, &none);
        for (int bgr = 0; bgr < 2; bgr++)
            check_form(&b, sizes[k].seen.height, sizes[k].seen.width, 3, bgr);
        check_form(&b, sizes[k].seen.height, sizes[k].seen.width, 1, false);
        check_form(&b, 24, 24, 3, sizes[k].seen.height % 2);
        check_form(&b, 33, 11, 1, false);
        check_form(&b, 1, 1, sizes[k].seen.channels, false);
        bench_close(&b);
    }
}

/* ---- data.augment ---- */

static clv_status read_key(const char *value, clvi_augment *out, clv_error *why)
{
    char text[256];
    snprintf(text, sizeof text,
             "[data]\naugment = %s\n[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n", value);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    OK(clvi_config_load(&source, &config, error));
    const clv_status status = clvi_augment_read(config, out, why);
    clvi_config_destroy(config);
    return status;
}

static void test_key(void **state)
{
    (void)state;
    clvi_augment a;
    assert_int_equal(read_key("none", &a, NULL), CLV_OK);
    assert_int_equal(a.kind, CLVI_AUGMENT_NONE);
    assert_int_equal(read_key("characters", &a, NULL), CLV_OK);
    assert_int_equal(a.kind, CLVI_AUGMENT_CHARACTERS);
    assert_int_equal(read_key("photos", &a, NULL), CLV_OK);
    assert_int_equal(a.kind, CLVI_AUGMENT_STEPS);
    assert_true(a.crop == 0.35 && a.flip == 0.5 && a.colour == 0.2 && a.hue == 0 && a.erase == 0);
    assert_int_equal(read_key("Flip, erase:0.5,crop: 0.9", &a, NULL), CLV_OK);
    assert_int_equal(a.kind, CLVI_AUGMENT_STEPS);
    assert_true(a.flip == 0.5 && a.erase == 0.5 && a.crop == 0.9 && a.colour == 0 && a.hue == 0);
    static const char *const wrong[][2] = {
        {"photo", "'photo' is neither"},  {"flip, none", "'none' is neither"},
        {"flip,", "'' is neither"},       {"flip, flip:1", "stands there twice"},
        {"hue:0.6", "from 0 to 0.5"},     {"crop:0", "from 0.01 to 1"},
        {"flip:x", "'x' is no strength"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clv_error error = CLV_ERROR_INIT;
        assert_int_equal(read_key(wrong[i][0], &a, &error), CLV_E_CONFIG);
        if (!strstr(error.message, wrong[i][1]) ||
            !strstr(error.message, "test.ini:2: [data] augment"))
            fail_msg("%s: %s", wrong[i][0], error.message);
    }
}

/* ---- data.crop_share ---- */

static clvi_config *share_config(const char *share, int size)
{
    char text[256];
    snprintf(text, sizeof text,
             "[data]\nimage_size = %d\ncrop_share = %s\n[mixture]\nexperts = a\n"
             "[expert.a]\nplugin = cnn\n",
             size, share);
    const clvi_config_source source = {
        .name = "test.ini", .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    OK(clvi_config_load(&source, &config, error));
    return config;
}

/* What is loaded and what is seen of it belong together, whatever the size. */
static void test_crop_share(void **state)
{
    (void)state;
    static const char *const shares[] = {"1",   "0.9999", "0.96", "0.95", "0.9", "0.875",
                                         "0.8", "0.75",   "0.7",  "0.6",  "0.5"};
    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++)
        for (int size = 8; size <= 400; size++) {
            clvi_config *config = share_config(shares[k], size);
            int h, w;
            clvi_picture_whole(config, &h, &w);
            const clvi_picture p = clvi_picture_of(config, h, w, 3);
            clvi_config_destroy(config);
            assert_int_equal(p.height, size);
            assert_int_equal(p.width, size);
            assert_int_equal(p.margin_y, p.margin_x);
            assert_int_equal(h, size + 2 * p.margin_y);
            assert_true(fabs(h * strtod(shares[k], NULL) - size) <= 1);
        }
    clvi_config *config = share_config("0.875", 224);
    int h, w;
    clvi_picture_whole(config, &h, &w);
    assert_int_equal(h, 256);
    assert_int_equal(w, 256);
    clvi_config_destroy(config);
}

static void test_refusals(void **state)
{
    (void)state;
    const clvi_view nothing = {NULL, 0};
    const clvi_input_form two = {.height = 4, .width = 4, .channels = 2};
    const clvi_picture_desc empty = {.n = 0, .seen = {4, 4, 1, 0, 0}};
    const clvi_picture_desc four = {.n = 1, .seen = {4, 4, 4, 0, 0}};
    const clvi_picture_desc good = {.n = 1, .seen = {4, 4, 1, 0, 0}};
    assert_int_equal(clvi_image_augment(device, &empty, &none, nothing, nothing, NULL),
                     CLV_E_INTERNAL);
    assert_int_equal(clvi_image_augment(device, &four, &none, nothing, nothing, NULL),
                     CLV_E_INTERNAL);
    assert_int_equal(clvi_image_normalise(device, &good, &two, nothing, nothing, NULL),
                     CLV_E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_crop_distribution),
        cmocka_unit_test(test_colour_and_hole_distribution),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_crop_share),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_refusals),
    };
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("mixture_image", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
