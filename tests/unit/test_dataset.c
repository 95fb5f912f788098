/* core/data: folders and archives as data sets, their classes and splits. */
#define _POSIX_C_SOURCE 200809L
#include "image_files.h"
#include "short_memory.h"

#include "base/process.h"
#include "data/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static clvi_data_options options_of(const char *path)
{
    return (clvi_data_options){.path = path, .height = 8, .width = 8, .workers = 1};
}

static clvi_dataset *open_with(const clvi_data_options *options)
{
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_dataset_open(options, &data, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return data;
}

static clvi_dataset *open_at(const char *path)
{
    const clvi_data_options options = options_of(path);
    return open_with(&options);
}

static void refuses_with(const clvi_data_options *options, clv_status status, const char *words)
{
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_dataset_open(options, &data, &error), status);
    assert_null(data);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    assert_null(strchr(error.message, '\n'));
}

static void refuses(const char *path, clv_status status, const char *words)
{
    const clvi_data_options options = options_of(path);
    refuses_with(&options, status, words);
}

static void expect_counts(const clvi_dataset *data, size_t train, size_t val, size_t test)
{
    assert_int_equal(clvi_dataset_count(data, CLVI_TRAIN), train);
    assert_int_equal(clvi_dataset_count(data, CLVI_VAL), val);
    assert_int_equal(clvi_dataset_count(data, CLVI_TEST), test);
}

static size_t count_label(const clvi_dataset *data, clvi_split split, uint32_t label)
{
    size_t count = 0;
    for (size_t i = 0; i < clvi_dataset_count(data, split); i++)
        count += clvi_dataset_sample(data, split, i)->label == label;
    return count;
}

static bool has_path(const clvi_dataset *data, clvi_split split, const char *path)
{
    for (size_t i = 0; i < clvi_dataset_count(data, split); i++)
        if (strcmp(clvi_dataset_sample(data, split, i)->path, path) == 0)
            return true;
    return false;
}

static void test_folder_with_three_splits(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "Train/c_10", 3, 100);
    put_class(folder, "Train/c_2", 4, 200);
    put_class(folder, "VALID/c_2", 2, 300);
    put_class(folder, "test/c_10", 1, 400);
    file_put(folder, "README.txt", "x", 1);
    file_put(folder, "Train/c_2/notes.txt", "x", 1);
    file_put(folder, "Train/c_2/.hidden.png", "x", 1);
    file_put(folder, "Train/.git/1.png", "x", 1);
    file_put(folder, "__MACOSX/c/1.png", "x", 1);
    file_put(folder, "Train/stray.png", "x", 1);
    clvi_dataset *data = open_at(folder);
    assert_int_equal(clvi_dataset_class_count(data), 2);
    assert_string_equal(clvi_dataset_class_name(data, 0), "c_2");
    assert_string_equal(clvi_dataset_class_name(data, 1), "c_10");
    expect_counts(data, 7, 2, 1);
    assert_int_equal(clvi_dataset_channels(data), 1);
    const clvi_sample *sample = clvi_dataset_sample(data, CLVI_TEST, 0);
    assert_string_equal(sample->path, "test/c_10/0.png");
    assert_int_equal(sample->label, 1);
    assert_string_equal(clvi_dataset_summary(data),
                        "2 classes; 7 train, 2 val, 1 test images of 1 channel; "
                        "1 outside of the class folders ignored");
    assert_int_equal(strlen(clvi_dataset_fingerprint(data)), 64);
    clvi_dataset_close(data);
    clvi_dataset_close(NULL);
    folder_remove(folder);
}

