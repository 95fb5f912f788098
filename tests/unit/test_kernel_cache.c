/* The kernel cache on disk, on whatever device there is (CONCLAVE_DEVICE chooses). Exit 77 without
 * one, failure when CONCLAVE_REQUIRE_DEVICE=1 says that there must be one. */
#include "runtime_bench.h"

#include <limits.h>

static char own_path[PATH_MAX];

/* Path of the only file in the cache. */
static void cache_file(bench *b, char *path, size_t bytes)
{
    char folder[128];
    char **names = NULL;
    size_t count = 0;
    snprintf(folder, sizeof(folder), "%s/cache", b->folder);
    OK(clvi_dir_list(folder, &names, &count, &b->error));
    assert_int_equal(count, 1);
    snprintf(path, bytes, "%s/%s", folder, names[0]);
    clvi_names_free(names, count);
}

static void test_cache_round_trip(void **state)
{
    bench *b = *state;
    launch_nothing(b);
    clvi_device_save_programs(b->device);
    if (b->device->programs.folder == NULL)
        skip(); /* NVIDIA */
    reopen(b);
    launch_nothing(b);
    assert_int_equal(counters(b).programs_cached, 1);
    assert_int_equal(counters(b).programs_built, 0);
    assert_int_equal(counters(b).kernels_compiled, 0);
    /* A kernel more than the file holds is compiled, saved, and known the next time. */
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 64, 0, &b->error));
    OK(launch_add(b, x, "", 1));
    clvi_buf_destroy(x);
    assert_int_equal(counters(b).kernels_compiled, 1);
    clvi_device_save_programs(b->device);
    reopen(b);
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 64, 0, &b->error));
    OK(launch_add(b, x, "", 1));
    launch_nothing(b);
    float v[2] = {0};
    OK(clvi_download(b->device, x, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == 2.0f);
    clvi_buf_destroy(x);
    assert_int_equal(counters(b).programs_cached, 1);
    assert_int_equal(counters(b).kernels_compiled, 0);
    assert_string_equal(log_text, "");
    /* Another source is another file; so are other options. */
    char text[4096];
    snprintf(text, sizeof(text), "%s\n", bench_kernels);
    write_kernels(b, "t.cl", text);
    reopen(b);
    launch_nothing(b);
    assert_int_equal(counters(b).programs_built, 1);
    setenv("CONCLAVE_CACHE", "0", 1);
    write_kernels(b, "t.cl", bench_kernels);
    reopen(b);
    launch_nothing(b);
    assert_int_equal(counters(b).programs_built, 1);
}

/* A source that PoCL's own cache, which goes by what the preprocessor leaves, cannot know. */
static void write_unique(bench *b)
{
    char text[256];
    snprintf(text, sizeof(text),
             "#include \"part.clh\"\n__constant int unique_%s = 1;\nONE void one(uint a) {}\n"
             "ONE void two(uint a) {}\n",
             b->folder + strlen(b->folder) - 6);
    write_kernels(b, "u.cl", text);
}

static void launch_from_u(bench *b, const char *kernel)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "u", kernel, "");
    clvi_arg_uint(&l, 1);
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    clvi_device_save_programs(b->device);
}

/* PoCL compiles at the first launch, and answers for a program made from a binary with that binary:
 * the code of a kernel launched later must reach the cache all the same. */
static void test_cache_grows(void **state)
{
    bench *b = *state;
    char path[256], *file = NULL;
    size_t before = 0, after = 0;
    if (strstr(b->device->found->short_name, "PoCL") == NULL)
        skip();
    write_unique(b);
    launch_from_u(b, "one");
    cache_file(b, path, sizeof(path));
    OK(clvi_file_read(path, 1 << 28, &file, &before, &b->error));
    clvi_free(file);
    reopen(b);
    launch_from_u(b, "two");
    assert_int_equal(counters(b).programs_cached, 1);
    assert_int_equal(counters(b).kernels_compiled, 1);
    OK(clvi_file_read(path, 1 << 28, &file, &after, &b->error));
    clvi_free(file);
    assert_true(after > before + 4096);
}

/* ---- Several processes ---- */

/* This program as a child: launches the kernels named, of u.cl, saves, and prints what was counted
 * and what the log was given. A kernel in brackets is not launched. */
static int be_child(int count, char **names)
{
    bench child = {.error = CLV_ERROR_INIT}, *b = &child;
    clvi_set_log_sink(take_log, NULL);
    clv_status status = clvi_runtime_create(&b->runtime, &b->error);
    if (status == CLV_OK)
        status = clvi_device_open(b->runtime, &(clvi_device_options){0}, &b->device, &b->error);
    for (int i = 0; i < count && status == CLV_OK; i++) {
        const bool launched = names[i][0] != '(';
        clvi_launch l;
        clvi_launch_begin(&l, b->device, "u", names[i] + !launched, "");
        clvi_arg_uint(&l, 1);
        status = launched ? clvi_launch_run(&l, 1, 1, 1, &b->error) : l.status;
    }
    if (status == CLV_OK) {
        const clvi_device_counters c = counters(b);
        clvi_device_save_programs(b->device);
        printf("cached %d built %d compiled %d\n%s", (int)c.programs_cached, (int)c.programs_built,
               (int)c.kernels_compiled, log_text);
    } else {
        printf("%s\n", b->error.message);
    }
    clvi_device_close(b->device);
    clvi_runtime_destroy(b->runtime);
    return status != CLV_OK;
}

