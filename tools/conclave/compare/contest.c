/* See contest.h. */
#include "contest.h"

#include "base/child.h"

#include "train/run_dir.h"
#include "train/settings.h"

#include <math.h>
#include <stdio.h>

/* ---- Runs that there are ---- */

/* A run in the output folder. */
typedef struct candidate {
    char *path;
    clvi_config *config; /* NULL: it cannot be read any more */
} candidate;

typedef struct candidates {
    candidate *items;
    size_t count;
} candidates;

static void candidates_fini(candidates *c)
{
    for (size_t i = 0; i < c->count; i++) {
        clvi_free(c->items[i].path);
        clvi_config_destroy(c->items[i].config);
    }
    clvi_free(c->items);
    *c = (candidates){0};
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the runs there are");
}

static clv_status read_candidate(const char *output, const char *name, candidate *out,
                                 clv_error *error)
{
    clv_error none = CLV_ERROR_INIT;
    out->path = clvi_path_join(output, name);
    char *path = out->path != NULL ? clvi_path_join(out->path, CLVI_RUN_CONFIG) : NULL;
    if (path == NULL)
        return no_memory(error);
    const clvi_config_source source = {.name = path};
    if (clvi_config_load(&source, &out->config, &none) != CLV_OK)
        out->config = NULL;
    clvi_free(path);
    return CLV_OK;
}

static clv_status list_candidates(const char *output, candidates *out, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    candidates c = {0};
    CLV_TRY(clvi_run_list(output, &names, &count, error));
    c.items = clvi_calloc(count + 1, sizeof *c.items);
    clv_status status = c.items != NULL ? CLV_OK : no_memory(error);
    for (size_t i = 0; i < count && status == CLV_OK; i++)
        status = read_candidate(output, names[i], &c.items[c.count++], error);
    clvi_names_free(names, count);
    if (status != CLV_OK) {
        candidates_fini(&c);
        return status;
    }
    *out = c;
    return CLV_OK;
}

static bool holds(const char *folder, const char *name)
{
    char *path = clvi_path_join(folder, name);
    const bool found = path != NULL && clvi_is_file(path);
    clvi_free(path);
    return found;
}

/* A limit changes nothing for a training that ended by itself before it. */
static bool within_limit(const clvi_run_record *record, const clvi_config *wanted)
{
    const double limit = clvi_config_real(wanted, "train", "max_seconds");
    return !json_is_true(json_object_get(record->summary, "stopped_early")) &&
           (limit == 0 || record->seconds <= limit);
}

/* Fills `record` from a finished run of this configuration; *begun is then, or of an unfinished
 * one, its folder (borrowed), otherwise NULL. */
static clv_status find_run(const candidates *c, const clvi_config *wanted, clvi_run_record *record,
                           const char **begun, clv_error *error)
{
    *begun = NULL;
    for (size_t i = 0; i < c->count; i++) {
        bool same = false, seconds = false;
        clv_error fault = CLV_ERROR_INIT;
        if (c->items[i].config == NULL)
            continue;
        CLV_TRY(plan_same(c->items[i].config, wanted, true, &same, &seconds, error));
        if (!same && !seconds)
            continue;
        if (holds(c->items[i].path, CLVI_RUN_SUMMARY)) {
            if (clvi_run_record_read(c->items[i].path, record, &fault) != CLV_OK) {
                clvi_log(CLVI_LOG_WARN, "%s is passed over: %s", c->items[i].path, fault.message);
            } else if (same || within_limit(record, wanted)) {
                *begun = c->items[i].path;
                return CLV_OK;
            } else {
                clvi_run_record_fini(record);
            }
        } else if (same && holds(c->items[i].path, CLVI_RUN_LAST)) {
            *begun = c->items[i].path;
        }
    }
    return CLV_OK;
}

/* ---- Training ---- */

/* A child, as it is listened to. */
typedef struct listener {
    char reason[512]; /* the last sentence about a failure */
} listener;