static void test_one_top_folder_and_given_names(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "dhcd/Learn/a", 2, 100);
    put_class(folder, "dhcd/Learn/b", 2, 200);
    put_class(folder, "dhcd/Judge/a", 2, 300);
    clvi_data_options options = options_of(folder);
    options.split_folder[CLVI_TRAIN] = "learn";
    options.split_folder[CLVI_TEST] = "Judge";
    clvi_dataset *data = open_with(&options);
    expect_counts(data, 4, 0, 2);
    assert_true(has_path(data, CLVI_TRAIN, "Learn/a/0.png"));
    clvi_dataset_close(data);
    options.split_folder[CLVI_VAL] = "check";
    refuses_with(&options, CLV_E_DATA,
                 "no val folder: looked for \"check\" (any case) at the top "
                 "and below one top folder, found Judge, Learn");
    options.split_folder[CLVI_VAL] = "judge";
    refuses_with(&options, CLV_E_CONFIG, "gives the folder Judge to both val and test");
    folder_remove(folder);
}

static void test_bare_classes_are_train(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "top/a/deep/er", 10, 100);
    put_class(folder, "top/train", 20, 200); /* holds images, so it is a class */
    clvi_data_options options = options_of(folder);
    options.val_fraction = 0.1;
    clvi_dataset *data = open_with(&options);
    expect_counts(data, 27, 3, 0);
    assert_int_equal(count_label(data, CLVI_VAL, 0), 1);
    assert_int_equal(count_label(data, CLVI_VAL, 1), 2);
    assert_string_equal(clvi_dataset_class_name(data, 1), "train");
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_missing_and_wrong_layouts(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/none", folder);
    refuses(path, CLV_E_IO, "none: cannot be opened: No such file or directory");
    refuses(folder, CLV_E_DATA, "needs two or more class folders");
    put_class(folder, "a/Test/x", 1, 1);
    put_class(folder, "a/Test/y", 1, 2);
    refuses(folder, CLV_E_DATA,
            "no train folder: looked for \"train\" (any case) at the top and below one top folder, "
            "found Test");
    put_class(folder, "a/train/x", 1, 3);
    refuses(folder, CLV_E_DATA, "the train folder train needs two or more class folders, has 1");
    file_put(folder, "a/train/y/", NULL, 0);
    (void)snprintf(path, sizeof path, "%s/a/train/y: this class folder holds no PNG", folder);
    refuses(folder, CLV_E_DATA, path);
    put_class(folder, "a/train/y", 1, 4);
    clvi_dataset_close(open_at(folder));
    put_class(folder, "a/Test/z", 1, 5);
    refuses(folder, CLV_E_DATA, "a/Test/z: a class that the train folder train does not have");
    put_class(folder, "a/train/z", 1, 6);
    put_class(folder, "a/val/x", 1, 7);
    put_class(folder, "a/validation/x", 1, 8);
    refuses(folder, CLV_E_CONFIG, "both val and validation could be the val folder");
    folder_remove(folder);

    folder = folder_make();
    put_class(folder, "train", 2, 1);
    put_class(folder, "test", 2, 10);
    refuses(folder, CLV_E_DATA, "found test, train, which hold no class folders");
    folder_remove(folder);
}

static void test_wrong_options(void **state)
{
    (void)state;
    clvi_data_options options = options_of("");
    refuses_with(&options, CLV_E_CONFIG, "path is empty");
    options = options_of("x");
    options.val_fraction = 1.0;
    refuses_with(&options, CLV_E_CONFIG, "val_fraction is 1");
    options = options_of("x");
    options.channels = 2;
    refuses_with(&options, CLV_E_CONFIG, "channels is 2");
    options = options_of("x");
    options.height = 0;
    refuses_with(&options, CLV_E_CONFIG, "image size is 0 x 8");
    options = options_of("x");
    options.limit_per_class = -1;
    refuses_with(&options, CLV_E_CONFIG, "limit_per_class is -1");
}

