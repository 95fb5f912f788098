/* See mixture.h. Data flow of one step: pixels (u8) → picture (f32, augmented once) → one input
 * form per distinct preprocessing → experts → head (loss) → back. */
#include "mixture/mixture.h"

#include "base/philox.h"
#include "base/text.h"
#include "mixture/class_weights.h"
#include "mixture/expert.h"
#include "mixture/frozen.h"
#include "mixture/head.h"
#include "mixture/image.h"
#include "mixture/trainable.h"
#include "ops/share.h"
#include "runtime/profile.h"

#include <stdio.h>

/* One network: its graph, where its variables lie, and its plans for training and inference. */
typedef struct part {
    clv_options *options; /* of an expert */
    clv_graph *graph;
    uint32_t base;
    clvi_trainable *trainable; /* what of it trains; NULL: all (the head) */
    clvi_slabs *slabs;
    clvi_plan *plans[2]; /* [0]: train, [1]: infer */
    clvi_plan *later;    /* train, from the epoch on in which more trains; NULL: there is none */
    clvi_frozen *frozen; /* train.cache_features: in place of plans[0]; NULL: the whole is run */
    clvi_plan *ran[2];   /* by mode: the plan of the last forward; borrowed */
    size_t form;         /* which input form it sees */
    char *preprocessing;
} part;

/* Pixels as a network wants them; networks that want the same share one. */
typedef struct form {
    clvi_input_form desc;
    clvi_buf *buf;
} form;

struct clvi_mixture {
    clvi_mixture_desc desc;
    clvi_picture seen; /* of the pixels of desc */
    clvi_store *store;
    part *experts;
    size_t expert_count;
    part head;
    form *forms;
    size_t form_count, form_capacity;
    clvi_buf *pixels, *labels, *ids, *picture;
    clvi_metrics *metrics;
    clvi_philox_key augment_key, dropout_key;
    clvi_augment augment;
    double ce_weight;
    float *class_weights; /* [classes]; NULL: all alike */
    clvi_buf *class_weights_buf;
    size_t nll[2];            /* by mode: which of the head's wanted outputs is reported */
    int64_t n;                /* of the last infer */
    bool *active;             /* [groups of the store] */
    int64_t feature_elements; /* train.cache_features: of one image; 0: not kept */
};

enum { TRAIN, INFER };

static void part_fini(part *p)
{
    clvi_plan_destroy(p->plans[TRAIN]);
    clvi_plan_destroy(p->plans[INFER]);
    clvi_plan_destroy(p->later);
    clvi_frozen_destroy(p->frozen);
    clvi_slabs_destroy(p->slabs);
    clvi_trainable_destroy(p->trainable);
    clvi_graph_destroy(p->graph);
    clvi_options_destroy(p->options);
    clvi_free(p->preprocessing);
}

void clvi_mixture_destroy(clvi_mixture *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->expert_count; i++)
        part_fini(&m->experts[i]);
    part_fini(&m->head);
    for (size_t i = 0; i < m->form_count; i++)
        clvi_buf_destroy(m->forms[i].buf);
    clvi_buf_destroy(m->pixels);
    clvi_buf_destroy(m->labels);
    clvi_buf_destroy(m->ids);
    clvi_buf_destroy(m->picture);
    clvi_buf_destroy(m->class_weights_buf);
    clvi_free(m->class_weights);
    clvi_free(m->active);
    clvi_metrics_destroy(m->metrics);
    clvi_store_destroy(m->store);
    clvi_free(m->forms);
    clvi_free(m->experts);
    clvi_free(m);
}

/* ---- Building ---- */

/* The index of the form, made when it is new. */
static clv_status find_form(clvi_mixture *m, const clvi_input_form *desc, size_t *out,
                            clv_error *error)
{
    for (size_t i = 0; i < m->form_count; i++)
        if (clvi_input_form_same(&m->forms[i].desc, desc)) {
            *out = i;
            return CLV_OK;
        }
    CLV_TRY(clvi_grow((void **)&m->forms, &m->form_capacity, m->form_count + 1, sizeof *m->forms,
                      error));
    form *f = &m->forms[m->form_count];
    *f = (form){.desc = *desc};
    *out = m->form_count++;
    return CLV_OK;
}

