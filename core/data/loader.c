/* Batches, prepared ahead of use by worker threads.
 *
 * A ring of SLOTS batches: batch b of a pass is prepared in slot b % SLOTS. Workers claim pieces of
 * a batch (a run of images), in order, as long as the batch's slot is free, and fill them without
 * the lock; the last piece done makes the batch ready. next() takes the batches in order and gives
 * the one before back to the ring. All counters below `lock` are read and written under it; the
 * pixels of a piece belong to the worker that claimed it, and to the consumer once its batch is
 * ready. Which thread decodes what changes no byte: a piece's place follows from the order alone.
 */
#define _POSIX_C_SOURCE 200809L
#include "data/dataset_internal.h"

#include "base/process.h"

#include <pthread.h>

enum { SLOTS = 4, MOST_PIECE = 32 };

typedef struct slot {
    uint8_t *pixels; /* [batch, image_bytes] */
    int32_t *labels;
    uint32_t *ids, *indices;
    bool *bad;          /* [batch] to be skipped */
    size_t left;        /* images not yet done, of those of the batch */
    clv_error error;    /* of the first image that failed, by place in the batch */
    size_t error_place; /* valid where error.status is set */
} slot;

typedef struct worker {
    clvi_loader *loader;
    pthread_t thread;
    clvi_scratch scratch;
} worker;