static void test_validation_is_stratified_and_repeatable(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "a", 40, 1000);
    put_class(folder, "b", 10, 2000);
    put_class(folder, "c", 2, 3000);
    put_class(folder, "d", 1, 4000);
    clvi_data_options options = options_of(folder);
    options.val_fraction = 0.2;
    clvi_dataset *first = open_with(&options), *again = open_with(&options);
    const size_t want[] = {8, 2, 1, 0};
    for (uint32_t k = 0; k < 4; k++)
        assert_int_equal(count_label(first, CLVI_VAL, k), want[k]);
    expect_counts(first, 42, 11, 0);
    assert_string_equal(clvi_dataset_fingerprint(first), clvi_dataset_fingerprint(again));
    bool first_ones = true;
    for (size_t i = 0; i < 11; i++) {
        const clvi_sample *sample = clvi_dataset_sample(first, CLVI_VAL, i);
        assert_string_equal(sample->path, clvi_dataset_sample(again, CLVI_VAL, i)->path);
        assert_false(has_path(first, CLVI_TRAIN, sample->path));
        first_ones = first_ones && (i >= 8 || sample->id == i);
    }
    assert_false(first_ones);
    clvi_dataset_close(again);
    options.split_seed = 1;
    again = open_with(&options);
    assert_string_not_equal(clvi_dataset_fingerprint(first), clvi_dataset_fingerprint(again));
    clvi_dataset_close(again);
    /* The limit counts what validation left, and is drawn as well. */
    options.split_seed = 0;
    options.limit_per_class = 5;
    again = open_with(&options);
    expect_counts(again, 5 + 5 + 1 + 1, 11, 0);
    for (size_t i = 0; i < 11; i++)
        assert_string_equal(clvi_dataset_sample(first, CLVI_VAL, i)->path,
                            clvi_dataset_sample(again, CLVI_VAL, i)->path);
    uint32_t last = 0;
    for (size_t i = 0; i < 5; i++)
        last = clvi_dataset_sample(again, CLVI_TRAIN, i)->id;
    assert_true(last > 12); /* not simply the first ones */
    assert_non_null(strstr(clvi_dataset_summary(again), "30 left out by limit_per_class"));
    clvi_dataset_close(again);
    clvi_dataset_close(first);
    folder_remove(folder);
}

static void test_ids_are_places_in_the_sorted_list(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "test/a", 2, 100);
    put_class(folder, "train/a", 12, 200);
    put_class(folder, "train/b", 1, 300);
    clvi_dataset *data = open_at(folder);
    assert_int_equal(clvi_dataset_sample(data, CLVI_TEST, 1)->id, 1);
    for (uint32_t i = 0; i < 12; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "train/a/%u.png", i);
        assert_string_equal(clvi_dataset_sample(data, CLVI_TRAIN, i)->path, path);
        assert_int_equal(clvi_dataset_sample(data, CLVI_TRAIN, i)->id, 2 + i);
    }
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_identical_images_across_folders(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "train/a", 5, 100); /* 100 … 104 */
    put_class(folder, "train/b", 5, 200);
    put_class(folder, "val/a", 2, 103);  /* 103, 104: dropped from train */
    put_class(folder, "val/b", 2, 300);  /* 300, 301 */
    put_class(folder, "test/a", 1, 100); /* dropped from train */
    put_class(folder, "test/b", 1, 301); /* dropped from val */
    clvi_dataset *data = open_at(folder);
    expect_counts(data, 7, 3, 2);
    assert_false(has_path(data, CLVI_TRAIN, "train/a/0.png"));
    assert_false(has_path(data, CLVI_TRAIN, "train/a/3.png"));
    assert_true(has_path(data, CLVI_TRAIN, "train/a/1.png"));
    assert_false(has_path(data, CLVI_VAL, "val/b/1.png"));
    assert_non_null(strstr(clvi_dataset_summary(data), "; 2 dropped that stand in test as well; "
                                                       "2 dropped that stand in val as well"));
    clvi_dataset_close(data);
    clvi_data_options options = options_of(folder);
    options.keep_duplicates = true;
    data = open_with(&options);
    expect_counts(data, 10, 4, 2);
    clvi_dataset_close(data);
    put_class(folder, "test/b", 5, 200);
    refuses(folder, CLV_E_DATA, "every training image of class b stands in val or test as well");
    folder_remove(folder);
}