static clv_status describe_form(const clvi_picture *seen, const clvi_input_form *wanted, char **out,
                                clv_error *error)
{
    clvi_text text = {0};
    clvi_input_form_describe(wanted, seen, &text);
    if (text.failed) {
        clvi_text_fini(&text);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to describe an input");
    }
    *out = text.data;
    return CLV_OK;
}

static clv_status build_expert(clvi_mixture *m, size_t index, clv_error *error)
{
    part *p = &m->experts[index];
    const clv_build_input input = {.struct_size = sizeof input,
                                   .mode = m->desc.train ? CLV_MODE_TRAIN : CLV_MODE_INFER,
                                   .classes = m->desc.classes,
                                   .experts = 1,
                                   .image_height = m->seen.height,
                                   .image_width = m->seen.width,
                                   .image_channels = m->seen.channels};
    clvi_expert expert;
    CLV_TRY(clvi_expert_build(m->desc.config, m->desc.plugins, index, &input, &expert, error));
    p->options = expert.options;
    p->graph = expert.graph;
    char prefix[128];
    snprintf(prefix, sizeof prefix, "%s.", expert.section);
    CLV_TRY(clvi_trainable_create(m->desc.config, expert.section, p->graph, &p->trainable, error));
    CLV_TRY(clvi_store_add(m->store, p->graph, prefix, clvi_trainable_of, p->trainable, &p->base,
                           error));
    CLV_TRY(describe_form(&m->seen, &expert.form, &p->preprocessing, error));
    return find_form(m, &expert.form, &p->form, error);
}

/* Elements of one sample. */
static size_t form_elements(const clvi_input_form *d)
{
    return (size_t)d->height * (size_t)d->width * (size_t)d->channels;
}

/* Of the pixels that are given, margins included. */
static size_t pixel_elements(const clvi_mixture *m)
{
    return (size_t)m->desc.height * (size_t)m->desc.width * (size_t)m->desc.channels;
}

static size_t picture_elements(const clvi_mixture *m)
{
    return (size_t)m->seen.height * (size_t)m->seen.width * (size_t)m->seen.channels;
}

/* What will be made beside the plans that grows with the batch. The caller frees. */
static clv_status list_buffers(const clvi_mixture *m, clvi_beside **out, size_t *count,
                               clv_error *error)
{
    enum { OTHERS = 4 };
    clvi_beside *list = clvi_calloc(m->form_count + OTHERS, sizeof *list);
    if (!list)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan the mixture");
    for (size_t i = 0; i < m->form_count; i++)
        list[i] = (clvi_beside){"network input", form_elements(&m->forms[i].desc) * 4};
    clvi_beside *others = list + m->form_count;
    others[0] = (clvi_beside){"augmented pictures", picture_elements(m) * 4};
    others[1] = (clvi_beside){"pixels", pixel_elements(m)};
    others[2] = (clvi_beside){"labels, numbers and ranks", 12};
    others[3] = (clvi_beside){"features", (uint64_t)m->feature_elements * 4};
    *out = list;
    *count = m->form_count + OTHERS;
    return CLV_OK;
}

/* What a plan of a part is made from; `stage` is of its clvi_trainable. The first of the wanted
 * outputs gets a gradient in training. */
static clvi_plan_desc describe_plan(const clvi_mixture *m, const part *p, int mode, int stage,
                                    const clv_tensor *outputs, size_t count)
{
    const bool train = mode == TRAIN, parts = train && p->trainable;
    return (clvi_plan_desc){.graph = p->graph,
                            .store = m->store,
                            .base = p->base,
                            .slabs = p->slabs,
                            .mode = train ? CLV_MODE_TRAIN : CLV_MODE_INFER,
                            .max_batch = m->desc.max_batch,
                            .outputs = outputs,
                            .output_count = count,
                            .outputs_with_grad = train ? 1 : 0,
                            .inputs_with_grad = train && p == &m->head ? 1u << CLVI_HEAD_LOGITS : 0,
                            .trains = parts ? clvi_trainable_variables(p->trainable, stage) : NULL,
                            .node_modes = parts ? clvi_trainable_modes(p->trainable, stage) : NULL};
}

