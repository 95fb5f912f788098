/* A kernel program as one text: its #include "…" lines replaced by the included files. Needs
 * nothing but the C library: the build's embedder (tools/embed.c) compiles this file in, and the
 * runtime uses it for loose kernels (CONCLAVE_KERNEL_DIR), so that both give the compiler the same
 * bytes. */
#ifndef CLVI_FLATTEN_H
#define CLVI_FLATTEN_H

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise but for resize; clvi_flat_fini frees it. */
typedef struct clvi_flat {
    void *(*resize)(void *block, size_t bytes); /* realloc or clvi_realloc */
    void (*release)(void *block);               /* free or clvi_free */
    const char
        *folder; /* where headers are that do not lie beside who includes them; NULL: nowhere */
    char *text;  /* NUL-terminated (not counted in bytes) */
    size_t bytes, capacity;
    char **files; /* each file read, once, as it was named */
    size_t file_count;
    char message[512]; /* why flattening failed, one sentence */
} clvi_flat;

/* Flattens the program `path` into flat->text. A header is named relative to the file that includes
 * it (or to flat->folder, where the former has none) and is put in once per program, as if it had
 * an include guard. #line marks each change of file with the file's base name, so that compilers
 * name the real file and line. False with flat->message: a file that cannot be read, a circle, a
 * form of #include other than "FILE". */
bool clvi_flatten(clvi_flat *flat, const char *path);
void clvi_flat_fini(clvi_flat *flat);

/* Appends the bytes of a file as they are to flat->text. False with flat->message. */
bool clvi_flat_read(clvi_flat *flat, const char *path);

#endif
