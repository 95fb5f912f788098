/* Letting a plugin build its graph, and holding it to what its kind must offer. */
#include "graph/graph.h"
#include "plugin/loader.h"

/* [N, width] of floats; width 0: any. */
static clv_status check_output(const clv_graph *graph, const char *role, int64_t width,
                               bool mandatory, clv_error *error)
{
    char text[64];
    const clv_tensor tensor = clvi_graph_find_output(graph, role);
    if (tensor == CLV_NO_TENSOR && mandatory)
        CLV_FAIL(error, CLV_E_PLUGIN, "build declares no output \"%s\"", role);
    if (tensor == CLV_NO_TENSOR)
        return CLV_OK;
    const clv_shape *shape = &graph->tensors[tensor].shape;
    if (shape->dtype == CLV_F32 && shape->rank == 2 && clvi_shape_batched(shape) &&
        (width == 0 || shape->dims[1] == width))
        return CLV_OK;
    clvi_shape_text(shape, text, sizeof(text));
    if (width == 0)
        CLV_FAIL(error, CLV_E_SHAPE, "output \"%s\" is %s, wanted is [N, any] of floats", role,
                 text);
    CLV_FAIL(error, CLV_E_SHAPE, "output \"%s\" is %s, wanted is [N, %lld] of floats", role, text,
             (long long)width);
}

/* Refuses roles that nobody would read: most likely a misspelt one. */
static clv_status check_roles(const clv_graph *graph, uint32_t kind, const char *const *known,
                              size_t count, clv_error *error)
{
    for (size_t i = 0; i < graph->output_count; i++) {
        const char *role = graph->outputs[i].role;
        size_t k = 0;
        while (k < count && strcmp(known[k], role) != 0)
            k++;
        if (k == count)
            CLV_FAIL(error, CLV_E_PLUGIN, "build declares an output \"%s\", which %s has not", role,
                     kind == CLV_KIND_EXPERT ? "an expert" : "a gate");
    }
    return CLV_OK;
}

static clv_status check_expert(const clv_graph *graph, const clv_build_input *input,
                               clv_error *error)
{
    static const char *const roles[] = {"logits", "features"};
    CLV_TRY(check_roles(graph, CLV_KIND_EXPERT, roles, 2, error));
    CLV_TRY(check_output(graph, "logits", input->classes, true, error));
    CLV_TRY(check_output(graph, "features", 0, false, error));
    if (graph->route.struct_size != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "build describes a route, which only a gate has");
    if (clvi_graph_find_input(graph, "features") != CLV_NO_TENSOR)
        CLV_FAIL(error, CLV_E_PLUGIN, "build asks for \"features\", which only a gate is given");
    if (graph->step_sum_count > 0 || graph->new_state_count > 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "build calls step_sum or after_step, which only a gate has");
    return CLV_OK;
}

static clv_status check_gate(const clv_graph *graph, const clv_build_input *input, clv_error *error)
{
    static const char *const roles[] = {"route", "gate_logits", "load_prob", "wanted"};
    const clv_tensor features = clvi_graph_find_input(graph, "features");
    const clv_tensor gate_logits = clvi_graph_find_output(graph, "gate_logits");
    CLV_TRY(check_roles(graph, CLV_KIND_GATE, roles, 4, error));
    CLV_TRY(check_output(graph, "route", input->experts, true, error));
    CLV_TRY(check_output(graph, "gate_logits", input->experts, false, error));
    CLV_TRY(check_output(graph, "load_prob", input->experts, false, error));
    CLV_TRY(check_output(graph, "wanted", input->experts, false, error));
    CLV_TRY(clvi_graph_check_step_sums(graph, error));
    if (graph->route.struct_size == 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "build does not describe its route (clv_host.route)");
    if (features != CLV_NO_TENSOR && graph->tensors[features].shape.dims[1] != input->features)
        CLV_FAIL(error, CLV_E_PLUGIN, "build asks for \"features\" of width %lld, there are %d",
                 (long long)graph->tensors[features].shape.dims[1], input->features);
    if (features != CLV_NO_TENSOR && graph->route.sparse != 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "build asks for \"features\", for which all experts have to run, and describes a "
                 "sparse route");
    if (graph->route.sparse == 0 && clvi_graph_find_output(graph, "wanted") != CLV_NO_TENSOR)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "build declares an output \"wanted\", which only a sparse route has");
    if (gate_logits != CLV_NO_TENSOR &&
        clvi_graph_root(graph, clvi_graph_find_output(graph, "route")) ==
            clvi_graph_root(graph, gate_logits))
        CLV_FAIL(error, CLV_E_PLUGIN, "the outputs \"route\" and \"gate_logits\" are one tensor");
    if (graph->route.max_per_sample > input->experts)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "clv_route_desc.max_per_sample is %d, but there are %d experts",
                 graph->route.max_per_sample, input->experts);
    return CLV_OK;
}

static clv_status check_graph(const clv_graph *graph, uint32_t kind, const clv_build_input *input,
                              clv_error *error)
{
    if (graph->scope_count != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "build leaves the scope \"%s\" open", graph->scope);
    return kind == CLV_KIND_GATE ? check_gate(graph, input, error)
                                 : check_expert(graph, input, error);
}

clv_status clvi_plugin_explain(clv_status status, clv_error *cause, const char *function)
{
    cause->message[sizeof(cause->message) - 1] = '\0';
    if (cause->status != CLV_OK)
        status = (clv_status)cause->status;
    const bool known = strcmp(clv_status_text(status), clv_status_text((clv_status)INT32_MIN)) != 0;
    if (status == CLV_OK || !known)
        status = CLV_E_PLUGIN;
    if (cause->message[0] == '\0') {
        clvi_error_clear(cause);
        clvi_fail(cause, status, CLV_HERE, "%s fails without saying why", function);
    }
    return status;
}

clv_status clvi_plugin_build(const clvi_plugin *plugin, const clv_options *options,
                             const clv_build_input *input, const char *label, clv_graph **out,
                             clv_error *error)
{
    const clv_plugin *table = plugin->table;
    clv_error cause = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    CLV_TRY(clvi_graph_create(label, &graph, error));
    clvi_graph_offer_ops(graph, plugin->ops);
    clv_status status = table->build(clvi_host_table(), graph, options, input, &cause);
    clvi_graph_offer_ops(graph, NULL);
    /* A plugin that goes on after a failed call has built something else than it meant to. */
    if (status == CLV_OK && cause.status == CLV_OK)
        status = check_graph(graph, table->kind, input, &cause);
    else
        status = clvi_plugin_explain(status, &cause, "build");
    if (status != CLV_OK) {
        clvi_graph_destroy(graph);
        return clvi_fail(error, status, cause.file != NULL ? cause.file : __FILE__, cause.line,
                         "%s: %s (%s): %s", plugin->path, clvi_kind_text(table->kind), label,
                         cause.message);
    }
    *out = graph;
    return CLV_OK;
}
