/* core/base: errors, memory, strings, files, process-wide state, random numbers. */
#define _POSIX_C_SOURCE 200809L
#include "base/files.h"
#include "base/philox.h"
#include "base/process.h"
#include "base/reals.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void test_status(void **state)
{
    (void)state;
    assert_string_equal(clv_status_text(CLV_OK), "done");
    assert_string_equal(clv_status_text(CLV_E_DATA), "bad data");
    assert_string_equal(clv_status_text((clv_status)-999), "unknown status");
    assert_int_equal(clv_status_exit_code(CLV_OK), 0);
    assert_int_equal(clv_status_exit_code(CLV_E_USAGE), 2);
    assert_int_equal(clv_status_exit_code(CLV_E_IO), 1);
    assert_int_equal(clv_status_exit_code((clv_status)-999), 1);
}

static clv_status try_it(clv_status inner, clv_error *error)
{
    CLV_TRY(inner == CLV_OK ? CLV_OK : clvi_fail(error, inner, CLV_HERE, "inner %d", 7));
    CLV_FAIL(error, CLV_E_USAGE, "outer");
}

static void test_error_first_cause_wins(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(try_it(CLV_E_DATA, &error), CLV_E_DATA);
    assert_int_equal(clvi_fail(&error, CLV_E_IO, CLV_HERE, "later"), CLV_E_IO);
    assert_int_equal(error.status, CLV_E_DATA);
    assert_string_equal(error.message, "inner 7");
    assert_non_null(strstr(error.file, "test_base.c"));
    clvi_prepend(&error, "a.ini:%d", 14);
    assert_string_equal(error.message, "a.ini:14: inner 7");

    clvi_error_clear(&error);
    clvi_prepend(&error, "nothing");
    assert_int_equal(error.status, CLV_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(clvi_fail_errno(&error, 2, CLV_HERE, "x.txt"), CLV_E_IO);
    assert_string_equal(error.message, "x.txt: No such file or directory");
    assert_int_equal(error.native_code, 2);
    assert_int_equal(try_it(CLV_OK, NULL), CLV_E_USAGE);
    clvi_prepend(NULL, "nothing");
}

static void test_error_truncation_keeps_utf8(void **state)
{
    (void)state;
    char wide[1024];
    for (size_t shift = 0; shift < 3; shift++) {
        for (size_t i = 0; i < sizeof(wide) - 1; i++)
            wide[i] = i < shift ? 'x' : "\xE0\xA4\x95"[(i - shift) % 3]; /* U+0915 */
        wide[sizeof(wide) - 1] = '\0';
        clv_error error = CLV_ERROR_INIT;
        clvi_fail(&error, CLV_E_DATA, CLV_HERE, "%s", wide);
        assert_true(strlen(error.message) > 500);
        assert_int_equal((strlen(error.message) - shift) % 3, 0);
        clvi_prepend(&error, "context");
        assert_int_equal((strlen(error.message) - shift - strlen("context: ")) % 3, 0);
        clvi_error_clear(&error);
        clvi_fail_errno(&error, 2, CLV_HERE, "%s", wide);
        assert_non_null(strstr(error.message, "\x95: No such file or directory"));
    }
    clv_error error = CLV_ERROR_INIT;
    clvi_fail(&error, CLV_E_DATA, CLV_HERE, "two lines\n\n");
    assert_string_equal(error.message, "two lines");
    clv_error shorter = {.struct_size = 8};
    assert_int_equal(clvi_fail(&shorter, CLV_E_DATA, CLV_HERE, "x"), CLV_E_DATA);
    assert_string_equal(shorter.message, "");
}

static void test_reals(void **state)
{
    (void)state;
    double v[] = {3, -1, INFINITY, 0, 2, -INFINITY, 2}, one = 7, four[] = {10, 20, 40, 80};
    static const double sorted[] = {-INFINITY, -1, 0, 2, 2, 3, INFINITY};
    clvi_sort_reals(v, sizeof v / sizeof *v);
    assert_memory_equal(v, sorted, sizeof v);
    clvi_sort_reals(NULL, 0);
    clvi_sort_reals(&one, 1);
    assert_true(clvi_quantile(&one, 1, 0) == 7 && clvi_quantile(&one, 1, 1) == 7);
    assert_true(clvi_quantile(four, 4, 0) == 10 && clvi_quantile(four, 4, 1) == 80);
    assert_true(clvi_quantile(four, 4, 0.5) == 30 && clvi_quantile(four, 3, 0.5) == 20);
    assert_true(fabs(clvi_quantile(four, 4, 0.9) - 68) < 1e-12); /* at 2.7 of 0 … 3 */
}

/* Nothing is written into the struct of a caller who knows less of it, nor over a first failure. */
static void test_error_code_is_guarded(void **state)
{
    (void)state;
    clv_error shorter = {.struct_size = 8}, first = CLV_ERROR_INIT;
    assert_int_equal(clvi_fail_code(&shorter, CLV_E_CL, -5, CLV_HERE, "x"), CLV_E_CL);
    assert_int_equal(clvi_fail_open(&shorter, ENOENT, CLV_HERE, "/no", "cannot open"), CLV_E_IO);
    assert_int_equal(shorter.status, CLV_OK);
    assert_int_equal(shorter.native_code, 0);
    assert_int_equal(clvi_fail_code(&first, CLV_E_CL, -5, CLV_HERE, "first"), CLV_E_CL);
    assert_int_equal(clvi_error_copy(&shorter, &first), CLV_E_CL);
    assert_int_equal(shorter.status, CLV_OK);
    clv_error copy = CLV_ERROR_INIT;
    assert_int_equal(clvi_error_copy(&copy, &first), CLV_E_CL);
    assert_memory_equal(&copy, &first, sizeof(copy));
    assert_int_equal(clvi_fail_code(&first, CLV_E_BUILD, -6, CLV_HERE, "x"), CLV_E_BUILD);
    assert_int_equal(clvi_fail_open(&first, ENOENT, CLV_HERE, "/no", "cannot open"), CLV_E_IO);
    assert_int_equal(first.status, CLV_E_CL);
    assert_int_equal(first.native_code, -5);
    assert_string_equal(first.message, "first");
    assert_int_equal(clvi_fail_open(NULL, ENOENT, CLV_HERE, "/no", "cannot open"), CLV_E_IO);
}

static void test_plain_names(void **state)
{
    (void)state;
    assert_true(clvi_is_plain_name("a", 1));
    assert_true(clvi_is_plain_name("a_9", 3));
    assert_false(clvi_is_plain_name("a_9", 2));
    assert_false(clvi_is_plain_name("", 9));
    assert_false(clvi_is_plain_name(NULL, 9));
    assert_false(clvi_is_plain_name("aB", 9));
    assert_false(clvi_is_plain_name("a-b", 9));
}

static void test_memory(void **state)
{
    (void)state;
    void *a = clvi_malloc(0), *b = clvi_malloc(0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    clvi_free(a);
    clvi_free(b);
    clvi_free(NULL);
    assert_null(clvi_calloc(SIZE_MAX / 2, 3));
    int *zeros = clvi_calloc(5, sizeof(int));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(zeros[i], 0);
    clvi_free(zeros);

    void *array = NULL;
    size_t capacity = 0;
    assert_int_equal(clvi_grow(&array, &capacity, 3, 4, NULL), CLV_OK);
    assert_true(capacity >= 3);
    const size_t before = capacity;
    clv_error error = CLV_ERROR_INIT;
    void *kept = array;
    assert_int_equal(clvi_grow(&array, &capacity, SIZE_MAX / 2, 4, &error), CLV_E_MEMORY);
    assert_ptr_equal(array, kept);
    assert_int_equal(capacity, before);
    assert_true(error.message[0] != '\0');
    clvi_free(array);
}

static void test_arena(void **state)
{
    (void)state;
    clvi_arena *arena = NULL;
    assert_int_equal(clvi_arena_create(&arena, NULL), CLV_OK);
    static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 1024, 1025, 4096, 100000, 3};
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            unsigned char *piece = clvi_arena_alloc(arena, sizes[i]);
            assert_non_null(piece);
            assert_int_equal((uintptr_t)piece % 16, 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(piece[k], 0);
            memset(piece, 0xAB, sizes[i]);
        }
    }
    assert_null(clvi_arena_alloc(arena, SIZE_MAX));
    assert_null(clvi_arena_alloc(arena, SIZE_MAX - 40));
    const char *name = clvi_arena_strdup(arena, "name");
    assert_string_equal(clvi_arena_printf(arena, "%s=%d", name, 3), "name=3");
    clvi_arena_destroy(arena);
    clvi_arena_destroy(NULL);
}

