/* See council.h. A step: gate (or after the experts, where it sees their features) → experts →
 * their outputs side by side in banks → head (fusion and losses) → back: head → banks → experts,
 * gate. One expert needs no bank: the head reads what it wrote. */
#include "mixture/member.h"

#include "ops/share.h"

#include <stdio.h>

void clvi_council_destroy(clvi_council *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->nested && i < clvi_council_expert_count(c); i++)
        clvi_council_destroy(c->nested[i]);
    for (size_t i = 0; c->experts && i < clvi_council_expert_count(c); i++)
        clvi_part_fini(&c->experts[i]);
    clvi_part_fini(&c->gate);
    clvi_part_fini(&c->head);
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++)
        clvi_bank_fini(&c->banks[role]);
    clvi_buf_destroy(c->gate_grad);
    clvi_buf_destroy(c->owners);
    clvi_dispatch_destroy(c->dispatch);
    clvi_after_step_destroy(c->after);
    clvi_free(c->seen);
    clvi_free(c->feature_widths);
    clvi_free(c->nested);
    clvi_free(c->experts);
    clvi_free(c);
}

/* ---- Building ---- */

static clv_status build_gate(clvi_council *c, clv_error *error)
{
    const clvi_site *s = &c->site;
    clv_build_input input = {.classes = s->classes,
                             .experts = (int32_t)clvi_council_expert_count(c),
                             .image_height = s->seen.height,
                             .image_width = s->seen.width,
                             .image_channels = s->seen.channels,
                             .features = (int32_t)clvi_council_bank_width(c, CLVI_FEATURES)};
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        input.features = c->feature_widths[i] > 0 ? input.features : 0;
    CLV_TRY(clvi_part_build_gate(&c->gate, s, &input, error));
    c->gate_features =
        clvi_graph_find_input(c->gate.graphs[CLVI_TRAIN], "features") != CLV_NO_TENSOR;
    return CLV_OK;
}

static bool gate_gives(const clvi_council *c, int role)
{
    return clvi_graph_find_output(c->gate.graphs[CLVI_TRAIN], clvi_gate_roles[role]) !=
           CLV_NO_TENSOR;
}

static clv_status check(clvi_council *c, clv_error *error)
{
    clvi_fusion_facts facts = {.train = c->site.train,
                               .trainable = c->head.trainable || clvi_council_trainable(c)};
    if (c->fusion.gated) {
        const clv_graph *g = c->gate.graphs[CLVI_TRAIN];
        facts.trainable |= c->gate.trainable;
        facts.gate_trainable = c->gate.trainable;
        facts.gate_variables = g->variable_count > 0;
        facts.gate_logits = gate_gives(c, CLVI_GATE_LOGITS);
        facts.load_prob = gate_gives(c, CLVI_LOAD_PROB);
        facts.sparse = g->route.sparse != 0;
        facts.sums_to_one = g->route.sums_to_one != 0;
        facts.all_or_nothing =
            facts.sums_to_one || c->gate.graphs[CLVI_INFER]->route.sums_to_one != 0;
        facts.max_per_sample = g->route.max_per_sample;
    }
    return clvi_fusion_check(c->site.config, &facts, &c->fusion, error);
}

static clv_status build_head(clvi_council *c, clv_error *error)
{
    const clvi_head_desc desc = clvi_council_head_desc(c);
    clv_graph *graph;
    CLV_TRY(clvi_head_build(&desc, &graph, error));
    CLV_TRY(clvi_part_adopt(&c->head, &c->site, c->head_section, graph, error));
    CLV_TRY(check(c, error));
    CLV_TRY(clvi_head_add_terms(&desc, graph, error));
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++)
        c->used[role] = clvi_graph_find_input(graph, clvi_expert_roles[role]) != CLV_NO_TENSOR;
    c->used[CLVI_FEATURES] |= c->gate_features;
    memcpy(c->given, c->used, sizeof c->given);
    return CLV_OK;
}

