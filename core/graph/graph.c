/* Building a graph: what stands behind the graph slots of clv_host, and what the core itself calls
 * for the parts that it adds. Everything that comes from a plugin is checked here and copied, so
 * that a graph never points into a plugin. */
#include "graph/graph.h"

#include "base/structs.h"
#include "base/text.h"
#include "graph/attrs.h"

#include <math.h>
#include <stdio.h>

enum { SHOWN_BYTES = 64, MAX_OP_NAMES = 256 };

/* Kernels index with int: no tensor may have more elements, whatever the batch. */
static const int64_t max_elements = INT32_MAX;

/* ---- Life ---- */

clv_status clvi_graph_create(const char *label, clv_graph **out, clv_error *error)
{
    clv_graph *graph = clvi_calloc(1, sizeof(*graph));
    if (graph == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a graph");
    clv_status status = clvi_arena_create(&graph->arena, error);
    if (status == CLV_OK) {
        graph->label = clvi_arena_strdup(graph->arena, label);
        void *scope = NULL;
        status = clvi_grow(&scope, &graph->scope_capacity, 64, 1, error);
        graph->scope = scope;
        if (status == CLV_OK && graph->label == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a graph");
    }
    if (status != CLV_OK) {
        clvi_graph_destroy(graph);
        return status;
    }
    graph->scope[0] = '\0';
    *out = graph;
    return CLV_OK;
}

void clvi_graph_destroy(clv_graph *graph)
{
    if (graph == NULL)
        return;
    clvi_arena_destroy(graph->arena);
    clvi_free(graph->tensors);
    clvi_free(graph->nodes);
    clvi_free(graph->variables);
    clvi_free(graph->inputs);
    clvi_free(graph->outputs);
    clvi_free(graph->scope);
    clvi_free(graph);
}

void clvi_graph_offer_ops(clv_graph *graph, const clvi_op_set *ops)
{
    graph->more_ops = ops;
}

/* ---- What a caller passes ---- */

/* Copies a caller's struct, which may be shorter or longer than ours, over zeros. */
static clv_status take_struct(void *to, size_t to_bytes, const void *from, size_t need,
                              const char *what, clv_error *error)
{
    uint32_t given = 0;
    if (from == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s is NULL", what);
    memcpy(&given, from, sizeof(given));
    if (!clvi_struct_take(to, to_bytes, from, need, SIZE_MAX))
        CLV_FAIL(error, CLV_E_PLUGIN, "%s.struct_size is %u bytes, wanted is at least %zu", what,
                 given, need);
    return CLV_OK;
}

/* Names of variables, operations and scopes: letters, digits, '_', '-', and '.' between them. */
static clv_status check_name(const char *what, const char *name, clv_error *error)
{
    char shown[SHOWN_BYTES];
    bool good = name != NULL && name[0] != '\0', after_dot = true;
    for (const char *at = name; good && *at != '\0'; at++) {
        const char c = *at;
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '_' || c == '-';
        good = letter || (c == '.' && !after_dot);
        after_dot = c == '.';
    }
    if (!good || after_dot)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "the name \"%s\" of %s is not made of letters, digits, '_', '-' and single '.'",
                 name != NULL ? clvi_printable(name, shown, sizeof(shown)) : "", what);
    return CLV_OK;
}

static clv_status check_tensor(const clv_graph *graph, clv_tensor tensor, const char *what,
                               clv_error *error)
{
    if (tensor < 0 || (size_t)tensor >= graph->tensor_count)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s is not a tensor of this graph (handle %d)", what, tensor);
    return CLV_OK;
}

/* Refuses extents below 1 and more elements (of one sample) than a kernel can index. */
static clv_status check_shape(const char *name, const clv_shape *shape, clv_error *error)
{
    int64_t elements = 1;
    if (shape->rank < 0 || shape->rank > CLV_MAX_RANK)
        CLV_FAIL(error, CLV_E_SHAPE, "%s has %d axes, at most %d are allowed", name, shape->rank,
                 CLV_MAX_RANK);
    if (shape->dtype != CLV_F32 && shape->dtype != CLV_I32 && shape->dtype != CLV_U8)
        CLV_FAIL(error, CLV_E_SHAPE, "%s has the unknown type %d", name, shape->dtype);
    for (int i = 0; i < shape->rank; i++) {
        if (i == 0 && shape->dims[0] == CLV_BATCH)
            continue;
        if (shape->dims[i] < 1)
            CLV_FAIL(error, CLV_E_SHAPE, "%s: the extent of axis %d is %lld, must be at least 1",
                     name, i, (long long)shape->dims[i]);
        if (shape->dims[i] > max_elements / elements)
            CLV_FAIL(error, CLV_E_SHAPE, "%s has more than %lld elements", name,
                     (long long)max_elements);
        elements *= shape->dims[i];
    }
    return CLV_OK;
}

/* ---- Tensors
 * ------------------------------------------------------------------------------------- */

static clv_status reserve_tensors(clv_graph *graph, size_t more, clv_error *error)
{
    void *tensors = graph->tensors;
    if (graph->tensor_count + more > INT32_MAX)
        CLV_FAIL(error, CLV_E_PLUGIN, "the graph has too many tensors");
    const clv_status status = clvi_grow(&tensors, &graph->tensor_capacity,
                                        graph->tensor_count + more, sizeof(clvi_tensor), error);
    graph->tensors = tensors;
    return status;
}

/* Room must have been reserved. */
static clv_tensor push_tensor(clv_graph *graph, const char *name, clvi_tensor_kind kind,
                              const clv_shape *shape)
{
    CLV_ASSERT(graph->tensor_count < graph->tensor_capacity);
    graph->tensors[graph->tensor_count] = (clvi_tensor){
        .name = name,
        .kind = kind,
        .shape = *shape,
        .producer = -1,
        .variable = -1,
        .alias = CLV_NO_TENSOR,
    };
    return (clv_tensor)graph->tensor_count++;
}

/* "scope." + name in the arena. */
static clv_status scoped_name(clv_graph *graph, const char *name, const char **out,
                              clv_error *error)
{
    const char *full = clvi_arena_printf(graph->arena, "%s%s", graph->scope, name);
    if (full == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the name of %s", name);
    *out = full;
    return CLV_OK;
}

/* ---- Inputs
 * -------------------------------------------------------------------------------------- */

/* `desc` holds the role as the caller's text; it is copied here. */
static clv_status add_input(clv_graph *graph, const clv_input_desc *desc, const clv_shape *shape,
                            clv_tensor *out, clv_error *error)
{
    clvi_graph_input input = {*desc, CLV_NO_TENSOR};
    if (clvi_graph_find_input(graph, desc->role) != CLV_NO_TENSOR)
        CLV_FAIL(error, CLV_E_PLUGIN, "the input \"%s\" is declared twice", desc->role);
    CLV_TRY(check_shape(desc->role, shape, error));
    void *inputs = graph->inputs;
    const clv_status status = clvi_grow(&inputs, &graph->input_capacity, graph->input_count + 1,
                                        sizeof(clvi_graph_input), error);
    graph->inputs = inputs;
    CLV_TRY(status);
    CLV_TRY(reserve_tensors(graph, 1, error));
    input.desc.role = clvi_arena_strdup(graph->arena, desc->role);
    if (input.desc.role == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the input \"%s\"", desc->role);
    input.tensor = push_tensor(graph, input.desc.role, CLVI_TENSOR_INPUT, shape);
    graph->inputs[graph->input_count++] = input;
    *out = input.tensor;
    return CLV_OK;
}

clv_status clvi_graph_input_add(clv_graph *graph, const clv_input_desc *desc, clv_tensor *out,
                                clv_error *error)
{
    clv_input_desc d;
    char shown[SHOWN_BYTES];
    CLV_TRY(take_struct(&d, sizeof(d), desc, CLVI_BYTES_TO(clv_input_desc, std), "clv_input_desc",
                        error));
    if (d.role != NULL && strcmp(d.role, "features") == 0) {
        const clv_shape row = CLVI_SHAPE(CLV_F32, CLV_BATCH, d.width);
        return add_input(graph, &d, &row, out, error);
    }
    if (d.role == NULL || strcmp(d.role, "image") != 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "there is no input \"%s\" to be had, only \"image\" and, for a gate, \"features\"",
                 d.role != NULL ? clvi_printable(d.role, shown, sizeof(shown)) : "");
    if (d.channels != 1 && d.channels != 3)
        CLV_FAIL(error, CLV_E_SHAPE, "an image has 1 or 3 channels, not %d", d.channels);
    if (d.height < 1 || d.width < 1)
        CLV_FAIL(error, CLV_E_SHAPE, "an image of %d×%d pixels cannot be", d.height, d.width);
    for (int c = 0; c < d.channels; c++)
        if (!isfinite(d.mean[c]) || !isfinite(d.std[c]) || !(d.std[c] > 0))
            CLV_FAIL(error, CLV_E_PLUGIN,
                     "mean %g and standard deviation %g of image channel %d must be finite, the "
                     "latter above 0",
                     d.mean[c], d.std[c], c);
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, d.height, d.width, d.channels);
    return add_input(graph, &d, &shape, out, error);
}

clv_status clvi_graph_input_tensor(clv_graph *graph, const char *role, const clv_shape *shape,
                                   clv_tensor *out, clv_error *error)
{
    const clv_input_desc d = {.struct_size = (uint32_t)sizeof(d), .role = role};
    return add_input(graph, &d, shape, out, error);
}

/* ---- Variables
 * ----------------------------------------------------------------------------------- */

static clv_status check_variable(const clv_variable_desc *d, clv_error *error)
{
    if ((d->flags & ~(uint32_t)CLV_PARAMETER_NO_DECAY) != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "the variable \"%s\" has unknown flags 0x%x", d->name,
                 d->flags);
    if (d->rank < 1 || d->rank > CLV_MAX_RANK)
        CLV_FAIL(error, CLV_E_SHAPE, "the variable \"%s\" has %d axes, allowed is 1 to %d", d->name,
                 d->rank, CLV_MAX_RANK);
    if (d->dims[0] < 1)
        CLV_FAIL(error, CLV_E_SHAPE,
                 "the variable \"%s\": the extent of axis 0 is %lld, must be at least 1", d->name,
                 (long long)d->dims[0]);
    switch (d->init) {
    case CLV_INIT_ZEROS:
    case CLV_INIT_ONES:
        return CLV_OK;
    case CLV_INIT_CONSTANT:
    case CLV_INIT_UNIFORM:
    case CLV_INIT_NORMAL:
        break;
    default:
        CLV_FAIL(error, CLV_E_PLUGIN, "the variable \"%s\" has the unknown initialisation %d",
                 d->name, d->init);
    }
    if (!isfinite(d->a) || (d->init != CLV_INIT_CONSTANT && !(d->a >= 0)))
        CLV_FAIL(error, CLV_E_PLUGIN, "the variable \"%s\" cannot start with a = %g", d->name,
                 d->a);
    return CLV_OK;
}

clv_status clvi_graph_variable_add(clv_graph *graph, const clv_variable_desc *desc, bool is_state,
                                   clv_tensor *out, clv_error *error)
{
    clv_variable_desc d;
    const char *name = NULL;
    CLV_TRY(take_struct(&d, sizeof(d), desc, CLVI_BYTES_TO(clv_variable_desc, a),
                        "clv_variable_desc", error));
    CLV_TRY(check_name("a variable", d.name, error));
    CLV_TRY(check_variable(&d, error));
    CLV_TRY(scoped_name(graph, d.name, &name, error));
    for (size_t i = 0; i < graph->variable_count; i++)
        if (strcmp(graph->variables[i].name, name) == 0)
            CLV_FAIL(error, CLV_E_PLUGIN, "two variables are named \"%s\"", name);
    const clv_shape shape = clvi_shape_make(CLV_F32, d.rank, d.dims);
    CLV_TRY(check_shape(name, &shape, error));
    void *variables = graph->variables;
    const clv_status status = clvi_grow(&variables, &graph->variable_capacity,
                                        graph->variable_count + 1, sizeof(clvi_variable), error);
    graph->variables = variables;
    CLV_TRY(status);
    CLV_TRY(reserve_tensors(graph, 1, error));
    const clv_tensor tensor = push_tensor(graph, name, CLVI_TENSOR_VARIABLE, &shape);
    graph->tensors[tensor].variable = (int32_t)graph->variable_count;
    graph->variables[graph->variable_count++] = (clvi_variable){
        .name = name,
        .tensor = tensor,
        .is_state = is_state,
        .no_decay = (d.flags & CLV_PARAMETER_NO_DECAY) != 0,
        .init = (clv_init)d.init,
        .a = d.a,
        .elements = clvi_shape_elements(&shape),
    };
    *out = tensor;
    return CLV_OK;
}

/* ---- Operations
 * ---------------------------------------------------------------------------------- */

/* Op `index`, built-in ones first; NULL behind the last. */
static const clvi_op *op_at(const clv_graph *graph, size_t index)
{
    if (index < clvi_op_count())
        return clvi_op_at(index);
    index -= clvi_op_count();
    return graph->more_ops != NULL && index < graph->more_ops->count ? graph->more_ops->ops[index]
                                                                     : NULL;
}

static clv_status find_op(const clv_graph *graph, const char *op, const char *node,
                          const clvi_op **out, clv_error *error)
{
    char shown[SHOWN_BYTES];
    const char *names[MAX_OP_NAMES];
    size_t count = 0;
    if (op == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: no operation is named", node);
    for (size_t i = 0; (*out = op_at(graph, i)) != NULL; i++) {
        if (strcmp((*out)->name, op) == 0)
            return CLV_OK;
        if (count < MAX_OP_NAMES)
            names[count++] = (*out)->name;
    }
    clvi_printable(op, shown, sizeof(shown));
    const char *near = clvi_nearest(op, names, count);
    if (near != NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: there is no operation \"%s\"; did you mean %s?", node,
                 shown, near);
    CLV_FAIL(error, CLV_E_PLUGIN, "%s: there is no operation \"%s\"", node, shown);
}

static clv_status check_operands(const clv_graph *graph, const clvi_node *node,
                                 const clv_tensor *inputs, clv_error *error)
{
    const clvi_op *op = node->op;
    char what[160];
    if (node->input_count < op->min_inputs || node->input_count > op->max_inputs)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): %d inputs given, wanted are %d to %d", node->name,
                 op->name, node->input_count, op->min_inputs, op->max_inputs);
    if (node->output_count != op->output_count)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): %d outputs wanted, it has %d", node->name, op->name,
                 node->output_count, op->output_count);
    for (int32_t i = 0; i < node->input_count; i++) {
        if (inputs[i] == CLV_NO_TENSOR && i >= op->min_inputs)
            continue;
        snprintf(what, sizeof(what), "%s (%s): input %d", node->name, op->name, i);
        CLV_TRY(check_tensor(graph, inputs[i], what, error));
    }
    return CLV_OK;
}

