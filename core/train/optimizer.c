/* See optimizer.h; the kernels are in kernels/optimizer.cl. */
#include "train/optimizer.h"

#include "ops/share.h"
#include "runtime/profile.h"

#include <math.h>

enum {
    CHUNK_WORDS = 8, /* a record of the chunk table, see the kernels */
    CHUNK_ELEMENTS = 4096,
    GROUP_FLOATS = 4,
    PIECE_ELEMENTS = 1 << 30 /* of a slab in one launch of a kernel with int indices */
};

/* One slab's share of the work. */
typedef struct slab_work {
    clvi_buf *chunks;
    uint64_t first; /* its first partial sum of squares */
    int32_t count;  /* chunks */
} slab_work;

struct clvi_optimizer {
    clvi_store *store;
    clvi_device *device;
    clvi_optimizer_desc desc;
    slab_work *slabs;
    size_t slab_count;
    uint32_t group_count;
    int64_t *steps;      /* per group */
    float *group_values; /* what is uploaded at each step */
    clvi_buf *groups, *partial, *scale;
    int32_t partial_count;
    int64_t added; /* since the last step */
    double factor;
};

uint32_t clvi_optimizer_kinds(const clvi_optimizer_desc *desc, bool several)
{
    uint32_t kinds = CLVI_STORE_FOR_ADAM;
    if (desc->kind == CLVI_SGD)
        kinds &= ~(1u << CLVI_STORE_MOMENT2);
    if (desc->kind == CLVI_SGD && desc->momentum <= 0)
        kinds &= ~(1u << CLVI_STORE_MOMENT1);
    return several ? kinds | 1u << CLVI_STORE_SUM : kinds;
}

void clvi_optimizer_destroy(clvi_optimizer *o)
{
    if (!o)
        return;
    for (size_t i = 0; o->slabs && i < o->slab_count; i++)
        clvi_buf_destroy(o->slabs[i].chunks);
    clvi_buf_destroy(o->groups);
    clvi_buf_destroy(o->partial);
    clvi_buf_destroy(o->scale);
    clvi_free(o->slabs);
    clvi_free(o->steps);
    clvi_free(o->group_values);
    clvi_free(o);
}

