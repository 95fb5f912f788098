/* Flattens kernel programs. See flatten.h. */
#define _XOPEN_SOURCE 700
#include "runtime/flatten.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* A file being read, and who included it: what makes a circle. */
typedef struct open_file {
    const struct open_file *from;
    const char *path;         /* as named; for messages */
    char canonical[PATH_MAX]; /* realpath */
} open_file;

static bool out_of_memory(clvi_flat *flat)
{
    snprintf(flat->message, sizeof(flat->message), "out of memory");
    return false;
}

static bool append(clvi_flat *flat, const char *bytes, size_t length)
{
    if (flat->capacity < flat->bytes + length + 1) {
        const size_t capacity = 2 * (flat->bytes + length) + 4096;
        char *text = flat->resize(flat->text, capacity);
        if (text == NULL)
            return out_of_memory(flat);
        flat->text = text;
        flat->capacity = capacity;
    }
    if (length > 0)
        memcpy(flat->text + flat->bytes, bytes, length);
    flat->bytes += length;
    flat->text[flat->bytes] = '\0';
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Makes the compiler name `path` and `line` for what follows. */
static bool mark_line(clvi_flat *flat, const char *path, int line)
{
    char number[32];
    const char *name = base_name(path);
    const int length = snprintf(number, sizeof(number), "#line %d \"", line);
    return append(flat, number, (size_t)length) && append(flat, name, strlen(name)) &&
           append(flat, "\"\n", 2);
}

static bool add_file(clvi_flat *flat, const char *path)
{
    const size_t bytes = strlen(path) + 1;
    char **files = flat->resize(flat->files, (flat->file_count + 1) * sizeof(*files));
    if (files != NULL)
        flat->files = files;
    char *copy = files != NULL ? flat->resize(NULL, bytes) : NULL;
    if (copy == NULL)
        return out_of_memory(flat);
    memcpy(copy, path, bytes);
    flat->files[flat->file_count++] = copy;
    return true;
}

bool clvi_flat_read(clvi_flat *flat, const char *path)
{
    FILE *file = fopen(path, "rb");
    int code = errno;
    bool good = file != NULL;
    if (good) {
        char block[16384];
        size_t got;
        good = add_file(flat, path) && append(flat, "", 0);
        while (good && (got = fread(block, 1, sizeof(block), file)) > 0)
            good = append(flat, block, got);
        code = errno;
        if (good && ferror(file) == 0) {
            fclose(file);
            return true;
        }
        fclose(file);
        if (!good)
            return false;
    }
    snprintf(flat->message, sizeof(flat->message), "cannot read %.300s: %.100s", path,
             strerror(code));
    return false;
}

/* Whether a line that starts outside a comment (`inside` false) or inside one leaves a block
 * comment open. Kernels have no string literals that could hide comment marks. */
static bool comment_after(const char *line, size_t length, bool inside)
{
    for (size_t i = 0; i + 1 < length; i++) {
        if (inside && line[i] == '*' && line[i + 1] == '/') {
            inside = false;
            i++;
        } else if (!inside && line[i] == '/' && line[i + 1] == '*') {
            inside = true;
            i++;
        } else if (!inside && line[i] == '/' && line[i + 1] == '/') {
            return false;
        }
    }
    return inside;
}

static size_t skip_blanks(const char *line, size_t length, size_t at)
{
    while (at < length && (line[at] == ' ' || line[at] == '\t'))
        at++;
    return at;
}

typedef enum include_form { INCLUDE_NONE, INCLUDE_QUOTED, INCLUDE_OTHER } include_form;

/* Is the line an #include? When it is a quoted one, *name and *name_length say of what. */
static include_form parse_include(const char *line, size_t length, const char **name,
                                  size_t *name_length)
{
    static const char word[] = "include";
    size_t at = skip_blanks(line, length, 0);
    if (at == length || line[at] != '#')
        return INCLUDE_NONE;
    at = skip_blanks(line, length, at + 1);
    if (length - at < sizeof(word) - 1 || memcmp(line + at, word, sizeof(word) - 1) != 0)
        return INCLUDE_NONE;
    at = skip_blanks(line, length, at + sizeof(word) - 1);
    if (at == length || line[at] != '"')
        return INCLUDE_OTHER;
    const char *first = line + at + 1;
    const char *end = memchr(first, '"', length - at - 1);
    if (end == NULL || end == first)
        return INCLUDE_OTHER;
    *name = first;
    *name_length = (size_t)(end - first);
    return INCLUDE_QUOTED;
}

static bool is_seen(const clvi_flat *flat, const char *canonical)
{
    char other[PATH_MAX];
    for (size_t i = 0; i < flat->file_count; i++) {
        if (realpath(flat->files[i], other) != NULL && strcmp(other, canonical) == 0)
            return true;
    }
    return false;
}

static bool flatten_file(clvi_flat *flat, const open_file *file);

/* Puts the header named in line `number` of `from` in place, unless the program has it already. */
static bool flatten_header(clvi_flat *flat, const open_file *from, int number, const char *name,
                           size_t name_length)
{
    char path[PATH_MAX];
    open_file file = {.from = from, .path = path};
    const int folder = (int)(base_name(from->path) - from->path);
    int length =
        snprintf(path, sizeof(path), "%.*s%.*s", folder, from->path, (int)name_length, name);
    bool found = length < (int)sizeof(path) && realpath(path, file.canonical) != NULL;
    if (!found && flat->folder != NULL) {
        const int code = errno;
        char other[PATH_MAX];
        length = snprintf(other, sizeof(other), "%s/%.*s", flat->folder, (int)name_length, name);
        found = length < (int)sizeof(other) && realpath(other, file.canonical) != NULL;
        if (found)
            memcpy(path, other, sizeof(path));
        errno = code;
    }
    if (!found) {
        snprintf(flat->message, sizeof(flat->message), "%.180s:%d: cannot read %.180s: %.80s",
                 from->path, number, path, strerror(errno));
        return false;
    }
    for (const open_file *open = from; open != NULL; open = open->from) {
        if (strcmp(open->canonical, file.canonical) == 0) {
            snprintf(flat->message, sizeof(flat->message),
                     "%.180s:%d: %.180s is being included already: the includes run in a circle",
                     from->path, number, path);
            return false;
        }
    }
    if (is_seen(flat, file.canonical))
        return append(flat, "\n", 1);
    return flatten_file(flat, &file) && mark_line(flat, from->path, number + 1);
}

static bool flatten_lines(clvi_flat *flat, const open_file *file, const char *source, size_t bytes)
{
    bool inside_comment = false, good = mark_line(flat, file->path, 1);
    int number = 1;
    for (size_t at = 0; good && at < bytes; number++) {
        const char *line = source + at, *name = NULL;
        const char *newline = memchr(line, '\n', bytes - at);
        const size_t length = newline != NULL ? (size_t)(newline - line) : bytes - at;
        size_t name_length = 0;
        at += length + (newline != NULL ? 1 : 0);

        const include_form form =
            inside_comment ? INCLUDE_NONE : parse_include(line, length, &name, &name_length);
        inside_comment = comment_after(line, length, inside_comment);
        if (form == INCLUDE_OTHER) {
            snprintf(
                flat->message, sizeof(flat->message),
                "%.300s:%d: a kernel may only #include \"FILE\", with the file's name relative "
                "to this one",
                file->path, number);
            good = false;
        } else if (form == INCLUDE_QUOTED) {
            good = flatten_header(flat, file, number, name, name_length);
        } else {
            good = append(flat, line, length) && append(flat, "\n", 1);
        }
    }
    return good;
}

static bool flatten_file(clvi_flat *flat, const open_file *file)
{
    clvi_flat source = {.resize = flat->resize, .release = flat->release};
    bool good = clvi_flat_read(&source, file->path);
    if (!good)
        memcpy(flat->message, source.message, sizeof(flat->message));
    good =
        good && add_file(flat, file->path) && flatten_lines(flat, file, source.text, source.bytes);
    clvi_flat_fini(&source);
    return good;
}

bool clvi_flatten(clvi_flat *flat, const char *path)
{
    open_file file = {.path = path};
    if (realpath(path, file.canonical) == NULL) {
        snprintf(flat->message, sizeof(flat->message), "cannot read %.300s: %.100s", path,
                 strerror(errno));
        return false;
    }
    return flatten_file(flat, &file);
}

void clvi_flat_fini(clvi_flat *flat)
{
    for (size_t i = 0; i < flat->file_count; i++)
        flat->release(flat->files[i]);
    if (flat->files != NULL)
        flat->release(flat->files);
    if (flat->text != NULL)
        flat->release(flat->text);
    flat->text = NULL;
    flat->files = NULL;
    flat->bytes = flat->capacity = flat->file_count = 0;
}
