/* core/runtime on whatever device there is (CONCLAVE_DEVICE chooses). Exit 77 without one, failure
 * when CONCLAVE_REQUIRE_DEVICE=1 says that there must be one. */
#define _GNU_SOURCE
#include "base/files.h"
#include "base/process.h"
#include "runtime/device.h"
#include "runtime/peak.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char kernels_text[] =
    "#include \"part.clh\"\n"
    "ONE void add(__global float *y, ulong y0, __global const float *x, ulong x0, int n, float a)\n"
    "{\n"
    "    for (int i = (int)get_group_id(0); i < n; i += (int)get_num_groups(0))\n"
    "        y[y0 + i] = x[x0 + i] + a * SCALE;\n"
    "}\n"
    "ONE void nothing(uint value) {}\n"
    "ONE void slow(__global float *y, ulong y0, int n)\n"
    "{\n"
    "    float x = y[y0 + get_group_id(0)];\n"
    "    for (int i = 0; i < n; i++)\n"
    "        x = fma(x, 0.5f, 1.0f);\n"
    "    y[y0 + get_group_id(0)] = x;\n"
    "}\n"
    "__attribute__((reqd_work_group_size(8, 1, 1))) __kernel void\n"
    "turn(__global float *y, ulong y0, __local float *t)\n"
    "{\n"
    "    const int i = (int)get_local_id(0);\n"
    "    t[i] = y[y0 + get_global_id(0)];\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    y[y0 + get_global_id(0)] = t[7 - i];\n"
    "}\n"
    "__kernel void unsized(uint value) {}\n";
static const char part_text[] =
    "#define ONE __attribute__((reqd_work_group_size(1, 1, 1))) __kernel\n"
    "#ifndef SCALE\n#define SCALE 1.0f\n#endif\n"
    "#if CLV_V != 4 && CLV_V != 8 && CLV_V != 16\n#error no width\n"
    "#endif\n";
static const char broken_text[] = "\n\n__kernel void broken(uint value) { nonsense; }\n";

/* A folder with loose kernels, and a device that is opened with it. */
typedef struct bench {
    char folder[64];
    clvi_runtime *runtime;
    clvi_device *device;
    clv_error error;
} bench;

static char log_text[8192];

static void take_log(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)level;
    const size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        clvi_error_clear(&b->error);                                                               \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", b->error.message);                                                      \
    } while (0)

/* The call fails with `status`, and its sentence has `part`. */
#define REFUSED(call, code, part)                                                                  \
    do {                                                                                           \
        clvi_error_clear(&b->error);                                                               \
        assert_int_equal(call, code);                                                              \
        assert_int_equal(b->error.status, code);                                                   \
        if (strstr(b->error.message, part) == NULL)                                                \
            fail_msg("expected \"%s\" in \"%s\"", part, b->error.message);                         \
    } while (0)

static void write_kernels(bench *b, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", b->folder, name);
    OK(clvi_file_write(path, text, strlen(text), &b->error));
}

static void open_device(bench *b)
{
    OK(clvi_device_open(b->runtime, &(clvi_device_options){0}, &b->device, &b->error));
}

static void reopen(bench *b)
{
    clvi_device_close(b->device);
    b->device = NULL;
    open_device(b);
}

static clvi_device_counters counters(const bench *b)
{
    clvi_device_counters now;
    clvi_device_get_counters(b->device, &now);
    return now;
}

