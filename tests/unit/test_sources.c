/* core/data: several sources in one data set, and the orders in which its images are gone through.
 */
#define _POSIX_C_SOURCE 200809L
#include "image_files.h"

#include "data/dataset.h"
#include "data/sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char paths[3][4096];

/* Options for the folders w, p and q below `folder`. */
static clvi_data_options options_of(const char *folder, size_t count)
{
    static const char *const names[] = {"w", "p", "q"};
    clvi_data_options options = {.height = 8, .width = 8, .workers = 1, .source_count = count};
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
        options.sources[i].name = names[i];
        options.sources[i].path = paths[i];
    }
    return options;
}

static clvi_dataset *open_with(const clvi_data_options *options)
{
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_dataset_open(options, &data, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return data;
}

static void refuses(const clvi_data_options *options, clv_status status, const char *words)
{
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_dataset_open(options, &data, &error), status);
    assert_null(data);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" lacks \"%s\"", error.message, words);
}

static size_t count_of(const clvi_dataset *data, clvi_split split, uint32_t source)
{
    size_t count = 0;
    for (size_t i = 0; i < clvi_dataset_count(data, split); i++)
        count += clvi_dataset_sample(data, split, i)->source == source;
    return count;
}

static void test_classes_are_united_by_name(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "w/train/c_2", 4, 100);
    put_class(folder, "w/train/c_10", 3, 200);
    put_class(folder, "w/test/c_10", 2, 300);
    put_class(folder, "p/top/c_2", 5, 400);
    put_class(folder, "p/top/c_1", 6, 500);
    put_class(folder, "q/test/c_1", 2, 600); /* one class, no training images */
    const clvi_data_options options = options_of(folder, 3);
    clvi_dataset *data = open_with(&options);
    assert_int_equal(clvi_dataset_class_count(data), 3);
    assert_string_equal(clvi_dataset_class_name(data, 0), "c_1");
    assert_string_equal(clvi_dataset_class_name(data, 2), "c_10");
    assert_int_equal(clvi_dataset_source_count(data), 3);
    assert_string_equal(clvi_dataset_source_name(data, 1), "p");
    assert_non_null(strstr(clvi_dataset_path(data), "/w + /"));
    assert_int_equal(clvi_dataset_count(data, CLVI_TRAIN), 18);
    assert_int_equal(clvi_dataset_count(data, CLVI_TEST), 4);
    assert_int_equal(count_of(data, CLVI_TRAIN, 0), 7);
    assert_int_equal(count_of(data, CLVI_TRAIN, 1), 11);
    assert_int_equal(count_of(data, CLVI_TEST, 2), 2);
    /* Numbers go on from source to source. */
    const clvi_sample *sample = clvi_dataset_sample(data, CLVI_TRAIN, 7);
    assert_string_equal(sample->path, "c_1/0.png");
    assert_int_equal(sample->id, 9);
    assert_int_equal(sample->label, 0);
    assert_string_equal(clvi_dataset_summary(data),
                        "3 classes; 18 train, 0 val, 4 test images of 1 channel; "
                        "w: 9, p: 11, q: 2");
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_pixels_of_each_source(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "w/a", 3, 100);
    put_class(folder, "w/b", 3, 200);
    put_class(folder, "p/a", 3, 300);
    put_class(folder, "p/b", 3, 400);
    const clvi_data_options options = options_of(folder, 2);
    static const unsigned seeds[] = {100, 200, 300, 400};
    clvi_dataset *data = open_with(&options);
    clvi_loader *loader = NULL;
    assert_int_equal(clvi_loader_create(data, CLVI_TRAIN, 12, &loader, NULL), CLV_OK);
    uint32_t order[12];
    for (uint32_t i = 0; i < 12; i++)
        order[i] = i;
    for (int pass = 0; pass < 2; pass++) { /* decoded, then kept */
        clvi_batch batch = {0};
        assert_int_equal(clvi_loader_start(loader, order, 12, NULL), CLV_OK);
        assert_int_equal(clvi_loader_next(loader, &batch, NULL), CLV_OK);
        assert_int_equal(batch.count, 12);
        for (size_t i = 0; i < 12; i++) { /* the first bytes of a png_numbered are its number */
            const uint8_t *p = batch.pixels + i * 64;
            assert_int_equal(p[0] | p[1] << 8, seeds[i / 3] + i % 3);
        }
    }
    clvi_loader_destroy(loader);
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_identical_images_across_sources(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "w/train/a", 5, 100); /* 100 … 104 */
    put_class(folder, "w/train/b", 5, 200);
    put_class(folder, "p/train/a", 3, 300);
    put_class(folder, "p/val/a", 2, 100);  /* 100, 101: dropped from w's train */
    put_class(folder, "p/test/a", 1, 204); /* dropped from w's train, though it is called b there */
    const clvi_data_options options = options_of(folder, 2);
    clvi_dataset *data = open_with(&options);
    assert_int_equal(count_of(data, CLVI_TRAIN, 0), 7);
    assert_int_equal(count_of(data, CLVI_TRAIN, 1), 3);
    assert_int_equal(clvi_dataset_count(data, CLVI_VAL), 2);
    assert_non_null(strstr(clvi_dataset_summary(data), "; 1 dropped that stand in test as well; "
                                                       "2 dropped that stand in val as well"));
    clvi_dataset_close(data);
    folder_remove(folder);
}

