/* Opening and closing what a computing command needs, and where its log goes. */
#include "session.h"
#include "driver_cache.h"

#include "verdicts.h"

#include "train/run_dir.h"
#include "train/settings.h"

#include <stdio.h>
#include <unistd.h>

volatile sig_atomic_t cli_stop_asked;

static const char level_letters[] = "EWID"; /* by clvi_log_level */

/* A clvi_log_sink. The library calls it from one thread at a time. */
static void take_log(void *user, clvi_log_level level, const char *line)
{
    cli_session *session = user;
    const bool shown = level <= CLVI_LOG_WARN || (level == CLVI_LOG_INFO && !session->quiet);
    if (shown) {
        cli_progress_clear(session->progress);
        fprintf(stderr, "%s%s\n",
                level == CLVI_LOG_ERROR  ? "conclave: "
                : level == CLVI_LOG_WARN ? "conclave: warning: "
                                         : "",
                line);
    }
    if (session->log != NULL) {
        clvi_log_file_write(session->log, level, line);
    } else {
        clvi_text_append_n(&session->early, &level_letters[level], 1);
        clvi_text_append_n(&session->early, line, strlen(line) + 1);
    }
}

clv_status cli_session_open(cli_session *out, const cli_args *args, clv_error *error)
{
    *out = (cli_session){.quiet = cli_quiet(args)};
    CLV_TRY(cli_progress_create(stderr, out->quiet, &out->progress, error));
    const clv_status status = clvi_plugins_create(cli_option_value(args, "plugin-path"),
                                                  cli_plugin_dir(), &out->plugins, error);
    if (status != CLV_OK) {
        cli_progress_destroy(out->progress);
        return status;
    }
    clvi_set_log_sink(take_log, out);
    return CLV_OK;
}

clv_status cli_session_open_another(cli_session *session, const clvi_config *config,
                                    const char *select, clvi_device **out, clv_error *error)
{
    cli_choice choice = {0};
    clvi_device_options options = clvi_train_device_options(config);
    if (session->runtime == NULL)
        CLV_TRY(cli_runtime_create(&session->runtime, error));
    CLV_TRY(cli_choose_device(session->runtime, select, &choice, error));
    options.select = choice.select;
    options.helper = cmd_kernels_child.name;
    CLV_TRY(clvi_device_open(session->runtime, &options, out, error));
    clvi_log(CLVI_LOG_INFO, "device: %s%s", clvi_device_banner(*out), choice.note);
    return CLV_OK;
}

clv_status cli_session_open_device(cli_session *session, const clvi_config *config,
                                   const char *select, clv_error *error)
{
    if (select == NULL)
        select = clvi_config_text(config, "device", "select");
    return cli_session_open_another(session, config, select, &session->device, error);
}

/* Writes the lines of `early` to the log. */
static void replay(cli_session *session)
{
    const char *line = clvi_text_get(&session->early), *end = line + session->early.length;
    for (; line < end; line += strlen(line) + 1) {
        const char *letter = strchr(level_letters, line[0]);
        clvi_log_file_write(session->log, (clvi_log_level)(letter - level_letters), line + 1);
    }
    clvi_text_fini(&session->early);
}

clv_status cli_session_log_to(cli_session *session, const char *path, clv_error *error)
{
    clvi_log_file *log = NULL;
    CLV_TRY(clvi_log_file_open(path, &log, error));
    clvi_set_log_sink(NULL, NULL); /* no line may come between */
    session->log = log;
    replay(session);
    clvi_set_log_sink(take_log, session);
    return CLV_OK;
}

void cli_session_log_end(cli_session *session)
{
    clvi_set_log_sink(NULL, NULL);
    clvi_log_file_close(session->log);
    session->log = NULL;
    clvi_set_log_sink(take_log, session);
}

void cli_session_close(cli_session *session)
{
    /* Graphs and devices first: a plugin's code may be in use until the queue is empty. */
    clvi_device_close(session->device);
    clvi_runtime_destroy(session->runtime);
    clvi_plugins_destroy(session->plugins);
    clvi_set_log_sink(NULL, NULL);
    clvi_log_file_close(session->log);
    clvi_text_fini(&session->early);
    cli_progress_destroy(session->progress);
}

static void ask_to_stop(int number)
{
    static const char note[] = "\nending after this step; once more ends at once\n";
    (void)number;
    cli_stop_asked = 1;
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    if (isatty(STDERR_FILENO))
        (void)!write(STDERR_FILENO, note, sizeof note - 1);
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
}

void cli_session_show(void *session, const clvi_progress *now)
{
    cli_progress_show(((cli_session *)session)->progress, now);
}

bool cli_means_run(const char *what, const char *output)
{
    if (clvi_run_meant(what) || clvi_has_ending(what, ".safetensors"))
        return true;
    const char *const folders[] = {cli_config_dir()};
    clv_error none = CLV_ERROR_INIT;
    char *path = NULL;
    if (clvi_config_find(what, folders, 1, &path, &none) == CLV_OK) {
        clvi_free(path);
        return false;
    }
    clvi_error_clear(&none);
    if (clvi_run_find(output != NULL ? output : "runs", what, &path, &none) != CLV_OK)
        return false;
    clvi_free(path);
    return true;
}

clv_status cli_open_model(const cli_args *args, size_t index, char **run, clvi_model **out,
                          clv_error *error)
{
    return cli_open_model_in(args, index, cli_option_value(args, "output"), run, out, error);
}

clv_status cli_open_model_in(const cli_args *args, size_t index, const char *runs, char **run,
                             clvi_model **out, clv_error *error)
{
    const char *what = cli_at(args, index);
    size_t checkpoint = 0;
    CLV_TRY(cli_option_choice(args, "checkpoint", "best | last", &checkpoint, error));
    const clvi_model_which which = checkpoint == 1 ? CLVI_MODEL_LAST : CLVI_MODEL_BEST;
    if (what == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "which run? give its folder, its name, or last");
    char *path = NULL;
    if (clvi_is_file(what)) {
        path = clvi_strdup(what);
        if (path == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the name of a run");
    } else {
        CLV_TRY(clvi_run_find(runs != NULL ? runs : "runs", what, &path, error));
    }
    const clv_status status = clvi_model_open(path, which, out, error);
    if (status != CLV_OK) {
        clvi_free(path);
        return status;
    }
    *run = path;
    return CLV_OK;
}

clv_status cli_open_unchanged(const cli_args *args, const char *more, char **run, clvi_model **out,
                              clv_error *error)
{
    const char *const fixed[] = {"set", "epochs", "lr", "image-size", "seed", "classes", more};
    const char *what = cli_at(args, 0);
    if (cli_count(args) > 1)
        CLV_FAIL(error, CLV_E_USAGE, "%s is a run, which \"%s\" cannot change", what,
                 cli_at(args, 1));
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (fixed[i] != NULL && cli_option_times(args, fixed[i]) > 0)
            CLV_FAIL(error, CLV_E_USAGE, "%s is a run, which --%s cannot change", what, fixed[i]);
    return cli_open_model(args, 0, run, out, error);
}
