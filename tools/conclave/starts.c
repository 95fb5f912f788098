/* See starts.h. */
#include "starts.h"

#include "base/files.h"
#include "base/process.h"
#include "mixture/initial_weights.h"
#include "mixture/input_form.h"
#include "train/initial_run.h"
#include "train/run_dir.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* MOST_OVERRIDES: more than [data], its sources, [device] and what follows have keys. */
enum { MOST_DEPTH = 8, MOST_OVERRIDES = 256, SEEDS_APART = 100 };

/* The files that lead to a configuration, the last one first. */
typedef struct chain {
    const char *path; /* "": changed on the command line, so that it may start from itself */
    const struct chain *from;
    int depth;
} chain;

typedef struct planner {
    clvi_plugins *plugins;
    clvi_arena *arena;
} planner;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: what the experts start from");
}

static clv_status plan_config(const planner *p, clvi_config *config, const chain *from,
                              cli_starts *out, clv_error *error);

void cli_starts_fini(cli_starts *starts)
{
    for (size_t i = 0; i < starts->count; i++) {
        cli_starts_fini(&starts->items[i].starts);
        clvi_config_destroy(starts->items[i].recipe.config);
    }
    *starts = (cli_starts){0};
}

/* ---- Settling ---- */

static clv_status settle(clvi_config *config, const char *section, const char *checkpoint,
                         const char *expert, clv_error *error)
{
    clvi_text value = {0};
    clvi_text_printf(&value, "%s:%s", checkpoint, expert);
    clv_status status =
        value.failed ? no_memory(error)
                     : clvi_config_replace(config, section, "init", clvi_text_get(&value), error);
    clvi_text_fini(&value);
    if (status == CLV_OK)
        status = clvi_input_form_settle(config, section, error);
    return status;
}

/* Of a run's folder. */
static clv_status settle_run(clvi_config *config, const cli_start *start, const char *folder,
                             clv_error *error)
{
    char *path = clvi_path_join(folder, CLVI_RUN_BEST);
    if (path == NULL)
        return no_memory(error);
    const clv_status status = settle(config, start->section, path, start->expert, error);
    clvi_free(path);
    return status;
}

/* ---- A run that is named ---- */

/* The checkpoint of a run's folder, or `what` itself where that is a file; in the arena. */
static clv_status find_checkpoint(const planner *p, const clvi_config *config, const char *section,
                                  const char *what, const char **out, clv_error *error)
{
    char *folder = NULL;
    if (clvi_is_file(what)) {
        if (!clvi_has_ending(what, ".safetensors"))
            return clvi_config_fail(config, section, "init", error,
                                    "%s is no checkpoint of a run; other files of weights go to "
                                    "`weights`",
                                    what);
        *out = clvi_arena_strdup(p->arena, what);
        return *out != NULL ? CLV_OK : no_memory(error);
    }
    clv_error cause = CLV_ERROR_INIT;
    if (clvi_run_find(clvi_config_text(config, "run", "output"), what, &folder, &cause) != CLV_OK)
        return clvi_config_fail(config, section, "init", error, "%s", cause.message);
    const char *path = clvi_arena_printf(p->arena, "%s/%s", folder, CLVI_RUN_BEST);
    const char *summary = clvi_arena_printf(p->arena, "%s/%s", folder, CLVI_RUN_SUMMARY);
    clv_status status = path != NULL && summary != NULL ? CLV_OK : no_memory(error);
    if (status == CLV_OK && !clvi_is_file(path))
        status = clvi_config_fail(config, section, "init", error,
                                  "%s has no %s: no epoch of this run was finished", folder,
                                  CLVI_RUN_BEST);
    else if (status == CLV_OK && !clvi_is_file(summary))
        clvi_log(CLVI_LOG_WARN, "%s starts from %s, which has not ended", section, folder);
    clvi_free(folder);
    *out = path;
    return status;
}

static clv_status take_named(const planner *p, clvi_config *config, const char *section,
                             const char *what, const char *expert, clv_error *error)
{
    const char *path = NULL;
    clvi_checkpoint *checkpoint = NULL;
    clvi_initial_expert from = {0};
    clvi_config *theirs = NULL;
    CLV_TRY(find_checkpoint(p, config, section, what, &path, error));
    clv_status status = clvi_initial_run_open(path, &checkpoint, &theirs, error);
    clvi_checkpoint_close(checkpoint);
    if (status != CLV_OK) {
        clvi_prepend(error, "%s: [%s] init", clvi_config_origin(config, section, "init"), section);
        return status;
    }
    from = (clvi_initial_expert){.config = theirs, .source = what};
    status = clvi_initial_expert_pick(config, section, expert, &from, error);
    if (status == CLV_OK)
        status = clvi_initial_expert_match(config, section, &from, p->plugins, error);
    if (status == CLV_OK)
        status = settle(config, section, path, clvi_config_leaf_name(theirs, from.index), error);
    clvi_config_destroy(theirs);
    return status;
}

