/* Trying a training out: everything is made as for a real one, a few steps are timed, nothing is
 * written; see train.h. */
#include "train/trainer.h"

#include "base/clock.h"

#include <math.h>

enum { MOST_STEPS = 30 };
static const double enough_seconds = 3;

/* Seconds of a step of training. The first one, which waits for the loader to begin, counts only
 * where it is the only one. */
static clv_status time_steps(clvi_trainer *t, double *seconds, clv_error *error)
{
    bool done = false;
    CLV_TRY(clvi_trainer_begin_epoch(t, error));
    double begin = clvi_now();
    for (int steps = 1; steps <= MOST_STEPS; steps++) {
        CLV_TRY(clvi_trainer_step(t, &done, error));
        if (done)
            break;
        CLV_TRY(clvi_wait(t->desc->device, error));
        const double now = clvi_now();
        *seconds = (now - begin) / (steps > 1 ? steps - 1 : 1);
        if (now - begin >= enough_seconds || clvi_trainer_cut(t, false) != CLVI_CUT_NONE)
            break;
        if (steps == 1)
            begin = now;
    }
    return CLV_OK;
}

/* Seconds of an image in inference, from pixels; `loader` is of the validation images. */
static clv_status time_images(clvi_trainer *t, clvi_loader *loader, double *seconds,
                              clv_error *error)
{
    CLV_TRY(clvi_loader_start_in_order(loader, error));
    const double begin = clvi_now();
    double now = begin;
    int64_t images = 0;
    for (int i = 0; i < MOST_STEPS && now - begin < enough_seconds / 2; i++) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(loader, &b, error));
        if (b.count == 0)
            break;
        const clvi_mixture_batch batch = {
            .n = (int64_t)b.count, .pixels = b.pixels, .labels = b.labels, .ids = b.ids};
        CLV_TRY(clvi_mixture_infer(t->mixture, &batch, error));
        CLV_TRY(clvi_wait(t->desc->device, error));
        images += (int64_t)b.count;
        now = clvi_now();
    }
    *seconds = images > 0 ? (now - begin) / (double)images : 0;
    return CLV_OK;
}

static clv_status time_inference(clvi_trainer *t, double *seconds, clv_error *error)
{
    clvi_loader *loader;
    CLV_TRY(clvi_loader_create(t->desc->data, CLVI_VAL, (size_t)t->batch, &loader, error));
    const clv_status status = time_images(t, loader, seconds, error);
    clvi_loader_destroy(loader);
    return status;
}

static clv_status try_out(clvi_trainer *t, clvi_trial *out, clv_error *error)
{
    clvi_device_counters before, after;
    const double begin = clvi_now();
    double step = 0, image = 0;
    clvi_device_get_counters(t->desc->device, &before);
    CLV_TRY(clvi_trainer_create(t, error));
    CLV_TRY(clvi_trainer_start(t, error));
    out->warm_seconds = clvi_now() - begin;
    out->trainable = clvi_store_parameters(clvi_mixture_store(t->mixture), true);
    if (out->trainable > 0)
        CLV_TRY(time_steps(t, &step, error));
    CLV_TRY(time_inference(t, &image, error));
    clvi_device_get_counters(t->desc->device, &after);
    const clvi_dataset *data = t->desc->data;
    const double rest =
        image * (double)(clvi_dataset_count(data, CLVI_TRAIN) + clvi_dataset_count(data, CLVI_VAL) +
                         clvi_dataset_count(data, CLVI_TEST));
    const int64_t most = t->batch * t->accumulate, all = (int64_t)t->train_count;
    out->epochs = out->trainable > 0 ? t->epochs : 0;
    out->steps_per_epoch = t->steps_per_epoch;
    out->step_images = most < all ? most : all;
    /* From features, validation costs less than so many steps; making them is paid once. */
    const double batches = ceil((double)t->val_count / (double)t->batch);
    const double val = t->features ? batches * step : (double)t->val_count * image;
    const bool whole = clvi_mixture_kept(t->mixture).experts; /* of all splits, used at the end */
    const double making =
        t->features && !whole ? (double)(t->train_count + t->val_count) * image : 0;
    out->epoch_seconds = (double)t->steps_per_epoch * step + val;
    /* What is not trained is judged once. */
    const int64_t times = out->trainable > 0 ? t->epochs : 1;
    out->seconds = (double)times * out->epoch_seconds + rest + making;
    out->images_per_second = step > 0 ? (double)out->step_images / step : 0;
    out->planned_bytes = clvi_trainer_bytes(t);
    out->device_bytes = after.live_bytes - before.live_bytes;
    return CLV_OK;
}

clv_status clvi_train_try(const clvi_train_desc *desc, clvi_trial *out, clv_error *error)
{
    clvi_trainer t = {.desc = desc, .config = desc->config};
    clvi_trial trial = {0};
    const clv_status status = try_out(&t, &trial, error);
    clvi_trainer_fini(&t);
    if (status == CLV_OK)
        *out = trial;
    return status;
}