/* 12 images in 4 groups of three: each group stays on one side, whatever the seed. */
static void test_identical_images_stay_on_one_side(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[64];
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(path, sizeof path, "a/%u.png", i);
        png_put(folder, path, 8, i % 4);
        (void)snprintf(path, sizeof path, "b/%u.png", i);
        png_put(folder, path, 8, i < 1 ? 3 : 500 + i); /* one equals some of a */
    }
    for (unsigned seed = 0; seed < 20; seed++) {
        clvi_data_options options = options_of(folder);
        options.val_fraction = 0.4;
        options.split_seed = seed;
        clvi_dataset *data = open_with(&options);
        assert_int_equal(count_label(data, CLVI_VAL, 0), 3); /* 5 are wanted: one whole group */
        unsigned groups = 0;
        for (size_t i = 0; i < clvi_dataset_count(data, CLVI_VAL); i++) {
            const clvi_sample *sample = clvi_dataset_sample(data, CLVI_VAL, i);
            const unsigned number = (unsigned)strtoul(sample->path + 2, NULL, 10);
            if (sample->label == 0)
                groups |= 1u << number % 4;
            else
                assert_true(number >= 1); /* what both classes have stays in train */
        }
        assert_true(groups == 1 || groups == 2 || groups == 4);
        assert_int_equal(count_label(data, CLVI_VAL, 1), 5);
        clvi_dataset_close(data);
    }
    folder_remove(folder);
}

static const packed good[] = {
    {.path = "./top/", .kind = 'd'},
    {.path = "./top/Train/b/1.png", .kind = 'f', .seed = 1},
    {.path = "./top/Train/a/10.png", .kind = 'f', .seed = 2},
    {.path = "./top/Train/a/9.PNG", .kind = 'f', .seed = 3},
    {.path = "./top/Train/a/notes.txt", .kind = 'f', .data = "text"},
    {.path = "./top/Test/a/1.png", .kind = 'f', .seed = 4},
    {.path = "./top/Test/\xe0\xa4\x95/", .kind = 'd'},
    {.path = "./top/Test/\xe0\xa4\x95/1.png", .kind = 'f', .seed = 5},
    {.path = "./top/Train/\xe0\xa4\x95/1.png", .kind = 'f', .seed = 6},
    {.path = "__MACOSX/._x.png", .kind = 'f', .data = "x"},
    {.path = "top/link.txt", .kind = 'l', .target = "Train"},
};

static void test_archives_equal_folder(void **state)
{
    (void)state;
    const char *const names[] = {"x.tar",     "x.tar.gz", "x.zip",    "x.pax.tar",
                                 "x.tar.bz2", "x.tar.xz", "x.tar.zst"};
    char *folder = folder_make(), *plain = folder_make(), print[65];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (good[i].kind == 'f' && !good[i].data)
            png_put(plain, good[i].path, 8, good[i].seed);
    clvi_dataset *data = open_at(plain);
    (void)snprintf(print, sizeof print, "%s", clvi_dataset_fingerprint(data));
    clvi_dataset_close(data);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = archive_put(folder, names[i], good, sizeof good / sizeof good[0]);
        data = open_at(path);
        assert_int_equal(clvi_dataset_class_count(data), 3);
        assert_string_equal(clvi_dataset_class_name(data, 2), "\xe0\xa4\x95");
        expect_counts(data, 4, 0, 2);
        assert_string_equal(clvi_dataset_sample(data, CLVI_TRAIN, 0)->path, "Train/a/9.PNG");
        assert_string_equal(clvi_dataset_sample(data, CLVI_TRAIN, 1)->path, "Train/a/10.png");
        assert_string_equal(clvi_dataset_fingerprint(data), print);
        clvi_dataset_close(data);
        free(path);
    }
    folder_remove(folder);
    folder_remove(plain);
}

