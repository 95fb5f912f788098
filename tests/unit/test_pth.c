/* core/weights: files of PyTorch, as PyTorch writes them (tests/weights, the argument) and as
 * nobody should. */
#include "base/files.h"
#include "base/process.h"
#include "weights/pth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char *fixtures; /* folder */
static char scratch[] = "/tmp/conclave-pth-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkstemp(scratch) >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(scratch);
}

static clvi_pth *open_fixture(const char *name)
{
    char path[1024];
    clv_error error = CLV_ERROR_INIT;
    clvi_pth *file = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", fixtures, name);
    if (clvi_pth_open(path, &file, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return file;
}

/* ---- Good files ---- */

static void expect_numbers(const clvi_pth *file, size_t index, const char *name, int64_t count,
                           const float *wanted)
{
    const clvi_file_tensor *tensor = clvi_pth_at(file, index);
    float got[64];
    assert_string_equal(tensor->name, name);
    assert_int_equal(tensor->elements, count);
    assert_int_equal(clvi_pth_read_f32(file, index, got, NULL), CLV_OK);
    for (int64_t i = 0; i < count; i++)
        if (got[i] != wanted[i])
            fail_msg("%s[%d] is %g and should be %g", name, (int)i, (double)got[i],
                     (double)wanted[i]);
}

/* Element k of tensor i as tests/weights/make.py makes them. */
static float element(int i, int k)
{
    return (float)(k + 3 * i) / 4;
}

static void expect_simple(const clvi_pth *file, size_t index, const char *name, int i, int count)
{
    float wanted[64];
    for (int k = 0; k < count; k++)
        wanted[k] = element(i, k);
    expect_numbers(file, index, name, count, wanted);
}

static void expect_all(const char *name)
{
    static const float integers[] = {-2, -1, 0, 1, 2, 3}, count[] = {70000};
    clvi_pth *file = open_fixture(name);
    float turned[12], column[4], rows[12];
    for (int k = 0; k < 12; k++) {
        turned[k] = element(4, k % 3 * 4 + k / 3);
        rows[k] = element(5, 6 + k);
    }
    for (int k = 0; k < 4; k++)
        column[k] = element(5, 2 + 6 * k);
    assert_int_equal(clvi_pth_count(file), 12);
    assert_string_equal(clvi_pth_place(file), "model_state_dict");
    expect_simple(file, 0, "f32", 0, 24);
    assert_int_equal(clvi_pth_at(file, 0)->rank, 3);
    assert_int_equal(clvi_pth_at(file, 0)->dims[1], 3);
    expect_simple(file, 1, "f16", 1, 5);
    assert_int_equal(clvi_pth_at(file, 1)->dtype, CLVI_FILE_F16);
    expect_simple(file, 2, "bf16", 2, 6);
    expect_simple(file, 3, "f64", 3, 4);
    expect_numbers(file, 4, "i64", 6, integers);
    expect_numbers(file, 5, "count", 1, count);
    assert_int_equal(clvi_pth_at(file, 5)->rank, 0);
    expect_numbers(file, 6, "turned", 12, turned);
    expect_numbers(file, 7, "column", 4, column);
    expect_numbers(file, 8, "rows", 12, rows);
    expect_simple(file, 9, "whole", 5, 24);
    expect_simple(file, 10, "parameter", 6, 4);
    assert_int_equal(clvi_pth_at(file, 11)->elements, 0);
    clvi_pth_close(file);
}

static void test_zip(void **state)
{
    (void)state;
    expect_all("zip.pth");
}

static void test_plain(void **state)
{
    (void)state;
    expect_all("plain.pth");
}

static void test_newer_protocol(void **state)
{
    (void)state;
    expect_all("protocol4.pth");
}

/* ---- Files that are refused ---- */

static void expect_refused(const char *path, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_pth *file = NULL;
    const clv_status status = clvi_pth_open(path, &file, &error);
    if (status != CLV_E_FORMAT || !strstr(error.message, part) || !strstr(error.message, path))
        fail_msg("'%s' is not in '%s'", part, error.message);
    assert_null(file);
}

static void refuse_fixture(const char *name, const char *part)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", fixtures, name);
    expect_refused(path, part);
}

static void test_other_contents(void **state)
{
    (void)state;
    refuse_fixture("module.pth", "torch.nn.modules.linear.Linear");
    refuse_fixture("set.pth", "__builtin__.set");
    refuse_fixture("bool.pth", "BoolStorage");
    refuse_fixture("two.pth", "both 'a' and 'b'");
    refuse_fixture("list.pth", "no dictionary of tensors");
}

typedef struct bytes {
    clvi_text text;
} bytes;

static void put(bytes *to, const void *from, size_t count)
{
    clvi_text_append_n(&to->text, from, count);
}

static void put_number(bytes *to, uint64_t number, int count)
{
    for (int i = 0; i < count; i++) {
        const char byte = (char)(unsigned char)(i < 8 ? number >> (8 * i) & 0xFF : 0);
        put(to, &byte, 1);
    }
}

/* What is wrong with an entry of the zip file that write_zip makes. */
typedef struct entry {
    const char *name;
    const void *data;
    size_t bytes;
    int method;
    uint32_t told; /* size in the directory; 0: true */
    int64_t at;    /* place of the local header in the directory; -1: true */
    int flags;
} entry;

static void put_directory(bytes *zip, const entry *entries, size_t count, const size_t *places)
{
    const size_t start = zip->text.length;
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        const uint32_t told = e->told ? e->told : (uint32_t)e->bytes;
        put(zip, "PK\1\2\0\0\0\0", 8);
        put_number(zip, (uint64_t)e->flags, 2);
        put_number(zip, (uint64_t)e->method, 2);
        put_number(zip, 0, 8);
        put_number(zip, told, 4);
        put_number(zip, told, 4);
        put_number(zip, strlen(e->name), 2);
        put_number(zip, 0, 12);
        put_number(zip, e->at >= 0 ? (uint64_t)e->at : places[i], 4);
        put(zip, e->name, strlen(e->name));
    }
    const size_t length = zip->text.length - start;
    put(zip, "PK\5\6\0\0\0\0", 8);
    put_number(zip, count, 2);
    put_number(zip, count, 2);
    put_number(zip, length, 4);
    put_number(zip, start, 4);
    put_number(zip, 0, 2);
}

