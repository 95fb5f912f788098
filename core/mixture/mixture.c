/* See mixture.h. Data flow of one step: pixels (u8) → picture (f32, augmented once) → one input
 * form per distinct preprocessing (forms.h) → experts, gate, head (council.h) → back. */
#include "mixture/mixture.h"

#include "mixture/class_weights.h"
#include "mixture/council.h"
#include "mixture/council_signals.h"
#include "runtime/gemm.h"

struct clvi_mixture {
    clvi_mixture_desc desc;
    clvi_store *store;
    clvi_forms *forms;
    clvi_council *council;
    clvi_buf *labels;
    clvi_metrics *metrics;
    clvi_signals *signals; /* NULL: one expert, or nothing trains */
    clvi_augment augment;
    clvi_picture seen;    /* of the pixels of desc */
    float *class_weights; /* [classes]; NULL: all alike */
    clvi_buf *class_weights_buf;
    int64_t n;    /* of the last infer */
    bool *active; /* [groups of the store] */
};

void clvi_mixture_destroy(clvi_mixture *m)
{
    if (!m)
        return;
    clvi_council_destroy(m->council);
    clvi_forms_destroy(m->forms);
    clvi_buf_destroy(m->labels);
    clvi_buf_destroy(m->class_weights_buf);
    clvi_free(m->class_weights);
    clvi_free(m->active);
    clvi_metrics_destroy(m->metrics);
    clvi_signals_destroy(m->signals);
    clvi_store_destroy(m->store);
    clvi_free(m);
}

/* ---- Building ---- */

static clv_status create_buffers(clvi_mixture *m, clv_error *error)
{
    const size_t batch = (size_t)m->desc.max_batch;
    CLV_TRY(clvi_forms_commit(m->forms, error));
    CLV_TRY(clvi_buf_create(m->desc.device, batch * 4, "labels", &m->labels, error));
    /* Without labels the head runs all the same; what it makes of these nobody reads. */
    CLV_TRY(clvi_fill(m->desc.device, m->labels, 0, batch * 4, 0, error));
    CLV_TRY(clvi_metrics_create(m->desc.device, m->desc.classes, &m->metrics, error));
    if (m->desc.train && clvi_mixture_expert_count(m) > 1 &&
        clvi_store_parameters(m->store, true) > 0)
        CLV_TRY(clvi_council_signals_create(m->council, &m->signals, error));
    return clvi_metrics_reserve(m->metrics, m->desc.max_batch, error);
}

static clv_status create_class_weights(clvi_mixture *m, clv_error *error)
{
    if (!m->desc.train)
        return CLV_OK;
    CLV_TRY(clvi_class_weights(m->desc.config, m->desc.classes, m->desc.class_counts,
                               &m->class_weights, error));
    m->desc.class_counts = NULL;
    if (!m->class_weights)
        return CLV_OK;
    const size_t bytes = (size_t)m->desc.classes * sizeof(float);
    CLV_TRY(clvi_buf_create(m->desc.device, bytes, "class weights", &m->class_weights_buf, error));
    return clvi_upload(m->desc.device, m->class_weights_buf, 0, m->class_weights, bytes, error);
}

/* Everything but memory on the device. */
static clv_status build_networks(clvi_mixture *m, clv_error *error)
{
    const clvi_mixture_desc *d = &m->desc;
    const clvi_philox_key augment =
        clvi_philox_stream((uint64_t)clvi_config_int(d->config, "run", "seed"), "augment");
    CLV_TRY(clvi_augment_read(d->config, &m->augment, error));
    const clvi_forms_desc forms = {.device = d->device,
                                   .height = d->height,
                                   .width = d->width,
                                   .channels = d->channels,
                                   .seen = m->seen,
                                   .max_batch = d->max_batch,
                                   .augment_key = {augment.k[0], augment.k[1]}};
    CLV_TRY(clvi_forms_create(&forms, &m->forms, error));
    CLV_TRY(clvi_store_create(d->device, &m->store, error));
    const clvi_site site = {.config = d->config,
                            .plugins = d->plugins,
                            .device = d->device,
                            .store = m->store,
                            .forms = m->forms,
                            .classes = d->classes,
                            .seen = m->seen,
                            .augment = &m->augment,
                            .max_batch = d->max_batch,
                            .train = d->train,
                            .keep_features = d->keep_features};
    return clvi_council_create(&site, &m->council, error);
}

