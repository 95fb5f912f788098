/* The kernel cache on disk, on whatever device there is (CONCLAVE_DEVICE chooses). Exit 77 without
 * one, failure when CONCLAVE_REQUIRE_DEVICE=1 says that there must be one. */
#include "runtime_bench.h"

#include <limits.h>
#include <sha2.h>

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

/* Kernels that PoCL's folder has compiled from programs that differ: one per program and kernel. */
static int count_in(const bench *b, const char *pocl, const char *kernel)
{
    char line[256], found[64] = "";
    snprintf(line, sizeof(line), "find '%s/%s' -path '*/%s/1-1-1-*.so' | wc -l", b->folder, pocl,
             kernel);
    FILE *count = popen(line, "r");
    assert_non_null(count);
    assert_non_null(fgets(found, sizeof(found), count));
    assert_int_equal(pclose(count), 0);
    return atoi(found);
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
    if (strstr(b->device->found->short_name, "PoCL") == NULL)
        skip();
    write_unique(b);
    run_child(b, "p1", "one", "cached 0 built 1 compiled 1\n");
    run_child(b, "p2", "two", "cached 1 built 0 compiled 1\n");
    run_child(b, "p3", "'(one'", "cached 1 built 0 compiled 0\n");
    /* What the binary held now lies in PoCL's folder. */
    assert_int_equal(count_in(b, "p3", "one") + count_in(b, "p3", "two"), 2);
    run_child(b, "p4", "one two", "cached 1 built 0 compiled 0\n");
}

/* What goes wrong with files: cut, longer, altered at its beginning or near its end, or whole but
 * nothing that the driver knows. */
enum { DEFECTS = 6 };

/* The file's content and length with a defect; the caller frees. */
static char *damage(const char *good, size_t bytes, int defect, size_t *length)
{
    enum { HASH_AT = 24, HEADER = HASH_AT + SHA256_DIGEST_LENGTH };
    char *bad = malloc(bytes + 1);
    assert_non_null(bad);
    memcpy(bad, good, bytes);
    bad[bytes] = 'x';
    *length = defect == 0 ? 0 : defect == 1 ? bytes - 1 : defect == 2 ? bytes + 1 : bytes;
    if (defect == 3)
        bad[0] ^= 1;
    if (defect == 4)
        bad[bytes - 7] ^= 1;
    if (defect == 5) {
        SHA2_CTX context;
        memset(bad + HEADER + 64, 'x', bytes - HEADER - 64); /* behind the list of kernels */
        if (memcmp(bad + HEADER, "", 1) == 0)                /* which bitcode has none in */
            memset(bad + HEADER + 1, 'x', 64);
        else
            memset(bad + HEADER + strlen(bad + HEADER) + 2, 'x', 8);
        SHA256Init(&context);
        SHA256Update(&context, (const uint8_t *)bad + HEADER, bytes - HEADER);
        SHA256Final((uint8_t *)bad + HASH_AT, &context);
    }
    return bad;
}

/* Files with defects are noticed, said, and made anew. */
static void try_defects(bench *b)
{
    char path[256];
    cache_file(b, path, sizeof(path));
    char *good = NULL;
    size_t bytes = 0, length = 0;
    OK(clvi_file_read(path, 1 << 28, &good, &bytes, &b->error));
    for (int i = 0; i < DEFECTS; i++) {
        char *bad = damage(good, bytes, i, &length);
        OK(clvi_file_write(path, bad, length, &b->error));
        free(bad);
        log_text[0] = '\0';
        reopen(b);
        launch_nothing(b);
        assert_int_equal(counters(b).programs_built, 1);
        assert_int_equal(counters(b).programs_cached, 0);
        assert_non_null(strstr(log_text, "is deleted and built anew"));
        assert_true(clvi_is_file(path) == b->device->programs.bitcode);
        clvi_device_save_programs(b->device);
        reopen(b);
        launch_nothing(b);
        assert_int_equal(counters(b).programs_cached, 1);
    }
    clvi_free(good);
}

static void test_defective_cache(void **state)
{
    bench *b = *state;
    launch_nothing(b);
    clvi_device_save_programs(b->device);
    if (b->device->programs.folder == NULL)
        skip();
    try_defects(b);
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

/* ---- Bitcode (PoCL, unless CONCLAVE_CACHE=1) ---- */

static bool keeps_bitcode(bench *b)
{
    unsetenv("CONCLAVE_CACHE");
    reopen(b);
    assert_true(b->device->programs.bitcode == b->device->found->pocl);
    return b->device->programs.bitcode;
}

static void expect_added(bench *b, int built)
{
    float v[2] = {0};
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 64, 0, &b->error));
    OK(launch_add(b, x, "", 1));
    OK(clvi_download(b->device, x, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == 2.0f);
    clvi_buf_destroy(x);
    assert_int_equal(counters(b).programs_built, built);
    assert_int_equal(counters(b).programs_cached, 1 - built);
    assert_string_equal(log_text, "");
}