/* ---- A configuration: what changes it ---- */

typedef struct changes {
    clvi_arena *arena;
    const char **list;
    size_t count;
} changes;

static clv_status add_change(changes *c, const char *section, const char *key, const char *value,
                             clv_error *error)
{
    CLV_ASSERT(c->count < MOST_OVERRIDES);
    c->list[c->count] = clvi_arena_printf(c->arena, "%s.%s=%s", section, key, value);
    return c->list[c->count++] != NULL ? CLV_OK : no_memory(error);
}

static bool is_said(const clvi_config *config, const char *section, const char *key)
{
    return strcmp(clvi_config_origin(config, section, key), "command line") == 0;
}

/* The images are those of who starts from the run; how it learns from them is its own, but for what
 * the command line says of all that is trained. */
static bool is_shared(const char *section, const char *key, const char *value, bool said)
{
    const bool data = strcmp(section, "data") == 0;
    if (data && (strcmp(key, "augment") == 0 || strcmp(key, "sampler") == 0))
        return said;
    if (data && strcmp(key, "path") == 0)
        return *value != '\0';
    if (data || strncmp(section, "data.", 5) == 0 || strcmp(section, "device") == 0)
        return true;
    if (strcmp(section, "train") == 0)
        return said && strcmp(key, "cache_features") != 0 && strcmp(key, "feature_folder") != 0;
    if (strcmp(section, "loss") == 0)
        return said && (strcmp(key, "label_smoothing") == 0 || strcmp(key, "class_weights") == 0);
    return said && (strcmp(section, "optimizer") == 0 || strcmp(section, "schedule") == 0);
}

/* A clvi_config_visitor. */
static clv_status take_value(void *user, const char *section, const char *key, const char *value,
                             const char *origin, clv_error *error)
{
    if (!is_shared(section, key, value, strcmp(origin, "command line") == 0))
        return CLV_OK;
    return add_change(user, section, key, value, error);
}

/* The seed of the run of the configuration at `path` that the last one of `starts`, not counted
 * yet, starts from. */
static int64_t seed_for(const clvi_config *config, const cli_starts *starts, const char *path)
{
    const cli_start *start = &starts->items[starts->count];
    const int64_t own = clvi_config_seed(config, start->section);
    int64_t seed = clvi_config_int(config, "run", "seed");
    const char *init = clvi_config_text(config, start->section, "init");
    if (own >= 0)
        return own;
    for (size_t i = 0; i < starts->count; i++) {
        const cli_start *other = &starts->items[i];
        const bool alike = strcmp(clvi_config_text(config, other->section, "init"), init) == 0 ||
                           strcmp(other->expert, start->expert) == 0;
        if (alike && clvi_config_seed(config, other->section) < 0 &&
            clvi_same_file(other->recipe.source, path))
            seed += SEEDS_APART;
    }
    return seed;
}

static clv_status load_plain(const char *path, clvi_config **out, clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    const clvi_config_source source = {.name = path, .folders = folders, .folder_count = 1};
    return clvi_config_load(&source, out, error);
}

/* What the run is called: as the configuration, and with its seed where that is another. */
static clv_status name_run(changes *c, const char *path, int64_t seed, const char **name,
                           clv_error *error)
{
    clvi_config *plain = NULL;
    CLV_TRY(load_plain(path, &plain, error));
    const bool other = clvi_config_int(plain, "run", "seed") != seed;
    *name = clvi_arena_strdup(c->arena, clvi_config_name(plain));
    clvi_config_destroy(plain);
    if (*name == NULL)
        return no_memory(error);
    if (!other)
        return CLV_OK;
    const char *run = clvi_arena_printf(c->arena, "%s-seed%lld", *name, (long long)seed);
    return run != NULL ? add_change(c, "run", "name", run, error) : no_memory(error);
}

/* The section of the nearest mixture around an expert that has init_epochs: "mixture.a", or
 * "mixture" where none has. */
