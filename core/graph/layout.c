/* Lifetime-based placement. Sizes and offsets are a·n + b in units of the device's alignment. Two
 * pieces lie apart for every batch 1 … N when one lies behind the other at n = 1 and at n = N: so
 * one placement serves every batch. See plan.h. */
#include "graph/layout.h"

#include "base/process.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { GUARD_ELEMENTS = 256 };
static const uint32_t guard_pattern = 0x7fc0deadu; /* a quiet NaN */
static const uint32_t poison_pattern = 0x7fc00bad;

struct clvi_slabs {
    clvi_device *device;
    clvi_buf **bufs;
    size_t count, capacity;
    const void *user;
};

clv_status clvi_slabs_create(clvi_device *device, clvi_slabs **out, clv_error *error)
{
    clvi_slabs *slabs = clvi_calloc(1, sizeof *slabs);
    if (!slabs)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the list of slabs");
    slabs->device = device;
    *out = slabs;
    return CLV_OK;
}

void clvi_slabs_destroy(clvi_slabs *slabs)
{
    if (!slabs)
        return;
    for (size_t i = 0; i < slabs->count; i++)
        clvi_buf_destroy(slabs->bufs[i]);
    clvi_free(slabs->bufs);
    clvi_free(slabs);
}

bool clvi_layout_extent(const clvi_layout *layout, clvi_extent *out)
{
    clvi_extent all = {0, 0};
    for (size_t i = 0; i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        const clvi_extent end = {item->offset.per_sample + item->size.per_sample,
                                 item->offset.constant + item->size.constant};
        if (item->own)
            return false;
        if (item->slab != 0)
            continue;
        all.per_sample = end.per_sample > all.per_sample ? end.per_sample : all.per_sample;
        all.constant = end.constant > all.constant ? end.constant : all.constant;
    }
    *out = all;
    return true;
}

uint64_t clvi_slabs_bytes(const clvi_slabs *slabs)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < slabs->count; i++)
        sum += slabs->bufs[i] ? clvi_buf_bytes(slabs->bufs[i]) : 0;
    return sum;
}

void clvi_slabs_claim(clvi_slabs *slabs, const void *user)
{
    slabs->user = user;
}

bool clvi_slabs_claimed_by(const clvi_slabs *slabs, const void *user)
{
    return slabs->user == user;
}

/* Makes slab `index` at least `bytes` large; its content is lost when it grows. */
static clv_status ensure(clvi_slabs *slabs, size_t index, size_t bytes, clv_error *error)
{
    CLV_TRY(
        clvi_grow((void **)&slabs->bufs, &slabs->capacity, index + 1, sizeof *slabs->bufs, error));
    while (slabs->count <= index)
        slabs->bufs[slabs->count++] = NULL;
    if (slabs->bufs[index] && clvi_buf_bytes(slabs->bufs[index]) >= bytes)
        return CLV_OK;
    clvi_buf_destroy(slabs->bufs[index]);
    slabs->bufs[index] = NULL;
    slabs->user = NULL;
    return clvi_buf_create(slabs->device, bytes, "activations", &slabs->bufs[index], error);
}

clv_status clvi_slabs_reserve(clvi_slabs *slabs, uint64_t bytes, clv_error *error)
{
    return ensure(slabs, 0, bytes, error);
}

void clvi_layout_init(clvi_layout *layout, clvi_device *device, clvi_slabs *slabs,
                      int64_t max_batch)
{
    const char *arena = clvi_env_get(CLVI_ENV_ARENA);
    memset(layout, 0, sizeof *layout);
    layout->device = device;
    layout->slabs = slabs;
    layout->max_batch = layout->n = max_batch;
    layout->unit = clvi_device_get_info(device)->align_bytes / 4;
    layout->guarded = arena && strcmp(arena, "0") == 0;
}

void clvi_layout_fini(clvi_layout *layout)
{
    for (size_t i = 0; i < layout->count; i++)
        clvi_buf_destroy(layout->items[i].own);
    clvi_free(layout->items);
    layout->items = NULL;
    layout->count = 0;
}

