/* core/data: decoding, conversion and resizing of single pictures, whole and damaged. */
#include "image_files.h"

#include "base/memory.h"
#include "data/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <turbojpeg.h>

#include <cmocka.h>

static clvi_image decode(const blob *b, int channels)
{
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_image_decode(b->bytes, b->length, "p", channels, &image, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return image;
}

/* Decoding fails with `status`, the message begins with the name and holds `words`, and nothing is
 * delivered. */
static void refuses(const void *bytes, size_t length, clv_status status, const char *words)
{
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_image_decode(bytes, length, "a/b.png", 0, &image, &error), status);
    assert_null(image.pixels);
    if (strncmp(error.message, "a/b.png: ", 9) != 0 || !strstr(error.message, words))
        fail_msg("\"%s\" lacks \"%s\"", error.message, words);
}

static void expect(clvi_image image, int height, int width, int channels, const uint8_t *pixels)
{
    assert_int_equal(image.height, height);
    assert_int_equal(image.width, width);
    assert_int_equal(image.channels, channels);
    assert_memory_equal(image.pixels, pixels, (size_t)(height * width * channels));
    clvi_image_fini(&image);
    assert_null(image.pixels);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(clvi_image_name("a/b.png"));
    assert_true(clvi_image_name("B.JPG"));
    assert_true(clvi_image_name("x.y.Jpeg"));
    assert_false(clvi_image_name("png"));
    assert_false(clvi_image_name(".png"));
    assert_false(clvi_image_name("a.png.txt"));
    assert_false(clvi_image_name(""));
}

static void test_png_grey(void **state)
{
    (void)state;
    const uint8_t pixels[] = {0, 10, 20, 255, 128, 1};
    const png_form form = {.width = 3, .height = 2, .bits = 8, .colour_type = PNG_COLOR_TYPE_GRAY};
    blob b = png_make(&form, pixels);
    expect(decode(&b, 0), 2, 3, 1, pixels);
    expect(decode(&b, 1), 2, 3, 1, pixels);
    const uint8_t rgb[] = {0, 0, 0, 10, 10, 10, 20, 20, 20, 255, 255, 255, 128, 128, 128, 1, 1, 1};
    expect(decode(&b, 3), 2, 3, 3, rgb);
    int channels = 0;
    assert_int_equal(clvi_image_probe(b.bytes, b.length, "p", &channels, NULL), CLV_OK);
    assert_int_equal(channels, 1);
    blob_free(&b);
}