static int set_up(void **state)
{
    bench *b = calloc(1, sizeof(*b));
    char cache[128];
    assert_non_null(b);
    *state = b;
    strcpy(b->folder, "/tmp/conclave-runtime-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->error = (clv_error)CLV_ERROR_INIT;
    snprintf(cache, sizeof(cache), "%s/cache", b->folder);
    setenv("CONCLAVE_KERNEL_DIR", b->folder, 1);
    setenv("CONCLAVE_CACHE_DIR", cache, 1);
    unsetenv("CONCLAVE_CACHE");
    unsetenv("CONCLAVE_SYNC");
    write_kernels(b, "part.clh", part_text);
    write_kernels(b, "t.cl", kernels_text);
    write_kernels(b, "broken.cl", broken_text);
    log_text[0] = '\0';
    clvi_set_log_sink(take_log, NULL);
    OK(clvi_runtime_create(&b->runtime, &b->error));
    open_device(b);
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    char command[128];
    clvi_device_close(b->device);
    clvi_runtime_destroy(b->runtime);
    clvi_set_log_sink(NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf '%s'", b->folder);
    const int status = system(command);
    free(b);
    return status;
}

/* ---- Finding devices ---- */

static void test_enumerate(void **state)
{
    bench *b = *state;
    const size_t count = clvi_runtime_device_count(b->runtime);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const clvi_device_info *info = clvi_runtime_device(b->runtime, i), *found = NULL;
        assert_true(info->name[0] != '\0' && info->platform[0] != '\0');
        assert_true(info->align_bytes >= 128);
        if (info->refused != NULL) {
            REFUSED(clvi_runtime_find(b->runtime, info->selector, &found, &b->error), CLV_E_DEVICE,
                    info->refused);
            continue;
        }
        OK(clvi_runtime_find(b->runtime, info->selector, &found, &b->error));
        assert_ptr_equal(found, info);
    }
    assert_non_null(clvi_runtime_notes(b->runtime));
}

static void test_selection(void **state)
{
    bench *b = *state;
    const clvi_device_info *mine = clvi_device_get_info(b->device), *found = NULL;
    char part[64], candidate[128];
    /* The second half of the name, in other letters. */
    snprintf(part, sizeof(part), "%.40s", mine->name + strlen(mine->name) / 2);
    for (char *c = part; *c != '\0'; c++)
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    OK(clvi_runtime_find(b->runtime, part, &found, &b->error));
    snprintf(candidate, sizeof(candidate), "candidates: %s",
             clvi_runtime_device(b->runtime, 0)->selector);
    found = NULL;
    REFUSED(clvi_runtime_find(b->runtime, "Voodoo 3", &found, &b->error), CLV_E_DEVICE, candidate);
    assert_non_null(strstr(b->error.message, "\"Voodoo 3\""));
    assert_null(found);
    REFUSED(clvi_runtime_find(b->runtime, "99:0", &found, &b->error), CLV_E_DEVICE, candidate);
    REFUSED(clvi_runtime_find(b->runtime, "0:99", &found, &b->error), CLV_E_DEVICE, candidate);

    char before[128] = "";
    const char *chosen = getenv("CONCLAVE_DEVICE");
    snprintf(before, sizeof(before), "%s", chosen != NULL ? chosen : "");
    setenv("CONCLAVE_DEVICE", "Voodoo 5", 1);
    REFUSED(clvi_runtime_find(b->runtime, "auto", &found, &b->error), CLV_E_DEVICE, "Voodoo 5");
    OK(clvi_runtime_find(b->runtime, mine->selector, &found, &b->error));
    assert_ptr_equal(found, mine);
    setenv("CONCLAVE_DEVICE", before, 1);
}

static void test_no_device(void **state)
{
    /* The loader reads OCL_ICD_VENDORS once per process, so an empty runtime is made by hand. */
    bench *b = *state;
    clvi_runtime empty = {0};
    const clvi_device_info *found = NULL;
    REFUSED(clvi_runtime_find(&empty, "auto", &found, &b->error), CLV_E_DEVICE,
            "there is no OpenCL device");
    assert_null(found);
}

static void test_banner_and_tuning(void **state)
{
    bench *b = *state;
    const char *banner = clvi_device_banner(b->device);
    assert_non_null(strstr(banner, clvi_device_get_info(b->device)->name));
    assert_non_null(strstr(banner, clvi_device_get_info(b->device)->driver));
    assert_non_null(strstr(banner, clvi_device_uses_clblast(b->device) ? "CLBlast" : "native"));
    const int vector = clvi_tuning_int(b->device, "vector");
    assert_true(vector == 4 || vector == 8 || vector == 16);
    assert_true(clvi_tuning_int(b->device, "gemm_mr") > 0);
    if (clvi_device_get_info(b->device)->type == CLVI_DEVICE_CPU && !b->device->found->rusticl)
        assert_false(clvi_device_uses_clblast(b->device));
    clvi_device *forced = NULL;
    OK(clvi_device_open(b->runtime, &(clvi_device_options){.gemm = CLVI_GEMM_CLBLAST}, &forced,
                        &b->error));
    assert_true(clvi_device_uses_clblast(forced));
    assert_non_null(strstr(clvi_device_banner(forced), "CLBlast"));
    clvi_device_close(forced);
}

static void test_bad_tuning_records(void **state)
{
    bench *b = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"# x\nvector = 16\nmr = eight\n", ":3: mr: \"eight\" is no count"},
        {"vector = 16\nvector = 8\n", ":2: vector is given twice"},
        {"vector = 16\n[gemm]\nmr = 8\n", ":3: tuning records have no sections"},
        {"vector = 16\nnonsense\n", ":2: neither"},
        {"vector = 16\nA b = 1\n", ":2: \"A b\" is no key"},
        {"vector = 3\n", "vector must be 4, 8 or 16"},
        {"mr = 8\n", "vector must be 4, 8 or 16"},
        {"vector = 16\nmr = -1\n", ":2: mr: \"-1\" is no count"},
    };
    char path[128], name[64];
    snprintf(path, sizeof(path), "%s/tuning", b->folder);
    OK(clvi_make_dirs(path, 0755, &b->error));
    snprintf(name, sizeof(name), "tuning/%s.ini", b->device->tuning.record);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clvi_device *device = NULL;
        write_kernels(b, name, cases[i].text);
        REFUSED(clvi_device_open(b->runtime, &(clvi_device_options){0}, &device, &b->error),
                CLV_E_CONFIG, cases[i].message);
        assert_non_null(strstr(b->error.message, name));
        assert_null(device);
    }
}

