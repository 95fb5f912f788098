/* core/weights: Keras' files, read by conclave-h5; tests/weights has them, the argument. Skipped in
 * builds without HDF5. */
#include "base/files.h"
#include "base/process.h"
#include "weights/h5.h"
#include "weights/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *fixtures; /* folder */

static const char *fixture(const char *name)
{
    static char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", fixtures, name);
    return path;
}

static clvi_weights *open_fixture(const char *name)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_weights *file = NULL;
    if (clvi_weights_open(fixture(name), &file, &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_string_equal(clvi_weights_format(file), "Keras");
    assert_int_equal(clvi_weights_layout_of(file), CLVI_LAYOUT_KERAS);
    return file;
}

static void expect(const clvi_weights *file, size_t index, const char *name, clvi_file_dtype dtype,
                   int64_t count, float first, float step)
{
    const clvi_file_tensor *tensor = clvi_weights_at(file, index);
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    assert_string_equal(tensor->name, name);
    assert_int_equal(tensor->dtype, dtype);
    assert_int_equal(tensor->elements, count);
    assert_int_equal(clvi_weights_read_f32(file, index, values, NULL), CLV_OK);
    for (int64_t i = 0; i < count; i++)
        if (values[i] != first + step * (float)i)
            fail_msg("%s[%d] is %g", name, (int)i, (double)values[i]);
    free(values);
}

static void test_kinds(void **state)
{
    (void)state;
    clvi_weights *file = open_fixture("kinds.h5");
    assert_int_equal(clvi_weights_count(file), 6); /* not the optimiser's */
    expect(file, 0, "big_endian", CLVI_FILE_F32, 4, 0, 0.25f);
    expect(file, 1, "f16", CLVI_FILE_F16, 4, 0, 0.25f);
    expect(file, 2, "f64", CLVI_FILE_F64, 4, 0, 0.25f);
    expect(file, 3, "i64", CLVI_FILE_I64, 4, -2, 1);
    expect(file, 4, "packed", CLVI_FILE_F32, 4000, 0, 0.25f);
    assert_int_equal(clvi_weights_at(file, 4)->dims[1], 100);
    expect(file, 5, "scalar", CLVI_FILE_F32, 1, 0.5f, 0);
    clvi_weights_close(file);
}

/* Layers in the order of the network, not of their names. */
static void test_layers(void **state)
{
    (void)state;
    clvi_weights *file = open_fixture("old.h5");
    assert_int_equal(clvi_weights_count(file), 4);
    expect(file, 0, "block1_conv1/block1_conv1_W_1:0", CLVI_FILE_F32, 6, 0, 1);
    expect(file, 3, "fc1/fc1_b_1:0", CLVI_FILE_F32, 2, 0, 1);
    clvi_weights_close(file);
    file = open_fixture("normal.h5");
    assert_string_equal(clvi_weights_at(file, 0)->name, "first/sequential_1/first/kernel");
    expect(file, 2, "norm/sequential_1/norm/beta", CLVI_FILE_F32, 2, 20, 1);
    clvi_weights_close(file);
    file = open_fixture("chain.weights.h5");
    assert_int_equal(clvi_weights_count(file), 8);
    assert_string_equal(clvi_weights_at(file, 2)->name, "layers/conv2d_1/vars/0");
    clvi_weights_close(file);
}

static void expect_refused(const char *path, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_weights *file = NULL;
    const clv_status status = clvi_weights_open(path, &file, &error);
    if (status == CLV_OK || !strstr(error.message, part) || !strstr(error.message, path))
        fail_msg("'%s' is not in '%s'", part, error.message);
    assert_null(file);
}

static void test_hostile(void **state)
{
    (void)state;
    expect_refused(fixture("external.h5"), "'/a/w' in it is missing or damaged");
    expect_refused(fixture("outside.h5"), "has its data in another file");
    expect_refused(fixture("virtual.h5"), "has its data in another file");
    expect_refused(fixture("huge.h5"), "far more room than the file has");
    expect_refused(fixture("bomb.h5"), "far more room than the file has");
    expect_refused(fixture("texts.h5"), "no numbers of a known kind");
    expect_refused(fixture("missing.h5"), "'gone' in it is missing");
    expect_refused(fixture("circle.h5"), "nested too deep");
}

/* Whatever is cut off or changed: a sentence or a file. */
static void test_damaged(void **state)
{
    (void)state;
    char path[] = "/tmp/conclave-h5-XXXXXX", *data = NULL;
    size_t length = 0, opened = 0;
    const int made = mkstemp(path);
    assert_true(made >= 0);
    close(made);
    assert_int_equal(clvi_file_read(fixture("old.h5"), 1 << 20, &data, &length, NULL), CLV_OK);
    for (size_t i = 0; i < 40; i++) {
        clv_error error = CLV_ERROR_INIT;
        clvi_weights *file = NULL;
        const size_t at = 8 + i * (length - 8) / 40;
        const char kept = data[at];
        data[at] = (char)(kept ^ (i % 2 ? 0x40 : -1));
        const size_t bytes = i % 5 == 0 ? at : length;
        assert_int_equal(clvi_file_write(path, data, bytes, NULL), CLV_OK);
        data[at] = kept;
        const clv_status status = clvi_weights_open(path, &file, &error);
        assert_true((status == CLV_OK) == (file != NULL));
        assert_true(status == CLV_OK || strstr(error.message, path));
        opened += status == CLV_OK;
        clvi_weights_close(file);
    }
    assert_true(opened < 40);
    clvi_free(data);
    unlink(path);
}

/* Programs that are not conclave-h5: what they do must not matter. */
static void test_bad_programs(void **state)
{
    (void)state;
    static const struct {
        const char *script, *part;
    } cases[] = {{"exit 0", "too short for a safetensors file"},
                 {"exit 3", "ended without a word"},
                 {"echo 'error a\033[2Jb' >&3; exit 1", "a?[2Jb"},
                 {"kill -SEGV $$", "crashed over it (signal 11)"},
                 {"kill -KILL $$", "too long or too much memory"},
                 {"printf '\\200\\0\\0\\0\\0\\0\\0\\0{' >&4", "ends within its header"}};
    char path[] = "/tmp/conclave-h5-XXXXXX", said[1024], kept[1024];
    const char *before = getenv("CONCLAVE_H5");
    (void)snprintf(kept, sizeof kept, "%s", before);
    const int made = mkstemp(path);
    assert_true(made >= 0);
    close(made);
    setenv("CONCLAVE_H5", path, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int length = snprintf(said, sizeof said, "#!/bin/sh\n%s\n", cases[i].script);
        assert_int_equal(clvi_file_write(path, said, (size_t)length, NULL), CLV_OK);
        assert_int_equal(chmod(path, 0700), 0);
        expect_refused(fixture("old.h5"), cases[i].part);
    }
    unlink(path);
    expect_refused(fixture("old.h5"), "built without HDF5");
    setenv("CONCLAVE_H5", kept, 1);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_hostile),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_bad_programs),
    };
    if (!clvi_env_get(CLVI_ENV_H5))
        return 77;
    fixtures = count > 1 ? arguments[1] : "tests/weights";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
