/* See member.h. */
#include "mixture/member.h"

/* ---- Building ---- */

/* Adds a form to those that an expert sees. */
static clv_status add_form(clvi_part *p, size_t form, clv_error *error)
{
    for (size_t i = 0; i < p->form_count; i++)
        if (p->forms[i] == form)
            return CLV_OK;
    void *forms = p->forms;
    CLV_TRY(clvi_grow(&forms, &p->form_capacity, p->form_count + 1, sizeof *p->forms, error));
    p->forms = forms;
    p->forms[p->form_count++] = form;
    return CLV_OK;
}

/* What the council needs to know of a mixture as of any expert. */
static clv_status describe_nested(clvi_council *c, size_t index, clv_error *error)
{
    const clvi_council *nested = c->nested[index];
    clvi_part *p = &c->experts[index];
    for (size_t i = 0; i < clvi_council_leaf_count(nested); i++) {
        const clvi_part *leaf = clvi_council_leaf(nested, i);
        p->trainable |= leaf->trainable;
        for (size_t k = 0; k < leaf->form_count; k++)
            CLV_TRY(add_form(p, leaf->forms[k], error));
    }
    if (nested->fusion.feature)
        c->feature_widths[index] = clvi_council_bank_width(nested, CLVI_FEATURES);
    return CLV_OK;
}

static clv_status build_nested(clvi_council *c, size_t index, const clvi_config *config,
                               clv_error *error)
{
    clvi_site site = c->site;
    clvi_part *p = &c->experts[index];
    clv_graph *empty;
    p->section = clvi_config_expert_section(c->site.config, index);
    p->base = (uint32_t)clvi_store_count(site.store);
    CLV_TRY(clvi_graph_create(p->section, &empty, error));
    p->graphs[CLVI_TRAIN] = p->graphs[CLVI_INFER] = empty;
    site.config = config;
    site.keep_features = false;
    site.frozen |= strcmp(clvi_config_text(config, p->section, "trainable"), "none") == 0;
    site.train &= !site.frozen; /* it runs in training as in inference */
    CLV_TRY(clvi_council_create(&site, &c->nested[index], error));
    p->variables = (uint32_t)clvi_store_count(site.store) - p->base;
    return describe_nested(c, index, error);
}

static clv_status build_network(clvi_council *c, size_t index, clv_error *error)
{
    const clvi_site *s = &c->site;
    clv_build_input input = {.classes = s->classes,
                             .experts = 1,
                             .image_height = s->seen.height,
                             .image_width = s->seen.width,
                             .image_channels = s->seen.channels};
    clvi_part *p = &c->experts[index];
    CLV_TRY(clvi_part_build_expert(p, s, index, &input, error));
    const clv_graph *g = p->graphs[CLVI_TRAIN];
    const clv_tensor features = clvi_graph_find_output(g, "features");
    c->feature_widths[index] = features != CLV_NO_TENSOR ? g->tensors[features].shape.dims[1] : 0;
    return CLV_OK;
}

clv_status clvi_member_build(clvi_council *c, size_t index, clv_error *error)
{
    const clvi_config *config = c->site.config, *nested = clvi_config_nested(config, index);
    const char *section = clvi_config_expert_section(config, index);
    CLV_TRY(nested ? build_nested(c, index, nested, error) : build_network(c, index, error));
    if (!c->fusion.feature || c->feature_widths[index] > 0)
        return CLV_OK;
    if (nested)
        return clvi_config_fail(config, "mixture", "fusion", error,
                                "feature needs the features of every expert, which the mixture "
                                "[%s] offers only if it has fusion = feature itself",
                                section);
    return clvi_config_fail(config, "mixture", "fusion", error,
                            "feature needs the features of every expert, which [%s] plugin = %s "
                            "does not offer",
                            section, clvi_config_text(config, section, "plugin"));
}

bool clvi_member_holds(const clvi_council *c, size_t index, size_t segment)
{
    const clvi_part *p = &c->experts[index];
    return segment >= p->base && segment - p->base < p->variables;
}

/* ---- Planning ---- */

clv_status clvi_member_plan(clvi_council *c, size_t index, const clvi_part_wants *base,
                            clv_error *error)
{
    clvi_part *p = &c->experts[index];
    clvi_council *nested = c->nested[index];
    const bool keeps = c->site.train && c->site.keep_features;
    if (nested) {
        memcpy(nested->offered, c->given, sizeof nested->offered);
        return clvi_council_plan(nested, error);
    }
    clvi_part_wants wants = *base;
    clv_tensor outputs[CLVI_EXPERT_ROLES];
    wants.outputs = outputs;
    wants.count = clvi_council_outputs_of(p->graphs[CLVI_TRAIN], clvi_expert_roles, c->given,
                                          CLVI_EXPERT_ROLES, outputs);
    wants.outputs_with_grad = p->trainable ? (1u << wants.count) - 1 : 0;
    if (keeps && !c->keeps_experts)
        CLV_TRY(clvi_part_cut(p, &c->site, &wants, &c->cut_elements, error));
    else if (!c->keeps_experts)
        CLV_TRY(clvi_part_plan(p, &c->site, CLVI_TRAIN, &wants, error));
    return clvi_part_plan(p, &c->site, CLVI_INFER, &wants, error);
}

/* ---- Running ---- */

clv_status clvi_member_forward(clvi_council *c, size_t index, const clvi_part_run *run,
                               clv_error *error)
{
    clvi_part *p = &c->experts[index];
    clvi_council *nested = c->nested[index];
    if (!nested)
        return clvi_part_forward(p, &c->site, run, error);
    clvi_council_run own = {.part = *run};
    own.part.mode = nested->site.train ? run->mode : CLVI_INFER;
    CLV_TRY(clvi_council_forward(nested, &own, error));
    p->ran[run->mode] = nested->head.ran[own.part.mode];
    return CLV_OK;
}

clv_status clvi_member_backward(clvi_council *c, size_t index, int64_t n,
                                const clvi_council_seed *seed, clv_error *error)
{
    if (!c->nested[index])
        return clvi_plan_backward(c->experts[index].ran[CLVI_TRAIN], error);
    /* A term of its gate's counts as much as the samples that reached it. */
    clvi_council_seed own = *seed;
    own.batch *= (double)n / (double)c->run.part.n;
    return clvi_council_backward(c->nested[index], &own, error);
}

clv_status clvi_member_clear(const clvi_council *c, size_t index, clv_error *error)
{
    const clvi_store *store = c->site.store;
    const clvi_part *p = &c->experts[index];
    for (size_t i = p->base; i < p->base + p->variables; i++) {
        const clvi_view to = clvi_store_view(store, i, CLVI_STORE_GRADIENT);
        const size_t bytes = (size_t)clvi_store_segment(store, i)->elements * 4;
        if (to.buf)
            CLV_TRY(clvi_fill(c->site.device, to.buf, to.offset * 4, bytes, 0, error));
    }
    return CLV_OK;
}
