/* conclave explain as it is used: a page and pictures of what experts look at, of mixtures of every
 * kind, and everything that is commonly typed wrong. Argument: the command. Exit 77 where there is
 * no OpenCL device. */
#include "calls.h"
#include "pages.h"

#include "../unit/image_files.h"
#include "base/files.h"
#include "data/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD    "[data]\nimage_size = 16\n[train]\nepochs = 2\nbatch = 16\n"
#define FIRST   "[expert.a]\nplugin = cnn\nwidths = 4, 8\n"
#define EXPERTS FIRST "[expert.b]\nplugin = cnn\nwidths = 6\n"

static void train(const char *name, const char *config)
{
    char file[64], arguments[128];
    snprintf(file, sizeof file, "%s.ini", name);
    put(file, config);
    snprintf(arguments, sizeof arguments, "train %s --data data --quiet", file);
    expect(arguments, 0);
}

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", 12);
    draw_set("data/test", 5);
    train("pair", HEAD EXPERTS "[mixture]\nexperts = a, b\n[gate]\nplugin = linear\ngrid = 4\n");
    return 0;
}

/* A PNG that can be read, of this size. */
static void expect_picture(const char *path, int height, int width, int channels)
{
    char *bytes = NULL;
    size_t length = 0;
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_file_read(path, 1 << 24, &bytes, &length, &error) != CLV_OK ||
        clvi_image_decode(bytes, length, path, 0, &image, &error) != CLV_OK)
        fail_msg("%s", error.message);
    if (image.height != height || image.width != width || image.channels != channels)
        fail_msg("%s is %d×%d of %d", path, image.height, image.width, image.channels);
    clvi_image_fini(&image);
    clvi_free(bytes);
}

static void expect_png(const char *path, int height, int width)
{
    expect_picture(path, height, width, 3);
}

/* What the run says of a picture: "12.3 %" of its best class. */
static void best_of(const char *run, const char *picture, char *name, char *chance)
{
    char arguments[256];
    snprintf(arguments, sizeof arguments, "predict %s %s --json --quiet", run, picture);
    expect(arguments, 0);
    json_t *line = parse(call_out);
    const json_t *best = json_array_get(json_object_get(line, "predictions"), 0);
    snprintf(name, 32, "%s", word(best, "class"));
    snprintf(chance, 32, "%.1f %%", 100 * number(best, "probability"));
    json_decref(line);
}

static void test_page(void **state)
{
    (void)state;
    char name[32], chance[32], wanted[256];
    best_of("pair", "data/test/rows/1.png", name, chance);
    expect("explain pair data/test/rows/1.png data/test/disc/1.png data/test/disc/3.png --quiet "
           "-o 'why <ä>'",
           0);
    assert_string_equal(call_err, "");
    contains(call_out, "data/test/rows/1.png\n  All together: ");
    contains(call_out, "\n  a: gate 0.");
    contains(call_out, "\npage  why <ä>/explain.html\n");
    look("why <ä>/explain.html");
    has("<h2>1</h2>\n<p class=\"note\">data/test/rows/1.png</p>");
    has("<h2>1-2</h2>\n<p class=\"note\">data/test/disc/1.png</p>");
    has("<h2>3</h2>");
    snprintf(wanted, sizeof wanted, "<span>%s</span> %s</li>", name, chance);
    has(wanted);
    assert_int_equal(times("<b>All together</b>"), 3);
    assert_int_equal(times("<b>a</b> <small>gate 0."), 3);
    assert_int_equal(times("<b>b</b> <small>gate 0."), 3);
    assert_int_equal(times("<img "), 9);
    assert_int_equal(times("class=\"it\""), 9);
    assert_int_equal(times("Last map: features.1.0.conv, 8×8 with 8 channels."), 3);
    assert_int_equal(times("Last map: features.0.0.conv, 16×16 with 6 channels."), 3);
    has("conclave explain pair ");
    lacks("Feature maps");
    expect_png("why <ä>/1-a.png", 224, 224);
    expect_png("why <ä>/1-b.png", 224, 224);
    expect_png("why <ä>/1-2-b.png", 224, 224);
    expect_png("why <ä>/3.png", 224, 3 * 224 + 2 * 4);
}

