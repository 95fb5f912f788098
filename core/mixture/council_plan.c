/* Plans, memory and buffers of a council; see council.h. */
#include "mixture/member.h"

#include <stdio.h>

/* ---- What stands where ---- */

const char *const clvi_expert_roles[CLVI_EXPERT_ROLES] = {"logits", "features"};
const char *const clvi_gate_roles[CLVI_GATE_ROLES] = {"route", "gate_logits", "load_prob",
                                                      "wanted"};

bool clvi_council_trainable(const clvi_council *c)
{
    bool any = false;
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        any |= c->experts[i].trainable;
    return any;
}

bool clvi_council_gate_taught(const clvi_council *c)
{
    return c->gate.trainable || (c->gate_features && clvi_council_trainable(c));
}

bool clvi_council_sparse(const clvi_council *c)
{
    return c->fusion.gated && c->gate.graphs[CLVI_TRAIN]->route.sparse != 0;
}

int64_t clvi_council_bank_width(const clvi_council *c, int role)
{
    int64_t width = 0;
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        width += role == CLVI_LOGITS ? c->site.classes : c->feature_widths[i];
    return width;
}

clvi_bank_part clvi_council_bank_part(const clvi_council *c, int role, size_t index)
{
    clvi_bank_part part = {0, c->site.classes};
    if (role == CLVI_LOGITS) {
        part.at = (int64_t)index * c->site.classes;
        return part;
    }
    for (size_t i = 0; i < index; i++)
        part.at += c->feature_widths[i];
    part.width = c->feature_widths[index];
    return part;
}

clvi_head_desc clvi_council_head_desc(const clvi_council *c)
{
    return (clvi_head_desc){.name = c->head_section,
                            .fusion = &c->fusion,
                            .classes = c->site.classes,
                            .feature_widths = c->feature_widths,
                            .sparse = clvi_council_sparse(c),
                            .nested = clvi_council_is_nested(c)};
}

int clvi_council_input_of(const clv_graph *graph, const char *role)
{
    const clv_tensor tensor = clvi_graph_find_input(graph, role);
    for (size_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i].tensor == tensor)
            return (int)i;
    return -1;
}

size_t clvi_council_place_of(const bool *used, int role)
{
    size_t place = 0;
    for (int i = 0; i < role; i++)
        place += used[i];
    return place;
}

void clvi_council_gate_uses(const clvi_council *c, int mode, bool used[CLVI_GATE_ROLES])
{
    const clv_graph *gate = c->gate.graphs[mode];
    for (int role = 0; role < CLVI_GATE_ROLES; role++) {
        const bool there = clvi_graph_find_output(gate, clvi_gate_roles[role]) != CLV_NO_TENSOR;
        const bool head = clvi_council_input_of(c->head.graphs[mode], clvi_gate_roles[role]) >= 0;
        used[role] =
            role == CLVI_ROUTE || (mode == CLVI_TRAIN && head) ||
            (mode == CLVI_TRAIN && role == CLVI_WANTED && there) ||
            (mode == CLVI_INFER && role == CLVI_GATE_LOGITS && there && clvi_council_sparse(c));
    }
}

bool clvi_council_is_nested(const clvi_council *c)
{
    return clvi_config_scope(c->site.config)[0] != '\0';
}

size_t clvi_council_offers(const clvi_council *c)
{
    return clvi_council_place_of(c->offered, CLVI_EXPERT_ROLES);
}

size_t clvi_council_outputs_of(const clv_graph *graph, const char *const *roles, const bool *used,
                               int count, clv_tensor *out)
{
    size_t n = 0;
    for (int role = 0; role < count; role++)
        if (used[role])
            out[n++] = clvi_graph_find_output(graph, roles[role]);
    return n;
}

/* ---- Plans ---- */

