/* What the commands that compute share: plugins, the device, the display of progress and the log.
 *
 *   cli_session s;
 *   CLV_TRY(cli_session_open(&s, args, error));            plugins, log; nothing of OpenCL
 *   status = cli_session_open_device(&s, config, NULL, error);
 *   …
 *   cli_session_close(&s);                                 after everything that used it
 *
 * While it is open the library's log goes through it: to stderr, which the progress line leaves for
 * that moment, and to the run's log file once there is one. Thread: the log comes from any. */
#ifndef CONCLAVE_SESSION_H
#define CONCLAVE_SESSION_H

#include "command.h"
#include "config/config.h"
#include "plugin/plugin_host.h"
#include "progress.h"
#include "runtime/runtime.h"
#include "train/model.h"
#include "train/run_files.h"

#include <signal.h>

/* Rows for the options of a command with a session. */
/* clang-format off */
#define CLI_PLUGIN_OPTION                                                                          \
    {"plugin-path", "FOLDERS", "look for plugins here first; separated by ':'", 0, false}
#define CLI_DEVICE_OPTION                                                                          \
    {"device", "DEVICE", "where to compute, instead of the run's own choice", 0, false}
/* For commands that use a trained run. */
#define CLI_MODEL_OPTIONS                                                                          \
    {"checkpoint", "best|last", "best (epoch on validation) or last; best if not given", 0, false},    \
    {"output", "FOLDER", "folder of the runs, where RUN is a name; runs if not given", 'o', false}
/* clang-format on */

typedef struct cli_session {
    clvi_plugins *plugins;
    clvi_runtime *runtime;
    clvi_device *device;    /* NULL until opened */
    cli_progress *progress; /* on stderr */
    clvi_log_file *log;     /* NULL: none */
    clvi_text early;        /* logged before there was a file: level's letter, line, NUL, … */
    bool quiet;
} cli_session;

/* Reads --plugin-path (CLI_PLUGIN_OPTION must be among the command's options) and --quiet. `out`
 * must stay where it is until cli_session_close, which a failed open does not need. */
clv_status cli_session_open(cli_session *out, const cli_args *args,
                            clv_error *error) CLV_MUST_CHECK;
/* Opens the device of [device] in `config`, or `select` where it is not NULL, and logs its banner.
 * Errors: those of cli_choose_device (verdicts.h) and clvi_device_open. */
clv_status cli_session_open_device(cli_session *session, const clvi_config *config,
                                   const char *select, clv_error *error) CLV_MUST_CHECK;
/* Appends what was logged so far, and what will be, to the file at `path`. */
clv_status cli_session_log_to(cli_session *session, const char *path,
                              clv_error *error) CLV_MUST_CHECK;
/* The file stays, the log no longer goes there. */
void cli_session_log_end(cli_session *session);
/* Opens one more device, `select`, as the other; the caller closes it before the session. */
clv_status cli_session_open_another(cli_session *session, const clvi_config *config,
                                    const char *select, clvi_device **out,
                                    clv_error *error) CLV_MUST_CHECK;
/* Closes what is open, in the right order. Mixtures must be gone. */
void cli_session_close(cli_session *session);

/* Whether `what` is a run (in the folder `output`, NULL: runs) and no configuration: a name may be
 * both, then the configuration is meant. */
bool cli_means_run(const char *what, const char *output);
/* Opens the run that argument `index` names: a folder, a name, `last`, or a checkpoint's file; the
 * options are CLI_MODEL_OPTIONS. *run, which the caller frees, is its path. Errors: CLV_E_USAGE,
 * and those of clvi_run_find and clvi_model_open. The caller closes *out. */
clv_status cli_open_model(const cli_args *args, size_t index, char **run, clvi_model **out,
                          clv_error *error) CLV_MUST_CHECK;
/* The same of a command whose --output is something else: `runs` is the folder of the runs, NULL:
 * runs. Its options have "checkpoint". */
clv_status cli_open_model_in(const cli_args *args, size_t index, const char *runs, char **run,
                             clvi_model **out, clv_error *error) CLV_MUST_CHECK;
/* As cli_open_model of argument 0, for a command that takes a configuration as well: refuses what
 * would change one, further arguments and options, among them --`more` where not NULL. */
clv_status cli_open_unchanged(const cli_args *args, const char *more, char **run, clvi_model **out,
                              clv_error *error) CLV_MUST_CHECK;

/* Set by the first SIGINT or SIGTERM once cli_catch_signals was called; the second one kills. */
extern volatile sig_atomic_t cli_stop_asked;
/* For commands that train: ends them after the step, and makes a file that grows beyond the
 * process's limit an error as a full disk is. */
void cli_catch_signals(void);

/* A clvi_progress_call; `session`: a cli_session. */
void cli_session_show(void *session, const clvi_progress *now);

#endif
