/* See resume.h. */
#include "train/resume.h"

#include "config/differences.h"
#include "train/run_dir.h"
#include "train/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONFIG_BYTES = 1 << 20, LOG_BYTES = 1 << 30 };

/* ---- Comparing configurations ---- */

/* Keys that change nothing of what is learnt. */
static bool is_free(const char *section, const char *key)
{
    static const char *const keys[] = {
        "run.name",          "run.output",           "device.select",          "data.path",
        "data.cache",        "data.workers",         "train.checkpoint_every", "train.log_every",
        "train.max_seconds", "train.feature_folder", "run.tensorboard",
    };
    char name[128];
    snprintf(name, sizeof name, "%s.%s", section, key);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(name, keys[i]) == 0)
            return true;
    return strncmp(section, "data.", 5) == 0 && strcmp(key, "path") == 0; /* of a source */
}

/* More or fewer epochs: the rates of the steps behind must not have depended on their number. */
static clv_status check_epochs(const clvi_config *before, const clvi_config *now,
                               const clvi_train_state *state, clv_error *error)
{
    const int64_t wanted = clvi_config_int(now, "train", "epochs"),
                  given = clvi_config_int(before, "train", "epochs");
    const double warmup = clvi_config_real(now, "schedule", "warmup_epochs");
    if (strcmp(clvi_config_text(now, "schedule", "kind"), "cosine") == 0)
        return clvi_config_fail(now, "train", "epochs", error,
                                "with schedule.kind = cosine the learning rate of every step "
                                "follows from the number of epochs, which was %lld; with constant, "
                                "step and plateau it may change",
                                (long long)given);
    if (wanted < state->epoch + (state->running.steps > 0))
        return clvi_config_fail(now, "train", "epochs", error, "%lld epochs are behind already",
                                (long long)state->epoch);
    if (warmup > (double)(wanted < given ? wanted : given))
        return clvi_config_fail(now, "train", "epochs", error,
                                "schedule.warmup_epochs = %g is longer than %lld epochs, so the "
                                "rates depend on their number, which was %lld",
                                warmup, (long long)(wanted < given ? wanted : given),
                                (long long)given);
    return CLV_OK;
}

/* What is compared. */
typedef struct course {
    const clvi_config *before, *now;
    const clvi_train_state *state;
} course;

/* Refuses what differs and may not; a clvi_config_difference. */
static clv_status judge(void *user, const char *section, const char *key, const char *was,
                        const char *is, clv_error *error)
{
    const course *c = user;
    if (!is)
        CLV_FAIL(error, CLV_E_CONFIG,
                 "%s: [%s] %s is missing, which would change the course of the run",
                 clvi_config_path(c->now), section, key);
    if (is_free(section, key))
        return CLV_OK;
    if (strcmp(section, "train") == 0 && strcmp(key, "epochs") == 0)
        return check_epochs(c->before, c->now, c->state, error);
    if (was)
        return clvi_config_fail(c->now, section, key, error,
                                "'%s' would change the course of the run, which was begun with "
                                "'%s'; leave it out, or begin a new run",
                                is, was);
    return clvi_config_fail(c->now, section, key, error,
                            "the run was begun without it; leave it out, or begin a new run");
}

static clv_status check_changes(const clvi_config *before, const clvi_config *now,
                                const clvi_train_state *state, clv_error *error)
{
    course c = {before, now, state};
    return clvi_config_differences(before, now, judge, &c, error);
}

/* ---- Opening ---- */

/* The state and configuration of the last checkpoint; where there is none, config.ini as it is. */
static clv_status read_past(const char *run, const char *config_path, clvi_config **before,
                            clvi_train_state *state, clv_error *error)
{
    char *path = clvi_path_join(run, CLVI_RUN_LAST);
    clvi_checkpoint *checkpoint = NULL;
    clv_status status = CLV_OK;
    clvi_config_source source = {.name = config_path};
    *state = (clvi_train_state){.plateau = {.scale = 1}};
    if (!path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to resume %s", run);
    if (status == CLV_OK && clvi_is_file(path)) {
        status = clvi_checkpoint_open(path, &checkpoint, error);
        if (status == CLV_OK) {
            *state = *clvi_checkpoint_state(checkpoint);
            source.name = path;
            source.text = clvi_checkpoint_config(checkpoint);
            source.text_bytes = strlen(source.text);
        }
    }
    if (status == CLV_OK)
        status = clvi_config_load(&source, before, error);
    clvi_checkpoint_close(checkpoint);
    clvi_free(path);
    return status;
}

clv_status clvi_resume_open(const char *run, const char *const *overrides, size_t override_count,
                            clvi_text *report, clvi_resume *out, clv_error *error)
{
    char *path = clvi_path_join(run, CLVI_RUN_CONFIG);
    if (!path)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resume %s", run);
    const clvi_config_source source = {
        .name = path, .overrides = overrides, .override_count = override_count, .report = report};
    clvi_resume r = {0};
    clvi_config *before = NULL;
    clv_status status = clvi_config_load(&source, &r.config, error);
    if (status == CLV_OK)
        status = read_past(run, path, &before, &r.state, error);
    if (status == CLV_OK)
        status = check_changes(before, r.config, &r.state, error);
    clvi_config_destroy(before);
    clvi_free(path);
    if (status != CLV_OK) {
        clvi_resume_close(&r);
        return status;
    }
    const clvi_early_stop_rule rule = clvi_settings_stop_rule(r.config);
    const bool at_end = r.state.epoch >= clvi_config_int(r.config, "train", "epochs") ||
                        clvi_early_stop_done(&rule, &r.state.stop);
    r.finished = at_end && clvi_has_file(run, CLVI_RUN_SUMMARY);
    *out = r;
    return CLV_OK;
}

void clvi_resume_close(clvi_resume *resume)
{
    clvi_config_destroy(resume->config);
    *resume = (clvi_resume){0};
}

/* ---- Cutting ---- */

/* Where metrics.csv, or another table of rows by epochs, ends for a checkpoint of `epoch`: before
 * the first row of a later epoch, or one that was not finished. */
static size_t rows_end(const char *text, size_t bytes, int64_t epoch)
{
    size_t at = 0;
    while (at < bytes) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const bool row = text[at] >= '0' && text[at] <= '9'; /* not the header */
        if (!end || (row && strtoll(text + at, NULL, 10) > epoch))
            return at;
        at = (size_t)(end - text) + 1;
    }
    return at;
}

