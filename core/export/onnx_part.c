/* See onnx_part.h. */
#include "export/onnx_part.h"

#include <stdio.h>

void clvi_onnx_part_begin(clvi_onnx_part *out, clvi_onnx *onnx, const clv_graph *graph,
                          const char *section, size_t base)
{
    *out = (clvi_onnx_part){.onnx = onnx, .graph = graph, .section = section, .base = base};
    out->values = clvi_onnx_alloc(onnx, graph->tensor_count * sizeof *out->values);
}

void clvi_onnx_part_bind(clvi_onnx_part *p, const char *role, const char *value)
{
    const clv_tensor tensor = clvi_graph_find_input(p->graph, role);
    if (p->values && tensor != CLV_NO_TENSOR)
        p->values[tensor].name = value;
}

/* ---- Which nodes ---- */

/* Marks the nodes that a tensor needs and that are not emitted yet. A graph's nodes stand in the
 * order in which they were added, after what they read. */
static void mark(const clvi_onnx_part *p, clv_tensor wanted, bool *needed)
{
    const clv_graph *g = p->graph;
    if (g->tensors[wanted].producer >= 0)
        needed[g->tensors[wanted].producer] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        const clvi_node *node = &g->nodes[i];
        needed[i] = needed[i] && !p->values[node->outputs[0]].name;
        for (int32_t k = 0; k < node->input_count && needed[i]; k++)
            if (node->inputs[k] != CLV_NO_TENSOR && g->tensors[node->inputs[k]].producer >= 0)
                needed[g->tensors[node->inputs[k]].producer] = true;
    }
}

static void emit(clvi_onnx_part *p, const clvi_node *node)
{
    clvi_onnx_emit *how = clvi_onnx_emitter(node->op->name);
    if (how)
        how(p, node);
    else
        clvi_onnx_fail(p->onnx, CLV_E_USAGE, "%s: the operation %s (%s) cannot be written as ONNX",
                       p->section, node->op->name, node->name);
}

/* A value in the graph's order. */
static const char *ordered(clvi_onnx_part *p, clv_tensor tensor)
{
    clvi_onnx_value *v = &p->values[tensor];
    if (!v->flat)
        return v->name;
    const int64_t *i = v->image;
    const char *name = clvi_onnx_text(p->onnx, "%s.hwc", v->name);
    const char *x =
        clvi_onnx_reshaped(p->onnx, name, v->name, (int64_t[]){-1, i[2], i[0], i[1]}, 4);
    const int64_t order[] = {0, 2, 3, 1};
    x = clvi_onnx_add(p->onnx, &(clvi_onnx_node){"Transpose", name, ONNX_LIST(x),
                                                 ONNX_ATTRS(ONNX_INTS("perm", order, 4)), NULL});
    return clvi_onnx_reshaped(p->onnx, name, x, (int64_t[]){-1, i[0] * i[1] * i[2]}, 2);
}

const char *clvi_onnx_part_output(clvi_onnx_part *p, const char *role)
{
    const clv_tensor tensor = clvi_graph_find_output(p->graph, role);
    bool *needed = clvi_onnx_alloc(p->onnx, p->graph->node_count * sizeof *needed);
    if (!needed || tensor == CLV_NO_TENSOR)
        return NULL;
    mark(p, tensor, needed);
    for (size_t i = 0; i < p->graph->node_count && !clvi_onnx_failed(p->onnx); i++)
        if (needed[i])
            emit(p, &p->graph->nodes[i]);
    return clvi_onnx_failed(p->onnx) ? NULL : ordered(p, tensor);
}

/* ---- Attributes ---- */

static const clvi_attr_spec *spec_of(const clvi_node *node, const char *attr)
{
    for (size_t i = 0; i < node->op->attr_count; i++)
        if (strcmp(node->op->attrs[i].name, attr) == 0)
            return &node->op->attrs[i];
    CLV_ASSERT(false);
    return NULL;
}

int64_t clvi_onnx_int_of(const clvi_node *node, const char *attr)
{
    int64_t value;
    memcpy(&value, (const char *)node->attrs + spec_of(node, attr)->offset, sizeof value);
    return value;
}

double clvi_onnx_real_of(const clvi_node *node, const char *attr)
{
    double value;
    memcpy(&value, (const char *)node->attrs + spec_of(node, attr)->offset, sizeof value);
    return value;
}

const char *clvi_onnx_choice_of(const clvi_node *node, const char *attr, char out[32])
{
    const char *at = spec_of(node, attr)->choices;
    for (int64_t i = clvi_onnx_int_of(node, attr); i > 0; i--)
        at = strchr(at, '|') + 1;
    (void)snprintf(out, 32, "%.*s", (int)strcspn(at, "|"), at);
    return out;
}

/* ---- Values ---- */

const char *clvi_onnx_name(const clvi_onnx_part *p, const clvi_node *node)
{
    return clvi_onnx_text(p->onnx, "%s.%s", p->section, node->name);
}