static clv_status build(clvi_mixture *m, clv_error *error)
{
    const clvi_mixture_desc *d = &m->desc;
    CLV_TRY(build_networks(m, error));
    m->active = clvi_calloc(clvi_store_group_count(m->store), sizeof *m->active);
    if (!m->active)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mixture");
    /* Experts that were trained before need only be fused. */
    const bool fuses =
        clvi_council_expert_count(m->council) > 1 && clvi_store_parameters(m->store, true) == 0;
    if (d->train && clvi_mixture_training(m, 0) == 0 && !fuses)
        return clvi_config_fail(d->config, clvi_config_expert_section(d->config, 0), "trainable",
                                error, "nothing trains in the first epoch");
    const uint32_t kinds = d->store_kinds ? d->store_kinds : CLVI_STORE_FOR_ADAM;
    CLV_TRY(clvi_store_commit_kinds(m->store, d->train ? kinds : CLVI_STORE_ONLY_VALUES, error));
    CLV_TRY(clvi_council_plan(m->council, error));
    CLV_TRY(create_class_weights(m, error));
    return create_buffers(m, error);
}

/* An empty mixture with its description, which `fill` fills. */
static clv_status create(const clvi_mixture_desc *desc, int64_t batch,
                         clv_status (*fill)(clvi_mixture *mixture, clv_error *error),
                         clvi_mixture **out, clv_error *error)
{
    clvi_mixture *m = clvi_calloc(1, sizeof *m);
    if (!m)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mixture");
    m->desc = *desc;
    m->seen = clvi_picture_of(desc->config, desc->height, desc->width, desc->channels);
    m->desc.max_batch = batch;
    const clv_status status = fill(m, error);
    if (status != CLV_OK) {
        clvi_mixture_destroy(m);
        return status;
    }
    *out = m;
    return CLV_OK;
}

/* The largest batch below the one wanted that there is memory for, found by trying; 0: none. */
static int64_t largest_batch(const clvi_mixture_desc *desc)
{
    int64_t good = 0, bad = desc->max_batch;
    while (bad - good > 1) {
        const int64_t middle = good + (bad - good) / 2;
        clvi_mixture *m = NULL;
        const clv_status status = create(desc, middle, build, &m, NULL);
        clvi_mixture_destroy(m);
        if (status == CLV_OK)
            good = middle;
        else
            bad = middle;
    }
    return good;
}

clv_status clvi_mixture_create(const clvi_mixture_desc *desc, clvi_mixture **out, clv_error *error)
{
    clv_error cause = CLV_ERROR_INIT;
    const clv_status status = create(desc, desc->max_batch, build, out, &cause);
    if (status == CLV_OK)
        return CLV_OK;
    const int64_t good = status == CLV_E_MEMORY ? largest_batch(desc) : 0;
    if (good > 0)
        CLV_FAIL(error, status, "%s; train.batch = %lld would fit", cause.message, (long long)good);
    return clvi_error_copy(error, &cause);
}

clv_status clvi_mixture_draft(const clvi_mixture_desc *desc, clvi_mixture **out, clv_error *error)
{
    clvi_mixture_desc bare = *desc;
    bare.device = NULL;
    bare.train = bare.keep_features = false;
    return create(&bare, 1, build_networks, out, error);
}

/* ---- Running ---- */

/* Uploads a batch: what networks read of it, pixels or features. */
static clv_status feed(clvi_mixture *m, const clvi_mixture_batch *b, const clvi_augment *augment,
                       clv_error *error)
{
    CLV_TRY(clvi_forms_begin(m->forms, b->n, b->ids, error));
    if (b->labels)
        CLV_TRY(clvi_upload(m->desc.device, m->labels, 0, b->labels, (size_t)b->n * 4, error));
    if (b->features)
        CLV_TRY(clvi_council_put_kept(m->council, b->n, b->features, error));
    if (b->features && !clvi_mixture_kept(m).with_image)
        return CLV_OK;
    return clvi_forms_feed(m->forms, b->n, b->pixels, b->epoch, augment, error);
}

