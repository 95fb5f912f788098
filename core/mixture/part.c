/* See part.h. */
#include "mixture/part.h"

#include "graph/finite.h"
#include "mixture/expert.h"

#include <stdio.h>

void clvi_part_fini(clvi_part *p)
{
    clvi_plan_destroy(p->plans[CLVI_TRAIN]);
    clvi_plan_destroy(p->plans[CLVI_INFER]);
    clvi_plan_destroy(p->later);
    clvi_frozen_destroy(p->frozen);
    if (!p->shares_slabs)
        clvi_slabs_destroy(p->slabs);
    clvi_trainable_destroy(p->trains);
    if (p->graphs[CLVI_INFER] != p->graphs[CLVI_TRAIN])
        clvi_graph_destroy(p->graphs[CLVI_INFER]);
    clvi_graph_destroy(p->graphs[CLVI_TRAIN]);
    clvi_options_destroy(p->options);
    clvi_free(p->forms);
    clvi_free(p->preprocessing);
}

/* ---- Building ---- */

/* Of a mixture that is frozen as a whole. */
static clvi_trains never(void *user, const char *name)
{
    (void)user, (void)name;
    return CLVI_TRAINS_NEVER;
}

/* Enters the graph's variables into the store, and what follows from them. */
static clv_status add_variables(clvi_part *p, const clvi_site *site, clv_error *error)
{
    char prefix[256];
    snprintf(prefix, sizeof prefix, "%s.", p->section);
    CLV_TRY(clvi_store_add(site->store, p->graphs[CLVI_TRAIN], prefix,
                           site->frozen ? never
                           : p->trains  ? clvi_trainable_of
                                        : NULL,
                           p->trains, &p->base, error));
    p->variables = (uint32_t)p->graphs[CLVI_TRAIN]->variable_count;
    for (size_t v = 0; v < p->variables; v++)
        p->trainable |= clvi_store_segment(site->store, p->base + v)->trainable;
    snprintf(prefix, sizeof prefix, "dropout/%s", p->section);
    int64_t seed = clvi_config_seed(site->config, p->trains ? p->section : NULL);
    if (seed >= 0)
        clvi_store_seed(site->store, p->base, p->variables, (uint64_t)seed);
    else
        seed = clvi_config_int(site->config, "run", "seed");
    p->dropout = clvi_philox_stream((uint64_t)seed, prefix);
    return CLV_OK;
}

/* Both graphs of a gate live on the same variables. */
static clv_status check_modes(const clvi_part *p, const char *path, clv_error *error)
{
    const clv_graph *a = p->graphs[CLVI_TRAIN], *b = p->graphs[CLVI_INFER];
    bool same = a->variable_count == b->variable_count;
    for (size_t v = 0; same && v < a->variable_count; v++)
        same = strcmp(a->variables[v].name, b->variables[v].name) == 0 &&
               a->variables[v].elements == b->variables[v].elements &&
               a->variables[v].is_state == b->variables[v].is_state;
    if (!same)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: (%s): the variables that build declares for inference are not those for "
                 "training",
                 path, p->section);
    if (a->route.sparse != b->route.sparse)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: (%s): the route is sparse in one mode and dense in the other", path,
                 p->section);
    return CLV_OK;
}

static clv_status use_form(clvi_part *p, const clvi_site *site, const clvi_input_form *form,
                           clv_error *error)
{
    CLV_TRY(clvi_forms_describe(site->forms, form, &p->preprocessing, error));
    p->forms = clvi_malloc(sizeof *p->forms);
    if (!p->forms)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the input of %s", p->section);
    p->form_count = p->form_capacity = 1;
    return clvi_forms_find(site->forms, form, p->forms, error);
}

clv_status clvi_part_build_expert(clvi_part *p, const clvi_site *site, size_t index,
                                  clv_build_input *input, clv_error *error)
{
    clvi_expert expert;
    input->struct_size = sizeof *input;
    input->mode = site->train ? CLV_MODE_TRAIN : CLV_MODE_INFER;
    CLV_TRY(clvi_expert_build(site->config, site->plugins,
                              clvi_config_expert_section(site->config, index), input, &expert,
                              error));
    p->section = expert.section;
    p->plugin_path = expert.plugin_path;
    p->options = expert.options;
    p->graphs[CLVI_TRAIN] = p->graphs[CLVI_INFER] = expert.graph;
    CLV_TRY(clvi_trainable_create(site->config, p->section, expert.graph, &p->trains, error));
    CLV_TRY(add_variables(p, site, error));
    return use_form(p, site, &expert.form, error);
}

