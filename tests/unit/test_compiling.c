/* What is said while kernels are compiled, and that another process helps. This program is its own
 * helper. Exit 77 without a device, failure when CONCLAVE_REQUIRE_DEVICE=1 says that there must be
 * one. */
#define _GNU_SOURCE
#include "base/child.h"
#include "base/clock.h"
#include "runtime/compiling.h"
#include "runtime_bench.h"

#include <glob.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

static void wait_seconds(double seconds)
{
    const struct timespec pause = {(time_t)seconds,
                                   (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
}

/* ---- The line ---- */

static char said[4096];

static void take_line(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    assert_int_equal(level, CLVI_LOG_INFO);
    const size_t used = strlen(said);
    snprintf(said + used, sizeof(said) - used, "%s\n", line);
}

static size_t count_lines(void)
{
    size_t lines = 0;
    for (const char *at = said; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

/* A second of compiling is silent, the next one is not; what takes as long in between is no
 * compiling. */
static void test_line(void **state)
{
    bench *b = *state;
    char part[160];
    said[0] = '\0';
    clvi_set_log_sink(take_line, NULL);
    clvi_compiling_begin(b->device, "quick", NULL);
    clvi_compiling_end(b->device);
    wait_seconds(1.2);
    assert_int_equal(count_lines(), 0);
    clvi_compiling_begin(b->device, "early", "early_fwd");
    wait_seconds(0.5);
    clvi_compiling_end(b->device);
    wait_seconds(0.7);
    assert_int_equal(count_lines(), 0);
    clvi_compiling_begin(b->device, "late", "late_bwd");
    wait_seconds(0.2);
    assert_int_equal(count_lines(), 0);
    wait_seconds(0.8);
    clvi_compiling_end(b->device);
    clvi_set_log_sink(take_log, NULL);
    snprintf(part, sizeof(part), "compiling kernels for %s,", b->device->found->short_name);
    assert_int_equal(count_lines(), 1);
    assert_non_null(strstr(said, part));
    assert_non_null(strstr(said, "late:late_bwd, 1 done"));
}

/* ---- Helpers ---- */

enum { KERNELS = 4 };

/* Kernels that nobody has compiled before: k0 … in u.cl. */
static void write_unique(bench *b)
{
    char text[8192];
    size_t used = (size_t)snprintf(text, sizeof(text),
                                   "#include \"part.clh\"\n__constant int unique_%s = 1;\n",
                                   b->folder + strlen(b->folder) - 6);
    for (int i = 0; i < KERNELS; i++)
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used,
                             "ONE void k%d(__global float *y, ulong y0, int n, __local float *t)\n"
                             "{\n"
                             "    for (t[0] = %d.0f; n > 0; n--)\n"
                             "        y[y0 + n - 1] = n - 1 + t[0];\n"
                             "}\n",
                             i, i);
    write_kernels(b, "u.cl", text);
}

static void launch_unique(bench *b, clvi_buf *y, int kernel)
{
    char name[8];
    clvi_launch l;
    snprintf(name, sizeof(name), "k%d", kernel);
    clvi_launch_begin(&l, b->device, "u", name, "");
    clvi_arg_view(&l, (clvi_view){y, 1});
    clvi_arg_int(&l, 2);
    clvi_arg_local(&l, 64);
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
}

static size_t count_compiled(const bench *b, int kernel)
{
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*/*/k%d/1-1-1-*/k%d.so", getenv("POCL_CACHE_DIR"),
             kernel, kernel);
    (void)b;
    const int status = glob(pattern, 0, NULL, &found);
    const size_t count = status == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return count;
}

static void open_with(bench *b, const char *helper)
{
    const clvi_device_options options = {.helper = helper};
    setenv("CONCLAVE_CACHE", "0", 1);
    clvi_device_close(b->device);
    b->device = NULL;
    OK(clvi_device_open(b->runtime, &options, &b->device, &b->error));
}

/* Rehearses all kernels; a launch in that time does nothing. */
static void rehearse(bench *b, clvi_buf *y)
{
    float v[4] = {1, 1, 1, 1};
    const clvi_device_counters before = counters(b);
    OK(clvi_upload(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(clvi_rehearsal_begin(b->device));
    for (int i = 0; i < 2 * KERNELS; i++)
        launch_unique(b, y, i % KERNELS);
    OK(clvi_fill(b->device, y, 0, 16, 0, &b->error));
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    clvi_rehearsal_end(b->device);
    assert_true(v[0] == 0 && v[3] == 0);
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(v[0] == 1 && v[1] == 1 && v[3] == 1);
    const clvi_device_counters after = counters(b);
    assert_int_equal(after.launches - before.launches, 0);
    assert_int_equal(after.programs_built - before.programs_built, 0);
}

static bool have_two_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

static void test_helper(void **state)
{
    bench *b = *state;
    clvi_buf *y = NULL;
    float v[4];
    open_with(b, "helper");
    write_unique(b);
    if (!b->device->found->pocl || !have_two_cores())
        skip();
    OK(clvi_buf_create(b->device, 64, "y", &y, &b->error));
    rehearse(b, y);
    launch_unique(b, y, 0); /* is new, so that help comes */
    assert_int_equal(count_compiled(b, 0), 1);
    const double began = clvi_now();
    while (count_compiled(b, KERNELS - 1) == 0 && clvi_now() - began < 60)
        wait_seconds(0.1);
    assert_int_equal(count_compiled(b, KERNELS - 1), 1); /* elsewhere: not launched here */
    launch_unique(b, y, KERNELS - 1);
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == KERNELS - 1 && v[2] == KERNELS);
    clvi_buf_destroy(y);
}

/* A helper that cannot be started, or dies, costs nothing but its help. */
static void test_helper_that_dies(void **state)
{
    bench *b = *state;
    clvi_buf *y = NULL;
    float v[4];
    open_with(b, "die");
    write_unique(b);
    if (!b->device->found->pocl)
        skip();
    OK(clvi_buf_create(b->device, 64, "y", &y, &b->error));
    rehearse(b, y);
    for (int i = 0; i < 3; i++)
        launch_unique(b, y, i);
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == 2 && v[2] == 3);
    clvi_buf_destroy(y);
}

/* Each kernel is launched once, over memory of nobody's; without a helper, too. Nothing is left to
 * compile; what has been launched is not launched again. */
static void test_perform(void **state)
{
    bench *b = *state;
    clvi_buf *y = NULL;
    float v[4] = {0};
    bool all = false;
    open_with(b, NULL);
    write_unique(b);
    if (!b->device->found->pocl)
        skip();
    OK(clvi_buf_create(b->device, 64, "y", &y, &b->error));
    rehearse(b, y);
    const clvi_device_counters before = counters(b);
    for (int again = 0; again < 2; again++) {
        OK(clvi_rehearsal_perform(b->device, &all, &b->error));
        assert_true(all);
        assert_int_equal(counters(b).kernels_compiled - before.kernels_compiled, KERNELS);
        assert_int_equal(counters(b).launches - before.launches, KERNELS);
    }
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(v[0] == 1 && v[1] == 1 && v[3] == 1);
    launch_unique(b, y, 2);
    OK(clvi_download(b->device, y, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == 2 && v[2] == 3);
    assert_int_equal(counters(b).kernels_compiled - before.kernels_compiled, KERNELS);
    clvi_buf_destroy(y);
}

static size_t count_threads(void)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(clvi_dir_list("/proc/self/task", &names, &count, NULL), CLV_OK);
    clvi_names_free(names, count);
    return count;
}

/* When all of the list has been launched, nobody is asked to help with what comes later, until the
 * next rehearsal. */
static void test_no_help_afterwards(void **state)
{
    bench *b = *state;
    clvi_buf *y = NULL;
    bool all = false;
    open_with(b, NULL);
    write_unique(b);
    if (!b->device->found->pocl || !have_two_cores())
        skip();
    OK(clvi_buf_create(b->device, 64, "y", &y, &b->error));
    rehearse(b, y);
    OK(clvi_rehearsal_perform(b->device, &all, &b->error));
    b->device->helper = "helper";
    clvi_compiling_begin(b->device, "u", "k0");
    const size_t before = count_threads();
    wait_seconds(0.2);
    clvi_compiling_end(b->device);
    assert_int_equal(count_threads(), before); /* each helper has one */
    /* What is rehearsed later may want help again. */
    rehearse(b, y);
    clvi_compiling_begin(b->device, "u", "k0");
    wait_seconds(0.2);
    clvi_compiling_end(b->device);
    assert_true(count_threads() > before);
    clvi_buf_destroy(y);
}

/* A kernel of a plugin's own source is left out, and that is said. */
static void test_perform_own(void **state)
{
    bench *b = *state;
    bool all = true;
    clvi_launch l;
    open_with(b, NULL);
    if (!b->device->found->pocl)
        skip();
    assert_true(clvi_rehearsal_begin(b->device));
    clvi_launch_begin(&l, b->device, "mine.scale", "scale_fwd", "");
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    clvi_rehearsal_end(b->device);
    OK(clvi_rehearsal_perform(b->device, &all, &b->error));
    assert_false(all);
    assert_int_equal(counters(b).launches, 0);
}

static int be_helper(const char *selector)
{
    const clvi_child_limits limits = {.cpu_seconds = 100};
    clv_error error = CLV_ERROR_INIT;
    clvi_runtime *runtime = NULL;
    clvi_device *device = NULL;
    FILE *report = NULL;
    clv_status status = clvi_child_begin(&limits, &report, &error);
    if (status == CLV_OK)
        status = clvi_runtime_create(&runtime, &error);
    if (status == CLV_OK)
        status =
            clvi_device_open(runtime, &(clvi_device_options){.select = selector}, &device, &error);
    if (status == CLV_OK)
        status = clvi_compile_list(device, stdin, report, &error);
    clvi_device_close(device);
    clvi_runtime_destroy(runtime);
    return status != CLV_OK;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/conclave-pocl-XXXXXX", command[128];
    if (argc == 4 && strcmp(argv[1], "helper") == 0)
        return be_helper(argv[3]);
    if (argc == 4 && strcmp(argv[1], "die") == 0)
        abort();
    /* PoCL looks once where its folder is. */
    if (mkdtemp(folder) == NULL || setenv("POCL_CACHE_DIR", folder, 1) != 0)
        return 2;
    const int verdict = no_device();
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_line),
        BENCH_TEST(test_helper),
        BENCH_TEST(test_helper_that_dies),
        BENCH_TEST(test_perform),
        BENCH_TEST(test_no_help_afterwards),
        BENCH_TEST(test_perform_own),
    };
    const int failed =
        verdict != 0 ? verdict : cmocka_run_group_tests_name("compiling", tests, NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command) != 0 ? 2 : failed;
}
