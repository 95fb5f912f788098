/* See transfer.h. */
#include "weights/transfer.h"

#include "base/process.h"
#include "base/text.h"
#include "ops/op.h"
#include "weights/foreign_names.h"
#include "weights/reorder.h"

#include <math.h>
#include <stdio.h>

enum { NONE = -1, SHOWN_NAMES = 4 };

/* The tensor of a variable. */
typedef struct pair {
    int64_t tensor; /* NONE: the variable keeps its initial value */
    int64_t bias;   /* a tensor to subtract, of a convolution's bias; NONE: nothing */
    bool other_shape;
    clvi_reorder order;
} pair;

struct clvi_transfer {
    clvi_transfer_desc desc;
    clvi_arena *arena;
    pair *pairs; /* of each variable */
    bool *head;  /* of each variable: it belongs to the layer that makes the logits */
    bool *used;  /* of each tensor */
    clvi_foreign_names names;
    const char *expert; /* the prefix without its dot */
    bool head_left;
    int64_t head_classes[2]; /* of the file (0: it has none) and of the network, when left out */
};

static clv_status out_of_memory(const clvi_transfer *t, clv_error *error)
{
    CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory for the names of its tensors",
             clvi_weights_path(t->desc.file));
}

static const char *variable_name(const clvi_transfer *t, size_t variable)
{
    return t->desc.graph->variables[variable].name;
}

/* ---- Pairs ---- */

/* Marks the variables of the layer whose output the logits are. */
static void find_head(clvi_transfer *t)
{
    const clv_graph *g = t->desc.graph;
    clv_tensor at = clvi_graph_find_output(g, "logits");
    while (at != CLV_NO_TENSOR && g->tensors[at].producer >= 0) {
        const clvi_node *node = &g->nodes[g->tensors[at].producer];
        bool found = false;
        for (int32_t i = 0; i < node->input_count; i++) {
            const clv_tensor input = node->inputs[i];
            if (input != CLV_NO_TENSOR && g->tensors[input].variable >= 0) {
                t->head[g->tensors[input].variable] = true;
                found = true;
            }
        }
        if (found)
            return;
        at = node->inputs[0];
    }
}

static void pair_up(clvi_transfer *t)
{
    const clvi_weights_layout layout = clvi_weights_layout_of(t->desc.file);
    for (size_t v = 0; v < t->desc.graph->variable_count; v++) {
        pair *p = &t->pairs[v];
        p->tensor = clvi_foreign_names_tensor(&t->names, variable_name(t, v));
        p->bias = NONE;
        if (p->tensor == NONE)
            continue;
        t->used[p->tensor] = true;
        p->other_shape = !clvi_reorder_find(
            t->desc.graph, v, layout, clvi_weights_at(t->desc.file, (size_t)p->tensor), &p->order);
    }
}

/* The convolution's bias, called as its weight but for the last part, in the file; NONE: none. */
static clv_status find_bias(const clvi_transfer *t, size_t weight, int64_t *out, clv_error *error)
{
    const char *name = variable_name(t, weight), *dot = strrchr(name, '.');
    const char *bias =
        clvi_arena_printf(t->arena, "%.*sbias", dot ? (int)(dot + 1 - name) : 0, name);
    if (!bias)
        return out_of_memory(t, error);
    *out = clvi_foreign_names_tensor(&t->names, bias);
    return CLV_OK;
}

/* A convolution before a normalisation has no bias here. One that the file has is taken away again
 * by the mean of the batch, and is part of the running mean: conv(x) + bias - mean there is
 * conv(x) - (mean - bias) here. */
static clv_status fold_biases(clvi_transfer *t, clv_error *error)
{
    enum { WEIGHT = 1, RUNNING_MEAN = 4 }; /* inputs of both */
    const clv_graph *g = t->desc.graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const clvi_node *node = &g->nodes[i];
        int64_t bias = NONE;
        if (strcmp(node->op->name, "conv2d_bn") != 0 &&
            strcmp(node->op->name, "depthwise_conv2d_bn") != 0)
            continue;
        const int32_t weight = g->tensors[node->inputs[WEIGHT]].variable;
        const int32_t mean = g->tensors[node->inputs[RUNNING_MEAN]].variable;
        if (weight < 0 || mean < 0)
            continue;
        CLV_TRY(find_bias(t, (size_t)weight, &bias, error));
        pair *p = &t->pairs[mean];
        if (bias == NONE || p->tensor == NONE || p->other_shape || t->used[bias] ||
            clvi_weights_at(t->desc.file, (size_t)bias)->elements !=
                clvi_weights_at(t->desc.file, (size_t)p->tensor)->elements)
            continue;
        p->bias = bias;
        t->used[bias] = true;
    }
    return CLV_OK;
}

