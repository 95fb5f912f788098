/* conclave train: a configuration and a data set in, a run's folder out. */
#include "config_args.h"
#include "session.h"
#include "show.h"

#include "train/run_dir.h"
#include "train/train.h"

#include <unistd.h>

static const cli_option options[] = {
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* One call of the command. */
typedef struct job {
    clvi_config *config;
    cli_session session;
    clvi_dataset *data;
    char *run;      /* folder of this run; NULL: not made yet */
    char *previous; /* what `last` was before; NULL: nothing */
} job;

/* ---- Completing the configuration -------------------------------------------------------------
 */

static bool gives(const clvi_raw_option *raw, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(raw[i].key, key) == 0)
            return true;
    return false;
}

/* Checks the options of one section by its plugin, then writes the defaults of the others into it:
 * a run must mean the same when the plugin has got other defaults. */
static clv_status freeze_section(job *j, clv_kind kind, const char *section, clv_error *error)
{
    const char *name = clvi_config_text(j->config, section, "plugin");
    const clvi_plugin *plugin = NULL;
    const clv_status found = clvi_plugins_find(j->session.plugins, kind, name, &plugin, error);
    if (found != CLV_OK) {
        clvi_prepend(error, "%s: [%s] plugin", clvi_config_origin(j->config, section, "plugin"),
                     section);
        return found;
    }
    size_t count = 0;
    const clvi_raw_option *raw = clvi_config_options(j->config, section, &count);
    clv_options *checked = NULL;
    CLV_TRY(clvi_options_create(plugin->table, section, raw, count, &checked, error));
    clvi_options_destroy(checked);
    for (size_t i = 0; i < plugin->table->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(plugin->table, i);
        raw = clvi_config_options(j->config, section, &count);
        if (!gives(raw, count, spec.key))
            CLV_TRY(clvi_config_set(j->config, section, spec.key, spec.default_value, error));
    }
    return CLV_OK;
}

static clv_status freeze(job *j, clv_error *error)
{
    const size_t experts = clvi_config_expert_count(j->config);
    for (size_t i = 0; i < experts; i++)
        CLV_TRY(
            freeze_section(j, CLV_KIND_EXPERT, clvi_config_expert_section(j->config, i), error));
    if (experts > 1)
        CLV_TRY(freeze_section(j, CLV_KIND_GATE, "gate", error));
    return clvi_config_set(j->config, "run", "name", clvi_config_name(j->config), error);
}

/* ---- The run's folder -------------------------------------------------------------------------
 */

static clv_status make_run(job *j, clv_error *error)
{
    const char *output = clvi_config_text(j->config, "run", "output");
    clv_error none = CLV_ERROR_INIT; /* the first run has no predecessor */
    if (clvi_run_find(output, "last", &j->previous, &none) != CLV_OK)
        j->previous = NULL;
    CLV_TRY(clvi_run_create(output, clvi_config_name(j->config), &j->run, error));
    char *path = clvi_path_join(j->run, CLVI_RUN_LOG);
    const clv_status status = path != NULL ? cli_session_log_to(&j->session, path, error)
                                           : clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                                                       "out of memory: the name of the log");
    clvi_free(path);
    CLV_TRY(status);
    clvi_log(CLVI_LOG_INFO, "run: %s", j->run);
    return CLV_OK;
}

static bool holds(const char *folder, const char *name)
{
    char *path = clvi_path_join(folder, name);
    const bool found = path != NULL && clvi_is_file(path);
    clvi_free(path);
    return found;
}

/* Takes the folder of a training away that ended before its first epoch did. */
static void remove_run(job *j)
{
    static const char *const files[] = {CLVI_RUN_CONFIG, CLVI_RUN_METRICS, CLVI_RUN_LOG};
    if (holds(j->run, CLVI_RUN_BEST) || holds(j->run, CLVI_RUN_LAST))
        return;
    cli_session_log_end(&j->session);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = clvi_path_join(j->run, files[i]);
        if (path != NULL)
            unlink(path);
        clvi_free(path);
    }
    if (rmdir(j->run) != 0)
        return;
    if (j->previous != NULL) {
        clvi_run_set_last(j->previous);
        return;
    }
    char *link = clvi_path_join(clvi_config_text(j->config, "run", "output"), "last");
    char target[2]; /* only whether it is a link */
    if (link != NULL && readlink(link, target, sizeof target) > 0)
        unlink(link);
    clvi_free(link);
}