/* Builds for inference, too, where the site trains. */
static clv_status build_gate(clvi_part *p, const clvi_site *site, const clvi_plugin *plugin,
                             clv_build_input *input, clv_error *error)
{
    input->struct_size = sizeof *input;
    input->mode = CLV_MODE_INFER;
    clv_graph *graph = NULL;
    CLV_TRY(clvi_plugin_build(plugin, p->options, input, p->section, &graph, error));
    p->graphs[CLVI_TRAIN] = p->graphs[CLVI_INFER] = graph;
    if (!site->train)
        return CLV_OK;
    input->mode = CLV_MODE_TRAIN;
    CLV_TRY(clvi_plugin_build(plugin, p->options, input, p->section, &graph, error));
    p->graphs[CLVI_TRAIN] = graph;
    return check_modes(p, plugin->path, error);
}

clv_status clvi_part_build_gate(clvi_part *p, const clvi_site *site, clv_build_input *input,
                                clv_error *error)
{
    const clvi_plugin *plugin;
    size_t count;
    p->section = clvi_config_section(site->config, "gate");
    const clvi_raw_option *raw = clvi_config_options(site->config, p->section, &count);
    const clv_status status =
        clvi_plugins_find(site->plugins, CLV_KIND_GATE,
                          clvi_config_text(site->config, p->section, "plugin"), &plugin, error);
    if (status != CLV_OK) {
        clvi_prepend(error, "%s: [%s] plugin",
                     clvi_config_origin(site->config, p->section, "plugin"), p->section);
        return status;
    }
    CLV_TRY(clvi_options_create(plugin->table, p->section, raw, count, &p->options, error));
    const clv_status built = build_gate(p, site, plugin, input, error);
    if (built == CLV_E_CONFIG) /* what it says is about its options */
        clvi_prepend(error, "%s: [gate]", clvi_config_origin(site->config, p->section, "plugin"));
    CLV_TRY(built);
    CLV_TRY(add_variables(p, site, error));
    const clv_graph *g = p->graphs[CLVI_TRAIN];
    const clv_tensor image = clvi_graph_find_input(g, "image");
    for (size_t i = 0; i < g->input_count; i++) {
        const clvi_input_form form = clvi_input_form_of_plugin(&g->inputs[i].desc);
        if (g->inputs[i].tensor == image)
            return use_form(p, site, &form, error);
    }
    return CLV_OK;
}

clv_status clvi_part_adopt(clvi_part *p, const clvi_site *site, const char *section,
                           clv_graph *graph, clv_error *error)
{
    p->section = section;
    p->graphs[CLVI_TRAIN] = p->graphs[CLVI_INFER] = graph;
    return add_variables(p, site, error);
}

/* ---- Planning and running ---- */

/* What a plan is made from; stage: of the part's clvi_trainable. */
static clvi_plan_desc describe_plan(const clvi_part *p, const clvi_site *site, int mode, int stage,
                                    const clvi_part_wants *wants)
{
    const bool train = mode == CLVI_TRAIN, parts = train && p->trains;
    return (clvi_plan_desc){.graph = p->graphs[train ? CLVI_TRAIN : CLVI_INFER],
                            .store = site->store,
                            .base = p->base,
                            .slabs = p->slabs,
                            .mode = train ? CLV_MODE_TRAIN : CLV_MODE_INFER,
                            .max_batch = site->max_batch,
                            .outputs = wants->outputs,
                            .output_count = wants->count,
                            .outputs_with_grad = train ? wants->outputs_with_grad : 0,
                            .inputs_with_grad = train ? wants->inputs_with_grad : 0,
                            .trains = parts ? clvi_trainable_variables(p->trains, stage) : NULL,
                            .node_modes = parts ? clvi_trainable_modes(p->trains, stage) : NULL,
                            .pauses = train && p->shares_slabs,
                            .beside = wants->beside,
                            .beside_count = wants->beside_count};
}

