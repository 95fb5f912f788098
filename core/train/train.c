/* The course of a training: epochs, validation, the best one, checkpoints, the end; see train.h. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/process.h"

#include <math.h>

/* ---- Checkpoints ---- */

/* Notes how long the run has trained until the checkpoint that comes. */
static clv_status note_elapsed(clvi_trainer *t, clv_error *error)
{
    const clvi_elapsed now = {.epoch = t->state.epoch,
                              .step = t->state.step,
                              .epoch_seconds = t->epoch_seconds,
                              .seconds = t->earlier + clvi_now() - t->began};
    CLV_TRY(clvi_elapsed_write(t->desc->run_dir, &t->elapsed, &now, error));
    t->elapsed = now;
    return CLV_OK;
}

/* Saves where training stands. The line in the log is where the log is cut when the run goes on
 * from here (resume.c). */
static clv_status save_last(clvi_trainer *t, clv_error *error)
{
    const bool between = t->state.running.steps == 0;
    if (t->saved_step == t->state.step && t->saved_epoch == between)
        return CLV_OK;
    CLV_TRY(note_elapsed(t, error));
    CLV_TRY(clvi_trainer_save(t, t->last_path, &t->state, error));
    t->saved_step = t->state.step;
    t->saved_epoch = between;
    clvi_log(CLVI_LOG_DEBUG, CLVI_CHECKPOINT_LINE, (long long)t->state.epoch,
             (long long)t->state.step);
    return CLV_OK;
}

/* Ends for a signal: a checkpoint, and a sentence. */
static clv_status interrupted(clvi_trainer *t, clv_error *error)
{
    CLV_TRY(save_last(t, error));
    const long long epoch = (long long)t->state.epoch, step = (long long)t->state.running.steps;
    char run[256];
    clvi_shell_word(t->desc->run_dir, run, sizeof run);
    if (step == 0)
        CLV_FAIL(error, CLV_E_INTERRUPTED,
                 "stopped after epoch %lld of %lld; `conclave train --resume %s` goes on", epoch,
                 (long long)t->epochs, run);
    CLV_FAIL(error, CLV_E_INTERRUPTED,
             "stopped in epoch %lld after step %lld of %lld; `conclave train --resume %s` goes on",
             epoch + 1, step, (long long)t->steps_per_epoch, run);
}

/* ---- Epochs ---- */

/* A row of metrics.csv for the epoch after `state`. */
static clv_status write_row(clvi_trainer *t, const char *split, const clvi_pass *p,
                            clv_error *error)
{
    const bool five = clvi_dataset_class_count(t->desc->data) > 5;
    const clvi_routed routed = clvi_pass_routed(p);
    const clvi_metrics_row row = {
        .epoch = t->state.epoch + 1,
        .step = t->state.step,
        .split = split,
        .loss = clvi_pass_mean(p, p->sums->loss_sum),
        .top1 = clvi_pass_mean(p, p->sums->top1_sum),
        .top5 = five ? clvi_pass_mean(p, p->sums->top5_sum) : NAN,
        .lr = t->state.step > 0 ? clvi_trainer_rate(t, t->state.step - 1) : NAN,
        .seconds = p->seconds,
        .images_per_second = clvi_pass_rate(p),
        .trainable = clvi_mixture_training(t->mixture, (uint32_t)t->state.epoch),
        .dropped = clvi_routed_dropped(&routed),
        .unrouted = clvi_routed_unrouted(&routed)};
    return clvi_metrics_csv_add(t->csv, &row, error);
}

static double monitored(const clvi_trainer *t, const clvi_pass *val)
{
    return clvi_pass_mean(val, t->rule.maximise ? val->sums->top1_sum : val->sums->loss_sum);
}

static void tell_epoch(const clvi_trainer *t, const clvi_pass *train, const clvi_pass *val,
                       bool best)
{
    const clvi_progress progress = {.phase = CLVI_PROGRESS_EPOCH,
                                    .epoch = t->state.epoch + 1,
                                    .epochs = t->epochs,
                                    .step = t->steps_per_epoch,
                                    .steps = t->steps_per_epoch,
                                    .loss = clvi_pass_mean(train, train->sums->loss_sum),
                                    .top1 = clvi_pass_mean(train, train->sums->top1_sum),
                                    .val_loss = clvi_pass_mean(val, val->sums->loss_sum),
                                    .val_top1 = clvi_pass_mean(val, val->sums->top1_sum),
                                    .images_per_second = clvi_pass_rate(train),
                                    .seconds = train->seconds + val->seconds,
                                    .seconds_left = NAN,
                                    .best = best};
    if (t->desc->progress)
        t->desc->progress(t->desc->user, &progress);
}

