/* See contest.h. */
#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static clv_status set_fault(clvi_contest_run *to, const char *fault, clv_error *error)
{
    to->fault = clvi_strdup(fault);
    if (to->fault == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the runs that are compared");
    return CLV_OK;
}

static clv_status take_given(const plan_run *run, clvi_contest_run *to, clv_error *error)
{
    clv_error fault = CLV_ERROR_INIT;
    const clv_status status = clvi_run_record_read(run->given, &to->record, &fault);
    return status == CLV_OK ? CLV_OK : set_fault(to, fault.message, error);
}

/* *refused: why the configuration was, before the training (in the arena); NULL: it was not. */
static clv_status take_run(const plan *p, size_t index, cli_trainings *trainings,
                           const char **refused, clv_error *error)
{
    const plan_run *run = &p->runs[index];
    clvi_contest_run *to = &p->comparison->contestants[run->contestant].runs[run->run];
    const char *fault = NULL;
    char head[64];
    if (run->given != NULL)
        return take_given(run, to, error);
    snprintf(head, sizeof head, "[%zu/%zu] ", index + 1, p->count);
    CLV_TRY(cli_starts_make(&run->starts, run->recipe.config, trainings, head, &fault, error));
    if (fault == NULL)
        CLV_TRY(cli_obtain(trainings, &run->recipe, head, &to->record, &fault, error));
    else
        clvi_log(CLVI_LOG_WARN, "%s, seed %lld, failed: %s", run->recipe.name, (long long)to->seed,
                 fault);
    *refused = trainings->refused ? fault : NULL;
    return fault == NULL ? CLV_OK : set_fault(to, fault, error);
}

/* ---- Cached experts ---- */

static bool has_ended(const clvi_contestant *model)
{
    bool ended = false;
    for (size_t i = 0; i < model->run_count && !ended; i++)
        ended = model->runs[i].record.path != NULL;
    return ended;
}

/* Takes the models out whose configuration was refused and of which no run is there, and says how
 * many do not go together. refused: [models], why; NULL: it was not. */
static clv_status leave_out(plan *p, const char *const *refused, clv_error *error)
{
    clvi_comparison *c = p->comparison;
    size_t kept = 0, others = 0;
    for (size_t i = 0; i < c->count; i++) {
        clvi_contestant *model = &c->contestants[i];
        if (refused[i] != NULL && !has_ended(model)) {
            CLV_TRY(plan_leave_out(p, model->name, refused[i], error));
            clvi_contestant_fini(model);
            continue;
        }
        if (refused[i] != NULL)
            clvi_log(CLVI_LOG_WARN, "%s, not from every seed: %s", model->name, refused[i]);
        others += !model->fixed;
        c->contestants[kept] = *model;
        if (kept++ != i)
            *model = (clvi_contestant){0};
    }
    c->count = kept;
    if (p->left_out > 0 && others == 0)
        CLV_FAIL(error, CLV_E_CONFIG, "nothing is left to compare: %s: %s", p->left_name,
                 p->left_reason);
    if (p->left_out > 0)
        clvi_log(CLVI_LOG_WARN, "%zu combination%s left out that cannot be: %s: %s%s", p->left_out,
                 p->left_out == 1 ? " is" : "s are", p->left_name, p->left_reason,
                 p->left_out == 1 ? "" : "; and others");
    return CLV_OK;
}

/* The runs whose experts they are, then the best on validation first. */
static int by_validation(const void *a, const void *b)
{
    const clvi_contestant *x = a, *y = b;
    if (x->fixed != y->fixed)
        return x->fixed ? -1 : 1;
    static const char *const figures[] = {"val_top1", "val_nll"};
    for (int k = 0; k < 2; k++) {
        const double sign = k == 0 ? -1 : 1;
        const double u = sign * clvi_contestant_mean(x, figures[k]),
                     v = sign * clvi_contestant_mean(y, figures[k]);
        if (isnan(u) != isnan(v))
            return isnan(u) ? 1 : -1;
        if (u != v && !isnan(u))
            return u < v ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

/* ---- All ---- */

/* A run of a model that was refused from another seed: one that is there, no new one. */
static clv_status take_made(const plan_run *run, clvi_contest_run *to, const char *reason,
                            clv_error *error)
{
    CLV_TRY(cli_find_made(&run->recipe, &to->record, error));
    return to->record.path != NULL ? CLV_OK : set_fault(to, reason, error);
}

/* Of --on-cached only: refused[model] is why one of its runs was. */
static clv_status take_all(plan *p, cli_trainings *trainings, const char **refused,
                           clv_error *error)
{
    for (size_t i = 0; i < p->count; i++) {
        const plan_run *run = &p->runs[i];
        const char **before = &refused[run->contestant], *reason = NULL;
        if (*before != NULL) {
            clvi_contestant *model = &p->comparison->contestants[run->contestant];
            CLV_TRY(take_made(run, &model->runs[run->run], *before, error));
            continue;
        }
        CLV_TRY(take_run(p, i, trainings, &reason, error));
        if (p->cached)
            *before = reason;
    }
    return CLV_OK;
}

clv_status contest_run(plan *p, const cli_args *args, const volatile sig_atomic_t *stop,
                       clv_error *error)
{
    clvi_comparison *c = p->comparison;
    cli_trainings trainings = {.args = args,
                               .stop = stop,
                               .arena = p->arena,
                               .step_times = !p->cached,
                               .brief = p->cached};
    const char **refused = clvi_arena_alloc(p->arena, (c->count + 1) * sizeof *refused);
    if (refused == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the runs that are compared");
    clv_status status = take_all(p, &trainings, refused, error);
    cli_trainings_fini(&trainings);
    if (status != CLV_OK || !p->cached)
        return status;
    status = leave_out(p, refused, error);
    qsort(c->contestants, c->count, sizeof *c->contestants, by_validation);
    return status;
}