/* What train.cache_features asks for, before the plans are made. */
static clv_status keep_features(clvi_council *c, clv_error *error)
{
    if (!c->site.train || !c->site.keep_features)
        return CLV_OK;
    if (c->site.augment->kind != CLVI_AUGMENT_NONE)
        return clvi_config_fail(c->site.config, "train", "cache_features", error,
                                "data.augment changes each image in each epoch, and with it the "
                                "features; write augment = none, or cache_features = no");
    const bool whole = clvi_council_expert_count(c) > 1 || c->nested[0];
    return whole ? clvi_council_keep_experts(c, error) : CLV_OK;
}

static clv_status plan_gate(clvi_council *c, const clvi_part_wants *base, clv_error *error)
{
    clvi_part_wants wants = *base;
    clv_tensor outputs[CLVI_GATE_ROLES + CLVI_MAX_STEP_SUMS];
    bool used[CLVI_GATE_ROLES];
    for (int mode = CLVI_TRAIN; mode < CLVI_MODES; mode++) {
        clvi_council_gate_uses(c, mode, used);
        wants.outputs = outputs;
        wants.count = clvi_council_outputs_of(c->gate.graphs[mode], clvi_gate_roles, used,
                                              CLVI_GATE_ROLES, outputs);
        wants.outputs_with_grad =
            clvi_council_gate_taught(c) ? (1u << (wants.count - used[CLVI_WANTED])) - 1 : 0;
        if (mode == CLVI_TRAIN && c->gate.graphs[mode]->new_state_count > 0) {
            clvi_after_step_sources(c->gate.graphs[mode], outputs + wants.count);
            wants.count += c->gate.graphs[mode]->step_sum_count;
        }
        const int features = clvi_council_input_of(c->gate.graphs[mode], "features");
        wants.inputs_with_grad = features >= 0 && clvi_council_trainable(c) ? 1u << features : 0;
        CLV_TRY(clvi_part_plan(&c->gate, &c->site, mode, &wants, error));
    }
    return CLV_OK;
}

/* What a nested mixture offers, terms, then the prediction and what it costs. */
static clv_status plan_head(clvi_council *c, const clvi_part_wants *base, clv_error *error)
{
    const clv_graph *g = c->head.graphs[CLVI_TRAIN];
    const size_t terms = c->fusion.term_count, results = clvi_council_is_nested(c) ? 0 : 2;
    const bool taught = clvi_council_trainable(c) || c->gate.trainable || c->head.trainable;
    clvi_part_wants wants = *base;
    clv_tensor outputs[CLVI_EXPERT_ROLES + CLVI_MAX_TERMS + 2];
    const size_t offers =
        clvi_council_outputs_of(g, clvi_expert_roles, c->offered, CLVI_EXPERT_ROLES, outputs);
    for (size_t i = 0; i < terms; i++) {
        char role[64];
        snprintf(role, sizeof role, "loss.%s", c->fusion.terms[i].spec->name);
        outputs[offers + i] = clvi_graph_find_output(g, role);
    }
    outputs[offers + terms] = clvi_graph_find_output(g, "prediction");
    outputs[offers + terms + 1] = clvi_graph_find_output(g, "nll");
    wants.outputs = outputs;
    wants.count = offers + terms + results;
    wants.outputs_with_grad = taught ? (1u << (offers + terms)) - 1 : 0;
    for (size_t i = 0; i < g->input_count; i++) {
        const char *role = g->inputs[i].desc.role;
        bool wanted = false;
        for (int k = 0; k < CLVI_EXPERT_ROLES; k++)
            wanted |= clvi_council_trainable(c) && strcmp(role, clvi_expert_roles[k]) == 0;
        for (int k = 0; k < CLVI_GATE_ROLES; k++)
            wanted |= clvi_council_gate_taught(c) && strcmp(role, clvi_gate_roles[k]) == 0;
        wants.inputs_with_grad |= wanted ? 1u << i : 0;
    }
    CLV_TRY(clvi_part_plan(&c->head, &c->site, CLVI_TRAIN, &wants, error));
    wants.outputs = outputs + (results > 0 ? offers + terms : 0);
    wants.count = results > 0 ? results : offers;
    return clvi_part_plan(&c->head, &c->site, CLVI_INFER, &wants, error);
}