static uint64_t units_of(const clvi_layout *layout, int64_t elements)
{
    return ((uint64_t)elements + layout->unit - 1) / layout->unit;
}

clv_status clvi_layout_add(clvi_layout *layout, const char *what, clvi_amount amount, int32_t first,
                           int32_t last, int32_t *index, clv_error *error)
{
    CLV_ASSERT(amount.per_sample >= 0 && amount.constant >= 0);
    if (amount.per_sample == 0 && amount.constant == 0) {
        *index = -1;
        return CLV_OK;
    }
    CLV_TRY(clvi_grow((void **)&layout->items, &layout->capacity, layout->count + 1,
                      sizeof *layout->items, error));
    clvi_item *item = &layout->items[layout->count];
    memset(item, 0, sizeof *item);
    item->what = what;
    item->amount = amount;
    item->first = first;
    item->last = last;
    item->size =
        (clvi_extent){units_of(layout, amount.per_sample), units_of(layout, amount.constant)};
    *index = (int32_t)layout->count++;
    return CLV_OK;
}

static uint64_t at_batch(clvi_extent e, int64_t n)
{
    return e.per_sample * (uint64_t)n + e.constant;
}

static uint64_t item_elements(const clvi_layout *layout, const clvi_item *item)
{
    return at_batch(item->size, layout->max_batch) * layout->unit;
}

static clvi_extent end_of(const clvi_item *item)
{
    return (clvi_extent){item->offset.per_sample + item->size.per_sample,
                         item->offset.constant + item->size.constant};
}

/* Pieces that may not move with the batch first: below them lie only such. Then larger ones first.
 * The size at the largest batch is kept beside the pointer. */
typedef struct ranked {
    clvi_item *item;
    uint64_t size;
} ranked;

static int by_size(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->item->fixed != y->item->fixed)
        return x->item->fixed ? -1 : 1;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item; /* reproducible */
}

/* A place to try: the beginning of the slab, or the end of a piece. */
typedef struct candidate {
    clvi_extent offset;
    uint64_t at; /* at the largest batch */
} candidate;

