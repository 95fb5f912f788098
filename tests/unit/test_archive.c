/* core/data: archives that mean harm. Each is refused in one sentence, soon, with little memory,
 * and nothing is written anywhere. */
#define _POSIX_C_SOURCE 200809L
#include "image_files.h"

#include "base/files.h"
#include "data/dataset.h"
#include "data/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

static void refuses(const char *path, uint64_t limit, const char *words)
{
    clvi_source *source = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_source_open(path, limit, false, &source, &error), CLV_E_DATA);
    assert_null(source);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    assert_null(strchr(error.message, '\n'));
}

static void accepts(const char *path, uint64_t limit, size_t images)
{
    clvi_source *source = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_source_open(path, limit, false, &source, &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_int_equal(source->count, images);
    assert_true(source->held <= limit);
    clvi_source_close(source);
}

/* The header of a tar's entry, 512 bytes. */
static void tar_header(uint8_t *out, const char *name, unsigned long long bytes)
{
    memset(out, 0, 512);
    (void)snprintf((char *)out, 100, "%s", name);
    (void)snprintf((char *)out + 100, 8, "%07o", 0644u);
    (void)snprintf((char *)out + 124, 12, "%011llo", bytes);
    memcpy(out + 257, "ustar", 6);
    memset(out + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += out[i];
    (void)snprintf((char *)out + 148, 8, "%06o", sum);
}

/* A file of a few bytes that claims to hold gigabytes which nobody wants. */
static void test_huge_entry_that_is_no_image(void **state)
{
    (void)state;
    char *folder = folder_make(), path[4096];
    uint8_t bytes[1024];
    tar_header(bytes, "a/notes.txt", 1ull << 32);
    memset(bytes + 512, 0, 512);
    file_put(folder, "x.tar", bytes, sizeof bytes);
    (void)snprintf(path, sizeof path, "%s/x.tar", folder);
    refuses(path, 1ull << 40, "x.tar: the archive is not safe: it inflates to more than 200 times");
    folder_remove(folder);
}

/* Zeros, a thousand to one: single images, then many that are each small enough. */
static void test_images_that_inflate(void **state)
{
    (void)state;
    static const char *const names[] = {"x.tar.gz", "x.zip", "x.tar.bz2", "x.tar.xz", "x.tar.zst"};
    packed entries[6];
    char paths[6][32];
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "a/%u.png", i);
        entries[i] = (packed){.path = paths[i], .kind = 'f', .zeros = 2 * MIB};
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *folder = folder_make(), *path = archive_put(folder, names[i], entries, 6);
        refuses(path, 8 * MIB, "need more than the 8 MiB of memory that they may take; unpack it");
        accepts(path, 13 * MIB, 6);
        free(path);
        folder_remove(folder);
    }
    /* In all, 320 MiB from 300 KiB; the packed size is what sets the bound. */
    const packed large[] = {{.path = "a/1.txt", .kind = 'f', .zeros = 160 * MIB},
                            {.path = "a/2.txt", .kind = 'f', .zeros = 160 * MIB}};
    char *folder = folder_make(), *path = archive_put(folder, "x.tar.zst", large, 2);
    refuses(path, 64 * MIB, "the archive is not safe: it inflates to more than 200 times its size");
    free(path);
    folder_remove(folder);
    /* Of a zip only the images inflate: 354 MiB from 350 KiB. */
    packed images[6];
    for (unsigned i = 0; i < 6; i++)
        images[i] = (packed){.path = paths[i], .kind = 'f', .zeros = 59 * MIB};
    folder = folder_make();
    path = archive_put(folder, "x.zip", images, 6);
    refuses(path, 1ull << 40,
            "the archive is not safe: it inflates to more than 200 times its size");
    free(path);
    folder_remove(folder);
}

/* Folders and names cost memory as well. */
static void test_too_many_names(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    packed *entries = calloc(COUNT, sizeof *entries);
    char(*paths)[64] = calloc(COUNT, sizeof *paths);
    assert_non_null(entries);
    assert_non_null(paths);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "a/a_folder_with_a_long_name_%u/", i);
        entries[i] = (packed){.path = paths[i], .kind = 'd'};
    }
    char *folder = folder_make(), *path = archive_put(folder, "x.tar.gz", entries, COUNT);
    refuses(path, MIB / 2, "x.tar.gz: its images and their names need more than the 0 MiB");
    accepts(path, 4 * MIB, 0);
    free(path);
    folder_remove(folder);
    free(entries);
    free(paths);
}

