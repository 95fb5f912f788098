/* core/data: batches from loader threads: order, restarts, broken images, the pixel cache. */
#define _POSIX_C_SOURCE 200809L
#include "image_files.h"

#include "base/process.h"
#include "data/dataset.h"
#include "data/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <time.h>

#include <cmocka.h>

enum { IMAGES = 101, SIDE = 8, BYTES = SIDE * SIDE };

typedef struct fixture {
    char *folder;
    uint8_t pixels[IMAGES][BYTES]; /* by index within train */
} fixture;

static fixture made;

/* IMAGES distinct pictures in two classes: indices 0..49 are class 0, the others class 1. */
static int make_files(void **state)
{
    (void)state;
    made.folder = folder_make();
    for (unsigned i = 0; i < IMAGES; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "train/%c/%u.png", i < 50 ? 'a' : 'b', i);
        blob b = png_numbered(SIDE, 1, i);
        clvi_image image = {0};
        if (clvi_image_decode(b.bytes, b.length, path, 1, &image, NULL) != CLV_OK)
            return -1;
        memcpy(made.pixels[i], image.pixels, BYTES);
        clvi_image_fini(&image);
        file_put(made.folder, path, b.bytes, b.length);
        blob_free(&b);
    }
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    folder_remove(made.folder);
    return 0;
}

static clvi_dataset *open_with(int workers, bool no_cache, bool skip_bad)
{
    const clvi_data_options options = {.path = made.folder,
                                       .height = SIDE,
                                       .width = SIDE,
                                       .workers = workers,
                                       .no_cache = no_cache,
                                       .skip_bad = skip_bad};
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_dataset_open(&options, &data, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return data;
}

static clvi_loader *load(clvi_dataset *data, size_t batch)
{
    clvi_loader *loader = NULL;
    assert_int_equal(clvi_loader_create(data, CLVI_TRAIN, batch, &loader, NULL), CLV_OK);
    return loader;
}

static void start(clvi_loader *loader, const uint32_t *order, size_t count)
{
    assert_int_equal(clvi_loader_start(loader, order, count, NULL), CLV_OK);
}

static clvi_batch next(clvi_loader *loader)
{
    clvi_batch batch = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_loader_next(loader, &batch, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return batch;
}

static void shuffled(uint32_t *order, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)((i * 37 + seed) % IMAGES);
}

/* The batch holds exactly order[0..count). */
static void expect_batch(const clvi_batch *batch, const uint32_t *order, size_t count)
{
    assert_int_equal(batch->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(batch->indices[i], order[i]);
        assert_int_equal(batch->ids[i] % IMAGES, order[i]);
        assert_int_equal(batch->labels[i], order[i] >= 50);
        assert_memory_equal(batch->pixels + i * BYTES, made.pixels[order[i]], BYTES);
    }
}

/* How often the image at `at` of the order stands before it. */
static uint32_t repeats(const uint32_t *order, size_t at)
{
    uint32_t count = 0;
    for (size_t i = 0; i < at; i++)
        count += order[i] == order[at];
    return count;
}

static void expect_pass(clvi_loader *loader, const uint32_t *order, size_t count, size_t size)
{
    for (size_t at = 0; at < count; at += size) {
        const clvi_batch batch = next(loader);
        expect_batch(&batch, order + at, count - at < size ? count - at : size);
        for (size_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.ids[i] / IMAGES, repeats(order, at + i));
    }
    for (int i = 0; i < 3; i++) { /* the end stays the end */
        const clvi_batch batch = next(loader);
        assert_int_equal(batch.count, 0);
    }
}

static void test_order_for_any_workers_and_batch(void **state)
{
    (void)state;
    uint32_t order[250];
    for (int workers = 1; workers <= 5; workers += 2)
        for (int no_cache = 0; no_cache < 2; no_cache++) {
            clvi_dataset *data = open_with(workers, no_cache, false);
            const size_t sizes[] = {1, 7, 64, 101, 300};
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                clvi_loader *loader = load(data, sizes[s]);
                for (unsigned pass = 0; pass < 3; pass++) {
                    shuffled(order, 250, pass); /* some images more than once */
                    start(loader, order, 250);
                    expect_pass(loader, order, 250, sizes[s]);
                }
                start(loader, order, 0);
                expect_pass(loader, order, 0, sizes[s]);
                clvi_loader_destroy(loader);
            }
            clvi_dataset_close(data);
        }
}

