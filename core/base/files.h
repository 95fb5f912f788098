/* Files: read whole, write whole or not at all, make folders, look around. Paths are UTF-8. */
#ifndef CLVI_FILES_H
#define CLVI_FILES_H

#include "text.h"

#include <stdio.h>

/* Reads a file of at most `limit_bytes` into memory (NUL appended, not counted). The caller frees
 * with clvi_free. Errors: CLV_E_IO naming the path, CLV_E_DATA when larger. */
clv_status clvi_file_read(const char *path, size_t limit_bytes, char **data, size_t *bytes,
                          clv_error *error) CLV_MUST_CHECK;

/* A file that appears under its name only when finished: temporary name in the same folder, fsync,
 * rename. begin → write to ->stream → commit; abort removes the temporary (also after a failed
 * commit). */
typedef struct clvi_atomic_file {
    FILE *stream;
    char *path, *temporary;
} clvi_atomic_file;
clv_status clvi_atomic_begin(clvi_atomic_file *file, const char *path,
                             clv_error *error) CLV_MUST_CHECK;
clv_status clvi_atomic_commit(clvi_atomic_file *file, clv_error *error) CLV_MUST_CHECK;
/* The same, but a file that has the name by then stays as it is, and what was written goes: of
 * several processes that write at once, the first one counts. */
clv_status clvi_atomic_commit_new(clvi_atomic_file *file, clv_error *error) CLV_MUST_CHECK;
void clvi_atomic_abort(clvi_atomic_file *file);
/* Removes temporaries in `folder` whose process is gone and which nobody has written to for an hour
 * (another machine's process may use the folder). Errors: CLV_E_IO, CLV_E_MEMORY; a file that stays
 * is none. */
clv_status clvi_atomic_sweep(const char *folder, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_file_write(const char *path, const void *data, size_t bytes,
                           clv_error *error) CLV_MUST_CHECK; /* atomic, in one call */

/* mkdir -p with `mode` (such as 0755). */
clv_status clvi_make_dirs(const char *path, unsigned mode, clv_error *error) CLV_MUST_CHECK;

bool clvi_is_file(const char *path);
bool clvi_is_dir(const char *path);
/* Whether `folder` has a file of this name; also false when memory is exhausted. */
bool clvi_has_file(const char *folder, const char *name);
/* Whether a text that may be a short name is a path: it has a '/', or ends with `ending`. */
bool clvi_is_path(const char *text, const char *ending);
/* Whether two paths lead to the same file or folder, also through links; false where one does not
 * lead to any. */
bool clvi_same_file(const char *a, const char *b);
/* What a path leads to, for many comparisons: equal in both numbers for the same only. False:
 * nothing is there. */
typedef struct clvi_file_id {
    uint64_t device, inode;
} clvi_file_id;
bool clvi_file_identify(const char *path, clvi_file_id *out);
/* The part of a path behind its last '/'; where nothing is behind it, the whole. */
const char *clvi_path_name(const char *path);
/* "a/b": joined with exactly one '/'. Caller frees; NULL when memory is exhausted. */
char *clvi_path_join(const char *a, const char *b);
/* Records CLV_E_IO "PATH: WHAT: reason" for errno `code`; where nothing is called so, the nearest
 * name that is there is put behind it. Returns CLV_E_IO. */
clv_status clvi_fail_open(clv_error *error, int code, const char *file, int line, const char *path,
                          const char *what);
/* Appends "; did you mean PATH?" to a text of `bytes` bytes: the nearest name to the first part of
 * `path` that is not there. Nothing where all are, none is near, or there is no room. */
void clvi_path_advise(const char *path, char *text, size_t bytes);
/* Names in a folder (no . and ..), natural order. Caller frees with clvi_names_free. */
clv_status clvi_dir_list(const char *path, char ***names, size_t *count,
                         clv_error *error) CLV_MUST_CHECK;
void clvi_names_free(char **names, size_t count);

/* The folder of what can be made again, such as compiled kernels: CONCLAVE_CACHE_DIR, else
 * $XDG_CACHE_HOME/conclave, else ~/.cache/conclave; it need not exist. Caller frees; NULL:
 * CONCLAVE_CACHE=0, nothing names one, or memory is exhausted. */
char *clvi_cache_folder(void);

#endif