/* ---- Memory ---- */

static void test_buffers_are_counted(void **state)
{
    bench *b = *state;
    clvi_buf *one = NULL, *two = NULL, *three = NULL;
    OK(clvi_buf_create(b->device, 1000, "one", &one, &b->error));
    OK(clvi_buf_create(b->device, 500, "two", &two, &b->error));
    assert_int_equal(clvi_buf_bytes(one), 1000);
    assert_int_equal(counters(b).live_bytes, 1500);
    assert_int_equal(counters(b).live_buffers, 2);
    clvi_buf_destroy(one);
    OK(clvi_buf_create(b->device, 100, "three", &three, &b->error));
    assert_int_equal(counters(b).live_bytes, 600);
    assert_int_equal(counters(b).peak_bytes, 1500);
    clvi_buf_destroy(two);
    clvi_buf_destroy(three);
    clvi_buf_destroy(NULL);
    assert_int_equal(counters(b).live_bytes, 0);
    assert_int_equal(counters(b).live_buffers, 0);

    one = NULL;
    const uint64_t most = clvi_device_get_info(b->device)->max_alloc_bytes;
    REFUSED(clvi_buf_create(b->device, (size_t)most + 1, "huge", &one, &b->error), CLV_E_MEMORY,
            "buffer \"huge\" of");
    assert_non_null(strstr(b->error.message, "in one buffer"));
    REFUSED(clvi_buf_create(b->device, 0, "none", &one, &b->error), CLV_E_INTERNAL, "\"none\"");
    assert_null(one);
}

static void test_leaks_are_reported(void **state)
{
    bench *b = *state;
    clvi_buf *lost = NULL;
    OK(clvi_buf_create(b->device, 64, "lost", &lost, &b->error));
    reopen(b);
    assert_non_null(strstr(log_text, "leak: buffer \"lost\" of 64 bytes"));
}

static void test_transfers(void **state)
{
    bench *b = *state;
    float in[100], out[100];
    clvi_buf *x = NULL, *y = NULL;
    for (int i = 0; i < 100; i++)
        in[i] = (float)i;
    OK(clvi_buf_create(b->device, sizeof(in), "x", &x, &b->error));
    OK(clvi_buf_create(b->device, sizeof(in), "y", &y, &b->error));
    OK(clvi_upload(b->device, x, 0, in, sizeof(in), &b->error));
    memset(in, 0, sizeof(in));                                          /* must have been copied */
    OK(clvi_fill(b->device, y, 0, sizeof(in), 0x40000000u, &b->error)); /* 2.0f */
    OK(clvi_copy(b->device, x, 40, y, 80, 120, &b->error));
    OK(clvi_download(b->device, y, 0, out, sizeof(out), &b->error));
    assert_int_equal(counters(b).reads, 1);
    for (int i = 0; i < 100; i++)
        assert_true(out[i] == (i < 20 || i >= 50 ? 2.0f : (float)(i - 10)));
    OK(clvi_download(b->device, x, 4 * 99, out, 4, &b->error));
    assert_true(out[0] == 99.0f);

    REFUSED(clvi_upload(b->device, x, 4, in, sizeof(in), &b->error), CLV_E_INTERNAL, "\"x\"");
    REFUSED(clvi_download(b->device, x, SIZE_MAX, out, 8, &b->error), CLV_E_INTERNAL, "\"x\"");
    REFUSED(clvi_copy(b->device, x, 0, y, 396, 8, &b->error), CLV_E_INTERNAL, "\"y\"");
    REFUSED(clvi_fill(b->device, x, 2, 4, 0, &b->error), CLV_E_INTERNAL, "whole elements");
    OK(clvi_upload(b->device, x, 400, in, 0, &b->error));
    clvi_buf_destroy(x);
    clvi_buf_destroy(y);
}