static clv_status build(clvi_council *c, clv_error *error)
{
    const char *scope = clvi_config_scope(c->site.config);
    snprintf(c->head_section, sizeof c->head_section, "head%s%s", scope[0] ? "." : "", scope);
    CLV_TRY(clvi_fusion_read(c->site.config, &c->fusion, error));
    c->experts = clvi_calloc(clvi_council_expert_count(c), sizeof *c->experts);
    c->nested = clvi_calloc(clvi_council_expert_count(c), sizeof *c->nested);
    c->feature_widths = clvi_calloc(clvi_council_expert_count(c), sizeof *c->feature_widths);
    c->seen = clvi_calloc(clvi_council_expert_count(c), sizeof *c->seen);
    if (!c->experts || !c->nested || !c->feature_widths || !c->seen)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu experts", clvi_council_expert_count(c));
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        CLV_TRY(clvi_member_build(c, i, error));
    if (c->fusion.gated)
        CLV_TRY(build_gate(c, error));
    return build_head(c, error);
}

clv_status clvi_council_create(const clvi_site *site, clvi_council **out, clv_error *error)
{
    clvi_council *c = clvi_calloc(1, sizeof *c);
    if (!c)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mixture");
    c->site = *site;
    const clv_status status = build(c, error);
    if (status != CLV_OK) {
        clvi_council_destroy(c);
        return status;
    }
    *out = c;
    return CLV_OK;
}

/* ---- Forward ---- */

/* The samples that an expert runs. */
static clvi_bank_rows rows_of(const clvi_council *c, size_t index)
{
    if (c->dispatch)
        return clvi_dispatch_rows(c->dispatch, index);
    return (clvi_bank_rows){c->run.part.n, {NULL, 0}};
}

clv_status clvi_council_bank(const clvi_council *c, size_t index, int mode, clvi_bank_rows rows,
                             clv_error *error)
{
    const clvi_plan *plan = c->experts[index].ran[mode];
    for (int role = 0; role < CLVI_EXPERT_ROLES && clvi_council_expert_count(c) > 1; role++)
        if (c->given[role])
            CLV_TRY(
                clvi_bank_put(&c->banks[role], clvi_council_bank_part(c, role, index),
                              clvi_plan_output(plan, clvi_council_place_of(c->given, role), rows.n),
                              rows, error));
    return CLV_OK;
}

void clvi_council_head_input(const clvi_council *c, const clvi_council_run *run, const char *role,
                             clvi_view *values, clvi_view *grad)
{
    const bool train = run->part.mode == CLVI_TRAIN;
    bool used[CLVI_GATE_ROLES];
    *values = *grad = (clvi_view){NULL, 0};
    for (int k = 0; k < CLVI_EXPERT_ROLES; k++) {
        if (strcmp(role, clvi_expert_roles[k]) != 0)
            continue;
        const clvi_plan *only = c->experts[0].ran[run->part.mode];
        const size_t place = clvi_council_place_of(c->used, k);
        const bool one = clvi_council_expert_count(c) == 1;
        *values =
            one ? clvi_plan_output(only, place, run->part.n) : (clvi_view){c->banks[k].values, 0};
        if (train)
            *grad =
                one ? clvi_plan_grad(only, place, run->part.n) : (clvi_view){c->banks[k].grads, 0};
        return;
    }
    if (c->fusion.gated)
        clvi_council_gate_uses(c, run->part.mode, used);
    for (int k = 0; k < CLVI_GATE_ROLES && c->fusion.gated; k++) {
        if (strcmp(role, clvi_gate_roles[k]) != 0 || !used[k])
            continue;
        *values = clvi_plan_output(c->gate.plans[run->part.mode], clvi_council_place_of(used, k),
                                   run->part.n);
        if (train)
            *grad = clvi_plan_grad(c->gate.plans[run->part.mode], clvi_council_place_of(used, k),
                                   run->part.n);
        return;
    }
    if (strcmp(role, "labels") == 0)
        *values = run->labels;
    else if (strcmp(role, "owner") == 0)
        *values = (clvi_view){c->owners, 0};
}

