/* See settings.h. */
#include "train/settings.h"

#include "mixture/picture.h"

static bool is(const clvi_config *config, const char *section, const char *key, const char *value)
{
    return strcmp(clvi_config_text(config, section, key), value) == 0;
}

/* ---- [data] ---- */

static void split_folders(const clvi_config *config, const char *section, const char **out)
{
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        const char *folder = clvi_config_text(config, section, clvi_split_name((clvi_split)s));
        out[s] = *folder ? folder : NULL;
    }
}

clvi_data_options clvi_train_data_options(const clvi_config *config)
{
    const char *channels = clvi_config_text(config, "data", "channels");
    const char *cache = clvi_config_text(config, "data", "cache");
    clvi_data_options o = {
        .path = clvi_config_text(config, "data", "path"),
        .val_fraction = clvi_config_real(config, "data", "val_fraction"),
        .split_seed = (uint64_t)clvi_config_int(config, "data", "split_seed"),
        .limit_per_class = clvi_config_int(config, "data", "limit_per_class"),
        .keep_duplicates = !clvi_config_bool(config, "data", "dedup"),
        .channels = strcmp(channels, "auto") == 0 ? 0 : channels[0] - '0',
        .workers = (int)clvi_config_int(config, "data", "workers"),
        .no_cache = strcmp(cache, "none") == 0,
        .resample = strcmp(clvi_config_text(config, "data", "resize"), "bicubic") == 0
                        ? CLVI_BICUBIC
                        : CLVI_BILINEAR,
        .fit =
            strcmp(clvi_config_text(config, "data", "fit"), "crop") == 0 ? CLVI_CROP : CLVI_STRETCH,
        .skip_bad = strcmp(clvi_config_text(config, "data", "on_bad"), "skip") == 0};
    clvi_picture_whole(config, &o.height, &o.width);
    split_folders(config, "data", o.split_folder);
    const size_t sources = *o.path ? 0 : clvi_config_source_count(config);
    for (size_t i = 0; i < sources && i < CLVI_MAX_SOURCES; i++) {
        const char *section = clvi_config_source_section(config, i);
        clvi_data_source *source = &o.sources[o.source_count++];
        source->name = clvi_config_source_name(config, i);
        source->path = clvi_config_text(config, section, "path");
        split_folders(config, section, source->split_folder);
    }
    return o;
}

clv_status clvi_train_has_images(const clvi_config *config, bool required, bool *out,
                                 clv_error *error)
{
    const size_t sources = clvi_config_source_count(config);
    const char *missing = NULL;
    bool any = clvi_config_text(config, "data", "path")[0] != '\0';
    for (size_t i = 0; i < sources; i++) {
        const char *section = clvi_config_source_section(config, i);
        const bool given = clvi_config_text(config, section, "path")[0] != '\0';
        any |= given;
        if (!given && missing == NULL)
            missing = section;
    }
    if (missing != NULL && (required || any))
        CLV_FAIL(error, CLV_E_USAGE,
                 "which images? give %s.path=PATH, a folder or archive that holds one folder of "
                 "images per class",
                 missing);
    if (required && !any)
        CLV_FAIL(error, CLV_E_USAGE,
                 "which images? give --data PATH, a folder or archive that holds one folder of "
                 "images per class");
    *out = any;
    return CLV_OK;
}

clvi_sampler clvi_settings_sampler(const clvi_config *config)
{
    return is(config, "data", "sampler", "balanced") ? CLVI_SAMPLER_BALANCED : CLVI_SAMPLER_SHUFFLE;
}

/* ---- [device] ---- */

clvi_device_options clvi_train_device_options(const clvi_config *config)
{
    return (clvi_device_options){.gemm = is(config, "device", "gemm", "native") ? CLVI_GEMM_NATIVE
                                         : is(config, "device", "gemm", "clblast")
                                             ? CLVI_GEMM_CLBLAST
                                             : CLVI_GEMM_AUTO,
                                 .fast_math = clvi_config_bool(config, "device", "fast_math"),
                                 .no_winograd = is(config, "device", "winograd", "off"),
                                 .recompute = is(config, "device", "recompute", "on")};
}

/* ---- [optimizer] ---- */

