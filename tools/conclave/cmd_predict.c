/* conclave predict: what a trained run takes pictures for. */
#include "pictures.h"
#include "session.h"
#include "show.h"

#include "base/clock.h"
#include "use/classifier.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_TOP = 3 };

static const cli_option options[] = {
    {"top", "N", "classes for each picture, the most probable first; 3 if not given", 0, false},
    {"min-confidence", "P", "answer \"unsure\" below this probability, 0 to 1", 0, false},
    {"json", NULL, "one JSON object per picture and line", 0, false},
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
    cli_pictures pictures;
    int64_t top;
    double least; /* probability of an answer */
    size_t unsure;
    bool json;
    int64_t batch; /* pictures that are asked about at once */
    clvi_classifier *classifier;
    clv_image *images; /* [batch] */
    size_t *ranking;   /* [classes] the most probable first */
    size_t bad;
} job;

/* ---- One picture ---- */

/* The answer to a picture. */
typedef struct answer {
    const char *path;
    const double *chances; /* [classes] */
    const float *gate;     /* [experts]; NULL: there is no gate */
    int shown;             /* classes of the ranking */
} answer;

/* {"NAME": weight, …} */
static json_t *gate_json(const job *j, const float *gate)
{
    json_t *json = json_object();
    const clvi_config *config = clvi_model_config(j->model);
    for (size_t i = 0; i < clvi_config_expert_count(config); i++)
        json_object_set_new(json, clvi_config_expert_name(config, i),
                            clvi_json_real((double)gate[i]));
    return json;
}

static clv_status print_json(const job *j, const answer *a, clv_error *error)
{
    json_t *list = json_array();
    for (int k = 0; k < a->shown; k++)
        json_array_append_new(
            list, json_pack("{s:s, s:o}", "class", clvi_model_class_name(j->model, j->ranking[k]),
                            "probability", clvi_json_real(a->chances[j->ranking[k]])));
    json_t *json = json_pack("{s:o, s:o}", "path", cli_json_text(a->path), "predictions", list);
    if (json != NULL) {
        json_object_set_new(json, "confidence", clvi_json_real(a->chances[j->ranking[0]]));
        json_object_set_new(json, "unsure", json_boolean(a->shown == 0));
    }
    if (json != NULL && a->gate != NULL)
        json_object_set_new(json, "gate", gate_json(j, a->gate));
    return cli_show_json(json, 0, error);
}

static void print_text(const job *j, const answer *a)
{
    const size_t best = j->ranking[0];
    if (j->top == 1) {
        printf("%6.2f %%  %s  %s\n", 100 * a->chances[best],
               a->shown == 0 ? "unsure" : clvi_model_class_name(j->model, best), a->path);
        return;
    }
    puts(a->path);
    for (int k = 0; k < a->shown; k++)
        printf("  %6.2f %%  %s\n", 100 * a->chances[j->ranking[k]],
               clvi_model_class_name(j->model, j->ranking[k]));
    if (a->shown == 0)
        printf("  unsure; at best %.2f %% %s\n", 100 * a->chances[best],
               clvi_model_class_name(j->model, best));
}

/* Of many experts those that were asked. */
static void print_gate(const job *j, const float *gate)
{
    enum { MANY = 9 };
    const clvi_config *config = clvi_model_config(j->model);
    const size_t experts = clvi_config_expert_count(config);
    const char *between = "";
    printf("  gate:");
    for (size_t i = 0; i < experts; i++) {
        if (experts >= MANY && gate[i] == 0)
            continue;
        printf("%s %s %.3f", between, clvi_config_expert_name(config, i), (double)gate[i]);
        between = ",";
    }
    puts("");
}

static clv_status print_one(job *j, const clv_result *result, size_t index, clv_error *error)
{
    const size_t classes = clvi_model_class_count(j->model);
    const size_t most = (size_t)j->top < classes ? (size_t)j->top : classes;
    answer a = {.path = j->images[index].name, .gate = clv_result_gate(result, index)};
    CLV_TRY(clv_result_probabilities(result, index, &a.chances, error));
    CLV_TRY(clv_result_top(result, index, most, j->ranking, error));
    while ((size_t)a.shown < most && a.chances[j->ranking[a.shown]] >= j->least)
        a.shown++;
    j->unsure += a.shown == 0;
    if (j->json)
        return print_json(j, &a, error);
    print_text(j, &a);
    if (a.gate != NULL && j->top > 1)
        print_gate(j, a.gate);
    return CLV_OK;
}

/* ---- All ---- */

static clv_status print_batch(job *j, const clv_result *result, clv_error *error)
{
    for (size_t i = 0; i < clv_result_count(result); i++) {
        clv_error fault = CLV_ERROR_INIT;
        const clv_status status = print_one(j, result, i, &fault);
        if (status == CLV_E_MEMORY || status == CLV_E_NUMERIC)
            CLV_FAIL(error, status, "%s", fault.message);
        if (status == CLV_OK)
            continue;
        fflush(stdout);
        clvi_log(CLVI_LOG_ERROR, "%s", fault.message);
        j->bad++;
    }
    return CLV_OK;
}