static clv_status forward_head(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    const clv_graph *g = c->head.graphs[run->part.mode];
    for (size_t i = 0; i < g->input_count; i++) {
        clvi_view values, grad;
        clvi_council_head_input(c, run, g->inputs[i].desc.role, &values, &grad);
        clvi_plan_bind(c->head.plans[run->part.mode], i, values, grad);
    }
    return clvi_part_forward(&c->head, &c->site, &run->part, error);
}

/* What the gate sums over the step, of this batch. */
static clv_status sum_step(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    const clvi_plan *plan = c->gate.plans[CLVI_TRAIN];
    clvi_view sources[CLVI_MAX_STEP_SUMS];
    bool used[CLVI_GATE_ROLES];
    clvi_council_gate_uses(c, CLVI_TRAIN, used);
    const size_t first = clvi_council_place_of(used, CLVI_GATE_ROLES);
    for (size_t i = 0; i < c->gate.graphs[CLVI_TRAIN]->step_sum_count; i++)
        sources[i] = clvi_plan_output(plan, first + i, run->part.n);
    return clvi_after_step_add(c->after, sources, run->part.n, error);
}

static clv_status forward_gate(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    const int features = clvi_council_input_of(c->gate.graphs[run->part.mode], "features");
    if (features >= 0)
        clvi_plan_bind(c->gate.plans[run->part.mode], (size_t)features,
                       (clvi_view){c->banks[CLVI_FEATURES].values, 0},
                       (clvi_view){c->gate_grad, 0});
    CLV_TRY(clvi_part_forward(&c->gate, &c->site, &run->part, error));
    return run->part.mode == CLVI_TRAIN && c->after ? sum_step(c, run, error) : CLV_OK;
}

/* In inference a sample that no expert is named for goes to its best one. */
static clv_status complete_route(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    bool used[CLVI_GATE_ROLES];
    clvi_view logits = {NULL, 0};
    if (!c->dispatch || run->part.mode != CLVI_INFER)
        return CLV_OK;
    clvi_council_gate_uses(c, CLVI_INFER, used);
    if (used[CLVI_GATE_LOGITS])
        logits = clvi_plan_output(c->gate.plans[CLVI_INFER],
                                  clvi_council_place_of(used, CLVI_GATE_LOGITS), run->part.n);
    return clvi_dispatch_complete(c->dispatch, clvi_council_route(c), logits, run->part.n, error);
}

/* Sends each sample to the experts that its weights name. */
static clv_status route_samples(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    /* What experts do not answer is read as 0. */
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++)
        if (c->used[role])
            CLV_TRY(clvi_fill(c->site.device, c->banks[role].values, 0,
                              (size_t)(c->banks[role].width * run->part.n) * 4, 0, error));
    return clvi_dispatch_route(c->dispatch, c->experts, clvi_council_route(c), &run->part, error);
}

static clv_status forward_expert(clvi_council *c, size_t index, const clvi_council_run *run,
                                 clv_error *error)
{
    clvi_part *p = &c->experts[index];
    clvi_part_run own = run->part;
    p->ran[own.mode] = NULL;
    if (c->dispatch && clvi_dispatch_count(c->dispatch, index) == 0)
        return CLV_OK;
    if (c->dispatch)
        CLV_TRY(clvi_dispatch_feed(c->dispatch, c->experts, index, &own, error));
    c->seen[index] |= own.mode == CLVI_TRAIN;
    CLV_TRY(clvi_member_forward(c, index, &own, error));
    return clvi_council_bank(c, index, own.mode, rows_of(c, index), error);
}

static clv_status forward_experts(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    CLV_TRY(complete_route(c, run, error));
    if (c->keeps_experts && run->part.features) {
        clvi_council_pass_experts(c, run);
        return CLV_OK;
    }
    if (c->dispatch)
        CLV_TRY(route_samples(c, run, error));
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        CLV_TRY(forward_expert(c, i, run, error));
    return CLV_OK;
}