static void refuses_archive(const char *name, const packed *last, clv_status status,
                            const char *words)
{
    packed entries[3] = {{.path = "a/1.png", .kind = 'f', .seed = 1},
                         {.path = "b/1.png", .kind = 'f', .seed = 2},
                         *last};
    char *folder = folder_make(), *path = archive_put(folder, name, entries, 3);
    refuses(path, status, words);
    free(path);
    folder_remove(folder);
}

static void test_unsafe_archives(void **state)
{
    (void)state;
    static const char *const names[] = {"../x.png", "a/../../x.txt", "/etc/x.png", "./a/.."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const packed entry = {.path = names[i], .kind = 'f', .seed = 1};
        refuses_archive("x.tar", &entry, CLV_E_DATA, "the archive is not safe");
        refuses_archive("x.zip", &entry, CLV_E_DATA, "the archive is not safe");
    }
    packed entry = {.path = "a/2.png", .kind = 'l', .target = "1.png"};
    refuses_archive("x.tar", &entry, CLV_E_DATA, "a/2.png: a link; pack");
    entry.kind = 'h';
    entry.target = "a/1.png";
    refuses_archive("x.tar.gz", &entry, CLV_E_DATA, "a/2.png: a link; pack");
    entry = (packed){.path = "a/1.png", .kind = 'f', .seed = 3};
    refuses_archive("x.tar", &entry, CLV_E_DATA, "x.tar: a/1.png: stands in the archive twice");
    entry = (packed){.path = "c/", .kind = 'd'};
    refuses_archive("x.zip", &entry, CLV_E_DATA, "x.zip: c: this class folder holds no PNG");
}

