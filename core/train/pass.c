/* Passes over training and validation images; see trainer.h. */
#include "train/trainer.h"

#include "base/clock.h"
#include "train/average.h"

#include <math.h>

clvi_cut clvi_trainer_cut(const clvi_trainer *t, bool time)
{
    if (t->desc->stop && *t->desc->stop)
        return CLVI_CUT_STOP;
    return time && t->deadline > 0 && clvi_now() >= t->deadline ? CLVI_CUT_TIME : CLVI_CUT_NONE;
}

double clvi_trainer_rate(const clvi_trainer *t, int64_t step)
{
    return clvi_schedule_rate(&t->schedule, step) * t->state.plateau.scale;
}

clvi_routed clvi_pass_routed(const clvi_pass *p)
{
    const clvi_running_epoch *s = p->sums;
    return s->wanted + s->unrouted > 0
               ? (clvi_routed){s->count + s->unrouted, s->unrouted, s->wanted, s->dropped}
               : (clvi_routed){0};
}

double clvi_routed_unrouted(const clvi_routed *r)
{
    return r->images > 0 ? (double)r->unrouted / (double)r->images : NAN;
}

double clvi_routed_dropped(const clvi_routed *r)
{
    return r->wanted > 0 ? (double)r->dropped / (double)r->wanted : r->images > 0 ? 0 : NAN;
}

double clvi_pass_mean(const clvi_pass *p, double sum)
{
    return p->sums->count ? sum / (double)p->sums->count : NAN;
}

/* ---- One step ---- */

/* Says that more trains from this epoch on, if it does. */
static void announce_more(const clvi_trainer *t)
{
    const uint32_t epoch = (uint32_t)t->state.epoch;
    const int64_t now = clvi_mixture_training(t->mixture, epoch);
    if (now > clvi_mixture_training(t->mixture, epoch - 1))
        clvi_log(CLVI_LOG_INFO, "epoch %lld: from now on %lld parameters train",
                 (long long)t->state.epoch + 1, (long long)now);
}

clv_status clvi_trainer_begin_epoch(clvi_trainer *t, clv_error *error)
{
    const clvi_running_epoch *r = &t->state.running;
    t->scales[t->state.epoch] = t->state.plateau.scale;
    if (t->state.epoch > 0 && r->steps == 0 && !t->look)
        announce_more(t);
    CLV_TRY(clvi_sampler_order(t->desc->data, t->sampler, t->shuffle_key, (uint32_t)t->state.epoch,
                               t->order, error));
    CLV_TRY(
        clvi_loader_start_at(t->train_loader, t->order, t->train_count, (size_t)r->images, error));
    CLV_TRY(clvi_signal_rows_begin(t->signals, r->steps == 0, error));
    return clvi_mixture_put_metrics(t->mixture, r->metrics, error);
}

/* Gradients of the next batch. *weight: what its samples count, 0 where there is none left. share:
 * what one of them counts in the gradients, 0: the part of its batch. */
static clv_status batch(clvi_trainer *t, double share, double *weight, bool *done, clv_error *error)
{
    clvi_batch b;
    const double begin = clvi_now();
    CLV_TRY(clvi_loader_next(t->train_loader, &b, error));
    t->waited += clvi_now() - begin;
    *done = b.count == 0;
    if (*done)
        return CLV_OK;
    const clvi_mixture_batch batch = {.n = (int64_t)b.count,
                                      .pixels = b.pixels,
                                      .features = clvi_features_of(t->features, CLVI_TRAIN, &b),
                                      .labels = b.labels,
                                      .ids = b.ids,
                                      .epoch = (uint32_t)t->state.epoch,
                                      .share = share};
    *weight += clvi_mixture_weight(t->mixture, b.labels, (int64_t)b.count);
    CLV_TRY(clvi_mixture_step(t->mixture, &batch, error));
    return t->look ? t->look(t, error) : CLV_OK;
}

/* Every so many steps, and at the last one of an epoch, gradients of parameters are looked at. */
enum { LOOK_EVERY = 32 };

