/* See explainer.h. Levels are the mixture and those inside it, each before what it holds; leaves
 * are the networks. What a class's score wants of a member is found from the outside inwards: at a
 * level whose members' logits are answers it is 1 at the class's logit, elsewhere the backward of
 * the level's head, from its prediction or from what the level around wants of it. */
#include "mixture/explainer.h"

#include "mixture/council_impl.h"

#include <math.h>

typedef struct level {
    clvi_council *council;
    const struct level *around; /* NULL: the outermost */
    size_t index;               /* in the level around */
    bool answers;               /* its prediction is an answer */
    bool asked;
    double share;        /* of it, by the gates around */
    double *weights;     /* [experts] of the last run; NULL: no gate */
    clvi_plan *head;     /* NULL: its members' logits are answers */
    int role;            /* what members are read for, then */
    clvi_buf *gradient;  /* [width] of that */
    int64_t width, wide; /* elements of what is read; of the head's output */
    float *columns;      /* [width] its gradient */
} level;

typedef struct leaf {
    clvi_explained shown;
    const level *level;
    size_t index; /* among the level's experts */
    const clvi_part *part;
    clvi_maps stages;
    int role;          /* what is differentiated: */
    clv_tensor target; /* its logits, or what the head reads */
    clvi_plan *before; /* image → maps; NULL: there are none */
    clvi_plan *behind; /* last map → target, with backward; without maps all of it */
    float *target_values, *values, *gradient, *cam;
    float **maps; /* [stages.count]; NULL: not kept */
} leaf;

struct clvi_explainer {
    int classes;
    clvi_device *device;
    bool keep_maps;
    clvi_slabs *before, *behind, *heads; /* each is all its plans', which run in turn */
    level **levels;
    size_t level_count, level_capacity;
    leaf **leaves;
    size_t leaf_count, leaf_capacity;
    float *seed; /* [most elements of an output] */
};

static void destroy_leaf(leaf *l)
{
    clvi_plan_destroy(l->before);
    clvi_plan_destroy(l->behind);
    for (size_t i = 0; l->maps && i < l->stages.count; i++)
        clvi_free(l->maps[i]);
    clvi_free(l->maps);
    clvi_free(l->target_values);
    clvi_free(l->values);
    clvi_free(l->gradient);
    clvi_free(l->cam);
    clvi_maps_fini(&l->stages);
    clvi_free(l);
}

static void destroy_level(level *v)
{
    clvi_plan_destroy(v->head);
    clvi_buf_destroy(v->gradient);
    clvi_free(v->columns);
    clvi_free(v->weights);
    clvi_free(v);
}

void clvi_explainer_destroy(clvi_explainer *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->leaf_count; i++)
        destroy_leaf(e->leaves[i]);
    for (size_t i = 0; i < e->level_count; i++)
        destroy_level(e->levels[i]);
    clvi_slabs_destroy(e->before);
    clvi_slabs_destroy(e->behind);
    clvi_slabs_destroy(e->heads);
    clvi_free(e->leaves);
    clvi_free(e->levels);
    clvi_free(e->seed);
    clvi_free(e);
}

/* ---- Plans ---- */

static int64_t elements_of(const clv_graph *g, clv_tensor tensor)
{
    return clvi_shape_elements(&g->tensors[tensor].shape);
}

static clv_status no_memory(clv_error *error)
{
    CLV_FAIL(error, CLV_E_MEMORY, "no memory to explain the mixture");
}

/* Makes a plan with gradients, but of no variable. What normalises or draws runs as in inference.
 */
static clv_status plan_backward(clvi_plan_desc *desc, clvi_plan **out, clv_error *error)
{
    const clv_graph *g = desc->graph;
    bool *trains = clvi_calloc(g->variable_count + 1, sizeof *trains);
    uint8_t *modes = clvi_calloc(g->node_count + 1, sizeof *modes);
    clv_status status = trains && modes ? CLV_OK : no_memory(error);
    for (size_t k = 0; k < g->node_count && modes; k++) {
        const clvi_op *op = g->nodes[k].op;
        const bool frozen = op->norm_inputs != 0 || (op->draws && clvi_op_find(op->name) == op);
        modes[k] = (uint8_t)(frozen ? CLVI_MODE_FROZEN : CLV_MODE_TRAIN);
    }
    desc->mode = CLV_MODE_TRAIN;
    desc->max_batch = 1;
    desc->trains = trains;
    desc->node_modes = modes;
    if (status == CLV_OK)
        status = clvi_plan_create(desc, out, error);
    clvi_free(trains);
    clvi_free(modes);
    return status;
}

