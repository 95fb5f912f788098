/* core/weights: the bytes that are written, what is read back, and files that mean harm. */
#include "base/process.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/conclave-safetensors-XXXXXX";
static char path[64];
static int warnings;

static void count_warnings(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)line;
    warnings += level == CLVI_LOG_WARN ? 1 : 0;
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/a.safetensors", folder);
    clvi_set_log_sink(count_warnings, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clvi_set_log_sink(NULL, NULL);
    unlink(path);
    return rmdir(folder);
}

/* A whole file: header length, header, `data_bytes` bytes of data that count up from 0. */
static void write_file(const char *header, size_t data_bytes)
{
    clvi_text text = {0};
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        const char byte = (char)(unsigned char)(((uint64_t)length >> (8 * i)) & 0xFF);
        clvi_text_append_n(&text, &byte, 1);
    }
    clvi_text_append(&text, header);
    for (size_t i = 0; i < data_bytes; i++) {
        const char byte = (char)(unsigned char)(i & 0xFF);
        clvi_text_append_n(&text, &byte, 1);
    }
    assert_false(text.failed);
    assert_int_equal(clvi_file_write(path, text.data, text.length, NULL), CLV_OK);
    clvi_text_fini(&text);
}

/* The file is refused with a sentence that contains `part`, and the path. */
static void assert_refused(clv_status status, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_safetensors *file = NULL;
    assert_int_equal(clvi_safetensors_open(path, &file, &error), status);
    assert_null(file);
    if (strstr(error.message, part) == NULL || strstr(error.message, path) == NULL)
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void refuse(const char *header, size_t data_bytes, const char *part)
{
    write_file(header, data_bytes);
    assert_refused(CLV_E_FORMAT, part);
}

static clvi_safetensors *open_good(void)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_safetensors *file = NULL;
    if (clvi_safetensors_open(path, &file, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return file;
}

/* Small tensors of every kind that a checkpoint has; the whole file is known. */
static void write_known(void)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_tensor_writer *writer = NULL;
    unlink(path);
    assert_int_equal(clvi_tensor_writer_create(path, &writer, &error), CLV_OK);
    const int64_t dims[] = {1, 2}, none[] = {0, 5}, three[] = {3};
    assert_int_equal(clvi_tensor_writer_declare(writer, "step", CLVI_FILE_I64, 0, NULL, &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "w", CLVI_FILE_F32, 2, dims, &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "none", CLVI_FILE_F32, 2, none, &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "note", "a \"b\"\n\xC3\xA4", &error),
                     CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "key", CLVI_FILE_U8, 1, three, &error),
                     CLV_OK);
    const int64_t step = 258;
    const float w[] = {1.0f, -2.5f};
    const uint8_t key[] = {7, 8, 9};
    assert_int_equal(clvi_tensor_writer_append(writer, &step, 1, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, w, 1, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, w + 1, 1, &error), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, key, 3, &error), CLV_OK);
    assert_false(clvi_is_file(path));
    assert_int_equal(clvi_tensor_writer_commit(writer, &error), CLV_OK);
    clvi_tensor_writer_destroy(writer);
}

static const char known_header[] =
    "{\"__metadata__\":{\"note\":\"a \\\"b\\\"\\n\xC3\xA4\"},"
    "\"step\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[16,16]},"
    "\"key\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[16,19]}}";
static const unsigned char known_data[] = {2,    1,    0, 0, 0,    0,    0, 0, 0, 0,
                                           0x80, 0x3F, 0, 0, 0x20, 0xC0, 7, 8, 9};

static void test_written_bytes(void **state)
{
    (void)state;
    write_known();
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(clvi_file_read(path, 4096, &data, &bytes, NULL), CLV_OK);
    const size_t json = sizeof(known_header) - 1, padded = (json + 7) / 8 * 8;
    assert_int_equal(bytes, 8 + padded + sizeof(known_data));
    assert_int_equal((unsigned char)data[0], padded & 0xFF);
    assert_int_equal((unsigned char)data[1], padded >> 8);
    for (int i = 2; i < 8; i++)
        assert_int_equal(data[i], 0);
    assert_memory_equal(data + 8, known_header, json);
    for (size_t i = json; i < padded; i++)
        assert_int_equal(data[8 + i], ' ');
    assert_memory_equal(data + 8 + padded, known_data, sizeof(known_data));
    clvi_free(data);
}

