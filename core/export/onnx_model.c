/* See onnx_model.h. The file is a Model whose graph comes last: first what protobuf-c packs, then
 * each initialiser with its numbers as they are read, so that no more than one of them is in
 * memory.
 */
#include "export/onnx_model.h"

#include "base/files.h"

#include "onnx.pb-c.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    FIELD_GRAPH = 7,       /* of a Model */
    FIELD_INITIALIZER = 5, /* of a Graph */
    FIELD_RAW_DATA = 9,    /* of a Tensor */
    LENGTH_DELIMITED = 2,
};
#define MOST_BYTES ((uint64_t)INT32_MAX) /* of a message, and so of the file */

typedef struct initializer {
    Onnx__Tensor tensor; /* without its numbers */
    const void *data;    /* of constants; NULL: of a variable */
    size_t segment;
    clvi_reorder order;
    uint64_t elements;
    int width; /* bytes of an element */
} initializer;

/* Pointers that grow; the things themselves lie in the arena. */
typedef struct list {
    void **items;
    size_t count, capacity;
} list;

struct clvi_onnx {
    clvi_arena *arena;
    clv_status status;
    clv_error error;
    list nodes, initializers, inputs, outputs, properties;
    list names; /* of all values, for numbering; sorted */
};

/* ---- Frame ---- */

clv_status clvi_onnx_create(clvi_onnx **out, clv_error *error)
{
    clvi_onnx *x = clvi_calloc(1, sizeof *x);
    if (x == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a model for ONNX");
    const clv_status status = clvi_arena_create(&x->arena, error);
    if (status != CLV_OK) {
        clvi_free(x);
        return status;
    }
    x->error = (clv_error)CLV_ERROR_INIT;
    *out = x;
    return CLV_OK;
}

void clvi_onnx_destroy(clvi_onnx *x)
{
    if (x == NULL)
        return;
    list *const lists[] = {&x->nodes,   &x->initializers, &x->inputs,
                           &x->outputs, &x->properties,   &x->names};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        clvi_free(lists[i]->items);
    clvi_arena_destroy(x->arena);
    clvi_free(x);
}

void clvi_onnx_fail(clvi_onnx *x, clv_status status, const char *format, ...)
{
    char text[512];
    va_list args;
    if (x->status != CLV_OK)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    x->status = clvi_fail(&x->error, status, CLV_HERE, "%s", text);
}

bool clvi_onnx_failed(const clvi_onnx *x)
{
    return x->status != CLV_OK;
}

static void no_memory(clvi_onnx *x)
{
    clvi_onnx_fail(x, CLV_E_MEMORY, "out of memory: a model for ONNX");
}

void *clvi_onnx_alloc(clvi_onnx *x, size_t bytes)
{
    void *out = x->status == CLV_OK ? clvi_arena_alloc(x->arena, bytes > 0 ? bytes : 1) : NULL;
    if (out == NULL)
        no_memory(x);
    return out;
}

const char *clvi_onnx_text(clvi_onnx *x, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof text) {
        clvi_onnx_fail(x, CLV_E_USAGE, "a name of more than %zu bytes: %.64s…", sizeof text, text);
        return NULL;
    }
    char *out = clvi_onnx_alloc(x, (size_t)length + 1);
    return out ? memcpy(out, text, (size_t)length + 1) : NULL;
}

static bool push(clvi_onnx *x, list *to, size_t at, void *item)
{
    void *items = to->items;
    if (x->status != CLV_OK || item == NULL)
        return false;
    if (clvi_grow(&items, &to->capacity, to->count + 1, sizeof *to->items, NULL) != CLV_OK) {
        no_memory(x);
        return false;
    }
    to->items = items;
    memmove(to->items + at + 1, to->items + at, (to->count - at) * sizeof *to->items);
    to->items[at] = item;
    to->count++;
    return true;
}

static bool push_last(clvi_onnx *x, list *to, void *item)
{
    return push(x, to, to->count, item);
}

