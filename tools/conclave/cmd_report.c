/* conclave report: a run as a page to be looked at. */
#include "command.h"
#include "run_report.h"

#include "train/run_dir.h"

#include <stdio.h>

static const cli_option options[] = {
    {"tensorboard", NULL, "write the run's event files for TensorBoard instead", 0, false},
    {"output", "FOLDER", "folder of the runs, where RUN is a name; runs if not given", 'o', false},
};

static clv_status report(const char *output, const char *what, bool events, clv_error *error)
{
    char *run = NULL, *made = NULL;
    CLV_TRY(clvi_run_find(output, what, &run, error));
    const clv_status status = events ? cli_write_events(run, NULL, &made, error)
                                     : cli_write_report(run, NULL, &made, error);
    if (status == CLV_OK)
        printf(events ? "events  %s\n" : "page   %s\n", made);
    clvi_free(made);
    clvi_free(run);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    const char *given = cli_option_value(args, "output");
    const char *output = given != NULL ? given : "runs";
    const bool events = cli_flag(args, "tensorboard");
    if (cli_count(args) == 0)
        return report(output, "last", events, error);
    for (size_t i = 0; i < cli_count(args); i++)
        CLV_TRY(report(output, cli_at(args, i), events, error));
    return CLV_OK;
}

const cli_command cmd_report = {
    .name = "report",
    .summary = "Write a run's page again: curves, experts, classes, mistakes",
    .usage = "[RUN]... [-o FOLDER]",
    .example = "conclave report last\n"
               "conclave report runs/first runs/second\n"
               "conclave report last --tensorboard && tensorboard --logdir runs",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
