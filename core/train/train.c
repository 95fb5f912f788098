/* See train.h. */
#include "train/train.h"

#include "base/clock.h"
#include "base/philox.h"
#include "base/process.h"
#include "train/checkpoint.h"
#include "train/run_dir.h"
#include "train/run_files.h"
#include "train/schedule.h"

#include <math.h>

typedef struct trainer {
    const clvi_train_desc *desc;
    const clvi_config *config;
    clvi_mixture *mixture;
    clvi_optimizer *optimizer;
    clvi_loader *train_loader, *val_loader;
    clvi_metrics_csv *csv;
    clvi_text dump; /* resolved configuration */
    char *best_path, *last_path;
    uint32_t *order;
    size_t train_count, val_count;
    int64_t batch, steps_per_epoch, epochs, log_every;
    clvi_schedule schedule;
    clvi_early_stop_rule rule;
    clvi_train_state state;
    clvi_philox_key shuffle_key;
    double began; /* clock when training began */
} trainer;

clvi_data_options clvi_train_data_options(const clvi_config *config)
{
    const char *channels = clvi_config_text(config, "data", "channels");
    const char *cache = clvi_config_text(config, "data", "cache");
    static const char *const keys[CLVI_SPLIT_COUNT] = {"train", "val", "test"};
    clvi_data_options o = {
        .path = clvi_config_text(config, "data", "path"),
        .val_fraction = clvi_config_real(config, "data", "val_fraction"),
        .split_seed = (uint64_t)clvi_config_int(config, "data", "split_seed"),
        .limit_per_class = clvi_config_int(config, "data", "limit_per_class"),
        .keep_duplicates = !clvi_config_bool(config, "data", "dedup"),
        .channels = strcmp(channels, "auto") == 0 ? 0 : channels[0] - '0',
        .workers = (int)clvi_config_int(config, "data", "workers"),
        .no_cache = strcmp(cache, "none") == 0,
        .skip_bad = strcmp(clvi_config_text(config, "data", "on_bad"), "skip") == 0};
    clvi_config_size(config, "data", "image_size", &o.height, &o.width);
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        const char *folder = clvi_config_text(config, "data", keys[s]);
        o.split_folder[s] = *folder ? folder : NULL;
    }
    return o;
}

/* ---- Setting up --------------------------------------------------------------------------------- */

static clv_status create_mixture(trainer *t, clv_error *error)
{
    clvi_dataset *data = t->desc->data;
    clvi_mixture_desc desc = {.config = t->config,
                              .plugins = t->desc->plugins,
                              .device = t->desc->device,
                              .classes = (int)clvi_dataset_class_count(data),
                              .channels = clvi_dataset_channels(data),
                              .max_batch = t->batch,
                              .train = true};
    clvi_dataset_size(data, &desc.height, &desc.width);
    return clvi_mixture_create(&desc, &t->mixture, error);
}

static clv_status create_optimizer(trainer *t, clv_error *error)
{
    size_t count;
    const double *betas = clvi_config_reals(t->config, "optimizer", "betas", &count);
    const clvi_adamw_desc desc = {
        .betas = {betas[0], betas[1]},
        .eps = clvi_config_real(t->config, "optimizer", "eps"),
        .weight_decay = clvi_config_real(t->config, "optimizer", "weight_decay"),
        .clip_norm = clvi_config_real(t->config, "optimizer", "clip_norm"),
        .decay_all =
            strcmp(clvi_config_text(t->config, "optimizer", "weight_decay_on"), "all") == 0};
    return clvi_optimizer_create(clvi_mixture_store(t->mixture), &desc, &t->optimizer, error);
}