static int by_place(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* True when `item` at `offset` lies before or behind `other` for every batch. */
static bool apart(const clvi_layout *layout, const clvi_item *item, clvi_extent offset,
                  const clvi_item *other)
{
    const int64_t n = layout->max_batch;
    const clvi_extent end = {offset.per_sample + item->size.per_sample,
                             offset.constant + item->size.constant};
    const clvi_extent begin = other->offset, far = end_of(other);
    return (at_batch(end, 1) <= at_batch(begin, 1) && at_batch(end, n) <= at_batch(begin, n)) ||
           (at_batch(far, 1) <= at_batch(offset, 1) && at_batch(far, n) <= at_batch(offset, n));
}

/* What the search for a place needs; arrays of layout->count + 1. */
typedef struct search {
    ranked *order;
    clvi_item **near;
    candidate *candidates;
} search;

/* Lowest place in slab `slab` at which `item` meets none of the first `count` pieces of the order
 * that live with it. */
static clvi_extent lowest_place(const clvi_layout *layout, const search *s, size_t count,
                                const clvi_item *item, uint32_t slab)
{
    size_t near = 0, tries = 0;
    s->candidates[tries++] = (candidate){{0, 0}, 0};
    for (size_t i = 0; i < count; i++) {
        clvi_item *other = s->order[i].item;
        if (other->slab != slab || other->first > item->last || item->first > other->last)
            continue;
        s->near[near++] = other;
        s->candidates[tries++] =
            (candidate){end_of(other), at_batch(end_of(other), layout->max_batch)};
    }
    qsort(s->candidates, tries, sizeof *s->candidates, by_place);
    for (size_t k = 0; k < tries; k++) {
        size_t i = 0;
        while (i < near && apart(layout, item, s->candidates[k].offset, s->near[i]))
            i++;
        if (i == near)
            return s->candidates[k].offset;
    }
    /* Behind everything, in each coefficient. */
    clvi_extent end = {0, 0};
    for (size_t i = 0; i < near; i++) {
        const clvi_extent e = end_of(s->near[i]);
        end.per_sample = e.per_sample > end.per_sample ? e.per_sample : end.per_sample;
        end.constant = e.constant > end.constant ? e.constant : end.constant;
    }
    return end;
}

/* ---- What does not fit ---- */

/* Why a layout cannot be: more than the device has, in one piece or in all. */
typedef struct obstacle {
    uint64_t needed, available; /* bytes */
    bool in_all;
} obstacle;

/* Up to three of the largest pieces, for the refusal. */
static void name_largest(const clvi_layout *layout, clvi_text *out)
{
    uint64_t below = UINT64_MAX;
    for (int k = 0; k < 3; k++) {
        const char *best = NULL;
        uint64_t most = 0;
        for (size_t i = 0; i < layout->count + layout->beside_count; i++) {
            const bool inside = i < layout->count;
            const clvi_beside *other = inside ? NULL : &layout->beside[i - layout->count];
            const uint64_t size = inside ? item_elements(layout, &layout->items[i]) * 4
                                         : other->sample_bytes * (uint64_t)layout->max_batch;
            if (size < below && size > most)
                most = size, best = inside ? layout->items[i].what : other->what;
        }
        if (!best)
            break;
        below = most;
        clvi_text_printf(out, "%s%s %.1f MB", k ? ", " : "", best, (double)most * 1e-6);
    }
}

/* Bytes of the largest tensor: kernels count its elements as int. */
static uint64_t piece_limit(const clvi_layout *layout)
{
    const uint64_t most = clvi_device_get_info(layout->device)->max_alloc_bytes;
    return most < (uint64_t)INT32_MAX * 4 ? most : (uint64_t)INT32_MAX * 4;
}

/* Whether a piece goes to the second slab of plans that pause. */
static bool is_scratch(const clvi_layout *layout, const clvi_item *item)
{
    const bool spans = item->first <= layout->pause && item->last >= layout->pause;
    return item->size.constant > 0 && !spans;
}

/* As place_all, in two slabs. */
static bool place_apart(clvi_layout *layout, const search *s, uint64_t cap, obstacle *o)
{
    for (size_t i = 0; i < layout->count; i++) {
        clvi_item *item = s->order[i].item;
        item->slab = is_scratch(layout, item);
        item->offset = lowest_place(layout, s, i, item, item->slab);
        const uint64_t end = at_batch(item->offset, layout->max_batch) + s->order[i].size;
        *o = (obstacle){end * layout->unit * 4, cap * layout->unit * 4, false};
        if (end > cap)
            return false;
    }
    return true;
}

/* Gives every piece its slab and offset; *slabs: how many there are. False: a piece is too large.
 */
static bool place_all(clvi_layout *layout, const search *s, uint32_t *slabs, obstacle *o)
{
    const uint64_t limit = piece_limit(layout) / 4 / layout->unit;
    const uint64_t cap = clvi_device_get_info(layout->device)->max_alloc_bytes / 4 / layout->unit;
    for (size_t i = 0; i < layout->count; i++)
        s->order[i] =
            (ranked){&layout->items[i], at_batch(layout->items[i].size, layout->max_batch)};
    qsort(s->order, layout->count, sizeof *s->order, by_size);
    *slabs = layout->pause > 0 ? 2 : 0;
    if (layout->pause > 0)
        return place_apart(layout, s, cap < limit ? cap : limit, o);
    for (size_t i = 0; i < layout->count; i++) {
        clvi_item *item = s->order[i].item;
        if (s->order[i].size > limit) {
            *o = (obstacle){s->order[i].size * layout->unit * 4, limit * layout->unit * 4, false};
            return false;
        }
        item->offset = (clvi_extent){0, 0};
        for (item->slab = 0; item->slab < *slabs; item->slab++) {
            const clvi_extent place = lowest_place(layout, s, i, item, item->slab);
            if (at_batch(place, layout->max_batch) + s->order[i].size <= cap) {
                item->offset = place;
                break;
            }
        }
        *slabs += item->slab == *slabs;
    }
    return true;
}

static uint64_t slab_bytes(const clvi_layout *layout, uint32_t slab)
{
    uint64_t units = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const uint64_t end = at_batch(end_of(&layout->items[i]), layout->max_batch);
        if (layout->items[i].slab == slab && end > units)
            units = end;
    }
    return units * layout->unit * 4;
}

