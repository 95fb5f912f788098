/* Setting a training up and taking it down; see trainer.h. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/process.h"
#include "mixture/copies.h"
#include "mixture/initial_weights.h"
#include "mixture/input_form.h"
#include "train/average.h"
#include "train/initial_run.h"
#include "train/resume.h"
#include "train/run_dir.h"

#include <stdio.h>

/* ---- Making ---- */

/* Images of each class among those of training; the caller frees. */
static clv_status count_classes(const clvi_dataset *data, int64_t **out, clv_error *error)
{
    int64_t *counts = clvi_calloc(clvi_dataset_class_count(data), sizeof *counts);
    if (!counts)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to count the images of each class");
    for (size_t i = 0; i < clvi_dataset_count(data, CLVI_TRAIN); i++)
        counts[clvi_dataset_sample(data, CLVI_TRAIN, i)->label]++;
    *out = counts;
    return CLV_OK;
}

static clv_status create_mixture(clvi_trainer *t, clv_error *error)
{
    clvi_dataset *data = t->desc->data;
    int64_t *counts = NULL;
    CLV_TRY(count_classes(data, &counts, error));
    clvi_mixture_desc desc = {.config = t->config,
                              .plugins = t->desc->plugins,
                              .device = t->desc->device,
                              .classes = (int)clvi_dataset_class_count(data),
                              .channels = clvi_dataset_channels(data),
                              .max_batch = t->batch,
                              .train = true,
                              .keep_features =
                                  clvi_config_bool(t->config, "train", "cache_features"),
                              .store_kinds = clvi_settings_store_kinds(t->config),
                              .class_counts = counts};
    clvi_dataset_size(data, &desc.height, &desc.width);
    const clv_status status = clvi_mixture_create(&desc, &t->mixture, error);
    clvi_free(counts);
    return status;
}

static clv_status create_optimizer(clvi_trainer *t, clv_error *error)
{
    clvi_store *store = clvi_mixture_store(t->mixture);
    clvi_optimizer_desc desc;
    CLV_TRY(clvi_settings_optimizer(t->config, &desc, error));
    CLV_TRY(clvi_multipliers_create(t->config, store, &t->multipliers, error));
    desc.multiplier = t->multipliers ? clvi_multipliers_of : NULL;
    desc.user = t->multipliers;
    return clvi_optimizer_create(store, &desc, &t->optimizer, error);
}

/* Numbers of the course that follow from data and configuration. */
static clv_status plan_course(clvi_trainer *t, clv_error *error)
{
    const clvi_config *c = t->config;
    t->sampler = clvi_settings_sampler(c);
    t->train_count = clvi_sampler_count(t->desc->data, t->sampler);
    t->val_count = clvi_dataset_count(t->desc->data, CLVI_VAL);
    t->batch = clvi_config_int(c, "train", "batch");
    t->accumulate = clvi_config_int(c, "train", "accumulate");
    t->epochs = clvi_config_int(c, "train", "epochs");
    t->log_every = clvi_config_int(c, "train", "log_every");
    t->ema = clvi_config_real(c, "train", "ema");
    if (t->train_count == 0 || t->val_count == 0)
        return clvi_config_fail(c, "data", "path", error,
                                "there are %zu training and %zu validation images; training needs "
                                "both (see data.val and data.val_fraction)",
                                t->train_count, t->val_count);
    if (t->batch > (int64_t)t->train_count)
        t->batch = (int64_t)t->train_count;
    const int64_t batches = ((int64_t)t->train_count + t->batch - 1) / t->batch;
    t->steps_per_epoch = (batches + t->accumulate - 1) / t->accumulate;
    CLV_TRY(clvi_settings_schedule(c, t->steps_per_epoch, &t->schedule, error));
    t->rule = clvi_settings_stop_rule(c);
    t->plateau_rule = clvi_settings_plateau_rule(c);
    t->shuffle_key = clvi_philox_stream((uint64_t)clvi_config_int(c, "run", "seed"), "shuffle");
    t->saved_step = -1;
    return CLV_OK;
}

