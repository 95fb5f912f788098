/* Lifetime-based placement. Batched pieces: a piece of p elements per sample takes ceil(p / unit)
 * units per sample and lies at offset·n, so one placement serves every batch. See plan.h. */
#include "graph/layout.h"

#include "base/process.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { GUARD_ELEMENTS = 256 };
static const uint32_t guard_pattern = 0x7fc0deadu; /* a quiet NaN */
static const uint32_t poison_pattern = 0x7fc00bad;

typedef struct slab_list {
    clvi_buf **bufs;
    size_t count, capacity;
} slab_list;

struct clvi_slabs {
    clvi_device *device;
    slab_list lists[2]; /* [0]: what does not grow with the batch, [1]: what does */
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
    for (int g = 0; g < 2; g++) {
        for (size_t i = 0; i < slabs->lists[g].count; i++)
            clvi_buf_destroy(slabs->lists[g].bufs[i]);
        clvi_free(slabs->lists[g].bufs);
    }
    clvi_free(slabs);
}

void clvi_slabs_claim(clvi_slabs *slabs, const void *user)
{
    slabs->user = user;
}

bool clvi_slabs_claimed_by(const clvi_slabs *slabs, const void *user)
{
    return slabs->user == user;
}

/* Makes slab `index` of a list at least `bytes` large; its content is lost when it grows. */
static clv_status ensure(clvi_slabs *slabs, int list, size_t index, size_t bytes, clv_error *error)
{
    slab_list *l = &slabs->lists[list];
    CLV_TRY(clvi_grow((void **)&l->bufs, &l->capacity, index + 1, sizeof *l->bufs, error));
    while (l->count <= index)
        l->bufs[l->count++] = NULL;
    if (l->bufs[index] && clvi_buf_bytes(l->bufs[index]) >= bytes)
        return CLV_OK;
    clvi_buf_destroy(l->bufs[index]);
    l->bufs[index] = NULL;
    slabs->user = NULL;
    return clvi_buf_create(slabs->device, bytes, list ? "activations" : "workspace", &l->bufs[index],
                           error);
}

void clvi_layout_init(clvi_layout *layout, clvi_device *device, clvi_slabs *slabs, int64_t max_batch)
{
    const char *arena = clvi_env_get(CLVI_ENV_ARENA);
    memset(layout, 0, sizeof *layout);
    layout->device = device;
    layout->slabs = slabs;
    layout->max_batch = max_batch;
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
    item->batched = amount.per_sample > 0;
    /* p·n + c ≤ (p + c)·n: a piece of both sorts counts as batched. */
    const uint64_t elements = (uint64_t)amount.per_sample + (uint64_t)amount.constant;
    item->units = (elements + layout->unit - 1) / layout->unit;
    *index = (int32_t)layout->count++;
    return CLV_OK;
}

static uint64_t item_elements(const clvi_layout *layout, const clvi_item *item)
{
    return item->units * layout->unit * (item->batched ? (uint64_t)layout->max_batch : 1);
}