/* Uploads a batch and runs it forward; with labels, adds to the metrics. */
static clv_status forward(clvi_mixture *m, int mode, const clvi_mixture_batch *b,
                          const clvi_augment *augment, clv_error *error)
{
    const clvi_view labels = {m->labels, 0};
    const clvi_council_run run = {
        .part = {.mode = mode, .n = b->n, .epoch = b->epoch, .features = b->features != NULL},
        .labels = labels};
    CLV_TRY(feed(m, b, augment, error));
    CLV_TRY(clvi_council_forward(m->council, &run, error));
    if (!b->labels)
        return CLV_OK;
    if (m->signals && mode == CLVI_TRAIN)
        CLV_TRY(clvi_council_signals_add(m->council, m->signals, error));
    clvi_metrics_batch seen = {.n = b->n,
                               .logits = clvi_council_prediction(m->council),
                               .labels = labels,
                               .loss = clvi_council_nll(m->council),
                               .experts = (int64_t)clvi_mixture_expert_count(m)};
    clvi_council_taken(m->council, &seen.route, &seen.wanted);
    return clvi_metrics_add(m->metrics, &seen, error);
}

double clvi_mixture_weight(const clvi_mixture *m, const int32_t *labels, int64_t n)
{
    if (!m->class_weights)
        return (double)n;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)m->class_weights[labels[i]];
    return sum;
}

clv_status clvi_mixture_step(clvi_mixture *m, const clvi_mixture_batch *batch, clv_error *error)
{
    CLV_ASSERT(m->desc.train && batch->labels);
    CLV_ASSERT((batch->features != NULL) == (clvi_mixture_kept(m).count > 0));
    CLV_TRY(forward(m, CLVI_TRAIN, batch, &m->augment, error));
    const double weight = clvi_mixture_weight(m, batch->labels, batch->n);
    clvi_council_seed seed = {.share = batch->share, .class_weights = m->class_weights_buf};
    if (seed.share <= 0)
        seed.share = weight > 0 ? 1 / weight : 0; /* 0: nobody in it counts */
    seed.batch = seed.share * weight;
    CLV_TRY(clvi_council_backward(m->council, &seed, error));
    return m->signals ? clvi_council_signals_add_sent(m->council, m->signals, seed.share, error)
                      : CLV_OK;
}

clv_status clvi_mixture_infer(clvi_mixture *m, const clvi_mixture_batch *batch, clv_error *error)
{
    const clvi_augment none = {.kind = CLVI_AUGMENT_NONE};
    clvi_chain_begin(m->desc.device);
    const clv_status status = forward(m, CLVI_INFER, batch, &none, error);
    const clv_status end = clvi_chain_end(m->desc.device, status == CLV_OK ? error : NULL);
    if (status != CLV_OK || end != CLV_OK) /* what plans prepared may not have been enqueued */
        clvi_store_touch(m->store);
    CLV_TRY(status == CLV_OK ? end : status);
    m->n = batch->n;
    return CLV_OK;
}

clv_status clvi_mixture_features(clvi_mixture *m, const clvi_mixture_batch *batch,
                                 const bool *wanted, float *out, clv_error *error)
{
    const clvi_augment none = {.kind = CLVI_AUGMENT_NONE};
    CLV_ASSERT(clvi_mixture_kept(m).count > 0 && batch->features == NULL);
    CLV_TRY(feed(m, batch, &none, error));
    return clvi_council_compute_kept(m->council, batch->n, wanted, out, error);
}

static clv_status download(const clvi_mixture *m, clvi_view from, size_t each, float *out,
                           clv_error *error)
{
    return clvi_download(m->desc.device, from.buf, from.offset * 4, out,
                         (size_t)m->n * each * sizeof *out, error);
}

clv_status clvi_mixture_logits(clvi_mixture *m, float *out, clv_error *error)
{
    CLV_ASSERT(m->n > 0);
    return download(m, clvi_council_prediction(m->council), (size_t)m->desc.classes, out, error);
}

bool clvi_mixture_has_gate(const clvi_mixture *m)
{
    return clvi_council_gated(m->council);
}

bool clvi_mixture_is_sparse(const clvi_mixture *m)
{
    const size_t gate = clvi_mixture_expert_count(m);
    return clvi_mixture_has_gate(m) && clvi_mixture_part_at(m, gate).graph->route.sparse != 0;
}

clv_status clvi_mixture_route(clvi_mixture *m, float *out, clv_error *error)
{
    CLV_ASSERT(m->n > 0 && clvi_mixture_has_gate(m));
    return download(m, clvi_council_route(m->council), clvi_mixture_expert_count(m), out, error);
}