/* Warns of an expert that keeps random values to the end. */
static void warn_of_random(const clvi_trainer *t, const char *section)
{
    const clvi_store *store = clvi_mixture_store(t->mixture);
    const size_t length = strlen(section);
    if (*clvi_config_text(t->config, section, "weights") ||
        *clvi_config_text(t->config, section, "init"))
        return;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (s->is_state || s->trainable || strncmp(s->name, section, length) != 0 ||
            s->name[length] != '.')
            continue;
        clvi_log(CLVI_LOG_WARN,
                 "%s: %s and what else `trainable` leaves out keep random values: neither "
                 "`weights` nor `init` says what to start from",
                 section, s->name);
        return;
    }
}

static const char *plugin_of(const clvi_trainer *t, size_t expert)
{
    return clvi_config_text(t->config, clvi_config_leaf_section(t->config, expert), "plugin");
}

/* Experts that follow each other and are of one plugin and one input share a line. */
static void announce_experts(const clvi_trainer *t)
{
    const size_t count = clvi_config_leaf_count(t->config);
    for (size_t first = 0, next = 0; first < count; first = next) {
        const char *plugin = plugin_of(t, first),
                   *input = clvi_mixture_preprocessing(t->mixture, first);
        clvi_text names = {0};
        for (; next < count && strcmp(plugin_of(t, next), plugin) == 0 &&
               strcmp(clvi_mixture_preprocessing(t->mixture, next), input) == 0;
             next++)
            clvi_text_printf(&names, "%s%s", next > first ? ", " : "",
                             clvi_config_leaf_name(t->config, next));
        clvi_log(CLVI_LOG_INFO, "expert%s %s: plugin %s, input %s", next > first + 1 ? "s" : "",
                 clvi_text_get(&names), plugin, input);
        clvi_text_fini(&names);
        for (size_t i = first; i < next; i++)
            warn_of_random(t, clvi_config_leaf_section(t->config, i));
    }
}

/* The gates of the mixture and of those that are experts of it. */
static void announce_gates(const clvi_config *config)
{
    const char *plugin = clvi_config_text(config, "gate", "plugin");
    for (size_t i = 0; i < clvi_config_expert_count(config); i++)
        if (clvi_config_nested(config, i))
            announce_gates(clvi_config_nested(config, i));
    if (clvi_config_expert_count(config) > 1 && *plugin)
        clvi_log(CLVI_LOG_INFO, "%s: plugin %s", clvi_config_section(config, "gate"), plugin);
}

/* Says in the log what will be trained and how long the way is. */
static void announce(const clvi_trainer *t)
{
    const clvi_config *c = t->config;
    const clvi_store *store = clvi_mixture_store(t->mixture);
    const int64_t first = clvi_mixture_training(t->mixture, 0),
                  most = clvi_store_parameters(store, true),
                  parameters = clvi_store_parameters(store, false);
    char trains[96] = "";
    if (first < parameters)
        snprintf(trains, sizeof trains, "%lld of ", (long long)first);
    if (first < most)
        snprintf(trains, sizeof trains, "%lld, later %lld of ", (long long)first, (long long)most);
    announce_experts(t);
    announce_gates(c);
    const int64_t full = t->batch * t->accumulate, all = (int64_t)t->train_count;
    clvi_log(
        CLVI_LOG_INFO,
        "training: %s%lld parameters; an epoch is %lld step%s of %lld images; train.epochs = %lld",
        trains, (long long)parameters, (long long)t->steps_per_epoch,
        t->steps_per_epoch == 1 ? "" : "s", (long long)(full < all ? full : all),
        (long long)t->epochs);
    clvi_log(CLVI_LOG_DEBUG, "memory on the device: %llu bytes",
             (unsigned long long)clvi_trainer_bytes(t));
}

