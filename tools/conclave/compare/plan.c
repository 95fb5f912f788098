/* See plan.h. */
#include "plan.h"

#include "cached.h"

#include "../made_runs.h"

#include "config/suite.h"
#include "train/run_dir.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_SEEDS = 100, MOST_POINTS = 10000 };

/* What --on-cached tries where nothing is named: with --grid, and without. */
static const char fused_config[] = "fused", fused_suite[] = "fusions";

/* ---- Models ---- */

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: what is to be compared");
}

static bool is_taken(const clvi_comparison *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (clvi_name_equal(c->contestants[i].name, name))
            return true;
    return false;
}

/* A new model; its name gets a number where there is one of that name already. */
static clv_status add_contestant(plan *p, const char *name, size_t experts, size_t runs,
                                 clv_error *error)
{
    clvi_comparison *c = p->comparison;
    void *contestants = c->contestants;
    CLV_TRY(clvi_grow(&contestants, &p->capacity, c->count + 1, sizeof *c->contestants, error));
    c->contestants = contestants;
    const char *unique = name;
    for (int number = 2; unique != NULL; number++) {
        if (!is_taken(c, unique))
            break;
        unique = clvi_arena_printf(p->arena, "%s (%d)", name, number);
    }
    clvi_contestant model = {.name = unique != NULL ? clvi_strdup(unique) : NULL,
                             .experts = experts,
                             .runs = clvi_calloc(runs, sizeof(clvi_contest_run)),
                             .run_count = runs};
    if (model.name == NULL || model.runs == NULL) {
        clvi_free(model.name);
        clvi_free(model.runs);
        return no_memory(error);
    }
    c->contestants[c->count++] = model;
    return CLV_OK;
}

static clv_status add_run(plan *p, const plan_run *run, clv_error *error)
{
    void *runs = p->runs;
    CLV_TRY(clvi_grow(&runs, &p->run_capacity, p->count + 1, sizeof *p->runs, error));
    p->runs = runs;
    p->runs[p->count++] = *run;
    return CLV_OK;
}

clv_status plan_leave_out(plan *p, const char *name, const char *reason, clv_error *error)
{
    if (p->left_out++ > 0)
        return CLV_OK;
    p->left_name = clvi_arena_strdup(p->arena, name);
    p->left_reason = clvi_arena_strdup(p->arena, reason);
    return p->left_name != NULL && p->left_reason != NULL ? CLV_OK : no_memory(error);
}

/* ---- Runs that were named ---- */

/* A run whose experts the others are made of: a model by itself, beside every seed of them. */
static clv_status add_cached_run(plan *p, const char *folder, clv_error *error)
{
    clvi_comparison *c = p->comparison;
    plan_run run = {.given = folder, .contestant = c->count};
    CLV_TRY(clvi_run_config(folder, &run.recipe.config, error));
    clv_status status = add_contestant(p, clvi_path_name(folder),
                                       clvi_config_expert_count(run.recipe.config), 1, error);
    if (status == CLV_OK) {
        c->contestants[run.contestant].fixed = true;
        c->contestants[run.contestant].runs[0].seed =
            clvi_config_int(run.recipe.config, "run", "seed");
        status = add_run(p, &run, error);
    }
    if (status != CLV_OK)
        clvi_config_destroy(run.recipe.config);
    return status;
}