static void test_class(void **state)
{
    (void)state;
    char bytes[2][1 << 16];
    expect("explain pair data/test/rows/1.png --class disc -o other", 0);
    look("other/explain.html");
    assert_int_equal(times("class=\"it\""), 3);
    const char *it = strstr(page, "class=\"it\"");
    for (; it != NULL; it = strstr(it + 1, "class=\"it\""))
        assert_memory_equal(strstr(it, "<span>"), "<span>disc</span>", 17);
    expect("explain pair data/test/rows/1.png --class checks -o again", 0);
    read_whole("other/1-a.png", bytes[0], sizeof bytes[0]);
    read_whole("again/1-a.png", bytes[1], sizeof bytes[1]);
    assert_memory_not_equal(bytes[0], bytes[1], sizeof bytes[0]);
    expect_refusal("explain pair data/test/rows/1.png --class dics -o no", 2,
                   "did you mean 'disc'?");
    expect_refusal("explain pair data/test/rows/1.png --class zzzzzz -o no", 2,
                   "its first is 'checks'");
    assert_false(exists("no"));
}

static void test_json(void **state)
{
    (void)state;
    expect("explain pair data/test/rows/1.png --class rows --feature-maps --json --quiet -o j", 0);
    assert_string_equal(call_err, "");
    json_t *line = parse(call_out);
    const json_t *experts = json_object_get(line, "experts"), *b = json_array_get(experts, 1);
    const json_t *map = json_object_get(b, "map");
    assert_int_equal(json_array_size(experts), 2);
    assert_string_equal(word(line, "path"), "data/test/rows/1.png");
    assert_string_equal(word(line, "class"), "rows");
    assert_int_equal(json_array_size(json_object_get(line, "predictions")), CLASSES);
    const double gate = number(b, "gate"), other = number(json_array_get(experts, 0), "gate");
    assert_true(gate + other > 0.999 && gate + other < 1.001);
    assert_true(json_is_true(json_object_get(b, "asked")));
    assert_true(json_is_true(json_object_get(b, "answers")));
    assert_int_equal(json_array_size(json_object_get(b, "predictions")), CLASSES);
    assert_string_equal(word(map, "name"), "features.0.0.conv");
    assert_true(number(map, "height") == 16 && number(map, "channels") == 6);
    assert_true(exists(word(line, "picture")) && exists(word(b, "picture")) &&
                exists(word(b, "maps")));
    json_decref(line);
}

static void test_maps(void **state)
{
    (void)state;
    expect("explain pair data/test/rows/1.png --feature-maps --columns 3 --tile 20 -o maps", 0);
    look("maps/explain.html");
    assert_int_equal(times("<summary>Feature maps</summary>"), 2);
    has("From the top: features.0.0.conv (16×16, 4 channels), features.1.0.conv (8×8, 8 "
        "channels). Of each");
    expect_picture("maps/1-a-maps.png", 20 + 2 + 20, 3 * 20 + 2 * 2, 1);
    expect_picture("maps/1-b-maps.png", 20, 3 * 20 + 2 * 2, 1);
    expect_refusal("explain pair data/test/rows/1.png --tile 1 -o maps", 2, "--tile");
}

/* Whether the picture at the left of a strip is made of blocks of 14×14 pixels. */
static bool blocks(const char *path)
{
    char *bytes = NULL;
    size_t length = 0, other = 0;
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_file_read(path, 1 << 24, &bytes, &length, &error) != CLV_OK ||
        clvi_image_decode(bytes, length, path, 0, &image, &error) != CLV_OK)
        fail_msg("%s", error.message);
    for (int y = 0; y < 224; y++)
        for (int x = 0; x < 224; x++) {
            const size_t at = (size_t)(y * image.width + x) * 3;
            const size_t first = (size_t)(y / 14 * 14 * image.width + x / 14 * 14) * 3;
            other += memcmp(image.pixels + at, image.pixels + first, 3) != 0;
        }
    clvi_image_fini(&image);
    clvi_free(bytes);
    return other == 0;
}

/* One expert is the run's answer. A picture with more pixels than networks see is shown in them. */
static void test_alone(void **state)
{
    (void)state;
    train("one", HEAD "[mixture]\nexperts = only\n[expert.only]\nplugin = cnn\nwidths = 4\n");
    png_put(".", "large.png", 400, 5);
    png_put(".", "small.png", 16, 5);
    expect("explain one large.png small.png -o alone", 0);
    look("alone/explain.html");
    has("<b>The answer</b>");
    has("<b>only</b>\n<p class=\"note\">Last map");
    assert_int_equal(times("class=\"it\""), 2);
    expect_png("alone/large-only.png", 224, 224);
    assert_true(blocks("alone/small.png"));
    assert_false(blocks("alone/large.png"));
}