static int by_offset(const void *a, const void *b)
{
    const clvi_item *x = *(const clvi_item *const *)a, *y = *(const clvi_item *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Larger first; equal sizes in the order of noting, so that the layout is reproducible. */
static int by_size(const void *a, const void *b)
{
    const clvi_item *x = *(const clvi_item *const *)a, *y = *(const clvi_item *const *)b;
    if (x->units != y->units)
        return x->units > y->units ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Lowest offset in slab `slab` at which `item` meets none of the placed pieces that live with it. */
static uint64_t lowest_gap(clvi_item *const *placed, size_t count, const clvi_item *item,
                           uint32_t slab, clvi_item **scratch)
{
    size_t near = 0;
    for (size_t i = 0; i < count; i++)
        if (placed[i]->slab == slab && placed[i]->first <= item->last &&
            item->first <= placed[i]->last)
            scratch[near++] = placed[i];
    qsort(scratch, near, sizeof *scratch, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < near; i++) {
        if (scratch[i]->offset >= at + item->units)
            break;
        const uint64_t end = scratch[i]->offset + scratch[i]->units;
        at = end > at ? end : at;
    }
    return at;
}

/* Up to three of the largest pieces, for the refusal. */
static void name_largest(const clvi_layout *layout, clvi_text *out)
{
    uint64_t below = UINT64_MAX;
    for (int k = 0; k < 3; k++) {
        const clvi_item *best = NULL;
        for (size_t i = 0; i < layout->count; i++) {
            const uint64_t size = item_elements(layout, &layout->items[i]);
            if (size < below && (!best || size > item_elements(layout, best)))
                best = &layout->items[i];
        }
        if (!best)
            break;
        below = item_elements(layout, best);
        clvi_text_printf(out, "%s%s %.1f MB", k ? ", " : "", best->what, (double)below * 4e-6);
    }
}

static clv_status refuse(const clvi_layout *layout, const char *label, uint64_t needed,
                         uint64_t available, clv_error *error)
{
    clvi_text largest = {0};
    name_largest(layout, &largest);
    const int64_t fits = (int64_t)((double)layout->max_batch * (double)available / (double)needed);
    const clv_status status =
        clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                  "%s with batch %lld needs %.0f MB in one piece where %s gives %.0f MB; largest: %s; "
                  "train.batch = %lld would fit",
                  label, (long long)layout->max_batch, (double)needed * 4e-6,
                  clvi_device_get_info(layout->device)->name, (double)available * 4e-6,
                  clvi_text_get(&largest), (long long)(fits > 0 ? fits : 1));
    clvi_text_fini(&largest);
    return status;
}

/* Places the batched or the other pieces; sizes[slab] receives units in use. */
static clv_status place_list(clvi_layout *layout, bool batched, const char *label,
                             clv_error *error)
{
    const clvi_device_info *info = clvi_device_get_info(layout->device);
    const uint64_t scale = layout->unit * (batched ? (uint64_t)layout->max_batch : 1);
    const uint64_t cap = info->max_alloc_bytes / 4 / scale;
    clv_status status = CLV_OK;
    clvi_item **order = clvi_calloc(2 * layout->count + 1, sizeof *order);
    if (!order)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", label);
    clvi_item **scratch = order + layout->count;
    size_t count = 0;
    uint32_t slabs = 0;
    for (size_t i = 0; i < layout->count; i++)
        if (layout->items[i].batched == batched)
            order[count++] = &layout->items[i];
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        clvi_item *item = order[i];
        if (item->units > cap) {
            status = refuse(layout, label, item->units * scale, cap * scale, error);
            break;
        }
        uint32_t slab = 0;
        uint64_t at = 0;
        for (; slab < slabs; slab++) {
            at = lowest_gap(order, i, item, slab, scratch);
            if (at + item->units <= cap)
                break;
        }
        if (slab == slabs)
            slabs++, at = 0;
        item->slab = slab, item->offset = at;
    }
    for (uint32_t slab = 0; slab < slabs && status == CLV_OK; slab++) {
        uint64_t units = 0;
        for (size_t i = 0; i < count; i++)
            if (order[i]->slab == slab && order[i]->offset + order[i]->units > units)
                units = order[i]->offset + order[i]->units;
        layout->bytes += units * scale * 4;
        status = ensure(layout->slabs, batched, slab, units * scale * 4, error);
    }
    clvi_free(order);
    return status;
}

/* CONCLAVE_ARENA=0: a buffer for every piece, with guard bands before and behind. */
static clv_status place_apart(clvi_layout *layout, const char *label, clv_error *error)
{
    const uint64_t cap = clvi_device_get_info(layout->device)->max_alloc_bytes / 4;
    for (size_t i = 0; i < layout->count; i++) {
        clvi_item *item = &layout->items[i];
        if (item_elements(layout, item) + 2 * GUARD_ELEMENTS > cap)
            return refuse(layout, label, item_elements(layout, item), cap, error);
        const size_t bytes = (item_elements(layout, item) + 2 * GUARD_ELEMENTS) * 4;
        CLV_TRY(clvi_buf_create(layout->device, bytes, item->what, &item->own, error));
        CLV_TRY(clvi_fill(layout->device, item->own, 0, bytes, guard_pattern, error));
        layout->bytes += bytes;
    }
    return CLV_OK;
}

clv_status clvi_layout_place(clvi_layout *layout, const char *label, clv_error *error)
{
    clv_status status = CLV_OK;
    if (layout->guarded)
        status = place_apart(layout, label, error);
    else
        for (int batched = 1; batched >= 0 && status == CLV_OK; batched--)
            status = place_list(layout, batched, label, error);
    if (status != CLV_OK)
        clvi_prepend(error, "planning %s with batch %lld", label, (long long)layout->max_batch);
    return status;
}

clvi_view clvi_layout_view(const clvi_layout *layout, int32_t index, int64_t n)
{
    if (index < 0)
        return (clvi_view){NULL, 0};
    const clvi_item *item = &layout->items[index];
    if (item->own)
        return (clvi_view){item->own, GUARD_ELEMENTS};
    const uint64_t scale = layout->unit * (item->batched ? (uint64_t)n : 1);
    return (clvi_view){layout->slabs->lists[item->batched].bufs[item->slab], item->offset * scale};
}

clv_status clvi_layout_poison(const clvi_layout *layout, clv_error *error)
{
    for (size_t i = 0; i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        const clvi_view view = clvi_layout_view(layout, (int32_t)i, layout->max_batch);
        CLV_TRY(clvi_fill(layout->device, view.buf, view.offset * 4,
                          item_elements(layout, item) * 4, poison_pattern, error));
    }
    return CLV_OK;
}

clv_status clvi_layout_check_guards(const clvi_layout *layout, clv_error *error)
{
    for (size_t i = 0; i < layout->count; i++) {
        const clvi_item *item = &layout->items[i];
        uint32_t band[GUARD_ELEMENTS];
        for (int behind = 0; item->own && behind < 2; behind++) {
            const uint64_t at = behind ? GUARD_ELEMENTS + item_elements(layout, item) : 0;
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
