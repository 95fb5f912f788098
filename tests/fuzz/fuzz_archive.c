/* Any bytes as an archive: read with little memory, then opened as a data set and decoded. */
#define _GNU_SOURCE
#include "fuzz.h"

#include "base/process.h"
#include "data/dataset_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 25, LIMIT = 1 << 22 };

static void *small_allocate(size_t bytes)
{
    return bytes <= MOST_BYTES ? malloc(bytes) : NULL;
}

static void *small_reallocate(void *block, size_t bytes)
{
    return bytes <= MOST_BYTES ? realloc(block, bytes) : NULL;
}

static void check(bool promise)
{
    if (!promise)
        abort();
}

static void check_error(clv_status status, const clv_error *error)
{
    check(status == (clv_status)error->status);
    check(status == CLV_OK || (error->message[0] != '\0' && !strchr(error->message, '\n')));
}

/* What a source holds is inside its folder, in order, and each name once. */
static clv_status look_at_source(const char *path)
{
    clvi_source *source = NULL;
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = clvi_source_open(path, LIMIT, false, &source, &error);
    check_error(status, &error);
    check((status == CLV_OK) == (source != NULL));
    for (size_t i = 0; source && i < source->count; i++) {
        const char *name = source->entries[i].path;
        check(*name != '/' && strncmp(name, "../", 3) != 0 && !strstr(name, "/../"));
        check(i == 0 || clvi_natural_compare(source->entries[i - 1].path, name) < 0);
        check(source->held <= LIMIT);
    }
    clvi_source_close(source);
    return status;
}

static void use_data(clvi_dataset *data)
{
    clvi_scratch scratch = {0};
    uint8_t pixels[8 * 8 * 3];
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        for (size_t i = 0; i < data->counts[s]; i++) {
            const clvi_sample *sample = clvi_dataset_sample(data, (clvi_split)s, i);
            clv_error error = CLV_ERROR_INIT;
            check(sample->label < clvi_dataset_class_count(data));
            const clv_status status = clvi_pixels_get(data, sample->id, &scratch, pixels, &error);
            check(status == CLV_OK || error.message[0] != '\0');
        }
    clvi_free(scratch.data);
}

static void open_data(const char *path, bool odd)
{
    const clvi_data_options options = {.path = path,
                                       .val_fraction = odd ? 0.3 : 0.0,
                                       .height = 8,
                                       .width = 8,
                                       .channels = odd ? 0 : 3,
                                       .fit = odd ? CLVI_CROP : CLVI_STRETCH,
                                       .skip_bad = odd,
                                       .no_cache = true,
                                       .workers = 1};
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = clvi_dataset_open(&options, &data, &error);
    check_error(status, &error);
    check((status == CLV_OK) == (data != NULL));
    if (data)
        use_data(data);
    clvi_dataset_close(data);
}

void fuzz_archive(const uint8_t *bytes, size_t length)
{
    static const clvi_allocator table = {small_allocate, small_reallocate, free};
    char path[64];
    const int file = memfd_create("archive", MFD_CLOEXEC);
    check(file >= 0 && write(file, bytes, length) == (ssize_t)length);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    clvi_set_allocator(&table);
    if (look_at_source(path) == CLV_OK)
        open_data(path, length % 2 == 1);
    clvi_set_allocator(NULL);
    (void)close(file);
}

#ifdef FUZZING

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_archive(bytes, length);
    return 0;
}

/* Gives the headers of a tar the checksums that their bytes ask for, so that they are believed. */
static void mend_tar(uint8_t *bytes, size_t length)
{
    for (size_t at = 0; length - at >= 512 && at < length; at += 512) {
        uint8_t *header = bytes + at;
        if (memcmp(header + 257, "ustar", 5) != 0)
            continue;
        unsigned sum = 8 * ' ';
        for (size_t i = 0; i < 512; i++)
            sum += i >= 148 && i < 156 ? 0 : header[i];
        (void)snprintf((char *)header + 148, 8, "%06o", sum);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed)
{
    length = LLVMFuzzerMutate(bytes, length, most);
    if (seed % 16 != 0 && length >= 512)
        mend_tar(bytes, length);
    return length;
}

#endif