/* Compiles and caches all kernels. */
static clv_status warm(clvi_trainer *t, clv_error *error)
{
    CLV_TRY(clvi_mixture_warm(t->mixture, error));
    CLV_TRY(clvi_optimizer_warm(t->optimizer, error));
    if (t->ema > 0)
        CLV_TRY(clvi_average_step(clvi_mixture_store(t->mixture), 1, error));
    CLV_TRY(clvi_wait(t->desc->device, error));
    clvi_device_save_programs(t->desc->device);
    return CLV_OK;
}

clv_status clvi_trainer_create(clvi_trainer *t, clv_error *error)
{
    CLV_TRY(plan_course(t, error));
    if (!t->desc->resume) {
        CLV_TRY(clvi_initial_weights_check(t->config, error));
        CLV_TRY(clvi_initial_run_check(t->config, t->desc->plugins, t->desc->data,
                                       t->desc->run_dir != NULL, error));
    }
    CLV_TRY(create_mixture(t, error));
    CLV_TRY(create_optimizer(t, error));
    if (t->desc->run_dir)
        CLV_TRY(clvi_signal_rows_open(t->desc->run_dir, t->config, t->mixture,
                                      (int)clvi_dataset_class_count(t->desc->data), &t->signals,
                                      error));
    announce(t);
    CLV_TRY(warm(t, error));
    CLV_TRY(
        clvi_loader_create(t->desc->data, CLVI_TRAIN, (size_t)t->batch, &t->train_loader, error));
    CLV_TRY(clvi_loader_create(t->desc->data, CLVI_VAL, (size_t)t->batch, &t->val_loader, error));
    CLV_TRY(
        clvi_features_create(t->config, t->mixture, t->desc->data, t->batch, &t->features, error));
    clvi_features_lighten(t->features, t->train_loader);
    clvi_features_lighten(t->features, t->val_loader);
    t->order = clvi_malloc(t->train_count * sizeof *t->order);
    t->scales = clvi_malloc((size_t)t->epochs * sizeof *t->scales);
    if (!t->order || !t->scales)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the order of %zu images", t->train_count);
    return CLV_OK;
}

/* Writes what the run is trained by, with the defaults. */
static clv_status write_config(clvi_trainer *t, clv_error *error)
{
    char *path = clvi_path_join(t->desc->run_dir, CLVI_RUN_CONFIG);
    clv_status status;
    if (!path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the name of the run");
    else
        status = clvi_file_write(path, t->dump.data, t->dump.length, error);
    clvi_free(path);
    return status;
}

static clv_status open_metrics(clvi_trainer *t, clv_error *error)
{
    char *path = clvi_path_join(t->desc->run_dir, CLVI_RUN_METRICS);
    clv_status status;
    if (!path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the name of the run");
    else
        status = clvi_metrics_csv_open(path, &t->csv, error);
    clvi_free(path);
    return status;
}

clv_status clvi_trainer_open_files(clvi_trainer *t, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(t->config); i++)
        CLV_TRY(
            clvi_input_form_settle(t->desc->config, clvi_config_leaf_section(t->config, i), error));
    clvi_config_dump(t->config, &t->dump);
    t->best_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_BEST);
    t->last_path = clvi_path_join(t->desc->run_dir, CLVI_RUN_LAST);
    if (t->dump.failed || !t->best_path || !t->last_path)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the names of the run");
    if (!t->desc->resume)
        CLV_TRY(write_config(t, error));
    return open_metrics(t, error);
}

clv_status clvi_trainer_take_over(clvi_trainer *t, clv_error *error)
{
    CLV_TRY(clvi_resume_cut(t->desc->run_dir, &t->state, error));
    return write_config(t, error);
}

void clvi_trainer_fini(clvi_trainer *t)
{
    clvi_loader_destroy(t->train_loader);
    clvi_loader_destroy(t->val_loader);
    clvi_features_destroy(t->features);
    clvi_row_file_close(t->csv);
    clvi_signal_rows_close(t->signals);
    clvi_optimizer_destroy(t->optimizer);
    clvi_multipliers_destroy(t->multipliers);
    clvi_mixture_destroy(t->mixture);
    clvi_text_fini(&t->dump);
    clvi_free(t->best_path);
    clvi_free(t->last_path);
    clvi_free(t->order);
    clvi_free(t->scales);
}