static void test_nothing_before_start(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(2, false, false);
    clvi_loader *loader = load(data, 4);
    assert_int_equal(next(loader).count, 0);
    clvi_loader_destroy(loader);
    clvi_loader_destroy(NULL);
    /* train only: an empty split has nothing to load */
    assert_int_equal(clvi_loader_create(data, CLVI_TEST, 4, &loader, NULL), CLV_OK);
    start(loader, NULL, 0);
    assert_int_equal(next(loader).count, 0);
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

static void test_restart_and_destroy_in_a_pass(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(3, true, false);
    uint32_t order[IMAGES];
    for (unsigned round = 0; round < 30; round++) {
        clvi_loader *loader = load(data, 5);
        for (unsigned taken = 0; taken < 6; taken++) {
            shuffled(order, IMAGES, round + taken);
            start(loader, order, IMAGES);
            for (unsigned i = 0; i < taken * round % 7; i++) {
                const clvi_batch batch = next(loader);
                expect_batch(&batch, order + 5 * i, 5);
            }
        }
        clvi_loader_destroy(loader);
    }
    clvi_dataset_close(data);
}

static void test_batch_stays_valid_until_next_call(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(2, false, false);
    clvi_loader *loader = load(data, 3);
    uint32_t order[IMAGES];
    shuffled(order, IMAGES, 0);
    start(loader, order, IMAGES);
    for (size_t i = 0; i < 12; i++) {
        const clvi_batch batch = next(loader);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* the ring fills meanwhile */
        expect_batch(&batch, order + 3 * i, 3);
    }
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

static void test_two_loaders_share_a_data_set(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(2, false, false);
    clvi_loader *a = load(data, 10), *b = load(data, 10);
    uint32_t order[IMAGES];
    shuffled(order, IMAGES, 3);
    start(a, order, IMAGES);
    start(b, order, IMAGES);
    for (size_t i = 0; i < 10; i++) {
        clvi_batch batch = next(a);
        expect_batch(&batch, order + 10 * i, 10);
        batch = next(b);
        expect_batch(&batch, order + 10 * i, 10);
    }
    clvi_loader_destroy(a);
    clvi_loader_destroy(b);
    clvi_dataset_close(data);
}

/* A pass over the whole split, as it stands. */
static void test_in_order(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(2, false, false);
    clvi_loader *loader = load(data, 10);
    size_t seen = 0;
    assert_int_equal(clvi_loader_start_in_order(loader, NULL), CLV_OK);
    for (clvi_batch b = next(loader); b.count > 0; b = next(loader))
        for (size_t i = 0; i < b.count; i++)
            assert_int_equal(b.indices[i], seen++);
    assert_int_equal(seen, IMAGES);
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

static void test_wrong_use(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(1, false, false);
    clvi_loader *loader = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_loader_create(data, CLVI_TRAIN, 0, &loader, &error), CLV_E_USAGE);
    assert_null(loader);
    loader = load(data, 2);
    const uint32_t order[] = {3, IMAGES};
    clvi_error_clear(&error);
    assert_int_equal(clvi_loader_start(loader, order, 2, &error), CLV_E_USAGE);
    assert_string_equal(error.message, "the order names image 101 of 101 in train");
    start(loader, order, 1);
    assert_int_equal(next(loader).count, 1);
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

static int log_lines;
static char last_line[600];

static void count_lines(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    log_lines += level == CLVI_LOG_WARN;
    (void)snprintf(last_line, sizeof last_line, "%s", line);
}

/* Breaks images 10 and 60 by cutting their files, or mends them. */
static void break_files(bool broken)
{
    const unsigned which[] = {10, 60};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "train/%c/%u.png", which[i] < 50 ? 'a' : 'b', which[i]);
        blob b = png_numbered(SIDE, 1, which[i]);
        file_put(made.folder, path, b.bytes, broken ? b.length - 9 : b.length);
        blob_free(&b);
    }
}

static void test_broken_image_is_an_error(void **state)
{
    (void)state;
    break_files(true);
    uint32_t order[IMAGES];
    for (uint32_t i = 0; i < IMAGES; i++)
        order[i] = IMAGES - 1 - i; /* 60 comes before 10 */
    for (int round = 0; round < 20; round++) {
        clvi_dataset *data = open_with(1 + round % 4, false, false);
        clvi_loader *loader = load(data, 100);
        start(loader, order, IMAGES);
        clvi_batch batch = {0};
        for (int again = 0; again < 2;
             again++) { /* the first in order, and again until restarted */
            clv_error error = CLV_ERROR_INIT;
            assert_int_equal(clvi_loader_next(loader, &batch, &error), CLV_E_DATA);
            assert_int_equal(batch.count, 0);
            if (!strstr(error.message, "/train/b/60.png: truncated PNG"))
                fail_msg("%s", error.message);
        }
        const uint32_t sound[] = {1, 2, 3};
        start(loader, sound, 3);
        expect_pass(loader, sound, 3, 100);
        clvi_loader_destroy(loader);
        clvi_dataset_close(data);
    }
    break_files(false);
}

static void test_broken_image_is_skipped(void **state)
{
    (void)state;
    break_files(true);
    const uint32_t order[] = {9, 10, 11, 60, 10, 60, 12, 13}, kept[] = {9, 11, 12, 13};
    log_lines = 0;
    clvi_set_log_sink(count_lines, NULL);
    clvi_dataset *data = open_with(1, false, true);
    clvi_loader *loader = load(data, 3);
    for (int pass = 0; pass < 2; pass++) {
        start(loader, order, 8);
        clvi_batch batch = next(loader);
        expect_batch(&batch, kept, 2);
        batch = next(loader); /* the second batch is all bad: the third comes at once */
        expect_batch(&batch, kept + 2, 2);
        assert_int_equal(next(loader).count, 0);
    }
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
    clvi_set_log_sink(NULL, NULL);
    assert_int_equal(log_lines, 2); /* each once */
    assert_non_null(strstr(last_line, "/train/b/60.png: truncated PNG: skipped"));
    break_files(false);
}

/* A link to nothing, and one to itself, when its turn comes. */
static void test_image_that_cannot_be_opened(void **state)
{
    (void)state;
    const uint32_t order[] = {9, 10, 11, 12}, kept[] = {9, 12};
    char paths[2][256], aside[600];
    (void)snprintf(paths[0], sizeof paths[0], "%s/train/a/10.png", made.folder);
    (void)snprintf(paths[1], sizeof paths[1], "%s/train/a/11.png", made.folder);
    log_lines = 0;
    clvi_set_log_sink(count_lines, NULL);
    clvi_dataset *data = open_with(1, false, true), *strict = open_with(1, true, false);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(aside, sizeof aside, "%s.aside", paths[i]);
        assert_int_equal(rename(paths[i], aside), 0);
    }
    assert_int_equal(symlink("nowhere.png", paths[0]), 0);
    assert_int_equal(symlink("11.png", paths[1]), 0);
    clvi_loader *loader = load(data, 4);
    start(loader, order, 4);
    clvi_batch batch = next(loader);
    expect_batch(&batch, kept, 2);
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
    clvi_set_log_sink(NULL, NULL);
    assert_int_equal(log_lines, 2);
    assert_non_null(strstr(last_line, ".png: cannot be opened: "));
    loader = load(strict, 4);
    start(loader, order, 4);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_loader_next(loader, &batch, &error), CLV_E_DATA);
    assert_non_null(strstr(error.message, "/train/a/10.png: cannot be opened: No such file"));
    clvi_loader_destroy(loader);
    clvi_dataset_close(strict);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(aside, sizeof aside, "%s.aside", paths[i]);
        assert_int_equal(rename(aside, paths[i]), 0);
    }
}