clv_status clvi_mixture_reroute(clvi_mixture *m, const float *route, clv_error *error)
{
    CLV_ASSERT(m->n > 0 && clvi_mixture_has_gate(m));
    return clvi_council_reroute(m->council, route, error);
}

bool clvi_mixture_experts_answer(const clvi_mixture *m)
{
    return clvi_council_experts_answer(m->council);
}

bool clvi_mixture_has_expert_logits(const clvi_mixture *m)
{
    return clvi_council_has_expert_logits(m->council);
}

clv_status clvi_mixture_expert_logits(clvi_mixture *m, float *out, clv_error *error)
{
    CLV_ASSERT(m->n > 0 && clvi_mixture_has_expert_logits(m));
    return download(m, clvi_council_expert_logits(m->council),
                    clvi_mixture_expert_count(m) * (size_t)m->desc.classes, out, error);
}

clv_status clvi_mixture_explainer(clvi_mixture *m, bool keep_maps, clvi_explainer **out,
                                  clv_error *error)
{
    return clvi_explainer_create(m->council, keep_maps, out, error);
}

clv_status clvi_mixture_read_metrics(clvi_mixture *m, clvi_mixture_metrics *out, clv_error *error)
{
    clvi_metrics_sums sums;
    CLV_TRY(clvi_metrics_read(m->metrics, &sums, error));
    const double count = sums.count > 0 ? (double)sums.count : 1;
    *out = (clvi_mixture_metrics){.count = sums.count,
                                  .loss = sums.loss / count,
                                  .top1 = (double)sums.top1 / count,
                                  .top5 = (double)sums.top5 / count,
                                  .not_finite = sums.not_finite,
                                  .unrouted = sums.unrouted,
                                  .wanted = sums.wanted,
                                  .dropped = sums.dropped};
    return clvi_metrics_reset(m->metrics, error);
}

clv_status clvi_mixture_take_metrics(clvi_mixture *m, uint32_t words[CLVI_METRICS_WORDS],
                                     clv_error *error)
{
    return clvi_metrics_take(m->metrics, words, error);
}

clv_status clvi_mixture_put_metrics(clvi_mixture *m, const uint32_t words[CLVI_METRICS_WORDS],
                                    clv_error *error)
{
    return clvi_metrics_put(m->metrics, words, error);
}

bool clvi_mixture_has_signals(const clvi_mixture *m)
{
    return m->signals != NULL;
}

clv_status clvi_mixture_take_signals(clvi_mixture *m, uint32_t *words, clv_error *error)
{
    return clvi_signals_take(m->signals, words, error);
}

clv_status clvi_mixture_put_signals(clvi_mixture *m, const uint32_t *words, clv_error *error)
{
    return clvi_signals_put(m->signals, words, error);
}

clv_status clvi_mixture_look_at_gradients(clvi_mixture *m, clvi_store_kind kind, double factor,
                                          uint32_t epoch, clv_error *error)
{
    return clvi_council_signals_add_parameters(m->council, m->signals, kind, factor, epoch, error);
}

int64_t clvi_mixture_expert_training(const clvi_mixture *m, size_t index, uint32_t epoch)
{
    return clvi_council_signals_elements(m->council, index, epoch);
}

clv_status clvi_mixture_watch(clvi_mixture *m, clv_error *error)
{
    return clvi_council_watch(m->council, error);
}

clv_status clvi_mixture_watched(const clvi_mixture *m, bool train, const char **graph,
                                clvi_finding *out, clv_error *error)
{
    return clvi_council_watched(m->council, train, graph, out, error);
}

/* Runs a batch in every way that training and inference know. */
static clv_status run_every_way(clvi_mixture *m, clvi_mixture_batch b, float *features,
                                clv_error *error)
{
    clvi_part_run run = {.mode = CLVI_INFER, .n = b.n};
    const clvi_kept kept = clvi_mixture_kept(m);
    /* Experts that are kept run once, if at all: when their outputs are made. */
    if (!kept.experts) {
        CLV_TRY(clvi_mixture_infer(m, &b, error));
        CLV_TRY(clvi_council_warm(m->council, &run, error));
    }
    if (!m->desc.train)
        return CLV_OK;
    if (kept.count > 0) {
        if (!kept.experts)
            CLV_TRY(clvi_mixture_features(m, &b, NULL, features, error));
        b.features = features;
        CLV_TRY(clvi_mixture_infer(m, &b, error));
    }
    run.mode = CLVI_TRAIN;
    CLV_TRY(clvi_mixture_begin_step(m, error));
    CLV_TRY(clvi_mixture_step(m, &b, error));
    CLV_TRY(clvi_mixture_end_step(m, error));
    if (!kept.experts)
        CLV_TRY(clvi_council_warm(m->council, &run, error));
    if (m->signals)
        CLV_TRY(clvi_mixture_look_at_gradients(m, CLVI_STORE_GRADIENT, 1, 0, error));
    if (kept.experts || !clvi_mixture_active(m, 0))
        return CLV_OK;
    b.epoch = run.epoch = UINT32_MAX; /* when all trains that ever will */
    CLV_TRY(clvi_mixture_step(m, &b, error));
    return clvi_council_warm(m->council, &run, error);
}

