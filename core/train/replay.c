/* Finding where a number that is not finite came from; see trainer.h. The steps since the last
 * checkpoint run again with the same bits, and everything that is written is looked at. */
#include "train/trainer.h"

#include "base/process.h"

#include <stdio.h>

/* Counters for the variables of the store. */
typedef struct watcher {
    clvi_buf *counts;
    uint32_t *words;
    size_t variables;
} watcher;

static const char advice[] = "try a smaller optimizer.lr, or optimizer.clip_norm = 1";

/* "epoch 3, step 12 of 90": the step that runs or has just run. */
static const char *place(const clvi_trainer *t, bool running, char *out, size_t bytes)
{
    const char *pass = t->validating ? "validation after " : "";
    snprintf(out, bytes, "epoch %lld, %sstep %lld of %lld", (long long)t->state.epoch + 1, pass,
             (long long)t->state.running.steps + (running && !t->validating),
             (long long)t->steps_per_epoch);
    return out;
}

/* After the backward pass of a batch, or inference. */
static clv_status look_at_batch(clvi_trainer *t, clv_error *error)
{
    char where[96];
    const char *network;
    clvi_finding f;
    CLV_TRY(clvi_mixture_watched(t->mixture, !t->validating, &network, &f, error));
    if (!f.found)
        return CLV_OK;
    if (f.backward)
        CLV_FAIL(error, CLV_E_NUMERIC,
                 "%s: the loss is finite, but backward of %s (%s) of %s is the first to write what "
                 "is not: %lld numbers of the gradient of %s; %s",
                 place(t, true, where, sizeof where), f.node, f.op, network, (long long)f.count,
                 f.tensor, advice);
    CLV_FAIL(error, CLV_E_NUMERIC,
             "%s: %s (%s) of %s is the first to write what is not finite: %lld numbers of its "
             "output; %s",
             place(t, true, where, sizeof where), f.node, f.op, network, (long long)f.count,
             advice);
}

/* Fails where a variable has something that is not finite. `begun`: a step has just run. */
static clv_status look_at_variables(clvi_trainer *t, watcher *w, bool begun, clv_error *error)
{
    clvi_store *store = clvi_mixture_store(t->mixture);
    clvi_device *device = t->desc->device;
    const size_t bytes = w->variables * sizeof *w->words;
    CLV_TRY(clvi_fill(device, w->counts, 0, bytes, 0, error));
    for (size_t i = 0; i < w->variables; i++)
        CLV_TRY(clvi_finite_count(device, w->counts, i, clvi_store_view(store, i, CLVI_STORE_VALUE),
                                  clvi_store_segment(store, i)->elements, error));
    CLV_TRY(clvi_download(device, w->counts, 0, w->words, bytes, error));
    for (size_t i = 0; i < w->variables; i++) {
        char where[96];
        const clvi_segment *s = clvi_store_segment(store, i);
        if (w->words[i] == 0)
            continue;
        if (!begun)
            CLV_FAIL(error, CLV_E_NUMERIC,
                     "%s was not finite before the first step: %llu of its %lld numbers", s->name,
                     (unsigned long long)w->words[i], (long long)s->elements);
        CLV_FAIL(error, CLV_E_NUMERIC,
                 "%s: loss and gradients are finite, but the step made %llu of the %lld numbers of "
                 "%s not finite; %s",
                 place(t, false, where, sizeof where), (unsigned long long)w->words[i],
                 (long long)s->elements, s->name, advice);
    }
    return CLV_OK;
}

/* Runs the steps again, up to step `last`. CLV_E_NUMERIC: found. */
static clv_status run_again(clvi_trainer *t, watcher *w, int64_t last, clv_error *error)
{
    CLV_TRY(look_at_variables(t, w, false, error));
    for (bool done = true; t->state.step < last && clvi_trainer_cut(t, false) == CLVI_CUT_NONE;) {
        if (done) {
            if (t->state.epoch >= t->epochs)
                break;
            t->state.plateau.scale = t->scales[t->state.epoch];
            CLV_TRY(clvi_trainer_begin_epoch(t, error));
        }
        CLV_TRY(clvi_trainer_step(t, &done, error));
        if (!done) {
            CLV_TRY(look_at_variables(t, w, true, error));
            continue;
        }
        t->state.epoch++;
        t->state.running = (clvi_running_epoch){0};
    }
    return CLV_OK;
}

static clv_status open_watcher(clvi_trainer *t, watcher *w, clv_error *error)
{
    w->variables = clvi_store_count(clvi_mixture_store(t->mixture));
    w->words = clvi_malloc((w->variables + 1) * sizeof *w->words);
    if (!w->words)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look for what is not finite");
    CLV_TRY(clvi_mixture_watch(t->mixture, error));
    return clvi_buf_create(t->desc->device, (w->variables + 1) * sizeof *w->words,
                           "counts of what is not finite", &w->counts, error);
}

/* The steps again and, where it failed, the validation behind them. */
static clv_status search(clvi_trainer *t, watcher *w, clv_error *error)
{
    const int64_t last = t->state.step;
    const bool validation = t->validating;
    clvi_pass pass;
    clvi_running_epoch sums;
    t->validating = false;
    CLV_TRY(open_watcher(t, w, error));
    CLV_TRY(clvi_trainer_restore(t, error));
    t->look = look_at_batch;
    CLV_TRY(run_again(t, w, last, error));
    return validation ? clvi_pass_val(t, &pass, &sums, error) : CLV_OK;
}

clv_status clvi_replay(clvi_trainer *t, const clv_error *cause, clv_error *error)
{
    watcher w = {0};
    clv_error found = CLV_ERROR_INIT;
    clvi_log(CLVI_LOG_INFO, "%s; looking for the first: the steps since the last checkpoint again",
             cause->message);
    const clv_status status = search(t, &w, &found);
    t->look = NULL;
    clvi_buf_destroy(w.counts);
    clvi_free(w.words);
    if (status == CLV_E_NUMERIC)
        CLV_FAIL(error, status, "%s", found.message);
    if (status != CLV_OK)
        clvi_log(CLVI_LOG_WARN, "the steps could not be run again: %s", found.message);
    CLV_FAIL(error, CLV_E_NUMERIC, "%s; %s", cause->message, advice);
}
