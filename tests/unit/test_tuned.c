/* A user's tuning record: when it counts, when it does not and what is said then; and who computes
 * products of which class. */
#include "runtime_bench.h"

#include "runtime/tuned.h"

/* A log's sink that keeps notes too. */
static void keep_all(void *user, clvi_log_level level, const char *line)
{
    const size_t used = strlen(log_text);
    (void)user;
    (void)level;
    snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

/* Puts a record of the device's into the cache folder: its head, changed if `from` is not NULL,
 * then `body`. */
static char *write_record(bench *b, const char *from, const char *to, const char *body)
{
    clvi_text text = {0}, whole = {0};
    char *path = clvi_tuned_path(clvi_device_get_info(b->device)), *folder;
    assert_non_null(path);
    folder = strdup(path);
    *strrchr(folder, '/') = '\0';
    OK(clvi_make_dirs(folder, 0700, &b->error));
    free(folder);
    clvi_tuned_head(clvi_device_get_info(b->device), "2026-01-02", &text);
    const char *at = from != NULL ? strstr(clvi_text_get(&text), from) : NULL;
    assert_true(from == NULL || at != NULL);
    if (at != NULL)
        clvi_text_append_n(&whole, text.data, (size_t)(at - text.data));
    clvi_text_append(&whole, at != NULL ? to : clvi_text_get(&text));
    if (at != NULL)
        clvi_text_append(&whole, at + strlen(from));
    clvi_text_append(&whole, body);
    OK(clvi_file_write(path, clvi_text_get(&whole), whole.length, &b->error));
    clvi_text_fini(&text);
    clvi_text_fini(&whole);
    log_text[0] = '\0';
    clvi_set_log_sink(keep_all, NULL);
    return path;
}

static void test_record_counts(void **state)
{
    bench *b = *state;
    char banner[256], changed[32];
    snprintf(banner, sizeof(banner), "%s", clvi_device_banner(b->device));
    const int shipped = clvi_tuning_int(b->device, "group_work");
    assert_null(clvi_device_tuning(b->device).path);

    char *path = write_record(b, NULL, NULL, "# faster\ngroup_work = 12345\n");
    reopen(b);
    const clvi_tuning_state tuned = clvi_device_tuning(b->device);
    assert_string_equal(tuned.path, path);
    assert_string_equal(tuned.date, "2026-01-02");
    assert_true(tuned.changed);
    assert_int_equal(clvi_tuning_int(b->device, "group_work"), 12345);
    snprintf(changed, sizeof(changed), ", tuned %08x", (unsigned)tuned.digest);
    assert_non_null(strstr(clvi_device_banner(b->device), changed));
    assert_non_null(strstr(log_text, path));
    clvi_text line = {0};
    OK(clvi_runtime_tuning(b->runtime, 0, &line, &b->error));
    if (clvi_device_get_info(b->device) == clvi_runtime_device(b->runtime, 0))
        assert_non_null(strstr(clvi_text_get(&line), path));
    clvi_text_fini(&line);

    /* What says the same as the shipped one leaves the banner, and so resumed runs, alone. */
    char same[64];
    snprintf(same, sizeof(same), "group_work = %d\n", shipped);
    clvi_free(write_record(b, NULL, NULL, same));
    reopen(b);
    assert_non_null(clvi_device_tuning(b->device).path);
    assert_false(clvi_device_tuning(b->device).changed);
    assert_string_equal(clvi_device_banner(b->device), banner);

    /* Without a cache folder there is no record, and CONCLAVE_TUNING means a shipped one. */
    clvi_free(write_record(b, NULL, NULL, "group_work = 12345\n"));
    setenv("CONCLAVE_CACHE", "0", 1);
    reopen(b);
    setenv("CONCLAVE_CACHE", "1", 1);
    assert_int_equal(clvi_tuning_int(b->device, "group_work"), shipped);
    setenv("CONCLAVE_TUNING", clvi_device_tuning(b->device).shipped, 1);
    reopen(b);
    unsetenv("CONCLAVE_TUNING");
    assert_int_equal(clvi_tuning_int(b->device, "group_work"), shipped);
    clvi_free(path);
}

static void test_record_of_something_else(void **state)
{
    bench *b = *state;
    static const struct {
        const char *from, *to, *note;
    } cases[] = {
        {"device = ", "device = not ", "on another device"},
        {"driver = ", "driver = 0.", "with another driver"},
        {"kernels = ", "kernels = 0", "with another version of the kernels"},
    };
    const int shipped = clvi_tuning_int(b->device, "group_work");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clvi_free(write_record(b, cases[i].from, cases[i].to, "group_work = 12345\n"));
        reopen(b);
        assert_int_equal(clvi_tuning_int(b->device, "group_work"), shipped);
        assert_null(clvi_device_tuning(b->device).path);
        assert_non_null(strstr(log_text, cases[i].note));
    }
    /* A kernel changed is another version. */
    clvi_free(write_record(b, NULL, NULL, "group_work = 12345\n"));
    reopen(b);
    assert_int_equal(clvi_tuning_int(b->device, "group_work"), 12345);
    write_kernels(b, "relu.cl", "/* another one */\n");
    reopen(b);
    assert_int_equal(clvi_tuning_int(b->device, "group_work"), shipped);
    assert_non_null(strstr(log_text, "with another version of the kernels"));
}