/* Bytes that a piece takes where each has a buffer of its own. */
static uint64_t apart_bytes(const clvi_layout *layout, const clvi_item *item)
{
    return (item_elements(layout, item) + 2 * GUARD_ELEMENTS) * 4;
}

/* Whether everything fits at max_batch; places the pieces in *slabs slabs unless guarded. */
static bool fits(clvi_layout *layout, const search *s, uint32_t *slabs, obstacle *o)
{
    const clvi_device_info *info = clvi_device_get_info(layout->device);
    clvi_device_counters counters;
    clvi_device_get_counters(layout->device, &counters);
    uint64_t all = counters.live_bytes;
    *slabs = 0;
    for (size_t i = 0; i < layout->beside_count; i++) {
        const uint64_t bytes = layout->beside[i].sample_bytes * (uint64_t)layout->max_batch;
        *o = (obstacle){bytes, piece_limit(layout), false};
        if (bytes > piece_limit(layout))
            return false;
        all += bytes;
    }
    for (size_t i = 0; layout->guarded && i < layout->count; i++) {
        const uint64_t bytes = apart_bytes(layout, &layout->items[i]);
        *o = (obstacle){bytes, piece_limit(layout), false};
        if (bytes > piece_limit(layout))
            return false;
        all += bytes;
    }
    if (!layout->guarded && !place_all(layout, s, slabs, o))
        return false;
    for (uint32_t slab = 0; slab < *slabs; slab++) {
        const uint64_t bytes = slab_bytes(layout, slab);
        const clvi_buf *now = slab < layout->slabs->count ? layout->slabs->bufs[slab] : NULL;
        const uint64_t there = now ? clvi_buf_bytes(now) : 0;
        all += bytes > there ? bytes - there : 0;
    }
    *o = (obstacle){all, info->global_bytes, true};
    return all <= info->global_bytes;
}

static clv_status refuse(const clvi_layout *layout, const obstacle *o, clv_error *error)
{
    clvi_text largest = {0};
    name_largest(layout, &largest);
    const clv_status status = clvi_fail(
        error, CLV_E_MEMORY, CLV_HERE,
        "%.0f MB are needed %s where %s has at most %.0f MB; largest: %s", (double)o->needed * 1e-6,
        o->in_all ? "in all" : "in one piece", clvi_device_get_info(layout->device)->name,
        (double)o->available * 1e-6, clvi_text_get(&largest));
    clvi_text_fini(&largest);
    return status;
}

/* ---- Allocating ---- */

/* CONCLAVE_ARENA=0: a buffer for every piece, with guard bands before and behind. */
static clv_status allocate_apart(clvi_layout *layout, clv_error *error)
{
    for (size_t i = 0; i < layout->count; i++) {
        clvi_item *item = &layout->items[i];
        const size_t bytes = apart_bytes(layout, item);
        CLV_TRY(clvi_buf_create(layout->device, bytes, item->what, &item->own, error));
        CLV_TRY(clvi_fill(layout->device, item->own, 0, bytes, guard_pattern, error));
        layout->bytes += bytes;
    }
    return CLV_OK;
}

static clv_status allocate_slabs(clvi_layout *layout, uint32_t slabs, clv_error *error)
{
    for (uint32_t slab = 0; slab < slabs; slab++) {
        const uint64_t bytes = slab_bytes(layout, slab);
        layout->bytes += bytes;
        if (bytes > 0)
            CLV_TRY(ensure(layout->slabs, slab, bytes, error));
    }
    return CLV_OK;
}