static void test_png_rgb(void **state)
{
    (void)state;
    const uint8_t pixels[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    const png_form form = {.width = 2, .height = 2, .bits = 8, .colour_type = PNG_COLOR_TYPE_RGB};
    blob b = png_make(&form, pixels);
    expect(decode(&b, 0), 2, 2, 3, pixels);
    const uint8_t luma[] = {76, 150, 29, 255}; /* 0.299 R + 0.587 G + 0.114 B */
    expect(decode(&b, 1), 2, 2, 1, luma);
    int channels = 0;
    assert_int_equal(clvi_image_probe(b.bytes, b.length, "p", &channels, NULL), CLV_OK);
    assert_int_equal(channels, 3);
    blob_free(&b);
}

static void test_png_alpha_is_composed_over_black(void **state)
{
    (void)state;
    const uint8_t rgba[] = {200, 100, 50, 255, 200, 100, 50, 128, 200, 100, 50, 0};
    const uint8_t flat[] = {200, 100, 50, 100, 50, 25, 0, 0, 0};
    png_form form = {.width = 3, .height = 1, .bits = 8, .colour_type = PNG_COLOR_TYPE_RGB_ALPHA};
    blob b = png_make(&form, rgba);
    expect(decode(&b, 0), 1, 3, 3, flat);
    blob_free(&b);
    const uint8_t grey_alpha[] = {200, 255, 200, 128, 200, 0};
    const uint8_t grey[] = {200, 100, 0};
    form.colour_type = PNG_COLOR_TYPE_GRAY_ALPHA;
    b = png_make(&form, grey_alpha);
    expect(decode(&b, 0), 1, 3, 1, grey);
    blob_free(&b);
}

static void test_png_packed_palette_deep(void **state)
{
    (void)state;
    /* 1 bit */
    const uint8_t bits[] = {0xa0};
    png_form form = {.width = 4, .height = 1, .bits = 1, .colour_type = PNG_COLOR_TYPE_GRAY};
    blob b = png_make(&form, bits);
    expect(decode(&b, 0), 1, 4, 1, (const uint8_t[]){255, 0, 255, 0});
    blob_free(&b);
    /* 4-bit palette, the first colour half transparent */
    const uint8_t palette[] = {100, 200, 40, 1, 2, 3}, opacity[] = {51};
    const uint8_t indices[] = {0x10, 0x10};
    form = (png_form){.width = 2,
                      .height = 2,
                      .bits = 4,
                      .colour_type = PNG_COLOR_TYPE_PALETTE,
                      .palette = palette,
                      .palette_count = 2};
    b = png_make(&form, indices);
    expect(decode(&b, 0), 2, 2, 3, (const uint8_t[]){1, 2, 3, 100, 200, 40, 1, 2, 3, 100, 200, 40});
    blob_free(&b);
    form.opacity = opacity;
    form.opacity_count = 1;
    b = png_make(&form, indices);
    expect(decode(&b, 0), 2, 2, 3, (const uint8_t[]){1, 2, 3, 20, 40, 8, 1, 2, 3, 20, 40, 8});
    blob_free(&b);
    /* 16 bit, scaled by 255 / 65535 and rounded */
    const uint8_t deep[] = {0xff, 0xff, 0x80, 0x80, 0x01, 0xff, 0, 0};
    form = (png_form){.width = 4, .height = 1, .bits = 16, .colour_type = PNG_COLOR_TYPE_GRAY};
    b = png_make(&form, deep);
    expect(decode(&b, 0), 1, 4, 1, (const uint8_t[]){255, 128, 2, 0});
    blob_free(&b);
}

static void test_png_interlaced_equals_plain(void **state)
{
    (void)state;
    uint8_t pixels[13 * 11 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    const png_form form = {
        .width = 13, .height = 11, .bits = 8, .colour_type = PNG_COLOR_TYPE_RGB, .interlaced = 1};
    blob b = png_make(&form, pixels);
    expect(decode(&b, 0), 11, 13, 3, pixels);
    blob_free(&b);
}

static void test_png_cut_anywhere(void **state)
{
    (void)state;
    blob b = png_numbered(16, 3, 5);
    refuses(b.bytes, 0, CLV_E_DATA, "the file is empty");
    refuses(b.bytes, 7, CLV_E_DATA, "neither a PNG nor a JPEG");
    for (size_t length = 8; length < b.length; length++)
        refuses(b.bytes, length, CLV_E_DATA, "truncated PNG");
    blob_free(&b);
}

static void test_png_any_byte_wrong(void **state)
{
    (void)state;
    blob b = png_numbered(8, 1, 5);
    for (size_t i = 8; i < b.length; i++) {
        clvi_image image = {0};
        clv_error error = CLV_ERROR_INIT;
        b.bytes[i] ^= 0x55;
        /* The checksum of each chunk finds every change; a wrong length reads as a cut file. */
        const clv_status status = clvi_image_decode(b.bytes, b.length, "p", 0, &image, &error);
        if (status != CLV_E_DATA || error.message[0] == '\0')
            fail_msg("byte %zu: status %d, \"%s\"", i, status, error.message);
        b.bytes[i] ^= 0x55;
    }
    b.bytes[45] ^= 1;
    refuses(b.bytes, b.length, CLV_E_DATA, "damaged PNG (");
    blob_free(&b);
}

/* A header alone says how large the picture is: refused before memory is taken. */
static void test_png_too_large(void **state)
{
    (void)state;
    static const uint8_t header[] = {
        0x89, 'P', 'N',  'G',  '\r', '\n', 0x1a, '\n', 0,   0, 0, 13, 'I', 'H',  'D',  'R',
        0,    0,   0xea, 0x60, 0,    0,    0xea, 0x60, 8,   0, 0, 0,  0,   0x1f, 0xfb, 0xde,
        0xb1, 0,   0,    0,    1,    'I',  'D',  'A',  'T', 0, 0, 0,  0,   0};
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    uint8_t bytes[sizeof header];
    memcpy(bytes, header, sizeof bytes);
    /* CRC-32 of the IHDR chunk, bit by bit. */
    uint32_t crc = 0xffffffffu;
    for (size_t i = 12; i < 29; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
    }
    crc = ~crc;
    for (size_t i = 0; i < 4; i++)
        bytes[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    assert_int_equal(clvi_image_decode(bytes, sizeof bytes, "p", 0, &image, &error), CLV_E_DATA);
    assert_non_null(strstr(error.message, "60000 x 60000"));
}

static void fill_rgb(uint8_t *rgb, int width, int height)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, rgb += 3) {
            rgb[0] = (uint8_t)(x * 4);
            rgb[1] = (uint8_t)(y * 4);
            rgb[2] = 90;
        }
}

static void test_jpeg(void **state)
{
    (void)state;
    enum { W = 48, H = 40 };
    uint8_t rgb[W * H * 3];
    fill_rgb(rgb, W, H);
    const int forms[][2] = {{TJSAMP_444, 0}, {TJSAMP_420, 0}, {TJSAMP_422, TJFLAG_PROGRESSIVE}};
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        blob b = jpeg_make(rgb, W, H, forms[f][0], forms[f][1]);
        clvi_image image = decode(&b, 0);
        assert_int_equal(image.channels, 3);
        assert_int_equal(image.width, W);
        assert_int_equal(image.height, H);
        for (size_t i = 0; i < sizeof rgb; i++)
            assert_true(abs(image.pixels[i] - rgb[i]) <= 12);
        clvi_image grey = decode(&b, 1);
        for (size_t i = 0; i < W * H; i++) {
            const uint8_t *p = rgb + 3 * i;
            assert_true(abs(grey.pixels[i] - (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000) <= 6);
        }
        clvi_image_fini(&image);
        clvi_image_fini(&grey);
        blob_free(&b);
    }
    blob b = jpeg_make(rgb, W, H, TJSAMP_GRAY, 0);
    int channels = 0;
    assert_int_equal(clvi_image_probe(b.bytes, b.length, "p", &channels, NULL), CLV_OK);
    assert_int_equal(channels, 1);
    clvi_image grey = decode(&b, 0), colour = decode(&b, 3);
    assert_int_equal(grey.channels, 1);
    for (size_t i = 0; i < W * H; i++)
        for (size_t c = 0; c < 3; c++)
            assert_int_equal(colour.pixels[3 * i + c], grey.pixels[i]);
    clvi_image_fini(&grey);
    clvi_image_fini(&colour);
    blob_free(&b);
}

static void test_jpeg_cut(void **state)
{
    (void)state;
    enum { W = 48, H = 40 };
    uint8_t rgb[W * H * 3];
    fill_rgb(rgb, W, H);
    for (int progressive = 0; progressive < 2; progressive++) {
        blob b = jpeg_make(rgb, W, H, TJSAMP_420, progressive ? TJFLAG_PROGRESSIVE : 0);
        /* The last bytes of the coded data and the end marker: nothing may be missing. */
        for (size_t cut = 1; cut < b.length - 3; cut += cut < 8 ? 1 : 13)
            refuses(b.bytes, b.length - cut, CLV_E_DATA, "truncated JPEG");
        blob_free(&b);
    }
}

static void test_jpeg_damaged(void **state)
{
    (void)state;
    enum { W = 48, H = 40 };
    uint8_t rgb[W * H * 3];
    fill_rgb(rgb, W, H);
    blob b = jpeg_make(rgb, W, H, TJSAMP_420, 0);
    const uint8_t kept = b.bytes[3];
    b.bytes[3] = 0xc9; /* arithmetic coding in place of APP0 */
    refuses(b.bytes, b.length, CLV_E_DATA, "JPEG");
    b.bytes[3] = kept;
    /* Bytes between two segments are common in photos and harm nothing. */
    uint8_t *longer = malloc(b.length + 3);
    assert_non_null(longer);
    memcpy(longer, b.bytes, 20); /* SOI and APP0 of 18 bytes */
    memset(longer + 20, 0, 3);
    memcpy(longer + 23, b.bytes + 20, b.length - 20);
    clvi_image plain = decode(&b, 0), padded = decode(&(blob){longer, b.length + 3}, 0);
    assert_memory_equal(plain.pixels, padded.pixels, sizeof rgb);
    clvi_image_fini(&plain);
    clvi_image_fini(&padded);
    free(longer);
    refuses("\xff\xd8\xff", 3, CLV_E_DATA, "JPEG");
    refuses("GIF89a......", 12, CLV_E_DATA, "neither a PNG nor a JPEG");
    blob_free(&b);
}

/* A CMYK JPEG of one colour, as YCCK with Adobe's mark. */
static blob jpeg_inks(const uint8_t inks[4])
{
    enum { SIDE = 16 };
    uint8_t cmyk[SIDE * SIDE * 4];
    for (size_t i = 0; i < sizeof cmyk; i++)
        cmyk[i] = inks[i % 4];
    tjhandle handle = tjInitCompress();
    unsigned char *bytes = NULL;
    unsigned long length = 0;
    assert_int_equal(
        tjCompress2(handle, cmyk, SIDE, 0, SIDE, TJPF_CMYK, &bytes, &length, TJSAMP_444, 100, 0),
        0);
    (void)tjDestroy(handle);
    const blob b = {malloc(length), length};
    assert_non_null(b.bytes);
    memcpy(b.bytes, bytes, length);
    tjFree(bytes);
    return b;
}

static void expect_colour(const blob *b, int red, int green, int blue)
{
    clvi_image image = decode(b, 0), grey = decode(b, 1);
    const int want[] = {red, green, blue};
    assert_int_equal(image.channels, 3);
    for (int i = 0; i < image.height * image.width; i++) {
        for (int c = 0; c < 3; c++)
            assert_true(abs(image.pixels[3 * i + c] - want[c]) <= 1);
        assert_true(abs(grey.pixels[i] - (299 * red + 587 * green + 114 * blue) / 1000) <= 1);
    }
    clvi_image_fini(&image);
    clvi_image_fini(&grey);
}

/* With Adobe's mark the numbers are light: 255 is no ink. Without it they are ink, and not YCCK but
 * CMYK: a neutral (v, v, v, k) stored as YCCK then reads as the inks (255 - v, 128, 128, k). */
static void test_jpeg_cmyk(void **state)
{
    (void)state;
    static const uint8_t adobe[] = {0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e'};
    blob b = jpeg_inks((const uint8_t[]){255, 128, 0, 200});
    expect_colour(&b, 200, 100, 0);
    int channels = 0;
    assert_int_equal(clvi_image_probe(b.bytes, b.length, "p", &channels, NULL), CLV_OK);
    assert_int_equal(channels, 3);
    blob_free(&b);
    b = jpeg_inks((const uint8_t[]){55, 55, 55, 100});
    expect_colour(&b, 22, 22, 22);
    uint8_t *mark = b.bytes + 2;
    while (memcmp(mark, adobe, sizeof adobe) != 0)
        mark++;
    b.length -= 16;
    memmove(mark, mark + 16, (size_t)(b.bytes + b.length - mark));
    expect_colour(&b, 33, 77, 77);
    blob_free(&b);
}

static void test_decode_wrong_use(void **state)
{
    (void)state;
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_image_decode("", 0, "p", 2, &image, &error), CLV_E_USAGE);
}

/* The definition, in double and in one step: a weighted mean under the product of two triangles. */
static double resized_at(const clvi_image *image, double scale_y, double scale_x, int y, int x,
                         int channel)
{
    const double half_y = scale_y > 1 ? scale_y : 1, half_x = scale_x > 1 ? scale_x : 1;
    const double centre_y = (y + 0.5) * scale_y, centre_x = (x + 0.5) * scale_x;
    double sum = 0, weights = 0;
    for (int j = 0; j < image->height; j++)
        for (int i = 0; i < image->width; i++) {
            const double dy = (j + 0.5 - centre_y) / half_y, dx = (i + 0.5 - centre_x) / half_x;
            const double wy = 1 - (dy < 0 ? -dy : dy), wx = 1 - (dx < 0 ? -dx : dx);
            if (wy <= 0 || wx <= 0)
                continue;
            weights += wy * wx;
            sum += wy * wx * image->pixels[(j * image->width + i) * image->channels + channel];
        }
    return sum / weights;
}

static void test_resize_against_definition(void **state)
{
    (void)state;
    const int sizes[][4] = {{7, 5, 3, 2},  {7, 5, 14, 9}, {1, 1, 3, 4},  {31, 33, 8, 8},
                            {8, 8, 8, 31}, {8, 8, 31, 8}, {40, 3, 1, 1}, {5, 64, 2, 63}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int channels = 1; channels <= 3; channels += 2) {
            const int h = sizes[s][0], w = sizes[s][1], to_h = sizes[s][2], to_w = sizes[s][3];
            clvi_image image = {.pixels = clvi_malloc((size_t)(h * w * channels)),
                                .height = h,
                                .width = w,
                                .channels = channels};
            uint8_t *out = malloc((size_t)(to_h * to_w * channels));
            assert_non_null(image.pixels);
            assert_non_null(out);
            for (int i = 0; i < h * w * channels; i++)
                image.pixels[i] = (uint8_t)((unsigned)i * 2654435761u >> 24);
            assert_int_equal(clvi_image_resize(&image, to_h, to_w, out, NULL), CLV_OK);
            for (int i = 0; i < to_h * to_w * channels; i++) {
                const int x = i / channels % to_w, y = i / channels / to_w;
                const double want =
                    resized_at(&image, (double)h / to_h, (double)w / to_w, y, x, i % channels);
                const double distance = out[i] > want ? out[i] - want : want - out[i];
                if (!(distance <= 1.01)) /* two roundings of half a level */
                    fail_msg("size %zu channels %d at %d: %d, want %g", s, channels, i, out[i],
                             want);
            }
            free(out);
            clvi_image_fini(&image);
        }
}

static void test_resize_keeps(void **state)
{
    (void)state;
    uint8_t pixels[9 * 9 * 3], out[20 * 4 * 3];
    memset(pixels, 255, sizeof pixels);
    const clvi_image image = {.pixels = pixels, .height = 9, .width = 9, .channels = 3};
    assert_int_equal(clvi_image_resize(&image, 20, 4, out, NULL), CLV_OK);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], 255);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)i;
    uint8_t same[sizeof pixels];
    assert_int_equal(clvi_image_resize(&image, 9, 9, same, NULL), CLV_OK);
    assert_memory_equal(same, pixels, sizeof pixels);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_image_resize(&image, 0, 9, same, &error), CLV_E_USAGE);
}