static void test_broken_records(void **state)
{
    bench *b = *state;
    static const struct {
        const char *from, *to, *body, *message;
    } cases[] = {
        {NULL, NULL, "group_work = many\n", ":5: group_work: \"many\" is no count"},
        {NULL, NULL, "group_work = 0\n", ":5: group_work must be a number from 1 to"},
        {NULL, NULL, "vector = 5\n", ":5: vector must be a power of two from 4 to 16"},
        {NULL, NULL, "\nno_such_key = 1\n", ":6: the record "},
        {NULL, NULL, "form = round\n", ":5: form: \"round\" is no form"},
        {NULL, NULL, "gemm_large_nn = fast\n", ":5: gemm_large_nn is \"fast\""},
        {NULL, NULL, "[x]\ngroup_work = 1\n", ":6: tuning records have no sections"},
        {NULL, NULL, "nonsense\n", ":5: neither"},
        {"driver = ", "# driver = ", "group_work = 1\n", ":1: there is no line `driver"},
    };
    const int shipped = clvi_tuning_int(b->device, "group_work");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *path = write_record(b, cases[i].from, cases[i].to, cases[i].body), wanted[512];
        reopen(b);
        snprintf(wanted, sizeof(wanted), "%s%s", path, cases[i].message);
        if (strstr(log_text, wanted) == NULL)
            fail_msg("expected \"%s\" in \"%s\"", wanted, log_text);
        assert_non_null(strstr(log_text, "the shipped tuning record"));
        assert_int_equal(clvi_tuning_int(b->device, "group_work"), shipped);
        assert_null(clvi_device_tuning(b->device).path);
        clvi_free(path);
    }
    /* One that is given in so many words is no accident. */
    clvi_device *device = NULL;
    REFUSED(clvi_device_open(b->runtime, &(clvi_device_options){.tuning = "gemm_mr = 0\n"}, &device,
                             &b->error),
            CLV_E_CONFIG, "tuning record:1: gemm_mr must be");
    OK(clvi_device_open(b->runtime, &(clvi_device_options){.tuning = "gemm_mr = 3\n"}, &device,
                        &b->error));
    assert_int_equal(clvi_tuning_int(device, "gemm_mr"), 3);
    assert_true(clvi_device_tuning(device).changed);
    clvi_device_close(device);
}

static unsigned class_of(int64_t m, int64_t n, int64_t k, bool a, bool t)
{
    return clvi_gemm_class(
        &(clvi_gemm){.m = m, .n = n, .k = k, .transpose_a = a, .transpose_b = t});
}

static void test_classes_of_products(void **state)
{
    bench *b = *state;
    static const char *const names[] = {"small_nn", "small_nt", "small_tn", "small_tt"};
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(clvi_gemm_class_key(class_of(32, 32, 32, i & 2, i & 1)) + 5, names[i]);
    assert_string_equal(clvi_gemm_class_key(class_of(4, 4096, 25088, false, false)),
                        "gemm_thin_nn");
    assert_string_equal(clvi_gemm_class_key(class_of(4096, 63, 4096, true, false)), "gemm_thin_tn");
    assert_string_equal(clvi_gemm_class_key(class_of(64, 256, 256, false, true)), "gemm_large_nt");
    assert_string_equal(clvi_gemm_class_key(class_of(64, 256, 255, false, true)), "gemm_small_nt");
    assert_string_equal(clvi_gemm_class_key(class_of(1 << 22, 1 << 22, 1 << 22, true, true)),
                        "gemm_large_tt");

    /* Class by class, where the options leave it to the record. */
    clvi_device *device = NULL;
    clvi_device_options options = {.tuning = "gemm_large_nn = clblast\ngemm_thin_nn = native\n"};
    const clvi_gemm large = {.m = 256, .n = 256, .k = 256}, thin = {.m = 4, .n = 4096, .k = 4096},
                    small = {.m = 4, .n = 4, .k = 4};
    const bool otherwise = clvi_device_uses_clblast(b->device);
    OK(clvi_device_open(b->runtime, &options, &device, &b->error));
    assert_true(clvi_gemm_is_clblast(device, &large));
    assert_false(clvi_gemm_is_clblast(device, &thin));
    assert_int_equal(clvi_gemm_is_clblast(device, &small), otherwise);
    assert_non_null(strstr(clvi_device_banner(device), "native and CLBlast"));
    /* A plan for up to 256 rows must do for both. */
    const clvi_gemm_bound bound = clvi_gemm_workspace_bound(device, &large, false);
    for (int64_t m = 1; m <= 256; m += 51) {
        clvi_gemm g = large;
        g.m = m;
        assert_true((int64_t)clvi_gemm_workspace(device, &g) <=
                    bound.per_unit * m + bound.constant);
    }
    clvi_device_close(device);
    options.gemm = CLVI_GEMM_NATIVE;
    OK(clvi_device_open(b->runtime, &options, &device, &b->error));
    assert_false(clvi_gemm_is_clblast(device, &large));
    clvi_device_close(device);
}

int main(void)
{
    const int none = no_device();
    if (none != 0)
        return none;
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_record_counts),
        BENCH_TEST(test_record_of_something_else),
        BENCH_TEST(test_broken_records),
        BENCH_TEST(test_classes_of_products),
    };
    return cmocka_run_group_tests_name("tuned", tests, NULL, NULL);
}
