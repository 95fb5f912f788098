/* Structs that others pass to us and get from us, plugins and programs that use the library: their
 * first 4 bytes, struct_size, say how much of them the other side knows. */
#ifndef CLVI_STRUCTS_H
#define CLVI_STRUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of a struct up to and with a field: what struct_size must cover. */
#define CLVI_BYTES_TO(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

/* Copies a caller's struct, which may be shorter or longer than ours, over zeros. False: its
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

/* Element `index` of a caller's array, over zeros: as much of it as its struct_size, the array's
 * stride and our struct cover; struct_size as the caller gave it. stride: 4 bytes or more. */
static inline void clvi_struct_at(void *to, size_t to_bytes, const void *array, size_t index,
                                  size_t stride)
{
    const char *from = (const char *)array + index * stride;
    uint32_t given = 0;
    memcpy(&given, from, sizeof(given));
    size_t bytes = given < stride ? given : stride;
    bytes = bytes < to_bytes ? bytes : to_bytes;
    memset(to, 0, to_bytes);
    memcpy(to, from, bytes);
    memcpy(to, &given, sizeof(given));
}

#endif
