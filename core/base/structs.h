/* Structs that plugins pass to the host and get from it: their first 4 bytes, struct_size, say how
 * much of them the plugin knows. */
#ifndef CLVI_STRUCTS_H
#define CLVI_STRUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of a struct up to and with a field: what struct_size must cover. */
#define CLVI_BYTES_TO(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

/* Copies a plugin's struct, which may be shorter or longer than ours, over zeros. False: its
 * struct_size is below `need` or above `limit`, and nothing is copied. */
static inline bool clvi_struct_take(void *to, size_t to_bytes, const void *from, size_t need,
                                    size_t limit)
{
    uint32_t given = 0;
    memcpy(&given, from, sizeof(given));
    if (given < need || given > limit)
        return false;
    memset(to, 0, to_bytes);
    memcpy(to, from, given < to_bytes ? given : to_bytes);
    return true;
}

#endif
