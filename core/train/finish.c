/* The end of a training: the best epoch's figures and summary.json; see trainer.h. */
#include "train/trainer.h"

#include "train/run_dir.h"

static clv_status score(clvi_trainer *t, clvi_split split, clvi_score_summary *out,
                        clv_error *error)
{
    const clvi_evaluate_desc desc = {.mixture = t->mixture,
                                     .data = t->desc->data,
                                     .split = split,
                                     .batch = t->batch,
                                     .stop = t->desc->stop,
                                     .progress = t->desc->progress,
                                     .user = t->desc->user};
    clvi_scores *scores;
    CLV_TRY(clvi_scores_create((int)clvi_dataset_class_count(t->desc->data), &scores, error));
    const clv_status status = clvi_evaluate(&desc, scores, error);
    if (status == CLV_OK)
        clvi_scores_summary(scores, out);
    clvi_scores_destroy(scores);
    return status;
}

/* Loads the best epoch's weights and scores every split with them. */
static clv_status final_scores(clvi_trainer *t, clvi_train_result *out, clv_error *error)
{
    clvi_checkpoint *best;
    CLV_TRY(clvi_checkpoint_open(t->best_path, &best, error));
    const clv_status status = clvi_checkpoint_load(best, clvi_mixture_store(t->mixture), error);
    out->best_epoch = clvi_checkpoint_state(best)->epoch;
    clvi_checkpoint_close(best);
    CLV_TRY(status);
    CLV_TRY(score(t, CLVI_TRAIN, &out->train, error));
    CLV_TRY(score(t, CLVI_VAL, &out->val, error));
    out->has_test = clvi_dataset_count(t->desc->data, CLVI_TEST) > 0;
    return out->has_test ? score(t, CLVI_TEST, &out->test, error) : CLV_OK;
}

static json_t *score_json(const clvi_score_summary *s)
{
    return json_pack("{s:I, s:o, s:[o,o], s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "count",
                     (json_int_t)s->count, "top1", clvi_json_real(s->top1), "top1_interval",
                     clvi_json_real(s->top1_low), clvi_json_real(s->top1_high), "top5",
                     clvi_json_real(s->top5), "nll", clvi_json_real(s->nll), "brier",
                     clvi_json_real(s->brier), "ece", clvi_json_real(s->ece), "precision",
                     clvi_json_real(s->precision), "recall", clvi_json_real(s->recall), "f1",
                     clvi_json_real(s->f1));
}

static clv_status write_summary(clvi_trainer *t, const clvi_train_result *r, clv_error *error)
{
    clvi_device_counters counters;
    clvi_device_get_counters(t->desc->device, &counters);
    clvi_store *store = clvi_mixture_store(t->mixture);
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:b, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "name",
                  clvi_config_name(t->config), "device", clvi_device_banner(t->desc->device),
                  "epochs", (json_int_t)r->epochs, "best_epoch", (json_int_t)r->best_epoch,
                  "stopped_early", r->stopped_early, "seconds", clvi_json_real(r->seconds),
                  "warm_seconds", clvi_json_real(r->warm_seconds), "parameters",
                  (json_int_t)clvi_store_parameters(store, false), "trainable",
                  (json_int_t)clvi_store_parameters(store, true), "peak_device_bytes",
                  (json_int_t)counters.peak_bytes, "train", score_json(&r->train), "val",
                  score_json(&r->val));
    if (json && r->has_test)
        json_object_set_new(json, "test", score_json(&r->test));
    char *path = clvi_path_join(t->desc->run_dir, CLVI_RUN_SUMMARY);
    clv_status status = CLV_OK;
    if (!json || !path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the summary");
    else
        status = clvi_json_write(path, json, error);
    clvi_free(path);
    json_decref(json);
    return status;
}

clv_status clvi_trainer_finish(clvi_trainer *t, clvi_train_result *out, clv_error *error)
{
    clv_error cause = CLV_ERROR_INIT;
    const clv_status status = final_scores(t, out, &cause);
    if (status == CLV_E_INTERRUPTED)
        CLV_FAIL(error, status,
                 "stopped while the results were taken; `conclave train --resume %s` goes on",
                 t->desc->run_dir);
    if (status != CLV_OK)
        CLV_FAIL(error, status, "%s", cause.message);
    out->epochs = t->state.epoch > out->best_epoch ? t->state.epoch : out->best_epoch;
    return write_summary(t, out, error);
}
