/* The end of a training: the best epoch's figures and the files that hold them; see trainer.h. */
#include "train/trainer.h"

#include "base/csv.h"
#include "train/predictions.h"
#include "train/run_dir.h"
#include "train/source_scores.h"
#include "train/temperature.h"
#include "train/usage_report.h"

#include <math.h>

/* What the best weights make of the splits. */
typedef struct final {
    clvi_trainer *trainer;
    int classes;
    clvi_split split; /* being scored */
    clvi_scores *scores[CLVI_SPLIT_COUNT];
    clvi_predictions predictions[CLVI_SPLIT_COUNT]; /* of validation and test */
    float *logits;                                  /* [taken, classes] of validation */
    int32_t *labels;                                /* [taken] */
    size_t taken;
    double temperature;          /* known when validation was taken */
    clvi_usage_report *usage;    /* NULL: one expert */
    clvi_source_scores *sources; /* NULL: one source */
} final;

static void final_fini(final *f)
{
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        clvi_scores_destroy(f->scores[s]);
        clvi_predictions_fini(&f->predictions[s]);
    }
    clvi_free(f->logits);
    clvi_free(f->labels);
    clvi_usage_report_destroy(f->usage);
    clvi_source_scores_destroy(f->sources);
}

/* ---- Scoring ---- */

/* Keeps what a batch was taken for, by whom, and of validation the logits. */
static clv_status take(void *taker, const clvi_batch *batch, const float *logits, clv_error *error)
{
    final *f = taker;
    const size_t row = (size_t)f->classes;
    clvi_predictions *predictions = &f->predictions[f->split];
    const size_t first = predictions->count;
    CLV_TRY(clvi_usage_report_take(f->usage, f->split, batch, error));
    clvi_source_scores_add(f->sources, f->split, batch, logits);
    if (f->split == CLVI_TRAIN)
        return CLV_OK;
    if (f->split == CLVI_VAL) {
        memcpy(f->logits + f->taken * row, logits, batch->count * row * sizeof *logits);
        memcpy(f->labels + f->taken, batch->labels, batch->count * sizeof *f->labels);
        f->taken += batch->count;
    }
    CLV_TRY(
        clvi_predictions_add(predictions, f->trainer->desc->data, f->split, batch, logits, error));
    if (f->split != CLVI_VAL)
        clvi_predictions_calibrate(predictions, first, logits, f->classes, f->temperature);
    for (size_t i = first; i < predictions->count; i++)
        predictions->items[i].gate_entropy = clvi_usage_report_entropy(f->usage, f->split, i);
    return CLV_OK;
}

/* From pixels, unless what whole experts make of them is kept. */
static clvi_evaluate_desc evaluation(const clvi_trainer *t, clvi_split split)
{
    return (clvi_evaluate_desc){.mixture = t->mixture,
                                .features =
                                    clvi_mixture_kept(t->mixture).experts ? t->features : NULL,
                                .data = t->desc->data,
                                .split = split,
                                .batch = t->batch,
                                .stop = t->desc->stop,
                                .progress = t->desc->progress,
                                .user = t->desc->user};
}

static clv_status score(final *f, clvi_split split, double temperature, clv_error *error)
{
    clvi_evaluate_desc desc = evaluation(f->trainer, split);
    desc.take = split == CLVI_TRAIN && !f->usage && !f->sources ? NULL : take;
    desc.taker = f;
    f->split = split;
    CLV_TRY(clvi_scores_create(f->classes, &f->scores[split], error));
    clvi_scores_calibrate(f->scores[split], temperature);
    return clvi_evaluate(&desc, split == CLVI_VAL ? NULL : f->scores[split], error);
}

