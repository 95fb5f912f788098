/* See made_runs.h. */
#include "made_runs.h"

#include "base/process.h"
#include "config/differences.h"
#include "mixture/initial_weights.h"
#include "train/run_dir.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- Equal configurations ---- */

typedef struct sameness {
    bool seed, same, seconds;
} sameness;

/* The same expert of the same checkpoint: values of `init`. */
static bool same_start(const char *a, const char *b)
{
    if (!clvi_init_is_settled(a) || !clvi_init_is_settled(b) ||
        strcmp(clvi_init_colon(a), clvi_init_colon(b)) != 0)
        return false;
    char x[PATH_MAX], y[PATH_MAX];
    snprintf(x, sizeof x, "%.*s", (int)(clvi_init_colon(a) - a), a);
    snprintf(y, sizeof y, "%.*s", (int)(clvi_init_colon(b) - b), b);
    return clvi_same_file(x, y);
}

/* A clvi_config_difference. */
static clv_status judge(void *user, const char *section, const char *key, const char *was,
                        const char *is, clv_error *error)
{
    static const char *const free_keys[] = {
        "run.name",        "run.output",           "run.base",
        "data.workers",    "data.cache",           "train.checkpoint_every",
        "train.log_every", "train.feature_folder", "run.tensorboard"};
    sameness *s = user;
    char name[128];
    (void)error;
    snprintf(name, sizeof name, "%s.%s", section, key);
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (strcmp(name, free_keys[i]) == 0)
            return CLV_OK;
    if (!s->seed && strcmp(name, "run.seed") == 0)
        return CLV_OK;
    if (strncmp(name, "data.", 5) == 0 && strcmp(key, "path") == 0 && was != NULL && is != NULL &&
        clvi_same_file(was, is))
        return CLV_OK;
    if (strncmp(name, "expert.", 7) == 0 && strcmp(key, "init") == 0 && was != NULL && is != NULL &&
        same_start(was, is))
        return CLV_OK;
    if (strcmp(name, "train.max_seconds") == 0)
        s->seconds = true;
    else
        s->same = false;
    return CLV_OK;
}

clv_status cli_same_training(const clvi_config *a, const clvi_config *b, bool seed, bool *same,
                             bool *seconds, clv_error *error)
{
    sameness s = {.seed = seed, .same = true};
    CLV_TRY(clvi_config_differences(a, b, judge, &s, error));
    *same = s.same && !s.seconds;
    *seconds = s.same && s.seconds;
    return CLV_OK;
}

/* ---- Runs that there are ---- */

void cli_made_runs_fini(cli_made_runs *c)
{
    for (size_t i = 0; i < c->count; i++) {
        clvi_free(c->items[i].path);
        clvi_config_destroy(c->items[i].config);
    }
    clvi_free(c->items);
    *c = (cli_made_runs){0};
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the runs there are");
}

static clv_status read_run(const char *output, const char *name, cli_made_run *out,
                           clv_error *error)
{
    clv_error none = CLV_ERROR_INIT;
    out->path = clvi_path_join(output, name);
    if (out->path == NULL)
        return no_memory(error);
    const clv_status status = clvi_run_config(out->path, &out->config, &none);
    if (status != CLV_OK)
        out->config = NULL;
    return status == CLV_E_MEMORY ? no_memory(error) : CLV_OK;
}

clv_status cli_made_runs_list(const char *output, cli_made_runs *out, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    cli_made_runs c = {0};
    CLV_TRY(clvi_run_list(output, &names, &count, error));
    c.items = clvi_calloc(count + 1, sizeof *c.items);
    clv_status status = c.items != NULL ? CLV_OK : no_memory(error);
    for (size_t i = 0; i < count && status == CLV_OK; i++)
        status = read_run(output, names[i], &c.items[c.count++], error);
    clvi_names_free(names, count);
    if (status != CLV_OK) {
        cli_made_runs_fini(&c);
        return status;
    }
    *out = c;
    return CLV_OK;
}

/* Whether a checkpoint that its experts start from was written again after the run had begun. */
static bool is_outdated(const cli_made_run *run)
{
    char *path = clvi_path_join(run->path, CLVI_RUN_CONFIG);
    struct stat begun, start;
    bool outdated = path == NULL || stat(path, &begun) != 0;
    clvi_free(path);
    for (size_t i = 0; i < clvi_config_leaf_count(run->config) && !outdated; i++) {
        const char *init =
            clvi_config_text(run->config, clvi_config_leaf_section(run->config, i), "init");
        char file[PATH_MAX];
        if (!clvi_init_is_settled(init))
            continue;
        snprintf(file, sizeof file, "%.*s", (int)(clvi_init_colon(init) - init), init);
        outdated = stat(file, &start) != 0 || start.st_mtim.tv_sec > begun.st_mtim.tv_sec ||
                   (start.st_mtim.tv_sec == begun.st_mtim.tv_sec &&
                    start.st_mtim.tv_nsec > begun.st_mtim.tv_nsec);
    }
    return outdated;
}

/* A limit changes nothing for a training that ended by itself before it. */
static bool within_limit(const clvi_run_record *record, const clvi_config *wanted)
{
    const double limit = clvi_config_real(wanted, "train", "max_seconds");
    const char *by = json_string_value(json_object_get(record->summary, "stopped_by"));
    const bool patience = by != NULL && strcmp(by, "patience") == 0;
    return (patience || !json_is_true(json_object_get(record->summary, "stopped_early"))) &&
           (limit == 0 || record->seconds <= limit); /* its own, as the limit is */
}

clv_status cli_made_runs_find(const cli_made_runs *c, const clvi_config *wanted,
                              clvi_run_record *record, const char **begun, clv_error *error)
{
    *begun = NULL;
    for (size_t i = 0; i < c->count; i++) {
        bool same = false, seconds = false;
        clv_error fault = CLV_ERROR_INIT;
        if (c->items[i].config == NULL)
            continue;
        CLV_TRY(cli_same_training(c->items[i].config, wanted, true, &same, &seconds, error));
        if ((!same && !seconds) || is_outdated(&c->items[i]))
            continue;
        if (clvi_has_file(c->items[i].path, CLVI_RUN_SUMMARY)) {
            if (clvi_run_record_read(c->items[i].path, record, &fault) != CLV_OK) {
                clvi_log(CLVI_LOG_WARN, "%s is passed over: %s", c->items[i].path, fault.message);
            } else if (same || within_limit(record, wanted)) {
                *begun = c->items[i].path;
                return CLV_OK;
            } else {
                clvi_run_record_fini(record);
            }
        } else if (same && clvi_has_file(c->items[i].path, CLVI_RUN_LAST)) {
            *begun = c->items[i].path;
        }
    }
    return CLV_OK;
}