/* Numbers of the schedule that follow from data and configuration. */
static clv_status plan_course(trainer *t, clv_error *error)
{
    const clvi_config *c = t->config;
    const double lr = clvi_config_real(c, "optimizer", "lr");
    t->train_count = clvi_dataset_count(t->desc->data, CLVI_TRAIN);
    t->val_count = clvi_dataset_count(t->desc->data, CLVI_VAL);
    t->batch = clvi_config_int(c, "train", "batch");
    t->epochs = clvi_config_int(c, "train", "epochs");
    t->log_every = clvi_config_int(c, "train", "log_every");
    if (t->train_count == 0 || t->val_count == 0)
        return clvi_config_fail(c, "data", "path", error,
                                "there are %zu training and %zu validation images; training needs "
                                "both (see data.val and data.val_fraction)",
                                t->train_count, t->val_count);
    if (t->batch > (int64_t)t->train_count)
        t->batch = (int64_t)t->train_count;
    t->steps_per_epoch = ((int64_t)t->train_count + t->batch - 1) / t->batch;
    const int64_t steps = t->steps_per_epoch * t->epochs;
    const bool cosine = strcmp(clvi_config_text(c, "schedule", "kind"), "cosine") == 0;
    t->schedule =
        (clvi_schedule){.kind = cosine ? CLVI_SCHEDULE_COSINE : CLVI_SCHEDULE_CONSTANT,
                        .lr = lr,
                        .final_lr = clvi_config_real(c, "schedule", "final_lr"),
                        .warmup_steps = clvi_schedule_warmup_steps(
                            clvi_config_real(c, "schedule", "warmup_epochs"), t->steps_per_epoch,
                            steps),
                        .steps = steps};
    t->rule = (clvi_early_stop_rule){
        .maximise = strcmp(clvi_config_text(c, "train", "monitor"), "val_accuracy") == 0,
        .patience = clvi_config_int(c, "train", "patience"),
        .min_delta = clvi_config_real(c, "train", "min_delta")};
    t->shuffle_key =
        clvi_philox_stream((uint64_t)clvi_config_int(c, "run", "seed"), "shuffle");
    return CLV_OK;
}

static clv_status open_files(trainer *t, clv_error *error)
{
    clvi_config_dump(t->config, &t->dump);
    t->best_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_BEST);
    t->last_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_LAST);
    char *config_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_CONFIG);
    char *csv_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_METRICS);
    clv_status status = CLV_OK;
    if (t->dump.failed || !t->best_path || !t->last_path || !config_path || !csv_path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the names of the run");
    if (status == CLV_OK)
        status = clvi_file_write(config_path, t->dump.data, t->dump.length, error);
    if (status == CLV_OK)
        status = clvi_metrics_csv_open(csv_path, &t->csv, error);
    clvi_free(config_path);
    clvi_free(csv_path);
    return status;
}

/* Says in the log what will be trained and how long the way is. */
static void announce(const trainer *t)
{
    const clvi_config *c = t->config;
    const int64_t parameters = clvi_store_parameters(clvi_mixture_store(t->mixture), false);
    for (size_t i = 0; i < clvi_mixture_expert_count(t->mixture); i++)
        clvi_log(CLVI_LOG_INFO, "expert %s: plugin %s, input %s", clvi_config_expert_name(c, i),
                 clvi_config_text(c, clvi_config_expert_section(c, i), "plugin"),
                 clvi_mixture_preprocessing(t->mixture, i));
    clvi_log(CLVI_LOG_INFO,
             "training: %lld parameters; an epoch is %lld steps of %lld images; train.epochs = %lld",
             (long long)parameters, (long long)t->steps_per_epoch, (long long)t->batch,
             (long long)t->epochs);
}

/* Compiles and caches all kernels, then starts variables and optimiser afresh. */
static clv_status warm(trainer *t, clv_error *error)
{
    CLV_TRY(clvi_mixture_warm(t->mixture, error));
    CLV_TRY(clvi_optimizer_warm(t->optimizer, error));
    CLV_TRY(clvi_wait(t->desc->device, error));
    clvi_device_save_programs(t->desc->device);
    return CLV_OK;
}

static clv_status set_up(trainer *t, clv_error *error)
{
    CLV_TRY(plan_course(t, error));
    CLV_TRY(create_mixture(t, error));
    CLV_TRY(create_optimizer(t, error));
    announce(t);
    CLV_TRY(warm(t, error));
    CLV_TRY(open_files(t, error));
    CLV_TRY(clvi_loader_create(t->desc->data, CLVI_TRAIN, (size_t)t->batch, &t->train_loader,
                               error));
    CLV_TRY(clvi_loader_create(t->desc->data, CLVI_VAL, (size_t)t->batch, &t->val_loader, error));
    const size_t most = t->train_count > t->val_count ? t->train_count : t->val_count;
    t->order = clvi_malloc(most * sizeof *t->order);
    if (!t->order)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the order of %zu images", most);
    return CLV_OK;
}

