/* What `conclave compare` is to compare: models, each with runs from one seed or several, from
 * names of configurations, suites and runs. */
#ifndef CONCLAVE_COMPARE_PLAN_H
#define CONCLAVE_COMPARE_PLAN_H

#include "../config_args.h"
#include "../session.h"
#include "../starts.h"

#include "report/comparison.h"

/* One run that is wanted. */
typedef struct plan_run {
    size_t contestant, run; /* comparison->contestants[contestant].runs[run] */
    const char *given;      /* folder of a run that was named; NULL: it is found or trained */
    cli_starts starts;      /* what its experts start from, to be made first */
    cli_recipe recipe;      /* of a run that was named, its configuration only */
} plan_run;

typedef struct plan {
    clvi_arena *arena;
    clvi_comparison *comparison; /* contestants and their runs, without records yet */
    size_t capacity;             /* of its contestants */
    plan_run *runs; /* the first seed of every model, then the second of every one, … */
    size_t count, run_capacity;
    bool cached;     /* --on-cached: combinations that do not go together are left out */
    size_t left_out; /* how many, and of the first the name and the reason */
    const char *left_name, *left_reason;
    const char *output; /* folder of the runs */
    const char *label;  /* the only suite's name, or "comparison" */
} plan;

/* Makes the plan of a call. The caller frees with plan_fini, the comparison by itself. Errors:
 * CLV_E_USAGE, those of configurations and runs. */
clv_status plan_make(const cli_args *args, clvi_plugins *plugins, clvi_comparison *comparison,
                     plan *out, clv_error *error) CLV_MUST_CHECK;
void plan_fini(plan *plan);

/* Counts a combination that is left out. Errors: CLV_E_MEMORY. */
clv_status plan_leave_out(plan *plan, const char *name, const char *reason,
                          clv_error *error) CLV_MUST_CHECK;

#endif
