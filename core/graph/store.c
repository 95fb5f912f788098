/* Variables in slabs; see store.h. Trainable variables fill slabs that exist several times (value,
 * gradient, moments, …) with one layout; fixed ones (frozen parameters, states) fill slabs of
 * their own that exist once, or twice where averages are kept. */
#include "graph/store.h"

#include "base/text.h"
#include "graph/draw.h"

#include <stdio.h>

typedef struct slab {
    bool trainable;
    uint64_t elements;
    clvi_buf *bufs[CLVI_STORE_KINDS];
} slab;

struct clvi_store {
    clvi_device *device;
    clvi_arena *arena; /* names */
    clvi_segment *segments;
    size_t segment_count, segment_capacity;
    slab *slabs; /* trainable ones first */
    size_t slab_count, slab_capacity, trainable_slabs;
    uint32_t group_count;
    uint64_t version;
    uint32_t kinds; /* bits; 0: not committed */
};

clv_status clvi_store_create(clvi_device *device, clvi_store **out, clv_error *error)
{
    clvi_store *store = clvi_calloc(1, sizeof *store);
    if (!store)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the table of variables");
    const clv_status status = clvi_arena_create(&store->arena, error);
    if (status != CLV_OK) {
        clvi_free(store);
        return status;
    }
    store->device = device;
    store->version = 1;
    *out = store;
    return CLV_OK;
}

void clvi_store_destroy(clvi_store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->slab_count; i++)
        for (int kind = 0; kind < CLVI_STORE_KINDS; kind++)
            clvi_buf_destroy(store->slabs[i].bufs[kind]);
    clvi_free(store->slabs);
    clvi_free(store->segments);
    clvi_arena_destroy(store->arena);
    clvi_free(store);
}

clv_status clvi_store_add(clvi_store *store, const clv_graph *graph, const char *prefix,
                          clvi_trains (*trains)(void *user, const char *name), void *user,
                          uint32_t *base, clv_error *error)
{
    CLV_ASSERT(store->kinds == 0);
    const size_t first = store->segment_count;
    bool later = false;
    CLV_TRY(clvi_grow((void **)&store->segments, &store->segment_capacity,
                      first + graph->variable_count, sizeof *store->segments, error));
    for (size_t i = 0; i < graph->variable_count; i++) {
        const clvi_variable *v = &graph->variables[i];
        clvi_segment *s = &store->segments[first + i];
        memset(s, 0, sizeof *s);
        s->name = clvi_arena_printf(store->arena, "%s%s", prefix, v->name);
        if (!s->name)
            CLV_FAIL(error, CLV_E_MEMORY, "no memory for the name of %s%s", prefix, v->name);
        s->shape = graph->tensors[v->tensor].shape;
        s->elements = v->elements;
        s->init = v->init;
        s->a = v->a;
        s->is_state = v->is_state;
        s->no_decay = v->no_decay;
        const clvi_trains when = v->is_state ? CLVI_TRAINS_NEVER
                                 : trains    ? trains(user, v->name)
                                             : CLVI_TRAINS;
        s->trainable = when != CLVI_TRAINS_NEVER;
        s->group = store->group_count + (when == CLVI_TRAINS_LATER);
        later |= when == CLVI_TRAINS_LATER;
    }
    store->segment_count = first + graph->variable_count;
    store->group_count += later ? 2 : 1;
    *base = (uint32_t)first;
    return CLV_OK;
}

/* Puts a segment at the end of the last slab of its sort, or begins a new one. */
static clv_status place(clvi_store *store, clvi_segment *s, uint64_t cap, uint64_t unit,
                        clv_error *error)
{
    const uint64_t size = ((uint64_t)s->elements + unit - 1) / unit * unit;
    if (size > cap) {
        char shape[64];
        CLV_FAIL(error, CLV_E_MEMORY,
                 "variable %s %s (%.0f MB) is larger than the largest allocation of %s (%.0f MB)",
                 s->name, clvi_shape_text(&s->shape, shape, sizeof shape), (double)size * 4e-6,
                 clvi_device_get_info(store->device)->name, (double)cap * 4e-6);
    }
    slab *last = store->slab_count ? &store->slabs[store->slab_count - 1] : NULL;
    if (!last || last->trainable != s->trainable || last->elements + size > cap) {
        CLV_TRY(clvi_grow((void **)&store->slabs, &store->slab_capacity, store->slab_count + 1,
                          sizeof *store->slabs, error));
        last = &store->slabs[store->slab_count++];
        memset(last, 0, sizeof *last);
        last->trainable = s->trainable;
        store->trainable_slabs += s->trainable;
    }
    s->slab = (uint32_t)(store->slab_count - 1);
    s->offset = last->elements;
    last->elements += size;
    return CLV_OK;
}