static uint32_t float_bits(double value)
{
    const float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

/* Appends the chunks of a segment to `words` (NULL: only counts). Returns how many. */
static size_t cut(const clvi_optimizer *o, const clvi_segment *s, uint32_t *words)
{
    const bool decays = o->desc.decay_all || !s->no_decay;
    const double multiplier = o->desc.multiplier ? o->desc.multiplier(o->desc.user, s->name) : 1;
    size_t count = 0;
    for (int64_t at = 0; at < s->elements; at += CHUNK_ELEMENTS, count++) {
        if (!words)
            continue;
        uint32_t *record = words + count * CHUNK_WORDS;
        const uint64_t offset = s->offset + (uint64_t)at;
        const int64_t left = s->elements - at;
        record[0] = (uint32_t)offset;
        record[1] = (uint32_t)(offset >> 32);
        record[2] = (uint32_t)(left < CHUNK_ELEMENTS ? left : CHUNK_ELEMENTS);
        record[3] = s->group;
        record[4] = float_bits(multiplier);
        record[5] = float_bits(decays ? o->desc.weight_decay : 0);
    }
    return count;
}

/* Makes and uploads the chunk table of a slab. */
static clv_status cut_slab(clvi_optimizer *o, size_t index, clv_error *error)
{
    slab_work *slab = &o->slabs[index];
    const size_t segments = clvi_store_count(o->store);
    size_t count = 0;
    for (size_t i = 0; i < segments; i++) {
        const clvi_segment *s = clvi_store_segment(o->store, i);
        if (s->trainable && s->slab == index)
            count += cut(o, s, NULL);
    }
    const size_t bytes = count * CHUNK_WORDS * sizeof(uint32_t);
    uint32_t *words = clvi_calloc(count, CHUNK_WORDS * sizeof *words);
    if (!words)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the optimiser's table of %zu chunks", count);
    size_t done = 0;
    for (size_t i = 0; i < segments; i++) {
        const clvi_segment *s = clvi_store_segment(o->store, i);
        if (s->trainable && s->slab == index)
            done += cut(o, s, words + done * CHUNK_WORDS);
    }
    clv_status status =
        clvi_buf_create(o->device, bytes, "optimiser's chunks", &slab->chunks, error);
    if (status == CLV_OK)
        status = clvi_upload(o->device, slab->chunks, 0, words, bytes, error);
    clvi_free(words);
    slab->count = (int32_t)count;
    slab->first = (uint64_t)o->partial_count;
    o->partial_count += slab->count;
    return status;
}

static clv_status set_up(clvi_optimizer *o, clv_error *error)
{
    o->slab_count = clvi_store_slab_count(o->store);
    o->group_count = clvi_store_group_count(o->store);
    o->slabs = clvi_calloc(o->slab_count, sizeof *o->slabs);
    o->steps = clvi_calloc(o->group_count, sizeof *o->steps);
    o->group_values = clvi_calloc(o->group_count, GROUP_FLOATS * sizeof *o->group_values);
    if (!o->slabs || !o->steps || !o->group_values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the optimiser of %u groups", o->group_count);
    for (size_t i = 0; i < o->slab_count; i++)
        CLV_TRY(cut_slab(o, i, error));
    if (o->partial_count == 0)
        return CLV_OK; /* nothing is trainable */
    const size_t groups_bytes = o->group_count * GROUP_FLOATS * sizeof(float);
    CLV_TRY(clvi_buf_create(o->device, groups_bytes, "optimiser's groups", &o->groups, error));
    CLV_TRY(clvi_buf_create(o->device, (size_t)o->partial_count * sizeof(float), "optimiser's sums",
                            &o->partial, error));
    CLV_TRY(clvi_buf_create(o->device, sizeof(float), "gradient scale", &o->scale, error));
    return clvi_fill(o->device, o->scale, 0, sizeof(float), float_bits(1), error);
}

clv_status clvi_optimizer_create(clvi_store *store, const clvi_optimizer_desc *desc,
                                 clvi_optimizer **out, clv_error *error)
{
    clvi_optimizer *o = clvi_calloc(1, sizeof *o);
    if (!o)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the optimiser");
    o->store = store;
    o->device = clvi_store_device(store);
    o->desc = *desc;
    o->factor = 1;
    const clv_status status = set_up(o, error);
    if (status != CLV_OK) {
        clvi_optimizer_destroy(o);
        return status;
    }
    *out = o;
    return CLV_OK;
}

/* Uploads rates and corrections of all groups. `moving` false: no group is stepped. */
static clv_status upload_groups(clvi_optimizer *o, double lr, const bool *active, bool moving,
                                clv_error *error)
{
    for (uint32_t g = 0; g < o->group_count; g++) {
        float *values = o->group_values + g * GROUP_FLOATS;
        const bool stepped = moving && (!active || active[g]);
        const double t = (double)(o->steps[g] + 1);
        values[0] = (float)(lr / (1 - pow(o->desc.betas[0], t)));
        values[1] = (float)(1 / sqrt(1 - pow(o->desc.betas[1], t)));
        values[2] = (float)lr;
        values[3] = stepped ? 1.0f : 0.0f;
    }
    return clvi_upload(o->device, o->groups, 0, o->group_values,
                       o->group_count * GROUP_FLOATS * sizeof(float), error);
}

/* Which gradients the next step takes. */
static clvi_store_kind source(const clvi_optimizer *o)
{
    return o->added > 0 ? CLVI_STORE_SUM : CLVI_STORE_GRADIENT;
}

static clv_status clip(clvi_optimizer *o, clv_error *error)
{
    clvi_launch l;
    for (size_t i = 0; i < o->slab_count; i++) {
        const slab_work *slab = &o->slabs[i];
        const clvi_share share = clvi_share_of(slab->count, CHUNK_ELEMENTS, 1);
        clvi_launch_begin(&l, o->device, "optimizer", "optimizer_squares", "");
        clvi_arg_view(&l, (clvi_view){o->partial, slab->first});
        clvi_arg_view(&l, (clvi_view){clvi_store_slab(o->store, i, source(o)), 0});
        clvi_arg_view(&l, (clvi_view){slab->chunks, 0});
        clvi_arg_view(&l, (clvi_view){o->groups, 0});
        clvi_arg_int(&l, slab->count);
        clvi_arg_int(&l, share.items);
        CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    }
    clvi_launch_begin(&l, o->device, "optimizer", "optimizer_clip", "");
    clvi_arg_view(&l, (clvi_view){o->scale, 0});
    clvi_arg_view(&l, (clvi_view){o->partial, 0});
    clvi_arg_int(&l, o->partial_count);
    clvi_arg_float(&l, (float)o->desc.clip_norm);
    clvi_arg_float(&l, (float)o->factor);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

static clv_status launch_slab(const clvi_optimizer *o, size_t index, clv_error *error)
{
    const slab_work *slab = &o->slabs[index];
    const clvi_optimizer_desc *d = &o->desc;
    const clvi_share share = clvi_share_of(slab->count, CHUNK_ELEMENTS, 1);
    const bool sgd = d->kind == CLVI_SGD;
    const clvi_store_kind kinds[] = {CLVI_STORE_VALUE, CLVI_STORE_MOMENT1, CLVI_STORE_MOMENT2,
                                     source(o)};
    clvi_launch l;
    clvi_launch_begin(&l, o->device, "optimizer", sgd ? "optimizer_sgd" : "optimizer_adamw", "");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!sgd || kinds[k] != CLVI_STORE_MOMENT2)
            clvi_arg_view(&l, (clvi_view){clvi_store_slab(o->store, index, kinds[k]), 0});
    clvi_arg_view(&l, (clvi_view){slab->chunks, 0});
    clvi_arg_view(&l, (clvi_view){o->groups, 0});
    clvi_arg_view(&l, (clvi_view){o->scale, 0});
    clvi_arg_int(&l, slab->count);
    if (sgd) {
        clvi_arg_float(&l, (float)d->momentum);
        clvi_arg_int(&l, d->nesterov);
    } else {
        clvi_arg_float(&l, (float)(1 - d->betas[0]));
        clvi_arg_float(&l, (float)(1 - d->betas[1]));
        clvi_arg_float(&l, (float)d->eps);
        clvi_arg_int(&l, d->kind == CLVI_ADAM);
    }
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status launch_steps(clvi_optimizer *o, clv_error *error)
{
    if (o->desc.clip_norm > 0)
        CLV_TRY(clip(o, error));
    for (size_t i = 0; i < o->slab_count; i++)
        CLV_TRY(launch_slab(o, i, error));
    return CLV_OK;
}

/* sum += gradient, over a slab. */
static clv_status add_slab(clvi_optimizer *o, size_t index, clv_error *error)
{
    const uint64_t elements = clvi_store_slab_elements(o->store, index);
    clvi_buf *sum = clvi_store_slab(o->store, index, CLVI_STORE_SUM);
    clvi_buf *gradient = clvi_store_slab(o->store, index, CLVI_STORE_GRADIENT);
    for (uint64_t at = 0; at < elements; at += PIECE_ELEMENTS) {
        const uint64_t left = elements - at;
        CLV_TRY(clvi_add_into(o->device, (clvi_view){sum, at}, (clvi_view){gradient, at},
                              (int64_t)(left < PIECE_ELEMENTS ? left : PIECE_ELEMENTS), error));
    }
    return CLV_OK;
}

clv_status clvi_optimizer_add(clvi_optimizer *o, clv_error *error)
{
    CLV_ASSERT(clvi_store_keeps(o->store, CLVI_STORE_SUM));
    if (o->added == 0)
        CLV_TRY(clvi_store_copy(o->store, CLVI_STORE_GRADIENT, CLVI_STORE_SUM, error));
    for (size_t i = 0; o->added > 0 && i < o->slab_count; i++)
        CLV_TRY(add_slab(o, i, error));
    o->added++;
    return CLV_OK;
}

clv_status clvi_optimizer_set_factor(clvi_optimizer *o, double factor, clv_error *error)
{
    const bool same = factor == o->factor;
    o->factor = factor;
    if (same || o->partial_count == 0 || o->desc.clip_norm > 0) /* clipping takes it up itself */
        return CLV_OK;
    return clvi_fill(o->device, o->scale, 0, sizeof(float), float_bits(factor), error);
}

clv_status clvi_optimizer_step(clvi_optimizer *o, double lr, const bool *active, clv_error *error)
{
    if (o->partial_count == 0)
        return CLV_OK;
    clvi_profile_enter_part(o->device, "optimizer", "step");
    CLV_TRY(upload_groups(o, lr, active, true, error));
    CLV_TRY(launch_steps(o, error));
    for (uint32_t g = 0; g < o->group_count; g++)
        o->steps[g] += !active || active[g];
    o->added = 0;
    clvi_store_touch(o->store);
    return CLV_OK;
}

clv_status clvi_optimizer_warm(clvi_optimizer *o, clv_error *error)
{
    if (o->partial_count == 0)
        return CLV_OK;
    CLV_TRY(upload_groups(o, 0, NULL, false, error));
    for (int i = 0; i < 2 && clvi_store_keeps(o->store, CLVI_STORE_SUM); i++)
        CLV_TRY(clvi_optimizer_add(o, error)); /* the first copies, the second adds */
    CLV_TRY(launch_steps(o, error));
    o->added = 0;
    return CLV_OK;
}

int64_t clvi_optimizer_group_steps(const clvi_optimizer *o, uint32_t group)
{
    CLV_ASSERT(group < o->group_count);
    return o->steps[group];
}

void clvi_optimizer_set_group_steps(clvi_optimizer *o, uint32_t group, int64_t steps)
{
    CLV_ASSERT(group < o->group_count);
    o->steps[group] = steps;
}

uint64_t clvi_optimizer_bytes(const clvi_optimizer *o)
{
    clvi_buf *const bufs[] = {o->groups, o->partial, o->scale};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        sum += bufs[i] ? clvi_buf_bytes(bufs[i]) : 0;
    for (size_t i = 0; i < o->slab_count; i++)
        sum += o->slabs[i].chunks ? clvi_buf_bytes(o->slabs[i].chunks) : 0;
    return sum;
}