/* What is written is read again. */
static void test_png_written(void **state)
{
    (void)state;
    uint8_t pixels[5 * 7 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int channels = 1; channels <= 3; channels += 2) {
        const clvi_image image = {.pixels = pixels, .height = 5, .width = 7, .channels = channels};
        blob b = {0};
        clv_error error = CLV_ERROR_INIT;
        if (clvi_image_encode_png(&image, &b.bytes, &b.length, &error) != CLV_OK)
            fail_msg("%s", error.message);
        expect(decode(&b, 0), 5, 7, channels, pixels);
        clvi_free(b.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_png_grey),
        cmocka_unit_test(test_png_rgb),
        cmocka_unit_test(test_png_alpha_is_composed_over_black),
        cmocka_unit_test(test_png_packed_palette_deep),
        cmocka_unit_test(test_png_interlaced_equals_plain),
        cmocka_unit_test(test_png_cut_anywhere),
        cmocka_unit_test(test_png_any_byte_wrong),
        cmocka_unit_test(test_png_too_large),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_jpeg_cut),
        cmocka_unit_test(test_jpeg_damaged),
        cmocka_unit_test(test_jpeg_cmyk),
        cmocka_unit_test(test_decode_wrong_use),
        cmocka_unit_test(test_resize_against_definition),
        cmocka_unit_test(test_resize_keeps),
        cmocka_unit_test(test_png_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
