#include "train/features.h"
#include "train/train.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>

static void report(const clvi_evaluate_desc *desc, int64_t done, int64_t all, double seconds)
{
    if (!desc->progress)
        return;
    const double left = done > 0 ? seconds / (double)done * (double)(all - done) : NAN;
    const clvi_progress p = {.phase =
                                 desc->split == CLVI_TEST ? CLVI_PROGRESS_TEST : CLVI_PROGRESS_VAL,
                             .step = (done + desc->batch - 1) / desc->batch,
                             .steps = (all + desc->batch - 1) / desc->batch,
                             .loss = NAN,
                             .top1 = NAN,
                             .val_loss = NAN,
                             .val_top1 = NAN,
                             .images_per_second = seconds > 0 ? (double)done / seconds : NAN,
                             .seconds = seconds,
                             .seconds_left = left};
    desc->progress(desc->user, &p);
}

static clv_status run(const clvi_evaluate_desc *desc, clvi_loader *loader, float *logits,
                      clvi_scores *scores, clv_error *error)
{
    const int64_t all = (int64_t)clvi_dataset_count(desc->data, desc->split);
    const double begin = clvi_now();
    for (int64_t done = 0;;) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(loader, &b, error));
        if (b.count == 0)
            return CLV_OK;
        const clvi_mixture_batch batch = {.n = (int64_t)b.count,
                                          .pixels = b.pixels,
                                          .features =
                                              clvi_features_of(desc->features, desc->split, &b),
                                          .ids = b.ids};
        CLV_TRY(clvi_mixture_infer(desc->mixture, &batch, error));
        CLV_TRY(clvi_mixture_logits(desc->mixture, logits, error));
        if (scores)
            clvi_scores_add(scores, logits, b.labels, b.count);
        if (desc->take)
            CLV_TRY(desc->take(desc->taker, &b, logits, error));
        done += (int64_t)b.count;
        if (desc->stop && *desc->stop)
            CLV_FAIL(error, CLV_E_INTERRUPTED, "stopped after %lld of %lld images", (long long)done,
                     (long long)all);
        report(desc, done, all, clvi_now() - begin);
    }
}

clv_status clvi_evaluate(const clvi_evaluate_desc *desc, clvi_scores *scores, clv_error *error)
{
    const size_t count = clvi_dataset_count(desc->data, desc->split);
    const size_t classes = clvi_dataset_class_count(desc->data);
    float *logits = clvi_malloc((size_t)desc->batch * classes * sizeof *logits);
    clvi_loader *loader = NULL;
    clv_status status = CLV_OK;
    if (!logits)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to score %zu images", count);
    if (status == CLV_OK)
        status = clvi_loader_create(desc->data, desc->split, (size_t)desc->batch, &loader, error);
    if (status == CLV_OK && clvi_features_have(desc->features, desc->split))
        clvi_features_lighten(desc->features, loader);
    if (status == CLV_OK)
        status = clvi_loader_start_in_order(loader, error);
    if (status == CLV_OK)
        status = run(desc, loader, logits, scores, error);
    clvi_loader_destroy(loader);
    clvi_free(logits);
    return status;
}

const char *clvi_score_text(const clvi_score_summary *s, char *out, size_t bytes)
{
    char top5[32] = "";
    if (isfinite(s->top5))
        snprintf(top5, sizeof top5, ", top-5 %.2f %%", 100 * s->top5);
    snprintf(out, bytes,
             "top-1 %.2f %% (95 %% interval %.2f-%.2f)%s, NLL %.4f, macro F1 %.4f, ECE %.4f",
             100 * s->top1, 100 * s->top1_low, 100 * s->top1_high, top5, s->nll, s->f1, s->ece);
    return out;
}