/* Whether a slab has data of a kind. */
static bool has(const slab *s, uint32_t kinds, int kind)
{
    const bool everywhere = kind == CLVI_STORE_VALUE || kind == CLVI_STORE_AVERAGE;
    return (kinds >> kind & 1) != 0 && (s->trainable || everywhere);
}

clv_status clvi_store_commit_kinds(clvi_store *store, uint32_t kinds, clv_error *error)
{
    const clvi_device_info *info = clvi_device_get_info(store->device);
    const uint64_t unit = info->align_bytes / 4, cap = info->max_alloc_bytes / 4 / unit * unit;
    static const char *const labels[] = {"parameters",     "gradients",         "first moments",
                                         "second moments", "sums of gradients", "averages"};
    kinds |= CLVI_STORE_ONLY_VALUES;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < store->segment_count; i++)
            if (store->segments[i].trainable == (pass == 0))
                CLV_TRY(place(store, &store->segments[i], cap, unit, error));
    for (size_t i = 0; i < store->slab_count; i++) {
        slab *s = &store->slabs[i];
        for (int kind = 0; kind < CLVI_STORE_KINDS; kind++) {
            if (!has(s, kinds, kind))
                continue;
            CLV_TRY(clvi_buf_create(store->device, s->elements * 4, labels[kind], &s->bufs[kind],
                                    error));
        }
    }
    /* Behind all that, since creating one waits for what is under way. */
    for (size_t i = 0; i < store->slab_count; i++)
        for (int kind = 0; kind < CLVI_STORE_KINDS; kind++)
            if (store->slabs[i].bufs[kind] != NULL)
                CLV_TRY(clvi_fill(store->device, store->slabs[i].bufs[kind], 0,
                                  store->slabs[i].elements * 4, 0, error));
    store->kinds = kinds;
    return CLV_OK;
}

clv_status clvi_store_commit(clvi_store *store, bool with_gradients, clv_error *error)
{
    return clvi_store_commit_kinds(
        store, with_gradients ? CLVI_STORE_FOR_ADAM : CLVI_STORE_ONLY_VALUES, error);
}

/* In pieces: the largest variable would take as much of the host's memory as of the device's. */
static clv_status initialise_one(clvi_store *store, size_t index, uint64_t seed, clv_error *error)
{
    enum { PIECE = 1 << 20 };
    const clvi_segment *s = &store->segments[index];
    const int64_t most = s->elements < PIECE ? s->elements : PIECE;
    const clvi_view view = clvi_store_view(store, index, CLVI_STORE_VALUE);
    const bool drawn = s->init == CLV_INIT_UNIFORM || s->init == CLV_INIT_NORMAL;
    float *values = clvi_calloc((size_t)most, sizeof *values);
    clvi_text stream = {0};
    clvi_text_printf(&stream, "init/%s", s->name);
    clv_status status = CLV_OK;
    if (!values || stream.failed)
        status =
            clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the values of %s", s->name);
    const clvi_philox_key key =
        status == CLV_OK ? clvi_philox_stream(seed, stream.data) : (clvi_philox_key){0};
    for (int64_t i = 0; status == CLV_OK && !drawn && i < most; i++)
        values[i] = s->init == CLV_INIT_ONES       ? 1.0f
                    : s->init == CLV_INIT_CONSTANT ? (float)s->a
                                                   : 0.0f;
    for (int64_t from = 0; status == CLV_OK && from < s->elements; from += PIECE) {
        const int64_t left = s->elements - from, count = left < PIECE ? left : PIECE;
        if (drawn)
            clvi_draw(s, key, from, count, values);
        status = clvi_upload(store->device, view.buf, (view.offset + (uint64_t)from) * 4, values,
                             (size_t)count * 4, error);
    }
    store->version++;
    clvi_text_fini(&stream);
    clvi_free(values);
    return status;
}

void clvi_store_seed(clvi_store *store, size_t first, size_t count, uint64_t seed)
{
    for (size_t i = first; i < first + count; i++) {
        store->segments[i].seeded = true;
        store->segments[i].seed = seed;
    }
}

clv_status clvi_store_initialise(clvi_store *store, uint64_t seed, clv_error *error)
{
    for (size_t i = 0; i < store->segment_count; i++)
        CLV_TRY(initialise_one(store, i, store->segments[i].seeded ? store->segments[i].seed : seed,
                               error));
    return CLV_OK;
}

size_t clvi_store_count(const clvi_store *store)
{
    return store->segment_count;
}