/* A run becomes another seed of a named run's model, where all else is the same, or a model. */
static clv_status add_named_run(plan *p, const char *folder, clv_error *error)
{
    plan_run run = {.given = clvi_arena_strdup(p->arena, folder)};
    if (run.given == NULL)
        return no_memory(error);
    clv_status status = clvi_run_config(folder, &run.recipe.config, error);
    CLV_TRY(status);
    clvi_comparison *c = p->comparison;
    const int64_t seed = clvi_config_int(run.recipe.config, "run", "seed");
    bool same = false, seconds, again = false;
    for (size_t i = 0; i < p->count && !same && status == CLV_OK; i++) {
        if (p->runs[i].given == NULL || c->contestants[p->runs[i].contestant].fixed)
            continue;
        status = cli_same_training(p->runs[i].recipe.config, run.recipe.config, false, &same,
                                   &seconds, error);
        run.contestant = p->runs[i].contestant;
    }
    if (status == CLV_OK && !same) {
        run.contestant = c->count;
        const char *name = clvi_config_name(run.recipe.config);
        status = add_contestant(p, is_taken(c, name) ? run.given : name,
                                clvi_config_expert_count(run.recipe.config), 1, error);
    } else if (status == CLV_OK) {
        clvi_contestant *model = &c->contestants[run.contestant];
        for (size_t i = 0; i < model->run_count; i++)
            again = again || model->runs[i].seed == seed;
        void *more = again
                         ? model->runs
                         : clvi_realloc(model->runs, (model->run_count + 1) * sizeof *model->runs);
        if (more == NULL)
            status = no_memory(error);
        else if (!again)
            model->runs = more, run.run = model->run_count++;
    }
    if (status == CLV_OK && !again) {
        c->contestants[run.contestant].runs[run.run] = (clvi_contest_run){.seed = seed};
        status = add_run(p, &run, error);
    }
    if (status != CLV_OK || again)
        clvi_config_destroy(run.recipe.config);
    if (status == CLV_OK && again)
        clvi_log(CLVI_LOG_WARN, "%s is left out: it is the same as another one, seed included",
                 folder);
    return status;
}

/* ---- Configurations ---- */

/* What a configuration is trained with, beside its own keys. */
typedef struct variant {
    const char *const *overrides; /* of all */
    size_t override_count;
    const char **point; /* "key=value" of the grid */
    size_t point_count;
    int64_t seeds;
    bool terse; /* points are named by their values */
} variant;

/* "lr=0.01" of "optimizer.lr=0.01". */
static const char *without_section(const char *point)
{
    const char *begin = point;
    for (const char *c = point; *c != '=' && *c != '\0'; c++)
        if (*c == '.')
            begin = c + 1;
    return begin;
}

/* What names a coordinate of a point: "lr=0.01", or, where it says enough, "concat" of
 * "mixture.combine=concat". */
static const char *show_coordinate(const variant *v, size_t index)
{
    const char *point = v->point[index], *value = strchr(point, '=') + 1;
    bool flag;
    const bool word = ((*value | 32) >= 'a' && (*value | 32) <= 'z');
    return v->terse && word && !clvi_parse_bool(value, &flag) ? value : without_section(point);
}

/* Of values, '/', '\\' and spaces have no place in a folder's name, nor ',' and ':' in that of a
 * run, which stands in lists (--on-cached) and before an expert (init = RUN:EXPERT). */
static const char *run_name(plan *p, const char *name, const variant *v, const int64_t *seed)
{
    clvi_text text = {0};
    clvi_text_append(&text, name);
    for (size_t i = 0; i < v->point_count; i++)
        clvi_text_printf(&text, "-%s", show_coordinate(v, i));
    if (v->seeds > 1)
        clvi_text_printf(&text, "-seed%lld", (long long)*seed);
    for (char *c = text.data; c != NULL && *c != '\0'; c++)
        if (strchr("/\\ ,:", *c) != NULL)
            *c = '_';
    const char *kept = text.failed ? NULL : clvi_arena_strdup(p->arena, text.data);
    clvi_text_fini(&text);
    return kept;
}

