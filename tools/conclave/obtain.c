/* See obtain.h. */
#include "obtain.h"

#include "freeze.h"
#include "made_runs.h"

#include "base/child.h"
#include "base/process.h"
#include "mixture/input_form.h"
#include "train/settings.h"

#include <math.h>
#include <stdio.h>

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the runs that are wanted");
}

/* ---- Recipes ---- */

clv_status cli_recipe_load(cli_recipe *recipe, clvi_plugins *plugins, clv_error *error)
{
    clvi_text report = {0};
    clvi_config *config = NULL;
    const char *const folders[] = {cli_config_dir()};
    const clvi_config_source source = {.name = recipe->source,
                                       .folders = folders,
                                       .folder_count = 1,
                                       .overrides = recipe->overrides,
                                       .override_count = recipe->override_count,
                                       .report = &report};
    clv_status status = clvi_config_load(&source, &config, error);
    clvi_text_fini(&report);
    CLV_TRY(status);
    status = cli_freeze_config(config, plugins, error);
    /* As training does when it has begun. */
    for (size_t i = 0; status == CLV_OK && i < clvi_config_leaf_count(config); i++)
        status = clvi_input_form_settle(config, clvi_config_leaf_section(config, i), error);
    if (status == CLV_OK)
        recipe->config = config;
    else
        clvi_config_destroy(config);
    return status;
}

void cli_trainings_fini(cli_trainings *t)
{
    clvi_free(t->failures);
    *t = (cli_trainings){0};
}

/* ---- What has failed ---- */

static clv_status find_failure(cli_trainings *t, const clvi_config *config, const char **reason,
                               clv_error *error)
{
    *reason = NULL;
    for (size_t i = 0; i < t->failed && *reason == NULL; i++) {
        bool same, seconds;
        CLV_TRY(cli_same_training(t->failures[i].config, config, true, &same, &seconds, error));
        if (!same)
            continue;
        *reason = t->failures[i].reason;
        t->refused = t->failures[i].refused;
    }
    return CLV_OK;
}

static clv_status add_failure(cli_trainings *t, const clvi_config *config, const char *reason,
                              clv_error *error)
{
    void *failures = t->failures;
    CLV_TRY(clvi_grow(&failures, &t->failure_capacity, t->failed + 1, sizeof *t->failures, error));
    t->failures = failures;
    t->failures[t->failed++] = (cli_failure){config, reason, t->refused};
    return CLV_OK;
}

/* ---- Training ---- */

/* A child, as it is listened to. */
typedef struct listener {
    bool brief, refused;
    char reason[512]; /* the last sentence about a failure */
} listener;

/* What every training says before its first step, of what experts start from as well, which is
 * there by then; it stands in the run's log. */
