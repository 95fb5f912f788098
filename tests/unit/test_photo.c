/* core/data: photographs: how the camera was held, reduced decoding, Pillow's numbers. Argument:
 * the folder of the golden pictures. */
#include "image_files.h"

#include "base/files.h"
#include "data/image_codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <turbojpeg.h>

#include <cmocka.h>

static const char *golden; /* folder */

static clvi_image decode(const blob *b, int channels)
{
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_image_decode(b->bytes, b->length, "p", channels, &image, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return image;
}

static void load(const blob *b, const clvi_image_form *form, uint8_t *out)
{
    clv_error error = CLV_ERROR_INIT;
    if (clvi_image_load(b->bytes, b->length, "p", form, out, &error) != CLV_OK)
        fail_msg("%s", error.message);
}

/* ---- Orientation ---- */

/* The JPEG with `segment` as its first one. */
static blob with_segment(const blob *jpeg, const void *segment, size_t length)
{
    blob b = {malloc(jpeg->length + length), jpeg->length + length};
    assert_non_null(b.bytes);
    memcpy(b.bytes, jpeg->bytes, 2);
    memcpy(b.bytes + 2, segment, length);
    memcpy(b.bytes + 2 + length, jpeg->bytes + 2, jpeg->length - 2);
    return b;
}

/* EXIF with one entry before the orientation, in either byte order. */
static blob with_orientation(const blob *jpeg, uint8_t orientation, bool little)
{
    static const char big[] = "\xff\xe1\x00\x2a"
                              "Exif\0\0MM\0*\0\0\0\x08\0\x02"
                              "\x01\x0f\0\x02\0\0\0\x01X\0\0\0"
                              "\x01\x12\0\x03\0\0\0\x01\0\x00\0\0";
    static const char small[] = "\xff\xe1\x00\x2a"
                                "Exif\0\0II*\0\x08\0\0\0\x02\0"
                                "\x0f\x01\x02\0\x01\0\0\0X\0\0\0"
                                "\x12\x01\x03\0\x01\0\0\0\x00\0\0\0";
    char segment[sizeof big - 1];
    memcpy(segment, little ? small : big, sizeof segment);
    segment[sizeof segment - (little ? 4 : 3)] = (char)orientation;
    return with_segment(jpeg, segment, sizeof segment);
}

/* Where EXIF says that the pixel at (y, x) of the upright picture is stored. */
static void stored_place(int orientation, int height, int width, int y, int x, int *row,
                         int *column)
{
    switch (orientation) {
    case 1:
        *row = y, *column = x;
        break;
    case 2:
        *row = y, *column = width - 1 - x;
        break;
    case 3:
        *row = height - 1 - y, *column = width - 1 - x;
        break;
    case 4:
        *row = height - 1 - y, *column = x;
        break;
    case 5:
        *row = x, *column = y;
        break;
    case 6:
        *row = height - 1 - x, *column = y;
        break;
    case 7:
        *row = height - 1 - x, *column = width - 1 - y;
        break;
    default:
        *row = x, *column = width - 1 - y;
        break;
    }
}

static void expect_turned(const clvi_image *upright, const clvi_image *stored, int orientation)
{
    const bool across = orientation >= 5;
    assert_int_equal(upright->height, across ? stored->width : stored->height);
    assert_int_equal(upright->width, across ? stored->height : stored->width);
    for (int y = 0; y < upright->height; y++)
        for (int x = 0; x < upright->width; x++)
            for (int c = 0; c < stored->channels; c++) {
                int row = 0, column = 0;
                stored_place(orientation, stored->height, stored->width, y, x, &row, &column);
                assert_int_equal(
                    upright->pixels[(y * upright->width + x) * stored->channels + c],
                    stored->pixels[(row * stored->width + column) * stored->channels + c]);
            }
}

static void test_orientations(void **state)
{
    (void)state;
    enum { W = 24, H = 17 };
    uint8_t rgb[W * H * 3];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i * 5 % 251);
    blob plain = jpeg_make(rgb, W, H, TJSAMP_444, 0);
    for (int channels = 1; channels <= 3; channels += 2) {
        clvi_image stored = decode(&plain, channels);
        for (uint8_t orientation = 0; orientation <= 9; orientation++)
            for (int little = 0; little < 2; little++) {
                blob b = with_orientation(&plain, orientation, little);
                clvi_image upright = decode(&b, channels);
                /* 0 and 9 mean nothing. */
                expect_turned(&upright, &stored, orientation % 9 == 0 ? 1 : orientation);
                clvi_image_fini(&upright);
                blob_free(&b);
            }
        clvi_image_fini(&stored);
    }
    blob_free(&plain);
}