/* Loads it with everything that the call changes, and what the run is to be called. */
static clv_status load(plan *p, clvi_plugins *plugins, plan_run *run, const char *name,
                       const variant *v, int64_t seed, clv_error *error)
{
    const size_t most = v->override_count + v->point_count + 3;
    const char **list = clvi_arena_alloc(p->arena, most * sizeof *list);
    size_t n = 0;
    if (list == NULL)
        return no_memory(error);
    for (size_t i = 0; i < v->override_count; i++)
        list[n++] = v->overrides[i];
    for (size_t i = 0; i < v->point_count; i++)
        list[n++] = v->point[i];
    const char *called = run_name(p, name, v, &seed);
    list[n++] = clvi_arena_printf(p->arena, "run.seed=%lld", (long long)seed);
    list[n++] = called != NULL ? clvi_arena_printf(p->arena, "run.name=%s", called) : NULL;
    list[n++] = clvi_arena_printf(p->arena, "run.output=%s", p->output);
    if (list[n - 1] == NULL || list[n - 2] == NULL || list[n - 3] == NULL)
        return no_memory(error);
    run->recipe.overrides = list;
    run->recipe.override_count = n;
    CLV_TRY(cli_recipe_load(&run->recipe, plugins, error));
    return cli_starts_plan(run->recipe.config, plugins, p->arena, &run->starts, error);
}

/* "NAME lr=0.01 batch=64": a point of the grid. What fuses cached experts by itself has no name. */
static const char *model_name(plan *p, const char *name, const variant *v)
{
    const bool nameless = v->terse && v->point_count > 0 && strcmp(name, fused_config) == 0;
    for (size_t i = 0; i < v->point_count && name != NULL; i++)
        name = nameless && i == 0
                   ? show_coordinate(v, i)
                   : clvi_arena_printf(p->arena, "%s %s", name, show_coordinate(v, i));
    return name;
}

/* A run from one seed of a model that was just added. */
static clv_status add_seed(plan *p, clvi_plugins *plugins, plan_run run, const char *name,
                           const variant *v, int64_t seed, clv_error *error)
{
    clvi_contestant *model = &p->comparison->contestants[run.contestant];
    run.recipe.name = clvi_arena_strdup(p->arena, model->name);
    run.recipe.source = clvi_arena_strdup(p->arena, run.recipe.source);
    if (run.recipe.name == NULL || run.recipe.source == NULL)
        return no_memory(error);
    model->runs[run.run].seed = seed;
    clv_status status = load(p, plugins, &run, name, v, seed, error);
    if (status == CLV_OK)
        status = add_run(p, &run, error);
    if (status != CLV_OK)
        clvi_config_destroy(run.recipe.config);
    return status;
}

/* Whether a failure is that of a combination which may be left out; then its model goes. */
static clv_status leave_out_last(plan *p, clv_status status, const clv_error *cause,
                                 clv_error *error)
{
    clvi_comparison *c = p->comparison;
    const bool begun = p->count > 0 && p->runs[p->count - 1].contestant == c->count - 1;
    if (status != CLV_E_CONFIG || !p->cached || begun) /* begun: another seed could be */
        return clvi_fail(error, status, CLV_HERE, "%s", cause->message);
    CLV_TRY(plan_leave_out(p, c->contestants[c->count - 1].name, cause->message, error));
    clvi_contestant_fini(&c->contestants[--c->count]);
    return CLV_OK;
}

/* A model of the configuration at `path`. */
static clv_status add_model(plan *p, clvi_plugins *plugins, const char *path, const variant *v,
                            clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    const clvi_config_source source = {.name = path,
                                       .folders = folders,
                                       .folder_count = 1,
                                       .overrides = v->overrides,
                                       .override_count = v->override_count};
    clvi_config *plain = NULL;
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = clvi_config_load(&source, &plain, &cause);
    if (status == CLV_E_CONFIG && p->cached) /* as one for a single model */
        return plan_leave_out(p, clvi_path_name(path), cause.message, error);
    if (status != CLV_OK)
        return clvi_fail(error, status, CLV_HERE, "%s", cause.message);
    const int64_t first = clvi_config_int(plain, "run", "seed");
    const char *name = clvi_arena_strdup(p->arena, clvi_config_name(plain));
    const char *shown = name != NULL ? model_name(p, name, v) : NULL;
    const size_t contestant = p->comparison->count;
    status = shown != NULL ? add_contestant(p, shown, clvi_config_expert_count(plain),
                                            (size_t)v->seeds, error)
                           : no_memory(error);
    clvi_config_destroy(plain);
    CLV_TRY(status);
    for (int64_t s = 0; s < v->seeds && status == CLV_OK; s++) {
        const plan_run run = {
            .contestant = contestant, .run = (size_t)s, .recipe = {.source = path}};
        status = add_seed(p, plugins, run, name, v, first + s, &cause);
    }
    return status == CLV_OK ? CLV_OK : leave_out_last(p, status, &cause, error);
}

