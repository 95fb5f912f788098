/* conclave eval: the figures of a trained run on a labelled set of images. */
#include "likeness.h"
#include "session.h"
#include "show.h"

#include "base/clock.h"
#include "base/files.h"
#include "train/train.h"

#include <math.h>

static const cli_option options[] = {
    {"data", "PATH", "another folder or archive with the same classes", 0, false},
    {"split", "test|val|train|NAME", "images to look at, or a folder's name; test if not given", 0,
     false},
    {"per-class", NULL, "every class as well; with --json its confusions too", 0, false},
    {"json", NULL, "one JSON object; shares are fractions", 0, false},
    CLI_MODEL_OPTIONS,
    CLI_DEVICE_OPTION,
    CLI_PLUGIN_OPTION,
};

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session;
    char *run;
    clvi_model *model;
    clvi_dataset *data;
    const char *data_path;
    clvi_split split;
    bool whole; /* not split: all images are taken */
    clvi_scores *scores;
    cli_likeness likeness;
    double seconds;
} job;

/* ---- Which images ---- */

static clv_status check_classes(const job *j, clv_error *error)
{
    const size_t own = clvi_model_class_count(j->model);
    const size_t given = clvi_dataset_class_count(j->data);
    for (size_t i = 0; i < own || i < given; i++) {
        const char *mine = i < own ? clvi_model_class_name(j->model, i) : NULL;
        const char *theirs = i < given ? clvi_dataset_class_name(j->data, i) : NULL;
        if (mine != NULL && theirs != NULL && strcmp(mine, theirs) == 0)
            continue;
        if (theirs == NULL)
            CLV_FAIL(error, CLV_E_DATA, "%s: class %s of the run is missing; it must hold all %zu",
                     j->data_path, mine, own);
        if (mine == NULL)
            CLV_FAIL(error, CLV_E_DATA, "%s: class %s is none of the %zu classes of the run",
                     j->data_path, theirs, own);
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: class %zu is %s, that of the run is %s; the classes must be the same",
                 j->data_path, i + 1, theirs, mine);
    }
    return CLV_OK;
}

/* True when `name` is the folder that the images of the split lie in. */
static bool is_folder_of(const clvi_dataset *data, clvi_split split, const char *name)
{
    if (clvi_dataset_count(data, split) == 0)
        return false;
    const clvi_sample *sample = clvi_dataset_sample(data, split, 0);
    const size_t length = strcspn(sample->path, "/");
    char folder[256];
    if (sample->path[length] != '/' || length >= sizeof folder)
        return false;
    memcpy(folder, sample->path, length);
    folder[length] = '\0';
    /* Where the data set is not split, class folders stand in its place. */
    return strcmp(folder, clvi_dataset_class_name(data, sample->label)) != 0 &&
           clvi_name_equal(folder, name);
}