static void write_scratch(bytes *from)
{
    assert_false(from->text.failed);
    assert_int_equal(clvi_file_write(scratch, from->text.data, from->text.length, NULL), CLV_OK);
    clvi_text_fini(&from->text);
}

static void write_zip(const entry *entries, size_t count)
{
    bytes zip = {{0}};
    size_t places[8];
    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++) {
        places[i] = zip.text.length;
        put(&zip, "PK\3\4", 4);
        put_number(&zip, 0, 22);
        put_number(&zip, strlen(entries[i].name), 2);
        put_number(&zip, 0, 2);
        put(&zip, entries[i].name, strlen(entries[i].name));
        put(&zip, entries[i].data, entries[i].bytes);
    }
    put_directory(&zip, entries, count, places);
    write_scratch(&zip);
}

#define TEXT(text) (text), sizeof(text) - 1

static void refuse_zip(const entry *entries, size_t count, const char *part)
{
    write_zip(entries, count);
    expect_refused(scratch, part);
}

/* A zip file of this pickle and a storage "0" of 8 bytes. */
static void refuse_pickle(const void *pickle, size_t count, const char *part)
{
    const entry entries[] = {{"a/data.pkl", pickle, count, 0, 0, -1, 0},
                             {"a/data/0", "12345678", 8, 0, 0, -1, 0}};
    refuse_zip(entries, 2, part);
}

#define STORAGE                                                                                    \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                             \
    "0X\3\0\0\0cpu"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
/* {"w": tensor} with 2 floats in the storage */
#define TENSOR(numbers) "\x80\2}X\1\0\0\0w" REBUILD STORAGE "K\2tQ" numbers "tRs."