static const char *epochs_section(const clvi_config *config, const char *section,
                                  char out[CLVI_EXPERT_BYTES])
{
    char around[CLVI_EXPERT_BYTES];
    snprintf(around, sizeof around, "%s", strchr(section, '.') + 1);
    for (char *slash; (slash = strrchr(around, '/')) != NULL;) {
        *slash = '\0';
        snprintf(out, CLVI_EXPERT_BYTES, "mixture.%.*s", CLVI_EXPERT_BYTES - 16, around);
        if (clvi_config_int(config, out, "init_epochs") > 0)
            return out;
    }
    return "mixture";
}

/* They count where the command line gives no other number for all trainings. */
static clv_status add_epochs(changes *c, const clvi_config *config, const char *section,
                             clv_error *error)
{
    char name[CLVI_EXPERT_BYTES], number[32];
    const char *mixture = epochs_section(config, section, name);
    const int64_t epochs = clvi_config_int(config, mixture, "init_epochs");
    if (epochs == 0 ||
        (is_said(config, "train", "epochs") && !is_said(config, mixture, "init_epochs")))
        return CLV_OK;
    snprintf(number, sizeof number, "%lld", (long long)epochs);
    return add_change(c, "train", "epochs", number, error);
}

/* Of the last one of `starts`, not counted yet. */
static clv_status make_recipe(const planner *p, const clvi_config *config, const char *path,
                              cli_starts *starts, clv_error *error)
{
    cli_start *start = &starts->items[starts->count];
    changes c = {.arena = p->arena};
    char number[32];
    cli_recipe recipe = {.source = clvi_arena_strdup(p->arena, path)};
    c.list = clvi_arena_alloc(p->arena, MOST_OVERRIDES * sizeof *c.list);
    if (c.list == NULL || recipe.source == NULL)
        return no_memory(error);
    CLV_TRY(clvi_config_visit(config, take_value, &c, error));
    const int64_t seed = seed_for(config, starts, path);
    CLV_TRY(add_epochs(&c, config, start->section, error));
    snprintf(number, sizeof number, "%lld", (long long)seed);
    CLV_TRY(add_change(&c, "run", "seed", number, error));
    CLV_TRY(add_change(&c, "run", "output", clvi_config_text(config, "run", "output"), error));
    CLV_TRY(name_run(&c, path, seed, &recipe.name, error));
    recipe.overrides = c.list;
    recipe.override_count = c.count;
    CLV_TRY(cli_recipe_load(&recipe, p->plugins, error));
    start->recipe = recipe;
    return CLV_OK;
}

/* ---- A configuration ---- */

/* Refuses one of the files that lead to it, naming the circle. */
static clv_status check_circle(const clvi_config *config, const char *section, const chain *from,
                               const char *path, clv_error *error)
{
    char here[PATH_MAX], there[PATH_MAX];
    const char *real = realpath(path, here) != NULL ? here : path;
    for (const chain *c = from; c != NULL; c = c->from) {
        if (strcmp(realpath(c->path, there) != NULL ? there : c->path, real) != 0)
            continue;
        clvi_text way = {0};
        for (const chain *step = from; step != c; step = step->from)
            clvi_text_printf(&way, ", from which %s starts", step->path);
        const clv_status status = clvi_config_fail(config, section, "init", error,
                                                   "%s would start from %s, which is a circle%s",
                                                   from->path, path, clvi_text_get(&way));
        clvi_text_fini(&way);
        return status;
    }
    if (from->depth < MOST_DEPTH)
        return CLV_OK;
    return clvi_config_fail(config, section, "init", error, "more than %d runs start from another",
                            MOST_DEPTH);
}

/* Which of the experts of the configuration at `path` is meant. */
static clv_status pick_expert(const planner *p, const clvi_config *config, const char *path,
                              const char *expert, cli_start *start, size_t *index, clv_error *error)
{
    clvi_config *plain = NULL;
    CLV_TRY(load_plain(path, &plain, error));
    clvi_initial_expert other = {.config = plain, .source = clvi_config_name(plain)};
    clv_status status = clvi_initial_expert_pick(config, start->section, expert, &other, error);
    if (status == CLV_OK) {
        *index = other.index;
        start->expert = clvi_arena_strdup(p->arena, clvi_config_leaf_name(plain, other.index));
        status = start->expert != NULL ? CLV_OK : no_memory(error);
    }
    clvi_config_destroy(plain);
    return status;
}

