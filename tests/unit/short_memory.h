/* An allocator that gives memory `allowed` times and counts the blocks that are not freed, for
 * tests of what happens without memory: clvi_set_allocator(&short_memory). */
#ifndef CLV_TEST_SHORT_MEMORY_H
#define CLV_TEST_SHORT_MEMORY_H

#include "base/process.h"

#include <stdlib.h>

static int blocks, allowed;

static void *take(size_t bytes)
{
    if (allowed-- <= 0)
        return NULL;
    blocks++;
    return malloc(bytes);
}

static void *take_again(void *block, size_t bytes)
{
    if (allowed-- <= 0)
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

#endif
