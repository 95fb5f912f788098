/* conclave train: a configuration and a data set in, a run's folder out. */
#include "config_args.h"
#include "freeze.h"
#include "run_report.h"
#include "session.h"
#include "show.h"
#include "starts.h"

#include "report/tensorboard.h"
#include "train/elapsed.h"
#include "train/initial_run.h"
#include "train/resume.h"
#include "train/run_dir.h"
#include "train/train.h"

#include <unistd.h>

static const cli_option options[] = {
    {"resume", NULL, "go on where RUN, or the last run, stands", 0, false},
    {"dry-run", NULL, "check images and memory and estimate the time; nothing is written", 0,
     false},
    {"step-times", NULL, "at the end, measure the parts of a step for summary.json", 0, false},
    {"max-time", "TIME", "end after 90s, 10m, 2h, …: train.max_seconds", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* One call of the command. */
typedef struct job {
    clvi_config *config;
    cli_session session;
    clvi_dataset *data;
    char *run;               /* folder of this run; NULL: not made yet */
    clvi_tensorboard *board; /* NULL: not begun */
    bool events;             /* run.tensorboard, until they cannot be written */
    char *previous;          /* what `last` was before; NULL: nothing */
    int lock;                /* on the run's folder; -1: none */
    bool resume;             /* the run was there before */
    bool step_times;
} job;

/* ---- The run's folder ---- */

/* What was logged so far and what will be goes to the run's log too. */
static clv_status open_log(job *j, clv_error *error)
{
    char *path = clvi_path_join(j->run, CLVI_RUN_LOG);
    const clv_status status = path != NULL ? cli_session_log_to(&j->session, path, error)
                                           : clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                                                       "out of memory: the name of the log");
    clvi_free(path);
    CLV_TRY(status);
    clvi_log(CLVI_LOG_INFO, "run: %s", j->run);
    return CLV_OK;
}

static clv_status make_run(job *j, clv_error *error)
{
    const char *output = clvi_config_text(j->config, "run", "output");
    clv_error none = CLV_ERROR_INIT; /* the first run has no predecessor */
    if (clvi_run_find(output, "last", &j->previous, &none) != CLV_OK)
        j->previous = NULL;
    CLV_TRY(clvi_run_create(output, clvi_config_name(j->config), &j->run, error));
    CLV_TRY(clvi_run_lock(j->run, &j->lock, error));
    return open_log(j, error);
}
/* Takes the folder of a training away that ended before its first epoch did. */
static void remove_run(job *j)
{
    static const char *const files[] = {CLVI_RUN_CONFIG, CLVI_RUN_METRICS, CLVI_RUN_SIGNALS,
                                        CLVI_RUN_PAIRS,  CLVI_RUN_LOG,     CLVI_RUN_ELAPSED};
    if (clvi_has_file(j->run, CLVI_RUN_BEST) || clvi_has_file(j->run, CLVI_RUN_LAST))
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

/* ---- The course ---- */

/* A limit that is given to a run that goes on counts from here; the run's own is of all its time.
 */
static clv_status extend_limit(job *j, const clvi_train_state *state, clv_error *error)
{
    clvi_elapsed earlier;
    char text[CLI_SECONDS_BYTES];
    const double limit = clvi_config_real(j->config, "train", "max_seconds");
    if (limit == 0)
        return CLV_OK;
    CLV_TRY(clvi_elapsed_read(j->run, state, &earlier, error));
    snprintf(text, sizeof text, "%.3f", earlier.seconds + limit);
    return clvi_config_set(j->config, "train", "max_seconds", text, error);
}

static clv_status set_max_time(job *j, const cli_args *args, const clvi_resume *resume,
                               clv_error *error)
{
    const char *given = cli_option_value(args, "max-time");
    const char *origin = clvi_config_origin(j->config, "train", "max_seconds");
    const bool new_limit = given != NULL || strcmp(origin, "command line") == 0;
    char text[CLI_SECONDS_BYTES];
    if (given != NULL) {
        CLV_TRY(cli_parse_time(given, text, error));
        CLV_TRY(clvi_config_set(j->config, "train", "max_seconds", text, error));
    }
    return resume != NULL && new_limit ? extend_limit(j, &resume->state, error) : CLV_OK;
}

/* The page of the run; a training that has ended is none that failed where there is none. */
static const char *write_report(const job *j)
{
    clv_error fault = CLV_ERROR_INIT;
    if (cli_write_report(j->run, j->data, NULL, &fault) == CLV_OK)
        return CLVI_RUN_REPORT;
    clvi_log(CLVI_LOG_WARN, "%s/" CLVI_RUN_REPORT " was not written: %s", j->run, fault.message);
    return NULL;
}

/* Brings the events up to date; ended: what the run left at its end too. Training goes on without
 * them where they cannot be written. */
static void add_events(job *j, bool ended)
{
    clv_error fault = CLV_ERROR_INIT;
    clv_status status = CLV_OK;
    if (!j->events)
        return;
    if (j->board == NULL)
        status = clvi_tensorboard_create(j->run, &j->board, &fault);
    if (status == CLV_OK)
        status = ended ? clvi_tensorboard_finish(j->board, j->data, &fault)
                       : clvi_tensorboard_update(j->board, &fault);
    if (status == CLV_OK)
        return;
    clvi_log(CLVI_LOG_WARN, "no more events for TensorBoard: %s", fault.message);
    j->events = false;
}

static void show(void *user, const clvi_progress *now)
{
    job *j = user;
    cli_session_show(&j->session, now);
    if (now->phase == CLVI_PROGRESS_EPOCH)
        add_events(j, false);
}

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
           (long long)r->best_epoch, (long long)r->epochs, r->stopped_by ? " (stopped)" : "",
           cli_show_seconds(r->seconds, seconds));
    CLV_TRY(cli_show_scores(labels, scores, count, error));
    if (r->dropped > 0 || r->unrouted > 0)
        printf(
            "\ngate  dropped %.2f %% of its assignments in the last epoch; %.2f %% of the images "
            "had no expert\n",
            100 * r->dropped, 100 * r->unrouted);
    const char *report = write_report(j);
    printf("\nrun   %s\n", j->run);
    if (report != NULL)
        printf("page  %s/%s\n", j->run, report);
    char run[512];
    clvi_shell_word(j->run, run, sizeof run);
    printf("try   conclave eval %s%s\n      conclave predict %s IMAGE\n", run,
           r->has_test ? "" : " --split val", run);
    return CLV_OK;
}