/* Fills the last one of `starts`, not counted yet. */
static clv_status take_config(const planner *p, clvi_config *config, const chain *from,
                              const char *path, const char *expert, cli_starts *starts,
                              clv_error *error)
{
    cli_start *start = &starts->items[starts->count];
    size_t index = 0;
    CLV_TRY(check_circle(config, start->section, from, path, error));
    CLV_TRY(pick_expert(p, config, path, expert, start, &index, error));
    CLV_TRY(make_recipe(p, config, path, starts, error));
    const chain here = {.path = path, .from = from, .depth = from->depth + 1};
    CLV_TRY(plan_config(p, start->recipe.config, &here, &start->starts, error));
    const clvi_initial_expert other = {
        .config = start->recipe.config, .source = start->recipe.name, .index = index};
    return clvi_initial_expert_match(config, start->section, &other, p->plugins, error);
}

/* ---- What `init` says ---- */

/* What of the value comes before ":EXPERT"; *expert: that, or NULL. */
static const char *split(const planner *p, const char *init, const char **expert)
{
    const char *colon = clvi_init_colon(init);
    const bool whole = colon == NULL || clvi_is_file(init) || clvi_is_dir(init);
    *expert = whole ? NULL : colon + 1;
    return whole ? init : clvi_arena_printf(p->arena, "%.*s", (int)(colon - init), init);
}

/* FILE.ini as seen from the folder of the file that says it; on the command line, from the working
 * directory. */
static clv_status find_file(const clvi_config *config, const char *section, const char *what,
                            char **path, clv_error *error)
{
    const char *origin = clvi_config_origin(config, section, "init");
    const char *slash = strrchr(origin, '/');
    clvi_text text = {0};
    if (*what != '/' && slash != NULL)
        clvi_text_append_n(&text, origin, (size_t)(slash + 1 - origin));
    clvi_text_append(&text, what);
    *path = text.failed ? NULL : clvi_strdup(clvi_text_get(&text));
    clvi_text_fini(&text);
    if (*path == NULL)
        return no_memory(error);
    if (clvi_is_file(*path))
        return CLV_OK;
    const clv_status status =
        clvi_config_fail(config, section, "init", error, "there is no file %s", *path);
    clvi_free(*path);
    return status;
}

/* *path: of a configuration; NULL: a run. What has a '/', a file and what can only be a run is one,
 * but not FILE.ini; then come configurations, then the names of runs. */
static clv_status find_config(const clvi_config *config, const char *section, const char *what,
                              char **path, clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    *path = NULL;
    if (clvi_has_ending(what, ".ini"))
        return find_file(config, section, what, path, error);
    if (strchr(what, '/') != NULL || clvi_is_file(what) || clvi_run_meant(what))
        return CLV_OK;
    clv_error fault = CLV_ERROR_INIT, none = CLV_ERROR_INIT;
    char *run = NULL;
    if (clvi_config_find(what, folders, 1, path, &fault) == CLV_OK)
        return CLV_OK;
    const char *output = clvi_config_text(config, "run", "output");
    if (clvi_run_find(output, what, &run, &none) == CLV_OK) {
        clvi_free(run);
        return CLV_OK;
    }
    return clvi_config_fail(config, section, "init", error, "%s, and no run in %s/", fault.message,
                            output);
}

static clv_status plan_expert(const planner *p, clvi_config *config, const char *section,
                              const chain *from, cli_starts *out, clv_error *error)
{
    const char *expert, *init = clvi_config_text(config, section, "init");
    char *path = NULL;
    if (*init == '\0' || clvi_init_is_settled(init))
        return CLV_OK;
    const char *what = split(p, init, &expert);
    if (what == NULL)
        return no_memory(error);
    CLV_TRY(find_config(config, section, what, &path, error));
    if (path == NULL)
        return take_named(p, config, section, what, expert, error);
    const bool said = is_said(config, section, "init");
    const chain changed = {.path = ""};
    out->items[out->count] = (cli_start){.section = section};
    const clv_status status =
        take_config(p, config, said ? &changed : from, path, expert, out, error);
    out->count++; /* half made or not, it is freed with the others */
    clvi_free(path);
    return status;
}

/* init_epochs where nothing has to be trained: of a file it is of no use to experts whose `init`
 * were changed to runs, and goes; otherwise it was meant. */
static clv_status check_epochs(clvi_config *config, clv_error *error)
{
    bool any = false;
    if (clvi_config_int(config, "mixture", "init_epochs") == 0)
        return CLV_OK;
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++)
        any = any || *clvi_config_text(config, clvi_config_leaf_section(config, i), "init") != '\0';
    if (any && !is_said(config, "mixture", "init_epochs"))
        return clvi_config_replace(config, "mixture", "init_epochs", "0", error);
    return clvi_config_fail(config, "mixture", "init_epochs", error,
                            "no expert has an `init` that names a configuration");
}