/* Starts such a child, its PoCL with a folder of its own in the bench's; finish reads to the end.
 */
static FILE *start(const bench *b, const char *pocl, const char *names)
{
    char line[PATH_MAX + 512];
    fflush(stdout);
    snprintf(line, sizeof(line), "POCL_CACHE_DIR='%s/%s' '%s' child %s 2>&1", b->folder, pocl,
             own_path, names);
    FILE *child = popen(line, "r");
    assert_non_null(child);
    return child;
}

static void finish(FILE *child, char *text, size_t bytes)
{
    const size_t used = fread(text, 1, bytes - 1, child);
    text[used] = '\0';
    if (pclose(child) != 0)
        fail_msg("%s", text);
}

static void run_child(const bench *b, const char *pocl, const char *names, const char *wanted)
{
    char text[2048];
    finish(start(b, pocl, names), text, sizeof(text));
    if (strcmp(text, wanted) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", names, text, wanted);
}

/* Processes that build, launch and save the same kernels at once, from nothing. */
static void test_cache_of_several(void **state)
{
    enum { CHILDREN = 4 };
    bench *b = *state;
    FILE *children[CHILDREN];
    char text[CHILDREN][2048];
    if (b->device->programs.folder == NULL)
        skip();
    write_unique(b);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = start(b, "p", i % 2 == 0 ? "one two" : "two one");
    for (int i = 0; i < CHILDREN; i++)
        finish(children[i], text[i], sizeof(text[i]));
    for (int i = 0; i < CHILDREN; i++)
        if (strchr(text[i], '\n')[1] != '\0') /* the log */
            fail_msg("%s", text[i]);
    char path[256];
    cache_file(b, path, sizeof(path)); /* one, and nothing that is half-written */
    run_child(b, "p", "one two", "cached 1 built 0 compiled 0\n");
}

/* The file's list of kernels is what its binary holds, also where PoCL's own folder is gone. */
static void test_cache_holds_its_list(void **state)
{
    bench *b = *state;
    char line[256], found[64] = "";
    if (strstr(b->device->found->short_name, "PoCL") == NULL)
        skip();
    write_unique(b);
    run_child(b, "p1", "one", "cached 0 built 1 compiled 1\n");
    run_child(b, "p2", "two", "cached 1 built 0 compiled 1\n");
    run_child(b, "p3", "'(one'", "cached 1 built 0 compiled 0\n");
    /* What the binary held now lies in PoCL's folder. */
    snprintf(line, sizeof(line), "find '%s/p3' -path '*/1-1-1-*.so' | wc -l", b->folder);
    FILE *count = popen(line, "r");
    assert_non_null(count);
    assert_non_null(fgets(found, sizeof(found), count));
    assert_int_equal(pclose(count), 0);
    assert_int_equal(atoi(found), 2);
    run_child(b, "p4", "one two", "cached 1 built 0 compiled 0\n");
}

static void test_defective_cache(void **state)
{
    bench *b = *state;
    char path[256];
    launch_nothing(b);
    clvi_device_save_programs(b->device);
    if (b->device->programs.folder == NULL)
        skip();
    cache_file(b, path, sizeof(path));
    char *good = NULL;
    size_t bytes = 0;
    OK(clvi_file_read(path, 1 << 28, &good, &bytes, &b->error));
    for (int i = 0; i < 5; i++) {
        char *bad = malloc(bytes + 1);
        size_t length = bytes;
        assert_non_null(bad);
        memcpy(bad, good, bytes);
        bad[bytes] = 'x';
        if (i == 0)
            length = 0;
        else if (i == 1)
            length = bytes - 1;
        else if (i == 2)
            length = bytes + 1;
        else if (i == 3)
            bad[0] ^= 1;
        else
            bad[bytes - 7] ^= 1;
        OK(clvi_file_write(path, bad, length, &b->error));
        free(bad);
        log_text[0] = '\0';
        reopen(b);
        launch_nothing(b);
        assert_int_equal(counters(b).programs_built, 1);
        assert_int_equal(counters(b).programs_cached, 0);
        assert_non_null(strstr(log_text, "is deleted and built anew"));
        assert_false(clvi_is_file(path));
        clvi_device_save_programs(b->device);
        reopen(b);
        launch_nothing(b);
        assert_int_equal(counters(b).programs_cached, 1);
    }
    clvi_free(good);
}

static void test_cache_that_cannot_be_written(void **state)
{
    bench *b = *state;
    setenv("CONCLAVE_CACHE_DIR", "/dev/null/cache", 1);
    reopen(b);
    launch_nothing(b);
    clvi_device_save_programs(b->device);
    clvi_device_save_programs(b->device);
    if (b->device->programs.folder != NULL)
        assert_non_null(strstr(log_text, "kernel cache: /dev/null/cache"));
    OK(clvi_wait(b->device, &b->error));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return be_child(argc - 2, argv + 2);
    if (realpath(argv[0], own_path) == NULL)
        return 2;
    const int verdict = no_device();
    if (verdict != 0)
        return verdict;
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_cache_round_trip), BENCH_TEST(test_cache_grows),
        BENCH_TEST(test_cache_of_several), BENCH_TEST(test_cache_holds_its_list),
        BENCH_TEST(test_defective_cache),  BENCH_TEST(test_cache_that_cannot_be_written),
    };
    return cmocka_run_group_tests_name("kernel_cache", tests, NULL, NULL);
}
