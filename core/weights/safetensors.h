/* The safetensors format: 8 bytes length of the header (little-endian), a JSON header that names
 * every tensor with dtype, shape and place, then the data, little-endian and without gaps.
 * Reading trusts nothing in a file: a damaged or hostile one gives one sentence. Checkpoints and
 * the weights command use it. */
#ifndef CLVI_SAFETENSORS_H
#define CLVI_SAFETENSORS_H

#include "base/files.h"
#include "weights/file_tensor.h"

#define CLVI_SAFETENSORS_HEADER_BYTES 100000000u /* the largest header of the format */

typedef struct clvi_safetensors clvi_safetensors;

/* Opens a file and checks all of its header: at most 100 MB, every dtype, shape and offset, no
 * overlap, no gap, data not beyond the end of the file. Bytes after the last tensor are tolerated
 * and logged. Errors: CLV_E_IO, CLV_E_FORMAT naming file and tensor, CLV_E_MEMORY. The caller
 * closes *out. Thread: any number may read one open file. */
clv_status clvi_safetensors_open(const char *path, clvi_safetensors **out,
                                 clv_error *error) CLV_MUST_CHECK;
/* The same of a file that is open already, whatever its name: `path` is for messages. Takes the
 * descriptor, also on failure. */
clv_status clvi_safetensors_adopt(int descriptor, const char *path, clvi_safetensors **out,
                                  clv_error *error) CLV_MUST_CHECK;
void clvi_safetensors_close(clvi_safetensors *file); /* NULL allowed */

/* Tensors in the order of their data. */
size_t clvi_safetensors_count(const clvi_safetensors *file);
const clvi_file_tensor *clvi_safetensors_at(const clvi_safetensors *file, size_t index);
/* Index by name, or -1. */
int64_t clvi_safetensors_find(const clvi_safetensors *file, const char *name);
/* Value of a key of the file's metadata, or NULL. Lives as long as the file is open. */
const char *clvi_safetensors_metadata(const clvi_safetensors *file, const char *key);
/* As given to open. */
const char *clvi_safetensors_path(const clvi_safetensors *file);

/* Reads all elements of a tensor as they are, in the host's byte order: tensor->bytes bytes to
 * `out`. Errors: CLV_E_IO; `out` may be partly written then. */
clv_status clvi_safetensors_read(const clvi_safetensors *file, size_t index, void *out,
                                 clv_error *error) CLV_MUST_CHECK;
/* Reads and converts to f32: tensor->elements floats. F16 and BF16 convert exactly, integers round
 * to nearest. */
clv_status clvi_safetensors_read_f32(const clvi_safetensors *file, size_t index, float *out,
                                     clv_error *error) CLV_MUST_CHECK;

/* Writes a file that appears under its name whole or not at all:
 * create → metadata and declare, in any order → append all data in the order of declaration →
 * commit; destroy in any case. Equal calls write equal bytes. */
typedef struct clvi_tensor_writer clvi_tensor_writer;
clv_status clvi_tensor_writer_create(const char *path, clvi_tensor_writer **out,
                                     clv_error *error) CLV_MUST_CHECK;
/* The same on a stream of the caller's, which stays open; `name` is for messages. */
clv_status clvi_tensor_writer_create_on(FILE *stream, const char *name, clvi_tensor_writer **out,
                                        clv_error *error) CLV_MUST_CHECK;
/* Removes what was written unless it was committed. NULL allowed. */
void clvi_tensor_writer_destroy(clvi_tensor_writer *writer);
/* Adds a key with a value to the metadata. Errors: CLV_E_USAGE when the key is there already or one
 * of the two is no UTF-8. */
clv_status clvi_tensor_writer_metadata(clvi_tensor_writer *writer, const char *key,
                                       const char *value, clv_error *error) CLV_MUST_CHECK;
/* Announces the next tensor. Declare wide dtypes before narrow ones: data follows without padding,
 * and some readers want it aligned. Errors: CLV_E_USAGE when the name is there already or no UTF-8,
 * CLV_E_SHAPE, CLV_E_MEMORY. */
clv_status clvi_tensor_writer_declare(clvi_tensor_writer *writer, const char *name,
                                      clvi_file_dtype dtype, int rank, const int64_t *dims,
                                      clv_error *error) CLV_MUST_CHECK;
/* The next `elements` elements, in the host's byte order, of the tensor whose turn it is: all of
 * it or, in several calls, parts of it; never beyond its end (CLV_E_USAGE). Tensors without
 * elements are passed over. The first call ends the declarations. */
clv_status clvi_tensor_writer_append(clvi_tensor_writer *writer, const void *data, int64_t elements,
                                     clv_error *error) CLV_MUST_CHECK;
/* Makes the file visible, durably. Errors: CLV_E_USAGE when data is missing, CLV_E_IO. */
clv_status clvi_tensor_writer_commit(clvi_tensor_writer *writer, clv_error *error) CLV_MUST_CHECK;

#endif