static clv_status make_plan(clvi_mixture *m, part *p, int mode, int stage,
                            const clv_tensor *outputs, size_t count, clvi_plan **out,
                            clv_error *error)
{
    if (!p->slabs)
        CLV_TRY(clvi_slabs_create(m->desc.device, &p->slabs, error));
    clvi_beside *beside = NULL;
    clvi_plan_desc desc = describe_plan(m, p, mode, stage, outputs, count);
    CLV_TRY(list_buffers(m, &beside, &desc.beside_count, error));
    desc.beside = beside;
    const clv_status status = clvi_plan_create(&desc, out, error);
    clvi_free(beside);
    return status;
}

/* The plans of a part for one mode: for training two where more trains from some epoch on. They
 * never run at the same time and share their memory. */
static clv_status plan_mode(clvi_mixture *m, part *p, int mode, const clv_tensor *outputs,
                            size_t count, clv_error *error)
{
    if (mode == TRAIN && !m->desc.train)
        return CLV_OK;
    CLV_TRY(make_plan(m, p, mode, 0, outputs, count, &p->plans[mode], error));
    if (mode == INFER || !p->trainable || clvi_trainable_stages(p->trainable) == 1)
        return CLV_OK;
    return make_plan(m, p, mode, 1, outputs, count, &p->later, error);
}

/* The plan of an expert that runs a batch. */
static clvi_plan *plan_of(const part *p, int mode, const clvi_mixture_batch *batch)
{
    if (batch->features)
        return clvi_frozen_plan(p->frozen, mode == TRAIN ? CLV_MODE_TRAIN : CLV_MODE_INFER);
    return mode == TRAIN && p->later && clvi_trainable_stage(p->trainable, batch->epoch) > 0
               ? p->later
               : p->plans[mode];
}

/* The plans of an expert that is cut behind its frozen part, where train.cache_features wants it.
 */
static clv_status plan_frozen(clvi_mixture *m, part *p, const clv_tensor *logits, clv_error *error)
{
    const clvi_config *config = m->desc.config;
    clv_tensor cut;
    if (m->augment.kind != CLVI_AUGMENT_NONE)
        return clvi_config_fail(config, "train", "cache_features", error,
                                "data.augment changes each image in each epoch, and with it the "
                                "features; write augment = none, or cache_features = no");
    if (m->expert_count > 1)
        return clvi_config_fail(config, "train", "cache_features", error,
                                "features are kept for a single expert; there are %zu",
                                m->expert_count);
    CLV_TRY(clvi_trainable_cut(p->trainable, &cut, error));
    m->feature_elements = clvi_frozen_elements(p->graph, cut);
    if (!p->slabs)
        CLV_TRY(clvi_slabs_create(m->desc.device, &p->slabs, error));
    clvi_plan_desc train = describe_plan(m, p, TRAIN, 0, logits, 1);
    clvi_plan_desc infer = describe_plan(m, p, INFER, 0, logits, 1);
    clvi_beside *beside = NULL;
    CLV_TRY(list_buffers(m, &beside, &train.beside_count, error));
    train.beside = infer.beside = beside;
    infer.beside_count = train.beside_count;
    const clv_status status = clvi_frozen_create(&train, &infer, cut, &p->frozen, error);
    clvi_free(beside);
    return status;
}

static clv_status plan_expert(clvi_mixture *m, part *p, clv_error *error)
{
    const clv_tensor logits = clvi_graph_find_output(p->graph, "logits");
    if (m->desc.train && m->desc.keep_features)
        CLV_TRY(plan_frozen(m, p, &logits, error));
    else
        CLV_TRY(plan_mode(m, p, TRAIN, &logits, 1, error));
    return plan_mode(m, p, INFER, &logits, 1, error);
}