/* What every training says before its first step; it stands in the run's log. */
static bool is_preface(const char *line)
{
    static const char *const beginnings[] = {"data: ", "device: ", "run: ", "expert ",
                                             "training: "};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(line, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

static void take_line(void *user, const char *line)
{
    static const char failure[] = "conclave: ", warning[] = "conclave: warning: ";
    listener *l = user;
    if (strncmp(line, warning, sizeof warning - 1) == 0)
        clvi_log(CLVI_LOG_WARN, "%s", line + sizeof warning - 1);
    else if (strncmp(line, failure, sizeof failure - 1) == 0)
        snprintf(l->reason, sizeof l->reason, "%s", line + sizeof failure - 1);
    else if (!is_preface(line))
        clvi_log(CLVI_LOG_INFO, "  %s", line);
}

/* The words for the child: to go on with `begun`, or to begin. They lie in the plan's arena. */
static const char *const *child_words(const plan *p, const plan_run *run, const cli_args *args,
                                      const char *begun)
{
    const char **words = clvi_arena_alloc(p->arena, (run->override_count + 16) * sizeof *words);
    size_t n = 0;
    if (words == NULL)
        return NULL;
    words[n++] = "train";
    words[n++] = "--step-times";
    if (begun != NULL) {
        words[n++] = "--resume";
        words[n++] = begun;
    } else {
        words[n++] = run->source;
        for (size_t i = 0; i < run->override_count; i++)
            words[n++] = run->overrides[i];
    }
    const char *plugins = cli_option_value(args, "plugin-path");
    if (plugins != NULL) {
        words[n++] = "--plugin-path";
        words[n++] = plugins;
    }
    return words;
}

/* Trains and waits; a failure becomes the run's fault. */
static clv_status train(const plan *p, const plan_run *run, const cli_args *args, const char *begun,
                        const volatile sig_atomic_t *stop, clv_error *error)
{
    clvi_contest_run *to = &p->comparison->contestants[run->contestant].runs[run->run];
    const char *const *words = child_words(p, run, args, begun);
    listener l = {.reason = ""};
    clvi_child_end end;
    if (words == NULL)
        return no_memory(error);
    const clvi_child_desc desc = {.arguments = words,
                                  .silence_seconds = INFINITY,
                                  .line = take_line,
                                  .user = &l,
                                  .errors = true,
                                  .stop = stop};
    CLV_TRY(clvi_child_run(&desc, &end, error));
    if (*stop != 0)
        CLV_FAIL(error, CLV_E_INTERRUPTED, "stopped; the same command goes on where it was");
    if (end.signal != 0)
        snprintf(l.reason, sizeof l.reason, "it was ended by signal %d", end.signal);
    else if (end.status == 0)
        return CLV_OK;
    else if (l.reason[0] == '\0')
        snprintf(l.reason, sizeof l.reason, "it ended with status %d", end.status);
    to->fault = clvi_strdup(l.reason);
    return to->fault != NULL ? CLV_OK : no_memory(error);
}

/* ---- One run of the plan ---- */

static clv_status take_given(const plan_run *run, clvi_contest_run *to, clv_error *error)
{
    clv_error fault = CLV_ERROR_INIT;
    const clv_status status = clvi_run_record_read(run->given, &to->record, &fault);
    if (status == CLV_OK)
        return CLV_OK;
    to->fault = clvi_strdup(fault.message);
    return to->fault != NULL ? CLV_OK : no_memory(error);
}

/* Looks for the run again after its training. */
static clv_status take_trained(const plan *p, const plan_run *run, clvi_contest_run *to,
                               clv_error *error)
{
    candidates c = {0};
    const char *begun = NULL;
    CLV_TRY(list_candidates(p->output, &c, error));
    const clv_status status = find_run(&c, run->config, &to->record, &begun, error);
    candidates_fini(&c);
    if (status == CLV_OK && to->record.path == NULL) {
        to->fault = clvi_strdup("its training ended well, but its run is not found");
        return to->fault != NULL ? CLV_OK : no_memory(error);
    }
    return status;
}

static clv_status take_run(const plan *p, size_t index, const cli_args *args,
                           const volatile sig_atomic_t *stop, clv_error *error)
{
    const plan_run *run = &p->runs[index];
    const clvi_contestant *model = &p->comparison->contestants[run->contestant];
    clvi_contest_run *to = &p->comparison->contestants[run->contestant].runs[run->run];
    candidates c = {0};
    const char *begun = NULL;
    if (run->given != NULL)
        return take_given(run, to, error);
    CLV_TRY(list_candidates(p->output, &c, error));
    clv_status status = find_run(&c, run->config, &to->record, &begun, error);
    const char *kept = begun != NULL ? clvi_arena_strdup(p->arena, begun) : NULL;
    candidates_fini(&c);
    CLV_TRY(status);
    if (begun != NULL && kept == NULL)
        return no_memory(error);
    char head[64];
    snprintf(head, sizeof head, "[%zu/%zu]", index + 1, p->count);
    if (to->record.path != NULL) {
        clvi_log(CLVI_LOG_INFO, "%s %s, seed %lld: %s", head, model->name, (long long)to->seed,
                 kept);
        return CLV_OK;
    }
    bool given;
    clv_error cause = CLV_ERROR_INIT;
    if (clvi_train_has_images(run->config, true, &given, &cause) != CLV_OK)
        CLV_FAIL(error, CLV_E_USAGE, "%s has to be trained; %s", model->name, cause.message);
    const bool anew = kept == NULL || clvi_config_real(run->config, "train", "max_seconds") > 0;
    clvi_log(CLVI_LOG_INFO, "%s %s, seed %lld: %s%s", head, model->name, (long long)to->seed,
             anew ? "training" : "going on with ", anew ? "" : kept);
    CLV_TRY(train(p, run, args, anew ? NULL : kept, stop, error));
    if (to->fault != NULL) {
        clvi_log(CLVI_LOG_WARN, "%s, seed %lld, failed: %s", model->name, (long long)to->seed,
                 to->fault);
        return CLV_OK;
    }
    return take_trained(p, run, to, error);
}

clv_status contest_run(const plan *p, const cli_args *args, const volatile sig_atomic_t *stop,
                       clv_error *error)
{
    for (size_t i = 0; i < p->count; i++)
        CLV_TRY(take_run(p, i, args, stop, error));
    return CLV_OK;
}
