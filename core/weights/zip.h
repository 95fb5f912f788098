/* The directory of a zip file whose entries are stored as they are, as PyTorch writes them, read
 * without trust and without unpacking anything: an entry is a range of the file. */
#ifndef CLVI_ZIP_H
#define CLVI_ZIP_H

#include "weights/file_tensor.h"

#include <stdbool.h>

typedef struct clvi_zip_entry {
    const char *name;
    uint64_t offset, bytes; /* of its data, from the start of the file; within the file */
} clvi_zip_entry;

typedef struct clvi_zip clvi_zip;

/* Reads the directory of an open file: at most 16 MB, every range within the file, none overlapping
 * another, no name twice, nothing compressed or encrypted. The descriptor is used during the call
 * only. Errors: CLV_E_IO, CLV_E_FORMAT naming path and entry, CLV_E_MEMORY. The caller destroys. */
clv_status clvi_zip_open(int descriptor, const char *path, uint64_t file_bytes, clvi_zip **out,
                         clv_error *error) CLV_MUST_CHECK;
void clvi_zip_destroy(clvi_zip *zip); /* NULL allowed */

/* Entries in the order of their names. They live as long as the zip. */
size_t clvi_zip_count(const clvi_zip *zip);
const clvi_zip_entry *clvi_zip_at(const clvi_zip *zip, size_t index);
/* By name; NULL: there is none. */
const clvi_zip_entry *clvi_zip_find(const clvi_zip *zip, const char *name);

#endif