static void test_bitcode(void **state)
{
    bench *b = *state;
    char path[256], text[4096];
    if (!keeps_bitcode(b))
        skip();
    expect_added(b, 1);
    cache_file(b, path, sizeof(path)); /* there before anything is saved */
    reopen(b);
    expect_added(b, 0);
    clvi_device_save_programs(b->device); /* nothing is left to save */
    cache_file(b, path, sizeof(path));
    /* Another source, other flags of PoCL's, and no cache. */
    snprintf(text, sizeof(text), "%s\n", bench_kernels);
    write_kernels(b, "t.cl", text);
    reopen(b);
    expect_added(b, 1);
    write_kernels(b, "t.cl", bench_kernels);
    setenv("POCL_EXTRA_BUILD_FLAGS", "-DUNUSED", 1);
    reopen(b);
    expect_added(b, 1);
    unsetenv("POCL_EXTRA_BUILD_FLAGS");
    setenv("CONCLAVE_CACHE", "0", 1);
    reopen(b);
    expect_added(b, 1);
    unsetenv("CONCLAVE_CACHE");
    reopen(b);
    expect_added(b, 0);
    /* What does not compile says so as without. */
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "broken", "broken", "");
    assert_int_equal(l.status, CLV_E_BUILD);
    assert_non_null(strstr(log_text, "error"));
}

static void test_defective_bitcode(void **state)
{
    bench *b = *state;
    if (!keeps_bitcode(b))
        skip();
    launch_nothing(b);
    try_defects(b);
}

/* Processes that start at once from nothing end up with the same bitcode: PoCL knows what any of
 * them compiled. */
static void test_bitcode_of_several(void **state)
{
    enum { CHILDREN = 4 };
    bench *b = *state;
    FILE *children[CHILDREN];
    char text[CHILDREN][2048], path[256];
    if (!keeps_bitcode(b))
        skip();
    write_unique(b);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = start(b, "p", i % 2 == 0 ? "one two" : "two one");
    for (int i = 0; i < CHILDREN; i++)
        finish(children[i], text[i], sizeof(text[i]));
    for (int i = 0; i < CHILDREN; i++)
        if (strchr(text[i], '\n')[1] != '\0') /* the log */
            fail_msg("%s", text[i]);
    cache_file(b, path, sizeof(path));
    assert_int_equal(count_in(b, "p", "one"), 1);
    assert_int_equal(count_in(b, "p", "two"), 1);
    run_child(b, "p", "one two", "cached 1 built 0 compiled 2\n");
    /* PoCL's folder is gone: what is there is all that it takes. */
    run_child(b, "q", "one", "cached 1 built 0 compiled 1\n");
    assert_int_equal(count_in(b, "q", "one"), 1);
}

/* Bitcode that cannot be kept is not used: PoCL would not know its kernels again. */
static void test_bitcode_that_cannot_be_written(void **state)
{
    bench *b = *state;
    setenv("CONCLAVE_CACHE_DIR", "/dev/null/cache", 1);
    if (!keeps_bitcode(b))
        skip();
    write_unique(b);
    run_child(b, "p", "one",
              "cached 0 built 1 compiled 1\n"
              "kernel cache: /dev/null/cache: /dev/null/cache: cannot make the folder /dev/null: "
              "Not a directory; set CONCLAVE_CACHE_DIR to another folder, or CONCLAVE_CACHE=0\n");
    setenv("CONCLAVE_CACHE", "0", 1);
    run_child(b, "p", "one", "cached 0 built 1 compiled 1\n");
    assert_int_equal(count_in(b, "p", "one"), 1); /* from the same source both times */
}

/* After a failure to write, no more bitcode is made, but what is there is used. */
static void test_bitcode_that_can_only_be_read(void **state)
{
    bench *b = *state;
    char path[256];
    if (!keeps_bitcode(b))
        skip();
    write_unique(b);
    expect_added(b, 1);
    reopen(b);
    const char *folder = b->device->programs.folder;
    b->device->programs.folder = "/dev/null/cache"; /* modes do not keep root from writing */
    launch_from_u(b, "one");
    b->device->programs.folder = folder;
    assert_int_equal(counters(b).programs_built, 1);
    assert_non_null(strstr(log_text, "cannot make the folder /dev/null"));
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 64, 0, &b->error));
    OK(launch_add(b, x, "", 1)); /* from the file */
    OK(launch_add(b, x, "-DUNUSED", 1));
    OK(clvi_wait(b->device, &b->error));
    clvi_buf_destroy(x);
    assert_int_equal(counters(b).programs_cached, 1);
    assert_int_equal(counters(b).programs_built, 2);
    cache_file(b, path, sizeof(path));
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
        BENCH_TEST(test_cache_round_trip),
        BENCH_TEST(test_cache_grows),
        BENCH_TEST(test_cache_of_several),
        BENCH_TEST(test_cache_holds_its_list),
        BENCH_TEST(test_defective_cache),
        BENCH_TEST(test_cache_that_cannot_be_written),
        BENCH_TEST(test_bitcode),
        BENCH_TEST(test_defective_bitcode),
        BENCH_TEST(test_bitcode_of_several),
        BENCH_TEST(test_bitcode_that_cannot_be_written),
        BENCH_TEST(test_bitcode_that_can_only_be_read),
    };
    return cmocka_run_group_tests_name("kernel_cache", tests, NULL, NULL);
}
