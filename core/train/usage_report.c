/* See usage_report.h. */
#include "train/usage_report.h"

#include "base/csv.h"
#include "mixture/usage.h"
#include "train/dead_experts.h"

#include <math.h>
#include <stdio.h>

/* What happened to the images of one split. */
typedef struct record {
    float *gate;      /* [samples, experts] */
    int32_t *answers; /* [samples, experts]; NULL: the experts have none of their own */
    int32_t *labels, *sources;
    size_t samples, capacity;
    double *alone, *without; /* [experts]; NULL: not measured */
    double uniform, shuffled, oracle;
    bool other_gates; /* without, uniform and shuffled are known */
} record;

struct clvi_usage_report {
    clvi_mixture *mixture;
    const clvi_config *config;
    clvi_dataset *data;
    int experts, classes;
    bool asks_all; /* every expert about every image, in an evaluation; else when gates are tried */
    bool answers;  /* experts have answers of their own */
    record splits[CLVI_SPLIT_COUNT];
    float *route, *logits; /* of a batch */
    size_t batch;          /* that these have room for */
    /* While other gates are tried: */
    record *tried;
    size_t at;             /* samples behind */
    const uint32_t *order; /* of the shuffled gate */
    int64_t right_uniform, right_shuffled;
    int64_t *right_without; /* [experts] */
    float *prediction;      /* [batch, classes] */
};

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the usage of the experts");
}

clv_status clvi_usage_report_create(clvi_mixture *mixture, const clvi_config *config,
                                    clvi_dataset *data, clvi_usage_report **out, clv_error *error)
{
    *out = NULL;
    if (clvi_mixture_expert_count(mixture) < 2)
        return CLV_OK;
    clvi_usage_report *r = clvi_calloc(1, sizeof *r);
    if (!r)
        return no_memory(error);
    r->mixture = mixture;
    r->config = config;
    r->data = data;
    r->experts = (int)clvi_mixture_expert_count(mixture);
    r->classes = (int)clvi_dataset_class_count(data);
    r->asks_all = !clvi_mixture_is_sparse(mixture);
    r->answers = clvi_mixture_experts_answer(mixture);
    r->right_without = clvi_calloc((size_t)r->experts, sizeof *r->right_without);
    if (!r->right_without) {
        clvi_usage_report_destroy(r);
        return no_memory(error);
    }
    *out = r;
    return CLV_OK;
}

void clvi_usage_report_destroy(clvi_usage_report *r)
{
    if (!r)
        return;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        record *k = &r->splits[s];
        clvi_free(k->gate);
        clvi_free(k->answers);
        clvi_free(k->labels);
        clvi_free(k->sources);
        clvi_free(k->alone);
        clvi_free(k->without);
    }
    clvi_free(r->route);
    clvi_free(r->logits);
    clvi_free(r->prediction);
    clvi_free(r->right_without);
    clvi_free(r);
}

static clvi_usage_input input_of(const clvi_usage_report *r, const record *k)
{
    return (clvi_usage_input){.samples = k->samples,
                              .experts = r->experts,
                              .classes = r->classes,
                              .gate = k->gate,
                              .labels = k->labels};
}

/* ---- Taking ---- */

/* Room for all images of the split, and for a batch. */
static clv_status reserve(clvi_usage_report *r, clvi_split split, size_t batch, clv_error *error)
{
    record *k = &r->splits[split];
    const size_t experts = (size_t)r->experts, classes = (size_t)r->classes;
    if (k->capacity == 0) {
        const size_t most = clvi_dataset_count(r->data, split);
        k->gate = clvi_malloc(most * experts * sizeof *k->gate);
        k->labels = clvi_malloc(most * sizeof *k->labels);
        k->sources = clvi_malloc(most * sizeof *k->sources);
        if (r->answers && r->asks_all)
            k->answers = clvi_malloc(most * experts * sizeof *k->answers);
        k->capacity = most;
        if (!k->gate || !k->labels || !k->sources || (r->answers && r->asks_all && !k->answers))
            return no_memory(error);
    }
    if (r->batch >= batch)
        return CLV_OK;
    clvi_free(r->route);
    clvi_free(r->logits);
    clvi_free(r->prediction);
    r->route = clvi_malloc(batch * experts * sizeof *r->route);
    r->logits = clvi_malloc(batch * experts * classes * sizeof *r->logits);
    r->prediction = clvi_malloc(batch * classes * sizeof *r->prediction);
    r->batch = batch;
    return r->route && r->logits && r->prediction ? CLV_OK : no_memory(error);
}