static void tear_down(trainer *t)
{
    clvi_loader_destroy(t->train_loader);
    clvi_loader_destroy(t->val_loader);
    clvi_metrics_csv_close(t->csv);
    clvi_optimizer_destroy(t->optimizer);
    clvi_mixture_destroy(t->mixture);
    clvi_text_fini(&t->dump);
    clvi_free(t->best_path);
    clvi_free(t->last_path);
    clvi_free(t->order);
}

/* ---- Passes ------------------------------------------------------------------------------------- */

/* Figures of one pass over a split, gathered at every read of the metrics. */
typedef struct pass {
    double loss_sum, top1_sum, top5_sum;
    int64_t count;
    double began, seconds;
} pass;

static clv_status gather(trainer *t, pass *p, int64_t step, clv_error *error)
{
    clvi_mixture_metrics m;
    CLV_TRY(clvi_mixture_read_metrics(t->mixture, &m, error));
    const double n = (double)m.count;
    p->loss_sum += m.loss * n, p->top1_sum += m.top1 * n, p->top5_sum += m.top5 * n;
    p->count += m.count;
    p->seconds = clvi_now() - p->began;
    if (m.not_finite > 0)
        CLV_FAIL(error, CLV_E_NUMERIC,
                 "epoch %lld, step %lld: the loss of %lld images is no finite number; try a smaller "
                 "optimizer.lr or optimizer.clip_norm = 1",
                 (long long)t->state.epoch + 1, (long long)step, (long long)m.not_finite);
    return CLV_OK;
}

static double mean(double sum, const pass *p)
{
    return p->count ? sum / (double)p->count : NAN;
}

static void report(const trainer *t, const pass *p, clvi_progress_phase phase, int64_t step,
                   int64_t steps)
{
    if (!t->desc->progress)
        return;
    const double seconds = clvi_now() - p->began;
    const clvi_progress progress = {.phase = phase,
                                    .epoch = t->state.epoch + 1,
                                    .epochs = t->epochs,
                                    .step = step,
                                    .steps = steps,
                                    .loss = mean(p->loss_sum, p),
                                    .top1 = mean(p->top1_sum, p),
                                    .val_loss = NAN,
                                    .val_top1 = NAN,
                                    .images_per_second =
                                        p->seconds > 0 ? (double)p->count / p->seconds : NAN,
                                    .seconds = seconds,
                                    .seconds_left =
                                        step ? seconds / (double)step * (double)(steps - step) : NAN};
    t->desc->progress(t->desc->user, &progress);
}

static clv_status train_pass(trainer *t, pass *p, double *lr, clv_error *error)
{
    clvi_philox_shuffle(t->shuffle_key, (uint32_t)t->state.epoch, (uint32_t)t->train_count, t->order);
    CLV_TRY(clvi_loader_start(t->train_loader, t->order, t->train_count, error));
    *p = (pass){.began = clvi_now()};
    for (int64_t step = 0;;) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(t->train_loader, &b, error));
        if (b.count == 0)
            return gather(t, p, step, error);
        const clvi_mixture_batch batch = {.n = (int64_t)b.count,
                                          .pixels = b.pixels,
                                          .labels = b.labels,
                                          .ids = b.ids,
                                          .epoch = (uint32_t)t->state.epoch};
        CLV_TRY(clvi_mixture_step(t->mixture, &batch, error));
        *lr = clvi_schedule_rate(&t->schedule, t->state.step);
        CLV_TRY(clvi_optimizer_step(t->optimizer, *lr, NULL, error));
        t->state.step++;
        step++;
        if (step % t->log_every == 0)
            CLV_TRY(gather(t, p, step, error));
        report(t, p, CLVI_PROGRESS_TRAIN, step, t->steps_per_epoch);
    }
}