static clvi_optimizer_desc read_optimizer(const clvi_config *config)
{
    size_t count;
    const double *betas = clvi_config_reals(config, "optimizer", "betas", &count);
    return (clvi_optimizer_desc){.kind = is(config, "optimizer", "name", "sgd")    ? CLVI_SGD
                                         : is(config, "optimizer", "name", "adam") ? CLVI_ADAM
                                                                                   : CLVI_ADAMW,
                                 .betas = {betas[0], betas[1]},
                                 .eps = clvi_config_real(config, "optimizer", "eps"),
                                 .momentum = clvi_config_real(config, "optimizer", "momentum"),
                                 .nesterov = clvi_config_bool(config, "optimizer", "nesterov"),
                                 .weight_decay =
                                     clvi_config_real(config, "optimizer", "weight_decay"),
                                 .clip_norm = clvi_config_real(config, "optimizer", "clip_norm"),
                                 .decay_all = is(config, "optimizer", "weight_decay_on", "all")};
}

clv_status clvi_settings_optimizer(const clvi_config *config, clvi_optimizer_desc *out,
                                   clv_error *error)
{
    const clvi_optimizer_desc desc = read_optimizer(config);
    if (desc.nesterov && desc.kind == CLVI_SGD && desc.momentum <= 0)
        return clvi_config_fail(config, "optimizer", "nesterov", error,
                                "there is nothing to look ahead by: optimizer.momentum is 0");
    if (desc.nesterov && desc.kind != CLVI_SGD)
        return clvi_config_fail(config, "optimizer", "nesterov", error,
                                "only sgd knows it; write optimizer.name = sgd, or leave it out");
    *out = desc;
    return CLV_OK;
}

uint32_t clvi_settings_store_kinds(const clvi_config *config)
{
    const clvi_optimizer_desc desc = read_optimizer(config);
    const bool several = clvi_config_int(config, "train", "accumulate") > 1;
    const bool average = clvi_config_real(config, "train", "ema") > 0;
    return clvi_optimizer_kinds(&desc, several) | (average ? 1u << CLVI_STORE_AVERAGE : 0);
}

/* ---- [schedule] and [train] ---- */

clv_status clvi_settings_schedule(const clvi_config *config, int64_t steps_per_epoch,
                                  clvi_schedule *out, clv_error *error)
{
    const int64_t steps = steps_per_epoch * clvi_config_int(config, "train", "epochs");
    const double warmup = clvi_config_real(config, "schedule", "warmup_epochs");
    clvi_schedule s = {.lr = clvi_config_real(config, "optimizer", "lr"),
                       .final_lr = clvi_config_real(config, "schedule", "final_lr"),
                       .gamma = clvi_config_real(config, "schedule", "gamma"),
                       .steps_per_epoch = steps_per_epoch,
                       .warmup_steps = clvi_schedule_warmup_steps(warmup, steps_per_epoch, steps),
                       .steps = steps};
    s.milestones = clvi_config_reals(config, "schedule", "milestones", &s.milestone_count);
    if (is(config, "schedule", "kind", "cosine"))
        s.kind = CLVI_SCHEDULE_COSINE;
    if (is(config, "schedule", "kind", "step"))
        s.kind = CLVI_SCHEDULE_STEP;
    if (s.kind == CLVI_SCHEDULE_STEP && s.milestone_count == 0)
        return clvi_config_fail(config, "schedule", "kind", error,
                                "step needs schedule.milestones, such as 30, 60, 80");
    if (s.kind != CLVI_SCHEDULE_STEP && s.milestone_count > 0)
        return clvi_config_fail(config, "schedule", "milestones", error,
                                "they mean something for schedule.kind = step only");
    *out = s;
    return CLV_OK;
}

clvi_early_stop_rule clvi_settings_stop_rule(const clvi_config *config)
{
    return (clvi_early_stop_rule){.maximise = is(config, "train", "monitor", "val_accuracy"),
                                  .patience = clvi_config_int(config, "train", "patience"),
                                  .min_delta = clvi_config_real(config, "train", "min_delta")};
}

clvi_early_stop_rule clvi_settings_plateau_rule(const clvi_config *config)
{
    clvi_early_stop_rule rule = clvi_settings_stop_rule(config);
    rule.patience = is(config, "schedule", "kind", "plateau")
                        ? clvi_config_int(config, "schedule", "patience")
                        : 0;
    return rule;
}