/* Every ancestor of a folder is listed: names of many parts are bounded, too. */
static void test_deep_and_long_names(void **state)
{
    (void)state;
    char deep[6000] = "";
    for (size_t i = 0; i < 2000; i++)
        memcpy(deep + 2 * i, "d/", 3);
    memcpy(deep + 4000, "1.png", 6);
    packed entry = {.path = deep, .kind = 'f', .seed = 1};
    char *folder = folder_make(), *path = archive_put(folder, "x.pax.tar", &entry, 1);
    accepts(path, 16 * MIB, 1);
    refuses(path, MIB, "its images and their names need more than the 1 MiB");
    free(path);
    memset(deep, 'd', 4200);
    memcpy(deep + 4200, "/1.png", 7);
    path = archive_put(folder, "y.pax.tar", &entry, 1);
    refuses(path, 16 * MIB, "y.pax.tar: an entry whose name is longer than 4096 bytes");
    free(path);
    folder_remove(folder);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    const packed entry = {.path = "a/1.png", .kind = 'p'};
    char *folder = folder_make(), *path = archive_put(folder, "x.tar", &entry, 1);
    refuses(path, MIB, "x.tar: a/1.png: not a file");
    free(path);
    folder_remove(folder);
}

/* A method whose decoder would ask for as much memory as a header says. */
static void test_zip_methods(void **state)
{
    (void)state;
    const packed entry = {.path = "a/1.png", .kind = 'f', .seed = 1};
    char *folder = folder_make(), *path = archive_put(folder, "x.zip", &entry, 1), *bytes = NULL;
    size_t length = 0;
    accepts(path, MIB, 1);
    assert_int_equal(clvi_file_read(path, MIB, &bytes, &length, NULL), CLV_OK);
    for (size_t i = 0; i + 11 < length; i++) {
        if (memcmp(bytes + i, "PK\3\4", 4) == 0)
            bytes[i + 8] = 14; /* LZMA */
        if (memcmp(bytes + i, "PK\1\2", 4) == 0)
            bytes[i + 10] = 14;
    }
    file_put(folder, "x.zip", bytes, length);
    refuses(path, MIB, "x.zip: a/1.png: its kind of compression is not read here, ZIP 2.0 (lzma)");
    clvi_free(bytes);
    free(path);
    folder_remove(folder);
}

/* Links and names that lead out: nothing appears beside the archive, nor where they lead. */
static void test_nothing_is_written(void **state)
{
    (void)state;
    char *folder = folder_make(), inner[4096], target[4096];
    file_put(folder, "inner/", NULL, 0);
    (void)snprintf(inner, sizeof inner, "%s/inner", folder);
    (void)snprintf(target, sizeof target, "%s/outside.png", folder);
    const packed harmful[][2] = {
        {{.path = "../outside.png", .kind = 'f', .seed = 1}, {.path = "a/", .kind = 'd'}},
        {{.path = target, .kind = 'f', .seed = 1}, {.path = "a/", .kind = 'd'}},
        {{.path = "a", .kind = 'l', .target = ".."},
         {.path = "a/outside.png", .kind = 'f', .seed = 1}},
        {{.path = "a/1.png", .kind = 'l', .target = "../outside.png"}, {.path = "b/", .kind = 'd'}},
        {{.path = "a/1.png", .kind = 'h', .target = "../outside.png"},
         {.path = "b/", .kind = 'd'}}};
    static const char *const names[] = {"x.tar", "x.zip", "x.tar.gz"};
    for (size_t i = 0; i < sizeof harmful / sizeof harmful[0]; i++)
        for (size_t n = 0; n < 3; n++) {
            char *path = archive_put(inner, names[n], harmful[i], 2), **found = NULL;
            const clvi_data_options options = {.path = path, .height = 8, .width = 8};
            clvi_dataset *data = NULL;
            clv_error error = CLV_ERROR_INIT;
            assert_int_equal(clvi_dataset_open(&options, &data, &error), CLV_E_DATA);
            assert_true(error.message[0] != '\0' && !strchr(error.message, '\n'));
            size_t count = 0;
            assert_int_equal(access(target, F_OK), -1);
            assert_int_equal(clvi_dir_list(inner, &found, &count, NULL), CLV_OK);
            assert_int_equal(count, 1);
            assert_string_equal(found[0], names[n]);
            clvi_names_free(found, count);
            assert_int_equal(remove(path), 0);
            free(path);
        }
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_huge_entry_that_is_no_image),
        cmocka_unit_test(test_images_that_inflate),
        cmocka_unit_test(test_too_many_names),
        cmocka_unit_test(test_deep_and_long_names),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_zip_methods),
        cmocka_unit_test(test_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