/* What each expert says of n images from `at` on, which all were asked about. */
static clv_status take_answers(clvi_usage_report *r, record *k, size_t at, size_t n,
                               clv_error *error)
{
    CLV_TRY(clvi_mixture_expert_logits(r->mixture, r->logits, error));
    clvi_usage_answers(r->logits, n, r->experts, r->classes, k->answers + at * (size_t)r->experts);
    return CLV_OK;
}

clv_status clvi_usage_report_take(clvi_usage_report *r, clvi_split split, const clvi_batch *batch,
                                  clv_error *error)
{
    if (!r)
        return CLV_OK;
    const size_t n = batch->count, experts = (size_t)r->experts;
    CLV_TRY(reserve(r, split, n, error));
    record *k = &r->splits[split];
    CLV_ASSERT(k->samples + n <= k->capacity);
    float *gate = k->gate + k->samples * experts;
    if (clvi_mixture_has_gate(r->mixture))
        CLV_TRY(clvi_mixture_route(r->mixture, gate, error));
    else
        for (size_t i = 0; i < n * experts; i++)
            gate[i] = 1 / (float)r->experts;
    if (k->answers)
        CLV_TRY(take_answers(r, k, k->samples, n, error));
    for (size_t i = 0; i < n; i++) {
        k->labels[k->samples + i] = batch->labels[i];
        k->sources[k->samples + i] =
            (int32_t)clvi_dataset_sample(r->data, split, batch->indices[i])->source;
    }
    k->samples += n;
    return CLV_OK;
}

double clvi_usage_report_entropy(const clvi_usage_report *r, clvi_split split, size_t sample)
{
    if (!r || !clvi_mixture_has_gate(r->mixture))
        return NAN;
    CLV_ASSERT(sample < r->splits[split].samples);
    return clvi_usage_entropy(r->splits[split].gate + sample * (size_t)r->experts, r->experts);
}

/* ---- Other gates ---- */

/* Right answers of a batch by the gate in r->route. */
static clv_status count_right(clvi_usage_report *r, const clvi_batch *batch, int64_t *right,
                              clv_error *error)
{
    CLV_TRY(clvi_mixture_reroute(r->mixture, r->route, error));
    CLV_TRY(clvi_mixture_logits(r->mixture, r->prediction, error));
    for (size_t i = 0; i < batch->count; i++)
        *right +=
            clvi_best_class(r->prediction + i * (size_t)r->classes, r->classes) == batch->labels[i];
    return CLV_OK;
}

/* A `take` of an evaluation: the batch once more with each other gate. */
static clv_status try_gates(void *taker, const clvi_batch *batch, const float *logits,
                            clv_error *error)
{
    clvi_usage_report *r = taker;
    const clvi_usage_input in = input_of(r, r->tried);
    const size_t n = batch->count;
    (void)logits;
    clvi_usage_uniform(&in, n, r->route);
    CLV_TRY(count_right(r, batch, &r->right_uniform, error));
    if (!r->asks_all && r->answers)
        CLV_TRY(take_answers(r, r->tried, r->at, n, error));
    clvi_usage_shuffled(&in, r->order, r->at, n, r->route);
    CLV_TRY(count_right(r, batch, &r->right_shuffled, error));
    for (int i = 0; i < r->experts; i++) {
        clvi_usage_without(&in, i, r->at, n, r->route);
        CLV_TRY(count_right(r, batch, &r->right_without[i], error));
    }
    r->at += n;
    return CLV_OK;
}

