/* From bytes to network inputs: core/mixture/image.c against a plain version in double precision.
 * Exit 77: no device. */
#include "base/philox.h"
#include "mixture/image.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

enum { GUARD = 32, NODES = 4 };
static const uint32_t guard_pattern = 0x7FC0DEADu;

/* A batch with its own random bytes on host and device. */
typedef struct bench {
    clvi_picture_desc desc;
    size_t elements;
    uint8_t *pixels;
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

static void bench_open(bench *b, int64_t n, int h, int w, int c)
{
    *b = (bench){.desc = {.n = n, .height = h, .width = w, .channels = c, .epoch = 5}};
    b->desc.key[0] = 0xCAFEu;
    b->desc.key[1] = 0xF00Du;
    b->elements = (size_t)(n * h * w * c);
    b->pixels = malloc(b->elements);
    b->ids = malloc((size_t)n * 4);
    uint32_t seed = (uint32_t)(h * 1000 + w);
    for (size_t i = 0; i < b->elements; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->pixels[i] = (uint8_t)(seed >> 24);
    }
    for (int64_t s = 0; s < n; s++)
        b->ids[s] = (uint32_t)(s * 7919 + 3);
    OK(clvi_buf_create(device, b->elements + 8, "pixels", &b->pixel_buf, error));
    OK(clvi_upload(device, b->pixel_buf, 5, b->pixels, b->elements, error));
    b->id_buf = guarded((size_t)n);
    OK(clvi_upload(device, b->id_buf, GUARD * 4, b->ids, (size_t)n * 4, error));
    b->desc.ids = (clvi_view){b->id_buf, GUARD};
    b->picture_buf = guarded(b->elements);
}

static void augment(bench *b, clvi_augment kind)
{
    OK(clvi_image_augment(device, &b->desc, kind, (clvi_view){b->pixel_buf, 5},
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

/* Bilinear value of channel k of sample s at (x, y), the border going on outside. */
static double at(const double *pictures, const clvi_picture_desc *d, int64_t s, double x, double y,
                 int k)
{
    x = fmin(fmax(x, 0), d->width - 1);
    y = fmin(fmax(y, 0), d->height - 1);
    const int x0 = (int)x, y0 = (int)y;
    double sum = 0;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            const int px = x0 + i < d->width ? x0 + i : d->width - 1;
            const int py = y0 + j < d->height ? y0 + j : d->height - 1;
            const double share = (i ? x - x0 : 1 - (x - x0)) * (j ? y - y0 : 1 - (y - y0));
            sum += share * pictures[((s * d->height + py) * d->width + px) * d->channels + k];
        }
    return sum;
}

/* Number i of counter (epoch, id, 0, index), in (-1, 1). */
static double drawn(const bench *b, int64_t s, uint32_t index, int i)
{
    const clvi_philox_key key = {{b->desc.key[0], b->desc.key[1]}};
    uint32_t words[4];
    clvi_philox(key, b->desc.epoch, b->ids[s], 0, index, words);
    return 2 * (double)clvi_philox_unit(words[i]) - 1;
}

/* Displacement along axis 0 (x) or 1 (y) of the point (gx, gy) of the grid of nodes. */
static double bend(const bench *b, int64_t s, double gx, double gy, int axis)
{
    const int i = gx < NODES - 2 ? (int)gx : NODES - 2, j = gy < NODES - 2 ? (int)gy : NODES - 2;
    const double most = 0.035 * (axis == 0 ? b->desc.width : b->desc.height);
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
static double expected(const bench *b, const double *pictures, int64_t s, int x, int y, int k)
{
    const double pi = 3.14159265358979323846;
    const int h = b->desc.height, w = b->desc.width;
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
        (at(pictures, &b->desc, s, from_x, from_y, k) - 127.5) * (1 + 0.15 * drawn(b, s, 1, 2)) +
        127.5 + 12 * drawn(b, s, 1, 3);
    return fmin(fmax(v, 0), 255);
}

/* ---- Tests
 * ----------------------------------------------------------------------------------------- */

static const struct {
    int64_t n;
    int h, w, c;
} sizes[] = {{1, 1, 1, 1},   {3, 2, 5, 3},   {2, 31, 33, 1}, {5, 32, 32, 1},
             {3, 17, 64, 3}, {2, 65, 13, 1}, {70, 9, 7, 3}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void test_plain(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, sizes[k].h, sizes[k].w, sizes[k].c);
        augment(&b, CLVI_AUGMENT_NONE);
        for (size_t i = 0; i < b.elements; i++)
            assert_true(b.pictures[i] == (float)b.pixels[i]);
        bench_close(&b);
    }
}

static void test_characters(void **state)
{
    (void)state;
    for (size_t k = 0; k < SIZES; k++) {
        bench b;
        bench_open(&b, sizes[k].n, sizes[k].h, sizes[k].w, sizes[k].c);
        augment(&b, CLVI_AUGMENT_CHARACTERS);
        double *pictures = malloc(b.elements * sizeof *pictures);
        for (size_t i = 0; i < b.elements; i++)
            pictures[i] = b.pixels[i];
        const clvi_picture_desc *d = &b.desc;
        size_t i = 0;
        for (int64_t s = 0; s < d->n; s++)
            for (int y = 0; y < d->height; y++)
                for (int x = 0; x < d->width; x++)
                    for (int c = 0; c < d->channels; c++, i++) {
                        const double e = expected(&b, pictures, s, x, y, c);
                        /* 65 pixels in f32 are known to 1e-5, and a pixel's step is up to 255. */
                        if (!(fabs((double)b.pictures[i] - e) <= 1e-2))
                            fail_msg("sample %d, (%d, %d): %g for %g", (int)s, x, y,
                                     (double)b.pictures[i], e);
                    }
        free(pictures);
        bench_close(&b);
    }
}

/* Another epoch or sample draws anew; where a sample stands in the batch does not matter. */
static void test_draws(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, 4, 16, 16, 1);
    for (int i = 0; i < 256; i++)
        b.pixels[3 * 256 + i] = b.pixels[i];
    b.ids[3] = b.ids[0];
    OK(clvi_upload(device, b.pixel_buf, 5, b.pixels, b.elements, error));
    OK(clvi_upload(device, b.id_buf, GUARD * 4, b.ids, 16, error));
    augment(&b, CLVI_AUGMENT_CHARACTERS);
    float first[256];
    memcpy(first, b.pictures, sizeof first);
    assert_memory_equal(b.pictures + 3 * 256, first, sizeof first);
    b.desc.epoch++;
    augment(&b, CLVI_AUGMENT_CHARACTERS);
    assert_memory_not_equal(b.pictures, first, sizeof first);
    bench_close(&b);
}

static void check_form(bench *b, int h, int w, int c)
{
    const clv_input_desc to = {.struct_size = sizeof to,
                               .height = h,
                               .width = w,
                               .channels = c,
                               .mean = {0.485, 0.456, 0.406},
                               .std = {0.229, 0.224, 0.225}};
    const clvi_picture_desc *d = &b->desc;
    const size_t elements = (size_t)(d->n * h * w * c);
    clvi_buf *buf = guarded(elements);
    OK(clvi_image_normalise(device, d, &to, (clvi_view){b->picture_buf, GUARD},
                            (clvi_view){buf, GUARD}, error));
    float *got = fetch(buf, elements);
    double *pictures = malloc(b->elements * sizeof *pictures);
    for (size_t i = 0; i < b->elements; i++)
        pictures[i] = (double)b->pictures[i];
    size_t i = 0;
    for (int64_t s = 0; s < d->n; s++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                for (int k = 0; k < c; k++, i++) {
                    const double from_x = (x + 0.5) * d->width / w - 0.5;
                    const double from_y = (y + 0.5) * d->height / h - 0.5;
                    double v[3] = {0, 0, 0};
                    for (int j = 0; j < d->channels; j++)
                        v[j] = at(pictures, d, s, from_x, from_y, j);
                    double e = d->channels == 1 ? v[0] : v[k];
                    if (d->channels == 3 && c == 1)
                        e = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
                    e = (e / 255 - to.mean[k]) / to.std[k];
                    if (!(fabs((double)got[i] - e) <= 2e-4))
                        fail_msg("sample %d, (%d, %d), channel %d: %g for %g", (int)s, x, y, k,
                                 (double)got[i], e);
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
        bench_open(&b, sizes[k].n, sizes[k].h, sizes[k].w, sizes[k].c);
        augment(&b, CLVI_AUGMENT_NONE);
        check_form(&b, sizes[k].h, sizes[k].w, sizes[k].c);
        check_form(&b, sizes[k].h, sizes[k].w, 4 - sizes[k].c);
        check_form(&b, 24, 24, 3);
        check_form(&b, 33, 11, 1);
        check_form(&b, 1, 1, sizes[k].c);
        bench_close(&b);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const clvi_view none = {NULL, 0};
    const clv_input_desc two = {.struct_size = sizeof two, .height = 4, .width = 4, .channels = 2};
    const clvi_picture_desc empty = {.n = 0, .height = 4, .width = 4, .channels = 1};
    const clvi_picture_desc four = {.n = 1, .height = 4, .width = 4, .channels = 4};
    const clvi_picture_desc good = {.n = 1, .height = 4, .width = 4, .channels = 1};
    assert_int_equal(clvi_image_augment(device, &empty, CLVI_AUGMENT_NONE, none, none, NULL),
                     CLV_E_INTERNAL);
    assert_int_equal(clvi_image_augment(device, &four, CLVI_AUGMENT_NONE, none, none, NULL),
                     CLV_E_INTERNAL);
    assert_int_equal(clvi_image_normalise(device, &good, &two, none, none, NULL), CLV_E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_characters),
        cmocka_unit_test(test_draws),    cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_refusals),
    };
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("mixture_image", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
