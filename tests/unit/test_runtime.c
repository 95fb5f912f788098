/* core/runtime on whatever device there is (CONCLAVE_DEVICE chooses). Exit 77 without one, failure
 * when CONCLAVE_REQUIRE_DEVICE=1 says that there must be one. */
#include "runtime/peak.h"
#include "runtime_bench.h"

#include <malloc.h>
#include <unistd.h>

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
        {"vector = 3\n", ":1: vector must be a power of two from 4 to 16"},
        {"mr = 8\n", "there is no vector"},
        {"vector = 16\ngemm_mr = 17\n", ":2: gemm_mr must be a number from 1 to 16"},
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

/* Bytes of this process that have pages. */
static size_t resident(void)
{
    size_t all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &all, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Pages come before anybody asks for them, what was written stays, and buffers may go meanwhile. */
static void test_expected_buffers(void **state)
{
    enum { BYTES = 96 << 20, ROUNDS = 40, WORDS = BYTES / 4 };
    bench *b = *state;
    clvi_buf *x = NULL;
    (void)mallopt(M_PERTURB, 0); /* meson has all memory written to when it is given */
    uint32_t *words = malloc(BYTES);
    assert_non_null(words);
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    OK(clvi_wait(b->device, &b->error));
    const size_t before = resident();
    const bool gives = x->pages_bytes > 0 && clvi_core_count() > 1;
    clvi_buf_expect(x, BYTES);
    for (int i = 0; gives && i < 2000 && resident() < before + BYTES * 9ul / 10; i++)
        usleep(5000);
    assert_true(!gives || resident() >= before + BYTES * 9ul / 10);
    clvi_buf_destroy(x);
    /* While it is written to. */
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    clvi_buf_expect(x, BYTES);
    for (size_t at = 0; at < BYTES; at += BYTES / 16)
        OK(clvi_fill(b->device, x, at, BYTES / 16, 0x12345678, &b->error));
    OK(clvi_download(b->device, x, 0, words, BYTES, &b->error));
    for (int i = 0; i < WORDS; i++)
        if (words[i] != 0x12345678)
            fail_msg("word %d is %x", i, (unsigned)words[i]);
    clvi_buf_destroy(x);
    free(words);
    for (int i = 0; i < ROUNDS; i++) {
        clvi_buf *y = NULL;
        OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
        OK(clvi_buf_create(b->device, BYTES, "y", &y, &b->error));
        clvi_buf_expect(x, BYTES);
        clvi_buf_expect(y, BYTES);
        usleep((unsigned)i * 50);
        clvi_buf_destroy(x);
        clvi_buf_destroy(y);
    }
    OK(clvi_wait(b->device, &b->error));
}

/* A buffer goes, or is expected, while another is touched: that one's pages are not waited for. */
static void test_other_buffers_do_not_wait(void **state)
{
    enum { LARGE = 192 << 20, SMALL = 8 << 20, FEW = 64 << 20, ROUNDS = 6 };
    bench *b = *state;
    size_t least = LARGE;
    for (int i = 0; i < ROUNDS; i++) {
        clvi_buf *x = NULL, *y = NULL, *z = NULL;
        OK(clvi_buf_create(b->device, LARGE, "x", &x, &b->error));
        OK(clvi_buf_create(b->device, SMALL, "y", &y, &b->error));
        OK(clvi_buf_create(b->device, SMALL, "z", &z, &b->error));
        OK(clvi_wait(b->device, &b->error));
        const size_t begin = clvi_pages_touched(b->device);
        clvi_buf_expect(x, LARGE);
        clvi_buf_expect(y, SMALL);
        if (b->device->pages == NULL) { /* nothing is given here */
            clvi_buf_destroy(x);
            clvi_buf_destroy(y);
            clvi_buf_destroy(z);
            skip();
        }
        while (clvi_pages_touched(b->device) == begin)
            usleep(50);
        clvi_buf_destroy(y);
        clvi_buf_expect(z, SMALL);
        clvi_buf_destroy(z);
        const size_t meanwhile = clvi_pages_touched(b->device) - begin;
        least = meanwhile < least ? meanwhile : least;
        clvi_buf_destroy(x);
    }
    assert_true(least <= FEW);
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

/* What a work-group wants and the device has not is said, and what to do with the record of GPUs.
 */
static void test_large_groups(void **state)
{
    bench *b = *state;
    if (strstr(b->device->found->short_name, "PoCL") == NULL)
        skip(); /* others refuse to build them */
    write_kernels(b, "large.cl",
                  "#include \"part.clh\"\n"
                  "ONE void greedy(__global float *y, ulong y0, int n)\n"
                  "{\n"
                  "    __local float t[1 << 24];\n"
                  "    for (int i = 0; i < n; i++)\n"
                  "        t[i] = y[y0 + i];\n"
                  "    y[y0] = t[n - 1];\n"
                  "}\n"
                  "__attribute__((reqd_work_group_size(1 << 20, 1, 1)))\n"
                  "__kernel void crowd(uint value) {}\n");
    for (int i = 0; i < 2; i++) {
        const char *record = i == 0 ? "cpu8" : "gpu",
                   *rest = i == 0 ? "" : "; CONCLAVE_TUNING=gpu64";
        char whole[64];
        clvi_launch l;
        setenv("CONCLAVE_TUNING", record, 1);
        reopen(b);
        clvi_launch_begin(&l, b->device, "large", "crowd", "");
        clvi_arg_uint(&l, 1);
        snprintf(whole, sizeof(whole), " allows %zu%s", b->device->found->info.max_group, rest);
        REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_DEVICE, whole);
        assert_non_null(strstr(b->error.message, "large:crowd wants work-groups of 1048576"));
        clvi_launch_begin(&l, b->device, "large", "greedy", "");
        snprintf(whole, sizeof(whole), " has %llu%s",
                 (unsigned long long)b->device->found->info.local_bytes, rest);
        REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_DEVICE, whole);
        assert_non_null(
            strstr(b->error.message, "large:greedy wants 67108864 bytes of local memory"));
    }
    unsetenv("CONCLAVE_TUNING");
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

int main(void)
{
    const int verdict = no_device();
    if (verdict != 0)
        return verdict;
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_enumerate),
        BENCH_TEST(test_selection),
        BENCH_TEST(test_no_device),
        BENCH_TEST(test_banner_and_tuning),
        BENCH_TEST(test_bad_tuning_records),
        BENCH_TEST(test_buffers_are_counted),
        BENCH_TEST(test_expected_buffers),
        BENCH_TEST(test_other_buffers_do_not_wait),
        BENCH_TEST(test_leaks_are_reported),
        BENCH_TEST(test_transfers),
        BENCH_TEST(test_staging),
        BENCH_TEST(test_staging_waits),
        BENCH_TEST(test_launch),
        BENCH_TEST(test_wrong_launches),
        BENCH_TEST(test_large_groups),
        BENCH_TEST(test_build_failure),
        BENCH_TEST(test_many_launches),
        BENCH_TEST(test_timer),
        BENCH_TEST(test_peak),
    };
    return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
