/* Where images come from: a folder, read on demand, or an archive, held in memory. A source knows
 * names, sizes and bytes; what a folder means is folders.h's affair. Only core/data includes this.
 */
#ifndef CLVI_SOURCE_H
#define CLVI_SOURCE_H

#include "base/files.h"

/* An image file. Thread: read-only once the source is open. */
typedef struct clvi_entry {
    const char *path; /* below the source, "dhcd/Train/character_1_ka/1.png" */
    uint64_t bytes;
    const uint8_t *data; /* NULL: on disk */
} clvi_entry;

typedef struct clvi_source {
    char *path; /* as the user gave it */
    bool archive, skip_bad;
    uint64_t held, limit; /* bytes that images (of an archive) and names take, and may take */
    clvi_arena *arena;    /* holds every path, and the bytes of an archive */
    clvi_entry *entries;  /* image files, natural order of their paths */
    size_t count, capacity;
    const char *
        *folders; /* every folder with its ancestors, sorted, each once; no '/' at the end */
    size_t folder_count, folder_capacity;
} clvi_source;

/* A buffer that grows and is used again, one for each thread. Zero-initialise; free `data`. */
typedef struct clvi_scratch {
    uint8_t *data;
    size_t capacity;
} clvi_scratch;

/* Lists a folder, or reads an archive in full. Hidden names and __MACOSX are passed over. What it
 * holds takes at most about `limit` bytes of memory. An image of a folder that cannot be opened is
 * an error at once, with `skip_bad` only when it is read.
 * Errors: CLV_E_IO, CLV_E_DATA (an archive that is damaged, or unsafe, or needs more than the
 * limit), CLV_E_MEMORY. Owns: *out, for clvi_source_close. */
clv_status clvi_source_open(const char *path, uint64_t limit, bool skip_bad, clvi_source **out,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_source_close(clvi_source *source); /* NULL allowed */

/* The bytes of entry `index`: in the source itself or in `scratch`, valid until either changes.
 * Errors: CLV_E_DATA where that file cannot be opened or is above CLVI_IMAGE_FILE_LIMIT, CLV_E_IO.
 * Thread: any, with its own scratch. */
clv_status clvi_source_read(const clvi_source *source, size_t index, clvi_scratch *scratch,
                            const uint8_t **data, size_t *length, clv_error *error) CLV_MUST_CHECK;
/* Where `path` of this source is, for messages, in `out`; returns `out`. */
const char *clvi_source_name(const clvi_source *source, const char *path, char *out, size_t bytes);

/* Whether errno `code` of opening `path`, an image, is a fault of that file alone: a link to
 * nothing or to itself, no permission. One that has vanished has not: the disk may have. */
bool clvi_source_fault_of_file(const char *path, int code);

/* For the two kinds of source, while they are being opened: */
clv_status clvi_source_read_archive(clvi_source *source, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_source_list_folder(clvi_source *source, clv_error *error) CLV_MUST_CHECK;
/* Counts `bytes` that are about to be held. Errors: CLV_E_DATA above the limit. */
clv_status clvi_source_hold(clvi_source *source, uint64_t bytes, clv_error *error) CLV_MUST_CHECK;
/* Adds an image and counts it; `path` is copied, `data` is not. */
clv_status clvi_source_add(clvi_source *source, const clvi_entry *entry,
                           clv_error *error) CLV_MUST_CHECK;
/* Adds the folder path[0..length) and its ancestors; adding it again at once costs nothing. */
clv_status clvi_source_add_folder(clvi_source *source, const char *path, size_t length,
                                  clv_error *error) CLV_MUST_CHECK;
/* True when a part of the path is hidden (begins with '.') or is __MACOSX. */
bool clvi_source_ignores(const char *path);
/* Makes scratch hold at least `bytes`. */
clv_status clvi_scratch_need(clvi_scratch *scratch, size_t bytes, clv_error *error) CLV_MUST_CHECK;

/* Bytes of memory in this machine; a guess of 4 GiB where the system does not tell. */
uint64_t clvi_physical_bytes(void);

#endif