static void test_zip_files(void **state)
{
    (void)state;
    static const char good[] = TENSOR("K\0K\2\x85K\1\x85");
    const entry pickle = {"a/data.pkl", good, sizeof good - 1, 0, 0, -1, 0};
    const entry data = {"a/data/0", "12345678", 8, 0, 0, -1, 0};
    clvi_pth *file = NULL;
    write_zip((entry[]){pickle, data}, 2); /* what is changed below is good itself */
    assert_int_equal(clvi_pth_open(scratch, &file, NULL), CLV_OK);
    assert_int_equal(clvi_pth_count(file), 1);
    clvi_pth_close(file);
    entry bad = data;
    refuse_zip((entry[]){pickle}, 1, "storage '0' is not in the zip file");
    refuse_zip((entry[]){pickle, data, data}, 3, "stands there twice");
    bad.method = 8;
    refuse_zip((entry[]){pickle, bad}, 2, "is compressed");
    bad = data, bad.flags = 1;
    refuse_zip((entry[]){pickle, bad}, 2, "is encrypted");
    bad = data, bad.told = 4000;
    refuse_zip((entry[]){pickle, bad}, 2, "would lie beyond the file's data");
    bad = data, bad.told = 4;
    refuse_zip((entry[]){pickle, bad}, 2, "another size than its pickle says");
    bad = data, bad.at = 5;
    refuse_zip((entry[]){pickle, bad}, 2, "does not begin where the directory says");
    bad = data, bad.name = "b/data/0", bad.at = 0;
    refuse_zip((entry[]){pickle, data, bad}, 3, "overlaps");
    bad = pickle, bad.name = "b/data.pkl";
    refuse_zip((entry[]){pickle, data, bad}, 3, "two entries */data.pkl");
    refuse_zip((entry[]){data}, 1, "no entry */data.pkl");
    const entry big = {"a/byteorder", "big", 3, 0, 0, -1, 0};
    refuse_zip((entry[]){pickle, data, big}, 3, "big-endian");
}

static void test_zip_ends(void **state)
{
    (void)state;
    bytes zip = {{0}};
    put(&zip, "PK\3\4 and nothing more", 20);
    write_scratch(&zip);
    expect_refused(scratch, "cut off");
    put(&zip, "PK\3\4PK\5\6\0\0\0\0", 12);
    put_number(&zip, 0x00010001, 4);
    put_number(&zip, 46, 4);
    put_number(&zip, 1000, 4);
    put_number(&zip, 0, 2);
    write_scratch(&zip);
    expect_refused(scratch, "beyond its end");
    put(&zip, "PK\3\4PK\5\6\0\0\0\0", 12);
    put_number(&zip, UINT32_MAX, 4);
    put_number(&zip, UINT64_MAX, 8);
    put_number(&zip, 0, 2);
    write_scratch(&zip);
    expect_refused(scratch, "zip");
}