/* Kernels may differ between a large and a small batch, and some between: each is run. */
static clv_status run_black(clvi_mixture *m, clv_error *error)
{
    const size_t batch = (size_t)m->desc.max_batch;
    const size_t pixels = (size_t)m->desc.height * (size_t)m->desc.width * (size_t)m->desc.channels;
    const size_t elements = (size_t)clvi_mixture_kept(m).used;
    uint8_t *black = clvi_calloc(batch, pixels);
    int32_t *labels = clvi_calloc(batch, sizeof *labels);
    float *features = clvi_calloc(batch, (elements + 1) * sizeof *features);
    clv_status status = CLV_OK;
    if (!black || !labels || !features)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for %zu images", batch);
    const int64_t most = m->desc.max_batch;
    const int64_t sizes[] = {most, CLVI_GEMM_FEW_TRANSPOSED + 1, CLVI_GEMM_FEW + 1, 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && status == CLV_OK; i++) {
        if (i > 0 && sizes[i] >= most)
            continue;
        const clvi_mixture_batch b = {.n = sizes[i], .pixels = black, .labels = labels};
        status = run_every_way(m, b, features, error);
    }
    clvi_free(features);
    clvi_free(black);
    clvi_free(labels);
    return status;
}

/* A rehearsal says which kernels there are; each is then launched once by itself, which takes less
 * than the network does. */
static clv_status compile_by_rehearsal(clvi_mixture *m, bool *all, clv_error *error)
{
    const clv_status status = run_black(m, error);
    clvi_rehearsal_end(m->desc.device);
    clvi_store_touch(m->store); /* nothing was prepared */
    CLV_TRY(status);
    return clvi_rehearsal_perform(m->desc.device, all, error);
}

/* Whether a gate sends samples to some experts only, also one inside. */
static bool has_sparse_gate(const clvi_mixture *m)
{
    bool sparse = false;
    for (size_t i = 0; i < clvi_council_leaf_count(m->council); i++)
        sparse |= clvi_council_leaf(m->council, i)->graphs[CLVI_TRAIN]->route.sparse != 0;
    return sparse;
}

clv_status clvi_mixture_compile(clvi_mixture *m, clv_error *error)
{
    bool done = false;
    if (m->desc.train && !clvi_mixture_kept(m).experts)
        clvi_council_expect(m->council);
    if (clvi_rehearsal_begin(m->desc.device))
        CLV_TRY(compile_by_rehearsal(m, &done, error));
    /* In a rehearsal every count is 0, and nothing is gathered for anybody. */
    if (!done || has_sparse_gate(m))
        CLV_TRY(run_black(m, error));
    return clvi_metrics_reset(m->metrics, error);
}

clv_status clvi_mixture_warm(clvi_mixture *m, clv_error *error)
{
    CLV_TRY(clvi_mixture_compile(m, error));
    return clvi_store_initialise(m->store, (uint64_t)clvi_config_int(m->desc.config, "run", "seed"),
                                 error);
}

/* ---- Facts ---- */

clvi_store *clvi_mixture_store(clvi_mixture *m)
{
    return m->store;
}

clvi_kept clvi_mixture_kept(const clvi_mixture *m)
{
    return clvi_council_kept(m->council);
}

clvi_kept_columns clvi_mixture_kept_columns(const clvi_mixture *m, size_t block, size_t expert)
{
    return clvi_council_kept_columns(m->council, block, expert);
}

const clvi_council *clvi_mixture_council(const clvi_mixture *m)
{
    return m->council;
}

const clvi_input_form *clvi_mixture_form(const clvi_mixture *m, size_t index)
{
    return clvi_forms_at(m->forms, index);
}

