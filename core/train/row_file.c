/* See row_file.h. */
#include "train/row_file.h"

#include "base/files.h"

#include <errno.h>
#include <stdio.h>

struct clvi_row_file {
    FILE *stream;
    char *path;
};

/* How many columns our header has behind those of the first line of `text`; -1: they are others. */
static int columns_behind(const char *text, const char *header)
{
    const char *end = strchr(text, '\n');
    const size_t length = end != NULL ? (size_t)(end - text) : 0;
    if (end == NULL || strncmp(text, header, length) != 0)
        return -1;
    int columns = 0;
    for (const char *c = header + length; *c != '\0'; c++)
        columns += *c == ',';
    return header[length] == '\n' || header[length] == ',' ? columns : -1;
}

/* Writes the file of a build that knew `missing` columns less anew: they are empty in its rows. */
static clv_status widen(const char *path, const char *text, const char *header, int missing,
                        clv_error *error)
{
    clvi_text wide = {0};
    clvi_text_append(&wide, header);
    const char *line = strchr(text, '\n') + 1;
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        clvi_text_append_n(&wide, line, (size_t)(end - line));
        for (int i = 0; i < missing; i++)
            clvi_text_append(&wide, ",");
        clvi_text_append(&wide, "\n");
    }
    clvi_text_append(&wide, line); /* of a row that was cut, what there is */
    const clv_status status =
        wide.failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", path)
                    : clvi_file_write(path, clvi_text_get(&wide), wide.length, error);
    clvi_text_fini(&wide);
    return status;
}

/* Whether the file at `path`, which may not exist, is empty; otherwise it has our header then. */
static clv_status check_header(const char *path, const char *header, bool *empty, clv_error *error)
{
    enum { MOST_BYTES = 1 << 30 };
    char *text = NULL;
    size_t bytes = 0;
    if (clvi_is_file(path))
        CLV_TRY(clvi_file_read(path, MOST_BYTES, &text, &bytes, error));
    clv_status status = CLV_OK;
    const int missing = bytes > 0 ? columns_behind(text, header) : 0;
    if (missing < 0)
        status =
            clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "%s: its columns are not %.*s; move it away",
                      path, (int)strlen(header) - 1, header);
    else if (missing > 0)
        status = widen(path, text, header, missing, error);
    clvi_free(text);
    CLV_TRY(status);
    *empty = bytes == 0;
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