static clv_status try_other_gates(clvi_usage_report *r, record *k,
                                  const clvi_evaluate_desc *evaluate, clv_error *error)
{
    clvi_evaluate_desc desc = *evaluate;
    uint32_t *order;
    const size_t experts = (size_t)r->experts;
    k->without = clvi_calloc(experts, sizeof *k->without);
    if (!r->asks_all && r->answers)
        k->answers = clvi_malloc(k->samples * experts * sizeof *k->answers);
    if (!k->without || (r->answers && !k->answers))
        return no_memory(error);
    CLV_TRY(clvi_usage_shuffle(k->samples, 1000, &order, error));
    desc.take = try_gates;
    desc.taker = r;
    r->tried = k;
    r->order = order;
    r->at = 0;
    r->right_uniform = r->right_shuffled = 0;
    memset(r->right_without, 0, experts * sizeof *r->right_without);
    const clv_status status = clvi_evaluate(&desc, NULL, error);
    clvi_free(order);
    CLV_TRY(status);
    k->uniform = (double)r->right_uniform / (double)k->samples;
    k->shuffled = (double)r->right_shuffled / (double)k->samples;
    for (size_t i = 0; i < experts; i++)
        k->without[i] = (double)r->right_without[i] / (double)k->samples;
    k->other_gates = true;
    return CLV_OK;
}

/* ---- Finishing ---- */

/* Two experts that never disagree, of which one would do. Of many pairs the first are named. */
static void warn_of_copies(const clvi_usage_report *r, const record *k, clvi_split split)
{
    enum { FEW = 3 };
    const clvi_usage_input in = input_of(r, k);
    int found = 0;
    for (int i = 0; i < r->experts && k->answers; i++)
        for (int j = i + 1; j < r->experts; j++) {
            clvi_usage_pair pair;
            clvi_usage_compare(&in, k->answers, i, j, &pair);
            if (pair.disagreement == 0 && found++ < FEW)
                clvi_log(CLVI_LOG_WARN,
                         "experts %s and %s give the same answer to each of the %zu %s images: one "
                         "may be a copy of the other",
                         clvi_config_expert_name(r->config, (size_t)i),
                         clvi_config_expert_name(r->config, (size_t)j), k->samples,
                         clvi_split_name(split));
        }
    if (found > FEW)
        clvi_log(CLVI_LOG_WARN, "so do %d more pairs of experts", found - FEW);
}

static clv_status warn_of_dead(const clvi_usage_report *r, const record *k, clvi_split split,
                               clv_error *error)
{
    const clvi_usage_input in = input_of(r, k);
    clvi_usage sum;
    clvi_usage_expert *each = clvi_malloc((size_t)r->experts * sizeof *each);
    if (!each)
        return no_memory(error);
    char images[32];
    snprintf(images, sizeof images, "the %s images", clvi_split_name(split));
    clvi_usage_count(&in, NULL, 0, &sum, each);
    clvi_dead_experts_warn(r->config, each, NULL, !r->asks_all, images);
    clvi_free(each);
    return CLV_OK;
}

/* What each expert is worth alone, where its answers are known. */
static clv_status judge_experts(const clvi_usage_report *r, record *k, clv_error *error)
{
    const clvi_usage_input in = input_of(r, k);
    if (k->samples == 0 || !k->answers)
        return CLV_OK;
    k->alone = clvi_calloc((size_t)r->experts, sizeof *k->alone);
    if (!k->alone)
        return no_memory(error);
    clvi_usage_alone(&in, k->answers, k->alone, &k->oracle);
    return CLV_OK;
}

clv_status clvi_usage_report_finish(clvi_usage_report *r, const clvi_evaluate_desc *evaluate,
                                    clv_error *error)
{
    if (!r)
        return CLV_OK;
    record *judged = &r->splits[evaluate->split];
    if (judged->samples > 0 && clvi_mixture_has_gate(r->mixture))
        CLV_TRY(try_other_gates(r, judged, evaluate, error));
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        CLV_TRY(judge_experts(r, &r->splits[s], error));
    if (judged->samples == 0)
        return CLV_OK;
    CLV_TRY(warn_of_dead(r, &r->splits[CLVI_TRAIN], CLVI_TRAIN, error));
    const clvi_split heard = r->asks_all ? CLVI_TRAIN : evaluate->split;
    warn_of_copies(r, &r->splits[heard], heard);
    return CLV_OK;
}