size_t clvi_mixture_form_count(const clvi_mixture *m)
{
    return clvi_forms_count(m->forms);
}

clvi_picture clvi_mixture_picture(const clvi_mixture *m)
{
    return m->seen;
}

size_t clvi_mixture_expert_count(const clvi_mixture *m)
{
    return clvi_council_expert_count(m->council);
}

/* Of the experts that have a plugin. */
static const clvi_part *leaf_expert(const clvi_mixture *m, size_t index)
{
    const char *section = clvi_config_leaf_section(m->desc.config, index);
    size_t i = 0;
    while (strcmp(clvi_council_leaf(m->council, i)->section, section) != 0)
        i++;
    return clvi_council_leaf(m->council, i);
}

const clv_graph *clvi_mixture_expert_graph(const clvi_mixture *m, size_t index)
{
    return leaf_expert(m, index)->graphs[CLVI_TRAIN];
}

size_t clvi_mixture_part_count(const clvi_mixture *m)
{
    return clvi_council_part_count(m->council);
}

static clvi_mixture_part describe(const clvi_part *p)
{
    return (clvi_mixture_part){.section = p->section,
                               .graph = p->graphs[CLVI_TRAIN],
                               .preprocessing = p->preprocessing,
                               .plugin_path = p->plugin_path};
}

clvi_mixture_part clvi_mixture_part_at(const clvi_mixture *m, size_t index)
{
    return describe(clvi_council_part(m->council, index));
}

size_t clvi_mixture_leaf_count(const clvi_mixture *m)
{
    return clvi_council_leaf_count(m->council);
}

clvi_mixture_part clvi_mixture_leaf_at(const clvi_mixture *m, size_t index)
{
    return describe(clvi_council_leaf(m->council, index));
}

int64_t clvi_mixture_part_macs(const clvi_mixture *m, size_t index)
{
    const clvi_council *nested =
        index < clvi_mixture_expert_count(m) ? clvi_council_nested(m->council, index) : NULL;
    int64_t sum = clvi_graph_macs(clvi_council_part(m->council, index)->graphs[CLVI_TRAIN]);
    for (size_t i = 0; nested && i < clvi_council_leaf_count(nested); i++)
        sum += clvi_graph_macs(clvi_council_leaf(nested, i)->graphs[CLVI_TRAIN]);
    return sum;
}

bool clvi_mixture_trains(const clvi_mixture *m, size_t segment, uint32_t epoch)
{
    return clvi_council_trains(m->council, segment, epoch);
}

clv_status clvi_mixture_begin_step(clvi_mixture *m, clv_error *error)
{
    return clvi_council_begin_step(m->council, error);
}

clv_status clvi_mixture_end_step(clvi_mixture *m, clv_error *error)
{
    return clvi_council_end_step(m->council, error);
}

const bool *clvi_mixture_active(clvi_mixture *m, uint32_t epoch)
{
    const uint32_t groups = clvi_store_group_count(m->store);
    bool all = true;
    for (uint32_t g = 0; g < groups; g++)
        m->active[g] = true;
    for (size_t i = 0; i < clvi_store_count(m->store); i++) {
        const clvi_segment *s = clvi_store_segment(m->store, i);
        if (s->trainable &&
            (!clvi_council_trains(m->council, i, epoch) || !clvi_council_steps(m->council, i)))
            all = m->active[s->group] = false;
    }
    return all ? NULL : m->active;
}

int64_t clvi_mixture_training(const clvi_mixture *m, uint32_t epoch)
{
    int64_t sum = 0;
    for (size_t i = 0; i < clvi_store_count(m->store); i++)
        sum += clvi_council_trains(m->council, i, epoch) ? clvi_store_segment(m->store, i)->elements
                                                         : 0;
    return sum;
}

uint64_t clvi_mixture_bytes(const clvi_mixture *m)
{
    uint64_t sum = clvi_forms_bytes(m->forms) + clvi_buf_bytes(m->labels) +
                   clvi_metrics_bytes(m->metrics) + clvi_store_bytes(m->store) +
                   clvi_council_bytes(m->council);
    if (m->signals)
        sum += clvi_signals_bytes(m->signals);
    if (m->class_weights_buf)
        sum += clvi_buf_bytes(m->class_weights_buf);
    return sum;
}

const char *clvi_mixture_preprocessing(const clvi_mixture *m, size_t index)
{
    return leaf_expert(m, index)->preprocessing;
}