/* Fills node->attrs and the request's output shapes. */
static clv_status infer(clv_graph *graph, clvi_node *node, const clvi_attr_list *attrs,
                        clvi_shape_request *request, clv_error *error)
{
    void *parsed = clvi_arena_alloc(graph->arena, node->op->attr_bytes);
    if (parsed == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the operation %s", node->name);
    CLV_TRY(clvi_attrs_parse(node->op, node->name, attrs, parsed, error));
    node->attrs = parsed;
    *request = (clvi_shape_request){
        .op = node->op,
        .node = node->name,
        .attrs = parsed,
        .input_count = node->input_count,
    };
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR)
            request->inputs[i] = &graph->tensors[node->inputs[i]].shape;
    CLV_TRY(node->op->shape(request, error));
    for (int32_t i = 0; i < node->output_count; i++)
        CLV_TRY(check_shape(node->name, &request->outputs[i], error));
    return CLV_OK;
}

/* Puts a checked node and its outputs into the graph, or changes nothing. */
static clv_status push_node(clv_graph *graph, clvi_node *node, const clvi_shape_request *request,
                            clv_error *error)
{
    const char *names[CLVI_MAX_OUTPUTS] = {node->name};
    for (int32_t i = 1; i < node->output_count; i++) {
        names[i] = clvi_arena_printf(graph->arena, "%s:%d", node->name, i);
        if (names[i] == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the operation %s", node->name);
    }
    void *nodes = graph->nodes;
    const clv_status status =
        clvi_grow(&nodes, &graph->node_capacity, graph->node_count + 1, sizeof(clvi_node), error);
    graph->nodes = nodes;
    CLV_TRY(status);
    CLV_TRY(reserve_tensors(graph, (size_t)node->output_count, error));
    for (int32_t i = 0; i < node->output_count; i++) {
        node->outputs[i] =
            push_tensor(graph, names[i], CLVI_TENSOR_ACTIVATION, &request->outputs[i]);
        graph->tensors[node->outputs[i]].producer = (int32_t)graph->node_count;
    }
    if (node->op->is_alias)
        graph->tensors[node->outputs[0]].alias = node->inputs[0];
    graph->nodes[graph->node_count++] = *node;
    return CLV_OK;
}

clv_status clvi_graph_add_op(clv_graph *graph, const char *op, const char *name,
                             const clv_tensor *inputs, uint32_t input_count, const clv_attr *attrs,
                             uint32_t attr_count, uint32_t attr_stride, clv_tensor *outputs,
                             uint32_t output_count, clv_error *error)
{
    const clvi_attr_list list = {attrs, attr_count, attr_stride};
    clvi_shape_request request;
    clvi_node node = {0};
    CLV_TRY(check_name("an operation", name, error));
    CLV_TRY(scoped_name(graph, name, &node.name, error));
    CLV_TRY(find_op(graph, op, node.name, &node.op, error));
    if (input_count > CLVI_MAX_INPUTS || output_count > CLVI_MAX_OUTPUTS ||
        (input_count > 0 && inputs == NULL) || (output_count > 0 && outputs == NULL))
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): %u inputs and %u outputs cannot be", node.name, op,
                 input_count, output_count);
    node.input_count = (int32_t)input_count;
    node.output_count = (int32_t)output_count;
    CLV_TRY(check_operands(graph, &node, inputs, error));
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        node.inputs[i] = (uint32_t)i < input_count ? inputs[i] : CLV_NO_TENSOR;
    for (int i = 0; i < CLVI_MAX_OUTPUTS; i++)
        node.outputs[i] = CLV_NO_TENSOR;
    CLV_TRY(infer(graph, &node, &list, &request, error));
    CLV_TRY(push_node(graph, &node, &request, error));
    for (uint32_t i = 0; i < output_count; i++)
        outputs[i] = node.outputs[i];
    return CLV_OK;
}

