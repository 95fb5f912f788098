/* Writes kernel programs and other texts as C arrays, so that the library carries them inside.
 *
 *     embed [--depfile FILE.d] OUT.c FILE…
 *
 * FILE.cl is flattened first: #include "x.clh" (relative to the file that names it) is replaced by
 * that file's text, once per program; a circle of includes and any other form of #include are
 * refused with file and line (core/runtime/flatten.h). Every other FILE is embedded byte for byte.
 * OUT.c defines the table of core/runtime/kernel_sources.h and is written whole or not at all.
 * --depfile writes a rule for make and ninja that names every file read.
 *
 * Run by the build, before the library exists: needs the C library and flatten.c only. Exit 0 done,
 * 1 failed, 2 wrong use. */
#include "runtime/flatten.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_LINE 20

static bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One sentence to stderr. Returns false, so that a failing function can return it. */
static bool complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("embed: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Text of FILE as it is to be embedded. `text` is to be finished also on failure. */
static bool load(const char *path, clvi_flat *text)
{
    const bool good =
        ends_with(path, ".cl") ? clvi_flatten(text, path) : clvi_flat_read(text, path);
    return good || complain("%s", text->message);
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

static bool check_names(int count, char **files)
{
    for (int i = 0; i < count; i++) {
        int length;
        const char *name = name_of(files[i], &length);
        if (length == 0 || strpbrk(name, "\"\\\n"))
            return complain("%s: a file of this name cannot be embedded; rename it", files[i]);
        for (int j = 0; j < i; j++) {
            int other_length;
            const char *other = name_of(files[j], &other_length);
            if (length == other_length && memcmp(name, other, (size_t)length) == 0)
                return complain("%s and %s would both be named \"%.*s\"; rename one", files[j],
                                files[i], length, name);
        }
    }
    return true;
}

static void write_array(FILE *out, int index, const clvi_flat *text)
{
    fprintf(out, "static const unsigned char text_%d[] = {", index);
    for (size_t i = 0; i < text->bytes; i++) {
        const unsigned byte = (unsigned char)text->text[i];
        fprintf(out, "%s%u,", i % BYTES_PER_LINE == 0 ? "\n    " : "", byte);
    }
    fputs("\n    0,\n};\n\n", out);
}

/* texts[i] receives the text of files[i]; the caller finishes them all, also on failure. */
static bool write_table(FILE *out, int count, char **files, clvi_flat *texts)
{
    fputs("/* Written by tools/embed.c; do not edit. */\n#include \"runtime/kernel_sources.h\"\n\n",
          out);
    for (int i = 0; i < count; i++) {
        if (!load(files[i], &texts[i]))
            return false;
        write_array(out, i, &texts[i]);
    }
    fputs("const clvi_kernel_source clvi_kernel_sources[] = {\n", out);
    for (int i = 0; i < count; i++) {
        int length;
        const char *name = name_of(files[i], &length);
        fprintf(out, "    {\"%.*s\", text_%d, %zu},\n", length, name, i, texts[i].bytes);
    }
    fprintf(out, "};\nconst size_t clvi_kernel_source_count = %d;\n", count);
    return true;
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
        for (size_t j = 0; j < texts[i].file_count; j++) {
            fputs(" \\\n ", out);
            write_make_path(out, texts[i].files[j]);
        }
    }
    fputc('\n', out);
}

/* Closes `out` and gives it its name, or removes it when `good` is false. */
static bool finish(FILE *out, const char *temporary, const char *path, bool good)
{
    const bool write_failed = ferror(out) != 0;
    const bool close_failed = fclose(out) != 0;
    if (good && (write_failed || close_failed))
        good = complain("cannot write %s: %s", temporary, strerror(errno));
    if (good && rename(temporary, path) != 0)
        good = complain("cannot rename %s to %s: %s", temporary, path, strerror(errno));
    if (!good)
        remove(temporary);
    return good;
}

static bool write_files(const char *depfile, const char *path, const char *temporary, int count,
                        char **files, clvi_flat *texts)
{
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return complain("cannot write %s: %s", temporary, strerror(errno));
    if (!finish(out, temporary, path, write_table(out, count, files, texts)))
        return false;
    if (!depfile)
        return true;
    FILE *rule = fopen(depfile, "wb");
    if (!rule)
        return complain("cannot write %s: %s", depfile, strerror(errno));
    write_rule(rule, path, count, texts);
    return finish(rule, depfile, depfile, true);
}

static bool run(const char *depfile, const char *path, int count, char **files)
{
    if (!check_names(count, files))
        return false;
    const size_t size = strlen(path) + sizeof(".tmp");
    char *temporary = malloc(size);
    clvi_flat *texts = calloc((size_t)count, sizeof(*texts));
    bool good = temporary && texts;
    if (good) {
        snprintf(temporary, size, "%s.tmp", path);
        for (int i = 0; i < count; i++)
            texts[i] = (clvi_flat){.resize = realloc, .release = free};
        good = write_files(depfile, path, temporary, count, files, texts);
        for (int i = 0; i < count; i++)
            clvi_flat_fini(&texts[i]);
    } else {
        complain("out of memory");
    }
    free(texts);
    free(temporary);
    return good;
}

int main(int argc, char **argv)
{
    const char *depfile = NULL;
    int first = 1;
    if (argc > 3 && strcmp(argv[1], "--depfile") == 0) {
        depfile = argv[2];
        first = 3;
    }
    if (argc - first < 2 || argv[first][0] == '-') {
        fputs("usage: embed [--depfile FILE.d] OUT.c FILE…\n"
              "Writes each FILE (a .cl file with its includes flattened) as an array in OUT.c.\n"
              "example: embed build/kernel_sources.c kernels/gemm.cl kernels/tuning/gpu.ini\n",
              stderr);
        return 2;
    }
    return run(depfile, argv[first], argc - first - 1, argv + first + 1) ? 0 : 1;
}