static clv_status find_split(const job *j, const char *name, clvi_split *out, clv_error *error)
{
    static const char *const others[] = {"valid", "validation"};
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        if (clvi_name_equal(name, clvi_split_name((clvi_split)s))) {
            *out = (clvi_split)s;
            return CLV_OK;
        }
    for (int s = CLVI_SPLIT_COUNT - 1; s >= 0; s--)
        if (is_folder_of(j->data, (clvi_split)s, name)) {
            *out = (clvi_split)s;
            return CLV_OK;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (clvi_name_equal(name, others[i])) {
            *out = CLVI_VAL;
            return CLV_OK;
        }
    static const char *const known[] = {"train", "val", "test", "validation"};
    char shown[64];
    const char *near = clvi_nearest(name, known, sizeof known / sizeof *known);
    CLV_FAIL(error, CLV_E_USAGE, "--split %s: %s has no such part; %s%s%s",
             clvi_printable(name, shown, sizeof shown), j->data_path,
             near != NULL ? "did you mean " : "give train, val or test", near != NULL ? near : "",
             near != NULL ? "?" : "");
}

/* Another data set need not be split: then all of it is taken, from the one part that there is.
 * One with a train and a val folder has no images of which that is clear. */
static clv_status open_whole(job *j, clvi_data_options data, clv_error *error)
{
    clvi_dataset_close(j->data);
    j->data = NULL;
    data.val_fraction = 0;
    data.limit_per_class = 0;
    CLV_TRY(clvi_dataset_open(&data, &j->data, error));
    j->data_path = clvi_dataset_path(j->data);
    j->split = CLVI_TRAIN;
    j->whole = true;
    if (clvi_dataset_count(j->data, CLVI_VAL) > 0)
        CLV_FAIL(error, CLV_E_USAGE,
                 "%s has no test images (train %zu, val %zu); say which to take with --split train "
                 "or --split val",
                 j->data_path, clvi_dataset_count(j->data, CLVI_TRAIN),
                 clvi_dataset_count(j->data, CLVI_VAL));
    return CLV_OK;
}

static clv_status open_data(job *j, clv_error *error)
{
    clvi_data_options data = clvi_train_data_options(clvi_model_config(j->model));
    const char *other = cli_option_value(j->args, "data");
    const char *split = cli_option_value(j->args, "split");
    clvi_model_image(j->model, &data.height, &data.width, &data.channels);
    if (other != NULL) {
        data.path = other;
        data.source_count = 0;
        data.split_folder_optional = true; /* the run's names mean its own set */
    }
    clv_error cause = CLV_ERROR_INIT;
    const clv_status opened = clvi_dataset_open(&data, &j->data, &cause);
    if (opened == CLV_E_IO && other == NULL)
        CLV_FAIL(error, opened, "%s; --data PATH says where the run's images lie now",
                 cause.message);
    if (opened != CLV_OK)
        CLV_FAIL(error, opened, "%s", cause.message);
    j->data_path = clvi_dataset_path(j->data);
    j->split = CLVI_TEST;
    if (split != NULL)
        CLV_TRY(find_split(j, split, &j->split, error));
    const size_t counts[] = {clvi_dataset_count(j->data, CLVI_TRAIN),
                             clvi_dataset_count(j->data, CLVI_VAL),
                             clvi_dataset_count(j->data, CLVI_TEST)};
    if (split == NULL && other != NULL && counts[CLVI_TEST] == 0)
        CLV_TRY(open_whole(j, data, error));
    else if (counts[j->split] == 0)
        CLV_FAIL(error, CLV_E_USAGE,
                 "%s has no %s images (train %zu, val %zu, test %zu); choose another --split",
                 j->data_path, clvi_split_name(j->split), counts[CLVI_TRAIN], counts[CLVI_VAL],
                 counts[CLVI_TEST]);
    CLV_TRY(check_classes(j, error));
    clvi_log(CLVI_LOG_INFO, "data: %s", clvi_dataset_summary(j->data));
    return CLV_OK;
}

/* ---- Scoring ---- */

/* Whether `path` is where the run's own images lie. */
static bool is_own_path(const job *j, const char *path)
{
    return clvi_same_file(clvi_config_text(clvi_model_config(j->model), "data", "path"), path);
}

/* The run's own validation images are what is compared with, those of training it knows by heart.
 */
static bool is_new(const job *j)
{
    const char *other = cli_option_value(j->args, "data");
    return j->split == CLVI_TEST || (other != NULL && !is_own_path(j, other));
}

static clv_status take(void *taker, const clvi_batch *batch, const float *logits, clv_error *error)
{
    job *j = taker;
    return cli_likeness_take(&j->likeness, j->model, logits, batch->count, error);
}

static clv_status score(job *j, clv_error *error)
{
    const int64_t count = (int64_t)clvi_dataset_count(j->data, j->split);
    const int64_t batch = clvi_config_int(clvi_model_config(j->model), "train", "batch");
    const clvi_model_place place = {.device = j->session.device,
                                    .plugins = j->session.plugins,
                                    .max_batch = batch < count ? batch : count};
    CLV_TRY(clvi_model_load(j->model, &place, error));
    CLV_TRY(clvi_scores_create((int)clvi_model_class_count(j->model), &j->scores, error));
    if (clvi_model_temperature(j->model) > 0)
        clvi_scores_calibrate(j->scores, clvi_model_temperature(j->model));
    const clvi_evaluate_desc desc = {.mixture = clvi_model_mixture(j->model),
                                     .data = j->data,
                                     .split = j->split,
                                     .batch = place.max_batch,
                                     .progress = cli_session_show,
                                     .user = &j->session,
                                     .take = take,
                                     .taker = j};
    if (is_new(j))
        CLV_TRY(cli_likeness_begin(&j->likeness, j->model, place.max_batch, error));
    const double begin = clvi_now();
    const clv_status status = clvi_evaluate(&desc, j->scores, error);
    j->seconds = clvi_now() - begin;
    cli_progress_clear(j->session.progress);
    if (status == CLV_OK)
        cli_likeness_end(&j->likeness);
    return status;
}

/* ---- Printing ---- */

static const char *split_text(const job *j)
{
    return j->whole ? "all" : clvi_split_name(j->split);
}

static json_t *classes_json(const job *j)
{
    json_t *list = json_array();
    for (size_t c = 0; c < clvi_model_class_count(j->model); c++) {
        clvi_class_score s;
        clvi_scores_class(j->scores, (int)c, &s);
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "class",
                            clvi_model_class_name(j->model, c), "count", (json_int_t)s.count,
                            "predicted", (json_int_t)s.predicted, "correct", (json_int_t)s.correct,
                            "precision", s.precision, "recall", s.recall, "f1", s.f1));
    }
    return list;
}