/* ---- Outputs, route, scopes
 * ---------------------------------------------------------------------- */

clv_status clvi_graph_output_add(clv_graph *graph, const char *role, clv_tensor tensor,
                                 clv_error *error)
{
    char what[SHOWN_BYTES + 16];
    CLV_TRY(check_name("an output", role, error));
    snprintf(what, sizeof(what), "the output \"%s\"", role);
    CLV_TRY(check_tensor(graph, tensor, what, error));
    if (clvi_graph_find_output(graph, role) != CLV_NO_TENSOR)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s is declared twice", what);
    void *outputs = graph->outputs;
    const clv_status status = clvi_grow(&outputs, &graph->output_capacity, graph->output_count + 1,
                                        sizeof(clvi_graph_output), error);
    graph->outputs = outputs;
    CLV_TRY(status);
    const char *copy = clvi_arena_strdup(graph->arena, role);
    if (copy == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s", what);
    graph->outputs[graph->output_count++] = (clvi_graph_output){copy, tensor};
    return CLV_OK;
}

clv_status clvi_graph_route(clv_graph *graph, const clv_route_desc *desc, clv_error *error)
{
    clv_route_desc d;
    CLV_TRY(take_struct(&d, sizeof(d), desc, CLVI_BYTES_TO(clv_route_desc, per_batch),
                        "clv_route_desc", error));
    if (graph->route.struct_size != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "the route is described twice");
    if (d.max_per_sample < 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "clv_route_desc.max_per_sample is %d, must be 0 (all) or more", d.max_per_sample);
    if (!(d.per_batch >= 0) || d.per_batch > 1e6)
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_route_desc.per_batch is %g, must be 0 or more",
                 d.per_batch);
    graph->route = d;
    return CLV_OK;
}

