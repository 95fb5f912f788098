/* The runs that there are already in an output folder, and which of them a configuration means. */
#ifndef CONCLAVE_MADE_RUNS_H
#define CONCLAVE_MADE_RUNS_H

#include "config/config.h"
#include "report/run_record.h"

/* Whether two configurations mean the same training. seed: run.seed counts too. *seconds: they
 * differ in train.max_seconds, and if so nowhere else. Errors: CLV_E_MEMORY. */
clv_status cli_same_training(const clvi_config *a, const clvi_config *b, bool seed, bool *same,
                             bool *seconds, clv_error *error) CLV_MUST_CHECK;

typedef struct cli_made_run {
    char *path;
    clvi_config *config; /* NULL: it cannot be read any more */
} cli_made_run;

typedef struct cli_made_runs {
    cli_made_run *items;
    size_t count;
} cli_made_runs;

/* All runs in the folder `output`; none where it is not there. The caller frees with
 * cli_made_runs_fini. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status cli_made_runs_list(const char *output, cli_made_runs *out,
                              clv_error *error) CLV_MUST_CHECK;
void cli_made_runs_fini(cli_made_runs *runs);

/* Fills `record`, which the caller frees, from a finished run of this configuration whose experts
 * start from what is in their checkpoints now (not written again since it began); *begun is
 * then, or of an unfinished one, its folder (borrowed), otherwise NULL. A finished run that cannot
 * be read is warned of. Errors: CLV_E_MEMORY. */
clv_status cli_made_runs_find(const cli_made_runs *runs, const clvi_config *wanted,
                              clvi_run_record *record, const char **begun,
                              clv_error *error) CLV_MUST_CHECK;

#endif