/* [[images of class 0 taken for class 0, for 1, …], …] */
static json_t *confusion_json(const job *j)
{
    const int classes = (int)clvi_model_class_count(j->model);
    json_t *rows = json_array();
    for (int label = 0; label < classes; label++) {
        json_t *row = json_array();
        for (int c = 0; c < classes; c++)
            json_array_append_new(row, json_integer(clvi_scores_confusion(j->scores, label, c)));
        json_array_append_new(rows, row);
    }
    return rows;
}

static clv_status print_json(const job *j, const clvi_score_summary *s, clv_error *error)
{
    const double temperature = clvi_model_temperature(j->model);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:s, s:s, s:o}", "run", j->run, "checkpoint", clvi_model_path(j->model),
        "epoch", (json_int_t)clvi_model_epoch(j->model), "data", j->data_path, "split",
        split_text(j), "temperature", temperature > 0 ? json_real(temperature) : json_null());
    clvi_score_summary shown = *s;
    if (temperature <= 0)
        shown.nll_calibrated = shown.ece_calibrated = NAN;
    json_t *scores = clvi_score_json(&shown);
    json_object_update(json, scores);
    json_decref(scores);
    json_object_set_new(json, "likeness", cli_likeness_json(&j->likeness));
    json_object_set_new(json, "seconds", clvi_json_real(j->seconds));
    json_object_set_new(json, "images_per_second", clvi_json_real((double)s->count / j->seconds));
    if (cli_flag(j->args, "per-class")) {
        json_object_set_new(json, "classes", classes_json(j));
        json_object_set_new(json, "confusion", confusion_json(j));
    }
    return cli_show_json(scores != NULL ? json : NULL, 0, error);
}

/* The class that images of `label` are most often taken for, itself apart; -1: none is. */
static int worst_confusion(const job *j, int label)
{
    const int classes = (int)clvi_model_class_count(j->model);
    int worst = -1;
    for (int c = 0; c < classes; c++) {
        const int64_t times = clvi_scores_confusion(j->scores, label, c);
        if (c != label && times > 0 &&
            (worst < 0 || times > clvi_scores_confusion(j->scores, label, worst)))
            worst = c;
    }
    return worst;
}

static clv_status print_classes(const job *j, clv_error *error)
{
    static const cli_column columns[] = {
        {"class", false, true},  {"images", true, false}, {"precision", true, false},
        {"recall", true, false}, {"F1", true, false},     {"most often taken for", false, false},
    };
    cli_table table;
    char number[CLI_NUMBER_BYTES];
    CLV_TRY(cli_table_init(&table, columns, sizeof columns / sizeof *columns, error));
    for (size_t c = 0; c < clvi_model_class_count(j->model); c++) {
        clvi_class_score s;
        clvi_scores_class(j->scores, (int)c, &s);
        const int worst = worst_confusion(j, (int)c);
        cli_table_cell(&table, "%s", clvi_model_class_name(j->model, c));
        cli_table_cell(&table, "%s", cli_show_count(s.count, number));
        cli_table_cell(&table, "%s", cli_show_percent(s.precision, number));
        cli_table_cell(&table, "%s", cli_show_percent(s.recall, number));
        cli_table_cell(&table, "%s", cli_show_figure(s.f1, number));
        if (worst >= 0)
            cli_table_cell(&table, "%s (%lld)", clvi_model_class_name(j->model, (size_t)worst),
                           (long long)clvi_scores_confusion(j->scores, (int)c, worst));
        else
            cli_table_cell(&table, "-");
    }
    puts("");
    return cli_table_print(&table, stdout, error);
}