static bool is_preface(const char *line)
{
    static const char *const beginnings[] = {
        "data: ", "device: ", "run: ", "expert ", "training: ", "for expert "};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(line, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

static bool is_computing(const char *line)
{
    return strncmp(line, "features of ", 12) == 0 && strstr(line, " computed ") != NULL;
}

static void take_line(void *user, const char *line)
{
    static const char failure[] = "conclave: ", warning[] = "conclave: warning: ";
    listener *l = user;
    if (l->brief && strstr(line, " hardly used") != NULL)
        return; /* it stands in the run's log, and in the table of experts */
    if (strcmp(line, CLI_TRAIN_REFUSED) == 0)
        l->refused = true;
    else if (strncmp(line, warning, sizeof warning - 1) == 0)
        clvi_log(CLVI_LOG_WARN, "%s", line + sizeof warning - 1);
    else if (strncmp(line, failure, sizeof failure - 1) == 0)
        snprintf(l->reason, sizeof l->reason, "%s", line + sizeof failure - 1);
    else if (l->brief ? is_computing(line) : !is_preface(line))
        clvi_log(CLVI_LOG_INFO, "  %s", line);
}

/* The words for the child: to go on with `begun`, or to begin. They lie in the arena. */
static const char *const *child_words(const cli_trainings *t, const cli_recipe *recipe,
                                      const char *begun)
{
    const char **words = clvi_arena_alloc(t->arena, (recipe->override_count + 16) * sizeof *words);
    size_t n = 0;
    if (words == NULL)
        return NULL;
    words[n++] = cmd_train_child.name;
    if (t->step_times)
        words[n++] = "--step-times";
    if (begun != NULL) {
        words[n++] = "--resume";
        words[n++] = begun;
    } else {
        words[n++] = recipe->source;
        for (size_t i = 0; i < recipe->override_count; i++)
            words[n++] = recipe->overrides[i];
    }
    const char *plugins = cli_option_value(t->args, "plugin-path");
    if (plugins != NULL) {
        words[n++] = "--plugin-path";
        words[n++] = plugins;
    }
    return words;
}

/* Trains and waits. */
static clv_status train(cli_trainings *t, const cli_recipe *recipe, const char *begun,
                        const char **fault, clv_error *error)
{
    const char *const *words = child_words(t, recipe, begun);
    listener l = {.brief = t->brief};
    clvi_child_end end;
    if (words == NULL)
        return no_memory(error);
    const clvi_child_desc desc = {.arguments = words,
                                  .silence_seconds = INFINITY,
                                  .line = take_line,
                                  .user = &l,
                                  .errors = true,
                                  .stop = t->stop};
    CLV_TRY(clvi_child_run(&desc, &end, error));
    if (*t->stop != 0)
        CLV_FAIL(error, CLV_E_INTERRUPTED, "stopped; the same command goes on where it was");
    if (end.signal != 0)
        snprintf(l.reason, sizeof l.reason, "it was ended by signal %d", end.signal);
    else if (end.status == 0)
        return CLV_OK;
    else if (l.reason[0] == '\0')
        snprintf(l.reason, sizeof l.reason, "it ended with status %d", end.status);
    t->refused = l.refused;
    *fault = clvi_arena_strdup(t->arena, l.reason);
    return *fault != NULL ? add_failure(t, recipe->config, *fault, error) : no_memory(error);
}

/* ---- Finding, then training ---- */

/* *begun, for the caller to free: the folder of a run that was interrupted; NULL: none. */
static clv_status find_run(const cli_recipe *recipe, clvi_run_record *record, char **begun,
                           clv_error *error)
{
    cli_made_runs runs = {0};
    const char *folder = NULL;
    CLV_TRY(cli_made_runs_list(clvi_config_text(recipe->config, "run", "output"), &runs, error));
    clv_status status = cli_made_runs_find(&runs, recipe->config, record, &folder, error);
    *begun = status == CLV_OK && folder != NULL ? clvi_strdup(folder) : NULL;
    if (status == CLV_OK && folder != NULL && *begun == NULL)
        status = no_memory(error);
    cli_made_runs_fini(&runs);
    return status;
}

clv_status cli_find_made(const cli_recipe *recipe, clvi_run_record *record, clv_error *error)
{
    char *begun = NULL;
    const clv_status status = find_run(recipe, record, &begun, error);
    clvi_free(begun);
    return status;
}

static clv_status make(cli_trainings *t, const cli_recipe *recipe, const char *head,
                       const char *begun, const char **fault, clv_error *error)
{
    bool given;
    clv_error cause = CLV_ERROR_INIT;
    const long long seed = (long long)clvi_config_int(recipe->config, "run", "seed");
    CLV_TRY(find_failure(t, recipe->config, fault, error));
    if (*fault != NULL)
        return CLV_OK;
    if (clvi_train_has_images(recipe->config, true, &given, &cause) != CLV_OK)
        CLV_FAIL(error, CLV_E_USAGE, "%s has to be trained; %s", recipe->name, cause.message);
    clvi_log(CLVI_LOG_INFO, "%s%s, seed %lld: %s%s", head, recipe->name, seed,
             begun == NULL ? "training" : "going on with ", begun == NULL ? "" : begun);
    CLV_TRY(train(t, recipe, begun, fault, error));
    if (*fault != NULL && !(t->brief && t->refused))
        clvi_log(CLVI_LOG_WARN, "%s, seed %lld, failed: %s", recipe->name, seed, *fault);
    return CLV_OK;
}

clv_status cli_obtain(cli_trainings *t, const cli_recipe *recipe, const char *head,
                      clvi_run_record *record, const char **fault, clv_error *error)
{
    char *begun = NULL;
    *fault = NULL;
    t->refused = false;
    CLV_TRY(find_run(recipe, record, &begun, error));
    if (record->path != NULL) {
        clvi_log(CLVI_LOG_INFO, "%s%s, seed %lld: %s", head, recipe->name,
                 (long long)clvi_config_int(recipe->config, "run", "seed"), record->path);
        clvi_free(begun);
        return CLV_OK;
    }
    const clv_status status = make(t, recipe, head, begun, fault, error);
    clvi_free(begun);
    CLV_TRY(status);
    if (*fault != NULL)
        return CLV_OK;
    CLV_TRY(cli_find_made(recipe, record, error));
    if (record->path == NULL)
        *fault = "its training ended well, but its run is not found";
    return CLV_OK;
}