/* With the cache, the files are read once; without, each time. */
static void test_cache_replaces_the_files(void **state)
{
    (void)state;
    uint32_t order[IMAGES];
    shuffled(order, IMAGES, 1);
    for (int no_cache = 0; no_cache < 2; no_cache++) {
        clvi_dataset *data = open_with(2, no_cache, false);
        clvi_loader *loader = load(data, 101);
        start(loader, order, IMAGES);
        expect_pass(loader, order, IMAGES, 101);
        break_files(true);
        start(loader, order, IMAGES);
        clvi_batch batch = {0};
        if (no_cache)
            assert_int_equal(clvi_loader_next(loader, &batch, NULL), CLV_E_DATA);
        else
            expect_pass(loader, order, IMAGES, 101);
        break_files(false);
        clvi_loader_destroy(loader);
        clvi_dataset_close(data);
    }
}

static void test_vanished_file(void **state)
{
    (void)state;
    clvi_dataset *data = open_with(1, true, true);
    clvi_loader *loader = load(data, 2);
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/train/a/5.png", made.folder);
    assert_int_equal(remove(path), 0);
    const uint32_t order[] = {5};
    start(loader, order, 1);
    clvi_batch batch;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_loader_next(loader, &batch, &error),
                     CLV_E_IO); /* not the image's fault */
    assert_non_null(strstr(error.message, "train/a/5.png: cannot be opened: No such file"));
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
    png_put(made.folder, "train/a/5.png", SIDE, 5);
}