/* Whatever EXIF claims, the picture is decoded: as it is stored where nothing sensible is said. */
static void test_damaged_exif(void **state)
{
    (void)state;
    uint8_t rgb[16 * 8 * 3] = {0};
    blob plain = jpeg_make(rgb, 16, 8, TJSAMP_444, 0), good = with_orientation(&plain, 6, false);
    for (size_t at = 6; at < 42; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            good.bytes[at] ^= (uint8_t)(1u << bit);
            const clvi_jpeg_notes notes = clvi_jpeg_read_notes(good.bytes, good.length);
            assert_in_range(notes.orientation, 1, 8);
            assert_int_equal(notes.width, 16);
            clvi_image image = decode(&good, 0);
            assert_int_equal(image.height, notes.orientation >= 5 ? 16 : 8);
            clvi_image_fini(&image);
            good.bytes[at] ^= (uint8_t)(1u << bit);
        }
    for (size_t length = 0; length < good.length; length++) { /* reads nothing behind the end */
        uint8_t *cut = malloc(length + (length == 0));
        assert_non_null(cut);
        memcpy(cut, good.bytes, length);
        const clvi_jpeg_notes notes = clvi_jpeg_read_notes(cut, length);
        assert_int_equal(notes.orientation, length < 46 ? 1 : 6);
        free(cut);
    }
    blob_free(&good);
    blob_free(&plain);
}

/* Luma four times as high as colour, which cameras do not write and TurboJPEG has no name for: two
 * halves of one colour each. */
static void test_rare_subsampling(void **state)
{
    (void)state;
    static const char bytes[] =
        "\xff\xd8\xff\xe0\x00\x10\x4a\x46\x49\x46\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xdb"
        "\x00\x43\x00\x03\x02\x02\x03\x02\x02\x03\x03\x03\x03\x04\x03\x03\x04\x05\x08\x05\x05\x04"
        "\x04\x05\x0a\x07\x07\x06\x08\x0c\x0a\x0c\x0c\x0b\x0a\x0b\x0b\x0d\x0e\x12\x10\x0d\x0e\x11"
        "\x0e\x0b\x0b\x10\x16\x10\x11\x13\x14\x15\x15\x15\x0c\x0f\x17\x18\x16\x14\x18\x12\x14\x15"
        "\x14\xff\xdb\x00\x43\x01\x03\x04\x04\x05\x04\x05\x09\x05\x05\x09\x14\x0d\x0b\x0d\x14\x14"
        "\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14"
        "\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14\x14"
        "\x14\x14\x14\x14\xff\xc0\x00\x11\x08\x00\x20\x00\x10\x03\x01\x14\x00\x02\x11\x01\x03\x11"
        "\x01\xff\xc4\x00\x16\x00\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x06\x04\xff\xc4\x00\x14\x10\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x00\x00\xff\xc4\x00\x16\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x00\x00\x06\x08\xff\xc4\x00\x1a\x11\x00\x01\x05\x01\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x00\x00\x00\x00\x13\x16\x61\x63\xa2\xe2\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11"
        "\x00\x3f\x00\xc8\x28\x04\x93\x4a\xfc\xf4\x68\x55\xe0\x9f\x14\x00\xd2\xbf\x3d\x05\xe0\xff"
        "\xd9";
    const blob b = {(uint8_t *)(uintptr_t)bytes, sizeof bytes - 1};
    clvi_image image = decode(&b, 0);
    assert_int_equal(image.height, 32);
    assert_int_equal(image.width, 16);
    for (int i = 0; i < 16 * 32; i++) {
        assert_true(abs(image.pixels[3 * i] - 200) <= 4);
        assert_true(abs(image.pixels[3 * i + 2] - (i < 16 * 16 ? 50 : 150)) <= 40);
    }
    assert_true(abs(image.pixels[2] - 50) <= 3);
    clvi_image_fini(&image);
}

/* A header that claims 60,000 x 60,000 pixels; nothing is allocated for them, also not to reduce.
 */