clv_status clvi_council_forward(clvi_council *c, const clvi_council_run *run, clv_error *error)
{
    c->run = *run;
    c->asked_all = !c->dispatch;
    if (c->fusion.gated && !c->gate_features)
        CLV_TRY(forward_gate(c, run, error));
    CLV_TRY(forward_experts(c, run, error));
    if (c->gate_features)
        CLV_TRY(forward_gate(c, run, error));
    return forward_head(c, run, error);
}

clv_status clvi_council_reroute(clvi_council *c, const float *route, clv_error *error)
{
    const clvi_view to = clvi_council_route(c);
    const size_t bytes = (size_t)c->run.part.n * clvi_council_expert_count(c) * sizeof *route;
    CLV_ASSERT(c->fusion.gated && c->run.part.mode == CLVI_INFER);
    CLV_TRY(clvi_upload(c->site.device, to.buf, to.offset * 4, route, bytes, error));
    if (!c->asked_all) /* others may be asked now */
        CLV_TRY(forward_experts(c, &c->run, error));
    bool all = true;
    for (size_t i = 0; i < bytes / sizeof *route; i++)
        all = all && route[i] != 0;
    c->asked_all = c->asked_all || all;
    return forward_head(c, &c->run, error);
}

bool clvi_council_experts_answer(const clvi_council *c)
{
    return clvi_fusion_experts_answer(&c->fusion) && c->used[CLVI_LOGITS];
}

/* ---- Kernels ---- */

/* Runs an expert with the first n samples, and its backward with gradients of 0. */
static clv_status warm_expert(clvi_council *c, size_t index, const clvi_part_run *run,
                              clv_error *error)
{
    const clvi_part *p = &c->experts[index];
    const clvi_council_seed nothing = {0};
    clvi_plan *const plans[] = {p->plans[CLVI_TRAIN], p->later};
    for (int k = 0; k < 2; k++)
        if (plans[k])
            clvi_plan_place(plans[k], 0);
    CLV_TRY(clvi_member_forward(c, index, run, error));
    if (run->mode == CLVI_INFER || !p->trainable)
        return CLV_OK;
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++) {
        if (!c->used[role])
            continue;
        const clvi_view grad =
            clvi_plan_grad(p->ran[CLVI_TRAIN], clvi_council_place_of(c->used, role), run->n);
        const int64_t width = clvi_council_bank_part(c, role, index).width;
        if (!grad.buf)
            continue;
        CLV_TRY(clvi_fill(c->site.device, grad.buf, grad.offset * 4, (size_t)(width * run->n) * 4,
                          0, error));
    }
    c->run.part = *run;
    return clvi_member_backward(c, index, run->n, &nothing, error);
}

void clvi_council_expect(const clvi_council *c)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        const clvi_part *p = &c->experts[i];
        const clvi_plan *first = p->plans[CLVI_TRAIN] ? p->plans[CLVI_TRAIN] : p->plans[CLVI_INFER];
        if (first && !p->shares_slabs)
            clvi_plan_expect(first);
        if (c->nested[i])
            clvi_council_expect(c->nested[i]);
    }
}

clv_status clvi_council_warm(clvi_council *c, const clvi_part_run *run, clv_error *error)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        if (c->dispatch)
            CLV_TRY(warm_expert(c, i, run, error));
        if (!c->nested[i])
            continue;
        clvi_part_run own = *run;
        own.mode = c->nested[i]->site.train ? run->mode : CLVI_INFER;
        CLV_TRY(clvi_council_warm(c->nested[i], &own, error));
    }
    return CLV_OK;
}

/* ---- Backward ---- */