/* More uploads, small and large, than staging memory holds at once. */
static void test_staging(void **state)
{
    enum { BYTES = 20 << 20, SMALL = 3000 };
    bench *b = *state;
    clvi_buf *x = NULL;
    unsigned char *in = malloc(BYTES), *out = malloc(BYTES);
    assert_true(in != NULL && out != NULL);
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    for (unsigned round = 1; round < 4; round++) {
        for (unsigned i = 0; i < BYTES; i++)
            in[i] = (unsigned char)(i * 7 / 5 + i / 4099 + round);
        OK(clvi_upload(b->device, x, 0, in, BYTES, &b->error));
        for (unsigned i = 0; i < SMALL; i++) {
            const uint32_t value = i * round;
            memcpy(in + 4096 * (i % 50) + i, &value, 4);
            OK(clvi_upload(b->device, x, 4096 * (i % 50) + i, &value, 4, &b->error));
        }
        OK(clvi_download(b->device, x, 0, out, BYTES, &b->error));
        assert_memory_equal(in, out, BYTES);
    }
    clvi_buf_destroy(x);
    free(in);
    free(out);
}

/* A busy queue and more uploads than staging memory has slabs: none may be overwritten before it
 * was sent. */
static void test_staging_waits(void **state)
{
    enum { BYTES = 8 << 20, UPLOADS = CLVI_STAGING_SLABS + 4 };
    bench *b = *state;
    clvi_buf *x = NULL, *y = NULL;
    uint32_t *in = malloc(BYTES), out[UPLOADS];
    assert_non_null(in);
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    OK(clvi_buf_create(b->device, sizeof(out), "y", &y, &b->error));
    OK(clvi_fill(b->device, x, 0, BYTES, 0, &b->error));
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "slow", "");
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_int(&l, b->device->found->software ? 1000 : 200000000);
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    for (uint32_t i = 0; i < UPLOADS; i++) {
        for (size_t j = 0; j < BYTES / sizeof(*in); j += 1024)
            in[j] = i;
        OK(clvi_upload(b->device, x, 0, in, BYTES, &b->error));
        OK(clvi_copy(b->device, x, BYTES / 2, y, 4 * i, 4, &b->error));
    }
    OK(clvi_download(b->device, y, 0, out, sizeof(out), &b->error));
    for (uint32_t i = 0; i < UPLOADS; i++)
        assert_int_equal(out[i], i);
    clvi_buf_destroy(x);
    clvi_buf_destroy(y);
    free(in);
}

/* ---- Launches ---- */

static clv_status launch_add(bench *b, clvi_buf *x, const char *options, size_t groups)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "add", options);
    clvi_arg_view(&l, (clvi_view){x, 1});
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_int(&l, 1);
    clvi_arg_float(&l, 2.0f);
    return clvi_launch_run(&l, groups, 1, 1, &b->error);
}

