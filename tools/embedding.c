/* See embedding.h. */
#include "embedding.h"

#include "runtime/flatten.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BYTES_PER_LINE 20

static bool complain(embedding *j, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Notes one sentence. Returns false, so that a failing function can return it. */
static bool complain(embedding *j, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(j->message, sizeof(j->message), format, arguments);
    va_end(arguments);
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Text of FILE as it is to be embedded. `text` is to be finished also on failure. */
static bool load(embedding *j, const char *path, clvi_flat *text)
{
    const bool good =
        ends_with(path, ".cl") ? clvi_flatten(text, path) : clvi_flat_read(text, path);
    return good || complain(j, "%s", text->message);
}

static const char *without_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* What FILE is called in the output, which the caller frees; NULL: out of memory. In a header its
 * letters and digits, '_' for everything else and before a leading digit; in the table its name
 * without ".cl". */
static char *name_of(const embedding *j, const char *path)
{
    const char *file = without_folder(path);
    const size_t length = strlen(file);
    char *name = malloc(length + 2), *at = name;
    if (!name)
        return NULL;
    if (!j->array) {
        memcpy(name, file, length + 1);
        if (ends_with(name, ".cl"))
            name[length - 3] = '\0';
        return name;
    }
    if (isdigit((unsigned char)*file))
        *at++ = '_';
    for (; *file; file++)
        *at++ = isalnum((unsigned char)*file) ? *file : '_';
    *at = '\0';
    return name;
}

/* The names of all files, each another one. */
static bool make_names(embedding *j, char **names)
{
    for (int i = 0; i < j->count; i++) {
        names[i] = name_of(j, j->files[i]);
        if (!names[i])
            return complain(j, "out of memory");
        if (!names[i][0] || strpbrk(names[i], "\"\\\n"))
            return complain(j, "%s: a file of this name cannot be embedded; rename it",
                            j->files[i]);
        for (int k = 0; k < i; k++)
            if (strcmp(names[i], names[k]) == 0)
                return complain(j, "%s and %s would both be named \"%s\"; rename one", j->files[k],
                                j->files[i], names[i]);
    }
    return true;
}

/* Refuses to write over a file that was read. */
static bool check_output(embedding *j, const char *path, const clvi_flat *texts)
{
    struct stat output, input;
    if (stat(path, &output) != 0)
        return true;
    for (int i = 0; i < j->count; i++)
        for (size_t k = 0; k < texts[i].file_count; k++)
            if (stat(texts[i].files[k], &input) == 0 && input.st_dev == output.st_dev &&
                input.st_ino == output.st_ino)
                return complain(j, "%s is read: it would be written over; give another name", path);
    return true;
}

static void write_bytes(FILE *out, const clvi_flat *text)
{
    for (size_t i = 0; i < text->bytes; i++) {
        const unsigned byte = (unsigned char)text->text[i];
        fprintf(out, "%s%u,", i % BYTES_PER_LINE == 0 ? "\n    " : "", byte);
    }
    fputs("\n    0,\n};\n\n", out);
}

/* A header for a plugin: one array per file. */
static void write_arrays(FILE *out, const embedding *j, char *const *names, const clvi_flat *texts)
{
    fputs("/* Written by Conclave's embed; do not edit. */\n", out);
    for (int i = 0; i < j->count; i++) {
        fprintf(out, "static const unsigned char %s[] = {", names[i]);
        write_bytes(out, &texts[i]);
    }
}

/* The library's own table. */
static void write_table(FILE *out, const embedding *j, char *const *names, const clvi_flat *texts)
{
    fputs("/* Written by tools/embed.c; do not edit. */\n#include \"runtime/kernel_sources.h\"\n\n",
          out);
    for (int i = 0; i < j->count; i++) {
        fprintf(out, "static const unsigned char text_%d[] = {", i);
        write_bytes(out, &texts[i]);
    }
    fputs("const clvi_kernel_source clvi_kernel_sources[] = {\n", out);
    for (int i = 0; i < j->count; i++)
        fprintf(out, "    {\"%s\", text_%d, %zu},\n", names[i], i, texts[i].bytes);
    fprintf(out, "};\nconst size_t clvi_kernel_source_count = %d;\n", j->count);
}

/* A path as make reads it: blanks and '#' escaped, '$' doubled. */
static void write_make_path(FILE *out, const char *path)
{
    for (; *path; path++) {
        if (*path == ' ' || *path == '#')
            fputc('\\', out);
        if (*path == '$')
            fputc('$', out);
        fputc(*path, out);
    }
}

static void write_rule(FILE *out, const char *target, int count, const clvi_flat *texts)
{
    write_make_path(out, target);
    fputc(':', out);
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < texts[i].file_count; k++) {
            fputs(" \\\n ", out);
            write_make_path(out, texts[i].files[k]);
        }
    }
    fputc('\n', out);
}

/* Closes `out` and gives it its name, or removes it where it is not whole. */
static bool finish(embedding *j, FILE *out, const char *temporary, const char *path)
{
    bool good = true;
    errno = 0;
    const bool written = fflush(out) == 0 && !ferror(out);
    int code = errno; /* 0: of a write before, whose reason is gone */
    const bool closed = fclose(out) == 0;
    if (written && !closed)
        code = errno;
    if (!written || !closed)
        good = complain(j, "cannot write %s%s%s", temporary, code != 0 ? ": " : "",
                        code != 0 ? strerror(code) : "");
    if (good && rename(temporary, path) != 0)
        good = complain(j, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
    if (!good)
        remove(temporary);
    return good;
}

static bool write_files(embedding *j, const char *temporary, char *const *names,
                        const clvi_flat *texts)
{
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return complain(j, "cannot write %s: %s", temporary, strerror(errno));
    if (j->array)
        write_arrays(out, j, names, texts);
    else
        write_table(out, j, names, texts);
    if (!finish(j, out, temporary, j->out))
        return false;
    if (!j->depfile)
        return true;
    FILE *rule = fopen(j->depfile, "wb");
    if (!rule)
        return complain(j, "cannot write %s: %s", j->depfile, strerror(errno));
    write_rule(rule, j->out, j->count, texts);
    return finish(j, rule, j->depfile, j->depfile);
}

bool embedding_write(embedding *j)
{
    const size_t size = strlen(j->out) + sizeof(".tmp");
    char *temporary = malloc(size), **names = calloc((size_t)j->count, sizeof(*names));
    clvi_flat *texts = calloc((size_t)j->count, sizeof(*texts));
    bool good = temporary && names && texts;
    if (good) {
        good = make_names(j, names);
        snprintf(temporary, size, "%s.tmp", j->out);
        for (int i = 0; i < j->count; i++)
            texts[i] = (clvi_flat){.resize = realloc, .release = free, .folder = j->folder};
        for (int i = 0; i < j->count && good; i++)
            good = load(j, j->files[i], &texts[i]);
        if (good && j->depfile &&
            (strcmp(j->depfile, j->out) == 0 || strcmp(j->depfile, temporary) == 0))
            good = complain(j, "%s is written already: give the depfile another name", j->depfile);
        good = good && check_output(j, j->out, texts) && check_output(j, temporary, texts) &&
               (!j->depfile || check_output(j, j->depfile, texts)) &&
               write_files(j, temporary, names, texts);
        for (int i = 0; i < j->count; i++) {
            clvi_flat_fini(&texts[i]);
            free(names[i]);
        }
    } else {
        complain(j, "out of memory");
    }
    free(names);
    free(texts);
    free(temporary);
    return good;
}