/* Validation comes first: the temperature is fitted on it. */
static clv_status score_all(final *f, clvi_train_result *out, clv_error *error)
{
    const clvi_dataset *data = f->trainer->desc->data;
    const size_t most = clvi_dataset_count(data, CLVI_VAL);
    CLV_TRY(clvi_usage_report_create(f->trainer->mixture, f->trainer->config,
                                     f->trainer->desc->data, &f->usage, error));
    CLV_TRY(clvi_source_scores_create(data, &f->sources, error));
    f->logits = clvi_malloc(most * (size_t)f->classes * sizeof *f->logits);
    f->labels = clvi_malloc(most * sizeof *f->labels);
    if (!f->logits || !f->labels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the logits of %zu images", most);
    CLV_TRY(score(f, CLVI_VAL, 1, error));
    out->temperature = f->temperature =
        clvi_temperature_fit(f->logits, f->labels, f->taken, f->classes);
    clvi_predictions_calibrate(&f->predictions[CLVI_VAL], 0, f->logits, f->classes, f->temperature);
    clvi_scores_calibrate(f->scores[CLVI_VAL], out->temperature);
    clvi_scores_add(f->scores[CLVI_VAL], f->logits, f->labels, f->taken);
    CLV_TRY(score(f, CLVI_TRAIN, out->temperature, error));
    out->has_test = clvi_dataset_count(data, CLVI_TEST) > 0;
    if (out->has_test)
        CLV_TRY(score(f, CLVI_TEST, out->temperature, error));
    const clvi_evaluate_desc once_more =
        evaluation(f->trainer, out->has_test ? CLVI_TEST : CLVI_VAL);
    CLV_TRY(clvi_usage_report_finish(f->usage, &once_more, error));
    clvi_score_summary *const to[] = {&out->train, &out->val, &out->test};
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        if (f->scores[s])
            clvi_scores_summary(f->scores[s], to[s]);
    return CLV_OK;
}

/* Loads the best epoch's weights and scores every split with them. */
static clv_status final_scores(final *f, clvi_train_result *out, clv_error *error)
{
    clvi_trainer *t = f->trainer;
    clvi_checkpoint *best;
    CLV_TRY(clvi_checkpoint_open(t->best_path, &best, error));
    const clv_status status = clvi_checkpoint_load(best, clvi_mixture_store(t->mixture), error);
    out->best_epoch = clvi_checkpoint_state(best)->epoch;
    clvi_checkpoint_close(best);
    CLV_TRY(status);
    return score_all(f, out, error);
}

/* ---- Tables ---- */

static void append_classes(const final *f, clvi_split split, clvi_text *text)
{
    for (int c = 0; c < f->classes; c++) {
        clvi_class_score s;
        clvi_scores_class(f->scores[split], c, &s);
        clvi_csv_append(text, clvi_split_name(split));
        clvi_csv_append(text, clvi_dataset_class_name(f->trainer->desc->data, (size_t)c));
        clvi_csv_append_int(text, s.count);
        clvi_csv_append_int(text, s.predicted);
        clvi_csv_append_int(text, s.correct);
        clvi_csv_append_real(text, s.precision, 7);
        clvi_csv_append_real(text, s.recall, 7);
        clvi_csv_append_real(text, s.f1, 7);
        clvi_csv_end_line(text);
    }
}

/* A line for each pair of classes that occurs: of 1,000 classes few of the million do. */
static void append_confusion(const final *f, clvi_split split, clvi_text *text)
{
    const clvi_dataset *data = f->trainer->desc->data;
    for (int label = 0; label < f->classes; label++)
        for (int c = 0; c < f->classes; c++) {
            const int64_t images = clvi_scores_confusion(f->scores[split], label, c);
            if (images == 0)
                continue;
            clvi_csv_append(text, clvi_split_name(split));
            clvi_csv_append(text, clvi_dataset_class_name(data, (size_t)label));
            clvi_csv_append(text, clvi_dataset_class_name(data, (size_t)c));
            clvi_csv_append_int(text, images);
            clvi_csv_end_line(text);
        }
}

/* Writes `text` as the file `name` of the run. */
static clv_status write_text(const clvi_trainer *t, const char *name, const clvi_text *text,
                             clv_error *error)
{
    char *path = clvi_path_join(t->desc->run_dir, name);
    clv_status status;
    if (!path || text->failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for %s", name);
    else
        status = clvi_file_write(path, clvi_text_get(text), text->length, error);
    clvi_free(path);
    return status;
}

static clv_status write_tables(const final *f, clv_error *error)
{
    clvi_text classes = {0}, confusion = {0}, predictions = {0}, usage = {0}, weights = {0};
    clvi_text_append(&classes, "split,class,images,predicted,correct,precision,recall,f1\n");
    clvi_text_append(&confusion, "split,class,predicted,images\n");
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        if (!f->scores[s])
            continue;
        append_classes(f, (clvi_split)s, &classes);
        append_confusion(f, (clvi_split)s, &confusion);
        if (s != CLVI_TRAIN)
            clvi_predictions_append(&f->predictions[s], (clvi_split)s, &predictions);
    }
    const struct {
        const char *name;
        clvi_text *text;
    } files[] = {{CLVI_RUN_CLASSES, &classes},
                 {CLVI_RUN_CONFUSION, &confusion},
                 {CLVI_RUN_PREDICTIONS, &predictions},
                 {CLVI_RUN_USAGE, &usage},
                 {CLVI_RUN_WEIGHTS, &weights}};
    clv_status status = CLV_OK;
    const bool gated = f->usage && clvi_mixture_has_gate(f->trainer->mixture);
    if (f->usage)
        clvi_usage_report_csv(f->usage, &usage);
    if (gated)
        clvi_usage_report_weights_csv(f->usage, &weights);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const bool wanted = files[i].text == &usage     ? f->usage != NULL
                            : files[i].text == &weights ? gated
                                                        : true;
        if (status == CLV_OK && wanted)
            status = write_text(f->trainer, files[i].name, files[i].text, error);
        clvi_text_fini(files[i].text);
    }
    return status;
}

/* ---- summary.json ---- */

/* Of one image, with every part. */
static int64_t multiply_adds(const clvi_mixture *mixture)
{
    int64_t sum = 0;
    for (size_t i = 0; i < clvi_mixture_part_count(mixture); i++)
        sum += clvi_mixture_part_macs(mixture, i);
    return sum;
}