/* ---- The course -------------------------------------------------------------------------------
 */

static clv_status print_result(const job *j, const clvi_train_result *r, clv_error *error)
{
    static const char *const labels[] = {"training", "validation", "test"};
    const clvi_score_summary scores[] = {r->train, r->val, r->test};
    const size_t count = r->has_test ? 3 : 2;
    char seconds[CLI_NUMBER_BYTES], text[256];
    for (size_t i = 0; i < count; i++)
        clvi_log(CLVI_LOG_DEBUG, "%s: %s", labels[i],
                 clvi_score_text(&scores[i], text, sizeof text));
    printf("best epoch %lld of %lld%s, trained in %s; with its weights:\n\n",
           (long long)r->best_epoch, (long long)r->epochs, r->stopped_early ? " (stopped)" : "",
           cli_show_seconds(r->seconds, seconds));
    CLV_TRY(cli_show_scores(labels, scores, count, error));
    printf("\nrun   %s\ntry   conclave eval %s%s\n      conclave predict %s IMAGE\n", j->run,
           j->run, r->has_test ? "" : " --split val", j->run);
    return CLV_OK;
}

static clv_status train(job *j, clv_error *error)
{
    const clvi_train_desc desc = {.config = j->config,
                                  .data = j->data,
                                  .plugins = j->session.plugins,
                                  .device = j->session.device,
                                  .run_dir = j->run,
                                  .progress = cli_session_show,
                                  .user = &j->session};
    clvi_train_result result;
    const clv_status status = clvi_train(&desc, &result, error);
    cli_progress_clear(j->session.progress);
    if (status != CLV_OK) {
        clvi_log(CLVI_LOG_DEBUG, "failed: %s", error->message);
        return status;
    }
    return print_result(j, &result, error);
}

/* What is quick to check comes first, what takes time last. */
static clv_status prepare(job *j, clv_error *error)
{
    CLV_TRY(freeze(j, error));
    const clvi_data_options data = clvi_train_data_options(j->config);
    CLV_TRY(clvi_dataset_open(&data, &j->data, error));
    clvi_log(CLVI_LOG_INFO, "data: %s", clvi_dataset_summary(j->data));
    return cli_session_open_device(&j->session, j->config, NULL, error);
}

static clv_status run_job(job *j, const cli_args *args, clv_error *error)
{
    CLV_TRY(cli_session_open(&j->session, args, error));
    clv_status status = prepare(j, error);
    if (status == CLV_OK)
        status = make_run(j, error);
    if (status == CLV_OK)
        status = train(j, error);
    clvi_dataset_close(j->data);
    if (status != CLV_OK && j->run != NULL)
        remove_run(j);
    cli_session_close(&j->session);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {0};
    CLV_TRY(cli_load_config(args, 0, &j.config, error));
    clv_status status;
    if (clvi_config_text(j.config, "data", "path")[0] == '\0')
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "which images? give --data PATH, a folder or archive that holds one "
                           "folder of images per class");
    else
        status = run_job(&j, args, error);
    clvi_config_destroy(j.config);
    clvi_free(j.run);
    clvi_free(j.previous);
    return status;
}

const cli_command cmd_train = {
    .name = "train",
    .summary = "Train a configuration on a folder or archive of images",
    .usage = "CONFIG --data PATH [SECTION.KEY=VALUE]... [options]",
    .example = "conclave train cnn-custom-only --data pictures.tar.gz --epochs 20\n"
               "conclave train cnn-custom-only --data pictures train.patience=5 optimizer.lr=0.001",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