/* Where log.txt ends: behind the last line that says that this checkpoint was written. A process
 * that was killed between writing both left nothing behind the line that is missing. */
static size_t log_end(const char *text, size_t bytes, const clvi_train_state *state)
{
    char line[128];
    const int length = snprintf(line, sizeof line, "  " CLVI_CHECKPOINT_LINE "\n",
                                (long long)state->epoch, (long long)state->step);
    size_t found = bytes;
    for (const char *at = text; at && (at = strstr(at, line)) != NULL; at += length)
        found = (size_t)(at - text) + (size_t)length;
    return state->step == 0 && state->epoch == 0 ? 0 : found;
}

/* Cuts a file of the run, which may not exist. */
static clv_status cut_file(const char *run, const char *name, const clvi_train_state *state,
                           clv_error *error)
{
    char *path = clvi_path_join(run, name), *text = NULL;
    size_t bytes = 0;
    clv_status status = CLV_OK;
    if (!path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to resume %s", run);
    else if (clvi_is_file(path))
        status = clvi_file_read(path, LOG_BYTES, &text, &bytes, error);
    if (status == CLV_OK && text) {
        const size_t end = strcmp(name, CLVI_RUN_LOG) == 0 ? log_end(text, bytes, state)
                                                           : rows_end(text, bytes, state->epoch);
        if (end < bytes && truncate(path, (off_t)end) != 0)
            status = clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot cut it back", path);
    }
    clvi_free(text);
    clvi_free(path);
    return status;
}

/* "last.safetensors.tmp-123-0": what clvi_atomic_begin makes. */
static bool is_leftover(const char *name)
{
    static const char *const whole[] = {CLVI_RUN_CONFIG, CLVI_RUN_ELAPSED, CLVI_RUN_LAST,
                                        CLVI_RUN_BEST};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        const size_t length = strlen(whole[i]);
        if (strncmp(name, whole[i], length) == 0 && strncmp(name + length, ".tmp-", 5) == 0)
            return true;
    }
    return false;
}

/* What is written at the end of a training, or what is left of it. */
static bool is_result(const char *name)
{
    static const char *const results[] = {
        CLVI_RUN_SUMMARY, CLVI_RUN_PREDICTIONS, CLVI_RUN_CLASSES, CLVI_RUN_CONFUSION,
        CLVI_RUN_USAGE,   CLVI_RUN_WEIGHTS,     CLVI_RUN_REPORT};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        const char *rest = name + strlen(results[i]);
        if (strncmp(name, results[i], strlen(results[i])) == 0 &&
            (*rest == '\0' || strncmp(rest, ".tmp-", 5) == 0))
            return true;
    }
    return false;
}

static clv_status remove_leftovers(const char *run, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    CLV_TRY(clvi_dir_list(run, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        if (is_leftover(names[i]) || is_result(names[i]))
            path = clvi_path_join(run, names[i]);
        if (path)
            (void)unlink(path); /* in the way of nobody */
        clvi_free(path);
    }
    clvi_names_free(names, count);
    return CLV_OK;
}

clv_status clvi_resume_cut(const char *run, const clvi_train_state *state, clv_error *error)
{
    CLV_TRY(cut_file(run, CLVI_RUN_METRICS, state, error));
    CLV_TRY(cut_file(run, CLVI_RUN_SIGNALS, state, error));
    CLV_TRY(cut_file(run, CLVI_RUN_PAIRS, state, error));
    return remove_leftovers(run, error);
}

clv_status clvi_resume_cut_log(const char *run, const clvi_train_state *state, clv_error *error)
{
    return cut_file(run, CLVI_RUN_LOG, state, error);
}
