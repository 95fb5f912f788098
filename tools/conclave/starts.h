/* What the experts of a configuration start from, [expert.X] init: runs that are named, and runs of
 * configurations, which are found or trained first. Either becomes "CHECKPOINT.safetensors:EXPERT"
 * in the configuration, which is all that a training needs, and records what was taken. */
#ifndef CONCLAVE_STARTS_H
#define CONCLAVE_STARTS_H

#include "obtain.h"

typedef struct cli_starts {
    struct cli_start *items;
    size_t count;
} cli_starts;

/* A configuration whose run an expert starts from. */
typedef struct cli_start {
    const char *section; /* of the expert */
    const char *expert;  /* its name in that run */
    cli_recipe recipe;
    cli_starts starts; /* what that run starts from */
} cli_start;

/* Reads the `init` of every expert of a frozen configuration. Runs that are named are settled; of
 * configurations, the recipes of their runs are made, those of what these start from as well. A run
 * of a configuration has the images of `config` ([data] without augment and sampler), its [device]
 * and run.output, what the command line says of [train], [optimizer], [schedule], augment, sampler,
 * label smoothing and class weights, mixture.init_epochs, and all else from its own file. Its seed
 * is the expert's, or run.seed; of several experts that start from the same, the next ones have 100
 * more each. Everything lies in the arena but what cli_starts_fini frees. Errors: CLV_E_CONFIG
 * "path:line: [expert.X] init: …" for what is no run and no configuration, an expert that does not
 * fit (initial_run.h), and a circle; those of the files. */
clv_status cli_starts_plan(clvi_config *config, clvi_plugins *plugins, clvi_arena *arena,
                           cli_starts *out, clv_error *error) CLV_MUST_CHECK;
void cli_starts_fini(cli_starts *starts);

/* Finds or trains all of them and settles `config`. *fault: which one failed and why (in the arena
 * of `trainings`), otherwise NULL. head: before what is logged. Errors: those of cli_obtain. */
clv_status cli_starts_make(const cli_starts *starts, clvi_config *config, cli_trainings *trainings,
                           const char *head, const char **fault, clv_error *error) CLV_MUST_CHECK;

/* Settles those that are there already, and prints a line for each to stdout: which run is taken,
 * or what would be trained. *missing: some are not there; their `init` stays. */
clv_status cli_starts_show(const cli_starts *starts, clvi_config *config, bool *missing,
                           clv_error *error) CLV_MUST_CHECK;

#endif