/* Whether the layer's variables differ from the file in the number of classes, or are missing. */
static void leave_head(clvi_transfer *t)
{
    const clv_graph *g = t->desc.graph;
    const clvi_weights_layout layout = clvi_weights_layout_of(t->desc.file);
    int64_t theirs = 0, ours = 0;
    bool leave = false;
    for (size_t v = 0; v < g->variable_count; v++) {
        const pair *p = &t->pairs[v];
        const clv_shape *shape = &g->tensors[g->variables[v].tensor].shape;
        if (!t->head[v] || shape->rank == 0)
            continue;
        ours = shape->dims[shape->rank - 1];
        leave |= p->tensor == NONE || p->other_shape;
        if (p->tensor != NONE)
            theirs = clvi_reorder_outputs(clvi_weights_at(t->desc.file, (size_t)p->tensor), layout);
    }
    if (!leave || theirs == ours)
        return;
    for (size_t v = 0; v < g->variable_count; v++)
        if (t->head[v])
            t->pairs[v] = (pair){.tensor = NONE, .bias = NONE};
    t->head_left = true;
    t->head_classes[0] = theirs;
    t->head_classes[1] = ours;
}

/* Says that the last layer was left out. */
static void tell_head(const clvi_transfer *t)
{
    const char *path = clvi_weights_path(t->desc.file);
    if (t->head_left && t->head_classes[0] > 0)
        clvi_log(CLVI_LOG_INFO,
                 "%s: the last layer is left out: it tells %lld classes apart in %s and %lld here",
                 t->expert, (long long)t->head_classes[0], path, (long long)t->head_classes[1]);
    else if (t->head_left)
        clvi_log(CLVI_LOG_INFO, "%s: %s has no last layer; it starts afresh", t->expert, path);
}

/* ---- What does not fit ---- */

typedef struct faults {
    clvi_text missing, unexpected, shapes;
    size_t missing_count, unexpected_count, shape_count, fitting;
} faults;

/* Adds a name to a list of which only the first few are shown. */
static void add_name(clvi_text *list, size_t *count, const char *name)
{
    char shown[96];
    if (*count < SHOWN_NAMES)
        clvi_text_printf(list, "%s%s", *count > 0 ? ", " : "",
                         clvi_printable(name, shown, sizeof shown));
    ++*count;
}

static void add_shape(const clvi_transfer *t, size_t v, faults *f)
{
    const clvi_file_tensor *tensor = clvi_weights_at(t->desc.file, (size_t)t->pairs[v].tensor);
    char wanted[96], what[512], shown[96];
    clvi_text shape = {0};
    for (int i = 0; i < tensor->rank; i++)
        clvi_text_printf(&shape, "%s%lld", i > 0 ? ", " : "", (long long)tensor->dims[i]);
    (void)snprintf(what, sizeof what, "%s is [%s] and should be %s",
                   clvi_printable(tensor->name, shown, sizeof shown), clvi_text_get(&shape),
                   clvi_reorder_wanted(t->desc.graph, v, clvi_weights_layout_of(t->desc.file),
                                       wanted, sizeof wanted));
    clvi_text_fini(&shape);
    if (f->shape_count++ < SHOWN_NAMES)
        clvi_text_printf(&f->shapes, "%s%s", f->shape_count > 1 ? ", " : "", what);
}

static bool is_other(const clvi_transfer *t, const char *name)
{
    for (size_t i = 0; t->desc.others != NULL && t->desc.others[i] != NULL; i++)
        if (strncmp(name, t->desc.others[i], strlen(t->desc.others[i])) == 0)
            return true;
    return false;
}