/* Adds the gradients of this step, times `factor`, to the signals. */
static clv_status look_at_gradients(clvi_trainer *t, double factor, clv_error *error)
{
    const clvi_store_kind kind = t->accumulate > 1 ? CLVI_STORE_SUM : CLVI_STORE_GRADIENT;
    const int64_t left = t->steps_per_epoch - t->state.running.steps - 1;
    if (!t->signals || left % LOOK_EVERY != 0)
        return CLV_OK;
    return clvi_mixture_look_at_gradients(t->mixture, kind, factor, (uint32_t)t->state.epoch,
                                          error);
}

/* Gradients of several batches in a sum. Each sample counts as in a full step without class
 * weights; the optimiser puts right what the step is short of, by *factor. *done: there was no
 * batch. */
static clv_status several_batches(clvi_trainer *t, double *factor, bool *done, clv_error *error)
{
    const double full = (double)(t->batch * t->accumulate);
    double weight = 0;
    int64_t count;
    for (count = 0; count < t->accumulate; count++) {
        CLV_TRY(batch(t, 1 / full, &weight, done, error));
        if (*done)
            break;
        CLV_TRY(clvi_optimizer_add(t->optimizer, error));
    }
    *done = count == 0;
    *factor = weight > 0 ? full / weight : 0;
    return count > 0 ? clvi_optimizer_set_factor(t->optimizer, *factor, error) : CLV_OK;
}

clv_status clvi_trainer_step(clvi_trainer *t, bool *done, clv_error *error)
{
    double weight = 0, factor = 1;
    CLV_TRY(clvi_mixture_begin_step(t->mixture, error));
    CLV_TRY(t->accumulate > 1 ? several_batches(t, &factor, done, error)
                              : batch(t, 0, &weight, done, error));
    if (*done)
        return CLV_OK;
    CLV_TRY(look_at_gradients(t, factor, error));
    const bool *active = clvi_mixture_active(t->mixture, (uint32_t)t->state.epoch);
    CLV_TRY(clvi_optimizer_step(t->optimizer, clvi_trainer_rate(t, t->state.step), active, error));
    CLV_TRY(clvi_mixture_end_step(t->mixture, error));
    t->state.step++;
    t->state.running.steps++;
    t->state.running.images = (int64_t)clvi_loader_position(t->train_loader);
    if (t->ema <= 0)
        return CLV_OK;
    return clvi_average_step(clvi_mixture_store(t->mixture),
                             clvi_average_decay(t->ema, t->state.step), error);
}

/* ---- Passes ---- */

static void clock_pass(clvi_pass *p)
{
    p->seconds = p->before + clvi_now() - p->began;
}

double clvi_pass_rate(const clvi_pass *p)
{
    return p->seconds > 0 ? (double)(p->sums->count + p->sums->unrouted) / p->seconds : NAN;
}

/* Reads the metrics: where training waits for the device, besides a sparse gate's counts
 * (dispatch.h). */
static clv_status gather(clvi_trainer *t, clvi_pass *p, const char *what, clv_error *error)
{
    clvi_mixture_metrics m;
    CLV_TRY(clvi_mixture_read_metrics(t->mixture, &m, error));
    const double n = (double)m.count;
    p->sums->loss_sum += m.loss * n;
    p->sums->top1_sum += m.top1 * n;
    p->sums->top5_sum += m.top5 * n;
    p->sums->count += m.count;
    p->sums->unrouted += m.unrouted;
    p->sums->wanted += m.wanted;
    p->sums->dropped += m.dropped;
    clock_pass(p);
    if (m.not_finite > 0)
        CLV_FAIL(error, CLV_E_NUMERIC,
                 "epoch %lld, %s: the loss of %lld of %lld images is no finite number after step "
                 "%lld",
                 (long long)t->state.epoch + 1, what, (long long)m.not_finite, (long long)m.count,
                 (long long)t->state.running.steps);
    return CLV_OK;
}

static void report(const clvi_trainer *t, const clvi_pass *p, clvi_progress_phase phase,
                   int64_t begin, int64_t step, int64_t steps)
{
    if (!t->desc->progress)
        return;
    const double seconds = clvi_now() - p->began;
    const double left =
        step > begin ? seconds / (double)(step - begin) * (double)(steps - step) : NAN;
    const clvi_progress progress = {.phase = phase,
                                    .epoch = t->state.epoch + 1,
                                    .epochs = t->epochs,
                                    .step = step,
                                    .steps = steps,
                                    .loss = clvi_pass_mean(p, p->sums->loss_sum),
                                    .top1 = clvi_pass_mean(p, p->sums->top1_sum),
                                    .val_loss = NAN,
                                    .val_top1 = NAN,
                                    .images_per_second = clvi_pass_rate(p),
                                    .seconds = seconds,
                                    .seconds_left = left};
    t->desc->progress(t->desc->user, &progress);
}