static void test_huge_claim(void **state)
{
    (void)state;
    uint8_t rgb[16 * 16 * 3] = {0}, out[8 * 8 * 3];
    const clvi_image_form form = {8, 8, 3, CLVI_BILINEAR, CLVI_STRETCH};
    for (int progressive = 0; progressive < 2; progressive++) {
        blob b = jpeg_make(rgb, 16, 16, TJSAMP_420, progressive ? TJFLAG_PROGRESSIVE : 0);
        size_t frame = 2;
        while (b.bytes[frame] != 0xff || b.bytes[frame + 1] != (progressive ? 0xc2 : 0xc0))
            frame++;
        memcpy(b.bytes + frame + 5, "\xea\x60\xea\x60", 4);
        clv_error error = CLV_ERROR_INIT;
        assert_int_equal(clvi_image_load(b.bytes, b.length, "p", &form, out, &error), CLV_E_DATA);
        assert_string_equal(error.message,
                            "p: 60000 x 60000 pixels are more than the 100 megapixels "
                            "(and 1000000 on a side) allowed");
        blob_free(&b);
    }
}

/* ---- Reduced decoding ---- */

/* A large picture without sharp detail; every part of it is different. */
static blob large_jpeg(int width, int height, int flags)
{
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    assert_non_null(rgb);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = rgb + ((size_t)y * (size_t)width + (size_t)x) * 3;
            const double u = (double)x / width, v = (double)y / height;
            p[0] = (uint8_t)(255 * u);
            p[1] = (uint8_t)(127 + 120 * sin(7 * u + 5 * v * v));
            p[2] = (uint8_t)(255 * v);
        }
    const blob b = jpeg_make(rgb, width, height, TJSAMP_444, flags);
    free(rgb);
    return b;
}

static void expect_near(const uint8_t *a, const uint8_t *b, size_t count, int distance)
{
    for (size_t i = 0; i < count; i++)
        if (abs(a[i] - b[i]) > distance)
            fail_msg("at %zu: %d, want %d", i, a[i], b[i]);
}

static void test_reduced_equals_full(void **state)
{
    (void)state;
    enum { W = 1331, H = 901, OUT = 30 * 24 * 3 };
    blob plain = large_jpeg(W, H, 0);
    for (uint8_t orientation = 1; orientation <= 8; orientation++)
        for (int fit = CLVI_STRETCH; fit <= CLVI_CROP; fit++)
            for (int resample = CLVI_BILINEAR; resample <= CLVI_BICUBIC; resample++) {
                const clvi_image_form form = {30, 24, 3, (clvi_resample)resample, (clvi_fit)fit};
                uint8_t got[OUT], want[OUT];
                blob b = with_orientation(&plain, orientation, false);
                clvi_image image = decode(&b, 3);
                assert_int_equal(clvi_image_fit(&image, &form, want, NULL), CLV_OK);
                load(&b, &form, got);
                expect_near(got, want, OUT, 1);
                clvi_image_fini(&image);
                blob_free(&b);
            }
    blob_free(&plain);
}

static void expect_size(const blob *b, const clvi_image_form *form, int height, int width)
{
    const clvi_encoded encoded = {b->bytes, b->length, "p"};
    clvi_image image = {0};
    assert_int_equal(clvi_jpeg_decode(&encoded, form->channels, form, &image, NULL), CLV_OK);
    assert_int_equal(image.height, height);
    assert_int_equal(image.width, width);
    clvi_image_fini(&image);
}

