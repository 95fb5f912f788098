/* A tensor as it lies in a file, whatever the file's format, and its elements brought to f32. */
#ifndef CLVI_FILE_TENSOR_H
#define CLVI_FILE_TENSOR_H

#include "base/error.h"

#include <stdbool.h>

typedef enum clvi_file_dtype {
    CLVI_FILE_F32,
    CLVI_FILE_F16,
    CLVI_FILE_BF16,
    CLVI_FILE_F64,
    CLVI_FILE_I32,
    CLVI_FILE_I64,
    CLVI_FILE_U8,
    CLVI_FILE_DTYPES
} clvi_file_dtype;
const char *clvi_file_dtype_name(clvi_file_dtype dtype); /* "F32": as in safetensors */
size_t clvi_file_dtype_bytes(clvi_file_dtype dtype);     /* of one element */

enum { CLVI_FILE_MAX_RANK = 8 };

/* One tensor of an open file. Lives as long as the file is open. */
typedef struct clvi_file_tensor {
    const char *name; /* UTF-8, any characters but NUL */
    clvi_file_dtype dtype;
    int rank;                         /* 0: a single number */
    int64_t dims[CLVI_FILE_MAX_RANK]; /* each >= 0 */
    int64_t elements;
    uint64_t offset, bytes; /* of its data, from the start of the file */
} clvi_file_tensor;

/* Little-endian elements of `width` bytes to the host's byte order, in place. */
void clvi_file_to_host(void *data, size_t width, size_t count);
/* Elements in the host's byte order, aligned for their dtype, to f32. F16 and BF16 convert exactly,
 * wider numbers round to nearest. */
void clvi_file_convert(clvi_file_dtype dtype, const void *from, size_t count, float *out);

/* Reads `bytes` bytes at `offset` of an open file. Errors: CLV_E_IO naming `path`, also when the
 * file ends before. */
clv_status clvi_file_read_at(int descriptor, const char *path, uint64_t offset, void *out,
                             uint64_t bytes, clv_error *error) CLV_MUST_CHECK;
/* Opens a regular file (no pipe, no folder) for reading; its size in bytes. The caller closes
 * *descriptor. Errors: CLV_E_IO. */
clv_status clvi_file_open(const char *path, int *descriptor, uint64_t *file_bytes,
                          clv_error *error) CLV_MUST_CHECK;
/* Bytes of an open file. Errors: CLV_E_IO, also for what is no regular file. */
clv_status clvi_file_size(int descriptor, const char *path, uint64_t *file_bytes,
                          clv_error *error) CLV_MUST_CHECK;
/* Reads and converts `elements` elements of a dtype that lie at `offset` one after the other. */
clv_status clvi_file_read_f32(int descriptor, const char *path, clvi_file_dtype dtype,
                              uint64_t offset, int64_t elements, float *out,
                              clv_error *error) CLV_MUST_CHECK;

#endif