static void test_resized_and_in_colour(void **state)
{
    (void)state;
    const clvi_data_options options = {
        .path = made.folder, .height = 5, .width = 12, .channels = 3, .workers = 2};
    clvi_dataset *data = NULL;
    assert_int_equal(clvi_dataset_open(&options, &data, NULL), CLV_OK);
    clvi_loader *loader = load(data, 4);
    const uint32_t order[] = {70, 2};
    start(loader, order, 2);
    const clvi_batch batch = next(loader);
    assert_int_equal(batch.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const clvi_image image = {
            .pixels = made.pixels[order[i]], .height = SIDE, .width = SIDE, .channels = 1};
        uint8_t want[5 * 12];
        assert_int_equal(clvi_image_resize(&image, 5, 12, want, NULL), CLV_OK);
        for (size_t k = 0; k < sizeof want * 3; k++)
            assert_int_equal(batch.pixels[i * sizeof want * 3 + k], want[k / 3]);
    }
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

/* A pass that begins in the middle hands out what the whole one does from there on, the numbers of
 * images that stood in the order before among it. */
static void test_start_in_the_middle(void **state)
{
    (void)state;
    enum { COUNT = 150, SIZE = 8 }; /* 49 images stand in it twice; the last batch has 6 */
    uint32_t order[COUNT];
    clvi_dataset *data = open_with(3, false, false);
    clvi_loader *loader = load(data, SIZE);
    shuffled(order, COUNT, 5);
    for (size_t first = 0; first <= COUNT; first += first + SIZE < COUNT ? SIZE : COUNT - first) {
        assert_int_equal(clvi_loader_start_at(loader, order, COUNT, first, NULL), CLV_OK);
        for (size_t at = first; at < COUNT; at += SIZE) {
            const clvi_batch batch = next(loader);
            const size_t end = COUNT - at < SIZE ? COUNT : at + SIZE;
            expect_batch(&batch, order + at, end - at);
            for (size_t i = 0; i < batch.count; i++)
                assert_int_equal(batch.ids[i] / IMAGES, repeats(order, at + i));
            assert_int_equal(clvi_loader_position(loader), end);
        }
        assert_int_equal(next(loader).count, 0);
        assert_int_equal(clvi_loader_position(loader), COUNT);
        if (first == COUNT)
            break;
    }
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_loader_start_at(loader, order, COUNT, 3, &error), CLV_E_USAGE);
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_for_any_workers_and_batch),
        cmocka_unit_test(test_nothing_before_start),
        cmocka_unit_test(test_restart_and_destroy_in_a_pass),
        cmocka_unit_test(test_batch_stays_valid_until_next_call),
        cmocka_unit_test(test_two_loaders_share_a_data_set),
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_broken_image_is_an_error),
        cmocka_unit_test(test_broken_image_is_skipped),
        cmocka_unit_test(test_image_that_cannot_be_opened),
        cmocka_unit_test(test_cache_replaces_the_files),
        cmocka_unit_test(test_vanished_file),
        cmocka_unit_test(test_resized_and_in_colour),
        cmocka_unit_test(test_start_in_the_middle),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
