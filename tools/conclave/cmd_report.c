/* conclave report: a run as a page to be looked at. */
#include "command.h"
#include "run_report.h"

#include "train/run_dir.h"

#include <stdio.h>

static const cli_option options[] = {
    {"output", "FOLDER", "folder of the runs, where RUN is a name; runs if not given", 'o', false},
};

static clv_status report(const char *output, const char *what, clv_error *error)
{
    char *run = NULL, *page = NULL;
    CLV_TRY(clvi_run_find(output, what, &run, error));
    const clv_status status = cli_write_report(run, NULL, &page, error);
    if (status == CLV_OK)
        printf("page   %s\n", page);
    clvi_free(page);
    clvi_free(run);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    const char *given = cli_option_value(args, "output");
    const char *output = given != NULL ? given : "runs";
    if (cli_count(args) == 0)
        return report(output, "last", error);
    for (size_t i = 0; i < cli_count(args); i++)
        CLV_TRY(report(output, cli_at(args, i), error));
    return CLV_OK;
}

const cli_command cmd_report = {
    .name = "report",
    .summary = "Write a run's page again: curves, experts, classes, mistakes",
    .usage = "[RUN]... [-o FOLDER]",
    .example = "conclave report last\n"
               "conclave report runs/first runs/second",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