/* Validation is drawn from the sources that have no folder for it, and never an image that stands
 * in the training folder of one that has. */
static void test_validation_is_drawn_where_it_is_missing(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "w/a", 20, 100);
    put_class(folder, "w/b", 20, 200);
    put_class(folder, "p/train/a", 10, 110); /* half of w's */
    put_class(folder, "p/train/b", 10, 400);
    put_class(folder, "p/val/a", 3, 500);
    clvi_data_options options = options_of(folder, 2);
    options.val_fraction = 0.5;
    for (unsigned seed = 0; seed < 20; seed++) {
        options.split_seed = seed;
        clvi_dataset *data = open_with(&options);
        assert_int_equal(count_of(data, CLVI_VAL, 0), 20); /* all of a that may move, half of b */
        assert_int_equal(count_of(data, CLVI_VAL, 1), 3);
        for (size_t i = 0; i < clvi_dataset_count(data, CLVI_VAL); i++) {
            const clvi_sample *sample = clvi_dataset_sample(data, CLVI_VAL, i);
            if (sample->source == 0 && sample->label == 0)
                assert_true(strtol(sample->path + 2, NULL, 10) < 10);
        }
        assert_non_null(strstr(clvi_dataset_summary(data), "23 val (in part drawn from train)"));
        clvi_dataset_close(data);
    }
    folder_remove(folder);
}

static void test_wrong_sources(void **state)
{
    (void)state;
    char *folder = folder_make();
    put_class(folder, "w/train/a", 2, 100);
    put_class(folder, "w/test/z", 2, 150);
    put_class(folder, "p/train/a", 2, 200);
    put_class(folder, "q/train", 2, 300);
    clvi_data_options options = options_of(folder, 2);
    refuses(&options, CLV_E_DATA, "two or more classes are needed, all train folders have 1");
    put_class(folder, "p/train/b", 2, 400);
    refuses(&options, CLV_E_DATA, "/w/test/z: a class that no train folder has");
    put_class(folder, "p/train/z", 2, 500);
    clvi_dataset_close(open_with(&options));
    options = options_of(folder, 3);
    refuses(&options, CLV_E_DATA,
            "/q: needs one or more class folders (train/CLASS/1.png or CLASS/1.png), found train, "
            "which hold no class folders");
    options.sources[2].path = "";
    refuses(&options, CLV_E_CONFIG, "[data.q] path is empty");
    options.sources[2] = options.sources[1];
    refuses(&options, CLV_E_CONFIG, "two sources are named [data.p]");
    options.source_count = CLVI_MAX_SOURCES + 1;
    refuses(&options, CLV_E_CONFIG, "17 sections [data.NAME]; at most 16 are possible");
    folder_remove(folder);
}

/* The same files as one source or as two are different data, and so are two in another order. */
static void test_fingerprint_tells_sources_apart(void **state)
{
    (void)state;
    char *folder = folder_make();
    char prints[3][65];
    put_class(folder, "w/a", 2, 100);
    put_class(folder, "w/b", 2, 200);
    put_class(folder, "p/a", 2, 100);
    put_class(folder, "p/b", 2, 200);
    for (size_t i = 0; i < 3; i++) {
        clvi_data_options options = options_of(folder, i == 0 ? 1 : 2);
        options.keep_duplicates = true;
        clvi_dataset *data = open_with(&options);
        (void)snprintf(prints[i], sizeof prints[i], "%s", clvi_dataset_fingerprint(data));
        clvi_dataset_close(data);
    }
    assert_string_not_equal(prints[0], prints[1]);
    assert_string_equal(prints[1], prints[2]);
    folder_remove(folder);
}

