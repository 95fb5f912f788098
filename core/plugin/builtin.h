/* Shipped plugins that are linked into the library: -Dbuiltin_plugins. */
#ifndef CLVI_BUILTIN_H
#define CLVI_BUILTIN_H

#include "base/error.h"

#include <conclave/plugin.h>

typedef struct clvi_builtin {
    const char *path; /* in place of a file's: "built-in/expert_cnn.so" */
    const clv_plugin *(*entry)(void);
} clvi_builtin;

/* All of them, in the order of the build; NULL behind the last. Static. */
const clvi_builtin *clvi_builtin_at(size_t index);
/* The one in place of a file's name, "expert_cnn.so", or NULL. */
const clvi_builtin *clvi_builtin_find(const char *file);

#endif
