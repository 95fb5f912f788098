/* An allocator that runs short, for tests of what happens without memory, and counts the blocks
 * that are not freed: clvi_set_allocator(&short_memory). It gives memory `allowed` times; where
 * `fail_at` is set, the call of that number fails, and only that one. */
#ifndef CLV_TEST_SHORT_MEMORY_H
#define CLV_TEST_SHORT_MEMORY_H

#include "base/process.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static int blocks, allowed = INT_MAX, fail_at;

static inline int runs_short(void)
{
    return (fail_at > 0 && --fail_at == 0) || allowed-- <= 0;
}

static void *take(size_t bytes)
{
    if (runs_short())
        return NULL;
    blocks++;
    return malloc(bytes);
}

static void *take_again(void *block, size_t bytes)
{
    if (runs_short())
        return NULL;
    blocks += block == NULL;
    return realloc(block, bytes);
}

static void give_back(void *block)
{
    blocks -= block != NULL;
    free(block);
}

static const clvi_allocator short_memory = {take, take_again, give_back};

/* Attempts with the first allocation failing, then the second, … until none is left to fail. Each
 * time `attempt` has to free what it got, and to say CLV_E_MEMORY with a message or CLV_OK. */
static inline void fail_each_allocation(clv_status (*attempt)(void *context, clv_error *error),
                                        void *context)
{
    clv_status status = CLV_E_MEMORY;
    int n = 1;
    for (; status != CLV_OK && n < 2000; n++) {
        clv_error error = CLV_ERROR_INIT;
        blocks = 0;
        allowed = INT_MAX;
        fail_at = n;
        clvi_set_allocator(&short_memory);
        status = attempt(context, &error);
        clvi_set_allocator(NULL);
        const int reached = fail_at == 0;
        fail_at = 0;
        assert_int_equal(blocks, 0);
        if (status != CLV_OK && (status != CLV_E_MEMORY || error.message[0] == '\0'))
            fail_msg("allocation %d: status %d, \"%s\"", n, status, error.message);
        if (status == CLV_OK && reached)
            status = CLV_E_MEMORY; /* one that it can do without */
    }
    assert_true(n > 20 && n < 2000);
}

#endif
