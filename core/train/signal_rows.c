/* See signal_rows.h. */
#include "train/signal_rows.h"

#include "base/csv.h"
#include "mixture/signals.h"
#include "train/dead_experts.h"
#include "train/row_file.h"
#include "train/run_dir.h"

#include <math.h>
#include <stdio.h>

static const char header[] = "epoch,part,share,first_choice,weight,posterior,top1,logit_gradient,"
                             "gradient,entropy,posterior_entropy\n";
static const char pairs_header[] =
    "epoch,first,second,disagreement,yule_q,gradient_cosine,weight_distance\n";

struct clvi_signal_rows {
    const clvi_config *config;
    clvi_mixture *mixture;
    size_t experts;
    int classes;
    uint32_t *words;         /* [clvi_signals_words] */
    bool *warned;            /* [experts] */
    clvi_usage_expert *uses; /* [experts], of an epoch */
    clvi_row_file *file, *pairs;
};

static clv_status open_files(clvi_signal_rows *r, const char *run_dir, clv_error *error)
{
    char *path = clvi_path_join(run_dir, CLVI_RUN_SIGNALS);
    char *pairs_path = clvi_path_join(run_dir, CLVI_RUN_PAIRS);
    clv_status status = CLV_OK;
    if (!path || !pairs_path || !r->words || !r->warned || !r->uses)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                           "no memory for the signals of %zu experts", r->experts);
    if (status == CLV_OK)
        status = clvi_row_file_open(path, header, &r->file, error);
    if (status == CLV_OK)
        status = clvi_row_file_open(pairs_path, pairs_header, &r->pairs, error);
    clvi_free(path);
    clvi_free(pairs_path);
    return status;
}

clv_status clvi_signal_rows_open(const char *run_dir, const clvi_config *config,
                                 clvi_mixture *mixture, int classes, clvi_signal_rows **out,
                                 clv_error *error)
{
    *out = NULL;
    if (!clvi_mixture_has_signals(mixture))
        return CLV_OK;
    clvi_signal_rows *r = clvi_calloc(1, sizeof *r);
    if (!r)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the signals");
    r->config = config;
    r->mixture = mixture;
    r->experts = clvi_mixture_expert_count(mixture);
    r->classes = classes;
    r->words = clvi_calloc(clvi_signals_words(r->experts), sizeof *r->words);
    r->warned = clvi_calloc(r->experts, sizeof *r->warned);
    r->uses = clvi_calloc(r->experts, sizeof *r->uses);
    const clv_status status = open_files(r, run_dir, error);
    if (status != CLV_OK) {
        clvi_signal_rows_close(r);
        return status;
    }
    *out = r;
    return CLV_OK;
}

void clvi_signal_rows_close(clvi_signal_rows *r)
{
    if (!r)
        return;
    clvi_row_file_close(r->file);
    clvi_row_file_close(r->pairs);
    clvi_free(r->words);
    clvi_free(r->warned);
    clvi_free(r->uses);
    clvi_free(r);
}

uint32_t *clvi_signal_rows_words(clvi_signal_rows *r, size_t *count)
{
    *count = r ? clvi_signals_words(r->experts) : 0;
    return r ? r->words : NULL;
}

clv_status clvi_signal_rows_begin(clvi_signal_rows *r, bool fresh, clv_error *error)
{
    if (!r)
        return CLV_OK;
    if (fresh)
        memset(r->words, 0, clvi_signals_words(r->experts) * sizeof *r->words);
    return clvi_mixture_put_signals(r->mixture, r->words, error);
}

clv_status clvi_signal_rows_take(clvi_signal_rows *r, clv_error *error)
{
    return r ? clvi_mixture_take_signals(r->mixture, r->words, error) : CLV_OK;
}

/* ---- Rows ---- */

static const char *section(const clvi_signal_rows *r, size_t index)
{
    return index < r->experts ? clvi_config_expert_section(r->config, index) : "gate";
}

static void append_reals(clvi_text *text, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        clvi_csv_append_real(text, values[i], 7);
    clvi_csv_end_line(text);
}

/* Of one element of the gradient of an expert or the gate. */
static double gradient(const clvi_signal_rows *r, size_t index, int64_t epoch)
{
    const int64_t elements = clvi_mixture_expert_training(r->mixture, index, (uint32_t)epoch - 1);
    return elements > 0
               ? clvi_signals_gradient_of(r->words, r->experts, index) / sqrt((double)elements)
               : NAN;
}

static void append_parts(const clvi_signal_rows *r, int64_t epoch, clvi_text *text)
{
    clvi_signals_gate gate;
    clvi_signals_gate_of(r->words, r->experts, &gate);
    for (size_t i = 0; i <= r->experts; i++) {
        clvi_signals_expert e = {NAN, NAN, NAN, NAN, NAN, NAN};
        const bool last = i == r->experts;
        if (!last)
            clvi_signals_expert_of(r->words, r->experts, r->classes, i, &e);
        const double values[] = {e.share,
                                 clvi_mixture_has_gate(r->mixture) ? e.first : NAN,
                                 e.weight,
                                 e.posterior,
                                 e.top1,
                                 e.logit_gradient,
                                 gradient(r, i, epoch),
                                 last ? gate.entropy : NAN,
                                 last ? gate.posterior_entropy : NAN};
        clvi_csv_append_int(text, epoch);
        clvi_csv_append(text, section(r, i));
        append_reals(text, values, sizeof values / sizeof *values);
    }
}

static void append_pairs(const clvi_signal_rows *r, int64_t epoch, clvi_text *text)
{
    for (size_t i = 0; i < r->experts; i++)
        for (size_t j = i + 1; j < r->experts; j++) {
            clvi_signals_pair pair;
            clvi_signals_pair_of(r->words, r->experts, i, j, &pair);
            const double values[] = {pair.disagreement, pair.yule_q, pair.cosine, pair.distance};
            clvi_csv_append_int(text, epoch);
            clvi_csv_append(text, section(r, i));
            clvi_csv_append(text, section(r, j));
            append_reals(text, values, sizeof values / sizeof *values);
        }
}

static void warn(clvi_signal_rows *r, int64_t epoch)
{
    char images[64];
    snprintf(images, sizeof images, "the training images of epoch %lld", (long long)epoch);
    for (size_t i = 0; i < r->experts; i++) {
        clvi_signals_expert e;
        clvi_signals_expert_of(r->words, r->experts, r->classes, i, &e);
        r->uses[i] = (clvi_usage_expert){.share = e.share, .weight_share = e.weight};
    }
    clvi_dead_experts_warn(r->config, r->uses, r->warned, clvi_mixture_is_sparse(r->mixture),
                           images);
}

clv_status clvi_signal_rows_write(clvi_signal_rows *r, int64_t epoch, clv_error *error)
{
    if (!r)
        return CLV_OK;
    clvi_text text = {0}, pairs = {0};
    append_parts(r, epoch, &text);
    append_pairs(r, epoch, &pairs);
    clv_status status = clvi_row_file_add(r->file, &text, error);
    if (status == CLV_OK)
        status = clvi_row_file_add(r->pairs, &pairs, error);
    clvi_text_fini(&text);
    clvi_text_fini(&pairs);
    if (status == CLV_OK)
        warn(r, epoch);
    return status;
}