/* Notes an epoch whose passes are done, and saves what is to be saved. */
static clv_status end_epoch(clvi_trainer *t, const clvi_pass *train, const clvi_pass *val,
                            clv_error *error)
{
    const double figure = monitored(t, val);
    const int64_t every = clvi_config_int(t->config, "train", "checkpoint_every");
    CLV_TRY(write_row(t, "train", train, error));
    CLV_TRY(write_row(t, "val", val, error));
    CLV_TRY(clvi_signal_rows_write(t->signals, t->state.epoch + 1, error));
    const bool best = clvi_early_stop_update(&t->rule, &t->state.stop, t->state.epoch + 1, figure);
    tell_epoch(t, train, val, best);
    t->state.epoch++;
    t->state.routed = clvi_pass_routed(train);
    t->state.running = (clvi_running_epoch){0};
    t->epoch_seconds = 0;
    if (t->plateau_rule.patience > 0 &&
        clvi_plateau_update(&t->plateau_rule, clvi_config_real(t->config, "schedule", "factor"),
                            &t->state.plateau, t->state.epoch, figure))
        clvi_log(CLVI_LOG_INFO, "epoch %lld: no better figure for %lld epochs; learning rate %g",
                 (long long)t->state.epoch, (long long)t->plateau_rule.patience,
                 clvi_trainer_rate(t, t->state.step));
    if (best)
        CLV_TRY(clvi_trainer_save(t, t->best_path, &t->state, error));
    return t->state.epoch % every == 0 || t->state.epoch == t->epochs ? save_last(t, error)
                                                                      : CLV_OK;
}

/* Time is over in the middle of the first epoch: what there is is judged all the same, so that the
 * run has a result. The last checkpoint does not know of it. */
static clv_status judge_unfinished(clvi_trainer *t, clvi_pass *train, clv_error *error)
{
    clvi_pass val;
    clvi_running_epoch seen, sums;
    CLV_TRY(clvi_pass_read(t, train, &seen, error));
    CLV_TRY(clvi_pass_val(t, &val, &sums, error));
    if (val.cut != CLVI_CUT_NONE)
        return interrupted(t, error);
    t->state.routed = clvi_pass_routed(train);
    clvi_train_state state = t->state;
    (void)clvi_early_stop_update(&t->rule, &state.stop, state.epoch + 1, monitored(t, &val));
    state.epoch++;
    state.running = (clvi_running_epoch){0};
    CLV_TRY(write_row(t, "train", train, error));
    CLV_TRY(write_row(t, "val", &val, error));
    CLV_TRY(clvi_signal_rows_write(t->signals, t->state.epoch + 1, error));
    return clvi_trainer_save(t, t->best_path, &state, error);
}

/* One epoch, or what is left of it. *late: time is over. */
static clv_status epoch(clvi_trainer *t, bool *late, clv_error *error)
{
    clvi_pass train, val;
    clvi_running_epoch sums;
    CLV_TRY(clvi_pass_train(t, &train, error));
    if (train.cut == CLVI_CUT_STOP)
        return interrupted(t, error);
    if (train.cut == CLVI_CUT_TIME) {
        *late = true;
        CLV_TRY(save_last(t, error));
        return t->state.stop.best_epoch == 0 ? judge_unfinished(t, &train, error) : CLV_OK;
    }
    CLV_TRY(clvi_pass_val(t, &val, &sums, error));
    return val.cut == CLVI_CUT_NONE ? end_epoch(t, &train, &val, error) : interrupted(t, error);
}

/* Experts that were trained before are fused and nothing is left to train: there is one state to
 * judge, and nothing to go on with. */