/* ---- The grid ---- */

/* "--grid KEY=VALUE,VALUE": an axis. */
typedef struct axis {
    const char *key;
    const char **values;
    size_t count;
} axis;

/* Values with commas of their own are separated by ';'. */
static clv_status read_axis(plan *p, const char *text, axis *out, clv_error *error)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        CLV_FAIL(error, CLV_E_USAGE, "--grid %s: give SECTION.KEY=VALUE,VALUE", text);
    char *copy = clvi_arena_strdup(p->arena, text);
    out->values = clvi_arena_alloc(p->arena, (strlen(text) + 1) * sizeof *out->values);
    if (copy == NULL || out->values == NULL)
        return no_memory(error);
    copy[equals - text] = '\0';
    out->key = copy;
    const char separator = strchr(equals, ';') != NULL ? ';' : ',';
    for (char *at = copy + (equals - text) + 1; at != NULL;) {
        char *end = strchr(at, separator);
        if (end != NULL)
            *end++ = '\0';
        at += strspn(at, " ");
        out->values[out->count++] = at;
        at = end;
    }
    return CLV_OK;
}

/* All points of the grid for one configuration; without axes the one point. */
static clv_status add_points(plan *p, clvi_plugins *plugins, const char *path, const axis *axes,
                             size_t axis_count, variant v, clv_error *error)
{
    size_t points = 1;
    for (size_t a = 0; a < axis_count; a++)
        points *= axes[a].count;
    if (points > MOST_POINTS)
        CLV_FAIL(error, CLV_E_USAGE, "--grid: %zu points are too many", points);
    v.point_count = axis_count;
    for (size_t n = 0; n < points; n++) {
        size_t rest = n;
        v.point = clvi_arena_alloc(p->arena, (axis_count + 1) * sizeof *v.point);
        for (size_t a = axis_count; v.point != NULL && a > 0; a--) {
            const axis *x = &axes[a - 1];
            v.point[a - 1] =
                clvi_arena_printf(p->arena, "%s=%s", x->key, x->values[rest % x->count]);
            rest /= x->count;
            if (v.point[a - 1] == NULL)
                return no_memory(error);
        }
        if (v.point == NULL)
            return no_memory(error);
        CLV_TRY(add_model(p, plugins, path, &v, error));
    }
    return CLV_OK;
}

/* ---- What a word means ---- */

typedef struct words {
    clvi_plugins *plugins;
    axis *axes;
    size_t axis_count;
    variant variant;
    size_t suites, others, configs; /* words that are suites, or not; configurations */
} words;

static clv_status add_config(plan *p, words *w, const char *name, clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    char *path = NULL;
    w->configs++;
    CLV_TRY(clvi_config_find(name, folders, 1, &path, error));
    const clv_status status =
        add_points(p, w->plugins, path, w->axes, w->axis_count, w->variant, error);
    clvi_free(path);
    return status;
}

/* A configuration of a suite with one of the suite's grids, to which the call's axes are added. */
static clv_status add_grid(plan *p, words *w, const char *name, const clvi_suite_grid *grid,
                           clv_error *error)
{
    words with = *w;
    w->configs++;
    with.axes = clvi_arena_alloc(p->arena, (grid->count + w->axis_count + 1) * sizeof *with.axes);
    with.axis_count = grid->count + w->axis_count;
    if (with.axes == NULL)
        return no_memory(error);
    for (size_t i = 0; i < grid->count; i++)
        CLV_TRY(read_axis(p, grid->axes[i], &with.axes[i], error));
    if (w->axis_count > 0)
        memcpy(with.axes + grid->count, w->axes, w->axis_count * sizeof *with.axes);
    return add_config(p, &with, name, error);
}