/* Experts that were trained before and are frozen answer, whatever fuses them. */
static void test_frozen(void **state)
{
    (void)state;
#define FROZEN "plugin = cnn\nwidths = 4\ninit = runs/one\ntrainable = none\n"
    train("frozen", HEAD "[expert.x]\n" FROZEN "[expert.y]\n" FROZEN
                         "[mixture]\nexperts = x, y\ncombine = concat\n");
    expect("explain frozen data/test/disc/2.png -o frozen", 0);
    look("frozen/explain.html");
    lacks("no answer of its own");
    assert_int_equal(times("class=\"it\""), 3);
    /* It is what the expert said where it was trained. */
    char name[32], chance[32], wanted[128];
    best_of("runs/one/best.safetensors", "data/test/disc/2.png", name, chance);
    const char *x = strstr(page, "<b>x</b>");
    assert_non_null(x);
    snprintf(wanted, sizeof wanted, "<span>%s</span>", name);
    assert_non_null(strstr(x, wanted));
    assert_true(strstr(x, wanted) < strstr(x, "</li>"));
}

static void test_features(void **state)
{
    (void)state;
    train("features", HEAD EXPERTS "[mixture]\nexperts = a, b\nfusion = feature\n");
    expect("explain features data/test/disc/2.png -o features", 0);
    look("features/explain.html");
    assert_int_equal(times("It has no answer of its own: the mixture reads its features, and "
                           "nothing taught its own classifier to be one."),
                     2);
    assert_int_equal(times("class=\"it\""), 1); /* of the mixture */
    expect_png("features/2-b.png", 224, 224);
}

static void test_sparse_and_nested(void **state)
{
    (void)state;
    train("nested", HEAD FIRST "[expert.p/x]\nplugin = cnn\nwidths = 4\n"
                               "[expert.p/y]\nplugin = cnn\nwidths = 5\n"
                               "[mixture.p]\nexperts = x, y\n[gate.p]\nplugin = average\n"
                               "[mixture]\nexperts = a, p\nscores = logits\n"
                               "[gate]\nplugin = noisy_topk\nk = 1\ngrid = 4\n");
    expect("explain nested data/test -o nested", 0);
    look("nested/explain.html");
    assert_int_equal(times("<section "), 5 * CLASSES + 1);
    const int asked = times("<b>p/x</b> <small>gate 0.500, of all ");
    assert_int_equal(times("<b>a</b> <small>gate "), 5 * CLASSES - asked);
    assert_int_equal(times("Not asked by a gate: a.</p>"), asked);
    assert_int_equal(times("Not asked by a gate: p/x, p/y.</p>"), 5 * CLASSES - asked);
    assert_int_equal(exists("nested/0-p-x.png"), !exists("nested/0-a.png"));
    contains(call_out, asked > 0 ? "\n  not asked: a\n" : "\n  not asked: p/x, p/y\n");
}

static void test_goes_on(void **state)
{
    (void)state;
    file_put(".", "bad.png", "rubbish", 7);
    expect_refusal("explain pair bad.png data/test/rows/2.png none.png -o some", 1,
                   "2 of 3 pictures could not be read");
    contains(call_err, "conclave: bad.png: ");
    contains(call_err, "conclave: none.png: ");
    look("some/explain.html");
    has("<h2>2</h2>");
    lacks("<h2>bad");
    expect_refusal("explain pair bad.png -o nothing", 1, "1 of 1 pictures");
    assert_false(exists("nothing/explain.html"));
    expect_refusal("explain pair data/test/rows/2.png", 2, "give -o FOLDER");
    expect_refusal("explain pair -o some", 2, "which pictures?");
    expect_refusal("explain -o some", 2, "which run?");
    expect_refusal("explain paar data/test/rows/2.png -o some", 2, "did you mean 'pair'?");
    put("file", "no folder");
    expect_refusal("explain pair data/test/rows/2.png -o file", 1, "file");
    expect_refusal("explain pair data/test/rows/2.png -o /proc/here", 1, "/proc/here");
    expect("explain pair data/test/rows/2.png --runs runs --checkpoint last -o runs-too", 0);
}

/* No picture that was given is written over, by whatever path. */
static void test_own_pictures(void **state)
{
    (void)state;
    char before[1 << 12] = "", after[sizeof before] = "";
    png_put(".", "own/photo.png", 20, 5);
    png_put(".", "own/photo-b.png", 20, 6);
    assert_int_equal(symlink("own", "alias"), 0);
    read_whole("own/photo.png", before, sizeof before);
    expect_refusal("explain pair own/photo.png -o own --device nowhere", 2,
                   "own/photo.png is one of the pictures; take another folder with -o");
    expect_refusal("explain pair own/photo.png -o alias", 2, "alias/photo.png is one of");
    expect_refusal("explain pair own/photo-b.png own/photo.png -o own", 2, "own/photo-b.png is");
    expect_refusal("explain pair own -o ./own/../own", 2, "photo-b.png is one of the pictures");
    read_whole("own/photo.png", after, sizeof after);
    assert_memory_equal(before, after, sizeof before);
    assert_false(exists("own/photo-a.png") || exists("own/explain.html"));
    /* Feature maps only where they are drawn. */
    png_put(".", "maps-too/photo-a-maps.png", 20, 5);
    assert_int_equal(rename("own/photo.png", "photo.png"), 0);
    expect_refusal("explain pair photo.png maps-too/photo-a-maps.png --feature-maps -o maps-too", 2,
                   "maps-too/photo-a-maps.png is one");
}