struct clvi_loader {
    clvi_dataset *data;
    clvi_split split;
    size_t batch, piece; /* images in a batch, in a piece */
    slot slots[SLOTS];
    worker *workers;
    size_t worker_count; /* threads that run */
    uint32_t *order;     /* indices within the split */
    uint32_t *repeats;   /* how often the same index stands before it in the order */
    uint32_t images;     /* in all splits of the data set, used or not */
    size_t order_capacity, repeats_capacity;
    bool no_pixels;      /* leave them out */
    atomic_bool abandon; /* the pass is dropped: claimed pieces need not be finished */

    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    bool lock_made, work_made, ready_made;
    bool stop;
    size_t count;      /* images of the pass */
    size_t claimed;    /* images claimed so far: order[0..claimed) */
    size_t taken;      /* batches given to next(); the last one is still in use */
    size_t busy;       /* workers inside a piece */
    clv_error failure; /* what next() reported: it repeats it until the next pass */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Images of batch `b` of the pass. */
static size_t batch_count(const clvi_loader *loader, size_t b)
{
    const size_t begin = b * loader->batch;
    return begin >= loader->count ? 0 : smaller(loader->batch, loader->count - begin);
}

/* Under the lock: an image is left to claim, and its batch has a slot. The slot of batch b is free
 * when next() has gone past batch b - SLOTS, that is, has taken a batch after it. */
static bool claimable(const clvi_loader *loader)
{
    if (loader->claimed >= loader->count)
        return false;
    const size_t b = loader->claimed / loader->batch;
    return b < SLOTS || b - SLOTS + 1 < loader->taken;
}

/* Fills a place of a batch with image `index` of the split, which stood `repeats` times before in
 * the order. Both are read by the caller: that lets processors fetch what they point to ahead. */
static void fill_place(worker *w, slot *s, size_t place, uint32_t index, uint32_t repeats)
{
    clvi_loader *loader = w->loader;
    clvi_dataset *data = loader->data;
    const clvi_sample *sample = &data->samples[loader->split][index];
    s->labels[place] = (int32_t)sample->label;
    s->ids[place] = sample->id + repeats * loader->images;
    s->indices[place] = index;
    s->bad[place] = false;
    if (loader->no_pixels) {
        s->bad[place] = atomic_load(&data->state[sample->id]) == CLVI_PIXELS_BAD;
        return;
    }
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = clvi_pixels_get(data, sample->id, &w->scratch,
                                              s->pixels + place * data->image_bytes, &error);
    if (status == CLV_OK)
        return;
    s->bad[place] = true;
    if (status == CLV_E_DATA && data->skip_bad) {
        if (error.status != CLV_OK) /* the first time */
            clvi_log(CLVI_LOG_WARN, "%s: skipped", error.message);
        return;
    }
    (void)pthread_mutex_lock(&loader->lock);
    if (s->error.status == CLV_OK || place < s->error_place) {
        s->error = error;
        s->error_place = place;
    }
    (void)pthread_mutex_unlock(&loader->lock);
}

/* Under the lock on entry and exit; claims one piece and fills it without the lock. */
static void do_piece(worker *w)
{
    clvi_loader *loader = w->loader;
    const size_t begin = loader->claimed;
    const size_t b = begin / loader->batch, batch_begin = b * loader->batch;
    const size_t left = batch_begin + batch_count(loader, b) - begin;
    const size_t count = smaller(left, loader->piece);
    slot *s = &loader->slots[b % SLOTS];
    if (begin == batch_begin) {
        s->left = left;
        s->error = (clv_error)CLV_ERROR_INIT;
    }
    loader->claimed += count;
    loader->busy++;
    (void)pthread_mutex_unlock(&loader->lock);
    for (size_t i = 0; i < count && !atomic_load_explicit(&loader->abandon, memory_order_relaxed);
         i++)
        fill_place(w, s, begin - batch_begin + i, loader->order[begin + i],
                   loader->repeats[begin + i]);
    (void)pthread_mutex_lock(&loader->lock);
    loader->busy--;
    s->left -= count;
    if (s->left == 0 || loader->busy == 0)
        (void)pthread_cond_signal(&loader->ready);
}

static void *run_worker(void *argument)
{
    worker *w = argument;
    clvi_loader *loader = w->loader;
    (void)pthread_mutex_lock(&loader->lock);
    while (!loader->stop) {
        if (claimable(loader))
            do_piece(w);
        else
            (void)pthread_cond_wait(&loader->work, &loader->lock);
    }
    (void)pthread_mutex_unlock(&loader->lock);
    return NULL;
}

static clv_status make_slots(clvi_loader *loader, clv_error *error)
{
    const size_t batch = loader->batch;
    for (size_t i = 0; i < SLOTS; i++) {
        slot *s = &loader->slots[i];
        s->pixels = clvi_malloc(batch * loader->data->image_bytes);
        s->labels = clvi_malloc(batch * sizeof *s->labels);
        s->ids = clvi_malloc(batch * sizeof *s->ids);
        s->indices = clvi_malloc(batch * sizeof *s->indices);
        s->bad = clvi_malloc(batch * sizeof *s->bad);
        if (!s->pixels || !s->labels || !s->ids || !s->indices || !s->bad)
            CLV_FAIL(error, CLV_E_MEMORY,
                     "no memory for %d batches of %zu images of %zu bytes; use a smaller batch",
                     SLOTS, batch, loader->data->image_bytes);
    }
    return CLV_OK;
}

static clv_status make_locks(clvi_loader *loader, clv_error *error)
{
    loader->lock_made = pthread_mutex_init(&loader->lock, NULL) == 0;
    loader->work_made = loader->lock_made && pthread_cond_init(&loader->work, NULL) == 0;
    loader->ready_made = loader->work_made && pthread_cond_init(&loader->ready, NULL) == 0;
    if (!loader->ready_made)
        CLV_FAIL(error, CLV_E_MEMORY, "no resources for the loader's locks");
    return CLV_OK;
}

/* One thread is enough to go on with; the error is for having none. */
static clv_status start_workers(clvi_loader *loader, clv_error *error)
{
    const size_t wanted = (size_t)loader->data->workers;
    loader->workers = clvi_calloc(wanted, sizeof *loader->workers);
    if (!loader->workers)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu loader threads", wanted);
    for (size_t i = 0; i < wanted; i++) {
        worker *w = &loader->workers[i];
        w->loader = loader;
        const int code = pthread_create(&w->thread, NULL, run_worker, w);
        if (code != 0 && i == 0)
            return clvi_fail_errno(error, code, CLV_HERE, "no loader thread could be started");
        if (code != 0) {
            clvi_log(CLVI_LOG_WARN, "%zu of %zu loader threads could be started", i, wanted);
            break;
        }
        loader->worker_count++;
    }
    return CLV_OK;
}

static clv_status fill(clvi_loader *loader, clv_error *error)
{
    CLV_TRY(make_slots(loader, error));
    CLV_TRY(make_locks(loader, error));
    return start_workers(loader, error);
}

clv_status clvi_loader_create(clvi_dataset *data, clvi_split split, size_t batch, clvi_loader **out,
                              clv_error *error)
{
    if ((unsigned)split >= CLVI_SPLIT_COUNT || batch < 1)
        CLV_FAIL(error, CLV_E_USAGE, "a loader needs a split and a batch of one or more images");
    if (batch > SIZE_MAX / data->image_bytes)
        CLV_FAIL(error, CLV_E_MEMORY, "a batch of %zu images is too large", batch);
    clvi_loader *loader = clvi_calloc(1, sizeof *loader);
    if (!loader)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for a loader");
    loader->data = data;
    loader->split = split;
    loader->images = (uint32_t)clvi_sources_total(&data->sources);
    loader->batch = batch;
    /* Two pieces or more for each worker, so that none waits long for the last of a batch. */
    const size_t share = batch / (2 * (size_t)data->workers);
    loader->piece = smaller(share > 0 ? share : 1, MOST_PIECE);
    atomic_init(&loader->abandon, false);
    const clv_status status = fill(loader, error);
    if (status != CLV_OK) {
        clvi_loader_destroy(loader);
        return status;
    }
    *out = loader;
    return CLV_OK;
}

static void stop_workers(clvi_loader *loader)
{
    if (loader->worker_count > 0) {
        atomic_store(&loader->abandon, true);
        (void)pthread_mutex_lock(&loader->lock);
        loader->stop = true;
        (void)pthread_cond_broadcast(&loader->work);
        (void)pthread_mutex_unlock(&loader->lock);
    }
    for (size_t i = 0; i < loader->worker_count; i++) {
        (void)pthread_join(loader->workers[i].thread, NULL);
        clvi_free(loader->workers[i].scratch.data);
    }
    clvi_free(loader->workers);
}

void clvi_loader_destroy(clvi_loader *loader)
{
    if (!loader)
        return;
    stop_workers(loader);
    if (loader->ready_made)
        (void)pthread_cond_destroy(&loader->ready);
    if (loader->work_made)
        (void)pthread_cond_destroy(&loader->work);
    if (loader->lock_made)
        (void)pthread_mutex_destroy(&loader->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        clvi_free(loader->slots[i].pixels);
        clvi_free(loader->slots[i].labels);
        clvi_free(loader->slots[i].ids);
        clvi_free(loader->slots[i].indices);
        clvi_free(loader->slots[i].bad);
    }
    clvi_free(loader->order);
    clvi_free(loader->repeats);
    clvi_free(loader);
}

/* Drops the pass under way: afterwards no worker touches order, slots or data. */
static void drop_pass(clvi_loader *loader)
{
    atomic_store(&loader->abandon, true);
    (void)pthread_mutex_lock(&loader->lock);
    loader->count = 0;
    while (loader->busy > 0)
        (void)pthread_cond_wait(&loader->ready, &loader->lock);
    loader->claimed = 0;
    loader->taken = 0;
    (void)pthread_mutex_unlock(&loader->lock);
    atomic_store(&loader->abandon, false);
    clvi_error_clear(&loader->failure);
}

/* Keeps the order and counts what stands in it more than once. */
static clv_status copy_order(clvi_loader *loader, const uint32_t *order, size_t count,
                             clv_error *error)
{
    void *copy = loader->order, *repeats = loader->repeats;
    CLV_TRY(clvi_grow(&copy, &loader->order_capacity, count, sizeof *loader->order, error));
    loader->order = copy;
    CLV_TRY(clvi_grow(&repeats, &loader->repeats_capacity, count, sizeof *loader->repeats, error));
    loader->repeats = repeats;
    uint32_t *seen = clvi_calloc(loader->data->counts[loader->split], sizeof *seen);
    if (!seen)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to begin a pass over %zu images", count);
    for (size_t i = 0; i < count; i++) {
        loader->order[i] = order[i];
        loader->repeats[i] = seen[order[i]]++;
    }
    clvi_free(seen);
    return CLV_OK;
}

void clvi_loader_leave_pixels(clvi_loader *loader)
{
    drop_pass(loader);
    loader->no_pixels = true;
}

clv_status clvi_loader_start(clvi_loader *loader, const uint32_t *order, size_t count,
                             clv_error *error)
{
    return clvi_loader_start_at(loader, order, count, 0, error);
}

clv_status clvi_loader_start_in_order(clvi_loader *loader, clv_error *error)
{
    const size_t count = loader->data->counts[loader->split];
    uint32_t *order = clvi_malloc((count + 1) * sizeof *order);
    if (!order)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to begin a pass over %zu images", count);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    const clv_status status = clvi_loader_start(loader, order, count, error);
    clvi_free(order);
    return status;
}

size_t clvi_loader_position(const clvi_loader *loader)
{
    return smaller(loader->taken * loader->batch, loader->count); /* the caller's own counters */
}

clv_status clvi_loader_start_at(clvi_loader *loader, const uint32_t *order, size_t count,
                                size_t first, clv_error *error)
{
    const size_t images = loader->data->counts[loader->split];
    if (first > count || (first % loader->batch != 0 && first != count))
        CLV_FAIL(error, CLV_E_USAGE, "no batch of %zu images begins at image %zu of %zu",
                 loader->batch, first, count);
    for (size_t i = 0; i < count; i++)
        if (order[i] >= images)
            CLV_FAIL(error, CLV_E_USAGE, "the order names image %lu of %zu in %s",
                     (unsigned long)order[i], images, clvi_split_name(loader->split));
    drop_pass(loader);
    CLV_TRY(copy_order(loader, order, count, error));
    (void)pthread_mutex_lock(&loader->lock);
    loader->count = count;
    loader->claimed = first;
    loader->taken = (first + loader->batch - 1) / loader->batch;
    (void)pthread_cond_broadcast(&loader->work);
    (void)pthread_mutex_unlock(&loader->lock);
    return CLV_OK;
}

/* Closes the gaps that skipped images left; returns how many images remain. */
static size_t compact(const clvi_loader *loader, slot *s, size_t count)
{
    const size_t bytes = loader->data->image_bytes;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (s->bad[i])
            continue;
        if (kept != i) {
            if (!loader->no_pixels)
                memcpy(s->pixels + kept * bytes, s->pixels + i * bytes, bytes);
            s->labels[kept] = s->labels[i];
            s->ids[kept] = s->ids[i];
            s->indices[kept] = s->indices[i];
        }
        kept++;
    }
    return kept;
}

