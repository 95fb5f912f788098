/* Kernel programs and other texts as C arrays: what the build's embed and `conclave embed` write.
 */
#ifndef CONCLAVE_EMBEDDING_H
#define CONCLAVE_EMBEDDING_H

#include <stdbool.h>

typedef struct embedding {
    const char *depfile; /* a rule for make and ninja that names every file read; NULL: none */
    const char *folder;  /* where includes are looked for that are not beside their file; NULL */
    bool array;          /* a header for plugins, else the library's own table */
    const char *out;
    int count;
    const char *const *files;
    char message[1024]; /* out: one sentence where it fails */
} embedding;

/* Writes j->out, and the depfile, whole or not at all; never over a file that it read. Each FILE.cl
 * is flattened first, everything else embedded byte for byte. False: j->message says why. */
bool embedding_write(embedding *j);

#endif