/* ---- Orders ---- */

static const clvi_philox_key key = {{3, 4}};

/* Classes of 3, 40 and 17 images. */
static clvi_dataset *uneven(char *folder)
{
    put_class(folder, "w/a", 3, 100);
    put_class(folder, "w/b", 40, 200);
    put_class(folder, "w/c", 17, 300);
    const clvi_data_options options = options_of(folder, 1);
    return open_with(&options);
}

static void test_shuffle_is_philox(void **state)
{
    (void)state;
    char *folder = folder_make();
    clvi_dataset *data = uneven(folder);
    uint32_t order[60], plain[60];
    assert_int_equal(clvi_sampler_count(data, CLVI_SAMPLER_SHUFFLE), 60);
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(clvi_sampler_order(data, CLVI_SAMPLER_SHUFFLE, key, epoch, order, NULL),
                         CLV_OK);
        clvi_philox_shuffle(key, epoch, 60, plain);
        assert_memory_equal(order, plain, sizeof order);
    }
    clvi_dataset_close(data);
    folder_remove(folder);
}

static void test_balanced_order(void **state)
{
    (void)state;
    enum { EPOCHS = 17, EACH = 20 };
    char *folder = folder_make();
    clvi_dataset *data = uneven(folder);
    static const size_t sizes[] = {3, 40, 17};
    size_t seen[60] = {0};
    uint32_t order[3 * EACH], again[3 * EACH], before[3 * EACH] = {0};
    assert_int_equal(clvi_sampler_count(data, CLVI_SAMPLER_BALANCED), 3 * EACH);
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        size_t labels[3] = {0};
        assert_int_equal(clvi_sampler_order(data, CLVI_SAMPLER_BALANCED, key, epoch, order, NULL),
                         CLV_OK);
        assert_int_equal(clvi_sampler_order(data, CLVI_SAMPLER_BALANCED, key, epoch, again, NULL),
                         CLV_OK);
        assert_memory_equal(order, again, sizeof order);
        assert_memory_not_equal(order, before, sizeof order);
        memcpy(before, order, sizeof order);
        for (size_t i = 0; i < 3 * EACH; i++) {
            assert_true(order[i] < 60);
            seen[order[i]]++;
            labels[clvi_dataset_sample(data, CLVI_TRAIN, order[i])->label]++;
        }
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(labels[k], EACH);
        /* No image falls behind: within a class all were seen equally often, but for one. */
        for (size_t k = 0, first = 0; k < 3; first += sizes[k++])
            for (size_t i = first; i < first + sizes[k]; i++) {
                const size_t least = (epoch + 1) * EACH / sizes[k];
                assert_true(seen[i] == least || seen[i] == least + 1);
            }
    }
    /* Classes are mixed: not the first third of one class. */
    size_t first = 0;
    for (size_t i = 0; i < EACH; i++)
        first += clvi_dataset_sample(data, CLVI_TRAIN, order[i])->label == 0;
    assert_true(first > 0 && first < EACH);
    const clvi_philox_key other = {{3, 5}};
    assert_int_equal(clvi_sampler_order(data, CLVI_SAMPLER_BALANCED, other, 0, order, NULL),
                     CLV_OK);
    assert_int_equal(clvi_sampler_order(data, CLVI_SAMPLER_BALANCED, key, 0, again, NULL), CLV_OK);
    assert_memory_not_equal(order, again, sizeof order);
    clvi_dataset_close(data);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_united_by_name),
        cmocka_unit_test(test_pixels_of_each_source),
        cmocka_unit_test(test_identical_images_across_sources),
        cmocka_unit_test(test_validation_is_drawn_where_it_is_missing),
        cmocka_unit_test(test_wrong_sources),
        cmocka_unit_test(test_fingerprint_tells_sources_apart),
        cmocka_unit_test(test_shuffle_is_philox),
        cmocka_unit_test(test_balanced_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