static clv_status train(job *j, clv_error *error)
{
    const clvi_train_desc desc = {.config = j->config,
                                  .data = j->data,
                                  .plugins = j->session.plugins,
                                  .device = j->session.device,
                                  .run_dir = j->run,
                                  .step_times = j->step_times,
                                  .resume = j->resume,
                                  .stop = &cli_stop_asked,
                                  .progress = show,
                                  .user = j};
    clvi_train_result result;
    const clv_status status = clvi_train(&desc, &result, error);
    cli_progress_clear(j->session.progress);
    if (status != CLV_OK) {
        clvi_log(CLVI_LOG_DEBUG, "failed: %s", error->message);
        return status;
    }
    add_events(j, true);
    return print_result(j, &result, error);
}

/* Runs that experts start from: found, or trained in processes of their own. */
static clv_status make_starts(job *j, const cli_args *args, clvi_arena *arena,
                              const cli_starts *starts, clv_error *error)
{
    cli_trainings trainings = {
        .args = args, .stop = &cli_stop_asked, .arena = arena, .step_times = j->step_times};
    const char *fault = NULL;
    bool missing;
    /* Of those that are named, all is known. */
    CLV_TRY(clvi_initial_run_check(j->config, j->session.plugins, j->data, false, error));
    if (cli_flag(args, "dry-run"))
        return cli_starts_show(starts, j->config, &missing, error);
    const clv_status status = cli_starts_make(starts, j->config, &trainings, "", &fault, error);
    cli_trainings_fini(&trainings);
    if (status == CLV_OK && fault != NULL)
        CLV_FAIL(error, CLV_E_DATA, "%s", fault);
    return status;
}