double clvi_usage_report_active(const clvi_usage_report *r, const clvi_mixture *mixture,
                                clvi_split split)
{
    double sum = 0;
    for (size_t i = 0; i < clvi_mixture_part_count(mixture); i++) {
        const bool expert = i < clvi_mixture_expert_count(mixture);
        double share = 1;
        if (expert && r && clvi_mixture_has_gate(mixture)) {
            const record *k = &r->splits[split];
            double assigned = 0;
            for (size_t n = 0; n < k->samples; n++)
                assigned += k->gate[n * (size_t)r->experts + i] > 0;
            share = k->samples > 0 ? assigned / (double)k->samples : 1;
        }
        sum += share * (double)clvi_mixture_part_macs(mixture, i);
    }
    return sum;
}

/* ---- Showing ---- */

static void append_group(const clvi_usage_report *r, clvi_split split, const char *by,
                         const char *group, const int32_t *groups, int32_t value,
                         clvi_usage_expert *each, clvi_text *text)
{
    const clvi_usage_input in = input_of(r, &r->splits[split]);
    clvi_usage sum;
    clvi_usage_count(&in, groups, value, &sum, each);
    for (int i = 0; i < r->experts && sum.samples > 0; i++) {
        clvi_csv_append(text, clvi_split_name(split));
        clvi_csv_append(text, by);
        clvi_csv_append(text, group);
        clvi_csv_append(text, clvi_config_expert_name(r->config, (size_t)i));
        clvi_csv_append_int(text, sum.samples);
        clvi_csv_append_int(text, each[i].assigned);
        clvi_csv_append_int(text, each[i].first);
        clvi_csv_append_real(text, each[i].share, 7);
        clvi_csv_append_real(text, each[i].share * r->experts, 7);
        clvi_csv_append_real(text, each[i].weight_share, 7);
        clvi_csv_end_line(text);
    }
}

void clvi_usage_report_csv(const clvi_usage_report *r, clvi_text *text)
{
    clvi_usage_expert *each = clvi_malloc((size_t)r->experts * sizeof *each);
    if (!each) {
        text->failed = true;
        return;
    }
    clvi_text_append(text, "split,by,group,expert,images,assigned,first_choice,share,"
                           "share_over_ideal,weight_share\n");
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        const record *k = &r->splits[s];
        append_group(r, (clvi_split)s, "all", "", NULL, 0, each, text);
        for (int c = 0; c < r->classes; c++)
            append_group(r, (clvi_split)s, "class", clvi_dataset_class_name(r->data, (size_t)c),
                         k->labels, c, each, text);
        const size_t sources = clvi_dataset_source_count(r->data);
        for (size_t i = 0; i < sources && sources > 1; i++)
            append_group(r, (clvi_split)s, "source", clvi_dataset_source_name(r->data, i),
                         k->sources, (int32_t)i, each, text);
    }
    clvi_free(each);
}

void clvi_usage_report_weights_csv(const clvi_usage_report *r, clvi_text *text)
{
    enum { BINS = 20 };
    clvi_text_append(text, "split,expert,from,to,images\n");
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        for (int i = 0; i < r->experts && r->splits[s].samples > 0; i++) {
            const clvi_usage_input in = input_of(r, &r->splits[s]);
            int64_t counts[BINS], none;
            clvi_usage_histogram(&in, i, BINS, counts, &none);
            for (int b = -1; b < BINS; b++) {
                clvi_csv_append(text, clvi_split_name((clvi_split)s));
                clvi_csv_append(text, clvi_config_expert_name(r->config, (size_t)i));
                clvi_csv_append_real(text, b < 0 ? 0 : (double)b / BINS, 7);
                clvi_csv_append_real(text, b < 0 ? 0 : (double)(b + 1) / BINS, 7);
                clvi_csv_append_int(text, b < 0 ? none : counts[b]);
                clvi_csv_end_line(text);
            }
        }
}

static json_t *reals(const double *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, clvi_json_real(values[i]));
    return list;
}

