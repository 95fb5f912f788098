/* Runs by recipe: one that is there already, or a training in a process of its own. */
#ifndef CONCLAVE_OBTAIN_H
#define CONCLAVE_OBTAIN_H

#include "command.h"
#include "config/config.h"
#include "plugin/plugin_host.h"
#include "report/run_record.h"

#include <signal.h>

/* How a run is made. */
typedef struct cli_recipe {
    const char *name;             /* for messages */
    const char *source;           /* path of the configuration */
    const char *const *overrides; /* "section.key=value", for `conclave train` */
    size_t override_count;
    clvi_config *config; /* of both: resolved and frozen, as the run has it or shall have it */
} cli_recipe;

/* Fills recipe->config from the fields above it. Errors: those of configurations and plugins. The
 * caller destroys it. */
clv_status cli_recipe_load(cli_recipe *recipe, clvi_plugins *plugins,
                           clv_error *error) CLV_MUST_CHECK;

/* A training that has failed in this call. */
typedef struct cli_failure {
    const clvi_config *config;
    const char *reason;
    bool refused; /* its configuration, before it was begun */
} cli_failure;

/* What the trainings of one call have in common. Zero-initialise; cli_trainings_fini frees. */
typedef struct cli_trainings {
    const cli_args *args;              /* for --plugin-path */
    const volatile sig_atomic_t *stop; /* not 0 as soon as it shall end */
    clvi_arena *arena;                 /* borrowed */
    bool step_times;                   /* each is to measure the parts of its steps */
    bool brief;   /* of what a training says only warnings but those about little used experts, and
                   * that features were computed; not that a configuration was refused */
    bool refused; /* the fault that cli_obtain gave last was a refusal */
    cli_failure *failures;
    size_t failed, failure_capacity;
} cli_trainings;

void cli_trainings_fini(cli_trainings *trainings);

/* Fills `record`, which the caller frees, with the run of a recipe: takes a finished one with the
 * same configuration in its run.output, goes on with one that was interrupted, or trains it, each
 * in a process of its own. What is done is logged, `head` before it. *fault: why it could not be
 * trained (in the arena), otherwise NULL; what has failed before in this call is not tried again,
 * so that its configuration must live as long as `trainings`. Errors: CLV_E_INTERRUPTED,
 * CLV_E_USAGE without images, CLV_E_MEMORY, CLV_E_IO. */
clv_status cli_obtain(cli_trainings *trainings, const cli_recipe *recipe, const char *head,
                      clvi_run_record *record, const char **fault, clv_error *error) CLV_MUST_CHECK;

/* Fills `record`, which the caller frees, with a finished run of the recipe; record->path NULL:
 * there is none. Errors: CLV_E_MEMORY, CLV_E_IO. */
clv_status cli_find_made(const cli_recipe *recipe, clvi_run_record *record,
                         clv_error *error) CLV_MUST_CHECK;

#endif
