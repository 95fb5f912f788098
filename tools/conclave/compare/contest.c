/* See contest.h. */
#include "contest.h"

#include <stdio.h>

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

static clv_status take_run(const plan *p, size_t index, cli_trainings *trainings, clv_error *error)
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
    return fault == NULL ? CLV_OK : set_fault(to, fault, error);
}

clv_status contest_run(const plan *p, const cli_args *args, const volatile sig_atomic_t *stop,
                       clv_error *error)
{
    cli_trainings trainings = {.args = args, .stop = stop, .arena = p->arena, .step_times = true};
    clv_status status = CLV_OK;
    for (size_t i = 0; i < p->count && status == CLV_OK; i++)
        status = take_run(p, i, &trainings, error);
    cli_trainings_fini(&trainings);
    return status;
}
