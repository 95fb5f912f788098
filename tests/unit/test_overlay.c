/* core/report/overlay.c and explain_page.c: heat over a picture, sheets of feature maps, pictures
 * side by side, and the page that shows them. */
#include "report/explain_page.h"
#include "report/overlay.h"
#include "short_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void good(clv_status status)
{
    assert_int_equal(status, CLV_OK);
}

/* Of white, all of it is the fullest colour: 0.2·255 + 0.8·(255, 240, 120). */
static void test_fullest(void **state)
{
    (void)state;
    uint8_t white[3] = {255, 255, 255}, grey = 255;
    const float heat = 0.01f, none = 0;
    const uint8_t wanted[3] = {255, 243, 147};
    const clvi_image colour = {.pixels = white, .height = 1, .width = 1, .channels = 3};
    const clvi_image plain = {.pixels = &grey, .height = 1, .width = 1, .channels = 1};
    clvi_image out;
    good(clvi_overlay_heat(&colour, &heat, 1, 1, &out, NULL));
    assert_memory_equal(out.pixels, wanted, 3);
    clvi_image_fini(&out);
    good(clvi_overlay_heat(&plain, &heat, 1, 1, &out, NULL));
    assert_memory_equal(out.pixels, wanted, 3);
    clvi_image_fini(&out);
    good(clvi_overlay_heat(&colour, &none, 1, 1, &out, NULL));
    assert_memory_equal(out.pixels, white, 3);
    clvi_image_fini(&out);
}

/* Without heat a colour is half grey: of red 255, luma 76.245, so (165.6, 38.1, 38.1). */
static void test_paled(void **state)
{
    (void)state;
    uint8_t red[3] = {255, 0, 0};
    const uint8_t wanted[3] = {166, 38, 38};
    const clvi_image picture = {.pixels = red, .height = 1, .width = 1, .channels = 3};
    clvi_image out;
    good(clvi_overlay_heat(&picture, NULL, 0, 0, &out, NULL));
    assert_memory_equal(out.pixels, wanted, 3);
    clvi_image_fini(&out);
}

/* Two places side by side over eight black columns: a quarter of the way in from the left edge is
 * the first place's centre. The scale of the heat does not matter. */
static void test_between(void **state)
{
    (void)state;
    enum { WIDE = 8 };
    uint8_t black[WIDE] = {0};
    const float heat[2] = {0, 3}, more[2] = {0, 6}, turned[2] = {3, 0};
    const clvi_image picture = {.pixels = black, .height = 1, .width = WIDE, .channels = 1};
    clvi_image out, again, back;
    good(clvi_overlay_heat(&picture, heat, 1, 2, &out, NULL));
    good(clvi_overlay_heat(&picture, more, 1, 2, &again, NULL));
    good(clvi_overlay_heat(&picture, turned, 1, 2, &back, NULL));
    assert_memory_equal(out.pixels, again.pixels, WIDE * 3);
    for (int x = 0; x < WIDE; x++) {
        assert_memory_equal(out.pixels + 3 * x, back.pixels + 3 * (WIDE - 1 - x), 3);
        if (x < 2) /* before the centre it is the first place's: nothing */
            assert_int_equal(out.pixels[3 * x], 0);
        else if (x < 6)
            assert_true(out.pixels[3 * x] > out.pixels[3 * x - 3]);
    }
    assert_int_equal(out.pixels[3 * 7], 204); /* 0.8·255 */
    /* Half way between (40, 20, 120) … in four steps, at 3/8: 0.8·√0.375·(187.5, 42.5, 102.5) */
    assert_int_equal(out.pixels[3 * 3], 92);
    assert_int_equal(out.pixels[3 * 3 + 1], 21);
    assert_int_equal(out.pixels[3 * 3 + 2], 50);
    clvi_image_fini(&out);
    clvi_image_fini(&again);
    clvi_image_fini(&back);
}

static int at(const clvi_image *image, int y, int x)
{
    return image->pixels[(y * image->width + x) * image->channels];
}

/* Two maps: 2×2 with three channels, of which the second varies most and the first not at all; and
 * 4×2, drawn smaller than it is. */