clv_status clvi_part_plan(clvi_part *p, const clvi_site *site, int mode,
                          const clvi_part_wants *wants, clv_error *error)
{
    if (mode == CLVI_TRAIN && !site->train)
        return CLV_OK;
    if (!p->slabs)
        CLV_TRY(clvi_slabs_create(site->device, &p->slabs, error));
    const clvi_plan_desc first = describe_plan(p, site, mode, 0, wants);
    CLV_TRY(clvi_plan_create(&first, &p->plans[mode], error));
    if (mode == CLVI_INFER || !p->trains || clvi_trainable_stages(p->trains) == 1)
        return CLV_OK;
    const clvi_plan_desc second = describe_plan(p, site, mode, 1, wants);
    return clvi_plan_create(&second, &p->later, error);
}

clv_status clvi_part_cut(clvi_part *p, const clvi_site *site, const clvi_part_wants *wants,
                         int64_t *elements, clv_error *error)
{
    clv_tensor cut;
    CLV_TRY(clvi_trainable_cut(p->trains, &cut, error));
    if (!p->slabs)
        CLV_TRY(clvi_slabs_create(site->device, &p->slabs, error));
    const clvi_plan_desc train = describe_plan(p, site, CLVI_TRAIN, 0, wants);
    const clvi_plan_desc infer = describe_plan(p, site, CLVI_INFER, 0, wants);
    CLV_TRY(clvi_frozen_create(&train, &infer, cut, &p->frozen, error));
    *elements = clvi_frozen_elements(p->graphs[CLVI_TRAIN], cut);
    return CLV_OK;
}

/* The plan that runs. */
static clvi_plan *plan_of(const clvi_part *p, const clvi_part_run *run)
{
    if (run->features && p->frozen)
        return clvi_frozen_plan(p->frozen,
                                run->mode == CLVI_TRAIN ? CLV_MODE_TRAIN : CLV_MODE_INFER);
    return run->mode == CLVI_TRAIN && p->later && clvi_trainable_stage(p->trains, run->epoch) > 0
               ? p->later
               : p->plans[run->mode];
}

bool clvi_part_trains(const clvi_part *p, size_t index, uint32_t epoch)
{
    return !p->trains ||
           clvi_trainable_variables(p->trains, clvi_trainable_stage(p->trains, epoch))[index];
}

clvi_view clvi_part_image(const clvi_site *site, const clvi_part_run *run, size_t form)
{
    return run->images ? run->images[form] : clvi_forms_view(site->forms, form);
}

void clvi_part_bind_image(const clvi_part *p, const clvi_site *site, const clvi_part_run *run,
                          clvi_plan *plan)
{
    const clv_graph *g = p->graphs[run->mode];
    const clv_tensor image = clvi_graph_find_input(g, "image");
    for (size_t i = 0; i < g->input_count; i++)
        if (g->inputs[i].tensor == image)
            clvi_plan_bind(plan, i, clvi_part_image(site, run, p->forms[0]), (clvi_view){NULL, 0});
}

clv_status clvi_part_forward(clvi_part *p, const clvi_site *site, const clvi_part_run *run,
                             clv_error *error)
{
    const clvi_run_random random = {.key = {p->dropout.k[0], p->dropout.k[1]},
                                    .epoch = run->epoch,
                                    .ids = run->ids.buf ? run->ids : clvi_forms_ids(site->forms)};
    clvi_plan *plan = p->ran[run->mode] = plan_of(p, run);
    clvi_part_bind_image(p, site, run, plan);
    return clvi_plan_forward(plan, run->n, &random, error);
}

clv_status clvi_part_watch(const clvi_part *p, int mode, clv_error *error)
{
    const clv_mode of = mode == CLVI_TRAIN ? CLV_MODE_TRAIN : CLV_MODE_INFER;
    clvi_plan *const plans[] = {p->plans[mode], mode == CLVI_TRAIN ? p->later : NULL,
                                p->frozen ? clvi_frozen_plan(p->frozen, of) : NULL};
    for (size_t k = 0; k < sizeof plans / sizeof *plans; k++)
        if (plans[k])
            CLV_TRY(clvi_plan_watch(plans[k], error));
    return CLV_OK;
}

uint64_t clvi_part_bytes(const clvi_part *p)
{
    uint64_t sum = p->slabs && !p->shares_slabs ? clvi_slabs_bytes(p->slabs) : 0;
    for (int mode = CLVI_TRAIN; mode < CLVI_MODES; mode++)
        sum += p->plans[mode] ? clvi_plan_own_bytes(p->plans[mode]) : 0;
    sum += p->later ? clvi_plan_own_bytes(p->later) : 0;
    return sum + (p->frozen ? clvi_frozen_bytes(p->frozen) : 0);
}
