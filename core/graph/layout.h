/* Where the pieces of a plan's memory lie: lifetimes in, offsets out. Used by plan.c only. */
#ifndef CLVI_LAYOUT_H
#define CLVI_LAYOUT_H

#include "graph/plan.h"

/* A length or place in units of the device's alignment: per_sample·n + constant for a batch of n.
 */
typedef struct clvi_extent {
    uint64_t per_sample, constant;
} clvi_extent;

/* One piece of memory, alive from step `first` to step `last`, both included. */
typedef struct clvi_item {
    const char *what;   /* tensor or node, for messages */
    clvi_amount amount; /* elements */
    int32_t first, last;
    clvi_extent size, offset;
    bool fixed; /* keeps its content from one batch to a smaller one: the offset has no n in it */
    uint32_t slab;
    clvi_buf *own; /* CONCLAVE_ARENA=0 */
} clvi_item;

typedef struct clvi_layout {
    clvi_device *device;
    clvi_slabs *slabs;
    clvi_item *items;
    size_t count, capacity;
    int64_t max_batch, n; /* n: of the last run, where the guard bands stand */
    uint64_t unit;        /* elements */
    uint64_t base;        /* where in the first slab everything begins; see clvi_plan_place */
    /* Other plans run at this time: what need not live then, and does not grow with the batch
     * alone, goes to the second slab, which has no base. 0: none do. */
    int32_t pause;
    bool guarded;              /* CONCLAVE_ARENA=0 */
    uint64_t bytes;            /* in use at max_batch, after placing */
    const clvi_beside *beside; /* see clvi_plan_desc; while placing */
    size_t beside_count;
} clvi_layout;

void clvi_layout_init(clvi_layout *layout, clvi_device *device, clvi_slabs *slabs,
                      int64_t max_batch);
void clvi_layout_fini(clvi_layout *layout);
/* Notes a piece; *index names it. An amount of nothing gives -1. */
clv_status clvi_layout_add(clvi_layout *layout, const char *what, clvi_amount amount, int32_t first,
                           int32_t last, int32_t *index, clv_error *error) CLV_MUST_CHECK;
/* Largest first, each at the lowest place free over its life; then allocates. `label` for messages.
 * Errors: CLV_E_MEMORY naming the largest pieces. */
clv_status clvi_layout_place(clvi_layout *layout, const char *label,
                             clv_error *error) CLV_MUST_CHECK;
/* CONCLAVE_ARENA=0: puts the guard bands behind what a batch of n may use. Before each forward. */
clv_status clvi_layout_set_batch(clvi_layout *layout, int64_t n, clv_error *error) CLV_MUST_CHECK;
/* Where a piece lies for a batch of n. Index -1: an absent view. */
clvi_view clvi_layout_view(const clvi_layout *layout, int32_t index, int64_t n);
/* An upper bound of what a batch of n takes in the first slab; false: it lies in no slabs. */
bool clvi_layout_extent(const clvi_layout *layout, clvi_extent *out);
/* Says that the largest batch is used soon, of each slab as much as it takes. */
void clvi_layout_expect(const clvi_layout *layout);
clv_status clvi_layout_poison(clvi_layout *layout, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_layout_check_guards(const clvi_layout *layout, clv_error *error) CLV_MUST_CHECK;

/* The slabs remember who wrote into them last: prepared weights of another plan are gone then. */
void clvi_slabs_claim(clvi_slabs *slabs, const void *user);
bool clvi_slabs_claimed_by(const clvi_slabs *slabs, const void *user);

#endif