/* The gradient of each sample's loss: share, times the weight of its class. */
static clv_status seed_samples(const clvi_council *c, clvi_view to, double share,
                               const clvi_council_seed *seed, clv_error *error)
{
    const float each = (float)share;
    const int64_t n = c->run.part.n;
    if (!seed->class_weights) {
        uint32_t pattern;
        memcpy(&pattern, &each, sizeof pattern);
        return clvi_fill(c->site.device, to.buf, to.offset * 4, (size_t)n * 4, pattern, error);
    }
    const clvi_share items = clvi_share_of(n, 2, 1);
    clvi_launch l;
    clvi_launch_begin(&l, c->site.device, "loss", "loss_seed", "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, c->run.labels);
    clvi_arg_view(&l, (clvi_view){seed->class_weights, 0});
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)c->site.classes);
    clvi_arg_float(&l, each);
    clvi_arg_int(&l, items.items);
    return clvi_launch_run(&l, items.groups, 1, 1, error);
}

static clv_status seed_terms(const clvi_council *c, const clvi_council_seed *seed, clv_error *error)
{
    for (size_t i = 0; i < c->fusion.term_count; i++) {
        const clvi_term *term = &c->fusion.terms[i];
        const clvi_view to =
            clvi_plan_grad(c->head.plans[CLVI_TRAIN], clvi_council_offers(c) + i, c->run.part.n);
        if (term->spec->kind != CLVI_TERM_BALANCE) {
            CLV_TRY(seed_samples(c, to, term->weight * seed->share, seed, error));
            if (c->dispatch)
                CLV_TRY(clvi_dispatch_mask(c->dispatch, to, error));
            continue;
        }
        const float whole = (float)(term->weight * seed->batch);
        uint32_t pattern;
        memcpy(&pattern, &whole, sizeof pattern);
        CLV_TRY(clvi_fill(c->site.device, to.buf, to.offset * 4, 4, pattern, error));
    }
    return CLV_OK;
}

static clv_status backward_expert(clvi_council *c, size_t index, const clvi_council_seed *seed,
                                  clv_error *error)
{
    const clvi_part *p = &c->experts[index];
    const clvi_bank_rows rows = rows_of(c, index);
    const clvi_plan *plan = p->ran[CLVI_TRAIN];
    clvi_view before = {NULL, 0};
    if (!p->trainable)
        return CLV_OK;
    if (!plan) /* it got no sample */
        return clvi_member_clear(c, index, error);
    for (int role = 0; role < CLVI_EXPERT_ROLES && clvi_council_expert_count(c) > 1; role++) {
        if (!c->used[role])
            continue;
        const clvi_view to = clvi_plan_grad(plan, clvi_council_place_of(c->used, role), rows.n);
        if (!to.buf)
            continue; /* a mixture hands on what frozen experts gave */
        /* Features and logits may be one tensor. */
        const bool same = before.buf == to.buf && before.offset == to.offset;
        CLV_TRY(clvi_bank_take(&c->banks[role], clvi_council_bank_part(c, role, index), to, rows,
                               same, error));
        before = to;
    }
    return clvi_member_backward(c, index, rows.n, seed, error);
}

/* A gate that sees the experts' features sends them a gradient, besides the head's. */
static clv_status backward_gate(clvi_council *c, clv_error *error)
{
    const bool head = clvi_council_input_of(c->head.graphs[CLVI_TRAIN], "features") >= 0;
    const clvi_view total = {c->banks[CLVI_FEATURES].grads, 0}, part = {c->gate_grad, 0};
    const int64_t elements = c->banks[CLVI_FEATURES].width * c->run.part.n;
    CLV_TRY(clvi_plan_backward(c->gate.plans[CLVI_TRAIN], error));
    if (!c->gate_grad)
        return CLV_OK;
    if (head)
        return clvi_add_into(c->site.device, total, part, elements, error);
    return clvi_copy(c->site.device, part.buf, 0, total.buf, 0, (size_t)elements * 4, error);
}