const clvi_segment *clvi_store_segment(const clvi_store *store, size_t index)
{
    return &store->segments[index];
}

int64_t clvi_store_find(const clvi_store *store, const char *name)
{
    for (size_t i = 0; i < store->segment_count; i++)
        if (strcmp(store->segments[i].name, name) == 0)
            return (int64_t)i;
    return -1;
}

clvi_device *clvi_store_device(const clvi_store *store)
{
    return store->device;
}

clvi_view clvi_store_view(const clvi_store *store, size_t index, clvi_store_kind kind)
{
    const clvi_segment *s = &store->segments[index];
    return (clvi_view){store->slabs[s->slab].bufs[kind], s->offset};
}

size_t clvi_store_slab_count(const clvi_store *store)
{
    return store->trainable_slabs;
}

size_t clvi_store_all_slabs(const clvi_store *store)
{
    return store->slab_count;
}

clvi_buf *clvi_store_slab(const clvi_store *store, size_t slab_index, clvi_store_kind kind)
{
    return store->slabs[slab_index].bufs[kind];
}

uint64_t clvi_store_slab_elements(const clvi_store *store, size_t slab_index)
{
    return store->slabs[slab_index].elements;
}

clv_status clvi_store_read(const clvi_store *store, size_t index, clvi_store_kind kind, float *out,
                           clv_error *error)
{
    const clvi_segment *s = &store->segments[index];
    const clvi_view view = clvi_store_view(store, index, kind);
    if (!view.buf)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s has no data of kind %d", s->name, (int)kind);
    return clvi_download(store->device, view.buf, view.offset * 4, out, (size_t)s->elements * 4,
                         error);
}

clv_status clvi_store_write(clvi_store *store, size_t index, clvi_store_kind kind,
                            const float *values, clv_error *error)
{
    const clvi_segment *s = &store->segments[index];
    const clvi_view view = clvi_store_view(store, index, kind);
    if (!view.buf)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s has no data of kind %d", s->name, (int)kind);
    store->version++;
    return clvi_upload(store->device, view.buf, view.offset * 4, values, (size_t)s->elements * 4,
                       error);
}

clv_status clvi_store_copy(clvi_store *store, clvi_store_kind from, clvi_store_kind to,
                           clv_error *error)
{
    for (size_t i = 0; i < store->slab_count; i++) {
        const slab *s = &store->slabs[i];
        if (s->bufs[from] && s->bufs[to])
            CLV_TRY(
                clvi_copy(store->device, s->bufs[from], 0, s->bufs[to], 0, s->elements * 4, error));
    }
    store->version += to == CLVI_STORE_VALUE;
    return CLV_OK;
}

clv_status clvi_store_zero(clvi_store *store, clvi_store_kind kind, clv_error *error)
{
    for (size_t i = 0; i < store->slab_count; i++)
        if (store->slabs[i].bufs[kind])
            CLV_TRY(clvi_fill(store->device, store->slabs[i].bufs[kind], 0,
                              store->slabs[i].elements * 4, 0, error));
    store->version += kind == CLVI_STORE_VALUE;
    return CLV_OK;
}

void clvi_store_swap_average(clvi_store *store)
{
    for (size_t i = 0; i < store->slab_count; i++) {
        clvi_buf **bufs = store->slabs[i].bufs;
        clvi_buf *value = bufs[CLVI_STORE_VALUE];
        bufs[CLVI_STORE_VALUE] = bufs[CLVI_STORE_AVERAGE];
        bufs[CLVI_STORE_AVERAGE] = value;
    }
    store->version++;
}

bool clvi_store_keeps(const clvi_store *store, clvi_store_kind kind)
{
    return (store->kinds >> kind & 1) != 0;
}

uint64_t clvi_store_bytes(const clvi_store *store)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < store->slab_count; i++)
        for (int kind = 0; kind < CLVI_STORE_KINDS; kind++)
            if (store->slabs[i].bufs[kind])
                sum += clvi_buf_bytes(store->slabs[i].bufs[kind]);
    return sum;
}

uint32_t clvi_store_group_count(const clvi_store *store)
{
    return store->group_count;
}

uint64_t clvi_store_version(const clvi_store *store)
{
    return store->version;
}

void clvi_store_touch(clvi_store *store)
{
    store->version++;
}

int64_t clvi_store_parameters(const clvi_store *store, bool trainable_only)
{
    int64_t sum = 0;
    for (size_t i = 0; i < store->segment_count; i++)
        if (!store->segments[i].is_state && (store->segments[i].trainable || !trainable_only))
            sum += store->segments[i].elements;
    return sum;
}
