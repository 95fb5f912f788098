/* Any bytes as a file of weights: opened, its tensors looked at and read. What conclave-h5 gives
 * its parent is safetensors, so that this reads what a broken one of it could say, too. A bundle's
 * metadata is read as well. */
#define _GNU_SOURCE
#include "fuzz.h"

#include "base/process.h"
#include "train/bundle.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 25 };

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

/* One sentence if and only if the call failed. */
static void check_error(clv_status status, const clv_error *error)
{
    check(status == (clv_status)error->status);
    check(status == CLV_OK || (error->message[0] != '\0' && !strchr(error->message, '\n')));
}

/* A tensor has no more elements than the file has bytes: that bounds the memory. */
static void use(const clvi_weights *file, size_t index, size_t length)
{
    const clvi_file_tensor *tensor = clvi_weights_at(file, index);
    int64_t elements = 1;
    check(tensor->name && tensor->rank >= 0 && tensor->rank <= CLVI_FILE_MAX_RANK);
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->dims[i];
    check(elements == tensor->elements && (uint64_t)elements <= length);
    float *values = malloc((size_t)elements * sizeof *values + 1);
    clv_error error = CLV_ERROR_INIT;
    check(values);
    const clv_status status = clvi_weights_read_f32(file, index, values, &error);
    check_error(status, &error);
    float sum = 0;
    for (int64_t i = 0; status == CLV_OK && i < elements; i++)
        sum += values[i]; /* each was written */
    check(sum <= 0 || sum >= 0 || sum != sum);
    free(values);
}

static void use_bundle(const char *path)
{
    clvi_safetensors *file = NULL;
    clvi_bundle bundle = {0};
    clvi_bundle_validation validation = {0};
    clv_error error = CLV_ERROR_INIT;
    if (clvi_safetensors_open(path, &file, NULL) != CLV_OK)
        return;
    clv_status status = clvi_bundle_read(file, &bundle, &error);
    check_error(status, &error);
    check((status == CLV_OK) == (bundle.classes != NULL));
    if (status == CLV_OK) {
        check(json_array_size(bundle.classes) >= 2 && bundle.epoch >= 0 && bundle.temperature >= 0);
        for (int i = 0; i < 3; i++)
            check(bundle.image[i] >= 1 && bundle.image[i] <= 65536);
        status = clvi_bundle_validation_read(file, &validation, &error);
        check_error(status, &error);
    }
    double sum = 0;
    for (size_t i = 0; i < validation.count; i++)
        sum += validation.confidence[i] + validation.gate_entropy[i]; /* each was written */
    check(sum <= 0 || sum >= 0 || sum != sum);
    clvi_bundle_validation_fini(&validation);
    clvi_bundle_fini(&bundle);
    clvi_safetensors_close(file);
}

void fuzz_weights(const uint8_t *bytes, size_t length)
{
    static const clvi_allocator table = {small_allocate, small_reallocate, free};
    static const uint8_t h5[] = {0x89, 'H', 'D', 'F'};
    char path[64];
    clvi_weights *weights = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (length >= sizeof h5 && memcmp(bytes, h5, sizeof h5) == 0)
        return; /* would start a program */
    const int file = memfd_create("weights", MFD_CLOEXEC);
    check(file >= 0 && write(file, bytes, length) == (ssize_t)length);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    clvi_set_allocator(&table);
    const clv_status status = clvi_weights_open(path, &weights, &error);
    check_error(status, &error);
    check((status == CLV_OK) == (weights != NULL));
    for (size_t i = 0; weights && i < clvi_weights_count(weights); i++)
        use(weights, i, length);
    clvi_weights_close(weights);
    use_bundle(path);
    clvi_set_allocator(NULL);
    (void)close(file);
}

#ifdef FUZZING

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_weights(bytes, length);
    return 0;
}

/* The first length of a file of safetensors follows its header, so that the JSON is looked at. */
static void mend_length(uint8_t *bytes, size_t length)
{
    for (size_t i = length; i-- > 8;)
        if (bytes[i] == '}') {
            for (int k = 0; k < 8; k++)
                bytes[k] = (uint8_t)((uint64_t)(i - 7) >> (8 * k));
            return;
        }
}

/* Changes a few bytes of a zip file where they stand: all its offsets stay good. */
static size_t mutate_inside(uint8_t *bytes, size_t length, unsigned seed)
{
    uint8_t piece[64];
    const size_t at = seed / 64 % length, most = length - at < 64 ? length - at : 64;
    memcpy(piece, bytes + at, most);
    const size_t made = LLVMFuzzerMutate(piece, most, most);
    memcpy(bytes + at, piece, made);
    return length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed)
{
    if (seed % 8 != 0 && length > 64 && bytes[0] == 'P')
        return mutate_inside(bytes, length, seed);
    length = LLVMFuzzerMutate(bytes, length, most);
    if (seed % 16 != 0 && length > 8 && bytes[8] == '{')
        mend_length(bytes, length);
    return length;
}

#endif