static clv_status place(clvi_layout *layout, const search *s, clv_error *error)
{
    uint32_t slabs;
    obstacle o;
    if (!fits(layout, s, &slabs, &o))
        return refuse(layout, &o, error);
    return layout->guarded ? allocate_apart(layout, error) : allocate_slabs(layout, slabs, error);
}

clv_status clvi_layout_place(clvi_layout *layout, const char *label, clv_error *error)
{
    const size_t n = layout->count + 1;
    search s = {.order = clvi_calloc(n, sizeof *s.order),
                .near = clvi_calloc(n, sizeof *s.near),
                .candidates = clvi_calloc(n, sizeof *s.candidates)};
    clv_status status;
    if (!s.order || !s.near || !s.candidates)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to plan it");
    else
        status = place(layout, &s, error);
    clvi_free(s.order);
    clvi_free(s.near);
    clvi_free(s.candidates);
    if (status != CLV_OK)
        clvi_prepend(error, "%s with batches of %lld", label, (long long)layout->max_batch);
    return status;
}

clvi_view clvi_layout_view(const clvi_layout *layout, int32_t index, int64_t n)
{
    if (index < 0)
        return (clvi_view){NULL, 0};
    const clvi_item *item = &layout->items[index];
    if (item->own)
        return (clvi_view){item->own, GUARD_ELEMENTS};
    const uint64_t base = item->slab == 0 ? layout->base : 0;
    return (clvi_view){layout->slabs->bufs[item->slab],
                       (base + at_batch(item->offset, n)) * layout->unit};
}

clv_status clvi_layout_set_batch(clvi_layout *layout, int64_t n, clv_error *error)
{
    for (size_t i = 0; layout->guarded && n != layout->n && i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        if (item->size.per_sample == 0)
            continue;
        const uint64_t from = GUARD_ELEMENTS + at_batch(item->size, n) * layout->unit;
        const uint64_t to = 2 * GUARD_ELEMENTS + item_elements(layout, item);
        CLV_TRY(
            clvi_fill(layout->device, item->own, from * 4, (to - from) * 4, guard_pattern, error));
    }
    layout->n = n;
    return CLV_OK;
}

void clvi_layout_expect(const clvi_layout *layout)
{
    const size_t slabs = layout->guarded ? 0 : layout->slabs->count;
    for (size_t i = 0; i < slabs; i++) {
        const uint64_t bytes = slab_bytes(layout, (uint32_t)i);
        if (bytes > 0)
            clvi_buf_expect(layout->slabs->bufs[i], bytes);
    }
}

clv_status clvi_layout_poison(clvi_layout *layout, clv_error *error)
{
    for (size_t i = 0; i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        const clvi_view view = clvi_layout_view(layout, (int32_t)i, layout->max_batch);
        CLV_TRY(clvi_fill(layout->device, view.buf, view.offset * 4,
                          item_elements(layout, item) * 4, poison_pattern, error));
    }
    layout->n = layout->max_batch; /* the guard bands behind smaller batches are gone */
    return CLV_OK;
}

clv_status clvi_layout_check_guards(const clvi_layout *layout, clv_error *error)
{
    for (size_t i = 0; i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        uint32_t band[GUARD_ELEMENTS];
        for (int behind = 0; item->own && behind < 2; behind++) {
            const uint64_t size = at_batch(item->size, layout->n) * layout->unit;
            const uint64_t at = behind ? GUARD_ELEMENTS + size : 0;
            CLV_TRY(clvi_download(layout->device, item->own, at * 4, band, sizeof band, error));
            for (int k = 0; k < GUARD_ELEMENTS; k++)
                if (band[k] != guard_pattern)
                    CLV_FAIL(error, CLV_E_INTERNAL, "%s: element %d %s its memory was overwritten",
                             item->what, behind ? k : GUARD_ELEMENTS - k,
                             behind ? "behind" : "before");
        }
    }
    return CLV_OK;
}