static clv_status val_pass(trainer *t, pass *p, clv_error *error)
{
    const int64_t steps = ((int64_t)t->val_count + t->batch - 1) / t->batch;
    for (size_t i = 0; i < t->val_count; i++)
        t->order[i] = (uint32_t)i;
    CLV_TRY(clvi_loader_start(t->val_loader, t->order, t->val_count, error));
    *p = (pass){.began = clvi_now()};
    for (int64_t step = 0;;) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(t->val_loader, &b, error));
        if (b.count == 0)
            return gather(t, p, step, error);
        const clvi_mixture_batch batch = {
            .n = (int64_t)b.count, .pixels = b.pixels, .labels = b.labels, .ids = b.ids};
        CLV_TRY(clvi_mixture_infer(t->mixture, &batch, error));
        report(t, p, CLVI_PROGRESS_VAL, ++step, steps);
    }
}

static clv_status write_row(trainer *t, const char *split, const pass *p, double lr,
                            clv_error *error)
{
    const bool five = clvi_dataset_class_count(t->desc->data) > 5;
    const clvi_metrics_row row = {.epoch = t->state.epoch,
                                  .step = t->state.step,
                                  .split = split,
                                  .loss = mean(p->loss_sum, p),
                                  .top1 = mean(p->top1_sum, p),
                                  .top5 = five ? mean(p->top5_sum, p) : NAN,
                                  .lr = lr,
                                  .seconds = p->seconds,
                                  .images_per_second = (double)p->count / p->seconds};
    return clvi_metrics_csv_add(t->csv, &row, error);
}

static clv_status save(trainer *t, const char *path, clv_error *error)
{
    return clvi_checkpoint_save(path, clvi_mixture_store(t->mixture), t->optimizer, &t->state,
                                t->dump.data, t->desc->data, error);
}

/* One epoch: train, validate, choose, save. */
static clv_status epoch(trainer *t, clv_error *error)
{
    pass train, val;
    double lr = 0;
    CLV_TRY(train_pass(t, &train, &lr, error));
    CLV_TRY(val_pass(t, &val, error));
    t->state.epoch++;
    const double figure = t->rule.maximise ? mean(val.top1_sum, &val) : mean(val.loss_sum, &val);
    const bool best = clvi_early_stop_update(&t->rule, &t->state.stop, t->state.epoch, figure);
    CLV_TRY(write_row(t, "train", &train, lr, error));
    CLV_TRY(write_row(t, "val", &val, lr, error));
    if (best)
        CLV_TRY(save(t, t->best_path, error));
    const int64_t every = clvi_config_int(t->config, "train", "checkpoint_every");
    if (t->state.epoch % every == 0 || t->state.epoch == t->epochs)
        CLV_TRY(save(t, t->last_path, error));
    const clvi_progress progress = {.phase = CLVI_PROGRESS_EPOCH,
                                    .epoch = t->state.epoch,
                                    .epochs = t->epochs,
                                    .step = t->steps_per_epoch,
                                    .steps = t->steps_per_epoch,
                                    .loss = mean(train.loss_sum, &train),
                                    .top1 = mean(train.top1_sum, &train),
                                    .val_loss = mean(val.loss_sum, &val),
                                    .val_top1 = mean(val.top1_sum, &val),
                                    .images_per_second = (double)train.count / train.seconds,
                                    .seconds = train.seconds + val.seconds,
                                    .seconds_left = NAN,
                                    .best = best};
    if (t->desc->progress)
        t->desc->progress(t->desc->user, &progress);
    return CLV_OK;
}

/* ---- The end ------------------------------------------------------------------------------------ */

static clv_status score(trainer *t, clvi_split split, clvi_score_summary *out, clv_error *error)
{
    const clvi_evaluate_desc desc = {.mixture = t->mixture,
                                     .data = t->desc->data,
                                     .split = split,
                                     .batch = t->batch,
                                     .progress = t->desc->progress,
                                     .user = t->desc->user};
    clvi_scores *scores;
    CLV_TRY(clvi_scores_create((int)clvi_dataset_class_count(t->desc->data), &scores, error));
    const clv_status status = clvi_evaluate(&desc, scores, error);
    if (status == CLV_OK)
        clvi_scores_summary(scores, out);
    clvi_scores_destroy(scores);
    return status;
}