static void test_launch(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    float v[8] = {5.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f};
    OK(clvi_buf_create(b->device, sizeof(v), "x", &x, &b->error));
    OK(clvi_upload(b->device, x, 0, v, sizeof(v), &b->error));
    OK(launch_add(b, x, "", 3));
    OK(clvi_download(b->device, x, 0, v, sizeof(v), &b->error));
    assert_true(v[0] == 5.0f && v[1] == 7.0f && v[2] == 2.0f);
    /* Another variant of the same program, its options in memory that changes. */
    char options[32] = "-DSCALE=10.0f";
    OK(launch_add(b, x, options, 1));
    OK(clvi_download(b->device, x, 0, v, sizeof(v), &b->error));
    assert_true(v[1] == 25.0f);
    strcpy(options, "-DSCALE=20.0f");
    OK(launch_add(b, x, options, 1));
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "turn", "");
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_local(&l, 8 * sizeof(float));
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    OK(clvi_download(b->device, x, 0, v, sizeof(v), &b->error));
    assert_true(v[6] == 45.0f && v[7] == 5.0f && v[0] == 7.0f);
    assert_int_equal(counters(b).launches, 4);
    assert_int_equal(counters(b).programs_built, 3);
    assert_int_equal(counters(b).kernels_compiled, 4);
    OK(clvi_wait(b->device, &b->error));
    assert_int_equal(counters(b).waits, 1);
    clvi_buf_destroy(x);
}

static void test_wrong_launches(void **state)
{
    bench *b = *state;
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 65536, 1, 1, &b->error), CLV_E_INTERNAL,
            "t:nothing: 65536 x 1 x 1");
    REFUSED(clvi_launch_run(&l, 1, 0, 1, &b->error), CLV_E_INTERNAL, "1 x 0 x 1 work-groups");
    OK(clvi_launch_run(&l, 1, 1, 2, &b->error));
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_INTERNAL, "0 arguments given, it has 1");
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_INTERNAL, "t:nothing: argument 1");
    clvi_launch_begin(&l, b->device, "t", "add", "");
    clvi_arg_int(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_INTERNAL, "t:add: argument 0");
    clvi_launch_begin(&l, b->device, "t", "absent", "");
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_CL, "CL_INVALID_KERNEL_NAME");
    clvi_launch_begin(&l, b->device, "none", "absent", "");
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_BUILD, "no kernels \"none\"");
    clvi_launch_begin(&l, b->device, "t", "unsized", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_INTERNAL, "no reqd_work_group_size");
    OK(clvi_wait(b->device, &b->error)); /* none of this hurts the device */
}

static void test_build_failure(void **state)
{
    bench *b = *state;
    clvi_launch l;
    for (int i = 0; i < 2; i++) { /* the second time from memory */
        clvi_launch_begin(&l, b->device, "broken", "broken", "-DX=1");
        clvi_arg_uint(&l, 1);
        REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_BUILD, "kernels broken.cl");
        assert_non_null(strstr(b->error.message, "-DX=1"));
        assert_non_null(strstr(b->error.message, "nonsense"));
        assert_non_null(strstr(b->error.message, clvi_device_get_info(b->device)->name));
    }
    const char *once = strstr(log_text, "CL_BUILD_PROGRAM_FAILURE");
    assert_non_null(once);
    assert_null(strstr(once + 1, "CL_BUILD_PROGRAM_FAILURE"));
}

/* More launches than may be under way, and a grid for which PoCL compiles once more. */
static void test_many_launches(void **state)
{
    bench *b = *state;
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    for (int i = 0; i < 3000; i++)
        OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    assert_int_equal(counters(b).launches, 3000);
    assert_int_equal(counters(b).kernels_compiled, 1);

    clvi_buf *x = NULL;
    enum { GROUPS = 8193 };
    OK(clvi_buf_create(b->device, 8 * GROUPS * sizeof(float), "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 8 * GROUPS * sizeof(float), 0, &b->error));
    clvi_launch_begin(&l, b->device, "t", "turn", "");
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_local(&l, 8 * sizeof(float));
    OK(clvi_launch_run(&l, 8191, 1, 1, &b->error));
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
    assert_int_equal(counters(b).kernels_compiled, 2);
    OK(clvi_launch_run(&l, GROUPS, 1, 1, &b->error));
    assert_int_equal(counters(b).kernels_compiled, 3);
    OK(clvi_wait(b->device, &b->error));
    clvi_buf_destroy(x);
}

/* ---- The cache ---- */

static void launch_nothing(bench *b)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
}

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
    snprintf(text, sizeof(text), "%s\n", kernels_text);
    write_kernels(b, "t.cl", text);
    reopen(b);
    launch_nothing(b);
    assert_int_equal(counters(b).programs_built, 1);
    setenv("CONCLAVE_CACHE", "0", 1);
    write_kernels(b, "t.cl", kernels_text);
    reopen(b);
    launch_nothing(b);
    assert_int_equal(counters(b).programs_built, 1);
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
    char text[256], path[256], *file = NULL;
    size_t before = 0, after = 0;
    if (strstr(b->device->found->short_name, "PoCL") == NULL)
        return;
    /* A source that PoCL's own cache, which goes by what the preprocessor leaves, cannot know. */
    snprintf(text, sizeof(text),
             "#include \"part.clh\"\n__constant int unique_%s = 1;\nONE void one(uint a) {}\n"
             "ONE void two(uint a) {}\n",
             b->folder + strlen(b->folder) - 6);
    write_kernels(b, "u.cl", text);
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

/* ---- Failing queues ---- */

/* Stands before the OpenCL loader's, and fails as often as a test has asked for. (A failing user
 * event would do without this, but PoCL 3.1 aborts the process at one.) */
static int failing_waits;

cl_int clWaitForEvents(cl_uint count, const cl_event *events)
{
    static cl_int (*loader)(cl_uint, const cl_event *);
    if (loader == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "clWaitForEvents");
        memcpy(&loader, &symbol, sizeof(loader));
    }
    const cl_int code = loader(count, events);
    if (failing_waits == 0)
        return code;
    failing_waits--;
    return CL_OUT_OF_RESOURCES;
}