static void test_read_back(void **state)
{
    (void)state;
    write_known();
    clvi_safetensors *file = open_good();
    assert_int_equal(clvi_safetensors_count(file), 4);
    assert_string_equal(clvi_safetensors_path(file), path);
    static const char *const order[] = {"step", "w", "none", "key"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(clvi_safetensors_at(file, i)->name, order[i]);
        assert_int_equal(clvi_safetensors_find(file, order[i]), i);
    }
    assert_int_equal(clvi_safetensors_find(file, "nonesuch"), -1);
    assert_int_equal(clvi_safetensors_find(file, ""), -1);
    const clvi_file_tensor *w = clvi_safetensors_at(file, 1);
    assert_int_equal(w->dtype, CLVI_FILE_F32);
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->dims[1], 2);
    assert_int_equal(w->elements, 2);
    assert_int_equal(clvi_safetensors_at(file, 2)->elements, 0);
    float values[3] = {NAN, NAN, NAN};
    assert_int_equal(clvi_safetensors_read_f32(file, 1, values, NULL), CLV_OK);
    assert_true(values[0] == 1.0f && values[1] == -2.5f && isnan(values[2]));
    assert_int_equal(clvi_safetensors_read_f32(file, 2, NULL, NULL), CLV_OK);
    assert_int_equal(clvi_safetensors_read_f32(file, 3, values, NULL), CLV_OK);
    assert_true(values[0] == 7.0f && values[1] == 8.0f && values[2] == 9.0f);
    int64_t step = 0;
    assert_int_equal(clvi_safetensors_read(file, 0, &step, NULL), CLV_OK);
    assert_int_equal(step, 258);
    assert_string_equal(clvi_safetensors_metadata(file, "note"), "a \"b\"\n\xC3\xA4");
    assert_null(clvi_safetensors_metadata(file, "nota"));
    clvi_safetensors_close(file);
    clvi_safetensors_close(NULL);
}

/* Reads the first tensor of a file with these little-endian bytes. */
static void read_bytes(const char *header, const unsigned char *bytes, size_t count, float *out)
{
    write_file(header, 0);
    FILE *stream = fopen(path, "ab");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, count, stream), count);
    fclose(stream);
    clvi_safetensors *file = open_good();
    assert_int_equal(clvi_safetensors_read_f32(file, 0, out, NULL), CLV_OK);
    clvi_safetensors_close(file);
}

static void test_conversions(void **state)
{
    (void)state;
    float v[10];
    /* 1, -2, 65504, the smallest subnormal, the largest subnormal, the smallest normal, -0, inf,
     * NaN, 1/3 */
    static const unsigned char half[] = {0, 0x3C, 0, 0xC0, 0xFF, 0x7B, 1,    0,    0xFF, 3,
                                         0, 4,    0, 0x80, 0,    0x7C, 0x01, 0x7E, 0x55, 0x35};
    read_bytes("{\"a\":{\"dtype\":\"F16\",\"shape\":[10],\"data_offsets\":[0,20]}}", half, 20, v);
    assert_true(v[0] == 1.0f && v[1] == -2.0f && v[2] == 65504.0f);
    assert_true(v[3] == 0x1p-24f && v[4] == 1023 * 0x1p-24f && v[5] == 0x1p-14f);
    assert_true(v[6] == 0.0f && signbit(v[6]) && isinf(v[7]) && v[7] > 0 && isnan(v[8]));
    assert_true(v[9] == 0.333251953125f);
    static const unsigned char brain[] = {0x80, 0x3F, 0x49, 0xC0, 0x80, 0xFF};
    read_bytes("{\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]}}", brain, 6, v);
    assert_true(v[0] == 1.0f && v[1] == -3.140625f && isinf(v[2]) && v[2] < 0);
    static const unsigned char int32[] = {0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0x80};
    read_bytes("{\"a\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}", int32, 8, v);
    assert_true(v[0] == -2.0f && v[1] == -2147483648.0f);
    static const unsigned char int64[] = {0, 0, 0, 0, 0, 1, 0, 0};
    read_bytes("{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", int64, 8, v);
    assert_true(v[0] == 1099511627776.0f);
}

