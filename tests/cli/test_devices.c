/* conclave devices and the choice of a device, with healthy kernels and with wrong ones.
 * Arguments: the command, the folder kernels, any plugin. Needs PoCL, of which it makes one device
 * or two. */
#include "base/files.h"
#include "calling.h"
#include "spoil.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

static char kernels[PATH_MAX], plugin[PATH_MAX];
static char folder[64]; /* of this test: cache, vendors, loose kernels */

#define OK(call) assert_int_equal(call, CLV_OK)

static void expect_not(const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" in \"%s\"", part, text);
}

static char *in_folder(const char *name)
{
    char *path = clvi_path_join(folder, name);
    assert_non_null(path);
    return path;
}

static void write_text(const char *name, const char *content)
{
    char *path = in_folder(name);
    OK(clvi_file_write(path, content, strlen(content), NULL));
    clvi_free(path);
}

static void make_folder(const char *name)
{
    char *path = in_folder(name);
    OK(clvi_make_dirs(path, 0700, NULL));
    clvi_free(path);
}

/* An environment variable that is the path of something in the folder. */
static void set_path(const char *variable, const char *name)
{
    char *path = in_folder(name);
    setenv(variable, path, 1);
    clvi_free(path);
}

static bool exists(const char *name)
{
    char *path = in_folder(name);
    const bool found = clvi_is_file(path);
    clvi_free(path);
    return found;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/try-devices-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_folder("pocl");
    write_text("pocl/pocl.icd", "libpocl.so.2\n");
    set_path("OCL_ICD_VENDORS", "pocl");
    set_path("CONCLAVE_CACHE_DIR", "cache");
    setenv("POCL_DEVICES", "pthread", 1);
    unsetenv("CONCLAVE_DEVICE");
    unsetenv("CONCLAVE_KERNEL_DIR");
    return 0;
}

static int tear_down(void **state)
{
    char line[128];
    (void)state;
    snprintf(line, sizeof(line), "rm -rf '%s'", folder);
    return system(line);
}

/* ---- The check ---- */

static void test_good(void **state)
{
    json_error_t problem;
    (void)state;
    expect("devices", 0, "self-check: good, matrix product ");
    expect("devices --json --quiet", 0, "");
    json_t *whole = json_loads(text, 0, &problem);
    assert_non_null(whole);
    json_t *devices = json_object_get(whole, "devices");
    assert_int_equal(json_array_size(devices), 1);
    json_t *device = json_array_get(devices, 0), *check = json_object_get(device, "self_check");
    assert_true(json_is_true(json_object_get(device, "auto")));
    assert_true(json_is_null(json_object_get(device, "refused")));
    assert_true(json_is_true(json_object_get(check, "good")));
    assert_true(json_number_value(json_object_get(check, "gflops")) > 0);
    json_decref(whole);
    /* What was found is shown without another check, and forgotten with the cache. */
    expect("devices --no-check", 0, "self-check: good");
    setenv("CONCLAVE_CACHE", "0", 1);
    expect("devices --no-check", 0, "* is taken by select = auto");
    unsetenv("CONCLAVE_CACHE");
    expect_not("self-check");
}