static void test_text(void **state)
{
    (void)state;
    clvi_text text = {0};
    assert_string_equal(clvi_text_get(&text), "");
    clvi_text_append(&text, "a");
    for (int i = 0; i < 1000; i++)
        clvi_text_printf(&text, "%d,", i);
    assert_false(text.failed);
    assert_int_equal(text.length, strlen(text.data));
    assert_memory_equal(text.data, "a0,1,2,", 7);
    clvi_text_fini(&text);
    assert_null(text.data);
    clvi_text_append_n(&text, "xyz", 2);
    clvi_text_append_n(&text, "", 0);
    assert_string_equal(text.data, "xy");
    clvi_text_fini(&text);
}

static void test_numbers(void **state)
{
    (void)state;
    int64_t i = 77;
    assert_true(clvi_parse_int(" -12\t", &i) && i == -12);
    assert_true(clvi_parse_int("+9223372036854775807", &i) && i == INT64_MAX);
    assert_true(clvi_parse_int("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(clvi_parse_int("-0", &i) && i == 0);
    i = 77;
    static const char *const no_int[] = {"",
                                         " ",
                                         "x",
                                         "1x",
                                         "1.0",
                                         "0x10",
                                         "9223372036854775808",
                                         "1 2",
                                         "- 1",
                                         "--1",
                                         "-9223372036854775809"};
    for (size_t k = 0; k < sizeof(no_int) / sizeof(no_int[0]); k++)
        assert_false(clvi_parse_int(no_int[k], &i));
    assert_int_equal(i, 77);

    double r = 5;
    assert_true(clvi_parse_real(" 1e-3 ", &r) && fabs(r - 1e-3) < 1e-18);
    assert_true(clvi_parse_real("-.5", &r) && fabs(r + 0.5) < 1e-18);
    assert_true(clvi_parse_real("2.", &r) && fabs(r - 2) < 1e-18);
    r = 5;
    static const char *const no_real[] = {"",    ".",   "e3",    "1e",  "1e+", "0x1",
                                          "inf", "nan", "1e999", "1,5", "1 5", "- 1"};
    for (size_t k = 0; k < sizeof(no_real) / sizeof(no_real[0]); k++)
        assert_false(clvi_parse_real(no_real[k], &r));
    assert_true(r == 5);

    bool b = false;
    assert_true(clvi_parse_bool(" Yes ", &b) && b);
    assert_true(clvi_parse_bool("OFF", &b) && !b);
    assert_true(clvi_parse_bool("1", &b) && b);
    assert_false(clvi_parse_bool("", &b));
    assert_false(clvi_parse_bool("ye", &b));
    assert_false(clvi_parse_bool("yess", &b));
}

static void test_reals_read_back(void **state)
{
    (void)state;
    const double values[] = {0,       0.1,    1e-8,   1.0 / 3,   123456789.25, DBL_MAX,
                             DBL_MIN, 5e-324, -0.999, 3e300 / 7, 0.001,        1e23};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        clvi_text text = {0};
        clvi_text_append_real(&text, values[i]);
        double back = 0;
        assert_true(clvi_parse_real(text.data, &back));
        assert_true(back == values[i]);
        clvi_text_fini(&text);
    }
    clvi_text text = {0};
    clvi_text_append_real(&text, 0.001);
    clvi_text_append(&text, " ");
    clvi_text_append_real(&text, -100000);
    assert_string_equal(text.data, "0.001 -100000");
    clvi_text_fini(&text);
}

/* Needs a locale with a decimal comma; without one on the machine there is nothing to see. */
static void test_numbers_ignore_locale(void **state)
{
    (void)state;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
        return;
    double r = 0;
    assert_true(clvi_parse_real("0.5", &r) && r == 0.5);
    clvi_text text = {0};
    clvi_text_printf(&text, "%g", 0.5);
    assert_string_equal(text.data, "0.5");
    clvi_text_fini(&text);
    setlocale(LC_ALL, "C");
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void test_words_and_base64(void **state)
{
    (void)state;
    /* The examples of RFC 4648, and the two digits that are no letters. */
    static const char *const base64[][2] = {{"", ""},
                                            {"f", "Zg=="},
                                            {"fo", "Zm8="},
                                            {"foo", "Zm9v"},
                                            {"foob", "Zm9vYg=="},
                                            {"fooba", "Zm9vYmE="},
                                            {"foobar", "Zm9vYmFy"},
                                            {"\xfb\xef\xff", "++//"}};
    for (size_t i = 0; i < sizeof base64 / sizeof *base64; i++) {
        clvi_text text = {0};
        clvi_text_append_base64(&text, base64[i][0], strlen(base64[i][0]));
        assert_string_equal(clvi_text_get(&text), base64[i][1]);
        clvi_text_fini(&text);
    }
    static const char *const words[][2] = {{"runs/a-1", "runs/a-1"},
                                           {"", "''"},
                                           {"a b", "'a b'"},
                                           {"it's", "'it'\\''s'"},
                                           {"ä", "'ä'"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        clvi_text text = {0};
        clvi_text_append_word(&text, words[i][0]);
        assert_string_equal(clvi_text_get(&text), words[i][1]);
        clvi_text_fini(&text);
    }
}

static void test_natural_order(void **state)
{
    (void)state;
    static const char *const sorted[] = {"",   "0",  "00", "1",    "2",     "02",  "10", "a",
                                         "a0", "a1", "a2", "a10b", "a10b2", "a11", "b"};
    const size_t count = sizeof(sorted) / sizeof(sorted[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            const int got = sign(clvi_natural_compare(sorted[i], sorted[j]));
            const bool numeric_tie = strspn(sorted[i], "0") + strspn(sorted[j], "0") > 0;
            if (!numeric_tie)
                assert_int_equal(got, sign((int)i - (int)j));
            assert_int_equal(got, -sign(clvi_natural_compare(sorted[j], sorted[i])));
            assert_int_equal(got == 0, i == j);
        }
    }
    assert_true(clvi_natural_compare("character_2_kha", "character_10_yna") < 0);
    assert_true(clvi_natural_compare("1", "02") < 0);
    assert_true(clvi_natural_compare("99999999999999999999998", "99999999999999999999999") < 0);
    const char *names[] = {"x10", "x9", "x1"};
    qsort(names, 3, sizeof(names[0]), clvi_natural_compare_p);
    assert_string_equal(names[0], "x1");
    assert_string_equal(names[2], "x10");
}

static void test_names(void **state)
{
    (void)state;
    assert_true(clvi_name_equal("CNN-custom_only", "cnn_custom-ONLY"));
    assert_false(clvi_name_equal("cnn", "cnn2"));
    assert_false(clvi_name_equal("cnn2", "cnn"));
    static const char *const keys[] = {"epochs", "batch", "lr", "weight_decay", "monitor"};
    assert_string_equal(clvi_nearest("epoch", keys, 5), "epochs");
    assert_string_equal(clvi_nearest("ecophs", keys, 5), "epochs");
    assert_string_equal(clvi_nearest("Weight-Decy", keys, 5), "weight_decay");
    assert_string_equal(clvi_nearest("lr", keys, 5), "lr");
    assert_null(clvi_nearest("zzzzz", keys, 5));
    assert_null(clvi_nearest("", keys, 5));
    assert_null(clvi_nearest("epochs", keys, 0));
    char endless[300];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_null(clvi_nearest(endless, keys, 5));
}

static void test_printable(void **state)
{
    (void)state;
    char out[16];
    assert_string_equal(clvi_printable("a\x1b[1m\xFF", out, sizeof(out)), "a?[1m?");
    assert_string_equal(clvi_printable("\xE0\xA4\x95", out, sizeof(out)), "\xE0\xA4\x95");
    assert_string_equal(clvi_printable("ab\xE0\xA4\x95", out, 5), "ab");
    assert_string_equal(clvi_printable("\xE2\x80\xAEx", out, sizeof(out)), "?x");
    assert_string_equal(clvi_printable("\xC2\x85", out, sizeof(out)), "?");
    assert_string_equal(clvi_printable("abc", out, 1), "");
    assert_int_equal(clvi_utf8_sequence("\xC0\x80", 2), 0);         /* overlong */
    assert_int_equal(clvi_utf8_sequence("\xED\xA0\x80", 3), 0);     /* surrogate */
    assert_int_equal(clvi_utf8_sequence("\xF4\x90\x80\x80", 4), 0); /* beyond U+10FFFF */
    assert_int_equal(clvi_utf8_sequence("\xF0\x9F\x98\x80", 4), 4);
    assert_int_equal(clvi_utf8_sequence("\xF0\x9F\x98\x80", 3), 0);
    assert_int_equal(clvi_utf8_sequence("", 0), 0);
}

static char *test_folder(void)
{
    char template[] = "/tmp/conclave-test-XXXXXX";
    assert_non_null(mkdtemp(template));
    return clvi_strdup(template);
}

static void test_files(void **state)
{
    (void)state;
    char *folder = test_folder();
    char *deep = clvi_path_join(folder, "/a//b/");
    assert_int_equal(clvi_make_dirs(deep, 0755, NULL), CLV_OK);
    assert_int_equal(clvi_make_dirs(deep, 0755, NULL), CLV_OK);
    assert_true(clvi_is_dir(deep));
    assert_false(clvi_is_file(deep));
    char *path = clvi_path_join(deep, "f10");
    char *second = clvi_path_join(deep, "f9");
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_file_write(path, "hello", 5, &error), CLV_OK);
    assert_int_equal(clvi_file_write(second, "", 0, &error), CLV_OK);
    assert_true(clvi_is_file(path));

    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(clvi_file_read(path, 5, &data, &bytes, &error), CLV_OK);
    assert_int_equal(bytes, 5);
    assert_string_equal(data, "hello");
    clvi_free(data);
    assert_int_equal(clvi_file_read(second, 5, &data, &bytes, &error), CLV_OK);
    assert_int_equal(bytes, 0);
    assert_string_equal(data, "");
    clvi_free(data);
    assert_int_equal(clvi_file_read(path, 4, &data, &bytes, &error), CLV_E_DATA);
    clvi_error_clear(&error);
    assert_int_equal(clvi_file_read(deep, 4, &data, &bytes, &error), CLV_E_IO);
    assert_non_null(strstr(error.message, deep));
    clvi_error_clear(&error);

    char **names = NULL;
    size_t count = 0;
    assert_int_equal(clvi_dir_list(deep, &names, &count, &error), CLV_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "f9");
    assert_string_equal(names[1], "f10");
    clvi_names_free(names, count);

    /* Not a folder; a folder where a file should be. */
    char *below = clvi_path_join(path, "x");
    assert_int_equal(clvi_make_dirs(below, 0755, &error), CLV_E_IO);
    clvi_error_clear(&error);
    assert_int_equal(clvi_dir_list(below, &names, &count, &error), CLV_E_IO);
    clvi_error_clear(&error);
    assert_int_equal(clvi_file_write(folder, "x", 1, &error), CLV_E_IO);

    /* An aborted file leaves the old content and no temporary. */
    clvi_atomic_file file;
    assert_int_equal(clvi_atomic_begin(&file, path, NULL), CLV_OK);
    fputs("half", file.stream);
    assert_int_equal(clvi_dir_list(deep, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 3);
    clvi_names_free(names, count);
    clvi_atomic_abort(&file);
    assert_int_equal(clvi_dir_list(deep, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 2);
    clvi_names_free(names, count);
    assert_int_equal(clvi_file_read(path, 5, &data, &bytes, NULL), CLV_OK);
    assert_string_equal(data, "hello");
    clvi_free(data);

    /* A file that may only be new: the first one stays, and no temporary. */
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            unlink(path);
        assert_int_equal(clvi_atomic_begin(&file, path, NULL), CLV_OK);
        fputs("other", file.stream);
        assert_int_equal(clvi_atomic_commit_new(&file, NULL), CLV_OK);
        assert_int_equal(clvi_dir_list(deep, &names, &count, NULL), CLV_OK);
        assert_int_equal(count, 2);
        clvi_names_free(names, count);
        assert_int_equal(clvi_file_read(path, 5, &data, &bytes, NULL), CLV_OK);
        assert_string_equal(data, i == 0 ? "hello" : "other");
        clvi_free(data);
    }

    unlink(path);
    unlink(second);
    rmdir(deep);
    deep[strlen(folder) + 2] = '\0';
    rmdir(deep);
    assert_int_equal(rmdir(folder), 0);
    clvi_free(below);
    clvi_free(second);
    clvi_free(path);
    clvi_free(deep);
    clvi_free(folder);
}

/* What is told of a path that leads nowhere. */
static void expect_advice(const char *folder, const char *path, const char *advice)
{
    char text[400] = "", wanted[400] = "";
    char *whole = clvi_path_join(folder, path);
    if (advice[0] != '\0')
        snprintf(wanted, sizeof(wanted), "; did you mean %s/%s?", folder, advice);
    clvi_path_advise(whole, text, sizeof(text));
    assert_string_equal(text, wanted);
    clvi_free(whole);
}

static void test_path_advice(void **state)
{
    (void)state;
    char *folder = test_folder();
    char *inner = clvi_path_join(folder, "my pictures/character_1_क");
    char *file = clvi_path_join(inner, "Photo.png");
    assert_int_equal(clvi_make_dirs(inner, 0755, NULL), CLV_OK);
    assert_int_equal(clvi_file_write(file, "x", 1, NULL), CLV_OK);
    expect_advice(folder, "my picturs", "my pictures");
    expect_advice(folder, "my picturs/character_1_क/photo.png", "my pictures");
    expect_advice(folder, "my pictures//character_2_क/photo.png", "my pictures//character_1_क");
    expect_advice(folder, "my pictures/character_1_क/photo.png",
                  "my pictures/character_1_क/Photo.png");
    expect_advice(folder, "nothing like that", "");
    expect_advice(folder, "my pictures/character_1_क/Photo.png", "");
    expect_advice(folder, "my pictures/character_1_क/Photo.png/x", "");

    /* In the sentence of who opens it, and nowhere where there is no room. */
    clv_error error = CLV_ERROR_INIT;
    char small[20] = "no room", *data = NULL;
    size_t bytes;
    char *wrong = clvi_path_join(folder, "my pictures/character_1_क/Foto.png");
    assert_int_equal(clvi_file_read(wrong, 9, &data, &bytes, &error), CLV_E_IO);
    assert_non_null(
        strstr(error.message, ": cannot open: No such file or directory; did you mean "));
    assert_non_null(strstr(error.message, "/Photo.png?"));
    assert_int_equal(error.native_code, ENOENT);
    clvi_path_advise(wrong, small, sizeof(small));
    assert_string_equal(small, "no room");

    unlink(file);
    rmdir(inner);
    inner[strlen(inner) - strlen("/character_1_क")] = '\0';
    rmdir(inner);
    assert_int_equal(rmdir(folder), 0);
    clvi_free(wrong);
    clvi_free(file);
    clvi_free(inner);
    clvi_free(folder);
}

static void test_path_join(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "/b", "a/b"}, {"/", "b", "/b"}, {"a//", "b/c", "a/b/c"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *joined = clvi_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(joined, cases[i][2]);
        clvi_free(joined);
    }
}

static void test_same_file(void **state)
{
    (void)state;
    char *folder = test_folder(), *a = clvi_path_join(folder, "a"),
         *b = clvi_path_join(folder, "b"), *link = clvi_path_join(folder, "link"),
         *round = clvi_path_join(folder, "./a");
    assert_int_equal(clvi_file_write(a, "same", 4, NULL), CLV_OK);
    assert_int_equal(clvi_file_write(b, "same", 4, NULL), CLV_OK);
    assert_int_equal(symlink("a", link), 0);
    assert_true(clvi_same_file(a, round));
    assert_true(clvi_same_file(link, a));
    assert_false(clvi_same_file(a, b));
    assert_int_equal(unlink(a), 0);
    assert_false(clvi_same_file(link, link));
    assert_false(clvi_same_file(a, b));
    unlink(b);
    unlink(link);
    assert_int_equal(rmdir(folder), 0);
    clvi_free(round);
    clvi_free(link);
    clvi_free(b);
    clvi_free(a);
    clvi_free(folder);
}

static void test_path_name(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"a/b/c.png", "c.png"}, {"/c", "c"}, {"c", "c"},
                                           {"a/", "a/"},           {"/", "/"},  {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(clvi_path_name(cases[i][0]), cases[i][1]);
}

static void keep_line(void *user, clvi_log_level level, const char *line)
{
    clvi_text_printf(user, "%d %s\n", (int)level, line);
}

static void test_log_and_environment(void **state)
{
    (void)state;
    clvi_text lines = {0};
    clvi_log(CLVI_LOG_INFO, "to nobody");
    clvi_set_log_sink(keep_line, &lines);
    clvi_log(CLVI_LOG_WARN, "one %d", 1);
    assert_string_equal(clvi_text_get(&lines), "1 one 1\n");
    char wide[3000];
    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    clvi_log(CLVI_LOG_ERROR, "%s", wide);
    assert_int_equal(lines.length, strlen("1 one 1\n") + 2 + 2999 + 1);
    clvi_set_log_sink(NULL, NULL);
    clvi_log(CLVI_LOG_ERROR, "dropped");
    assert_int_equal(lines.length, strlen("1 one 1\n") + 2 + 2999 + 1);
    clvi_text_fini(&lines);

    setenv("CONCLAVE_DEVICE", "cpu", 1);
    assert_string_equal(clvi_env_get(CLVI_ENV_DEVICE), "cpu");
    setenv("CONCLAVE_DEVICE", "", 1);
    assert_null(clvi_env_get(CLVI_ENV_DEVICE));
    for (int i = 0; i < CLVI_ENV_COUNT; i++)
        assert_true(clvi_env_name((clvi_env)i)[0] != '\0' && clvi_env_text((clvi_env)i)[0] != '\0');
}

/* Counts down to the allocation that fails; a fault table needs state outside its functions. */
static int allocations_left;

static void *failing_malloc(size_t bytes)
{
    return allocations_left-- > 0 ? malloc(bytes) : NULL;
}

static void *failing_realloc(void *block, size_t bytes)
{
    return allocations_left-- > 0 ? realloc(block, bytes) : NULL;
}

static void test_allocation_faults(void **state)
{
    (void)state;
    char *folder = test_folder();
    char *path = clvi_path_join(folder, "file");
    const clvi_allocator faulty = {failing_malloc, failing_realloc, free};
    int failures = 0;
    for (int allowed = 0;; allowed++) {
        allocations_left = allowed;
        clvi_set_allocator(&faulty);
        clv_error error = CLV_ERROR_INIT;
        char *data = NULL, **names = NULL;
        size_t bytes = 0, count = 0;
        clv_status status = clvi_file_write(path, "abc", 3, &error);
        if (status == CLV_OK)
            status = clvi_file_read(path, 10, &data, &bytes, &error);
        if (status == CLV_OK)
            status = clvi_dir_list(folder, &names, &count, &error);
        clvi_free(data);
        clvi_names_free(names, count);
        clvi_set_allocator(NULL);
        if (status == CLV_OK)
            break;
        failures++;
        assert_true(error.message[0] != '\0');
    }
    assert_true(failures >= 5);

    allocations_left = 0;
    clvi_set_allocator(&faulty);
    clvi_text text = {0};
    clvi_text_append(&text, "abc");
    clvi_text_printf(&text, "%d", 1);
    assert_true(text.failed);
    assert_string_equal(clvi_text_get(&text), "");
    clvi_text_fini(&text);
    clvi_set_allocator(NULL);

    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    clvi_free(path);
    clvi_free(folder);
}

/* Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds). */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4];
        clvi_philox_key key;
        uint32_t expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {{0, 0}}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {{0xffffffff, 0xffffffff}},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {{0xa4093822, 0x299f31d0}},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t out[4];
        const uint32_t *c = cases[i].counter;
        clvi_philox(cases[i].key, c[0], c[1], c[2], c[3], out);
        assert_memory_equal(out, cases[i].expected, sizeof(out));
    }
}