clv_status clvi_graph_push_scope(clv_graph *graph, const char *name, clv_error *error)
{
    CLV_TRY(check_name("a scope", name, error));
    const size_t before = strlen(graph->scope), length = strlen(name);
    if (graph->scope_count == CLVI_MAX_SCOPES || before + length >= INT32_MAX)
        CLV_FAIL(error, CLV_E_PLUGIN, "more than %d scopes are open", CLVI_MAX_SCOPES);
    void *scope = graph->scope;
    const clv_status status =
        clvi_grow(&scope, &graph->scope_capacity, before + length + 2, 1, error);
    graph->scope = scope;
    CLV_TRY(status);
    memcpy(graph->scope + before, name, length);
    memcpy(graph->scope + before + length, ".", 2);
    graph->scope_starts[graph->scope_count++] = (uint32_t)before;
    return CLV_OK;
}

clv_status clvi_graph_pop_scope(clv_graph *graph, clv_error *error)
{
    if (graph->scope_count == 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "a scope is closed that was never opened");
    graph->scope[graph->scope_starts[--graph->scope_count]] = '\0';
    return CLV_OK;
}

/* ---- Questions
 * ----------------------------------------------------------------------------------- */

clv_status clvi_graph_shape(const clv_graph *graph, clv_tensor tensor, clv_shape *out,
                            clv_error *error)
{
    if (out == NULL || out->struct_size < CLVI_BYTES_TO(clv_shape, dims))
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_shape.struct_size is %u bytes, wanted is at least %zu",
                 out != NULL ? out->struct_size : 0, CLVI_BYTES_TO(clv_shape, dims));
    CLV_TRY(check_tensor(graph, tensor, "what a shape is asked of", error));
    const uint32_t given = out->struct_size;
    memcpy(out, &graph->tensors[tensor].shape, given < sizeof(*out) ? given : sizeof(*out));
    out->struct_size = given;
    return CLV_OK;
}

clv_tensor clvi_graph_find_output(const clv_graph *graph, const char *role)
{
    for (size_t i = 0; i < graph->output_count; i++)
        if (strcmp(graph->outputs[i].role, role) == 0)
            return graph->outputs[i].tensor;
    return CLV_NO_TENSOR;
}

clv_tensor clvi_graph_find_input(const clv_graph *graph, const char *role)
{
    for (size_t i = 0; i < graph->input_count; i++)
        if (strcmp(graph->inputs[i].desc.role, role) == 0)
            return graph->inputs[i].tensor;
    return CLV_NO_TENSOR;
}

int64_t clvi_graph_macs(const clv_graph *graph)
{
    int64_t sum = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].op->macs)
            sum += graph->nodes[i].op->macs(graph, &graph->nodes[i]);
    return sum;
}