/* From the image to the last map of each stage, and the last map itself, the first of the outputs.
 */
static clv_status plan_before(clvi_explainer *e, leaf *l, clv_error *error)
{
    const clvi_part *p = l->part;
    clv_tensor *outputs = clvi_calloc(l->stages.count + 1, sizeof *outputs);
    if (!outputs)
        return no_memory(error);
    clvi_plan_desc desc = {.graph = l->shown.graph,
                           .store = l->level->council->site.store,
                           .base = p->base,
                           .slabs = e->before,
                           .mode = CLV_MODE_INFER,
                           .max_batch = 1,
                           .outputs = outputs};
    outputs[desc.output_count++] = l->stages.last;
    for (size_t i = 0; i < l->stages.count && e->keep_maps; i++)
        if (l->stages.stages[i].last != CLV_NO_TENSOR)
            outputs[desc.output_count++] = l->stages.stages[i].last;
    const clv_status status = clvi_plan_create(&desc, &l->before, error);
    clvi_free(outputs);
    return status;
}

static clv_status plan_behind(clvi_explainer *e, leaf *l, clv_error *error)
{
    clvi_plan_desc desc = {.graph = l->shown.graph,
                           .store = l->level->council->site.store,
                           .base = l->part->base,
                           .slabs = e->behind,
                           .mode = CLV_MODE_INFER,
                           .max_batch = 1,
                           .outputs = &l->target,
                           .output_count = 1};
    if (l->stages.last == CLV_NO_TENSOR)
        return clvi_plan_create(&desc, &l->behind, error);
    desc.outputs_with_grad = 1;
    desc.from = l->stages.last;
    desc.has_from = desc.from_with_grad = true;
    return plan_backward(&desc, &l->behind, error);
}

static clv_status keep_maps(leaf *l, clv_error *error)
{
    l->maps = clvi_calloc(l->stages.count + 1, sizeof *l->maps);
    for (size_t i = 0; i < l->stages.count && l->maps; i++) {
        const clv_tensor map = l->stages.stages[i].last;
        if (map == CLV_NO_TENSOR)
            continue;
        l->maps[i] = clvi_malloc((size_t)elements_of(l->shown.graph, map) * sizeof(float));
        if (!l->maps[i])
            return no_memory(error);
    }
    l->shown.maps = (const float *const *)l->maps;
    return l->maps ? CLV_OK : no_memory(error);
}

static clv_status plan_leaf(clvi_explainer *e, leaf *l, clv_error *error)
{
    const clv_graph *g = l->shown.graph;
    l->target = clvi_graph_find_output(g, clvi_expert_roles[l->role]);
    CLV_TRY(clvi_maps_find(g, l->target, &l->stages, error));
    l->shown.stages = &l->stages;
    l->shown.map = l->stages.last;
    l->target_values = clvi_malloc((size_t)elements_of(g, l->target) * sizeof(float));
    if (!l->target_values)
        return no_memory(error);
    if (l->shown.map != CLV_NO_TENSOR) {
        const clv_shape *shape = &g->tensors[l->shown.map].shape;
        const size_t bytes = (size_t)elements_of(g, l->shown.map) * sizeof(float);
        l->shown.height = shape->dims[1], l->shown.width = shape->dims[2];
        l->shown.channels = shape->dims[3];
        l->values = clvi_malloc(bytes);
        l->gradient = clvi_malloc(bytes);
        l->cam = clvi_malloc((size_t)(shape->dims[1] * shape->dims[2]) * sizeof(float));
        if (!l->values || !l->gradient || !l->cam)
            return no_memory(error);
        if (e->keep_maps)
            CLV_TRY(keep_maps(l, error));
        CLV_TRY(plan_before(e, l, error));
    }
    return plan_behind(e, l, error);
}

/* The head of a level whose members' logits are no answers: from what they give to the prediction,
 * or to what the level around reads. */
