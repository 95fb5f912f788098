/* Look-up of operations, and what their shape rules share. The table itself is made by the build
 * from ops.list. */
#include "ops/op.h"
#include "ops_table.h"

#include <stdio.h>

const clvi_op *clvi_op_find(const char *name)
{
    for (size_t i = 0; i < clvi_op_count(); i++)
        if (strcmp(clvi_op_table[i]->name, name) == 0)
            return clvi_op_table[i];
    return NULL;
}

size_t clvi_op_count(void)
{
    return sizeof clvi_op_table / sizeof *clvi_op_table;
}

const clvi_op *clvi_op_at(size_t index)
{
    return index < clvi_op_count() ? clvi_op_table[index] : NULL;
}

const clv_shape *clvi_in_shape(const clv_graph *graph, const clvi_node *node, int i)
{
    return &graph->tensors[node->inputs[i]].shape;
}

const clv_shape *clvi_out_shape(const clv_graph *graph, const clvi_node *node, int i)
{
    return &graph->tensors[node->outputs[i]].shape;
}

clvi_run clvi_run_behind(const clvi_run *run, const clvi_behind *behind)
{
    clvi_run own = {.device = run->device,
                    .graph = run->graph,
                    .node = behind->node,
                    .node_index = run->node_index,
                    .mode = run->mode,
                    .n = run->n,
                    .random = run->random};
    for (int i = 1; i < behind->node->op->max_inputs; i++)
        own.in[i] = run->in[behind->first + i - 1];
    return own;
}

int64_t clvi_weight_macs(const clv_graph *graph, const clvi_node *node)
{
    const clv_shape *weight = clvi_in_shape(graph, node, 1);
    const int64_t outputs = weight->dims[weight->rank - 1];
    const int64_t of_output = node->joined & CLVI_JOIN_MAX_POOL ? 4 : 1; /* pixels */
    return clvi_shape_elements(clvi_out_shape(graph, node, 0)) * of_output *
           (clvi_shape_elements(weight) / outputs);
}

clvi_amount clvi_amount_of(const clv_shape *shape, int64_t elements)
{
    return clvi_shape_batched(shape) ? (clvi_amount){elements, 0} : (clvi_amount){0, elements};
}

clvi_amount clvi_amount_per_row(const clv_shape *shape, int64_t each)
{
    return clvi_amount_of(shape, clvi_shape_batched(shape) ? each : each * shape->dims[0]);
}

clv_status clvi_shape_fail(clv_error *error, const char *op, const clvi_shape_request *request,
                           const char *file, int line, const char *format, ...)
{
    char sentence[384];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return clvi_fail(error, CLV_E_SHAPE, file, line, "%s (%s): %s", request->node, op, sentence);
}