uint64_t clvi_trainer_bytes(const clvi_trainer *t)
{
    return clvi_mixture_bytes(t->mixture) + clvi_optimizer_bytes(t->optimizer);
}

/* ---- Where training begins ---- */

clv_status clvi_trainer_start(clvi_trainer *t, clv_error *error)
{
    clvi_store *store = clvi_mixture_store(t->mixture);
    CLV_TRY(
        clvi_store_initialise(store, (uint64_t)clvi_config_int(t->config, "run", "seed"), error));
    CLV_TRY(clvi_initial_weights_load(t->config, t->desc->plugins, t->mixture, error));
    CLV_TRY(clvi_copies_warn(t->config, t->mixture, error));
    CLV_TRY(clvi_store_copy(store, CLVI_STORE_VALUE, CLVI_STORE_AVERAGE, error));
    CLV_TRY(clvi_store_zero(store, CLVI_STORE_MOMENT1, error));
    CLV_TRY(clvi_store_zero(store, CLVI_STORE_MOMENT2, error));
    for (uint32_t g = 0; g < clvi_store_group_count(store); g++)
        clvi_optimizer_set_group_steps(t->optimizer, g, 0);
    t->state = (clvi_train_state){.plateau = {.scale = 1}};
    return CLV_OK;
}

/* What must be as it was, and what had better be. */
static clv_status check_circumstances(const clvi_trainer *t, const clvi_checkpoint *checkpoint,
                                      clv_error *error)
{
    const clvi_train_state *state = clvi_checkpoint_state(checkpoint);
    const char *device = clvi_checkpoint_device(checkpoint);
    const char *now = clvi_device_banner(t->desc->device);
    if (strcmp(clvi_checkpoint_data(checkpoint), clvi_dataset_fingerprint(t->desc->data)) != 0)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s was made with other images: what is in data.path has changed since, or the "
                 "path is another; begin a new run",
                 t->last_path);
    if (state->running.images > (int64_t)t->train_count ||
        state->running.steps > t->steps_per_epoch || state->epoch > t->epochs)
        CLV_FAIL(error, CLV_E_FORMAT, "%s stands behind the end of training", t->last_path);
    if (strcmp(device, now) != 0)
        clvi_log(
            CLVI_LOG_WARN,
            "the run was begun on another device or driver, or with another tuning record (%s): "
            "it goes on, but not with the same bits",
            device);
    return CLV_OK;
}

clv_status clvi_trainer_restore(clvi_trainer *t, clv_error *error)
{
    if (!clvi_is_file(t->last_path))
        return clvi_trainer_start(t, error);
    clvi_checkpoint *checkpoint;
    CLV_TRY(clvi_checkpoint_open(t->last_path, &checkpoint, error));
    clv_status status = check_circumstances(t, checkpoint, error);
    if (status == CLV_OK)
        status =
            clvi_checkpoint_resume(checkpoint, clvi_mixture_store(t->mixture), t->optimizer, error);
    if (status == CLV_OK)
        t->state = *clvi_checkpoint_state(checkpoint);
    size_t words;
    uint32_t *signals = clvi_signal_rows_words(t->signals, &words);
    if (status == CLV_OK)
        status = clvi_checkpoint_signals(checkpoint, signals, words, error);
    clvi_checkpoint_close(checkpoint);
    return status;
}

clv_status clvi_trainer_save(clvi_trainer *t, const char *path, const clvi_train_state *state,
                             clv_error *error)
{
    size_t words;
    const uint32_t *signals = clvi_signal_rows_words(t->signals, &words);
    const clvi_checkpoint_parts parts = {.store = clvi_mixture_store(t->mixture),
                                         .optimizer = t->optimizer,
                                         .state = state,
                                         .signals = signals,
                                         .signal_words = words,
                                         .config = t->dump.data,
                                         .data = t->desc->data};
    return clvi_checkpoint_save(path, &parts, error);
}
