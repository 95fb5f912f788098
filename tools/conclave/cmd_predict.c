/* conclave predict: what a trained run takes pictures for. */
#include "session.h"
#include "show.h"

#include "data/image.h"
#include "train/train.h"

#include <stdlib.h>

enum { DEFAULT_TOP = 3, MOST_BYTES = 64 << 20, MOST_DEPTH = 32 };

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
    clvi_arena *names;
    const char **paths; /* of the pictures */
    size_t path_count, path_capacity;
    int64_t top;
    double least; /* probability of an answer */
    size_t unsure;
    bool json;
    /* One batch. */
    int64_t batch, filled;
    uint8_t *pixels;      /* [batch, height, width, channels] */
    const char **pending; /* [batch] their paths */
    float *logits;        /* [batch, classes] */
    float *gate;          /* [batch, experts]; NULL: there is no gate */
    double *chances;      /* [classes] */
    int *ranking;         /* [classes] */
    double temperature;   /* of the probabilities */
    int height, width, channels;
    clvi_image_form form; /* as in training */
    size_t bad;
} job;

/* ---- Which pictures ---- */

static clv_status add_path(job *j, const char *path, clv_error *error)
{
    void *paths = j->paths;
    CLV_TRY(clvi_grow(&paths, &j->path_capacity, j->path_count + 1, sizeof *j->paths, error));
    j->paths = paths;
    const char *kept = clvi_arena_strdup(j->names, path);
    if (kept == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the names of the pictures");
    j->paths[j->path_count++] = kept;
    return CLV_OK;
}

/* All pictures in a folder and below, in natural order; hidden names are passed over. */
static clv_status add_folder(job *j, const char *folder, int depth, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    if (depth > MOST_DEPTH)
        CLV_FAIL(error, CLV_E_DATA, "%s: folders are nested more than %d deep", folder, MOST_DEPTH);
    CLV_TRY(clvi_dir_list(folder, &names, &count, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        if (names[i][0] == '.')
            continue;
        char *path = clvi_path_join(folder, names[i]);
        if (path == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", folder);
        else if (clvi_is_dir(path))
            status = add_folder(j, path, depth + 1, error);
        else if (clvi_image_name(path))
            status = add_path(j, path, error);
        clvi_free(path);
    }
    clvi_names_free(names, count);
    return status;
}

static clv_status list_pictures(job *j, clv_error *error)
{
    for (size_t i = 1; i < cli_count(j->args); i++) {
        const char *what = cli_at(j->args, i);
        const size_t before = j->path_count;
        if (!clvi_is_dir(what)) {
            CLV_TRY(add_path(j, what, error));
            continue;
        }
        CLV_TRY(add_folder(j, what, 0, error));
        if (j->path_count == before)
            CLV_FAIL(error, CLV_E_DATA, "%s: no .png, .jpg or .jpeg in this folder", what);
    }
    return CLV_OK;
}

/* ---- One batch ---- */

static void rank_classes(job *j, int classes)
{
    for (int c = 0; c < classes; c++) {
        int at = c;
        for (; at > 0 && j->chances[j->ranking[at - 1]] < j->chances[c]; at--)
            j->ranking[at] = j->ranking[at - 1];
        j->ranking[at] = c;
    }
}

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

static clv_status print_json(const job *j, const char *path, const float *gate, int shown,
                             clv_error *error)
{
    json_t *list = json_array();
    for (int k = 0; k < shown; k++)
        json_array_append_new(list,
                              json_pack("{s:s, s:o}", "class",
                                        clvi_model_class_name(j->model, (size_t)j->ranking[k]),
                                        "probability", clvi_json_real(j->chances[j->ranking[k]])));
    /* A name need not be UTF-8, JSON must be. */
    char *shown_path = clvi_malloc(strlen(path) + 1);
    json_t *json = NULL;
    if (shown_path != NULL)
        json = json_pack("{s:s, s:o}", "path", clvi_printable(path, shown_path, strlen(path) + 1),
                         "predictions", list);
    else
        json_decref(list);
    clvi_free(shown_path);
    if (json != NULL) {
        json_object_set_new(json, "confidence", clvi_json_real(j->chances[j->ranking[0]]));
        json_object_set_new(json, "unsure", json_boolean(shown == 0));
    }
    if (json != NULL && gate != NULL)
        json_object_set_new(json, "gate", gate_json(j, gate));
    return cli_show_json(json, 0, error);
}

static void print_text(const job *j, const char *path, int shown)
{
    const int best = j->ranking[0];
    if (j->top == 1) {
        printf("%6.2f %%  %s  %s\n", 100 * j->chances[best],
               shown == 0 ? "unsure" : clvi_model_class_name(j->model, (size_t)best), path);
        return;
    }
    puts(path);
    for (int k = 0; k < shown; k++)
        printf("  %6.2f %%  %s\n", 100 * j->chances[j->ranking[k]],
               clvi_model_class_name(j->model, (size_t)j->ranking[k]));
    if (shown == 0)
        printf("  unsure; at best %.2f %% %s\n", 100 * j->chances[best],
               clvi_model_class_name(j->model, (size_t)best));
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

/* gate: NULL where there is none. */
static clv_status print_one(job *j, const char *path, const float *logits, const float *gate,
                            clv_error *error)
{
    const int classes = (int)clvi_model_class_count(j->model);
    clvi_softmax_row(logits, classes, j->temperature, j->chances);
    for (int c = 0; c < classes; c++)
        if (!(j->chances[c] >= 0))
            CLV_FAIL(error, CLV_E_NUMERIC, "%s: the network gives numbers that are not finite",
                     path);
    rank_classes(j, classes);
    int shown = 0;
    while (shown < classes && shown < j->top && j->chances[j->ranking[shown]] >= j->least)
        shown++;
    j->unsure += shown == 0;
    if (j->json)
        return print_json(j, path, gate, shown, error);
    print_text(j, path, shown);
    if (gate != NULL && j->top > 1)
        print_gate(j, gate);
    return CLV_OK;
}

static clv_status flush_batch(job *j, clv_error *error)
{
    if (j->filled == 0)
        return CLV_OK;
    clvi_mixture *mixture = clvi_model_mixture(j->model);
    const clvi_mixture_batch batch = {.n = j->filled, .pixels = j->pixels};
    CLV_TRY(clvi_mixture_infer(mixture, &batch, error));
    CLV_TRY(clvi_mixture_logits(mixture, j->logits, error));
    const size_t experts = clvi_mixture_expert_count(mixture);
    if (j->gate != NULL)
        CLV_TRY(clvi_mixture_route(mixture, j->gate, error));
    for (int64_t i = 0; i < j->filled; i++)
        CLV_TRY(print_one(j, j->pending[i],
                          j->logits + (size_t)i * clvi_model_class_count(j->model),
                          j->gate != NULL ? j->gate + (size_t)i * experts : NULL, error));
    j->filled = 0;
    return CLV_OK;
}

static clv_status read_picture(const job *j, const char *path, uint8_t *pixels, clv_error *error)
{
    char *bytes = NULL;
    size_t length = 0;
    CLV_TRY(clvi_file_read(path, MOST_BYTES, &bytes, &length, error));
    const clv_status status = clvi_image_load(bytes, length, path, &j->form, pixels, error);
    clvi_free(bytes);
    return status;
}

static clv_status predict_all(job *j, clv_error *error)
{
    const size_t size = (size_t)j->height * (size_t)j->width * (size_t)j->channels;
    for (size_t i = 0; i < j->path_count; i++) {
        clv_error fault = CLV_ERROR_INIT;
        const clv_status status =
            read_picture(j, j->paths[i], j->pixels + (size_t)j->filled * size, &fault);
        if (status == CLV_E_MEMORY)
            CLV_FAIL(error, CLV_E_MEMORY, "%s", fault.message);
        if (status != CLV_OK) {
            fflush(stdout);
            clvi_log(CLVI_LOG_ERROR, "%s", fault.message);
            j->bad++;
            continue;
        }
        j->pending[j->filled++] = j->paths[i];
        if (j->filled == j->batch)
            CLV_TRY(flush_batch(j, error));
    }
    return flush_batch(j, error);
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
    if (cli_count(j->args) == 1)
        CLV_FAIL(error, CLV_E_USAGE, "which pictures? give files or folders after the run");
    return CLV_OK;
}

static clv_status prepare(job *j, clv_error *error)
{
    const size_t classes = clvi_model_class_count(j->model);
    const int64_t usual = clvi_config_int(clvi_model_config(j->model), "train", "batch");
    j->batch = usual < (int64_t)j->path_count ? usual : (int64_t)j->path_count;
    const clvi_data_options data = clvi_train_data_options(clvi_model_config(j->model));
    clvi_model_image(j->model, &j->height, &j->width, &j->channels);
    j->form = (clvi_image_form){j->height, j->width, j->channels, data.resample, data.fit};
    const size_t size = (size_t)j->height * (size_t)j->width * (size_t)j->channels;
    j->pixels = clvi_malloc(size * (size_t)j->batch);
    j->pending = clvi_malloc((size_t)j->batch * sizeof *j->pending);
    j->logits = clvi_malloc((size_t)j->batch * classes * sizeof *j->logits);
    j->chances = clvi_malloc(classes * sizeof *j->chances);
    j->ranking = clvi_malloc(classes * sizeof *j->ranking);
    if (!j->pixels || !j->pending || !j->logits || !j->chances || !j->ranking)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a batch of %lld pictures",
                 (long long)j->batch);
    CLV_TRY(cli_session_open_device(&j->session, clvi_model_config(j->model),
                                    cli_option_value(j->args, "device"), error));
    const clvi_model_place place = {
        .device = j->session.device, .plugins = j->session.plugins, .max_batch = j->batch};
    const double temperature = clvi_model_temperature(j->model);
    j->temperature = temperature > 0 ? temperature : 1;
    if (temperature <= 0)
        clvi_log(CLVI_LOG_INFO,
                 "the probabilities are not calibrated: that is done at the end of a "
                 "training, for its best epoch");
    CLV_TRY(clvi_model_load(j->model, &place, error));
    const clvi_mixture *mixture = clvi_model_mixture(j->model);
    if (!clvi_mixture_has_gate(mixture))
        return CLV_OK;
    j->gate = clvi_malloc((size_t)j->batch * clvi_mixture_expert_count(mixture) * sizeof *j->gate);
    if (!j->gate)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the gate's weights");
    return CLV_OK;
}

static clv_status predict(job *j, clv_error *error)
{
    CLV_TRY(cli_open_model(j->args, 0, &j->run, &j->model, error));
    CLV_TRY(read_options(j, error));
    CLV_TRY(clvi_arena_create(&j->names, error));
    CLV_TRY(list_pictures(j, error));
    CLV_TRY(prepare(j, error));
    CLV_TRY(predict_all(j, error));
    if (j->unsure > 0)
        clvi_log(CLVI_LOG_INFO, "unsure of %zu of %zu pictures", j->unsure, j->path_count - j->bad);
    if (j->bad > 0)
        CLV_FAIL(error, CLV_E_DATA, "%zu of %zu pictures could not be read", j->bad, j->path_count);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = predict(&j, error);
    clvi_model_close(j.model);
    cli_session_close(&j.session);
    clvi_arena_destroy(j.names);
    clvi_free(j.paths);
    clvi_free(j.pixels);
    clvi_free(j.pending);
    clvi_free(j.logits);
    clvi_free(j.gate);
    clvi_free(j.chances);
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