/* On a terminal the answers themselves show how far it is. */
static void show_progress(job *j, size_t done, double seconds)
{
    const double all = (double)j->pictures.count;
    const clvi_progress now = {.phase = CLVI_PROGRESS_PREDICT,
                               .step = (int64_t)done,
                               .steps = (int64_t)j->pictures.count,
                               .loss = NAN,
                               .top1 = NAN,
                               .val_loss = NAN,
                               .val_top1 = NAN,
                               .images_per_second = (double)done / seconds,
                               .seconds = seconds,
                               .seconds_left = seconds / (double)done * (all - (double)done)};
    if (isatty(STDOUT_FILENO) != 1)
        cli_session_show(&j->session, &now);
}

static clv_status predict_all(job *j, clv_error *error)
{
    const double started = clvi_now();
    for (size_t begin = 0; begin < j->pictures.count; begin += (size_t)j->batch) {
        const size_t rest = j->pictures.count - begin;
        const size_t count = rest < (size_t)j->batch ? rest : (size_t)j->batch;
        clv_result *result = NULL;
        for (size_t i = 0; i < count; i++)
            j->images[i] = clv_image_of_file(j->pictures.paths[begin + i]);
        CLV_TRY(clvi_classifier_run(j->classifier, j->images, count, &result, error));
        const clv_status status = print_batch(j, result, error);
        clv_result_destroy(result);
        CLV_TRY(status);
        show_progress(j, begin + count, clvi_now() - started);
    }
    cli_progress_clear(j->session.progress);
    return CLV_OK;
}

/* ---- The command ---- */

static clv_status read_options(job *j, clv_error *error)
{
    const char *least = cli_option_value(j->args, "min-confidence");
    j->top = DEFAULT_TOP;
    j->json = cli_flag(j->args, "json");
    CLV_TRY(cli_option_int(j->args, "top", 1, 1000000, &j->top, error));
    if (least != NULL && (!clvi_parse_real(least, &j->least) || j->least < 0 || j->least > 1))
        CLV_FAIL(error, CLV_E_USAGE, "--min-confidence %s: give a number from 0 to 1", least);
    return CLV_OK;
}

static clv_status prepare(job *j, clv_error *error)
{
    const size_t classes = clvi_model_class_count(j->model);
    const int64_t usual = clvi_config_int(clvi_model_config(j->model), "train", "batch");
    j->batch = usual < (int64_t)j->pictures.count ? usual : (int64_t)j->pictures.count;
    j->images = clvi_malloc((size_t)j->batch * sizeof *j->images);
    j->ranking = clvi_malloc(classes * sizeof *j->ranking);
    if (!j->images || !j->ranking)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a batch of %lld pictures",
                 (long long)j->batch);
    CLV_TRY(cli_session_open_device(&j->session, clvi_model_config(j->model),
                                    cli_option_value(j->args, "device"), error));
    const clvi_model_place place = {
        .device = j->session.device, .plugins = j->session.plugins, .max_batch = j->batch};
    if (clvi_model_temperature(j->model) <= 0)
        clvi_log(CLVI_LOG_INFO,
                 "the probabilities are not calibrated: that is done at the end of a "
                 "training, for its best epoch");
    CLV_TRY(clvi_model_load(j->model, &place, error));
    return clvi_classifier_create(j->model, j->batch, &j->classifier, error);
}

static clv_status predict(job *j, clv_error *error)
{
    CLV_TRY(cli_open_model(j->args, 0, &j->run, &j->model, error));
    CLV_TRY(read_options(j, error));
    CLV_TRY(cli_pictures_list(j->args, 1, &j->pictures, error));
    CLV_TRY(prepare(j, error));
    CLV_TRY(predict_all(j, error));
    if (j->unsure > 0)
        clvi_log(CLVI_LOG_INFO, "unsure of %zu of %zu pictures", j->unsure,
                 j->pictures.count - j->bad);
    if (j->bad > 0)
        CLV_FAIL(error, CLV_E_DATA, "%zu of %zu pictures could not be read", j->bad,
                 j->pictures.count);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = predict(&j, error);
    clvi_classifier_destroy(j.classifier);
    clvi_model_close(j.model);
    cli_session_close(&j.session);
    cli_pictures_fini(&j.pictures);
    clvi_free(j.images);
    clvi_free(j.ranking);
    clvi_free(j.run);
    return status;
}

const cli_command cmd_predict = {
    .name = "predict",
    .summary = "Classify pictures with a trained run; probabilities are calibrated on its "
               "validation images",
    .usage = "RUN IMAGE|FOLDER... [--top N] [--min-confidence P] [--json] [options]",
    .example = "conclave predict last photo.jpg scans --top 1",
    .details =
        "Where the most probable class has less than the probability of --min-confidence, the\n"
        "answer is \"unsure\", which is an answer as others are: the exit status is 0. A picture\n"
        "of it lists no class; in JSON \"unsure\" is true and \"predictions\" is empty, and\n"
        "\"confidence\" is the largest probability in any case.\n"
        "\n"
        "A picture that cannot be read is said on the standard error and passed over; the others\n"
        "are answered, and the exit status is 1.",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
