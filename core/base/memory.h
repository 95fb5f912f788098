/* Host memory: the replaceable allocator (fault tests) and an arena whose pieces die together. */
#ifndef CLVI_MEMORY_H
#define CLVI_MEMORY_H

#include "error.h"

/* malloc family through the process's table. Size 0 gives a unique pointer. NULL when exhausted. */
void *clvi_malloc(size_t bytes);
void *clvi_calloc(size_t count, size_t bytes);
void *clvi_realloc(void *block, size_t bytes);
void clvi_free(void *block); /* NULL allowed */
char *clvi_strdup(const char *text);

/* Grows *array (element size `bytes`) so that it holds at least `need` elements, doubling; the
 * array and *capacity are untouched on failure (CLV_E_MEMORY). */
clv_status clvi_grow(void **array, size_t *capacity, size_t need, size_t bytes,
                     clv_error *error) CLV_MUST_CHECK;

/* Pieces of memory that live exactly as long as the arena. */
typedef struct clvi_arena clvi_arena;
clv_status clvi_arena_create(clvi_arena **out, clv_error *error) CLV_MUST_CHECK;
void clvi_arena_destroy(clvi_arena *arena);              /* NULL allowed */
void *clvi_arena_alloc(clvi_arena *arena, size_t bytes); /* zeroed, 16-byte aligned; NULL: none */
char *clvi_arena_strdup(clvi_arena *arena, const char *text);
char *clvi_arena_printf(clvi_arena *arena, const char *format, ...) CLV_PRINTF(2, 3);

#endif
