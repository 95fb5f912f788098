/* The allocating calls of the core, and the arena. The table behind them lives in process.c. */
#include "base/memory.h"
#include "base/process.h"

#include <stdbool.h>
#include <stdio.h>

void *clvi_malloc(size_t bytes)
{
    return clvi_get_allocator().allocate(bytes > 0 ? bytes : 1);
}

void *clvi_calloc(size_t count, size_t bytes)
{
    if (bytes > 0 && count > SIZE_MAX / bytes)
        return NULL;
    void *block = clvi_malloc(count * bytes);
    if (block != NULL)
        memset(block, 0, count * bytes);
    return block;
}

void *clvi_realloc(void *block, size_t bytes)
{
    return clvi_get_allocator().reallocate(block, bytes > 0 ? bytes : 1);
}

void clvi_free(void *block)
{
    if (block != NULL)
        clvi_get_allocator().release(block);
}

char *clvi_strdup(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = clvi_malloc(bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

clv_status clvi_grow(void **array, size_t *capacity, size_t need, size_t bytes, clv_error *error)
{
    if (need <= *capacity)
        return CLV_OK;
    CLV_ASSERT(bytes > 0);
    const size_t most = SIZE_MAX / 2 / bytes;
    size_t wanted = *capacity > 0 ? *capacity : 8;
    while (wanted < need && wanted <= most / 2)
        wanted *= 2;
    if (wanted < need)
        wanted = need;
    void *grown = wanted <= most ? clvi_realloc(*array, wanted * bytes) : NULL;
    if (grown == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: an array of %zu elements of %zu bytes", need,
                 bytes);
    *array = grown;
    *capacity = wanted;
    return CLV_OK;
}

enum { CHUNK_BYTES = 4096, ALIGNMENT = 16 };

typedef struct chunk {
    struct chunk *next;
    size_t used, capacity;
    _Alignas(ALIGNMENT) unsigned char bytes[];
} chunk;

struct clvi_arena {
    chunk *chunks; /* the first one is filled */
};

clv_status clvi_arena_create(clvi_arena **out, clv_error *error)
{
    clvi_arena *arena = clvi_calloc(1, sizeof(*arena));
    if (arena == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: an arena");
    *out = arena;
    return CLV_OK;
}

void clvi_arena_destroy(clvi_arena *arena)
{
    if (arena == NULL)
        return;
    while (arena->chunks != NULL) {
        chunk *next = arena->chunks->next;
        clvi_free(arena->chunks);
        arena->chunks = next;
    }
    clvi_free(arena);
}

/* Appends a chunk for `bytes`. A piece too large to share a chunk goes behind the one being filled,
 * so that the free rest of that one stays in use. */
static chunk *add_chunk(clvi_arena *arena, size_t bytes)
{
    const bool alone = bytes > CHUNK_BYTES / 4;
    const size_t capacity = alone ? bytes : CHUNK_BYTES;
    if (capacity > SIZE_MAX - sizeof(chunk))
        return NULL;
    chunk *added = clvi_calloc(1, sizeof(chunk) + capacity);
    if (added == NULL)
        return NULL;
    added->capacity = capacity;
    chunk **place = alone && arena->chunks != NULL ? &arena->chunks->next : &arena->chunks;
    added->next = *place;
    *place = added;
    return added;
}

void *clvi_arena_alloc(clvi_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    const size_t rounded =
        (bytes > 0 ? bytes + ALIGNMENT - 1 : ALIGNMENT) & ~(size_t)(ALIGNMENT - 1);
    chunk *from = arena->chunks;
    if (from == NULL || from->capacity - from->used < rounded)
        from = add_chunk(arena, rounded);
    if (from == NULL)
        return NULL;
    void *piece = from->bytes + from->used;
    from->used += rounded;
    return piece;
}

char *clvi_arena_strdup(clvi_arena *arena, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = clvi_arena_alloc(arena, bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

char *clvi_arena_printf(clvi_arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length >= 0 ? clvi_arena_alloc(arena, (size_t)length + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}