clv_status clvi_council_backward(clvi_council *c, const clvi_council_seed *seed, clv_error *error)
{
    if (c->fusion.term_count == 0 && !clvi_council_is_nested(c))
        return CLV_OK;
    CLV_TRY(seed_terms(c, seed, error));
    CLV_TRY(clvi_plan_backward(c->head.plans[CLVI_TRAIN], error));
    if (clvi_council_gate_taught(c))
        CLV_TRY(backward_gate(c, error));
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        CLV_TRY(backward_expert(c, i, seed, error));
    return CLV_OK;
}

/* ---- Results ---- */

static clvi_view head_output(const clvi_council *c, size_t index)
{
    const size_t first = c->run.part.mode == CLVI_TRAIN ? c->fusion.term_count : 0;
    return clvi_plan_output(c->head.plans[c->run.part.mode], first + index, c->run.part.n);
}

clvi_view clvi_council_prediction(const clvi_council *c)
{
    return head_output(c, 0);
}

clvi_view clvi_council_nll(const clvi_council *c)
{
    return head_output(c, 1);
}

clvi_view clvi_council_route(const clvi_council *c)
{
    if (!c->fusion.gated)
        return (clvi_view){NULL, 0};
    return clvi_plan_output(c->gate.plans[c->run.part.mode], 0, c->run.part.n);
}

void clvi_council_taken(const clvi_council *c, clvi_view *route, clvi_view *wanted)
{
    bool used[CLVI_GATE_ROLES];
    *route = *wanted = (clvi_view){NULL, 0};
    if (c->run.part.mode != CLVI_TRAIN || !c->dispatch)
        return;
    *route = clvi_council_route(c);
    clvi_council_gate_uses(c, CLVI_TRAIN, used);
    if (used[CLVI_WANTED])
        *wanted = clvi_plan_output(c->gate.plans[CLVI_TRAIN],
                                   clvi_council_place_of(used, CLVI_WANTED), c->run.part.n);
}

bool clvi_council_has_expert_logits(const clvi_council *c)
{
    return c->used[CLVI_LOGITS];
}

clvi_view clvi_council_expert_logits(const clvi_council *c)
{
    if (clvi_council_expert_count(c) > 1)
        return (clvi_view){c->banks[CLVI_LOGITS].values, 0};
    return clvi_plan_output(c->experts[0].ran[c->run.part.mode],
                            clvi_council_place_of(c->used, CLVI_LOGITS), c->run.part.n);
}

/* ---- Facts ---- */

bool clvi_council_trains(const clvi_council *c, size_t segment, uint32_t epoch)
{
    if (!clvi_store_segment(c->site.store, segment)->trainable)
        return false;
    for (size_t i = 0; i < clvi_council_leaf_count(c); i++) {
        const clvi_part *p = clvi_council_leaf(c, i);
        if (segment >= p->base && segment - p->base < p->variables)
            return clvi_part_trains(p, segment - p->base, epoch);
    }
    return true;
}

clv_status clvi_council_begin_step(clvi_council *c, clv_error *error)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        c->seen[i] = false;
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        if (c->nested[i])
            CLV_TRY(clvi_council_begin_step(c->nested[i], error));
    return c->after ? clvi_after_step_begin(c->after, error) : CLV_OK;
}

clv_status clvi_council_end_step(clvi_council *c, clv_error *error)
{
    /* What got no sample has nothing to change its states by. */
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        if (c->nested[i] && (!c->dispatch || c->seen[i]))
            CLV_TRY(clvi_council_end_step(c->nested[i], error));
    return c->after ? clvi_after_step_run(c->after, error) : CLV_OK;
}

bool clvi_council_steps(const clvi_council *c, size_t segment)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        if (!clvi_member_holds(c, i, segment))
            continue;
        if (c->dispatch && !c->seen[i])
            return false;
        return !c->nested[i] || clvi_council_steps(c->nested[i], segment);
    }
    return true;
}

size_t clvi_council_expert_count(const clvi_council *c)
{
    return c->fusion.experts;
}

bool clvi_council_gated(const clvi_council *c)
{
    return c->fusion.gated;
}