static clv_status plan_head(clvi_mixture *m, clv_error *error)
{
    const clv_tensor wanted[] = {clvi_graph_find_output(m->head.graph, "loss"),
                                 clvi_graph_find_output(m->head.graph, "nll")};
    m->nll[TRAIN] = wanted[0] == wanted[1] ? 0 : 1;
    m->nll[INFER] = 0;
    CLV_TRY(plan_mode(m, &m->head, TRAIN, wanted, m->nll[TRAIN] + 1, error));
    return plan_mode(m, &m->head, INFER, &wanted[1], 1, error);
}

/* The terms of [loss]: so far the cross-entropy of the prediction and its weight. */
static clv_status read_loss(clvi_mixture *m, clv_error *error)
{
    const char *terms = clvi_config_text(m->desc.config, "loss", "terms");
    const char *colon = strchr(terms, ':');
    const size_t length = colon ? (size_t)(colon - terms) : strlen(terms);
    m->ce_weight = 1;
    if (length != 2 || strncmp(terms, "ce", 2) != 0)
        return clvi_config_fail(m->desc.config, "loss", "terms", error,
                                "'%s' is no known loss; one expert learns by `ce` or `ce:WEIGHT`",
                                terms);
    if (colon && (!clvi_parse_real(colon + 1, &m->ce_weight) || m->ce_weight <= 0))
        return clvi_config_fail(m->desc.config, "loss", "terms", error,
                                "'%s' is no weight; give a number above 0, such as ce:1",
                                colon + 1);
    return CLV_OK;
}

