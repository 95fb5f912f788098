/* What a graph says about its states after a step of the optimiser: sums over the step's samples,
 * which are inputs to it, and what states become of them. See conclave/plugin.h; after_step.c runs
 * it. */
#include "graph/graph.h"

#include <stdio.h>

/* What a tensor is computed from. */
typedef struct sources {
    bool samples; /* an input that is bound for each batch */
    bool sums;    /* a sum over a step */
} sources;

static bool is_step_sum(const clv_graph *graph, clv_tensor tensor)
{
    for (uint32_t i = 0; i < graph->step_sum_count; i++)
        if (graph->step_sums[i].sum == tensor)
            return true;
    return false;
}

/* Nodes stand behind those that they read. */
static clv_status find_sources(const clv_graph *graph, clv_tensor of, sources *out,
                               clv_error *error)
{
    bool *read = clvi_calloc(graph->tensor_count + 1, sizeof *read);
    *out = (sources){0};
    if (read == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s", graph->label);
    read[of] = true;
    for (size_t k = graph->node_count; k-- > 0;) {
        const clvi_node *node = &graph->nodes[k];
        bool needed = false;
        for (int o = 0; o < node->output_count; o++)
            needed |= read[node->outputs[o]];
        for (int i = 0; i < node->input_count && needed; i++)
            if (node->inputs[i] != CLV_NO_TENSOR)
                read[node->inputs[i]] = true;
    }
    for (size_t i = 0; i < graph->input_count; i++) {
        const clv_tensor input = graph->inputs[i].tensor;
        const bool sum = is_step_sum(graph, input);
        out->sums |= read[input] && sum;
        out->samples |= read[input] && !sum;
    }
    clvi_free(read);
    return CLV_OK;
}

static bool is_tensor(const clv_graph *graph, clv_tensor tensor)
{
    return tensor >= 0 && (size_t)tensor < graph->tensor_count;
}

clv_status clvi_graph_step_sum(clv_graph *graph, clv_tensor tensor, clv_tensor *out,
                               clv_error *error)
{
    sources from;
    char text[64];
    if (!is_tensor(graph, tensor))
        CLV_FAIL(error, CLV_E_PLUGIN, "step_sum: not a tensor of this graph (handle %d)", tensor);
    const clvi_tensor *t = &graph->tensors[tensor];
    if (t->shape.dtype != CLV_F32 || !clvi_shape_batched(&t->shape))
        CLV_FAIL(error, CLV_E_SHAPE,
                 "step_sum of %s, which is %s; it must be led by the batch, f32", t->name,
                 clvi_shape_text(&t->shape, text, sizeof text));
    if (graph->step_sum_count == CLVI_MAX_STEP_SUMS)
        CLV_FAIL(error, CLV_E_PLUGIN, "step_sum of %s: there are %d already", t->name,
                 CLVI_MAX_STEP_SUMS);
    CLV_TRY(find_sources(graph, tensor, &from, error));
    if (from.sums)
        CLV_FAIL(error, CLV_E_PLUGIN, "step_sum of %s, which reads another sum over the step",
                 t->name);
    clv_shape shape =
        clvi_shape_make(CLV_F32, t->shape.rank > 1 ? t->shape.rank - 1 : 1, t->shape.dims + 1);
    if (t->shape.rank == 1)
        shape = CLVI_SHAPE(CLV_F32, 1);
    snprintf(text, sizeof text, "step_sum.%u", graph->step_sum_count);
    clv_tensor sum;
    CLV_TRY(clvi_graph_input_tensor(graph, text, &shape, &sum, error));
    graph->step_sums[graph->step_sum_count++] = (clvi_step_sum){tensor, sum};
    *out = sum;
    return CLV_OK;
}

static bool same_extents(const clv_shape *a, const clv_shape *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dims[i] == b->dims[i];
    return same;
}

clv_status clvi_graph_after_step(clv_graph *graph, clv_tensor state, clv_tensor next,
                                 clv_error *error)
{
    sources from;
    if (!is_tensor(graph, state) || !is_tensor(graph, next))
        CLV_FAIL(error, CLV_E_PLUGIN, "after_step: not a tensor of this graph (handle %d)",
                 is_tensor(graph, state) ? next : state);
    const clvi_tensor *s = &graph->tensors[state], *n = &graph->tensors[next];
    if (s->variable < 0 || !graph->variables[s->variable].is_state)
        CLV_FAIL(error, CLV_E_PLUGIN, "after_step of %s, which is no state", s->name);
    if (!same_extents(&s->shape, &n->shape)) {
        char wanted[64], given[64];
        CLV_FAIL(error, CLV_E_SHAPE, "after_step: the state %s is %s and would become %s, %s",
                 s->name, clvi_shape_text(&s->shape, wanted, sizeof wanted), n->name,
                 clvi_shape_text(&n->shape, given, sizeof given));
    }
    /* States are overwritten one after the other, so what they become must not be another one. */
    if (graph->tensors[clvi_graph_root(graph, next)].producer < 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "after_step of %s: %s is computed by no operation", s->name,
                 n->name);
    CLV_TRY(find_sources(graph, next, &from, error));
    if (from.samples)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "after_step of %s: %s reads samples of a batch; sum them over the step (step_sum)",
                 s->name, n->name);
    for (uint32_t i = 0; i < graph->new_state_count; i++)
        if (graph->new_states[i].state == state)
            CLV_FAIL(error, CLV_E_PLUGIN, "after_step of %s is declared twice", s->name);
    if (graph->new_state_count == CLVI_MAX_NEW_STATES)
        CLV_FAIL(error, CLV_E_PLUGIN, "after_step of %s: there are %d already", s->name,
                 CLVI_MAX_NEW_STATES);
    graph->new_states[graph->new_state_count++] = (clvi_new_state){state, next};
    return CLV_OK;
}

clv_status clvi_graph_check_step_sums(const clv_graph *graph, clv_error *error)
{
    for (size_t i = 0; i < graph->output_count; i++) {
        sources from;
        CLV_TRY(find_sources(graph, graph->outputs[i].tensor, &from, error));
        if (from.sums)
            CLV_FAIL(error, CLV_E_PLUGIN,
                     "the output \"%s\" reads a sum over the step, which is known only after it",
                     graph->outputs[i].role);
    }
    return CLV_OK;
}