static void test_damaged_archives(void **state)
{
    (void)state;
    char *folder = folder_make();
    char cut[4096];
    static uint8_t bytes[1 << 16];
    file_put(folder, "text.tar", "this is no archive at all", 25);
    (void)snprintf(cut, sizeof cut, "%s/text.tar", folder);
    refuses(cut, CLV_E_DATA, "text.tar: ");
    file_put(folder, "empty.zip", "", 0);
    (void)snprintf(cut, sizeof cut, "%s/empty.zip", folder);
    refuses(cut, CLV_E_DATA, "empty.zip: ");
    static const char *const names[] = {"x.tar", "x.tar.gz", "x.zip"};
    for (size_t i = 0; i < 3; i++) {
        char *path = archive_put(folder, names[i], good, sizeof good / sizeof good[0]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        const size_t length = fread(bytes, 1, sizeof bytes, file);
        (void)fclose(file);
        file_put(folder, names[i], bytes, i == 0 ? 1100 : length / 2);
        refuses(path, CLV_E_DATA, ": ");
        free(path);
    }
    folder_remove(folder);
}

static void test_files_above_the_limit(void **state)
{
    (void)state;
    const packed entry = {.path = "a/2.png", .kind = 'f', .zeros = ((size_t)64 << 20) + 1};
    refuses_archive("x.tar.gz", &entry, CLV_E_DATA, "x.tar.gz: a/2.png: larger than 64 MiB");
    char *folder = folder_make(), path[4096];
    put_class(folder, "a", 2, 1);
    put_class(folder, "b", 2, 10);
    for (int i = 0; i < 2; i++) { /* two of one size, so that they are compared */
        (void)snprintf(path, sizeof path, "%s/a/%d.png", folder, i);
        assert_int_equal(truncate(path, ((off_t)64 << 20) + 1), 0);
    }
    refuses(folder, CLV_E_DATA, "/a/0.png: larger than 64 MiB");
    clvi_data_options options = options_of(folder);
    options.skip_bad = true; /* then the loader leaves them out */
    clvi_dataset *data = open_with(&options);
    expect_counts(data, 4, 0, 0);
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_links_in_folders(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[4096];
    put_class(folder, "a", 2, 1);
    put_class(folder, "elsewhere/b", 2, 10);
    (void)snprintf(path, sizeof path, "%s/a/b", folder);
    assert_int_equal(symlink("../elsewhere/b", path), 0);
    clvi_dataset *data = open_at(folder);
    assert_int_equal(count_label(data, CLVI_TRAIN, 0), 4);
    clvi_dataset_close(data);
    (void)snprintf(path, sizeof path, "%s/elsewhere/loop", folder);
    assert_int_equal(symlink("..", path), 0);
    refuses(folder, CLV_E_DATA, "elsewhere/loop: a link back to a folder above it");
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/elsewhere/gone.png", folder);
    assert_int_equal(symlink("nowhere.png", path), 0);
    refuses(folder, CLV_E_IO, "elsewhere/gone.png: cannot be opened: No such file");
    (void)snprintf(path, sizeof path, "%s/a/round.jpg", folder);
    assert_int_equal(symlink("round.jpg", path), 0);
    clvi_data_options options = options_of(folder);
    options.skip_bad = true; /* then the loader leaves them out */
    data = open_with(&options);
    expect_counts(data, 8, 0, 0);
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_channels_of_most(void **state)
{
    (void)state;
    char *folder = folder_make();
    blob b = png_numbered(8, 3, 1);
    put_class(folder, "a", 2, 1);
    put_class(folder, "b", 1, 10);
    file_put(folder, "b/c1.png", b.bytes, b.length);
    file_put(folder, "b/c2.png", b.bytes, b.length);
    file_put(folder, "b/broken.png", b.bytes, 4);
    clvi_dataset *data = open_at(folder);
    assert_int_equal(clvi_dataset_channels(data), 1);
    clvi_dataset_close(data);
    file_put(folder, "b/c3.png", b.bytes, b.length);
    data = open_at(folder);
    assert_int_equal(clvi_dataset_channels(data), 3);
    clvi_dataset_close(data);
    clvi_data_options options = options_of(folder);
    options.channels = 1;
    data = open_with(&options);
    assert_int_equal(clvi_dataset_channels(data), 1);
    clvi_dataset_close(data);
    blob_free(&b);
    folder_remove(folder);
}

static clv_status open_and_close(void *options, clv_error *error)
{
    clvi_dataset *data = NULL;
    const clv_status status = clvi_dataset_open(options, &data, error);
    clvi_dataset_close(data);
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    char *folder = folder_make();
    char *archive = archive_put(folder, "x.tar", good, sizeof good / sizeof good[0]);
    put_class(folder, "t/a", 2, 1);
    put_class(folder, "t/b", 2, 10);
    char tree[4096];
    (void)snprintf(tree, sizeof tree, "%s/t", folder);
    for (int which = 0; which < 2; which++) {
        clvi_data_options options = options_of(which == 0 ? archive : tree);
        options.val_fraction = 0.5;
        fail_each_allocation(open_and_close, &options);
    }
    free(archive);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_with_three_splits),
        cmocka_unit_test(test_one_top_folder_and_given_names),
        cmocka_unit_test(test_bare_classes_are_train),
        cmocka_unit_test(test_missing_and_wrong_layouts),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_validation_is_stratified_and_repeatable),
        cmocka_unit_test(test_ids_are_places_in_the_sorted_list),
        cmocka_unit_test(test_identical_images_across_folders),
        cmocka_unit_test(test_identical_images_stay_on_one_side),
        cmocka_unit_test(test_archives_equal_folder),
        cmocka_unit_test(test_unsafe_archives),
        cmocka_unit_test(test_damaged_archives),
        cmocka_unit_test(test_files_above_the_limit),
        cmocka_unit_test(test_links_in_folders),
        cmocka_unit_test(test_channels_of_most),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