size_t clvi_council_part_count(const clvi_council *c)
{
    return clvi_council_expert_count(c) + c->fusion.gated + 1;
}

const clvi_part *clvi_council_part(const clvi_council *c, size_t index)
{
    if (index < clvi_council_expert_count(c))
        return &c->experts[index];
    return c->fusion.gated && index == clvi_council_expert_count(c) ? &c->gate : &c->head;
}

size_t clvi_council_leaf_count(const clvi_council *c)
{
    size_t count = clvi_council_part_count(c);
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        count += c->nested[i] ? clvi_council_leaf_count(c->nested[i]) - 1 : 0;
    return count;
}

const clvi_part *clvi_council_leaf(const clvi_council *c, size_t index)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        const size_t inside = c->nested[i] ? clvi_council_leaf_count(c->nested[i]) : 1;
        if (index < inside)
            return c->nested[i] ? clvi_council_leaf(c->nested[i], index) : &c->experts[i];
        index -= inside;
    }
    return clvi_council_part(c, clvi_council_expert_count(c) + index);
}

const clvi_council *clvi_council_nested(const clvi_council *c, size_t expert)
{
    return c->nested[expert];
}

uint64_t clvi_council_bytes(const clvi_council *c)
{
    uint64_t sum = (c->dispatch ? clvi_dispatch_bytes(c->dispatch) : 0) +
                   (c->after ? clvi_after_step_bytes(c->after) : 0) +
                   (c->owners ? clvi_buf_bytes(c->owners) : 0) +
                   (c->gate_grad ? clvi_buf_bytes(c->gate_grad) : 0);
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++)
        sum += clvi_bank_bytes(&c->banks[role]);
    for (size_t i = 0; i < clvi_council_part_count(c); i++)
        sum += clvi_part_bytes(clvi_council_part(c, i));
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        sum += c->nested[i] ? clvi_council_bytes(c->nested[i]) : 0;
    return sum;
}

/* ---- Looking for numbers that are not finite ---- */

clv_status clvi_council_watch(clvi_council *c, clv_error *error)
{
    for (int mode = CLVI_TRAIN; mode < CLVI_MODES; mode++)
        for (size_t i = 0; i < clvi_council_leaf_count(c); i++)
            CLV_TRY(clvi_part_watch(clvi_council_leaf(c, i), mode, error));
    return CLV_OK;
}

clv_status clvi_council_watched(const clvi_council *c, bool train, const char **graph,
                                clvi_finding *out, clv_error *error)
{
    /* In the order of a step: gate, experts, head; backward head, experts, gate. A gate that sees
     * the experts' features stands between them and the head. */
    const int mode = train ? CLVI_TRAIN : CLVI_INFER;
    const size_t experts = clvi_council_expert_count(c), gated = c->fusion.gated;
    const size_t first = c->gate_features ? 0 : experts;
    const clvi_part *last = NULL;
    clvi_finding found = {0};
    const char *where = c->head.graphs[mode]->label;
    for (size_t i = 0; i < clvi_council_part_count(c); i++) {
        const size_t index = i == experts + gated ? i : (i + first) % (experts + gated);
        const clvi_part *p = clvi_council_part(c, index);
        const clvi_council *nested = index < experts ? c->nested[index] : NULL;
        const char *label = p->graphs[mode]->label;
        clvi_finding now;
        if (!p->ran[mode])
            continue; /* it got no sample */
        if (nested)
            CLV_TRY(clvi_council_watched(nested, train && nested->site.train, &label, &now, error));
        else
            CLV_TRY(clvi_plan_watched(p->ran[mode], &now, error));
        const bool expert = p != &c->head && p != &c->gate, other = last && last != &c->gate;
        if (now.found && (!now.backward || !expert || !other)) {
            found = now;
            last = p;
            where = label;
        }
        if (now.found && !now.backward)
            break;
    }
    *graph = where;
    *out = found;
    return CLV_OK;
}
