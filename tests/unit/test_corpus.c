/* Replays what the fuzzers began with and what they found. Argument: tests/fuzz/corpus. */
#include "../fuzz/fuzz.h"

#include "base/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *corpus; /* folder */

static void replay(const char *kind, void (*feed)(const uint8_t *bytes, size_t length))
{
    char folder[2048], path[4096], **names = NULL;
    size_t count = 0;
    (void)snprintf(folder, sizeof folder, "%s/%s", corpus, kind);
    assert_int_equal(clvi_dir_list(folder, &names, &count, NULL), CLV_OK);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        char *data = NULL;
        size_t length = 0;
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(clvi_file_read(path, 1 << 20, &data, &length, NULL), CLV_OK);
        feed((const uint8_t *)data, length);
        clvi_free(data);
    }
    clvi_names_free(names, count);
}

static void test_png(void **state)
{
    (void)state;
    replay("image_png", fuzz_image);
}

static void test_jpeg(void **state)
{
    (void)state;
    replay("image_jpeg", fuzz_image);
}

static void test_archives(void **state)
{
    (void)state;
    replay("archive", fuzz_archive);
}

static void test_weights(void **state)
{
    (void)state;
    replay("weights_zip", fuzz_weights);
    replay("weights_plain", fuzz_weights);
    replay("weights_safetensors", fuzz_weights);
    replay("weights_bundle", fuzz_weights);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_archives),
        cmocka_unit_test(test_weights),
    };
    corpus = count > 1 ? arguments[1] : "tests/fuzz/corpus";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