static void test_poison(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    float v = 0.0f;
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    launch_nothing(b);
    failing_waits = 1;
    char first[512];
    REFUSED(clvi_download(b->device, x, 0, &v, 4, &b->error), CLV_E_CL, "download of \"x\"");
    snprintf(first, sizeof(first), "%s", b->error.message);
    assert_non_null(strstr(first, clvi_device_get_info(b->device)->name));
    assert_non_null(strstr(first, "newest kernel: t:nothing"));
    assert_int_equal(b->error.native_code, CL_OUT_OF_RESOURCES);
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_CL, first);
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_CL, first);
    REFUSED(clvi_upload(b->device, x, 0, &v, 4, &b->error), CLV_E_CL, first);
    REFUSED(clvi_fill(b->device, x, 0, 4, 0, &b->error), CLV_E_CL, first);
    clvi_buf *y = NULL;
    REFUSED(clvi_buf_create(b->device, 64, "y", &y, &b->error), CLV_E_CL, first);
    clvi_buf_destroy(x);
    reopen(b); /* the others live on */
    launch_nothing(b);
    OK(clvi_wait(b->device, &b->error));
}

static void test_sync_names_the_kernel(void **state)
{
    bench *b = *state;
    setenv("CONCLAVE_SYNC", "1", 1);
    reopen(b);
    assert_non_null(strstr(clvi_device_banner(b->device), "CONCLAVE_SYNC"));
    launch_nothing(b);
    failing_waits = 1;
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_CL, "kernel t:nothing on ");
    assert_non_null(strstr(b->error.message, clvi_device_get_info(b->device)->name));
    unsetenv("CONCLAVE_SYNC");
}

/* ---- Watching, as on GPUs ---- */

/* A launch of some tenths of a second. */
static void launch_slow(bench *b, clvi_buf *x)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "slow", "");
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_int(&l, b->device->found->software ? 5000 : 200000000);
    OK(clvi_launch_run(&l, b->device->found->software ? 3000 : 1, 1, 1, &b->error));
}

static void test_long_launch_is_said(void **state)
{
    static const char part[] = "kernel t:slow took ";
    bench *b = *state;
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    b->device->watch.on = true;
    b->device->watch.launch_seconds = 0.02;
    for (int i = 0; i < 2; i++) {
        launch_slow(b, x);
        for (int k = 0; k < CLVI_WATCHED + 3; k++)
            launch_nothing(b);
        OK(clvi_wait(b->device, &b->error));
    }
    OK(clvi_timer_find_clock(b->device, &b->error));
    const char *said = strstr(log_text, part);
    assert_int_equal(said != NULL, b->device->timer.clock == CLVI_CLOCK_DEVICE);
    assert_true(said == NULL || strstr(said + 1, part) == NULL); /* once */
    assert_null(strstr(log_text, "kernel t:nothing took"));
    clvi_buf_destroy(x);
}

