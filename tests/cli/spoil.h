/* Kernels that are wrong on purpose. */
#ifndef CLV_TEST_SPOIL_H
#define CLV_TEST_SPOIL_H

#include "base/text.h"

#include <string.h>

/* The body of the first kernel in the source, behind its brace; NULL: there is none. */
static inline const char *kernel_body(const char *source)
{
    const char *plain = strstr(source, "__kernel"), *linked = strstr(source, "CLV_KERNEL(");
    const char *first = plain == NULL || (linked != NULL && linked < plain) ? linked : plain;
    return first != NULL ? strchr(first, '{') + 1 : NULL;
}

/* Appends the source with the statement at the beginning of each of its kernels. */
static inline void append_spoiled(clvi_text *out, const char *source, const char *statement)
{
    for (const char *body = kernel_body(source); body != NULL; body = kernel_body(source)) {
        clvi_text_append_n(out, source, (size_t)(body - source));
        clvi_text_append(out, statement);
        source = body;
    }
    clvi_text_append(out, source);
}

#endif
