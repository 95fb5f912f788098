/* See row_file.h. */
#include "train/row_file.h"

#include <errno.h>
#include <stdio.h>

struct clvi_row_file {
    FILE *stream;
    char *path;
};

/* Whether the file at `path`, which may not exist, is empty or has our header. */
static clv_status check_header(const char *path, const char *header, bool *empty, clv_error *error)
{
    const size_t length = strlen(header);
    FILE *stream = fopen(path, "rbe");
    if (stream == NULL && errno == ENOENT) {
        *empty = true;
        return CLV_OK;
    }
    if (stream == NULL)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot open", path);
    char *start = clvi_malloc(length);
    const size_t got = start ? fread(start, 1, length, stream) : 0;
    const bool same = got == length && memcmp(start, header, length) == 0;
    fclose(stream);
    const bool memory = start != NULL;
    clvi_free(start);
    if (!memory)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    if (got > 0 && !same)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: its columns are not %.*s; move it away", path,
                 (int)length - 1, header);
    *empty = got == 0;
    return CLV_OK;
}

static clv_status put(clvi_row_file *file, const char *text, clv_error *error)
{
    errno = 0;
    if (fputs(text, file->stream) == EOF || fflush(file->stream) != 0)
        return clvi_fail_errno(error, errno != 0 ? errno : EIO, CLV_HERE, "%s: cannot write",
                               file->path);
    return CLV_OK;
}

static clv_status open_file(clvi_row_file *file, const char *path, const char *header,
                            clv_error *error)
{
    bool empty = false;
    CLV_TRY(check_header(path, header, &empty, error));
    file->path = clvi_strdup(path);
    if (file->path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    file->stream = fopen(path, "abe");
    if (file->stream == NULL)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot write", path);
    return empty ? put(file, header, error) : CLV_OK;
}

clv_status clvi_row_file_open(const char *path, const char *header, clvi_row_file **out,
                              clv_error *error)
{
    clvi_row_file *file = clvi_calloc(1, sizeof(*file));
    if (file == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    const clv_status status = open_file(file, path, header, error);
    if (status != CLV_OK) {
        clvi_row_file_close(file);
        return status;
    }
    *out = file;
    return CLV_OK;
}

void clvi_row_file_close(clvi_row_file *file)
{
    if (file == NULL)
        return;
    if (file->stream != NULL)
        fclose(file->stream);
    clvi_free(file->path);
    clvi_free(file);
}

clv_status clvi_row_file_add(clvi_row_file *file, const clvi_text *lines, clv_error *error)
{
    if (lines->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", file->path);
    return put(file, clvi_text_get(lines), error);
}