/* ---- Names ---- */

/* Where a name stands, or would, among those that are taken. */
static size_t place_of(const list *names, const char *name, bool *taken)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(names->items[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *taken = low < names->count && strcmp(names->items[low], name) == 0;
    return low;
}

/* The name itself, or with the first number that makes it another one. */
static char *new_name(clvi_onnx *x, const char *name)
{
    bool taken;
    size_t at = name ? place_of(&x->names, name, &taken) : 0;
    const char *own = name ? clvi_onnx_text(x, "%s", name) : NULL;
    for (int i = 1; own && taken; i++) {
        own = clvi_onnx_text(x, "%s.%d", name, i);
        if (own)
            at = place_of(&x->names, own, &taken);
    }
    return own && push(x, &x->names, at, (char *)own) ? (char *)own : NULL;
}

/* ---- Nodes ---- */

static Onnx__Attribute **pack_attrs(clvi_onnx *x, const clvi_onnx_attr *attrs, size_t count)
{
    Onnx__Attribute **out = clvi_onnx_alloc(x, count * sizeof *out);
    for (size_t i = 0; i < count && out; i++) {
        Onnx__Attribute *a = clvi_onnx_alloc(x, sizeof *a);
        int64_t *ints = clvi_onnx_alloc(x, attrs[i].count * sizeof *ints);
        if (!a || !ints)
            return NULL;
        onnx__attribute__init(a);
        a->name = (char *)attrs[i].name;
        a->has_type = 1, a->type = (int32_t)attrs[i].type;
        a->has_f = attrs[i].type == CLVI_ONNX_FLOAT, a->f = attrs[i].f;
        a->has_i = attrs[i].type == CLVI_ONNX_INT, a->i = attrs[i].i;
        if (attrs[i].count > 0)
            memcpy(ints, attrs[i].ints, attrs[i].count * sizeof *ints);
        a->n_ints = attrs[i].count, a->ints = ints;
        out[i] = a;
    }
    return out;
}

const char *clvi_onnx_add(clvi_onnx *x, const clvi_onnx_node *d)
{
    Onnx__Node *node = clvi_onnx_alloc(x, sizeof *node);
    char **inputs = clvi_onnx_alloc(x, d->input_count * sizeof *inputs);
    char **outputs = clvi_onnx_alloc(x, 2 * sizeof *outputs);
    for (size_t i = 0; i < d->input_count; i++)
        if (d->inputs[i] == NULL)
            clvi_onnx_fail(x, CLV_E_INTERNAL, "%s (%s) has no input %zu", d->name, d->op, i);
    if (!node || !inputs || !outputs || x->status != CLV_OK)
        return NULL;
    onnx__node__init(node);
    for (size_t i = 0; i < d->input_count; i++)
        inputs[i] = (char *)d->inputs[i];
    outputs[0] = new_name(x, d->name);
    if (d->second) {
        outputs[1] = new_name(x, clvi_onnx_text(x, "%s.second", d->name));
        *d->second = outputs[1];
    }
    node->name = outputs[0];
    node->op_type = (char *)d->op;
    node->input = inputs, node->n_input = d->input_count;
    node->output = outputs, node->n_output = d->second ? 2 : 1;
    node->attribute = pack_attrs(x, d->attrs, d->attr_count);
    node->n_attribute = d->attr_count;
    return push_last(x, &x->nodes, node) ? outputs[0] : NULL;
}

/* ---- Initialisers ---- */

/* One without its numbers. */
static initializer *new_initializer(clvi_onnx *x, const char *name, int type,
                                    const clv_shape *shape, int64_t count)
{
    initializer *i = clvi_onnx_alloc(x, sizeof *i);
    const size_t rank = shape ? (size_t)shape->rank : count >= 0 ? 1 : 0;
    int64_t *dims = clvi_onnx_alloc(x, rank * sizeof *dims);
    if (!i || !dims)
        return NULL;
    onnx__tensor__init(&i->tensor);
    i->elements = 1;
    for (size_t k = 0; k < rank; k++) {
        dims[k] = shape ? shape->dims[k] : count;
        i->elements *= (uint64_t)dims[k];
    }
    i->tensor.name = new_name(x, name);
    i->tensor.has_data_type = 1, i->tensor.data_type = type;
    i->tensor.dims = dims, i->tensor.n_dims = rank;
    i->width = type == CLVI_ONNX_F32 ? 4 : 8;
    return push_last(x, &x->initializers, i) ? i : NULL;
}

/* One of numbers that are at hand, brought to the file's order of bytes. */
static const char *constant(clvi_onnx *x, initializer *i, const void *values)
{
    const size_t bytes = i ? (size_t)i->elements * (size_t)i->width : 0;
    void *data = i ? clvi_onnx_alloc(x, bytes) : NULL;
    if (!data)
        return NULL;
    memcpy(data, values, bytes);
    clvi_file_to_host(data, (size_t)i->width, (size_t)i->elements);
    i->data = data;
    return i->tensor.name;
}

const char *clvi_onnx_floats(clvi_onnx *x, const char *name, const float *values, size_t count,
                             const clv_shape *shape)
{
    return constant(x, new_initializer(x, name, CLVI_ONNX_F32, shape, (int64_t)count), values);
}

const char *clvi_onnx_ints(clvi_onnx *x, const char *name, const int64_t *values, size_t count)
{
    return constant(x, new_initializer(x, name, CLVI_ONNX_I64, NULL, (int64_t)count), values);
}

const char *clvi_onnx_number(clvi_onnx *x, const char *name, double value)
{
    const float number = (float)value;
    return constant(x, new_initializer(x, name, CLVI_ONNX_F32, NULL, -1), &number);
}

const char *clvi_onnx_variable(clvi_onnx *x, const char *name, size_t segment,
                               const clv_shape *shape, const clvi_reorder *order)
{
    initializer *i = new_initializer(x, name, CLVI_ONNX_F32, shape, 0);
    if (!i)
        return NULL;
    i->segment = segment;
    i->order = *order;
    return i->tensor.name;
}

/* ---- The whole ---- */

static Onnx__ValueInfo *describe(clvi_onnx *x, const char *name, const clv_shape *shape,
                                 const char *doc)
{
    Onnx__ValueInfo *info = clvi_onnx_alloc(x, sizeof *info);
    Onnx__Type *type = clvi_onnx_alloc(x, sizeof *type);
    Onnx__Type__Tensor *tensor = clvi_onnx_alloc(x, sizeof *tensor);
    Onnx__TensorShape *extents = clvi_onnx_alloc(x, sizeof *extents);
    const size_t rank = (size_t)shape->rank;
    Onnx__TensorShape__Dimension **dims = clvi_onnx_alloc(x, rank * sizeof *dims);
    if (!info || !type || !tensor || !extents || !dims)
        return NULL;
    onnx__value_info__init(info);
    onnx__type__init(type);
    onnx__type__tensor__init(tensor);
    onnx__tensor_shape__init(extents);
    for (size_t i = 0; i < rank; i++) {
        Onnx__TensorShape__Dimension *d = clvi_onnx_alloc(x, sizeof *d);
        if (!d)
            return NULL;
        onnx__tensor_shape__dimension__init(d);
        const bool batch = shape->dims[i] == CLV_BATCH;
        d->value_case = batch ? ONNX__TENSOR_SHAPE__DIMENSION__VALUE_DIM_PARAM
                              : ONNX__TENSOR_SHAPE__DIMENSION__VALUE_DIM_VALUE;
        if (batch)
            d->dim_param = (char *)"N";
        else
            d->dim_value = shape->dims[i];
        dims[i] = d;
    }
    extents->dim = dims, extents->n_dim = rank;
    tensor->has_elem_type = 1, tensor->elem_type = CLVI_ONNX_F32;
    tensor->shape = extents;
    type->tensor_type = tensor;
    info->name = (char *)clvi_onnx_text(x, "%s", name);
    info->doc_string = doc ? (char *)clvi_onnx_text(x, "%s", doc) : NULL;
    info->type = type;
    return info;
}

void clvi_onnx_input(clvi_onnx *x, const char *name, const clv_shape *shape, const char *doc)
{
    (void)new_name(x, name);
    push_last(x, &x->inputs, describe(x, name, shape, doc));
}

void clvi_onnx_output(clvi_onnx *x, const char *name, const char *value, const clv_shape *shape,
                      const char *doc)
{
    (void)clvi_onnx_add(x, &(clvi_onnx_node){"Identity", name, ONNX_LIST(value), NULL, 0, NULL});
    push_last(x, &x->outputs, describe(x, name, shape, doc));
}

void clvi_onnx_property(clvi_onnx *x, const char *key, const char *value)
{
    Onnx__Property *p = clvi_onnx_alloc(x, sizeof *p);
    char *own = clvi_onnx_alloc(x, strlen(value) + 1);
    if (!p || !own)
        return;
    onnx__property__init(p);
    p->key = (char *)clvi_onnx_text(x, "%s", key);
    p->value = memcpy(own, value, strlen(value) + 1);
    push_last(x, &x->properties, p);
}

/* ---- The file ---- */

typedef struct writer {
    const clvi_onnx *x;
    const clvi_onnx_writing *how;
    FILE *stream;
} writer;

static clv_status put(const writer *w, const void *bytes, size_t count, clv_error *error)
{
    errno = 0;
    if (fwrite(bytes, 1, count, w->stream) == count)
        return CLV_OK;
    return clvi_fail_errno(error, errno != 0 ? errno : EIO, CLV_HERE, "%s: cannot write",
                           w->how->path);
}

/* The head of a field of a message: its number and length. Returns its bytes. */
static size_t field_head(int field, uint64_t length, uint8_t out[12])
{
    size_t count = 1;
    out[0] = (uint8_t)(field << 3 | LENGTH_DELIMITED);
    for (; length >= 0x80; length >>= 7)
        out[count++] = (uint8_t)(length | 0x80);
    out[count++] = (uint8_t)length;
    return count;
}

static clv_status put_head(const writer *w, int field, uint64_t length, clv_error *error)
{
    uint8_t head[12];
    return put(w, head, field_head(field, length, head), error);
}

static uint64_t data_bytes(const initializer *i)
{
    return i->elements * (uint64_t)i->width;
}

/* Bytes of a Tensor with its numbers, and of the field that it is. */
static uint64_t tensor_bytes(const initializer *i)
{
    uint8_t head[12];
    return onnx__tensor__get_packed_size(&i->tensor) +
           field_head(FIELD_RAW_DATA, data_bytes(i), head) + data_bytes(i);
}

static uint64_t initializer_bytes(const initializer *i)
{
    uint8_t head[12];
    return field_head(FIELD_INITIALIZER, tensor_bytes(i), head) + tensor_bytes(i);
}

static clv_status put_piece(void *to, float *piece, size_t count, clv_error *error)
{
    clvi_file_to_host(piece, sizeof *piece, count);
    return put(to, piece, count * sizeof *piece, error);
}

static clv_status put_variable(writer *w, const initializer *i, clv_error *error)
{
    const clvi_export_variable variable = {.name = i->tensor.name,
                                           .read = w->how->read,
                                           .user = w->how->user,
                                           .segment = i->segment,
                                           .elements = (int64_t)i->elements,
                                           .order = &i->order};
    return clvi_export_pieces(&variable, put_piece, w, error);
}

static clv_status put_initializer(writer *w, const initializer *i, clv_error *error)
{
    const size_t bytes = onnx__tensor__get_packed_size(&i->tensor);
    uint8_t *packed = clvi_malloc(bytes);
    if (!packed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory to write %s", i->tensor.name);
    onnx__tensor__pack(&i->tensor, packed);
    clv_status status = put_head(w, FIELD_INITIALIZER, tensor_bytes(i), error);
    if (status == CLV_OK)
        status = put(w, packed, bytes, error);
    clvi_free(packed);
    if (status == CLV_OK)
        status = put_head(w, FIELD_RAW_DATA, data_bytes(i), error);
    if (status != CLV_OK)
        return status;
    return i->data ? put(w, i->data, (size_t)data_bytes(i), error) : put_variable(w, i, error);
}

/* The graph but for its initialisers, and the model but for its graph. */
static Onnx__Graph graph_of(const clvi_onnx *x)
{
    Onnx__Graph graph = ONNX__GRAPH__INIT;
    graph.name = (char *)"conclave";
    graph.node = (Onnx__Node **)x->nodes.items, graph.n_node = x->nodes.count;
    graph.input = (Onnx__ValueInfo **)x->inputs.items, graph.n_input = x->inputs.count;
    graph.output = (Onnx__ValueInfo **)x->outputs.items, graph.n_output = x->outputs.count;
    return graph;
}

static clv_status put_model(const writer *w, clv_error *error)
{
    Onnx__Model model = ONNX__MODEL__INIT;
    Onnx__OperatorSet set = ONNX__OPERATOR_SET__INIT, *sets = &set;
    set.domain = (char *)"";
    set.has_version = 1, set.version = CLVI_ONNX_OPSET;
    model.has_ir_version = 1, model.ir_version = CLVI_ONNX_IR;
    model.producer_name = (char *)w->how->producer;
    model.producer_version = (char *)w->how->version;
    model.doc_string = (char *)w->how->doc;
    model.opset_import = &sets, model.n_opset_import = 1;
    model.metadata_props = (Onnx__Property **)w->x->properties.items;
    model.n_metadata_props = w->x->properties.count;
    const size_t bytes = onnx__model__get_packed_size(&model);
    uint8_t *packed = clvi_malloc(bytes);
    if (!packed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory to write %s", w->how->path);
    onnx__model__pack(&model, packed);
    const clv_status status = put(w, packed, bytes, error);
    clvi_free(packed);
    return status;
}

static clv_status put_graph(writer *w, clv_error *error)
{
    const Onnx__Graph graph = graph_of(w->x);
    const list *all = &w->x->initializers;
    const size_t bytes = onnx__graph__get_packed_size(&graph);
    uint64_t total = bytes;
    for (size_t i = 0; i < all->count; i++)
        total += initializer_bytes(all->items[i]);
    if (total > MOST_BYTES)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: a file of ONNX may have 2 GB, and this network would take %.1f GB",
                 w->how->path, (double)total * 1e-9);
    uint8_t *packed = clvi_malloc(bytes);
    if (!packed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory to write %s", w->how->path);
    onnx__graph__pack(&graph, packed);
    clv_status status = put_head(w, FIELD_GRAPH, total, error);
    if (status == CLV_OK)
        status = put(w, packed, bytes, error);
    clvi_free(packed);
    for (size_t i = 0; i < all->count && status == CLV_OK; i++)
        status = put_initializer(w, all->items[i], error);
    return status;
}

clv_status clvi_onnx_write(const clvi_onnx *x, const clvi_onnx_writing *how, clv_error *error)
{
    clvi_atomic_file file = {0};
    if (x->status != CLV_OK)
        CLV_FAIL(error, x->status, "%s", x->error.message);
    CLV_TRY(clvi_atomic_begin(&file, how->path, error));
    writer w = {x, how, file.stream};
    clv_status status = put_model(&w, error);
    if (status == CLV_OK)
        status = put_graph(&w, error);
    if (status == CLV_OK)
        status = clvi_atomic_commit(&file, error);
    clvi_atomic_abort(&file);
    return status;
}