/* The metrics on the device become part of the state. They must be finite: otherwise a replay from
 * this checkpoint would begin behind the fault. */
static clv_status keep_metrics(clvi_trainer *t, clvi_pass *p, clv_error *error)
{
    clvi_running_epoch *r = &t->state.running;
    CLV_TRY(clvi_mixture_take_metrics(t->mixture, r->metrics, error));
    CLV_TRY(clvi_signal_rows_take(t->signals, error));
    clock_pass(p);
    return r->metrics[CLVI_METRICS_NOT_FINITE] > 0 ? gather(t, p, "training", error) : CLV_OK;
}

static clv_status run_steps(clvi_trainer *t, clvi_pass *p, clv_error *error)
{
    clvi_running_epoch *r = &t->state.running;
    for (const int64_t begin = r->steps;;) {
        bool done;
        CLV_TRY(clvi_trainer_step(t, &done, error));
        if (done) {
            memset(r->metrics, 0, sizeof r->metrics);
            CLV_TRY(clvi_signal_rows_take(t->signals, error));
            return gather(t, p, "training", error);
        }
        if (r->steps % t->log_every == 0)
            CLV_TRY(gather(t, p, "training", error));
        report(t, p, CLVI_PROGRESS_TRAIN, begin, r->steps, t->steps_per_epoch);
        p->cut = clvi_trainer_cut(t, true);
        if (p->cut != CLVI_CUT_NONE)
            return keep_metrics(t, p, error);
    }
}

clv_status clvi_pass_train(clvi_trainer *t, clvi_pass *p, clv_error *error)
{
    CLV_TRY(clvi_trainer_begin_epoch(t, error));
    *p = (clvi_pass){.sums = &t->state.running, .before = t->epoch_seconds, .began = clvi_now()};
    CLV_TRY(run_steps(t, p, error));
    t->epoch_seconds = p->seconds;
    return CLV_OK;
}

clv_status clvi_pass_read(clvi_trainer *t, clvi_pass *p, clvi_running_epoch *sums, clv_error *error)
{
    const double seconds = p->seconds;
    *sums = *p->sums;
    p->sums = sums;
    CLV_TRY(gather(t, p, "training", error));
    p->seconds = seconds;
    return CLV_OK;
}

static clv_status validate(clvi_trainer *t, clvi_pass *p, clv_error *error)
{
    const int64_t steps = ((int64_t)t->val_count + t->batch - 1) / t->batch;
    for (int64_t step = 0;;) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(t->val_loader, &b, error));
        p->cut = clvi_trainer_cut(t, false);
        if (b.count == 0 || p->cut != CLVI_CUT_NONE)
            return gather(t, p, "validation", error);
        const clvi_mixture_batch batch = {.n = (int64_t)b.count,
                                          .pixels = b.pixels,
                                          .features = clvi_features_of(t->features, CLVI_VAL, &b),
                                          .labels = b.labels,
                                          .ids = b.ids};
        CLV_TRY(clvi_mixture_infer(t->mixture, &batch, error));
        if (t->look)
            CLV_TRY(t->look(t, error));
        report(t, p, CLVI_PROGRESS_VAL, 0, ++step, steps);
    }
}

clv_status clvi_pass_val(clvi_trainer *t, clvi_pass *p, clvi_running_epoch *sums, clv_error *error)
{
    clvi_store *store = clvi_mixture_store(t->mixture);
    *sums = (clvi_running_epoch){0};
    *p = (clvi_pass){.sums = sums, .began = clvi_now()};
    CLV_TRY(clvi_mixture_put_metrics(t->mixture, sums->metrics, error));
    CLV_TRY(clvi_loader_start_in_order(t->val_loader, error));
    if (t->ema > 0)
        clvi_store_swap_average(store);
    t->validating = true;
    const clv_status status = validate(t, p, error);
    t->validating = status != CLV_OK;
    if (t->ema > 0)
        clvi_store_swap_average(store);
    return status;
}