/* Gives the batch in use back and waits for the next one; NULL when the pass is over. */
static slot *take_batch(clvi_loader *loader, size_t *count)
{
    (void)pthread_mutex_lock(&loader->lock);
    const size_t b = loader->taken;
    *count = batch_count(loader, b);
    slot *s = NULL;
    if (*count > 0) {
        s = &loader->slots[b % SLOTS];
        loader->taken++;
        if (claimable(loader))
            (void)pthread_cond_broadcast(&loader->work);
        while (loader->claimed < b * loader->batch + *count || s->left > 0)
            (void)pthread_cond_wait(&loader->ready, &loader->lock);
    }
    (void)pthread_mutex_unlock(&loader->lock);
    return s;
}

clv_status clvi_loader_next(clvi_loader *loader, clvi_batch *out, clv_error *error)
{
    slot *s = NULL;
    size_t count = 0;
    while (loader->failure.status == CLV_OK) {
        s = take_batch(loader, &count);
        if (!s)
            break;
        if (s->error.status != CLV_OK) {
            loader->failure = s->error;
            break;
        }
        count = compact(loader, s, count);
        if (count > 0)
            break;
    }
    if (loader->failure.status != CLV_OK) {
        const clv_error *failure = &loader->failure;
        return clvi_fail(error, (clv_status)failure->status, failure->file, failure->line, "%s",
                         failure->message);
    }
    clvi_batch batch = {0};
    if (s)
        batch = (clvi_batch){count, s->pixels, s->labels, s->ids, s->indices};
    *out = batch;
    return CLV_OK;
}