static clv_status plan_head(clvi_explainer *e, level *v, clv_error *error)
{
    const clvi_council *c = v->council;
    const clv_graph *g = c->head.graphs[CLVI_INFER];
    const bool features = clvi_council_input_of(g, "features") >= 0;
    v->role = features ? CLVI_FEATURES : CLVI_LOGITS;
    v->width = clvi_council_bank_width(c, v->role);
    const clv_tensor output =
        clvi_graph_find_output(g, v->answers ? "prediction" : clvi_expert_roles[v->around->role]);
    v->wide = elements_of(g, output);
    v->columns = clvi_calloc((size_t)v->width, sizeof *v->columns);
    if (!v->columns)
        return no_memory(error);
    CLV_TRY(clvi_buf_create(e->device, (size_t)v->width * sizeof(float), "a gradient of the head",
                            &v->gradient, error));
    clvi_plan_desc desc = {.graph = g,
                           .store = c->site.store,
                           .base = c->head.base,
                           .slabs = e->heads,
                           .outputs = &output,
                           .output_count = 1,
                           .outputs_with_grad = 1,
                           .inputs_with_grad =
                               1u << clvi_council_input_of(g, clvi_expert_roles[v->role])};
    return plan_backward(&desc, &v->head, error);
}

/* ---- Making it ---- */

static clv_status add_level(clvi_explainer *e, clvi_council *c, const level *around, size_t index,
                            clv_error *error);

/* Whether an expert was trained for the same classes before, and stays as it was. */
static bool answered_before(const clvi_council *c, const char *section)
{
    const clvi_config *config = c->site.config;
    return clvi_config_text(config, section, "init")[0] != '\0' &&
           strcmp(clvi_config_text(config, section, "trainable"), "none") == 0;
}

static clv_status add_leaf(clvi_explainer *e, const level *v, size_t index, clv_error *error)
{
    void *leaves = e->leaves;
    CLV_TRY(clvi_grow(&leaves, &e->leaf_capacity, e->leaf_count + 1, sizeof *e->leaves, error));
    e->leaves = leaves;
    leaf *l = clvi_calloc(1, sizeof *l);
    if (!l)
        return no_memory(error);
    e->leaves[e->leaf_count++] = l;
    l->level = v;
    l->index = index;
    l->part = &v->council->experts[index];
    l->shown.section = l->part->section;
    l->shown.graph = l->part->graphs[CLVI_INFER];
    l->shown.answers = v->head == NULL || answered_before(v->council, l->shown.section);
    l->role = l->shown.answers ? CLVI_LOGITS : v->role;
    l->shown.features = l->role == CLVI_FEATURES;
    return plan_leaf(e, l, error);
}

static clv_status add_members(clvi_explainer *e, level *v, clv_error *error)
{
    clvi_council *c = v->council;
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        CLV_TRY(c->nested[i] ? add_level(e, c->nested[i], v, i, error) : add_leaf(e, v, i, error));
    return CLV_OK;
}

static clv_status add_level(clvi_explainer *e, clvi_council *c, const level *around, size_t index,
                            clv_error *error)
{
    void *levels = e->levels;
    CLV_TRY(clvi_grow(&levels, &e->level_capacity, e->level_count + 1, sizeof *e->levels, error));
    e->levels = levels;
    level *v = clvi_calloc(1, sizeof *v);
    if (!v)
        return no_memory(error);
    e->levels[e->level_count++] = v;
    v->council = c;
    v->around = around;
    v->index = index;
    v->answers = !around || !around->head;
    v->role = CLVI_LOGITS;
    if (clvi_council_gated(c)) {
        v->weights = clvi_calloc(clvi_council_expert_count(c), sizeof *v->weights);
        if (!v->weights)
            return no_memory(error);
    }
    if (!v->answers || !clvi_fusion_experts_answer(&c->fusion))
        CLV_TRY(plan_head(e, v, error));
    return add_members(e, v, error);
}

static clv_status fill(clvi_explainer *e, clvi_council *c, clv_error *error)
{
    int64_t most = e->classes;
    CLV_TRY(clvi_slabs_create(e->device, &e->before, error));
    CLV_TRY(clvi_slabs_create(e->device, &e->behind, error));
    CLV_TRY(clvi_slabs_create(e->device, &e->heads, error));
    CLV_TRY(add_level(e, c, NULL, 0, error));
    for (size_t i = 0; i < e->level_count; i++)
        most = e->levels[i]->wide > most ? e->levels[i]->wide : most;
    for (size_t i = 0; i < e->leaf_count; i++) {
        const int64_t own = elements_of(e->leaves[i]->shown.graph, e->leaves[i]->target);
        most = own > most ? own : most;
    }
    e->seed = clvi_calloc((size_t)most, sizeof *e->seed);
    return e->seed ? CLV_OK : no_memory(error);
}

