/* Draws validation and limits training images, the same way for the same split_seed everywhere. */
#include "data/split.h"

#include "base/philox.h"

#include <math.h>

/* The images of train, class by class, and room to shuffle one class. */
typedef struct classes {
    uint32_t *begin; /* [class_count + 1]: images of class k are list[begin[k]..begin[k + 1]) */
    uint32_t *list;  /* indices of items */
    uint32_t *order; /* [largest class] */
    uint32_t *same;  /* [items]: train images of one class with the same bytes, at their twin */
    bool *divided;   /* [items]: at the twin, the same bytes stand in several classes, or fixed */
} classes;

static void free_classes(classes *c)
{
    clvi_free(c->begin);
    clvi_free(c->list);
    clvi_free(c->order);
    clvi_free(c->same);
    clvi_free(c->divided);
}

static clv_status list_classes(const clvi_split_items *items, classes *c, clv_error *error)
{
    c->begin = clvi_calloc(items->class_count + 2, sizeof *c->begin);
    c->list = clvi_malloc(items->count * sizeof *c->list);
    c->order = clvi_malloc(items->count * sizeof *c->order);
    c->same = clvi_calloc(items->count, sizeof *c->same);
    c->divided = clvi_calloc(items->count, sizeof *c->divided);
    if (!c->begin || !c->list || !c->order || !c->same || !c->divided)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to split %zu images", items->count);
    /* begin[k + 2] counts class k, then begin[k + 1] is moved forward while its list is filled. */
    for (size_t i = 0; i < items->count; i++)
        if (items->item[i].split == CLVI_TRAIN)
            c->begin[items->item[i].label + 2]++;
    for (size_t k = 2; k < items->class_count + 2; k++)
        c->begin[k] += c->begin[k - 1];
    for (size_t i = 0; i < items->count; i++) {
        const clvi_split_item *item = &items->item[i];
        if (item->split != CLVI_TRAIN)
            continue;
        c->list[c->begin[item->label + 1]++] = (uint32_t)i;
        c->same[item->twin]++;
        if (items->item[item->twin].label != item->label || item->fixed)
            c->divided[item->twin] = true;
    }
    return CLV_OK;
}

static void drop_twins(const clvi_split_items *items, const uint8_t *splits,
                       clvi_split_counts *counts)
{
    for (size_t i = 0; i < items->count; i++) {
        clvi_split_item *item = &items->item[i];
        if (item->split != CLVI_TRAIN && item->split != CLVI_VAL)
            continue;
        const uint8_t others = splits[item->twin];
        if (others & (1u << CLVI_TEST)) {
            item->split = CLVI_NOWHERE;
            counts->stand_in_test++;
        } else if (item->split == CLVI_TRAIN && (others & (1u << CLVI_VAL))) {
            item->split = CLVI_NOWHERE;
            counts->stand_in_val++;
        }
    }
}

/* Drops what stands in test from train and val, and what stands in the val folder from train. */
static clv_status drop_identical(const clvi_split_items *items, clvi_split_counts *counts,
                                 clv_error *error)
{
    uint8_t *splits = clvi_calloc(items->count, 1); /* at the twin: bit s, stands in split s */
    if (!splits)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to split %zu images", items->count);
    for (size_t i = 0; i < items->count; i++)
        if (items->item[i].split != CLVI_NOWHERE)
            splits[items->item[i].twin] |= (uint8_t)(1u << items->item[i].split);
    drop_twins(items, splits, counts);
    clvi_free(splits);
    return CLV_OK;
}

/* Moves about `fraction` of one class to validation, of those that may move. Identical images move
 * together, and only if there is room for all of them; those that stand in several classes stay in
 * train, for moving them would change another class. */
static void draw_class(const clvi_split_items *items, classes *c, uint32_t label, double fraction,
                       clvi_philox_key key)
{
    const uint32_t *list = c->list + c->begin[label];
    const uint32_t count = c->begin[label + 1] - c->begin[label];
    uint32_t movable = 0;
    for (uint32_t i = 0; i < count; i++)
        movable += !items->item[list[i]].fixed;
    if (count < 2 || movable == 0)
        return;
    const double share = fmin(fmax(round(fraction * movable), 1.0), count - 1.0);
    uint32_t wanted = (uint32_t)share;
    clvi_philox_shuffle(key, label, count, c->order);
    for (uint32_t i = 0; i < count && wanted > 0; i++) {
        const uint32_t twin = items->item[list[c->order[i]]].twin;
        if (items->item[list[c->order[i]]].split != CLVI_TRAIN || c->divided[twin] ||
            c->same[twin] > wanted)
            continue;
        wanted -= c->same[twin];
        if (c->same[twin] == 1) {
            items->item[list[c->order[i]]].split = CLVI_VAL;
            continue;
        }
        for (uint32_t j = 0; j < count; j++)
            if (items->item[list[j]].twin == twin)
                items->item[list[j]].split = CLVI_VAL;
    }
}

static size_t limit_class(const clvi_split_items *items, classes *c, uint32_t label, int64_t limit,
                          clvi_philox_key key)
{
    const uint32_t *list = c->list + c->begin[label];
    const uint32_t count = c->begin[label + 1] - c->begin[label];
    size_t dropped = 0;
    int64_t kept = 0;
    clvi_philox_shuffle(key, label, count, c->order);
    for (uint32_t i = 0; i < count; i++) {
        clvi_split_item *item = &items->item[list[c->order[i]]];
        if (item->split != CLVI_TRAIN || kept++ < limit)
            continue;
        item->split = CLVI_NOWHERE;
        dropped++;
    }
    return dropped;
}

clv_status clvi_split_assign(const clvi_split_items *items, const clvi_data_options *options,
                             clvi_split_counts *out, clv_error *error)
{
    clvi_split_counts counts = {0};
    for (size_t i = 0; i < items->count && options->keep_duplicates; i++)
        items->item[i].twin = (uint32_t)i; /* each image stands for itself */
    CLV_TRY(drop_identical(items, &counts, error));
    classes c = {0};
    const clv_status status = list_classes(items, &c, error);
    for (uint32_t k = 0; status == CLV_OK && k < items->class_count; k++) {
        if (options->val_fraction > 0.0)
            draw_class(items, &c, k, options->val_fraction,
                       clvi_philox_stream(options->split_seed, "data.validation"));
        if (options->limit_per_class > 0)
            counts.above_limit +=
                limit_class(items, &c, k, options->limit_per_class,
                            clvi_philox_stream(options->split_seed, "data.limit"));
    }
    free_classes(&c);
    if (status == CLV_OK)
        *out = counts;
    return status;
}