static void test_sheet(void **state)
{
    (void)state;
    static const float small[] = {7, 0, 1, 7, 10, 1, 7, 10, 1, 7, 5, 2};
    static const float large[] = {0, 0, 4, 4, 1, 1, 3, 3};
    const clvi_overlay_maps maps[] = {{small, 2, 2, 3}, {large, 4, 2, 1}};
    clvi_image out;
    good(clvi_overlay_sheet(maps, 1, 3, 4, &out, NULL));
    assert_true(out.height == 4 && out.width == 3 * 4 + 2 * 2 && out.channels == 1);
    assert_int_equal(at(&out, 0, 0), 0);
    assert_int_equal(at(&out, 1, 1), 0);
    assert_int_equal(at(&out, 0, 2), 255);
    assert_int_equal(at(&out, 3, 3), 128);
    assert_int_equal(at(&out, 0, 4), 255); /* between the tiles */
    assert_int_equal(at(&out, 0, 6), 0);   /* the third channel: 1, 1, 1, 2 */
    assert_int_equal(at(&out, 3, 9), 255);
    assert_int_equal(at(&out, 3, 15), 0); /* the first: all the same */
    clvi_image_fini(&out);

    good(clvi_overlay_sheet(maps, 2, 1, 2, &out, NULL));
    assert_true(out.height == 2 + 2 + 2 && out.width == 2);
    assert_int_equal(at(&out, 4, 0), 128); /* the mean of 0 and 4 of 4 */
    assert_int_equal(at(&out, 5, 0), 128); /* of 1 and 3 */
    assert_int_equal(at(&out, 4, 1), 255); /* 4×2: a tile is as tall as it may be, and narrower */
    clvi_image_fini(&out);
}

static void test_strip(void **state)
{
    (void)state;
    uint8_t dark[2 * 1 * 3] = {0}, light[2 * 2 * 3];
    memset(light, 9, sizeof light);
    const clvi_image row[] = {{.pixels = dark, .height = 2, .width = 1, .channels = 3},
                              {.pixels = light, .height = 2, .width = 2, .channels = 3}};
    clvi_image out;
    good(clvi_overlay_strip(row, 2, 3, &out, NULL));
    assert_true(out.height == 2 && out.width == 6);
    for (int y = 0; y < 2; y++) {
        assert_int_equal(at(&out, y, 0), 0);
        assert_int_equal(at(&out, y, 1), 255);
        assert_int_equal(at(&out, y, 3), 255);
        assert_int_equal(at(&out, y, 4), 9);
        assert_int_equal(at(&out, y, 5), 9);
    }
    clvi_image_fini(&out);
}

/* ---- The page ---- */

static clv_status write_page(void *context, clv_error *error)
{
    clvi_text *out = context;
    static const uint8_t bytes[] = "PNG";
    const clvi_page_picture picture = {bytes, 3, 30, 20, false}, sheet = {bytes, 3, 4, 10, true};
    const clvi_chance chances[] = {{"<daisy>", 0.75, true}, {"tulips", 0.25, false}};
    const clvi_explained_card cards[] = {
        {.title = "all", .chances = chances, .chance_count = 2, .picture = picture},
        {.title = "a & b",
         .weight = "gate 0.500",
         .note = "a note",
         .picture = {bytes, 3, 0, 0, false},
         .maps = sheet,
         .maps_note = "of maps"},
        {.title = "c", .absent = true},
        {.title = "d/e", .absent = true}};
    clvi_page page;
    clvi_page_begin(&page, "run", "conclave explain");
    clvi_explain_page_begin(&page, "run");
    clvi_text_fini(out);
    clvi_explain_page_add(&page, "photo", "folder/photo.jpg", cards, 4);
    const clv_status status = clvi_page_finish(&page, out, error);
    clvi_page_fini(&page);
    if (status != CLV_OK)
        clvi_text_fini(out);
    return status;
}

/* Of a page that is written when nothing fails, the text is freed here and now. */
static clv_status write_in_vain(void *context, clv_error *error)
{
    const clv_status status = write_page(context, error);
    clvi_text_fini(context);
    return status;
}

static void test_page(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "<h2>photo</h2>\n<p class=\"note\">folder/photo.jpg</p>",
        "<img width=\"20\" height=\"30\" alt=\"all\" src=\"data:image/png;base64,UE5H\"/>",
        "<img alt=\"a &amp; b\" src=\"data:image/png;base64,UE5H\"/>",
        "<b>all</b>\n<ol class=\"chances\"><li class=\"it\" ",
        "<li class=\"it\" style=\"--p:75.0%\"><span>&lt;daisy&gt;</span> 75.0 %</li>",
        "75.0 %</li><li style=\"--p:25.0%\"><span>tulips</span> 25.0 %</li></ol>",
        "<b>a &amp; b</b> <small>gate 0.500</small>\n<p class=\"note\">a note</p>",
        "<summary>Feature maps</summary>\n<img class=\"tiny\" width=\"10\" height=\"4\"",
        "<p class=\"note\">of maps</p>",
        "<p class=\"note\">Not asked by a gate: c, d/e.</p>"};
    clvi_text out = {0};
    good(write_page(&out, NULL));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(clvi_text_get(&out), parts[i]) == NULL)
            fail_msg("\"%s\" is not in the page", parts[i]);
    assert_null(strstr(clvi_text_get(&out), "<b>c</b>"));
    clvi_text_fini(&out);
    fail_each_allocation(write_in_vain, &out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fullest), cmocka_unit_test(test_paled),
        cmocka_unit_test(test_between), cmocka_unit_test(test_sheet),
        cmocka_unit_test(test_strip),   cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