clv_status clvi_explainer_create(clvi_council *council, bool keep, clvi_explainer **out,
                                 clv_error *error)
{
    clvi_explainer *e = clvi_calloc(1, sizeof *e);
    if (!e)
        return no_memory(error);
    e->classes = council->site.classes;
    e->device = council->site.device;
    e->keep_maps = keep;
    const clv_status status = fill(e, council, error);
    if (status != CLV_OK) {
        clvi_explainer_destroy(e);
        return status;
    }
    *out = e;
    return CLV_OK;
}

size_t clvi_explainer_count(const clvi_explainer *e)
{
    return e->leaf_count;
}

const clvi_explained *clvi_explainer_at(const clvi_explainer *e, size_t index)
{
    return &e->leaves[index]->shown;
}

/* ---- Running ---- */

static clv_status download(const clvi_explainer *e, clvi_view from, float *to, int64_t elements,
                           clv_error *error)
{
    return clvi_download(e->device, from.buf, from.offset * 4, to, (size_t)elements * sizeof *to,
                         error);
}

/* Writes the gradient of what is explained into the seed: of member `index` of a level its columns,
 * of an answer (around NULL) 1 at the class. */
static void put_seed(clvi_explainer *e, const level *around, size_t index, int label,
                     int64_t elements)
{
    if (around) {
        const clvi_bank_part part = clvi_council_bank_part(around->council, around->role, index);
        memcpy(e->seed, around->columns + part.at, (size_t)elements * sizeof *e->seed);
        return;
    }
    memset(e->seed, 0, (size_t)elements * sizeof *e->seed);
    e->seed[label] = 1;
}

static clv_status send_seed(const clvi_explainer *e, const clvi_plan *plan, int64_t elements,
                            clv_error *error)
{
    const clvi_view to = clvi_plan_grad(plan, 0, 1);
    return clvi_upload(e->device, to.buf, to.offset * 4, e->seed,
                       (size_t)elements * sizeof *e->seed, error);
}

static bool is_asked(const level *v, size_t index)
{
    const clvi_council *c = v->council;
    return v->asked && (!c->dispatch || clvi_dispatch_count(c->dispatch, index) > 0);
}

static clv_status read_weights(level *v, clv_error *error)
{
    enum { SOME = 64 };
    const size_t experts = clvi_council_expert_count(v->council);
    const clvi_view route = clvi_council_route(v->council);
    float some[SOME], *read = some;
    if (experts > SOME)
        read = clvi_malloc(experts * sizeof *read);
    if (!read)
        return no_memory(error);
    const clv_status status = clvi_download(v->council->site.device, route.buf, route.offset * 4,
                                            read, experts * sizeof *read, error);
    for (size_t i = 0; i < experts && status == CLV_OK; i++)
        v->weights[i] = (double)read[i];
    if (read != some)
        clvi_free(read);
    return status;
}

static double share_of(const level *v, size_t index)
{
    return v->weights ? v->share * v->weights[index] : NAN;
}

/* Backward of a level's head: its columns. */
static clv_status run_head(clvi_explainer *e, level *v, int label, clv_error *error)
{
    const clvi_council *c = v->council;
    const clv_graph *g = c->head.graphs[CLVI_INFER];
    const size_t bytes = (size_t)v->width * sizeof(float);
    const clvi_run_random random = {.ids = clvi_forms_ids(c->site.forms)};
    CLV_TRY(clvi_fill(e->device, v->gradient, 0, bytes, 0, error));
    for (size_t i = 0; i < g->input_count; i++) {
        clvi_view values, none;
        clvi_council_head_input(c, &c->run, g->inputs[i].desc.role, &values, &none);
        clvi_plan_bind(v->head, i, values, (clvi_view){v->gradient, 0});
    }
    CLV_TRY(clvi_plan_forward(v->head, 1, &random, error));
    put_seed(e, v->answers ? NULL : v->around, v->index, label, v->wide);
    CLV_TRY(send_seed(e, v->head, v->wide, error));
    CLV_TRY(clvi_plan_backward(v->head, error));
    return download(e, (clvi_view){v->gradient, 0}, v->columns, v->width, error);
}

static clv_status run_level(clvi_explainer *e, level *v, int label, clv_error *error)
{
    v->asked = !v->around || is_asked(v->around, v->index);
    v->share = v->around ? share_of(v->around, v->index) : 1;
    if (!v->asked)
        return CLV_OK;
    CLV_ASSERT(v->council->run.part.mode == CLVI_INFER && v->council->run.part.n == 1);
    if (v->weights)
        CLV_TRY(read_weights(v, error));
    return v->head ? run_head(e, v, label, error) : CLV_OK;
}