const clv_shape *clvi_onnx_shape(const clvi_onnx_part *p, clv_tensor tensor)
{
    return &p->graph->tensors[tensor].shape;
}

/* A variable that is no weight of a layer, such as a gate's bias, in the order of the store. */
static void bring_variable(clvi_onnx_part *p, const clvi_node *node, int index)
{
    const clv_tensor tensor = node->inputs[index];
    if (p->graph->tensors[tensor].variable >= 0 && !p->values[tensor].name)
        p->values[tensor].name = clvi_onnx_weight(p, node, index, NULL, NULL);
}

clvi_onnx_value clvi_onnx_raw(const clvi_onnx_part *p, const clvi_node *node, int index)
{
    return p->values ? p->values[node->inputs[index]] : (clvi_onnx_value){0};
}

const char *clvi_onnx_in(clvi_onnx_part *p, const clvi_node *node, int index)
{
    if (clvi_onnx_failed(p->onnx) || index >= node->input_count ||
        node->inputs[index] == CLV_NO_TENSOR)
        return NULL;
    bring_variable(p, node, index);
    return ordered(p, node->inputs[index]);
}

const char *clvi_onnx_weight(clvi_onnx_part *p, const clvi_node *node, int index,
                             const clv_shape *shape, const clvi_reorder *order)
{
    if (index >= node->input_count || node->inputs[index] == CLV_NO_TENSOR)
        return NULL;
    const int32_t variable = p->graph->tensors[node->inputs[index]].variable;
    if (variable < 0) {
        clvi_onnx_fail(p->onnx, CLV_E_USAGE,
                       "%s: the weights of %s (%s) are computed, which cannot be written as ONNX",
                       p->section, node->name, node->op->name);
        return NULL;
    }
    const clvi_variable *v = &p->graph->variables[variable];
    const clvi_reorder same = {1, {v->elements}, {1}};
    return clvi_onnx_variable(
        p->onnx, clvi_onnx_text(p->onnx, "%s.%s", p->section, v->name), p->base + (size_t)variable,
        shape ? shape : clvi_onnx_shape(p, node->inputs[index]), order ? order : &same);
}

void clvi_onnx_set_like(clvi_onnx_part *p, const clvi_node *node, const char *value,
                        const clvi_onnx_value *like)
{
    if (!p->values || !value)
        return;
    clvi_onnx_value *v = &p->values[node->outputs[0]];
    *v = *like;
    v->name = value;
}

void clvi_onnx_set(clvi_onnx_part *p, const clvi_node *node, const char *value)
{
    const clvi_onnx_value plain = {0};
    clvi_onnx_set_like(p, node, value, &plain);
}

/* ---- Nodes ---- */

const char *clvi_onnx_plain(clvi_onnx *x, const char *op, const char *name,
                            const char *const *inputs, size_t count)
{
    return clvi_onnx_add(x, &(clvi_onnx_node){op, name, inputs, count, NULL, 0, NULL});
}

const char *clvi_onnx_along(clvi_onnx *x, const char *op, const char *name, const char *input,
                            const char *attr, int64_t value)
{
    return clvi_onnx_add(
        x, &(clvi_onnx_node){op, name, ONNX_LIST(input), ONNX_ATTRS(ONNX_I(attr, value)), NULL});
}

const char *clvi_onnx_reshaped(clvi_onnx *x, const char *name, const char *value,
                               const int64_t *dims, size_t rank)
{
    const char *shape = clvi_onnx_ints(x, clvi_onnx_text(x, "%s.shape", name), dims, rank);
    return clvi_onnx_plain(x, "Reshape", name, ONNX_LIST(value, shape));
}

/* A matrix [rows, columns], turned where asked. */
static const char *matrix(clvi_onnx *x, const char *name, const float *values,
                          const int64_t extents[2], bool turned)
{
    const int64_t rows = extents[0], columns = extents[1];
    const clv_shape shape = CLVI_SHAPE(CLV_F32, turned ? columns : rows, turned ? rows : columns);
    float *own = clvi_onnx_alloc(x, (size_t)(rows * columns) * sizeof *own);
    for (int64_t i = 0; i < rows * columns && own; i++)
        own[turned ? i % columns * rows + i / columns : i] = values[i];
    return own ? clvi_onnx_floats(x, name, own, 0, &shape) : NULL;
}

const char *clvi_onnx_mapped(clvi_onnx *x, const char *name, const char *value,
                             const clvi_onnx_axes *a)
{
    if (a->columns) {
        const char *m = matrix(x, clvi_onnx_text(x, "%s.columns", name), a->columns,
                               (int64_t[]){a->to_width, a->width}, true);
        value = clvi_onnx_plain(x, "MatMul", name, ONNX_LIST(value, m));
    }
    if (a->rows) {
        const char *m = matrix(x, clvi_onnx_text(x, "%s.rows", name), a->rows,
                               (int64_t[]){a->to_height, a->height}, false);
        value = clvi_onnx_plain(x, "MatMul", name, ONNX_LIST(m, value));
    }
    return value;
}