/* [[…]]: of each pair of experts, or null on the diagonal. */
static json_t *pairs_json(const clvi_usage_report *r, const record *k, bool yule)
{
    const clvi_usage_input in = input_of(r, k);
    json_t *rows = json_array();
    for (int i = 0; i < r->experts; i++) {
        json_t *row = json_array();
        for (int j = 0; j < r->experts; j++) {
            clvi_usage_pair pair;
            clvi_usage_compare(&in, k->answers, i, j, &pair);
            json_array_append_new(
                row, i == j ? json_null() : clvi_json_real(yule ? pair.yule_q : pair.disagreement));
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

/* What the choice of the expert says of the source; nothing where there is one source. False: no
 * memory. */
static bool add_source_information(const clvi_usage_report *r, const record *k, json_t *json)
{
    clvi_usage_input in = input_of(r, k);
    double bits, chance;
    in.classes = (int)clvi_dataset_source_count(r->data);
    in.labels = k->sources;
    if (in.classes < 2)
        return true;
    return clvi_usage_information(&in, &bits, &chance, NULL) == CLV_OK &&
           json_object_set_new(json, "source_information_bits", clvi_json_real(bits)) == 0 &&
           json_object_set_new(json, "source_information_bits_shuffled", clvi_json_real(chance)) ==
               0;
}

static json_t *split_json(const clvi_usage_report *r, const record *k, clvi_usage_expert *each)
{
    const clvi_usage_input in = input_of(r, k);
    clvi_usage sum;
    double bits, chance;
    clvi_usage_count(&in, NULL, 0, &sum, each);
    if (clvi_usage_information(&in, &bits, &chance, NULL) != CLV_OK)
        return NULL;
    json_t *json =
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "images", (json_int_t)sum.samples, "unrouted",
                  (json_int_t)sum.unrouted, "mean_entropy", clvi_json_real(sum.mean_entropy),
                  "entropy_of_mean", clvi_json_real(sum.entropy_of_mean), "class_information_bits",
                  clvi_json_real(bits), "class_information_bits_shuffled", clvi_json_real(chance));
    json_t *share = json_array(), *weight = json_array(), *first = json_array();
    for (int i = 0; i < r->experts; i++) {
        json_array_append_new(share, clvi_json_real(each[i].share));
        json_array_append_new(weight, clvi_json_real(each[i].weight_share));
        json_array_append_new(first, json_integer(each[i].first));
    }
    if (!add_source_information(r, k, json)) {
        json_decref(json);
        json = NULL; /* what is added to NULL is freed, and NULL stays the result */
    }
    json_object_set_new(json, "share", share);
    json_object_set_new(json, "weight_share", weight);
    json_object_set_new(json, "first_choice", first);
    if (k->alone) {
        json_object_set_new(json, "alone", reals(k->alone, r->experts));
        json_object_set_new(json, "oracle", clvi_json_real(k->oracle));
        json_object_set_new(json, "disagreement", pairs_json(r, k, false));
        json_object_set_new(json, "yule_q", pairs_json(r, k, true));
    }
    if (k->other_gates) {
        json_object_set_new(json, "uniform", clvi_json_real(k->uniform));
        json_object_set_new(json, "shuffled", clvi_json_real(k->shuffled));
        json_object_set_new(json, "without", reals(k->without, r->experts));
    }
    return json;
}

json_t *clvi_usage_report_json(const clvi_usage_report *r)
{
    clvi_usage_expert *each = clvi_malloc((size_t)r->experts * sizeof *each);
    json_t *json = each ? json_object() : NULL, *names = json_array(), *adds = json_array();
    for (int i = 0; i < r->experts; i++) {
        json_array_append_new(names, json_string(clvi_config_expert_name(r->config, (size_t)i)));
        json_array_append_new(adds, json_integer(clvi_mixture_part_macs(r->mixture, (size_t)i)));
    }
    bool good = json_object_set_new(json, "experts", names) == 0;
    good = json_object_set_new(json, "multiply_adds", adds) == 0 && good;
    for (int s = 0; s < CLVI_SPLIT_COUNT && good; s++)
        if (r->splits[s].samples > 0)
            good = json_object_set_new(json, clvi_split_name((clvi_split)s),
                                       split_json(r, &r->splits[s], each)) == 0;
    clvi_free(each);
    if (good)
        return json;
    json_decref(json);
    return NULL;
}
