/* See builtin.h. */
#include "plugin/builtin.h"

#include "builtin_table.h"

#include <string.h>

const clvi_builtin *clvi_builtin_at(size_t index)
{
    return table[index].path != NULL ? &table[index] : NULL;
}

const clvi_builtin *clvi_builtin_find(const char *file)
{
    const clvi_builtin *b;
    for (size_t i = 0; (b = clvi_builtin_at(i)) != NULL; i++)
        if (strcmp(strrchr(b->path, '/') + 1, file) == 0)
            return b;
    return NULL;
}