static clv_status create_buffers(clvi_mixture *m, clv_error *error)
{
    const size_t batch = (size_t)m->desc.max_batch, pixels = pixel_elements(m);
    clvi_device *device = m->desc.device;
    for (size_t i = 0; i < m->form_count; i++)
        CLV_TRY(clvi_buf_create(device, batch * form_elements(&m->forms[i].desc) * 4,
                                "network input", &m->forms[i].buf, error));
    CLV_TRY(clvi_buf_create(device, (batch * pixels + 3) / 4 * 4, "pixels", &m->pixels, error));
    CLV_TRY(
        clvi_buf_create(device, batch * picture_elements(m) * 4, "picture", &m->picture, error));
    CLV_TRY(clvi_buf_create(device, batch * 4, "labels", &m->labels, error));
    CLV_TRY(clvi_buf_create(device, batch * 4, "sample ids", &m->ids, error));
    CLV_TRY(clvi_metrics_create(device, m->desc.classes, &m->metrics, error));
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

static clv_status build(clvi_mixture *m, clv_error *error)
{
    const clvi_config *config = m->desc.config;
    const uint64_t seed = (uint64_t)clvi_config_int(config, "run", "seed");
    const size_t count = clvi_config_expert_count(config);
    if (count != 1)
        return clvi_config_fail(config, "mixture", "experts", error,
                                "%zu experts are named; this version trains one", count);
    m->augment_key = clvi_philox_stream(seed, "augment");
    m->dropout_key = clvi_philox_stream(seed, "dropout");
    CLV_TRY(clvi_augment_read(config, &m->augment, error));
    CLV_TRY(read_loss(m, error));
    m->experts = clvi_calloc(count, sizeof *m->experts);
    if (!m->experts)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu experts", count);
    m->expert_count = count;
    CLV_TRY(clvi_store_create(m->desc.device, &m->store, error));
    for (size_t i = 0; i < count; i++)
        CLV_TRY(build_expert(m, i, error));
    CLV_TRY(clvi_head_build(m->desc.classes, clvi_config_real(config, "loss", "label_smoothing"),
                            &m->head.graph, error));
    CLV_TRY(clvi_store_add(m->store, m->head.graph, "head.", NULL, NULL, &m->head.base, error));
    m->active = clvi_calloc(clvi_store_group_count(m->store), sizeof *m->active);
    if (!m->active)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu experts", count);
    if (m->desc.train && clvi_mixture_training(m, 0) == 0)
        return clvi_config_fail(config, clvi_config_expert_section(config, 0), "trainable", error,
                                "nothing trains in the first epoch");
    const uint32_t kinds = m->desc.store_kinds ? m->desc.store_kinds : CLVI_STORE_FOR_ADAM;
    CLV_TRY(
        clvi_store_commit_kinds(m->store, m->desc.train ? kinds : CLVI_STORE_ONLY_VALUES, error));
    for (size_t i = 0; i < count; i++)
        CLV_TRY(plan_expert(m, &m->experts[i], error));
    CLV_TRY(plan_head(m, error));
    CLV_TRY(create_class_weights(m, error));
    return create_buffers(m, error);
}

static clv_status try_batch(const clvi_mixture_desc *desc, int64_t batch, clvi_mixture **out,
                            clv_error *error)
{
    clvi_mixture *m = clvi_calloc(1, sizeof *m);
    if (!m)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mixture");
    m->desc = *desc;
    m->seen = clvi_picture_of(desc->config, desc->height, desc->width, desc->channels);
    m->desc.max_batch = batch;
    const clv_status status = build(m, error);
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
        const clv_status status = try_batch(desc, middle, &m, NULL);
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
    const clv_status status = try_batch(desc, desc->max_batch, out, &cause);
    if (status == CLV_OK)
        return CLV_OK;
    const int64_t good = status == CLV_E_MEMORY ? largest_batch(desc) : 0;
    if (good > 0)
        CLV_FAIL(error, status, "%s; train.batch = %lld would fit", cause.message, (long long)good);
    if (error && error->status == CLV_OK)
        *error = cause;
    return status;
}

/* ---- Running ---- */

/* Uploads the pixels of a batch and makes every input form of them. The ids are there. */
static clv_status feed_pixels(clvi_mixture *m, const clvi_mixture_batch *batch,
                              const clvi_augment *augment, clv_error *error)
{
    clvi_device *device = m->desc.device;
    const clvi_picture_desc picture = {.n = batch->n,
                                       .seen = m->seen,
                                       .key = {m->augment_key.k[0], m->augment_key.k[1]},
                                       .epoch = batch->epoch,
                                       .ids = {m->ids, 0}};
    const clvi_view image = {m->picture, 0};
    CLV_TRY(clvi_upload(device, m->pixels, 0, batch->pixels, (size_t)batch->n * pixel_elements(m),
                        error));
    clvi_profile_enter_part(device, "input", "augment");
    CLV_TRY(clvi_image_augment(device, &picture, augment, (clvi_view){m->pixels, 0}, image, error));
    clvi_profile_enter_part(device, "input", "normalise");
    for (size_t i = 0; i < m->form_count; i++)
        CLV_TRY(clvi_image_normalise(device, &picture, &m->forms[i].desc, image,
                                     (clvi_view){m->forms[i].buf, 0}, error));
    return CLV_OK;
}

/* Uploads a batch: what networks read of it, pixels or features. */
static clv_status feed(clvi_mixture *m, const clvi_mixture_batch *batch,
                       const clvi_augment *augment, clv_error *error)
{
    clvi_device *device = m->desc.device;
    const size_t n = (size_t)batch->n;
    if (batch->n < 1 || batch->n > m->desc.max_batch)
        CLV_FAIL(error, CLV_E_INTERNAL, "a batch of %lld where 1 to %lld were planned",
                 (long long)batch->n, (long long)m->desc.max_batch);
    if (batch->labels)
        CLV_TRY(clvi_upload(device, m->labels, 0, batch->labels, n * 4, error));
    if (batch->ids)
        CLV_TRY(clvi_upload(device, m->ids, 0, batch->ids, n * 4, error));
    else
        CLV_TRY(clvi_fill(device, m->ids, 0, n * 4, 0, error));
    return batch->features ? clvi_frozen_put(m->experts[0].frozen, batch->n, batch->features, error)
                           : feed_pixels(m, batch, augment, error);
}

/* Forward of all experts, and of the head when there are labels. `mode` is TRAIN or INFER. */
static clv_status forward(clvi_mixture *m, int mode, const clvi_mixture_batch *batch,
                          clv_error *error)
{
    const clvi_run_random random = {.key = {m->dropout_key.k[0], m->dropout_key.k[1]},
                                    .epoch = batch->epoch,
                                    .ids = {m->ids, 0}};
    const clvi_view none = {NULL, 0};
    const int64_t n = batch->n;
    for (size_t i = 0; i < m->expert_count; i++) {
        part *p = &m->experts[i];
        clvi_plan *plan = p->ran[mode] = plan_of(p, mode, batch);
        clvi_plan_bind(plan, 0, (clvi_view){m->forms[p->form].buf, 0}, none);
        CLV_TRY(clvi_plan_forward(plan, n, &random, error));
    }
    if (!batch->labels)
        return CLV_OK;
    clvi_plan *expert = m->experts[0].ran[mode], *head = m->head.plans[mode];
    const clvi_view logits = clvi_plan_output(expert, 0, n);
    const clvi_view grad = mode == TRAIN ? clvi_plan_grad(expert, 0, n) : none;
    clvi_plan_bind(head, CLVI_HEAD_LOGITS, logits, grad);
    clvi_plan_bind(head, CLVI_HEAD_LABELS, (clvi_view){m->labels, 0}, none);
    CLV_TRY(clvi_plan_forward(head, n, NULL, error));
    return clvi_metrics_add(m->metrics, logits, (clvi_view){m->labels, 0},
                            clvi_plan_output(head, m->nll[mode], n), n, error);
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

/* Writes the gradients of the samples' losses. */
static clv_status seed_backward(clvi_mixture *m, const clvi_mixture_batch *batch, clv_error *error)
{
    const clvi_view seed = clvi_plan_grad(m->head.plans[TRAIN], 0, batch->n);
    double each = batch->share;
    if (each <= 0) {
        const double weight = clvi_mixture_weight(m, batch->labels, batch->n);
        each = weight > 0 ? 1 / weight : 0; /* 0: nobody in it counts */
    }
    const float share = (float)(m->ce_weight * each);
    if (!m->class_weights) {
        uint32_t pattern;
        memcpy(&pattern, &share, sizeof pattern);
        return clvi_fill(m->desc.device, seed.buf, seed.offset * 4, (size_t)batch->n * 4, pattern,
                         error);
    }
    const clvi_share items = clvi_share_of(batch->n, 2, 1);
    clvi_launch l;
    clvi_launch_begin(&l, m->desc.device, "loss", "loss_seed", "");
    clvi_arg_view(&l, seed);
    clvi_arg_view(&l, (clvi_view){m->labels, 0});
    clvi_arg_view(&l, (clvi_view){m->class_weights_buf, 0});
    clvi_arg_int(&l, (int32_t)batch->n);
    clvi_arg_int(&l, (int32_t)m->desc.classes);
    clvi_arg_float(&l, share);
    clvi_arg_int(&l, items.items);
    return clvi_launch_run(&l, items.groups, 1, 1, error);
}

clv_status clvi_mixture_step(clvi_mixture *m, const clvi_mixture_batch *batch, clv_error *error)
{
    CLV_ASSERT(m->desc.train && batch->labels);
    CLV_ASSERT((batch->features != NULL) == (m->feature_elements > 0));
    CLV_TRY(feed(m, batch, &m->augment, error));
    CLV_TRY(forward(m, TRAIN, batch, error));
    CLV_TRY(seed_backward(m, batch, error));
    CLV_TRY(clvi_plan_backward(m->head.plans[TRAIN], error));
    for (size_t i = 0; i < m->expert_count; i++)
        CLV_TRY(clvi_plan_backward(m->experts[i].ran[TRAIN], error));
    return CLV_OK;
}

clv_status clvi_mixture_infer(clvi_mixture *m, const clvi_mixture_batch *batch, clv_error *error)
{
    const clvi_augment none = {.kind = CLVI_AUGMENT_NONE};
    CLV_TRY(feed(m, batch, &none, error));
    CLV_TRY(forward(m, INFER, batch, error));
    m->n = batch->n;
    return CLV_OK;
}

clv_status clvi_mixture_features(clvi_mixture *m, const clvi_mixture_batch *batch, float *out,
                                 clv_error *error)
{
    const clvi_augment none = {.kind = CLVI_AUGMENT_NONE};
    const part *p = &m->experts[0];
    CLV_ASSERT(m->feature_elements > 0 && batch->features == NULL);
    CLV_TRY(feed(m, batch, &none, error));
    return clvi_frozen_compute(p->frozen, batch->n, (clvi_view){m->forms[p->form].buf, 0}, out,
                               error);
}

clv_status clvi_mixture_logits(clvi_mixture *m, float *out, clv_error *error)
{
    CLV_ASSERT(m->n > 0);
    const clvi_view logits = clvi_plan_output(m->experts[0].ran[INFER], 0, m->n);
    return clvi_download(m->desc.device, logits.buf, logits.offset * 4, out,
                         (size_t)m->n * (size_t)m->desc.classes * 4, error);
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
                                  .not_finite = sums.not_finite};
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

clv_status clvi_mixture_watch(clvi_mixture *m, clv_error *error)
{
    for (int mode = TRAIN; mode <= INFER; mode++) {
        for (size_t i = 0; i < m->expert_count; i++) {
            const part *p = &m->experts[i];
            const clv_mode of = mode == TRAIN ? CLV_MODE_TRAIN : CLV_MODE_INFER;
            clvi_plan *const plans[] = {p->plans[mode], p->later,
                                        p->frozen ? clvi_frozen_plan(p->frozen, of) : NULL};
            for (size_t k = 0; k < sizeof plans / sizeof *plans; k++)
                if (plans[k])
                    CLV_TRY(clvi_plan_watch(plans[k], error));
        }
        CLV_TRY(clvi_plan_watch(m->head.plans[mode], error));
    }
    return CLV_OK;
}

clv_status clvi_mixture_watched(const clvi_mixture *m, bool train, const char **graph,
                                clvi_finding *out, clv_error *error)
{
    const int mode = train ? TRAIN : INFER;
    /* In the order of a step: experts forward, head forward and backward, experts backward. */
    clvi_finding backward = {0};
    *graph = m->head.graph->label;
    for (size_t i = 0; i < m->expert_count; i++) {
        clvi_finding now;
        CLV_TRY(clvi_plan_watched(m->experts[i].ran[mode], &now, error));
        if (now.found && !now.backward) {
            *graph = m->experts[i].graph->label;
            *out = now;
            return CLV_OK;
        }
        if (now.found && !backward.found) {
            *graph = m->experts[i].graph->label;
            backward = now;
        }
    }
    clvi_finding head;
    CLV_TRY(clvi_plan_watched(m->head.plans[mode], &head, error));
    if (head.found)
        *graph = m->head.graph->label;
    *out = head.found ? head : backward;
    return CLV_OK;
}

/* Runs a batch in every way that training and inference know. */
static clv_status run_every_way(clvi_mixture *m, clvi_mixture_batch b, float *features,
                                clv_error *error)
{
    CLV_TRY(clvi_mixture_infer(m, &b, error));
    if (!m->desc.train)
        return CLV_OK;
    if (m->feature_elements > 0) {
        CLV_TRY(clvi_mixture_features(m, &b, features, error));
        b.features = features;
        CLV_TRY(clvi_mixture_infer(m, &b, error));
    }
    CLV_TRY(clvi_mixture_step(m, &b, error));
    if (!clvi_mixture_active(m, 0))
        return CLV_OK;
    b.epoch = UINT32_MAX; /* when all trains that ever will */
    return clvi_mixture_step(m, &b, error);
}

/* Kernels may differ between a large and a small batch: both are run. */
static clv_status run_black(clvi_mixture *m, clv_error *error)
{
    const size_t batch = (size_t)m->desc.max_batch;
    uint8_t *black = clvi_calloc(batch, pixel_elements(m));
    int32_t *labels = clvi_calloc(batch, sizeof *labels);
    float *features = clvi_calloc(batch, ((size_t)m->feature_elements + 1) * sizeof *features);
    clv_status status = CLV_OK;
    if (!black || !labels || !features)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for %zu images", batch);
    for (int small = 0; small < 2 && status == CLV_OK; small++) {
        const clvi_mixture_batch b = {
            .n = small ? 1 : m->desc.max_batch, .pixels = black, .labels = labels};
        status = run_every_way(m, b, features, error);
    }
    clvi_free(features);
    clvi_free(black);
    clvi_free(labels);
    return status;
}

clv_status clvi_mixture_warm(clvi_mixture *m, clv_error *error)
{
    CLV_TRY(run_black(m, error));
    CLV_TRY(clvi_metrics_reset(m->metrics, error));
    return clvi_store_initialise(m->store, (uint64_t)clvi_config_int(m->desc.config, "run", "seed"),
                                 error);
}

/* ---- Facts ---- */

clvi_store *clvi_mixture_store(clvi_mixture *m)
{
    return m->store;
}

int64_t clvi_mixture_feature_elements(const clvi_mixture *m)
{
    return m->feature_elements;
}

size_t clvi_mixture_expert_count(const clvi_mixture *m)
{
    return m->expert_count;
}

const clv_graph *clvi_mixture_expert_graph(const clvi_mixture *m, size_t index)
{
    return m->experts[index].graph;
}

bool clvi_mixture_trains(const clvi_mixture *m, size_t segment, uint32_t epoch)
{
    if (!clvi_store_segment(m->store, segment)->trainable)
        return false;
    for (size_t i = 0; i < m->expert_count; i++) {
        const part *p = &m->experts[i];
        if (segment < p->base || segment - p->base >= p->graph->variable_count)
            continue;
        const int stage = clvi_trainable_stage(p->trainable, epoch);
        return clvi_trainable_variables(p->trainable, stage)[segment - p->base];
    }
    return true;
}

const bool *clvi_mixture_active(clvi_mixture *m, uint32_t epoch)
{
    const uint32_t groups = clvi_store_group_count(m->store);
    bool all = true;
    for (uint32_t g = 0; g < groups; g++)
        m->active[g] = true;
    for (size_t i = 0; i < clvi_store_count(m->store); i++) {
        const clvi_segment *s = clvi_store_segment(m->store, i);
        if (s->trainable && !clvi_mixture_trains(m, i, epoch))
            all = m->active[s->group] = false;
    }
    return all ? NULL : m->active;
}

int64_t clvi_mixture_training(const clvi_mixture *m, uint32_t epoch)
{
    int64_t sum = 0;
    for (size_t i = 0; i < clvi_store_count(m->store); i++)
        sum += clvi_mixture_trains(m, i, epoch) ? clvi_store_segment(m->store, i)->elements : 0;
    return sum;
}

uint64_t clvi_mixture_bytes(const clvi_mixture *m)
{
    uint64_t sum = clvi_buf_bytes(m->pixels) + clvi_buf_bytes(m->picture) +
                   clvi_buf_bytes(m->labels) + clvi_buf_bytes(m->ids) +
                   clvi_metrics_bytes(m->metrics) + clvi_store_bytes(m->store);
    if (m->class_weights_buf)
        sum += clvi_buf_bytes(m->class_weights_buf);
    for (size_t i = 0; i < m->form_count; i++)
        sum += clvi_buf_bytes(m->forms[i].buf);
    for (size_t i = 0; i <= m->expert_count; i++) {
        const part *p = i < m->expert_count ? &m->experts[i] : &m->head;
        sum += clvi_slabs_bytes(p->slabs);
        for (int k = TRAIN; k <= INFER; k++)
            sum += p->plans[k] ? clvi_plan_own_bytes(p->plans[k]) : 0;
        sum += p->later ? clvi_plan_own_bytes(p->later) : 0;
        sum += p->frozen ? clvi_frozen_bytes(p->frozen) : 0;
    }
    return sum;
}

const char *clvi_mixture_preprocessing(const clvi_mixture *m, size_t index)
{
    return m->experts[index].preprocessing;
}