static void test_late_wait_fails(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    launch_nothing(b); /* compiled */
    launch_slow(b, x);
    OK(clvi_wait(b->device, &b->error));
    b->device->watch.on = true;
    b->device->watch.wait_seconds = 30;
    launch_slow(b, x);
    OK(clvi_wait(b->device, &b->error)); /* in time */
    b->device->watch.wait_seconds = 0.01;
    launch_nothing(b);
    launch_slow(b, x);
    launch_nothing(b); /* the newest, but not the one that hangs */
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_DEVICE, "runs kernel t:slow");
    assert_non_null(strstr(b->error.message, clvi_device_get_info(b->device)->name));
    REFUSED(clvi_fill(b->device, x, 0, 4, 0, &b->error), CLV_E_DEVICE, "runs kernel t:slow");
    assert_non_null(strstr(log_text, "the device is not used any more"));
    while (clvi_watch_hanging(b->device) != NULL)
        usleep(1000);
    clvi_buf_destroy(x);
    reopen(b);
    launch_nothing(b);
    OK(clvi_wait(b->device, &b->error));
    assert_null(strstr(log_text, "is left as it is"));
}

/* ---- Time ---- */

static void test_timer(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    double least[2] = {1e9, 1e9}; /* of the long and the short one: other work disturbs either */
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 64, 0, &b->error));
    for (int i = 0; i < 20; i++) {
        double seconds = 0.0;
        clvi_launch l;
        clvi_launch_begin(&l, b->device, "t", "slow", "");
        clvi_arg_view(&l, (clvi_view){x, 0});
        clvi_arg_int(&l, i % 2 == 1 ? 10 : 1000000);
        const double before = clvi_host_seconds();
        OK(clvi_timer_begin(b->device, &b->error));
        OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
        OK(clvi_timer_end(b->device, &seconds, &b->error));
        assert_true(seconds > 0.0);
        assert_true(seconds < 1.1 * (clvi_host_seconds() - before) + 1e-4);
        least[i % 2] = seconds < least[i % 2] ? seconds : least[i % 2];
    }
    assert_true(least[0] > 2.0 * least[1]);
    clvi_buf_destroy(x);
}

static void test_peak(void **state)
{
    bench *b = *state;
    double gflops = 0.0, gbs = 0.0;
    if (b->device->found->software)
        skip();
    OK(clvi_device_measure_peak(b->device, &gflops, &gbs, &b->error));
    assert_true(gflops > 1.0 && gflops < 1e6);
    assert_true(gbs > 0.1 && gbs < 1e5);
    assert_int_equal(counters(b).live_bytes, 0);
}

/* 77 or 1: there is no device to test on; 0: there is. */
static int no_device(void)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_runtime *runtime = NULL;
    const clvi_device_info *info = NULL;
    clv_status status = clvi_runtime_create(&runtime, &error);
    if (status == CLV_OK)
        status = clvi_runtime_find(runtime, "auto", &info, &error);
    clvi_runtime_destroy(runtime);
    if (status == CLV_OK)
        return 0;
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    fprintf(stderr, "%s\n", error.message);
    return required != NULL && strcmp(required, "1") == 0 ? 1 : 77;
}

int main(void)
{
    const int verdict = no_device();
    if (verdict != 0)
        return verdict;
#define RUNTIME_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RUNTIME_TEST(test_enumerate),
        RUNTIME_TEST(test_selection),
        RUNTIME_TEST(test_no_device),
        RUNTIME_TEST(test_banner_and_tuning),
        RUNTIME_TEST(test_bad_tuning_records),
        RUNTIME_TEST(test_buffers_are_counted),
        RUNTIME_TEST(test_leaks_are_reported),
        RUNTIME_TEST(test_transfers),
        RUNTIME_TEST(test_staging),
        RUNTIME_TEST(test_staging_waits),
        RUNTIME_TEST(test_launch),
        RUNTIME_TEST(test_wrong_launches),
        RUNTIME_TEST(test_build_failure),
        RUNTIME_TEST(test_many_launches),
        RUNTIME_TEST(test_cache_round_trip),
        RUNTIME_TEST(test_cache_grows),
        RUNTIME_TEST(test_defective_cache),
        RUNTIME_TEST(test_cache_that_cannot_be_written),
        RUNTIME_TEST(test_poison),
        RUNTIME_TEST(test_sync_names_the_kernel),
        RUNTIME_TEST(test_long_launch_is_said),
        RUNTIME_TEST(test_late_wait_fails),
        RUNTIME_TEST(test_timer),
        RUNTIME_TEST(test_peak),
    };
    return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