static clv_status start_experts(job *j, const cli_args *args, clv_error *error)
{
    clvi_arena *arena = NULL;
    cli_starts starts = {0};
    CLV_TRY(clvi_arena_create(&arena, error));
    clv_status status = cli_starts_plan(j->config, j->session.plugins, arena, &starts, error);
    if (status == CLV_OK)
        status = make_starts(j, args, arena, &starts, error);
    cli_starts_fini(&starts);
    clvi_arena_destroy(arena);
    return status;
}

/* What is quick to check comes first, what takes time last. */
static clv_status prepare(job *j, const cli_args *args, clv_error *error)
{
    CLV_TRY(cli_freeze_config(j->config, j->session.plugins, error));
    j->events = clvi_config_bool(j->config, "run", "tensorboard");
    if (j->events)
        CLV_TRY(clvi_tensorboard_check(error));
    const clvi_data_options data = clvi_train_data_options(j->config);
    CLV_TRY(clvi_dataset_open(&data, &j->data, error));
    clvi_log(CLVI_LOG_INFO, "data: %s", clvi_dataset_summary(j->data));
    if (!j->resume)
        CLV_TRY(start_experts(j, args, error));
    return cli_session_open_device(&j->session, j->config, NULL, error);
}

static clv_status try_out(job *j, clv_error *error)
{
    const clvi_train_desc desc = {.config = j->config,
                                  .data = j->data,
                                  .plugins = j->session.plugins,
                                  .device = j->session.device,
                                  .stop = &cli_stop_asked};
    char bytes[CLI_NUMBER_BYTES], epoch[CLI_NUMBER_BYTES], all[CLI_NUMBER_BYTES];
    clvi_trial t;
    CLV_TRY(clvi_train_try(&desc, &t, error));
    printf("memory  %s on the device (%llu bytes)\n", cli_show_bytes(t.planned_bytes, bytes),
           (unsigned long long)t.planned_bytes);
    if (t.trainable == 0) {
        printf("all     nothing is left to train; judging the experts as they are, about %s\n",
               cli_show_seconds(t.seconds, all));
        return CLV_OK;
    }
    printf("epoch   %lld steps of %lld images, about %s (%.0f images/s)\n",
           (long long)t.steps_per_epoch, (long long)t.step_images,
           cli_show_seconds(t.epoch_seconds, epoch), t.images_per_second);
    printf("all     %lld epochs, about %s\n", (long long)t.epochs,
           cli_show_seconds(t.seconds, all));
    return CLV_OK;
}

/* The folder of the run, then the training in it. */
static clv_status train_in_folder(job *j, clvi_resume *resume, clv_error *error)
{
    if (resume == NULL)
        CLV_TRY(make_run(j, error));
    else
        CLV_TRY(clvi_resume_cut_log(j->run, &resume->state, error));
    if (resume != NULL)
        CLV_TRY(open_log(j, error));
    return train(j, error);
}

static clv_status run_job(job *j, const cli_args *args, clvi_resume *resume, clv_error *error)
{
    CLV_TRY(cli_session_open(&j->session, args, error));
    clv_status status = set_max_time(j, args, resume, error);
    if (status == CLV_OK) {
        cli_catch_signals();
        status = prepare(j, args, error);
    }
    if (status == CLV_OK) {
        status = cli_flag(args, "dry-run") ? try_out(j, error) : train_in_folder(j, resume, error);
    }
    clvi_dataset_close(j->data);
    if (status == CLV_E_BUILD && cli_stop_asked) {
        /* A compiler gives up at a signal before its caller hears of it. */
        clvi_error_clear(error);
        status = clvi_fail(error, CLV_E_INTERRUPTED, CLV_HERE,
                           "stopped while kernels were compiled; the same command begins again");
    }
    if (status != CLV_OK && j->run != NULL && !j->resume)
        remove_run(j);
    cli_session_close(&j->session);
    return status;
}