static clv_status add_of_suite(plan *p, words *w, const clvi_suite *suite, const char *name,
                               clv_error *error)
{
    if (suite->grid_count == 0)
        return add_config(p, w, name, error);
    for (size_t g = 0; g < suite->grid_count; g++)
        CLV_TRY(add_grid(p, w, name, &suite->grids[g], error));
    return CLV_OK;
}

static clv_status add_suite(plan *p, words *w, const clvi_suite *suite, const char *word,
                            clv_error *error)
{
    char *label = clvi_arena_strdup(p->arena, clvi_path_name(word));
    if (label == NULL)
        return no_memory(error);
    if (strchr(label, '.') != NULL)
        *strrchr(label, '.') = '\0';
    p->label = label;
    w->suites++;
    for (size_t i = 0; i < suite->count; i++) {
        const clv_status status = add_of_suite(p, w, suite, suite->configs[i], error);
        if (status != CLV_OK) {
            clvi_prepend(error, "suite %s", suite->path);
            return status;
        }
    }
    return CLV_OK;
}

/* No configuration, suite or run is called so: `fault` says what the configurations think. */
static clv_status refuse_word(const plan *p, const char *word, const clv_error *fault,
                              clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    clvi_config_entry *suites = NULL;
    size_t count = 0;
    CLV_TRY(clvi_suite_list(folders, 1, &suites, &count, error));
    const char **names = clvi_calloc(count + 1, sizeof *names);
    for (size_t i = 0; names != NULL && i < count; i++)
        names[i] = suites[i].name;
    const char *near = names != NULL ? clvi_nearest(word, names, count) : NULL;
    clv_status status = fault->status;
    if (near != NULL && strstr(fault->message, "did you mean") == NULL)
        status = clvi_fail(error, status, CLV_HERE,
                           "no configuration and no suite is called \"%s\"; did you mean %s?", word,
                           near);
    else
        status =
            clvi_fail(error, status, CLV_HERE, "%s, and no run in %s/", fault->message, p->output);
    clvi_free(names);
    clvi_config_list_free(suites, count);
    return status;
}

/* What can only be a run is one; then come suites, configurations, and the names of runs. */
static clv_status add_word(plan *p, words *w, const char *word, clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    clvi_suite suite;
    bool found = false;
    char *path = NULL;
    if (!clvi_run_meant(word)) {
        CLV_TRY(clvi_suite_load(word, folders, 1, &found, &suite, error));
        if (found) {
            const clv_status status = add_suite(p, w, &suite, word, error);
            clvi_suite_fini(&suite);
            return status;
        }
        w->others++;
        clv_error fault = CLV_ERROR_INIT, none = CLV_ERROR_INIT;
        const clv_status status = clvi_config_find(word, folders, 1, &path, &fault);
        clvi_free(path);
        path = NULL;
        if (status == CLV_OK)
            return add_config(p, w, word, error);
        if (clvi_run_find(p->output, word, &path, &none) != CLV_OK)
            return refuse_word(p, word, &fault, error);
    } else {
        w->others++;
        CLV_TRY(clvi_run_find(p->output, word, &path, error));
    }
    const clv_status status = add_named_run(p, path, error);
    clvi_free(path);
    return status;
}

/* ---- The whole ---- */

/* The arguments before the first SECTION.KEY=VALUE. */
static size_t count_names(const cli_args *args)
{
    size_t count = 0;
    while (count < cli_count(args) &&
           (strchr(cli_at(args, count), '=') == NULL || clvi_is_file(cli_at(args, count)) ||
            clvi_is_dir(cli_at(args, count))))
        count++;
    return count;
}

