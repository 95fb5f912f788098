/* See source_scores.h. */
#include "train/source_scores.h"

#include "train/run_files.h"
#include "train/scores.h"

typedef struct tally {
    int64_t count, correct;
    double nll;
} tally;

struct clvi_source_scores {
    const clvi_dataset *data;
    tally of[CLVI_SPLIT_COUNT][CLVI_MAX_SOURCES];
};

clv_status clvi_source_scores_create(const clvi_dataset *data, clvi_source_scores **out,
                                     clv_error *error)
{
    *out = NULL;
    if (clvi_dataset_source_count(data) < 2)
        return CLV_OK;
    clvi_source_scores *s = clvi_calloc(1, sizeof *s);
    if (!s)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the scores of each source");
    s->data = data;
    *out = s;
    return CLV_OK;
}

void clvi_source_scores_destroy(clvi_source_scores *s)
{
    clvi_free(s);
}

void clvi_source_scores_add(clvi_source_scores *s, clvi_split split, const clvi_batch *batch,
                            const float *logits)
{
    if (!s)
        return;
    const int classes = (int)clvi_dataset_class_count(s->data);
    for (size_t i = 0; i < batch->count; i++) {
        const float *row = logits + i * (size_t)classes;
        tally *t = &s->of[split][clvi_dataset_sample(s->data, split, batch->indices[i])->source];
        t->count++;
        t->correct += clvi_best_class(row, classes) == batch->labels[i];
        t->nll -= clvi_log_probability(row, classes, batch->labels[i]);
    }
}

static json_t *tally_json(const tally *t)
{
    double low, high;
    const double count = (double)t->count;
    clvi_wilson(t->correct, t->count, &low, &high);
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "count", (json_int_t)t->count, "top1",
                     clvi_json_real((double)t->correct / count), "top1_low", clvi_json_real(low),
                     "top1_high", clvi_json_real(high), "nll", clvi_json_real(t->nll / count));
}

json_t *clvi_source_scores_json(const clvi_source_scores *s)
{
    json_t *json = json_object();
    bool good = json != NULL;
    for (size_t i = 0; good && i < clvi_dataset_source_count(s->data); i++) {
        json_t *source = json_object();
        for (int k = 0; k < CLVI_SPLIT_COUNT; k++)
            if (good && s->of[k][i].count > 0)
                good = json_object_set_new(source, clvi_split_name((clvi_split)k),
                                           tally_json(&s->of[k][i])) == 0;
        good = json_object_set_new(json, clvi_dataset_source_name(s->data, i), source) == 0 && good;
    }
    if (good)
        return json;
    json_decref(json);
    return NULL;
}