static void test_philox_streams(void **state)
{
    (void)state;
    const clvi_philox_key a = clvi_philox_stream(1, "init/a"), b = clvi_philox_stream(1, "init/b");
    const clvi_philox_key c = clvi_philox_stream(2, "init/a"),
                          again = clvi_philox_stream(1, "init/a");
    assert_memory_equal(&a, &again, sizeof(a));
    assert_memory_not_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(&a, &c, sizeof(a));
    assert_true(clvi_philox_unit(0) > 0.0f);
    assert_true(clvi_philox_unit(UINT32_MAX) < 1.0f);
}

static void test_philox_shuffle(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static uint32_t first[COUNT], second[COUNT];
    bool seen[COUNT] = {false};
    const clvi_philox_key key = clvi_philox_stream(7, "shuffle");
    clvi_philox_shuffle(key, 0, COUNT, first);
    clvi_philox_shuffle(key, 0, COUNT, second);
    assert_memory_equal(first, second, sizeof(first));
    clvi_philox_shuffle(key, 1, COUNT, second);
    assert_memory_not_equal(first, second, sizeof(first));
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(first[i] < COUNT && !seen[first[i]]);
        seen[first[i]] = true;
    }
    clvi_philox_shuffle(key, 0, 0, first);
    clvi_philox_shuffle(key, 0, 1, first);
    assert_int_equal(first[0], 0);

    /* All six orders of three come up about equally often: 6000 draws, 5 sigma is 144. */
    unsigned counts[27] = {0};
    for (uint32_t epoch = 0; epoch < 6000; epoch++) {
        clvi_philox_shuffle(key, epoch, 3, first);
        counts[first[0] * 9 + first[1] * 3 + first[2]]++;
    }
    static const size_t orders[] = {5, 7, 11, 15, 19, 21};
    for (size_t i = 0; i < 6; i++)
        assert_in_range(counts[orders[i]], 1000 - 144, 1000 + 144);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_error_first_cause_wins),
        cmocka_unit_test(test_error_truncation_keeps_utf8),
        cmocka_unit_test(test_error_code_is_guarded),
        cmocka_unit_test(test_plain_names),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_reals_read_back),
        cmocka_unit_test(test_numbers_ignore_locale),
        cmocka_unit_test(test_words_and_base64),
        cmocka_unit_test(test_natural_order),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_path_advice),
        cmocka_unit_test(test_path_join),
        cmocka_unit_test(test_path_name),
        cmocka_unit_test(test_same_file),
        cmocka_unit_test(test_log_and_environment),
        cmocka_unit_test(test_allocation_faults),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_philox_streams),
        cmocka_unit_test(test_philox_shuffle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
