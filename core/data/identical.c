/* Finds images with identical bytes: by size first, then by SHA-256. */
#include "data/split.h"

#include <sha2.h>
#include <stdlib.h>

typedef struct key {
    uint64_t bytes;
    const clvi_split_item *item;
    uint32_t index;
} key;

static int compare_sizes(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_digests(const void *a, const void *b)
{
    const key *x = a, *y = b;
    const int order = memcmp(x->item->digest, y->item->digest, CLVI_DIGEST_BYTES);
    if (order != 0)
        return order;
    return x->index < y->index ? -1 : x->index > y->index;
}

static clv_status hash(const clvi_sources *sources, uint32_t id, clvi_scratch *scratch,
                       clvi_split_item *item, clv_error *error)
{
    const uint8_t *data = NULL;
    size_t length = 0;
    CLV_TRY(clvi_sources_read(sources, id, scratch, &data, &length, error));
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, data, length);
    SHA256Final(item->digest, &context);
    item->hashed = true;
    return CLV_OK;
}

/* Images of one size: keys[0..count), count >= 2. One that cannot be had and may be skipped is left
 * alone: who wants its pixels will meet the same fault. */
static clv_status compare_run(const clvi_sources *sources, bool skip_bad, key *keys, size_t count,
                              clvi_split_item *items, clv_error *error)
{
    clvi_scratch scratch = {0};
    clv_status status = CLV_OK;
    size_t hashed = 0;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        clv_error cause = CLV_ERROR_INIT;
        status = hash(sources, keys[i].index, &scratch, &items[keys[i].index], &cause);
        if (status == CLV_OK)
            keys[hashed++] = keys[i];
        else if (status == CLV_E_DATA && skip_bad)
            status = CLV_OK;
        else
            (void)clvi_fail(error, status, cause.file, cause.line, "%s", cause.message);
    }
    clvi_free(scratch.data);
    CLV_TRY(status);
    qsort(keys, hashed, sizeof *keys, compare_digests);
    for (size_t i = 1; i < hashed; i++)
        if (memcmp(keys[i].item->digest, keys[i - 1].item->digest, CLVI_DIGEST_BYTES) == 0)
            items[keys[i].index].twin = items[keys[i - 1].index].twin;
    return CLV_OK;
}

clv_status clvi_split_compare(const clvi_sources *sources, bool skip_bad, clvi_split_item *items,
                              clv_error *error)
{
    const size_t total = clvi_sources_total(sources);
    key *keys = clvi_malloc(total * sizeof *keys);
    if (!keys)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to look for identical images", sources->title);
    size_t count = 0;
    for (size_t i = 0; i < total; i++) {
        items[i].twin = (uint32_t)i;
        if (items[i].split != CLVI_NOWHERE)
            keys[count++] = (key){clvi_sources_entry(sources, i)->bytes, &items[i], (uint32_t)i};
    }
    if (count > 1)
        qsort(keys, count, sizeof *keys, compare_sizes);
    clv_status status = CLV_OK;
    for (size_t begin = 0, end; begin < count && status == CLV_OK; begin = end) {
        end = begin + 1;
        while (end < count && keys[end].bytes == keys[begin].bytes)
            end++;
        if (end - begin > 1)
            status = compare_run(sources, skip_bad, keys + begin, end - begin, items, error);
    }
    clvi_free(keys);
    return status;
}