static clv_status print_text(const job *j, const clvi_score_summary *s, clv_error *error)
{
    const char *label = split_text(j);
    char seconds[CLI_NUMBER_BYTES], speed[CLI_NUMBER_BYTES];
    char number[CLI_NUMBER_BYTES], calibrated[CLI_NUMBER_BYTES];
    printf("run    %s, epoch %lld\ndata   %s, %s\nspeed  %s images/s (%s)\n\n", j->run,
           (long long)clvi_model_epoch(j->model), j->data_path,
           j->whole ? "all images" : clvi_split_name(j->split),
           cli_show_count((int64_t)((double)s->count / j->seconds), speed),
           cli_show_seconds(j->seconds, seconds));
    CLV_TRY(cli_show_scores(&label, s, 1, error));
    if (clvi_model_temperature(j->model) > 0)
        printf("\nwith the temperature of %.3f that was fitted on validation images: NLL %s, ECE "
               "%s\n",
               clvi_model_temperature(j->model), cli_show_figure(s->nll_calibrated, number),
               cli_show_figure(s->ece_calibrated, calibrated));
    CLV_TRY(cli_likeness_print(&j->likeness, error));
    if (s->not_finite > 0)
        printf("\n%lld images gave numbers that are not finite; they count as wrong\n",
               (long long)s->not_finite);
    return cli_flag(j->args, "per-class") ? print_classes(j, error) : CLV_OK;
}

/* ---- The command ---- */

static clv_status evaluate(job *j, clv_error *error)
{
    CLV_TRY(open_data(j, error));
    CLV_TRY(cli_session_open_device(&j->session, clvi_model_config(j->model),
                                    cli_option_value(j->args, "device"), error));
    CLV_TRY(score(j, error));
    clvi_score_summary summary;
    clvi_scores_summary(j->scores, &summary);
    return cli_flag(j->args, "json") ? print_json(j, &summary, error)
                                     : print_text(j, &summary, error);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    if (cli_count(args) > 1)
        CLV_FAIL(error, CLV_E_USAGE, "eval takes one run; \"%s\" is one too many", cli_at(args, 1));
    CLV_TRY(cli_session_open(&j.session, args, error));
    clv_status status = cli_open_model(args, 0, &j.run, &j.model, error);
    if (status == CLV_OK)
        status = evaluate(&j, error);
    clvi_scores_destroy(j.scores);
    cli_likeness_fini(&j.likeness);
    clvi_model_close(j.model);
    clvi_dataset_close(j.data);
    cli_session_close(&j.session);
    clvi_free(j.run);
    return status;
}

const cli_command cmd_eval = {
    .name = "eval",
    .summary = "Measure a trained run on labelled images",
    .usage = "RUN [--split NAME] [--data PATH] [--json] [--per-class] [options]",
    .example = "conclave eval last --split test --json\n"
               "conclave eval runs/cnn-custom-only --data other-pictures.zip --per-class",
    .details =
        "ECE and NLL are given of the probabilities as they are, and divided by the temperature\n"
        "that was fitted on the run's validation images when its training ended.\n"
        "\n"
        "Images that the run was neither trained nor validated with are compared with its\n"
        "validation images: how sure the network is of them, and how evenly its gate weighs the\n"
        "experts. \"differs for\" is the largest distance of the two distribution functions: at\n"
        "least so many images are other ones. It is warned of above 10 %, of fewer images\n"
        "above what images of one kind exceed by chance once in 2,000 times. The exit status\n"
        "stays 0.",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
