/* What the build embeds into the library: kernels and tuning records (made by tools/embed.c). */
#ifndef CLVI_KERNEL_SOURCES_H
#define CLVI_KERNEL_SOURCES_H

#include <stddef.h>

/* name: "conv2d" for kernels/conv2d.cl, whose text has its includes flattened; "cpu16.ini" for
 * kernels/tuning/cpu16.ini. text: `bytes` bytes and a NUL. */
typedef struct clvi_kernel_source {
    const char *name;
    const unsigned char *text;
    size_t bytes;
} clvi_kernel_source;

extern const clvi_kernel_source clvi_kernel_sources[];
extern const size_t clvi_kernel_source_count;

#endif