/* Loads the best epoch's weights and scores every split with them. */
static clv_status final_scores(trainer *t, clvi_train_result *out, clv_error *error)
{
    clvi_checkpoint *best;
    CLV_TRY(clvi_checkpoint_open(t->best_path, &best, error));
    const clv_status status = clvi_checkpoint_load(best, clvi_mixture_store(t->mixture), error);
    clvi_checkpoint_close(best);
    CLV_TRY(status);
    CLV_TRY(score(t, CLVI_TRAIN, &out->train, error));
    CLV_TRY(score(t, CLVI_VAL, &out->val, error));
    out->has_test = clvi_dataset_count(t->desc->data, CLVI_TEST) > 0;
    return out->has_test ? score(t, CLVI_TEST, &out->test, error) : CLV_OK;
}

static json_t *score_json(const clvi_score_summary *s)
{
    return json_pack("{s:I, s:o, s:[o,o], s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "count",
                     (json_int_t)s->count, "top1", clvi_json_real(s->top1), "top1_interval",
                     clvi_json_real(s->top1_low), clvi_json_real(s->top1_high), "top5",
                     clvi_json_real(s->top5), "nll", clvi_json_real(s->nll), "brier",
                     clvi_json_real(s->brier), "ece", clvi_json_real(s->ece), "precision",
                     clvi_json_real(s->precision), "recall", clvi_json_real(s->recall), "f1",
                     clvi_json_real(s->f1));
}

static clv_status write_summary(trainer *t, const clvi_train_result *r, clv_error *error)
{
    clvi_device_counters counters;
    clvi_device_get_counters(t->desc->device, &counters);
    clvi_store *store = clvi_mixture_store(t->mixture);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:b, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "name",
        clvi_config_name(t->config), "device", clvi_device_banner(t->desc->device), "epochs",
        (json_int_t)r->epochs, "best_epoch", (json_int_t)r->best_epoch, "stopped_early",
        r->stopped_early, "seconds", clvi_json_real(r->seconds), "warm_seconds",
        clvi_json_real(r->warm_seconds), "parameters",
        (json_int_t)clvi_store_parameters(store, false), "trainable",
        (json_int_t)clvi_store_parameters(store, true), "peak_device_bytes",
        (json_int_t)counters.peak_bytes, "train", score_json(&r->train), "val", score_json(&r->val));
    if (json && r->has_test)
        json_object_set_new(json, "test", score_json(&r->test));
    char *path = clvi_path_join(t->desc->run_dir, CLVI_RUN_SUMMARY);
    clv_status status = CLV_OK;
    if (!json || !path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the summary");
    else
        status = clvi_json_write(path, json, error);
    clvi_free(path);
    json_decref(json);
    return status;
}

static clv_status course(trainer *t, clvi_train_result *out, clv_error *error)
{
    const double limit = clvi_config_real(t->config, "train", "max_seconds");
    const double begin = clvi_now();
    CLV_TRY(set_up(t, error));
    t->began = clvi_now();
    out->warm_seconds = t->began - begin;
    while (t->state.epoch < t->epochs && !out->stopped_early) {
        CLV_TRY(epoch(t, error));
        const bool late = limit > 0 && clvi_now() - t->began >= limit;
        const bool done = clvi_early_stop_done(&t->rule, &t->state.stop);
        if ((late || done) && t->state.epoch < t->epochs) {
            out->stopped_early = true;
            clvi_log(CLVI_LOG_INFO, "stopped after epoch %lld: %s", (long long)t->state.epoch,
                     done ? "no better epoch within train.patience" : "train.max_seconds is over");
            CLV_TRY(save(t, t->last_path, error));
        }
    }
    out->seconds = clvi_now() - t->began;
    out->epochs = t->state.epoch;
    out->best_epoch = t->state.stop.best_epoch;
    CLV_TRY(final_scores(t, out, error));
    return write_summary(t, out, error);
}

clv_status clvi_train(const clvi_train_desc *desc, clvi_train_result *out, clv_error *error)
{
    trainer t = {.desc = desc, .config = desc->config};
    clvi_train_result result = {0};
    const clv_status status = course(&t, &result, error);
    tear_down(&t);
    if (status == CLV_OK)
        *out = result;
    return status;
}