static clv_status plan_config(const planner *p, clvi_config *config, const chain *from,
                              cli_starts *out, clv_error *error)
{
    const size_t experts = clvi_config_leaf_count(config);
    cli_starts starts = {.items = clvi_arena_alloc(p->arena, experts * sizeof *starts.items)};
    clv_status status = starts.items != NULL ? CLV_OK : no_memory(error);
    for (size_t i = 0; i < experts && status == CLV_OK; i++)
        status = plan_expert(p, config, clvi_config_leaf_section(config, i), from, &starts, error);
    if (status == CLV_OK && starts.count == 0)
        status = check_epochs(config, error);
    if (status != CLV_OK) {
        cli_starts_fini(&starts);
        return status;
    }
    *out = starts;
    return CLV_OK;
}

clv_status cli_starts_plan(clvi_config *config, clvi_plugins *plugins, clvi_arena *arena,
                           cli_starts *out, clv_error *error)
{
    const planner p = {plugins, arena};
    const chain top = {.path = clvi_config_path(config)};
    return plan_config(&p, config, &top, out, error);
}

/* ---- Making ---- */

/* They are what they are now; how long they were trained stands in their own configurations. */
static clv_status forget_epochs(const cli_starts *starts, clvi_config *config, clv_error *error)
{
    char name[CLVI_EXPERT_BYTES];
    for (size_t i = 0; i < starts->count; i++) {
        const char *section = starts->items[i].section;
        const char *mixture = epochs_section(config, section, name);
        while (clvi_config_int(config, mixture, "init_epochs") > 0) {
            CLV_TRY(clvi_config_replace(config, mixture, "init_epochs", "0", error));
            mixture = epochs_section(config, section, name);
        }
    }
    return CLV_OK;
}

static clv_status make_start(const cli_start *start, clvi_config *config, cli_trainings *t,
                             const char *head, const char **fault, clv_error *error)
{
    const char *expert = strchr(start->section, '.') + 1, *reason = NULL;
    char *own = clvi_arena_printf(t->arena, "%sfor expert %s: ", head, expert);
    clvi_run_record record = {0};
    if (own == NULL)
        return no_memory(error);
    CLV_TRY(cli_starts_make(&start->starts, start->recipe.config, t, own, &reason, error));
    if (reason == NULL)
        CLV_TRY(cli_obtain(t, &start->recipe, own, &record, &reason, error));
    if (reason != NULL) {
        *fault = clvi_arena_printf(
            t->arena, "%s, seed %lld, which expert %s starts from, failed: %s", start->recipe.name,
            (long long)clvi_config_int(start->recipe.config, "run", "seed"), expert, reason);
        return *fault != NULL ? CLV_OK : no_memory(error);
    }
    const clv_status status = settle_run(config, start, record.path, error);
    clvi_run_record_fini(&record);
    return status;
}

clv_status cli_starts_make(const cli_starts *starts, clvi_config *config, cli_trainings *t,
                           const char *head, const char **fault, clv_error *error)
{
    *fault = NULL;
    for (size_t i = 0; i < starts->count && *fault == NULL; i++)
        CLV_TRY(make_start(&starts->items[i], config, t, head, fault, error));
    return *fault == NULL ? forget_epochs(starts, config, error) : CLV_OK;
}

static clv_status show_start(const cli_start *start, clvi_config *config, bool *missing,
                             clv_error *error)
{
    const clvi_config *theirs = start->recipe.config;
    clvi_run_record record = {0};
    bool inner = false;
    CLV_TRY(cli_starts_show(&start->starts, start->recipe.config, &inner, error));
    if (!inner)
        CLV_TRY(cli_find_made(&start->recipe, &record, error));
    printf("first   %s, seed %lld, %lld epochs, for expert %s: ", start->recipe.name,
           (long long)clvi_config_int(theirs, "run", "seed"),
           (long long)clvi_config_int(theirs, "train", "epochs"), strchr(start->section, '.') + 1);
    printf("%s%s\n", record.path != NULL ? "as in " : "to be trained",
           record.path != NULL ? record.path : "");
    if (record.path == NULL) {
        *missing = true;
        return CLV_OK;
    }
    const clv_status status = settle_run(config, start, record.path, error);
    clvi_run_record_fini(&record);
    return status;
}

clv_status cli_starts_show(const cli_starts *starts, clvi_config *config, bool *missing,
                           clv_error *error)
{
    *missing = false;
    for (size_t i = 0; i < starts->count; i++)
        CLV_TRY(show_start(&starts->items[i], config, missing, error));
    return *missing ? CLV_OK : forget_epochs(starts, config, error);
}