static clv_status make_owners(clvi_council *c, clv_error *error)
{
    const clvi_head_desc desc = clvi_council_head_desc(c);
    const size_t columns = (size_t)clvi_head_columns(&desc);
    if (columns == 0)
        return CLV_OK;
    int32_t *owners = clvi_malloc(columns * sizeof *owners);
    if (!owners)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu columns", columns);
    clvi_head_owners(&desc, owners);
    clv_status status =
        clvi_buf_create(c->site.device, columns * 4, "owners of columns", &c->owners, error);
    if (status == CLV_OK)
        status = clvi_upload(c->site.device, c->owners, 0, owners, columns * 4, error);
    clvi_free(owners);
    return status;
}

static clv_status make_buffers(clvi_council *c, clv_error *error)
{
    const clvi_site *s = &c->site;
    for (int role = 0; role < CLVI_EXPERT_ROLES && clvi_council_expert_count(c) > 1; role++)
        if (c->given[role])
            CLV_TRY(clvi_bank_init(&c->banks[role], s->device, clvi_council_bank_width(c, role),
                                   s->max_batch, s->train && clvi_council_trainable(c), error));
    if (c->gate_features && s->train && clvi_council_trainable(c))
        CLV_TRY(clvi_buf_create(
            s->device, (size_t)(clvi_council_bank_width(c, CLVI_FEATURES) * s->max_batch) * 4,
            "the gate's gradient", &c->gate_grad, error));
    if (s->train && c->fusion.gated && c->gate.graphs[CLVI_TRAIN]->new_state_count > 0)
        CLV_TRY(clvi_after_step_create(c->gate.graphs[CLVI_TRAIN], s->store, c->gate.base,
                                       &c->after, error));
    if (c->dispatch)
        CLV_TRY(clvi_dispatch_commit(c->dispatch, c->experts, error));
    return make_owners(c, error);
}

/* The experts of a sparse gate lie in one memory: see dispatch.h. */
static clv_status share_memory(clvi_council *c, clv_error *error)
{
    const int64_t most =
        clvi_dispatch_most(&c->gate.graphs[CLVI_TRAIN]->route,
                           (int64_t)clvi_council_expert_count(c), c->site.max_batch);
    CLV_TRY(
        clvi_dispatch_create(&c->site, clvi_council_expert_count(c), most, &c->dispatch, error));
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        if (c->nested[i])
            continue; /* its parts have memory of their own, for a whole batch */
        c->experts[i].slabs = clvi_dispatch_slabs(c->dispatch);
        c->experts[i].shares_slabs = true;
    }
    return CLV_OK;
}

clv_status clvi_council_plan(clvi_council *c, clv_error *error)
{
    CLV_TRY(keep_features(c, error));
    clvi_beside *beside =
        clvi_calloc(clvi_forms_beside_most(c->site.forms) + CLVI_EXPERT_ROLES + 1, sizeof *beside);
    clvi_part_wants wants = {.beside = beside};
    if (!beside)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan the mixture");
    clvi_forms_beside(c->site.forms, beside, &wants.beside_count);
    beside[wants.beside_count++] = (clvi_beside){"labels and ranks", 8};
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++)
        if (c->given[role] && clvi_council_expert_count(c) > 1)
            beside[wants.beside_count++] = (clvi_beside){
                "the experts' outputs", (uint64_t)clvi_council_bank_width(c, role) * 8};
    clv_status status = clvi_council_sparse(c) ? share_memory(c, error) : CLV_OK;
    for (size_t i = 0; i < clvi_council_expert_count(c) && status == CLV_OK; i++)
        status = clvi_member_plan(c, i, &wants, error);
    if (status == CLV_OK && c->fusion.gated)
        status = plan_gate(c, &wants, error);
    if (status == CLV_OK)
        status = plan_head(c, &wants, error);
    clvi_free(beside);
    return status == CLV_OK ? make_buffers(c, error) : status;
}