/* Copies the kernels, with a statement put at the beginning of each kernel of one file. */
static void spoil(const char *file, const char *statement)
{
    char **names = NULL;
    size_t count = 0;
    make_folder("kernels");
    OK(clvi_dir_list(kernels, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        const char *dot = strrchr(names[i], '.');
        char *from = clvi_path_join(kernels, names[i]), *source = NULL, name[PATH_MAX];
        size_t bytes = 0;
        if (dot != NULL && (strcmp(dot, ".cl") == 0 || strcmp(dot, ".clh") == 0)) {
            OK(clvi_file_read(from, 1 << 20, &source, &bytes, NULL));
            clvi_text out = {0};
            append_spoiled(&out, source, strcmp(names[i], file) == 0 ? statement : "");
            snprintf(name, sizeof(name), "kernels/%s", names[i]);
            write_text(name, clvi_text_get(&out));
            clvi_text_fini(&out);
            clvi_free(source);
        }
        clvi_free(from);
    }
    clvi_names_free(names, count);
    set_path("CONCLAVE_KERNEL_DIR", "kernels");
}

static void test_unspoiled_copy(void **state)
{
    (void)state;
    spoil("conv2d.cl", "");
    expect("devices", 0, "self-check: good");
}

static void test_wrong(void **state)
{
    (void)state;
    spoil("conv2d.cl", "\n    if (get_group_id(0) == 0)\n        return;\n");
    expect("devices", 0, "refused: self-check: convolution: ");
    expect_not("is taken by select = auto");
    /* Remembered: a device that was found to be wrong is not used. */
    expect("bench --op gemm:8,8,8", 1, "conclave: device 0:0 (Portable Computing Language, ");
    expect("bench --op gemm:8,8,8", 1, "failed its self-check: convolution: ");
    expect("devices --json --quiet", 0, "\"reason\": \"convolution: ");
    /* But no longer than the kernels stay as they are. */
    unsetenv("CONCLAVE_KERNEL_DIR");
    expect("bench --op gemm:8,8,8", 0, "GFLOP/s");
}

static void test_no_build(void **state)
{
    (void)state;
    spoil("batch_norm.cl", "\n    nonsense;\n");
    expect("devices", 0, "refused: self-check: reduction: ");
}

static void test_crash(void **state)
{
    (void)state;
    spoil("gemm.cl", "\n    *(volatile __global int *)64 = 1;\n");
    expect("devices", 0,
           "refused: self-check: matrix product: the process was ended by signal 11 ");
}

static void test_hang(void **state)
{
    (void)state;
    spoil("gemm.cl", "\n    volatile int turn = 0;\n    while (turn == 0)\n        ;\n");
    expect("devices --time-limit 3", 0,
           "refused: self-check: matrix product: nothing came back within 3 s");
}

/* ---- The choice ---- */

static const char bench[] = "bench --op gemm:8,8,8";

static void test_one(void **state)
{
    (void)state;
    expect(bench, 0, "device: PoCL ");
    expect_not("self-check");
    assert_false(exists("cache/devices.json")); /* no child, no delay */
}

/* A variable as it was, or none. */
static void put_back(const char *variable, char *before)
{
    if (before != NULL)
        setenv(variable, before, 1);
    else
        unsetenv(variable);
    free(before);
}

/* PoCL offers no device where its folder cannot be made: then one of our own is used. */
static void test_no_home(void **state)
{
    (void)state;
    static const char *const variables[] = {"POCL_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR"};
    enum { VARIABLES = sizeof(variables) / sizeof(variables[0]) };
    char *before[VARIABLES], own[64];
    for (int i = 0; i < VARIABLES; i++) {
        const char *value = getenv(variables[i]);
        before[i] = value != NULL ? strdup(value) : NULL;
    }
    make_folder("temporary");
    unsetenv("POCL_CACHE_DIR");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/dev/null", 1);
    set_path("TMPDIR", "temporary");
    expect("devices --no-check", 0, "/dev/null/.cache/pocl/kcache cannot be written: compiled");
    assert_non_null(strstr(text, "* 0:0 "));
    snprintf(own, sizeof(own), "temporary/conclave-pocl-%ld", (long)geteuid());
    char *path = in_folder(own);
    assert_true(clvi_is_dir(path));
    /* Not one that others may write to. */
    assert_int_equal(chmod(path, 0777), 0);
    expect("devices --no-check", 0, "warning: neither /dev/null/.cache/pocl/kcache nor ");
    clvi_free(path);
    set_path("POCL_CACHE_DIR", "temporary");
    expect("devices --no-check", 0, "* 0:0 ");
    assert_null(strstr(text, "cannot be written"));
    for (int i = 0; i < VARIABLES; i++)
        put_back(variables[i], before[i]);
}

static void test_two(void **state)
{
    (void)state;
    setenv("POCL_DEVICES", "pthread pthread", 1);
    expect(bench, 0, "trying out which of 2 is fastest, once");
    assert_non_null(strstr(text, ", fastest of 2 in the self-check ("));
    assert_true(exists("cache/devices.json"));
    expect(bench, 0, ", fastest of 2 in the self-check (");
    expect_not("trying out");
    expect("bench --op gemm:8,8,8 --device 0:1", 0, "device: PoCL ");
    expect_not("self-check");
    /* Without a cache there is nothing to remember it in. */
    setenv("CONCLAVE_CACHE", "0", 1);
    expect(bench, 0, "trying out");
    unsetenv("CONCLAVE_CACHE");
    setenv("CONCLAVE_DEVICE", "0:1", 1);
    expect(bench, 0, "device: PoCL ");
    unsetenv("CONCLAVE_DEVICE");
    expect_not("self-check");
}

/* Changes what is remembered of the two devices. */
static void set_remembered(const char *first, const char *second)
{
    char *path = in_folder("cache/devices.json");
    json_t *whole = json_load_file(path, 0, NULL);
    json_t *devices = json_object_iter_value(json_object_iter(whole));
    assert_int_equal(json_object_size(devices), 2);
    json_object_set_new(devices, "0:0", json_loads(first, 0, NULL));
    json_object_set_new(devices, "0:1", json_loads(second, 0, NULL));
    assert_int_equal(json_dump_file(whole, path, 0), 0);
    json_decref(whole);
    clvi_free(path);
}

static void test_fastest(void **state)
{
    (void)state;
    setenv("POCL_DEVICES", "pthread pthread", 1);
    expect(bench, 0, "trying out");
    set_remembered("{\"good\": true, \"gflops\": 10}", "{\"good\": true, \"gflops\": 20}");
    expect("devices --no-check", 0, "\n* 0:1 ");
    expect(bench, 0, ", fastest of 2 in the self-check (20 GFLOP/s)");
    set_remembered("{\"good\": true, \"gflops\": 19}", "{\"good\": true, \"gflops\": 20}");
    expect("devices --no-check", 0, "* 0:0 "); /* about equal: the first one */
    set_remembered("{\"good\": false, \"text\": \"odd\"}", "{\"good\": true, \"gflops\": 20}");
    expect("devices --no-check", 0, "refused: self-check: odd\n* 0:1 ");
    expect(bench, 0, ", fastest of 2 in the self-check (20 GFLOP/s)");
    expect("bench --op gemm:8,8,8 --device 0:0", 1, "failed its self-check: odd; ");
    set_remembered("{\"good\": false, \"text\": \"odd\"}", "{\"good\": false, \"text\": \"ends\"}");
    expect(bench, 1, "conclave: all 2 OpenCL devices fail their self-check");
    /* A file that is of no use counts as none. */
    write_text("cache/devices.json", "{\"x\": [");
    expect(bench, 0, "trying out");
    assert_non_null(strstr(text, "fastest of 2"));
}

/* ---- What gives no device ---- */

static void test_notes(void **state)
{
    (void)state;
    make_folder("vendors");
    set_path("OCL_ICD_VENDORS", "vendors");
    expect("devices", 0, "no OpenCL device\n");
    assert_non_null(strstr(text, "vendors names no OpenCL implementation that can be loaded"));
    write_text("vendors/a.icd", "libno-such-thing.so.7\n");
    write_text("vendors/b.icd", plugin); /* a library, but no OpenCL */
    write_text("vendors/c.icd", "\n");
    write_text("vendors/d.icd", "libpocl.so.2\n");
    expect("devices --no-check", 0, "PoCL");
    assert_non_null(strstr(text, "a.icd is installed, but its library does not load (libno-such"));
    assert_non_null(strstr(text, "gate_average.so offers no OpenCL platform"));
    assert_non_null(strstr(text, "c.icd names no library"));
    expect_not("d.icd");
    set_path("OCL_ICD_VENDORS", "vendors/a.icd");
    expect(bench, 1, "a.icd is installed, but its library does not load");
}

int main(int argc, char **argv)
{
    if (argc != 4 || realpath(argv[1], command) == NULL || realpath(argv[2], kernels) == NULL ||
        realpath(argv[3], plugin) == NULL) {
        fputs("usage: test_devices CONCLAVE KERNELS PLUGIN\n", stderr);
        return 2;
    }
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(test_good),    ROW(test_unspoiled_copy), ROW(test_wrong),   ROW(test_no_build),
        ROW(test_crash),   ROW(test_hang),           ROW(test_one),     ROW(test_two),
        ROW(test_fastest), ROW(test_notes),          ROW(test_no_home),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
