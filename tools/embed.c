/* Writes kernel programs and other texts as C arrays, so that the library carries them inside.
 *
 *     embed [--depfile FILE.d] [--include FOLDER] [--array] OUT FILE…
 *
 * FILE.cl is flattened first: #include "x.clh" (relative to the file that names it, else to FOLDER)
 * is replaced by that file's text, once per program; a circle of includes and any other form of
 * #include are refused with file and line (core/runtime/flatten.h). Every other FILE is embedded
 * byte for byte. OUT is written whole or not at all: a C file with the table of
 * core/runtime/kernel_sources.h or, with --array (for plugins), a header with an array for each
 * FILE, `static const unsigned char scale_cl[]` for scale.cl, which ends in a NUL. --depfile writes
 * a rule for make and ninja that names every file read.
 *
 * Run by the build, before the library exists: needs the C library and flatten.c only. Exit 0 done,
 * 1 failed, 2 wrong use. */
#include "embedding.h"

#include <stdio.h>
#include <string.h>

/* False for wrong use. */
static bool parse(embedding *j, int argc, char **argv)
{
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--array") == 0)
            j->array = true;
        else if (strcmp(argv[at], "--depfile") == 0 && at + 1 < argc)
            j->depfile = argv[++at];
        else if (strcmp(argv[at], "--include") == 0 && at + 1 < argc)
            j->folder = argv[++at];
        else
            return false;
    }
    if (argc - at < 2)
        return false;
    j->out = argv[at];
    j->count = argc - at - 1;
    j->files = (const char *const *)argv + at + 1;
    return true;
}

int main(int argc, char **argv)
{
    embedding j = {.count = 0};
    if (!parse(&j, argc, argv)) {
        fputs("usage: embed [--depfile FILE.d] [--include FOLDER] [--array] OUT FILE…\n"
              "Writes each FILE (a .cl file with its includes flattened) as an array in OUT.\n"
              "example: embed build/kernel_sources.c kernels/gemm.cl kernels/tuning/gpu.ini\n"
              "example: embed --array scale.cl.h scale.cl\n",
              stderr);
        return 2;
    }
    if (embedding_write(&j))
        return 0;
    fprintf(stderr, "embed: %s\n", j.message);
    return 1;
}