static void test_opcodes(void **state)
{
    (void)state;
    refuse_pickle(TEXT("\x80\2cposix\nsystem\n(X\4\0\0\0truetR."), "names posix.system");
    refuse_pickle(TEXT("\x80\4\x8c\5posix\x8c\6system\x93."), "names posix.system");
    refuse_pickle(TEXT("(S'true'\nios\nsystem\n."), "opcode STRING");
    refuse_pickle(TEXT("(ios\nsystem\n."), "opcode INST");
    refuse_pickle(TEXT("}}\x81."), "opcode NEWOBJ");
    refuse_pickle(TEXT("\x80\4\x8f."), "opcode EMPTY_SET");
    refuse_pickle(TEXT("\x80\2\xff."), "unknown opcode 0xff");
    refuse_pickle(TEXT("\x80\x9"), "protocol 9");
    refuse_pickle(TEXT("}R."), "takes more than it has");
    refuse_pickle(TEXT("})R."), "calls what cannot be called");
    refuse_pickle(TEXT("ctorch\nFloatStorage\n)R."), "calls a kind of number");
    refuse_pickle(TEXT("K\1K\2b."), "attributes to what is no dictionary");
    refuse_pickle(TEXT("K\1Q."), "a storage is not described as such");
    refuse_pickle(TEXT("h\0."), "did not keep");
    refuse_pickle(TEXT("}r\0\0\0\xff."), "too high");
    refuse_pickle(TEXT("X\xff\xff\xff\x7f."), "beyond its end");
    refuse_pickle(TEXT("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), "beyond its end");
    refuse_pickle(TEXT("}("), "no end");
    refuse_pickle(TEXT("}(."), "within a container");
    refuse_pickle(TEXT("}(K\1u."), "a key has no value");
    refuse_pickle(TEXT("(t}u."), "lacks a mark");
    refuse_pickle("", 0, "no end");
}

static void test_tensors(void **state)
{
    (void)state;
    refuse_pickle(TEXT(TENSOR("K\0K\3\x85K\1\x85")), "more elements than its storage");
    refuse_pickle(TEXT(TENSOR("K\1K\2\x85K\1\x85")), "beyond its storage");
    refuse_pickle(TEXT(TENSOR("K\0K\2\x85K\2\x85")), "beyond its storage");
    refuse_pickle(TEXT(TENSOR("K\x9K\1\x85K\1\x85")), "beyond its storage");
    refuse_pickle(TEXT(TENSOR("J\xff\xff\xff\xffK\1\x85K\1\x85")), "offset");
    refuse_pickle(TEXT(TENSOR("K\0J\xff\xff\xff\xff\x85K\1\x85")), "whole numbers from 0");
    refuse_pickle(TEXT(TENSOR("K\0K\1\x85)")), "as many strides");
    refuse_pickle(TEXT(TENSOR("K\0K\1K\1")), "no tuple");
    /* 2^60 elements: of one axis, of two, and by a stride of 0 */
    refuse_pickle(TEXT(TENSOR("K\0\x8a\x8\0\0\0\0\0\0\0\x10\x85K\1\x85")), "more elements");
    refuse_pickle(TEXT(TENSOR("K\0\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86K\1K\1\x86")),
                  "more elements");
    refuse_pickle(TEXT(TENSOR("K\0\x8a\x8\0\0\0\0\0\0\0\x10\x85K\0\x85")), "more elements");
    /* a stride that overflows */
    refuse_pickle(TEXT(TENSOR("K\0K\2\x85\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f\x85")),
                  "beyond its storage");
    /* a storage of 2^61 numbers, and one that two tensors see differently */
    refuse_pickle(TEXT("\x80\2}X\1\0\0\0w" REBUILD STORAGE
                       "\x8a\x8\0\0\0\0\0\0\0\x20tQK\0K\2\x85K\1\x85tRs."),
                  "too many elements");
    refuse_pickle(TEXT("\x80\2}X\1\0\0\0w" REBUILD STORAGE "K\2tQK\0K\2\x85K\1\x85tRs"
                       "X\1\0\0\0v" REBUILD STORAGE "K\1tQK\0K\1\x85K\1\x85tRs."),
                  "described in two ways");
    refuse_pickle(TEXT("\x80\2}X\1\0\0\0w" REBUILD STORAGE "K\2tQK\0K\2\x85K\1\x85tRsX\1\0\0\0wX"
                       "\1\0\0\0wh\0s."),
                  "did not keep");
    refuse_pickle(TEXT("\x80\2}K\1" REBUILD STORAGE "K\2tQK\0K\2\x85K\1\x85tRs."),
                  "no text as its name");
}

/* Dictionaries in dictionaries, each twice: 2^n of them for whoever does not count. */
static void test_bombs(void **state)
{
    (void)state;
    bytes nested = {{0}};
    put(&nested, "\x80\2}q\0", 5);
    for (int i = 1; i < 60; i++) {
        put(&nested, "0}(X\1\0\0\0a", 10 - 1);
        put(&nested, "h", 1);
        put_number(&nested, (uint64_t)i - 1, 1);
        put(&nested, "X\1\0\0\0bh", 7);
        put_number(&nested, (uint64_t)i - 1, 1);
        put(&nested, "uq", 2);
        put_number(&nested, (uint64_t)i, 1);
    }
    put(&nested, ".", 1);
    refuse_pickle(nested.text.data, nested.text.length, "no dictionary of tensors");
    clvi_text_fini(&nested.text);

    /* Deep nesting, and a dictionary that holds itself. */
    bytes deep = {{0}};
    for (int i = 0; i < 100000; i++)
        put(&deep, "}X\5\0\0\0model", 11);
    put(&deep, "}", 1);
    for (int i = 0; i < 100000; i++)
        put(&deep, "s", 1);
    put(&deep, ".", 1);
    refuse_pickle(deep.text.data, deep.text.length, "no dictionary of tensors");
    clvi_text_fini(&deep.text);
    refuse_pickle(TEXT("}q\0X\5\0\0\0modelh\0s."), "no dictionary of tensors");

    bytes many = {{0}};
    for (int i = 0; i < 5000000; i++)
        put(&many, "N", 1);
    put(&many, ".", 1);
    refuse_pickle(many.text.data, many.text.length, "more than");
    clvi_text_fini(&many.text);

    /* One list of 100,000 pairs, made a dictionary again and again. */
    bytes again = {{0}};
    put(&again, "]q\0(", 4);
    for (int i = 0; i < 100000; i++)
        put(&again, "NN\x86", 3);
    put(&again, "e0", 2);
    for (int i = 0; i < 1000; i++)
        put(&again, "ccollections\nOrderedDict\nh\0\x85R", 28 + 1);
    put(&again, ".", 1);
    refuse_pickle(again.text.data, again.text.length, "more than");
    clvi_text_fini(&again.text);
}

static void test_plain_files(void **state)
{
    (void)state;
    char path[1024], *data = NULL;
    size_t length = 0;
    (void)snprintf(path, sizeof path, "%s/plain.pth", fixtures);
    assert_int_equal(clvi_file_read(path, 1 << 20, &data, &length, NULL), CLV_OK);
    for (size_t cut = 15; cut < length; cut += 13) {
        clv_error error = CLV_ERROR_INIT;
        clvi_pth *file = NULL;
        assert_int_equal(clvi_file_write(scratch, data, cut, NULL), CLV_OK);
        assert_int_equal(clvi_pth_open(scratch, &file, &error), CLV_E_FORMAT);
        assert_true(error.message[0] != '\0');
    }
    clvi_free(data);
    bytes other = {{0}};
    put(&other, "\x80\2}.", 4);
    write_scratch(&other);
    expect_refused(scratch, "not a file of PyTorch");
}

static int allocations_left;

static void *limited_allocate(size_t count)
{
    return allocations_left-- > 0 ? malloc(count) : NULL;
}

static void *limited_reallocate(void *block, size_t count)
{
    return allocations_left-- > 0 ? realloc(block, count) : NULL;
}

/* The n-th allocation fails, for every n: CLV_E_MEMORY, and with enough memory it works. */
static void test_allocation_faults(void **state)
{
    (void)state;
    static const char *const names[] = {"zip.pth", "plain.pth"};
    const clvi_allocator limited = {limited_allocate, limited_reallocate, free};
    for (size_t i = 0; i < 2; i++) {
        char path[1024];
        clv_status status = CLV_E_MEMORY;
        (void)snprintf(path, sizeof path, "%s/%s", fixtures, names[i]);
        for (int allowed = 0; status != CLV_OK; allowed++) {
            clv_error error = CLV_ERROR_INIT;
            clvi_pth *file = NULL;
            float values[12];
            assert_true(allowed < 200);
            allocations_left = allowed;
            clvi_set_allocator(&limited);
            status = clvi_pth_open(path, &file, &error);
            if (status == CLV_OK)
                status = clvi_pth_read_f32(file, 6, values, &error);
            clvi_pth_close(file);
            clvi_set_allocator(NULL);
            assert_true(status == CLV_OK || status == CLV_E_MEMORY);
            assert_true(status == CLV_OK || error.message[0] != '\0');
        }
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zip),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_newer_protocol),
        cmocka_unit_test(test_other_contents),
        cmocka_unit_test(test_zip_files),
        cmocka_unit_test(test_zip_ends),
        cmocka_unit_test(test_opcodes),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_plain_files),
        cmocka_unit_test(test_allocation_faults),
    };
    fixtures = count > 1 ? arguments[1] : "tests/weights";
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