/* Four times the wanted size or more is left, measured along the sides of the upright picture. */
static void test_when_decoding_is_reduced(void **state)
{
    (void)state;
    blob b = large_jpeg(2400, 800, 0), turned = with_orientation(&b, 6, true);
    expect_size(&b, &(clvi_image_form){.height = 25, .width = 75, .channels = 3}, 100, 300);
    expect_size(&b, &(clvi_image_form){.height = 26, .width = 75, .channels = 1}, 200, 600);
    expect_size(&b, &(clvi_image_form){.height = 100, .width = 76, .channels = 3}, 400, 1200);
    expect_size(&b, &(clvi_image_form){.height = 101, .width = 10, .channels = 3}, 800, 2400);
    expect_size(&turned, &(clvi_image_form){.height = 75, .width = 25, .channels = 3}, 300, 100);
    expect_size(&turned, &(clvi_image_form){.height = 25, .width = 75, .channels = 3}, 1200, 400);
    /* The shorter side decides where the rest is cut off. */
    clvi_image_form crop = {.height = 25, .width = 25, .channels = 3, .fit = CLVI_CROP};
    expect_size(&b, &crop, 100, 300);
    crop.width = 100; /* the whole is brought to 33 x 100 */
    expect_size(&b, &crop, 200, 600);
    blob_free(&turned);
    blob_free(&b);
    b = large_jpeg(1000, 999, 0); /* below a megapixel */
    expect_size(&b, &(clvi_image_form){.height = 8, .width = 8, .channels = 3}, 999, 1000);
    blob_free(&b);
}

/* ---- Fitting ---- */

static double keys(double x)
{
    const double d = fabs(x);
    if (d < 1)
        return 1.5 * d * d * d - 2.5 * d * d + 1;
    return d < 2 ? -0.5 * d * d * d + 2.5 * d * d - 4 * d + 2 : 0;
}

/* The definition of the antialiased cubic, in double and in one step. */
static double cubic_at(const clvi_image *image, double scale_y, double scale_x, double y, double x)
{
    const double half_y = fmax(scale_y, 1), half_x = fmax(scale_x, 1);
    double sum = 0, weights = 0;
    for (int j = 0; j < image->height; j++)
        for (int i = 0; i < image->width; i++) {
            const double weight = keys((j + 0.5 - (y + 0.5) * scale_y) / half_y) *
                                  keys((i + 0.5 - (x + 0.5) * scale_x) / half_x);
            weights += weight;
            sum += weight * image->pixels[j * image->width + i];
        }
    return fmin(fmax(sum / weights, 0), 255);
}

static void test_bicubic_against_definition(void **state)
{
    (void)state;
    const int sizes[][4] = {
        {7, 5, 3, 2}, {7, 5, 14, 9}, {31, 33, 8, 8}, {8, 8, 31, 8}, {5, 64, 2, 63}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int h = sizes[s][0], w = sizes[s][1];
        const clvi_image_form form = {sizes[s][2], sizes[s][3], 1, CLVI_BICUBIC, CLVI_STRETCH};
        uint8_t pixels[33 * 64], out[33 * 64];
        const clvi_image image = {.pixels = pixels, .height = h, .width = w, .channels = 1};
        for (int i = 0; i < h * w; i++) /* not so steep that one pass is cut off at 0 or 255 */
            pixels[i] = (uint8_t)(64 + ((unsigned)i * 2654435761u >> 25));
        assert_int_equal(clvi_image_fit(&image, &form, out, NULL), CLV_OK);
        for (int y = 0; y < form.height; y++)
            for (int x = 0; x < form.width; x++) {
                const double want =
                    cubic_at(&image, (double)h / form.height, (double)w / form.width, y, x);
                if (!(fabs(out[y * form.width + x] - want) <= 1.3)) /* two roundings, the first
                                                                     * weighted by up to 1.6 */
                    fail_msg("size %zu at %d, %d: %d, want %g", s, y, x, out[y * form.width + x],
                             want);
            }
    }
}