static void bind_image(const leaf *l, clvi_plan *plan)
{
    const clvi_part_run run = {.mode = CLVI_INFER, .n = 1};
    clvi_part_bind_image(l->part, &l->level->council->site, &run, plan);
}

static clv_status run_before(clvi_explainer *e, leaf *l, const clvi_run_random *random,
                             clv_error *error)
{
    const clv_graph *g = l->shown.graph;
    size_t output = 0;
    bind_image(l, l->before);
    CLV_TRY(clvi_plan_forward(l->before, 1, random, error));
    CLV_TRY(download(e, clvi_plan_output(l->before, output++, 1), l->values,
                     elements_of(g, l->shown.map), error));
    for (size_t i = 0; i < l->stages.count && l->maps; i++)
        if (l->maps[i])
            CLV_TRY(download(e, clvi_plan_output(l->before, output++, 1), l->maps[i],
                             elements_of(g, l->stages.stages[i].last), error));
    clvi_plan_bind_from(l->behind, clvi_plan_output(l->before, 0, 1));
    return CLV_OK;
}

/* CAM = max(0, Σ_k α_k A_k), α_k the mean of the gradient over the places. */
static clv_status make_cam(leaf *l, clv_error *error)
{
    const int64_t places = l->shown.height * l->shown.width, channels = l->shown.channels;
    double *alpha = clvi_calloc((size_t)channels, sizeof *alpha);
    if (!alpha)
        return no_memory(error);
    for (int64_t p = 0; p < places; p++)
        for (int64_t k = 0; k < channels; k++)
            alpha[k] += (double)l->gradient[p * channels + k] / (double)places;
    for (int64_t p = 0; p < places; p++) {
        double sum = 0;
        for (int64_t k = 0; k < channels; k++)
            sum += alpha[k] * (double)l->values[p * channels + k];
        l->cam[p] = (float)(sum < 0 ? 0 : sum);
    }
    clvi_free(alpha);
    return CLV_OK;
}

static clv_status run_behind(clvi_explainer *e, leaf *l, int label, clv_error *error)
{
    const clv_graph *g = l->shown.graph;
    const int64_t elements = elements_of(g, l->target);
    const clvi_run_random random = {.key = {l->part->dropout.k[0], l->part->dropout.k[1]},
                                    .ids = clvi_forms_ids(l->level->council->site.forms)};
    if (l->before)
        CLV_TRY(run_before(e, l, &random, error));
    bind_image(l, l->behind);
    CLV_TRY(clvi_plan_forward(l->behind, 1, &random, error));
    CLV_TRY(download(e, clvi_plan_output(l->behind, 0, 1), l->target_values, elements, error));
    l->shown.logits = l->shown.answers ? l->target_values : NULL;
    if (!l->before)
        return CLV_OK;
    l->shown.values = l->values;
    const clvi_view gradient = clvi_plan_from_grad(l->behind, 1);
    if (!gradient.buf)
        return CLV_OK;
    put_seed(e, l->shown.answers ? NULL : l->level, l->index, label, elements);
    CLV_TRY(send_seed(e, l->behind, elements, error));
    CLV_TRY(clvi_plan_backward(l->behind, error));
    CLV_TRY(download(e, gradient, l->gradient, elements_of(g, l->shown.map), error));
    l->shown.gradient = l->gradient;
    CLV_TRY(make_cam(l, error));
    l->shown.cam = l->cam;
    return CLV_OK;
}

static clv_status run_leaf(clvi_explainer *e, leaf *l, int label, clv_error *error)
{
    clvi_explained *s = &l->shown;
    s->logits = s->values = s->gradient = s->cam = NULL;
    s->asked = is_asked(l->level, l->index);
    s->weight = l->level->weights && l->level->asked ? l->level->weights[l->index] : NAN;
    s->share = l->level->asked ? share_of(l->level, l->index) : 0;
    return s->asked ? run_behind(e, l, label, error) : CLV_OK;
}

clv_status clvi_explainer_run(clvi_explainer *e, int label, clv_error *error)
{
    for (size_t i = 0; i < e->level_count; i++)
        CLV_TRY(run_level(e, e->levels[i], label, error));
    for (size_t i = 0; i < e->leaf_count; i++)
        CLV_TRY(run_leaf(e, e->leaves[i], label, error));
    return CLV_OK;
}
