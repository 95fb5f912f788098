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

/* The name under which FILE is found: without its folder, and without ".cl". */
static const char *name_of(const char *path, int *length)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const size_t all = strlen(name);
    *length = (int)(ends_with(name, ".cl") ? all - 3 : all);
    return name;
}

static bool check_names(embedding *j)
{
    const int count = j->count;
    const char *const *files = j->files;
    for (int i = 0; i < count; i++) {
        int length;
        const char *name = name_of(files[i], &length);
        if (length == 0 || strpbrk(name, "\"\\\n"))
            return complain(j, "%s: a file of this name cannot be embedded; rename it", files[i]);
        for (int k = 0; k < i; k++) {
            int other_length;
            const char *other = name_of(files[k], &other_length);
            if (length == other_length && memcmp(name, other, (size_t)length) == 0)
                return complain(j, "%s and %s would both be named \"%.*s\"; rename one", files[k],
                                files[i], length, name);
        }
    }
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

/* The name of FILE's array: its letters and digits, '_' for everything else; "_" before a digit. */
static void write_identifier(FILE *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (isdigit((unsigned char)*name))
        fputc('_', out);
    for (; *name; name++)
        fputc(isalnum((unsigned char)*name) ? *name : '_', out);
}

/* A header for a plugin: one array per file. */
static void write_arrays(FILE *out, const embedding *j, const clvi_flat *texts)
{
    fputs("/* Written by Conclave's embed; do not edit. */\n", out);
    for (int i = 0; i < j->count; i++) {
        fputs("static const unsigned char ", out);
        write_identifier(out, j->files[i]);
        fputs("[] = {", out);
        write_bytes(out, &texts[i]);
    }
}

/* The library's own table. */
static void write_table(FILE *out, const embedding *j, const clvi_flat *texts)
{
    fputs("/* Written by tools/embed.c; do not edit. */\n#include \"runtime/kernel_sources.h\"\n\n",
          out);
    for (int i = 0; i < j->count; i++) {
        fprintf(out, "static const unsigned char text_%d[] = {", i);
        write_bytes(out, &texts[i]);
    }
    fputs("const clvi_kernel_source clvi_kernel_sources[] = {\n", out);
    for (int i = 0; i < j->count; i++) {
        int length;
        const char *name = name_of(j->files[i], &length);
        fprintf(out, "    {\"%.*s\", text_%d, %zu},\n", length, name, i, texts[i].bytes);
    }
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

/* Closes `out` and gives it its name, or removes it when `good` is false. */
static bool finish(embedding *j, FILE *out, const char *temporary, const char *path, bool good)
{
    const bool write_failed = ferror(out) != 0;
    const bool close_failed = fclose(out) != 0;
    if (good && (write_failed || close_failed))
        good = complain(j, "cannot write %s: %s", temporary, strerror(errno));
    if (good && rename(temporary, path) != 0)
        good = complain(j, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
    if (!good)
        remove(temporary);
    return good;
}

static bool write_files(embedding *j, const char *temporary, const clvi_flat *texts)
{
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return complain(j, "cannot write %s: %s", temporary, strerror(errno));
    if (j->array)
        write_arrays(out, j, texts);
    else
        write_table(out, j, texts);
    if (!finish(j, out, temporary, j->out, true))
        return false;
    if (!j->depfile)
        return true;
    FILE *rule = fopen(j->depfile, "wb");
    if (!rule)
        return complain(j, "cannot write %s: %s", j->depfile, strerror(errno));
    write_rule(rule, j->out, j->count, texts);
    return finish(j, rule, j->depfile, j->depfile, true);
}

bool embedding_write(embedding *j)
{
    if (!check_names(j))
        return false;
    const size_t size = strlen(j->out) + sizeof(".tmp");
    char *temporary = malloc(size);
    clvi_flat *texts = calloc((size_t)j->count, sizeof(*texts));
    bool good = temporary && texts;
    if (good) {
        snprintf(temporary, size, "%s.tmp", j->out);
        for (int i = 0; i < j->count; i++)
            texts[i] = (clvi_flat){.resize = realloc, .release = free, .folder = j->folder};
        for (int i = 0; i < j->count && good; i++)
            good = load(j, j->files[i], &texts[i]);
        good = good && write_files(j, temporary, texts);
        for (int i = 0; i < j->count; i++)
            clvi_flat_fini(&texts[i]);
    } else {
        complain(j, "out of memory");
    }
    free(texts);
    free(temporary);
    return good;
}