static void collect(const clvi_transfer *t, faults *f)
{
    for (size_t v = 0; v < t->desc.graph->variable_count; v++) {
        const pair *p = &t->pairs[v];
        if (p->tensor == NONE && !(t->head[v] && t->head_left))
            add_name(&f->missing, &f->missing_count, variable_name(t, v));
        else if (p->tensor != NONE && p->other_shape)
            add_shape(t, v, f);
        else if (p->tensor != NONE)
            f->fitting++;
    }
    for (size_t i = 0; i < t->names.count; i++) {
        const size_t tensor = t->names.list[i].tensor;
        const char *name = clvi_weights_at(t->desc.file, tensor)->name;
        if (!t->used[tensor] && !is_other(t, name))
            add_name(&f->unexpected, &f->unexpected_count, name);
    }
}

/* "2 tensors of the network are missing (a, b)" and so on, joined by "; ". */
static void describe(const faults *f, clvi_text *out)
{
    const struct {
        size_t count;
        const char *text;
        const clvi_text *names;
    } parts[] = {{f->missing_count, "missing", &f->missing},
                 {f->unexpected_count, "unexpected", &f->unexpected},
                 {f->shape_count, "of another shape", &f->shapes}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].count == 0)
            continue;
        clvi_text_printf(out, "%s%zu tensor%s %s (%s%s)", out->length > 0 ? "; " : "",
                         parts[i].count, parts[i].count == 1 ? " is" : "s are", parts[i].text,
                         clvi_text_get(parts[i].names), parts[i].count > SHOWN_NAMES ? ", …" : "");
    }
}

static clv_status judge(const clvi_transfer *t, const faults *f, clv_error *error)
{
    const char *path = clvi_weights_path(t->desc.file);
    clvi_text text = {0};
    describe(f, &text);
    clv_status status = CLV_OK;
    if (text.failed)
        status = out_of_memory(t, error);
    else if (f->fitting == 0)
        status = clvi_fail(error, CLV_E_DATA, CLV_HERE, "%s fits no layer of %s: %s", path,
                           t->expert, clvi_text_get(&text));
    else if (text.length > 0 && t->desc.strict)
        status = clvi_fail(error, CLV_E_DATA, CLV_HERE, "%s does not fit %s: %s%s", path, t->expert,
                           clvi_text_get(&text),
                           t->desc.others == NULL ? "; weights_strict = no takes what fits" : "");
    if (status == CLV_OK)
        tell_head(t);
    if (status == CLV_OK && text.length > 0)
        clvi_log(CLVI_LOG_WARN, "%s: of %s, %s", t->expert, path, clvi_text_get(&text));
    clvi_text_fini(&text);
    return status;
}

/* ---- The transfer ---- */

static clv_status plan(clvi_transfer *t, clv_error *error)
{
    const size_t variables = t->desc.graph->variable_count;
    const size_t tensors = clvi_weights_count(t->desc.file);
    CLV_TRY(clvi_arena_create(&t->arena, error));
    t->pairs = clvi_arena_alloc(t->arena, variables * sizeof *t->pairs);
    t->head = clvi_arena_alloc(t->arena, variables * sizeof *t->head);
    t->used = clvi_arena_alloc(t->arena, tensors * sizeof *t->used);
    t->expert =
        clvi_arena_printf(t->arena, "%.*s", (int)strlen(t->desc.prefix) - 1, t->desc.prefix);
    if (!t->pairs || !t->head || !t->used || !t->expert)
        return out_of_memory(t, error);
    CLV_TRY(clvi_foreign_names_find(t->desc.file, t->desc.graph, t->desc.plugin,
                                    t->desc.file_prefix ? t->desc.file_prefix : t->desc.prefix,
                                    t->arena, &t->names, error));
    find_head(t);
    pair_up(t);
    CLV_TRY(fold_biases(t, error));
    leave_head(t);
    faults f = {0};
    collect(t, &f);
    const clv_status status = judge(t, &f, error);
    clvi_text_fini(&f.missing);
    clvi_text_fini(&f.unexpected);
    clvi_text_fini(&f.shapes);
    for (size_t v = 0; v < variables; v++)
        if (t->pairs[v].other_shape)
            t->pairs[v].tensor = NONE;
    return status;
}

clv_status clvi_transfer_plan(const clvi_transfer_desc *desc, clvi_transfer **out, clv_error *error)
{
    clvi_transfer *t = clvi_calloc(1, sizeof *t);
    if (!t)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", clvi_weights_path(desc->file));
    t->desc = *desc;
    const clv_status status = plan(t, error);
    if (status != CLV_OK) {
        clvi_transfer_destroy(t);
        return status;
    }
    *out = t;
    return CLV_OK;
}