/* No two files have one name. */
static void test_names(void **state)
{
    (void)state;
    png_put(".", "names/cat.png", 20, 5);
    png_put(".", "names/cat-a.png", 24, 6);
    png_put(".", "names/more/cat.png", 28, 7);
    assert_int_equal(system("cp names/more/cat.png names/cat.jpg"), 0);
    expect("explain pair names/cat.png names/cat-a.png names/more/cat.png names/cat.jpg --json "
           "--quiet -o named",
           0);
    static const char *const bases[] = {"cat", "cat-a-2", "cat-2", "cat-3"};
    char *line = strtok(call_out, "\n");
    for (size_t i = 0; i < 4; i++, line = strtok(NULL, "\n")) {
        char wanted[64];
        assert_non_null(line);
        json_t *json = parse(line);
        snprintf(wanted, sizeof wanted, "named/%s.png", bases[i]);
        assert_string_equal(word(json, "picture"), wanted);
        snprintf(wanted, sizeof wanted, "named/%s-a.png", bases[i]);
        assert_string_equal(word(json_array_get(json_object_get(json, "experts"), 0), "picture"),
                            wanted);
        json_decref(json);
    }
    assert_int_equal(system("test $(ls named | wc -l) = 13"), 0); /* 4 of each and the page */
    expect_png("named/cat-a.png", 224, 224);
    /* Of experts: a/x and a-x, and one that is called as maps are. */
    train("alike", HEAD "[expert.p/x]\nplugin = cnn\nwidths = 4\n"
                        "[expert.p-x]\nplugin = cnn\nwidths = 5\n"
                        "[expert.p-x-maps]\nplugin = cnn\nwidths = 6\n"
                        "[mixture.p]\nexperts = x\n"
                        "[mixture]\nexperts = p, p-x, p-x-maps\n[gate]\nplugin = average\n");
    expect("explain alike names/cat.png --feature-maps -o alike", 0);
    assert_int_equal(system("test $(ls alike | wc -l) = 8"), 0);
    expect_png("alike/cat-p-x-2.png", 224, 224);
    expect_png("alike/cat-p-x-maps-2.png", 224, 224);
    expect_picture("alike/cat-p-x-maps.png", 56, 8 * 56 + 7 * 2, 1);
}

/* What was compiled to explain is kept, too. */
static void test_programs(void **state)
{
    (void)state;
    char folder[4096], usual[4096], listed[2][1 << 14];
    snprintf(usual, sizeof usual, "%s", getenv("CONCLAVE_CACHE_DIR"));
    snprintf(folder, sizeof folder, "%s/programs", home);
    setenv("CONCLAVE_CACHE", "1", 1);
    setenv("CONCLAVE_CACHE_DIR", folder, 1);
    expect("predict pair data/test/rows/1.png", 0);
    assert_int_equal(system("ls -li --time-style=full-iso programs/* >listed.txt"), 0);
    read_whole("listed.txt", listed[0], sizeof listed[0]);
    for (int i = 0; i < 2; i++) {
        expect("explain pair data/test/rows/1.png -o kept", 0);
        assert_int_equal(system("ls -li --time-style=full-iso programs/* >listed.txt"), 0);
        read_whole("listed.txt", listed[1], sizeof listed[1]);
        assert_int_equal(strcmp(listed[0], listed[1]) == 0, i == 1);
        memcpy(listed[0], listed[1], sizeof listed[0]);
    }
    unsetenv("CONCLAVE_CACHE");
    setenv("CONCLAVE_CACHE_DIR", usual, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),     cmocka_unit_test(test_class),
        cmocka_unit_test(test_json),     cmocka_unit_test(test_maps),
        cmocka_unit_test(test_alone),    cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_features), cmocka_unit_test(test_sparse_and_nested),
        cmocka_unit_test(test_goes_on),  cmocka_unit_test(test_own_pictures),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_programs),
    };
    const int status = calls_begin(argc, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
