/* kernels/philox.clh gives the bits of core/base/philox.c: test_philox KERNELS. Exit 77: no device.
 */
#include "base/files.h"
#include "base/philox.h"
#include "base/process.h"
#include "test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static clvi_device *device;

enum { COUNTERS = 16, WORDS = 4 };

/* Words of single counters, of a vector of counters, and the first word as a unit float. */
static const char program[] =
    "#include \"philox.clh\"\n"
    "CLV_SINGLE __kernel void words(__global uint *y, ulong y_at, __global const uint *c,\n"
    "                               ulong c_at, uint k0, uint k1)\n"
    "{\n"
    "    y += y_at;\n"
    "    c += c_at;\n"
    "    for (int i = 0; i < 16; i++) {\n"
    "        const uint4 w = clv_philox((uint2)(k0, k1), vload4(i, c));\n"
    "        vstore4(w, i, y);\n"
    "        y[128 + i] = as_uint(clv_philox_unit(w.x));\n"
    "    }\n"
    "    for (int i = 0; i < 16; i += CLV_V) {\n"
    "        uint lane[CLV_V];\n"
    "        uintV w[4];\n"
    "        for (int k = 0; k < CLV_V; k++)\n"
    "            lane[k] = (uint)(i + k);\n"
    "        clv_philox_lanes((uint2)(k0, k1), c[0], c[1], c[2], c[3] + vloadV(0, lane), w);\n"
    "        for (int k = 0; k < 4; k++) {\n"
    "            uint word[CLV_V];\n"
    "            vstoreV(w[k], 0, word);\n"
    "            for (int j = 0; j < CLV_V; j++)\n"
    "                y[64 + 4 * (i + j) + k] = word[j];\n"
    "        }\n"
    "    }\n"
    "}\n";

static void test_same_bits(void **state)
{
    (void)state;
    static const uint32_t keys[][2] = {
        {0, 0}, {0xFFFFFFFFu, 0xFFFFFFFFu}, {0xA4093822u, 0x299F31D0u}};
    uint32_t counters[COUNTERS][WORDS] = {{0, 0, 0, 0xFFFFFFF8u},
                                          {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu},
                                          {0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u}};
    for (uint32_t i = 3; i < COUNTERS; i++)
        for (uint32_t w = 0; w < WORDS; w++)
            counters[i][w] = (i * 4 + w) * 0x9E3779B9u;
    clvi_buf *in = NULL, *out = NULL;
    OK(clvi_buf_create(device, sizeof counters, "counters", &in, error));
    OK(clvi_buf_create(device, 9 * 64, "words", &out, error));
    OK(clvi_upload(device, in, 0, counters, sizeof counters, error));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const clvi_philox_key key = {{keys[k][0], keys[k][1]}};
        uint32_t got[9 * 16], words[WORDS];
        clvi_launch l;
        clvi_launch_begin(&l, device, "words", "words", "");
        clvi_arg_view(&l, (clvi_view){out, 0});
        clvi_arg_view(&l, (clvi_view){in, 0});
        clvi_arg_uint(&l, key.k[0]);
        clvi_arg_uint(&l, key.k[1]);
        OK(clvi_launch_run(&l, 1, 1, 1, error));
        OK(clvi_download(device, out, 0, got, sizeof got, error));
        for (uint32_t i = 0; i < COUNTERS; i++) {
            const uint32_t *c = counters[i];
            clvi_philox(key, c[0], c[1], c[2], c[3], words);
            assert_memory_equal(&got[4 * i], words, sizeof words);
            const float unit = clvi_philox_unit(words[0]);
            assert_memory_equal(&got[128 + i], &unit, sizeof unit);
            clvi_philox(key, counters[0][0], counters[0][1], counters[0][2], counters[0][3] + i,
                        words);
            assert_memory_equal(&got[64 + 4 * i], words, sizeof words);
        }
    }
    clvi_buf_destroy(in);
    clvi_buf_destroy(out);
}

/* Puts the program beside copies of what it includes. */
static void make_folder(const char *kernels, const char *folder)
{
    static const char *const names[] = {"vector.clh",      "philox.clh",      "tuning/cpu16.ini",
                                        "tuning/cpu8.ini", "tuning/cpu4.ini", "tuning/gpu.ini",
                                        "probe.cl"};
    char path[4096];
    snprintf(path, sizeof path, "%s/tuning", folder);
    assert_int_equal(clvi_make_dirs(path, 0755, NULL), CLV_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/%s", kernels, names[i]);
        assert_int_equal(clvi_file_read(path, 1 << 20, &text, &bytes, NULL), CLV_OK);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(clvi_file_write(path, text, bytes, NULL), CLV_OK);
        clvi_free(text);
    }
    snprintf(path, sizeof path, "%s/words.cl", folder);
    assert_int_equal(clvi_file_write(path, program, sizeof program - 1, NULL), CLV_OK);
}

static void remove_folder(const char *folder)
{
    static const char *const below[] = {"tuning", ""};
    for (size_t k = 0; k < 2; k++) {
        char path[4096], file[8192], **names = NULL;
        size_t count = 0;
        snprintf(path, sizeof path, "%s/%s", folder, below[k]);
        if (clvi_dir_list(path, &names, &count, NULL) != CLV_OK)
            continue;
        for (size_t i = 0; i < count; i++) {
            snprintf(file, sizeof file, "%s/%s", path, names[i]);
            unlink(file);
        }
        clvi_names_free(names, count);
        rmdir(path);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_philox KERNELS\n");
        return 2;
    }
    char folder[] = "/tmp/conclave-test-XXXXXX";
    if (mkdtemp(folder) == NULL || setenv(clvi_env_name(CLVI_ENV_KERNEL_DIR), folder, 1) != 0)
        return EXIT_FAILURE;
    make_folder(argv[1], folder);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits)};
    int status = 0;
    device = test_device_open(&status);
    if (device != NULL) {
        status = cmocka_run_group_tests_name("philox", tests, NULL, NULL) != 0;
        status |= test_device_close();
    }
    remove_folder(folder);
    return status;
}