static clv_status judge_only(clvi_trainer *t, clv_error *error)
{
    clvi_pass val;
    clvi_running_epoch sums;
    if (t->state.stop.best_epoch > 0)
        return CLV_OK;
    clvi_log(CLVI_LOG_INFO, "nothing is left to train: the experts are fused as they are");
    CLV_TRY(clvi_pass_val(t, &val, &sums, error));
    if (val.cut != CLVI_CUT_NONE)
        return interrupted(t, error);
    (void)clvi_early_stop_update(&t->rule, &t->state.stop, t->state.epoch + 1, monitored(t, &val));
    CLV_TRY(write_row(t, "val", &val, error));
    t->state.epoch = t->epochs;
    CLV_TRY(clvi_trainer_save(t, t->best_path, &t->state, error));
    return save_last(t, error);
}

/* ---- The whole ---- */

static clv_status run_epochs(clvi_trainer *t, clvi_train_result *out, clv_error *error)
{
    if (clvi_store_parameters(clvi_mixture_store(t->mixture), true) == 0)
        return judge_only(t, error);
    while (t->state.epoch < t->epochs && !out->stopped_by) {
        bool late = clvi_trainer_cut(t, true) == CLVI_CUT_TIME && t->state.stop.best_epoch > 0;
        if (clvi_trainer_cut(t, false) == CLVI_CUT_STOP)
            return interrupted(t, error);
        const bool done = clvi_early_stop_done(&t->rule, &t->state.stop);
        if (!late && !done)
            CLV_TRY(epoch(t, &late, error));
        if (!late && !done)
            continue;
        const bool inside = t->state.running.steps > 0;
        out->stopped_by = done ? "patience" : "time";
        clvi_log(CLVI_LOG_INFO, "stopped %s epoch %lld: %s", inside ? "in" : "after",
                 (long long)t->state.epoch + inside,
                 done ? "no better epoch within train.patience" : "train.max_seconds is over");
        CLV_TRY(save_last(t, error));
    }
    return CLV_OK;
}

static clv_status set_up(clvi_trainer *t, clv_error *error)
{
    const double begin = clvi_now(), limit = clvi_config_real(t->config, "train", "max_seconds");
    CLV_TRY(clvi_trainer_open_files(t, error));
    CLV_TRY(clvi_trainer_create(t, error));
    CLV_TRY(t->desc->resume ? clvi_trainer_restore(t, error) : clvi_trainer_start(t, error));
    if (t->desc->resume)
        CLV_TRY(clvi_elapsed_read(t->desc->run_dir, &t->state, &t->elapsed, error));
    t->earlier = t->elapsed.seconds;
    t->epoch_seconds = t->elapsed.epoch_seconds;
    if (t->features) {
        CLV_TRY(
            clvi_features_compute(t->features, t->mixture, t->desc->data, t->desc->stop, error));
        clvi_device_save_programs(t->desc->device); /* some kernels run there for the first time */
    }
    if (t->desc->resume)
        CLV_TRY(clvi_trainer_take_over(t, error));
    t->began = clvi_now();
    t->deadline = limit > 0 ? begin + limit - t->earlier : 0;
    if (t->desc->resume)
        clvi_log(CLVI_LOG_INFO, "going on after epoch %lld, step %lld of the next",
                 (long long)t->state.epoch, (long long)t->state.running.steps);
    return CLV_OK;
}

static clv_status course(clvi_trainer *t, clvi_train_result *out, clv_error *error)
{
    const double begin = clvi_now();
    clv_error cause = CLV_ERROR_INIT;
    CLV_TRY(set_up(t, error));
    out->warm_seconds = t->began - begin;
    const clv_status status = run_epochs(t, out, &cause);
    if (status == CLV_E_NUMERIC)
        return clvi_replay(t, &cause, error);
    if (status != CLV_OK) {
        if (error)
            *error = cause;
        return status;
    }
    out->seconds = t->earlier + clvi_now() - t->began;
    return clvi_trainer_finish(t, out, error);
}

clv_status clvi_train(const clvi_train_desc *desc, clvi_train_result *out, clv_error *error)
{
    clvi_trainer t = {.desc = desc, .config = desc->config};
    clvi_train_result result = {0};
    const clv_status status = course(&t, &result, error);
    clvi_trainer_fini(&t);
    if (status == CLV_OK)
        *out = result;
    return status;
}