/* What is changed in every configuration: by --on-cached, then by the call's own words. */
static clv_status read_overrides(const cli_args *args, size_t names, const cached_experts *cached,
                                 plan *p, variant *v, clv_error *error)
{
    const char *const *given;
    size_t given_count, n = 0;
    CLV_TRY(cli_overrides(args, names, p->arena, &given, &given_count, error));
    const char **all =
        clvi_arena_alloc(p->arena, (cached->override_count + given_count + 1) * sizeof *all);
    const char *time = cli_option_value(args, "max-time");
    if (all == NULL)
        return no_memory(error);
    for (size_t i = 0; i < cached->override_count; i++)
        all[n++] = cached->overrides[i];
    for (size_t i = 0; i < given_count; i++)
        all[n++] = given[i];
    if (time != NULL) {
        char seconds[CLI_SECONDS_BYTES];
        CLV_TRY(cli_parse_time(time, seconds, error));
        all[n] = clvi_arena_printf(p->arena, "train.max_seconds=%s", seconds);
        if (all[n++] == NULL)
            return no_memory(error);
    }
    v->overrides = all;
    v->override_count = n;
    return CLV_OK;
}

/* The runs of --on-cached, each a model of its own. */
static clv_status read_cached(const cli_args *args, plan *p, cached_experts *cached,
                              clv_error *error)
{
    const char *list = cli_option_value(args, "on-cached");
    if (list == NULL)
        return CLV_OK;
    p->cached = true;
    CLV_TRY(cached_read(list, p->output, p->arena, cached, error));
    for (size_t i = 0; i < cached->run_count; i++)
        CLV_TRY(add_cached_run(p, cached->runs[i], error));
    return CLV_OK;
}

static clv_status read_words(const cli_args *args, plan *p, words *w, clv_error *error)
{
    const size_t names = count_names(args);
    cached_experts cached = {0};
    CLV_TRY(read_cached(args, p, &cached, error));
    CLV_TRY(read_overrides(args, names, &cached, p, &w->variant, error));
    w->variant.seeds = 1;
    w->variant.terse = p->cached;
    CLV_TRY(cli_option_int(args, "seeds", 1, MOST_SEEDS, &w->variant.seeds, error));
    w->axis_count = cli_option_times(args, "grid");
    w->axes = clvi_arena_alloc(p->arena, (w->axis_count + 1) * sizeof *w->axes);
    if (w->axes == NULL)
        return no_memory(error);
    for (size_t i = 0; i < w->axis_count; i++)
        CLV_TRY(read_axis(p, cli_option_nth(args, "grid", i), &w->axes[i], error));
    if (names == 0 && !p->cached)
        CLV_FAIL(error, CLV_E_USAGE,
                 "what is to be compared? give configurations, suites or runs; `conclave config` "
                 "lists the first two");
    for (size_t i = 0; i < names; i++)
        CLV_TRY(add_word(p, w, cli_at(args, i), error));
    if (p->cached && w->configs == 0)
        return add_word(p, w, w->axis_count > 0 ? fused_config : fused_suite, error);
    return CLV_OK;
}

static int by_seed(const void *a, const void *b)
{
    const plan_run *x = a, *y = b;
    if (x->run != y->run)
        return x->run < y->run ? -1 : 1;
    return x->contestant < y->contestant ? -1 : x->contestant > y->contestant;
}

clv_status plan_make(const cli_args *args, clvi_plugins *plugins, clvi_comparison *comparison,
                     plan *out, clv_error *error)
{
    const char *output = cli_option_value(args, "output");
    plan p = {.comparison = comparison, .output = output != NULL ? output : "runs"};
    words w = {.plugins = plugins};
    CLV_TRY(clvi_arena_create(&p.arena, error));
    const clv_status status = read_words(args, &p, &w, error);
    if (status != CLV_OK) {
        plan_fini(&p);
        return status;
    }
    qsort(p.runs, p.count, sizeof *p.runs, by_seed);
    if (w.suites != 1 || w.others > 0 || p.label == NULL)
        p.label = "comparison";
    *out = p;
    return CLV_OK;
}

void plan_fini(plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        cli_starts_fini(&p->runs[i].starts);
        clvi_config_destroy(p->runs[i].recipe.config);
    }
    clvi_free(p->runs);
    clvi_arena_destroy(p->arena);
    *p = (plan){0};
}