/* More elements than a block of the conversion holds. */
static void test_long_conversion(void **state)
{
    (void)state;
    enum { COUNT = 50001 };
    write_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[50001],\"data_offsets\":[0,50001]}}", COUNT);
    clvi_safetensors *file = open_good();
    float *values = malloc(COUNT * sizeof(float));
    assert_non_null(values);
    assert_int_equal(clvi_safetensors_read_f32(file, 0, values, NULL), CLV_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == (float)(i & 0xFF));
    free(values);
    clvi_safetensors_close(file);
}

static void test_order_and_trailing_bytes(void **state)
{
    (void)state;
    warnings = 0;
    write_file("{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
               "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
               5);
    clvi_safetensors *file = open_good();
    assert_string_equal(clvi_safetensors_at(file, 0)->name, "a");
    assert_int_equal(clvi_safetensors_find(file, "b"), 1);
    float values[2];
    assert_int_equal(clvi_safetensors_read_f32(file, 1, values, NULL), CLV_OK);
    assert_true(values[0] == 3.0f && values[1] == 4.0f);
    clvi_safetensors_close(file);
    assert_int_equal(warnings, 0);
    write_file("{}  ", 5);
    file = open_good();
    assert_int_equal(clvi_safetensors_count(file), 0);
    assert_int_equal(clvi_safetensors_find(file, "a"), -1);
    clvi_safetensors_close(file);
    assert_int_equal(warnings, 1);
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_refused_headers(void **state)
{
    (void)state;
    refuse("[1]", 0, "no object");
    refuse("{\"a\":", 0, "not understood");
    refuse("{\"a\":{},\"a\":{}}", 0, "not understood");
    refuse("{} x", 0, "not understood");
    refuse("{\"a\":7}", 0, "tensor 'a': its description is no object");
    refuse("{\"a\x01\":7}", 0, "not understood");
    refuse("{\"\\u001b[2J\":7}", 0, "tensor '?[2J'");
    refuse("{\"a\":{}}", 0, "no dtype");
    refuse(ONE("4", "[1]", "[0,4]"), 4, "no dtype");
    refuse(ONE("\"F8_E5M2\"", "[1]", "[0,8]"), 8, "dtype 'F8_E5M2' is not one of F32");
    refuse(ONE("\"F32\"", "7", "[0,4]"), 4, "no shape");
    refuse(ONE("\"F32\"", "[-1]", "[0,4]"), 4, "whole numbers");
    refuse(ONE("\"F32\"", "[1.0]", "[0,4]"), 4, "whole numbers");
    refuse(ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 8 dimensions");
    refuse(ONE("\"F32\"", "[1]", "4"), 4, "data_offsets");
    refuse(ONE("\"F32\"", "[1]", "[0]"), 4, "data_offsets");
    refuse(ONE("\"F32\"", "[1]", "[0,4,8]"), 8, "data_offsets");
    refuse(ONE("\"F32\"", "[1]", "[0.0,4]"), 4, "data_offsets");
    refuse(ONE("\"F32\"", "[1]", "[4,0]"), 4, "in no order");
    refuse(ONE("\"F32\"", "[1]", "[-4,0]"), 4, "in no order");
    refuse(ONE("\"F32\"", "[1]", "[0,4]"), 3, "beyond the end of the file");
    refuse(ONE("\"F32\"", "[2]", "[0,4]"), 4, "differ in size");
    refuse(ONE("\"F32\"", "[1]", "[4,8]"), 8, "a gap before");
}

static void test_refused_sizes(void **state)
{
    (void)state;
    refuse(ONE("\"F32\"", "[1152921504606846976]", "[0,4611686018427387904]"), 64, "too many");
    refuse(ONE("\"F32\"", "[576460752303423488]", "[0,2305843009213693952]"), 64, "beyond the end");
    refuse(ONE("\"F32\"", "[576460752303423488]", "[0,0]"), 64, "differ in size");
    refuse(ONE("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 64, "too many elements");
    refuse(ONE("\"U8\"", "[9223372036854775807,2,0]", "[0,0]"), 64, "too many elements");
    refuse(ONE("\"U8\"", "[9223372036854775808]", "[0,0]"), 64, "not understood");
    refuse(ONE("\"U8\"", "[1]", "[9223372036854775806,9223372036854775807]"), 64, "beyond the end");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
           "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
           4, "tensor 'b': its data overlaps");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
           "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
           4, "overlaps");
}

static void test_refused_metadata(void **state)
{
    (void)state;
    refuse("{\"__metadata__\":[]}", 0, "__metadata__ is no object");
    refuse("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "'a' of its __metadata__ is no string");
    refuse("{\"__metadata__\":{\"ok\":\"1\",\"a\":1}}", 0, "'a' of its __metadata__ is no string");
    refuse("{\"__metadata__\":{\"a\":null}}", 0, "'a' of its __metadata__ is no string");
    write_file("{\"__metadata__\":{}}", 0);
    clvi_safetensors *file = open_good();
    assert_null(clvi_safetensors_metadata(file, "a"));
    clvi_safetensors_close(file);
}

static void test_refused_files(void **state)
{
    (void)state;
    unlink(path);
    assert_refused(CLV_E_IO, "No such file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(CLV_E_IO, "not a file");
    unlink(path);
    assert_int_equal(clvi_file_write(path, "", 0, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "too short");
    assert_int_equal(clvi_file_write(path, "\0\0\0\0\0\0\0", 7, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "too short");
    assert_int_equal(clvi_file_write(path, "PK\3\4aaaaaaaaaaaa", 16, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "not a safetensors file");
    assert_int_equal(clvi_file_write(path, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "not a safetensors file");
    assert_int_equal(clvi_file_write(path, "\0\0\0\0\0\0\0\0{}", 10, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "not a safetensors file");
    assert_int_equal(clvi_file_write(path, "\3\0\0\0\0\0\0\0{}", 10, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "ends within its header");
    /* 100 MB and one byte, and 100 MB of a file that has not got them: nothing is allocated. */
    assert_int_equal(clvi_file_write(path, "\1\xE1\xF5\5\0\0\0\0{}", 10, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "not a safetensors file");
    assert_int_equal(clvi_file_write(path, "\0\xE1\xF5\5\0\0\0\0{}", 10, NULL), CLV_OK);
    assert_refused(CLV_E_FORMAT, "ends within its header");
}

/* Cutting anywhere, and changing bytes anywhere: either refused with a sentence, or readable. */
static void try_file(const char *data, size_t bytes)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_safetensors *file = NULL;
    FILE *stream = fopen(path, "wb"); /* not atomic: no fsync a thousand times */
    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, bytes, stream), bytes);
    fclose(stream);
    const clv_status status = clvi_safetensors_open(path, &file, &error);
    if (status != CLV_OK) {
        assert_int_equal(status, CLV_E_FORMAT);
        assert_non_null(strstr(error.message, path));
        return;
    }
    for (size_t i = 0; i < clvi_safetensors_count(file); i++) {
        const clvi_file_tensor *tensor = clvi_safetensors_at(file, i);
        assert_true(tensor->elements >= 0 && (uint64_t)tensor->elements <= bytes);
        float values[64];
        assert_in_range(tensor->elements, 0, 64);
        assert_int_equal(clvi_safetensors_read_f32(file, i, values, NULL), CLV_OK);
    }
    clvi_safetensors_close(file);
}

static void test_damaged_files(void **state)
{
    (void)state;
    write_known();
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(clvi_file_read(path, 4096, &data, &bytes, NULL), CLV_OK);
    for (size_t length = 0; length < bytes; length++)
        try_file(data, length);
    char *damaged = malloc(bytes);
    assert_non_null(damaged);
    uint32_t random = 1; /* of a linear congruential generator */
    for (int round = 0; round < 6000; round++) {
        memcpy(damaged, data, bytes);
        const int changes = 1 + round % 3;
        for (int i = 0; i < changes; i++) {
            static const char likely[] = "{}[]\",:0919-.e\\ \x80\xFF";
            random = random * 1664525u + 1013904223u;
            const size_t place = (random >> 8) % bytes;
            random = random * 1664525u + 1013904223u;
            damaged[place] = round % 2 == 0 ? (char)(unsigned char)(random >> 24)
                                            : likely[(random >> 16) % (sizeof(likely) - 1)];
        }
        try_file(damaged, bytes);
    }
    free(damaged);
    clvi_free(data);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    clvi_text text = {0};
    clvi_text_append(&text, "{\"a\":");
    for (int i = 0; i < 200000; i++)
        clvi_text_append(&text, "[");
    refuse(text.data, 0, "not understood");
    clvi_text_fini(&text);
}

static void test_shrinking_file(void **state)
{
    (void)state;
    write_known();
    clvi_safetensors *file = open_good();
    assert_int_equal(truncate(path, 20), 0);
    clv_error error = CLV_ERROR_INIT;
    float values[2];
    assert_int_equal(clvi_safetensors_read_f32(file, 1, values, &error), CLV_E_IO);
    assert_non_null(strstr(error.message, "became shorter"));
    clvi_safetensors_close(file);
}

static void test_writer_misuse(void **state)
{
    (void)state;
    unlink(path);
    clvi_tensor_writer *writer = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_tensor_writer_create("/nonesuch/a", &writer, &error), CLV_E_IO);
    assert_null(writer);
    assert_int_equal(clvi_tensor_writer_create(path, &writer, NULL), CLV_OK);
    const int64_t dims[] = {3}, huge[] = {INT64_MAX, 2}, negative[] = {-1};
    assert_int_equal(clvi_tensor_writer_declare(writer, "a", CLVI_FILE_F32, 1, dims, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "a", CLVI_FILE_F32, 1, dims, NULL),
                     CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_declare(writer, "\xFF", CLVI_FILE_F32, 1, dims, NULL),
                     CLV_E_USAGE);
    assert_int_equal(
        clvi_tensor_writer_declare(writer, "__metadata__", CLVI_FILE_F32, 1, dims, NULL),
        CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_declare(writer, "b", CLVI_FILE_F32, 2, huge, NULL),
                     CLV_E_SHAPE);
    assert_int_equal(clvi_tensor_writer_declare(writer, "b", CLVI_FILE_F32, 1, negative, NULL),
                     CLV_E_SHAPE);
    assert_int_equal(clvi_tensor_writer_declare(writer, "b", CLVI_FILE_F32, 9, dims, NULL),
                     CLV_E_SHAPE);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "k", "v", NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "k", "v", NULL), CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "l", "\xC3", NULL), CLV_E_USAGE);
    const float values[4] = {0};
    assert_int_equal(clvi_tensor_writer_append(writer, values, 4, NULL), CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_append(writer, values, 2, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "c", CLVI_FILE_F32, 1, dims, NULL),
                     CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_metadata(writer, "m", "v", NULL), CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_commit(writer, NULL), CLV_E_USAGE);
    assert_int_equal(clvi_tensor_writer_append(writer, values, 1, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, values, 1, NULL), CLV_E_USAGE);
    clvi_tensor_writer_destroy(writer); /* not committed: nothing stays behind */
    clvi_tensor_writer_destroy(NULL);
    char **names = NULL;
    size_t count = 1;
    assert_int_equal(clvi_dir_list(folder, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 0);
    clvi_names_free(names, count);
}

static int allocations_left;

static void *limited_allocate(size_t bytes)
{
    return allocations_left-- > 0 ? malloc(bytes) : NULL;
}

static void *limited_reallocate(void *block, size_t bytes)
{
    return allocations_left-- > 0 ? realloc(block, bytes) : NULL;
}

/* The n-th allocation fails, for every n: CLV_E_MEMORY, and with enough memory it works. */
static void test_allocation_faults(void **state)
{
    (void)state;
    write_known();
    const clvi_allocator limited = {limited_allocate, limited_reallocate, free};
    clv_status status = CLV_E_MEMORY;
    for (int allowed = 0; status != CLV_OK; allowed++) {
        clv_error error = CLV_ERROR_INIT;
        clvi_safetensors *file = NULL;
        assert_true(allowed < 100);
        allocations_left = allowed;
        clvi_set_allocator(&limited);
        status = clvi_safetensors_open(path, &file, &error);
        clvi_safetensors_close(file);
        clvi_set_allocator(NULL);
        if (status != CLV_OK) {
            assert_int_equal(status, CLV_E_MEMORY);
            assert_true(error.message[0] != '\0');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_bytes),
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_long_conversion),
        cmocka_unit_test(test_order_and_trailing_bytes),
        cmocka_unit_test(test_refused_headers),
        cmocka_unit_test(test_refused_sizes),
        cmocka_unit_test(test_refused_metadata),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_shrinking_file),
        cmocka_unit_test(test_writer_misuse),
        cmocka_unit_test(test_allocation_faults),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
