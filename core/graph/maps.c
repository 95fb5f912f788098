/* See maps.h. */
#include "graph/maps.h"

#include "ops/op.h"

static bool is_map(const clv_shape *shape)
{
    return shape->rank == 4 && clvi_shape_batched(shape) && shape->dtype == CLV_F32 &&
           shape->dims[1] * shape->dims[2] > 1;
}

static bool has_variables(const clv_graph *g, const clvi_node *node)
{
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR &&
            g->tensors[node->inputs[i]].kind == CLVI_TENSOR_VARIABLE)
            return true;
    return false;
}

static bool reads(const clv_graph *g, const clvi_node *node, clv_tensor tensor)
{
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR &&
            clvi_graph_root(g, node->inputs[i]) == clvi_graph_root(g, tensor))
            return true;
    return false;
}

/* needed [tensors]: what `of` is made from. */
static void find_needed(const clv_graph *g, clv_tensor of, bool *needed)
{
    for (size_t t = 0; t < g->tensor_count; t++)
        needed[t] = of == CLV_NO_TENSOR;
    if (of != CLV_NO_TENSOR)
        needed[of] = true;
    for (size_t k = g->node_count; k-- > 0;) {
        const clvi_node *node = &g->nodes[k];
        bool any = false;
        for (int o = 0; o < node->output_count; o++)
            any |= needed[node->outputs[o]];
        for (int i = 0; i < node->input_count && any; i++)
            if (node->inputs[i] != CLV_NO_TENSOR)
                needed[node->inputs[i]] = true;
    }
}

static clv_status add_stage(clvi_maps *maps, const clvi_map_stage *stage, clv_error *error)
{
    void *stages = maps->stages;
    CLV_TRY(clvi_grow(&stages, &maps->capacity, maps->count + 1, sizeof *maps->stages, error));
    maps->stages = stages;
    maps->stages[maps->count++] = *stage;
    return CLV_OK;
}

static clv_status find_stages(const clv_graph *g, const bool *needed, clvi_maps *maps,
                              clv_error *error)
{
    clvi_map_stage now = {.last = CLV_NO_TENSOR};
    size_t behind = 0; /* the last map's node */
    for (size_t k = 0; k < g->node_count; k++) {
        const clv_tensor out = g->nodes[k].outputs[0];
        const clv_shape *shape = &g->tensors[out].shape;
        if (!needed[out] || !is_map(shape))
            continue;
        if (shape->dims[1] != now.height || shape->dims[2] != now.width) {
            now.end = k;
            if (now.end > now.first)
                CLV_TRY(add_stage(maps, &now, error));
            now = (clvi_map_stage){.height = shape->dims[1], .width = shape->dims[2], .first = k};
        }
        now.last = out;
        behind = k + 1;
    }
    now.end = behind;
    if (now.end > now.first)
        CLV_TRY(add_stage(maps, &now, error));
    now = (clvi_map_stage){.first = behind, .end = g->node_count, .last = CLV_NO_TENSOR};
    return now.end > now.first ? add_stage(maps, &now, error) : CLV_OK;
}

static clv_tensor find_last(const clv_graph *g, const bool *needed)
{
    clv_tensor last = CLV_NO_TENSOR;
    size_t from = 0;
    bool varies = false;
    for (size_t k = 0; k < g->node_count; k++) {
        const clv_tensor out = g->nodes[k].outputs[0];
        const bool own = has_variables(g, &g->nodes[k]);
        if (!needed[out] || !is_map(&g->tensors[out].shape) || (varies && !own))
            continue;
        last = out;
        from = k + 1;
        varies = own;
    }
    for (size_t k = from; k < g->node_count && last != CLV_NO_TENSOR; k++) {
        const clv_tensor out = g->nodes[k].outputs[0];
        const clv_shape *shape = &g->tensors[out].shape, *before = &g->tensors[last].shape;
        if (needed[out] && is_map(shape) && shape->dims[1] == before->dims[1] &&
            shape->dims[2] == before->dims[2] && reads(g, &g->nodes[k], last))
            last = out;
    }
    return last;
}

clv_status clvi_maps_find(const clv_graph *graph, clv_tensor of, clvi_maps *out, clv_error *error)
{
    clvi_maps maps = {.last = CLV_NO_TENSOR};
    bool *needed = clvi_calloc(graph->tensor_count + 1, sizeof *needed);
    if (!needed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look at %s", graph->label);
    find_needed(graph, of, needed);
    const clv_status status = find_stages(graph, needed, &maps, error);
    maps.last = find_last(graph, needed);
    clvi_free(needed);
    if (status != CLV_OK) {
        clvi_maps_fini(&maps);
        return status;
    }
    *out = maps;
    return CLV_OK;
}

void clvi_maps_fini(clvi_maps *maps)
{
    clvi_free(maps->stages);
    *maps = (clvi_maps){.last = CLV_NO_TENSOR};
}