static clv_status add_usage(const final *f, const clvi_train_result *r, json_t *summary,
                            clv_error *error)
{
    const clvi_split split = r->has_test ? CLVI_TEST : CLVI_VAL;
    const double active = clvi_usage_report_active(f->usage, f->trainer->mixture, split);
    json_t *usage = f->usage ? clvi_usage_report_json(f->usage) : NULL;
    if (!summary || (f->usage && !usage) ||
        json_object_set_new(summary, "active_multiply_adds", json_integer((json_int_t)active)) != 0)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the summary");
    if (usage)
        json_object_set_new(summary, "usage", usage);
    return CLV_OK;
}

static clv_status add_sources(const final *f, json_t *summary, clv_error *error)
{
    json_t *sources = f->sources ? clvi_source_scores_json(f->sources) : NULL;
    if (f->sources && (!sources || json_object_set_new(summary, "sources", sources) != 0))
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the summary");
    return CLV_OK;
}

/* Measured last: it changes the variables. */
static clv_status add_step_times(clvi_trainer *t, json_t *summary, clv_error *error)
{
    json_t *times;
    if (!t->desc->step_times || !summary)
        return CLV_OK;
    CLV_TRY(clvi_step_times(t, &times, error));
    json_object_set_new(summary, "step_ms", times);
    return CLV_OK;
}

/* What the sparse gate did in training; evaluation drops nothing. */
static clv_status add_routed(const clvi_train_result *r, json_t *summary, clv_error *error)
{
    if (!isfinite(r->dropped))
        return CLV_OK;
    if (!summary || json_object_set_new(summary, "routing",
                                        json_pack("{s:f, s:f}", "dropped", r->dropped, "unrouted",
                                                  r->unrouted)) != 0)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the summary");
    return CLV_OK;
}

static clv_status write_summary(const final *f, const clvi_train_result *r, clv_error *error)
{
    clvi_trainer *t = f->trainer;
    clvi_device_counters counters;
    clvi_device_get_counters(t->desc->device, &counters);
    const clvi_store *store = clvi_mixture_store(t->mixture);
    const uint32_t last = (uint32_t)(t->state.epoch > 0 ? t->state.epoch - 1 : 0);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:b, s:s?, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "name",
        clvi_config_name(t->config), "device", clvi_device_banner(t->desc->device), "epochs",
        (json_int_t)r->epochs, "best_epoch", (json_int_t)r->best_epoch, "stopped_early",
        r->stopped_by != NULL, "stopped_by", r->stopped_by, "seconds", clvi_json_real(r->seconds),
        "warm_seconds", clvi_json_real(r->warm_seconds), "parameters",
        (json_int_t)clvi_store_parameters(store, false), "trainable",
        (json_int_t)clvi_mixture_training(t->mixture, last), "multiply_adds",
        (json_int_t)multiply_adds(t->mixture), "peak_device_bytes", (json_int_t)counters.peak_bytes,
        "temperature", clvi_json_real(r->temperature), "train", clvi_score_json(&r->train), "val",
        clvi_score_json(&r->val));
    if (json && r->has_test)
        json_object_set_new(json, "test", clvi_score_json(&r->test));
    char *path = clvi_path_join(t->desc->run_dir, CLVI_RUN_SUMMARY);
    clv_status status = add_usage(f, r, json, error);
    if (status == CLV_OK)
        status = add_sources(f, json, error);
    if (status == CLV_OK)
        status = add_routed(r, json, error);
    if (status == CLV_OK)
        status = add_step_times(t, json, error);
    if (status == CLV_OK && (!json || !path))
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the summary");
    else if (status == CLV_OK)
        status = clvi_json_write(path, json, error);
    clvi_free(path);
    json_decref(json);
    return status;
}

clv_status clvi_trainer_finish(clvi_trainer *t, clvi_train_result *out, clv_error *error)
{
    clv_error cause = CLV_ERROR_INIT;
    final f = {.trainer = t, .classes = (int)clvi_dataset_class_count(t->desc->data)};
    clv_status status = final_scores(&f, out, &cause);
    out->dropped = clvi_routed_dropped(&t->state.routed);
    out->unrouted = clvi_routed_unrouted(&t->state.routed);
    out->epochs = t->state.epoch > out->best_epoch ? t->state.epoch : out->best_epoch;
    if (status == CLV_OK)
        status = write_tables(&f, &cause);
    if (status == CLV_OK)
        status = write_summary(&f, out, &cause);
    final_fini(&f);
    char run[256];
    if (status == CLV_E_INTERRUPTED)
        CLV_FAIL(error, status,
                 "stopped while the results were taken; `conclave train --resume %s` goes on",
                 clvi_shell_word(t->desc->run_dir, run, sizeof run));
    if (status != CLV_OK)
        CLV_FAIL(error, status, "%s", cause.message);
    return CLV_OK;
}