/* Cutting afterwards and not computing what is cut off are the same. */
static void test_crop_is_a_part_of_the_whole(void **state)
{
    (void)state;
    /* height, width, of the form, of the whole, cut off before */
    const int cases[][8] = {{20, 50, 10, 10, 10, 25, 0, 8},  {50, 20, 10, 10, 25, 10, 8, 0},
                            {20, 50, 10, 12, 10, 25, 0, 6},  {20, 21, 10, 10, 10, 10, 0, 0},
                            {9, 30, 9, 9, 9, 30, 0, 10},     {30, 9, 8, 9, 30, 9, 11, 0},
                            {7, 40, 20, 10, 20, 114, 0, 52}, {12, 12, 5, 11, 11, 11, 3, 0}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
        for (int channels = 1; channels <= 3; channels += 2) {
            const int *c = cases[k];
            uint8_t pixels[50 * 50 * 3], whole[114 * 50 * 3], out[50 * 50 * 3];
            for (size_t i = 0; i < sizeof pixels; i++)
                pixels[i] = (uint8_t)(i * 2654435761u >> 24);
            const clvi_image image = {
                .pixels = pixels, .height = c[0], .width = c[1], .channels = channels};
            clvi_image_form form = {c[4], c[5], channels, CLVI_BICUBIC, CLVI_STRETCH};
            assert_int_equal(clvi_image_fit(&image, &form, whole, NULL), CLV_OK);
            form = (clvi_image_form){c[2], c[3], channels, CLVI_BICUBIC, CLVI_CROP};
            assert_int_equal(clvi_image_fit(&image, &form, out, NULL), CLV_OK);
            for (int y = 0; y < c[2]; y++)
                assert_memory_equal(out + y * c[3] * channels,
                                    whole + ((y + c[6]) * c[5] + c[7]) * channels,
                                    (size_t)(c[3] * channels));
        }
}

/* A strip of one pixel by many thousands asks for no memory that its parts do not need. */
static void test_crop_of_a_strip(void **state)
{
    (void)state;
    enum { LONG = 1000000 };
    uint8_t *pixels = malloc(LONG), out[64 * 64];
    assert_non_null(pixels);
    memset(pixels, 77, LONG);
    const clvi_image image = {.pixels = pixels, .height = 1, .width = LONG, .channels = 1};
    const clvi_image_form form = {64, 64, 1, CLVI_BILINEAR, CLVI_CROP};
    assert_int_equal(clvi_image_fit(&image, &form, out, NULL), CLV_OK);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], 77);
    free(pixels);
}

/* ---- Pillow ---- */

static blob read_golden(const char *name)
{
    char path[4096], *data = NULL;
    blob b = {0};
    clv_error error = CLV_ERROR_INIT;
    (void)snprintf(path, sizeof path, "%s/%s", golden, name);
    if (clvi_file_read(path, 1 << 20, &data, &b.length, &error) != CLV_OK)
        fail_msg("%s", error.message);
    b.bytes = malloc(b.length);
    assert_non_null(b.bytes);
    memcpy(b.bytes, data, b.length);
    clvi_free(data);
    return b;
}

static void test_equals_pillow(void **state)
{
    (void)state;
    static const struct {
        const char *from, *want;
        clvi_resample resample;
        clvi_fit fit;
    } cases[] = {{"photo.jpg", "photo_bilinear_stretch.png", CLVI_BILINEAR, CLVI_STRETCH},
                 {"photo.jpg", "photo_bilinear_crop.png", CLVI_BILINEAR, CLVI_CROP},
                 {"photo.jpg", "photo_bicubic_stretch.png", CLVI_BICUBIC, CLVI_STRETCH},
                 {"photo.jpg", "photo_bicubic_crop.png", CLVI_BICUBIC, CLVI_CROP},
                 {"photo_part.png", "photo_bilinear_larger.png", CLVI_BILINEAR, CLVI_STRETCH},
                 {"photo_part.png", "photo_bicubic_larger.png", CLVI_BICUBIC, CLVI_STRETCH}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob from = read_golden(cases[i].from), want = read_golden(cases[i].want);
        clvi_image image = decode(&want, 3);
        const size_t count = (size_t)image.height * (size_t)image.width * 3;
        uint8_t *out = malloc(count);
        assert_non_null(out);
        const clvi_image_form form = {image.height, image.width, 3, cases[i].resample,
                                      cases[i].fit};
        load(&from, &form, out);
        /* JPEG decoders may differ by a level; where they do not, nothing does. */
        expect_near(out, image.pixels, count, 1);
        if (strstr(cases[i].from, ".png"))
            assert_memory_equal(out, image.pixels, count);
        free(out);
        clvi_image_fini(&image);
        blob_free(&from);
        blob_free(&want);
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orientations),
        cmocka_unit_test(test_damaged_exif),
        cmocka_unit_test(test_rare_subsampling),
        cmocka_unit_test(test_huge_claim),
        cmocka_unit_test(test_reduced_equals_full),
        cmocka_unit_test(test_when_decoding_is_reduced),
        cmocka_unit_test(test_bicubic_against_definition),
        cmocka_unit_test(test_crop_is_a_part_of_the_whole),
        cmocka_unit_test(test_crop_of_a_strip),
        cmocka_unit_test(test_equals_pillow),
    };
    golden = count > 1 ? arguments[1] : "tests/golden/resize";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