void clvi_transfer_destroy(clvi_transfer *t)
{
    if (!t)
        return;
    clvi_arena_destroy(t->arena);
    clvi_free(t);
}

const clv_weight_names *clvi_transfer_family(const clvi_transfer *t)
{
    return &t->names.family;
}

int64_t clvi_transfer_tensor(const clvi_transfer *t, size_t variable)
{
    CLV_ASSERT(variable < t->desc.graph->variable_count);
    return t->pairs[variable].tensor;
}

/* The elements of a tensor, for the caller to free. */
static clv_status read_tensor(const clvi_transfer *t, size_t index, float **out, clv_error *error)
{
    const clvi_file_tensor *tensor = clvi_weights_at(t->desc.file, index);
    float *values = clvi_malloc((size_t)tensor->elements * sizeof *values);
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory to read '%s'",
                 clvi_weights_path(t->desc.file), tensor->name);
    clv_status status = clvi_weights_read_f32(t->desc.file, index, values, error);
    for (int64_t i = 0; i < tensor->elements && status == CLV_OK; i++)
        if (!isfinite(values[i]))
            status = clvi_fail(error, CLV_E_DATA, CLV_HERE,
                               "%s: tensor '%s' has a number that is not finite",
                               clvi_weights_path(t->desc.file), tensor->name);
    if (status == CLV_OK)
        *out = values;
    else
        clvi_free(values);
    return status;
}

clv_status clvi_transfer_read(const clvi_transfer *t, size_t variable, float *out, clv_error *error)
{
    const pair *p = &t->pairs[variable];
    float *values = NULL, *bias = NULL;
    CLV_TRY(read_tensor(t, (size_t)p->tensor, &values, error));
    const clv_status status =
        p->bias != NONE ? read_tensor(t, (size_t)p->bias, &bias, error) : CLV_OK;
    if (status == CLV_OK)
        clvi_reorder_apply(&p->order, values, out);
    for (int64_t i = 0; bias && i < t->desc.graph->variables[variable].elements; i++)
        out[i] -= bias[i];
    clvi_free(values);
    clvi_free(bias);
    return status;
}

static clv_status write_variable(const clvi_transfer *t, size_t variable, clvi_store *store,
                                 clvi_text *name, clv_error *error)
{
    name->length = 0;
    clvi_text_printf(name, "%s%s", t->desc.prefix, variable_name(t, variable));
    const int64_t segment = name->failed ? NONE : clvi_store_find(store, name->data);
    if (segment < 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s: no variable of this name", clvi_text_get(name));
    const size_t elements = (size_t)t->desc.graph->variables[variable].elements;
    float *values = clvi_malloc(elements * sizeof *values);
    if (!values)
        return out_of_memory(t, error);
    clv_status status = clvi_transfer_read(t, variable, values, error);
    if (status == CLV_OK)
        status = clvi_store_write(store, (size_t)segment, CLVI_STORE_VALUE, values, error);
    clvi_free(values);
    return status;
}

/* "expert.a: 311 tensors of FILE, in model_state_dict, with timm's names" */
static void tell_done(const clvi_transfer *t, size_t count)
{
    const char *place = clvi_weights_place(t->desc.file), *family = t->names.family.family;
    char shown[96];
    clvi_log(CLVI_LOG_INFO, "%s: %zu tensors of %s%s%s%s%s%s", t->expert, count,
             clvi_weights_path(t->desc.file), *place ? ", in " : "",
             clvi_printable(place, shown, sizeof shown), family ? ", with the names of " : "",
             family ? family : "", t->names.by_order ? ", by the order of layers" : "");
    if (clvi_weights_note(t->desc.file))
        clvi_log(CLVI_LOG_INFO, "%s: %s", t->expert, clvi_weights_note(t->desc.file));
}

clv_status clvi_transfer_run(const clvi_transfer *t, clvi_store *store, clv_error *error)
{
    clvi_text name = {0};
    size_t count = 0;
    clv_status status = CLV_OK;
    for (size_t v = 0; v < t->desc.graph->variable_count && status == CLV_OK; v++)
        if (t->pairs[v].tensor != NONE) {
            status = write_variable(t, v, store, &name, error);
            count++;
        }
    clvi_text_fini(&name);
    if (status == CLV_OK)
        tell_done(t, count);
    return status;
}
