/* How ops cut their work for the kernels' loops: CLV_BEGIN and CLV_END of kernels/vector.clh. */
#ifndef CLVI_SHARE_H
#define CLVI_SHARE_H

#include "ops/op.h"

/* `groups` work-groups take `items` items each, the last one what is left. */
typedef struct clvi_share {
    int32_t items;
    size_t groups; /* 1 … CLVI_MAX_GROUPS */
} clvi_share;

enum {
    CLVI_MAX_GROUPS = 65535,   /* PoCL compiles a kernel anew above this; see kernels/README.md */
    CLVI_SHARE_ELEMENTS = 4096 /* 16 KiB: a group costs less than 1 % of moving them */
};

/* Cuts `total` items (1 … 2^31 - 1), each of about `cost` elements read or written, into shares
 * that are a multiple of `step` items. Depends on nothing else, so neither do sums over shares. */
static inline clvi_share clvi_share_of(int64_t total, int64_t cost, int64_t step)
{
    const int64_t least = (total + CLVI_MAX_GROUPS - 1) / CLVI_MAX_GROUPS;
    const int64_t wanted = CLVI_SHARE_ELEMENTS / (cost > 0 ? cost : 1);
    int64_t items = wanted > least ? wanted : least;
    items = (items + step - 1) / step * step;
    if (items < step)
        items = step;
    if (items > total)
        items = total;
    return (clvi_share){(int32_t)items, (size_t)((total + items - 1) / items)};
}

/* Extent of the first axis of the run's input: the batch's samples, or its own. */
static inline int64_t clvi_rows(const clvi_run *run, int input)
{
    const clv_shape *x = clvi_in_shape(run->graph, run->node, input);
    return clvi_shape_batched(x) ? run->n : x->dims[0];
}

/* Elements of the run's first output, the whole batch. */
static inline int64_t clvi_out_total(const clvi_run *run)
{
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    return clvi_shape_elements(y) * (clvi_shape_batched(y) ? run->n : 1);
}

/* Items of a flat walk: a multiple of every vector width. */
enum { CLVI_FLAT_STEP = 64 };

#endif