/* ---- Beginning and going on ---- */

static clv_status begin(job *j, const cli_args *args, clv_error *error)
{
    CLV_TRY(cli_load_config(args, 0, &j->config, error));
    bool given;
    CLV_TRY(clvi_train_has_images(j->config, true, &given, error));
    return run_job(j, args, NULL, error);
}

/* The run that the first argument names, unless it is a change of the configuration. *from: index
 * of the first argument that is one. */
static clv_status find_run(job *j, const cli_args *args, size_t *from, clv_error *error)
{
    const char *output = cli_option_value(args, "output"), *what = cli_at(args, 0);
    const bool named = what != NULL && (strchr(what, '=') == NULL || clvi_is_dir(what));
    *from = named ? 1 : 0;
    CLV_TRY(clvi_run_find(output != NULL ? output : "runs", named ? what : "last", &j->run, error));
    j->resume = true;
    return clvi_run_lock(j->run, &j->lock, error);
}

static clv_status open_run(job *j, const cli_args *args, clvi_resume *resume, clv_error *error)
{
    size_t from, count;
    const char *const *overrides;
    clvi_arena *arena = NULL;
    CLV_TRY(find_run(j, args, &from, error));
    CLV_TRY(clvi_arena_create(&arena, error));
    clv_status status = cli_overrides(args, from, arena, &overrides, &count, error);
    if (status == CLV_OK)
        status = clvi_resume_open(j->run, overrides, count, NULL, resume, error);
    clvi_arena_destroy(arena);
    return status;
}

static clv_status go_on(job *j, const cli_args *args, clv_error *error)
{
    clvi_resume resume = {0};
    if (cli_flag(args, "dry-run"))
        CLV_FAIL(error, CLV_E_USAGE, "--dry-run tries a configuration out, not the rest of a run");
    CLV_TRY(open_run(j, args, &resume, error));
    j->config = resume.config;
    resume.config = NULL;
    if (!resume.finished)
        return run_job(j, args, &resume, error);
    printf("%s is finished after %lld epoch%s; --epochs N goes on\n", j->run,
           (long long)resume.state.epoch, resume.state.epoch == 1 ? "" : "s");
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.lock = -1, .step_times = cli_flag(args, "step-times")};
    const clv_status status =
        cli_flag(args, "resume") ? go_on(&j, args, error) : begin(&j, args, error);
    clvi_tensorboard_destroy(j.board);
    clvi_run_unlock(j.lock);
    clvi_config_destroy(j.config);
    clvi_free(j.run);
    clvi_free(j.previous);
    return status;
}

/* For who starts trainings: other wrong use ends with the same status as a refusal. */
static clv_status run_child(const cli_args *args, clv_error *error)
{
    const clv_status status = run(args, error);
    if (status == CLV_E_CONFIG && !cli_flag(args, "resume"))
        fprintf(stderr, "%s\n", CLI_TRAIN_REFUSED);
    return status;
}

const cli_command cmd_train_child = {
    .name = "train-child",
    .summary = "Train for another subcommand, which listens",
    .usage = "CONFIG|--resume RUN [SECTION.KEY=VALUE]... [options]",
    .example = "conclave train-child --resume runs/first",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run_child,
};

const cli_command cmd_train = {
    .name = "train",
    .summary = "Train a configuration on a folder or archive of images",
    .usage = "CONFIG|--resume [RUN] [SECTION.KEY=VALUE]... [options]",
    .example =
        "conclave train cnn-custom-only --data pictures.tar.gz --epochs 20\n"
        "conclave train cnn-custom-only --data pictures train.patience=5 optimizer.lr=0.001\n"
        "conclave train --resume last",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
