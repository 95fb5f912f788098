/* See reorder.h. */
#include "weights/reorder.h"

#include "ops/op.h"

/* The node whose weight a variable is (its input 1). */
static const clvi_node *node_of_weight(const clv_graph *graph, size_t variable)
{
    const clv_tensor tensor = graph->variables[variable].tensor;
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].input_count > 1 && graph->nodes[i].inputs[1] == tensor)
            return &graph->nodes[i];
    return NULL;
}

bool clvi_reorder_flattened(const clv_graph *graph, size_t variable, int64_t image[3])
{
    const clvi_node *node = node_of_weight(graph, variable);
    if (!node || strcmp(node->op->name, "dense") != 0)
        return false;
    /* Back through what does not change the shape, such as dropout, to the flattening. */
    for (clv_tensor at = node->inputs[0]; at != CLV_NO_TENSOR;) {
        const int32_t producer = graph->tensors[at].producer;
        if (producer < 0)
            return false;
        const clvi_node *maker = &graph->nodes[producer];
        const clv_tensor before = maker->inputs[0];
        const clv_shape *shape = before == CLV_NO_TENSOR ? NULL : &graph->tensors[before].shape;
        if (!shape)
            return false;
        if (shape->rank == 4 && strcmp(maker->op->name, "reshape") == 0) {
            memcpy(image, shape->dims + 1, 3 * sizeof *image);
            return image[0] * image[1] > 1;
        }
        if (shape->rank != 2 || shape->dims[1] != graph->tensors[at].shape.dims[1])
            return false;
        at = before;
    }
    return false;
}

/* A shape that a variable may have in a file, and the order of the store's axes (split where an
 * image was flattened) in it. */
typedef struct file_form {
    int rank;
    int64_t dims[CLV_MAX_RANK];
    clvi_reorder order;
} file_form;

static void set_form(file_form *form, int rank, const int64_t *file_dims, int store_rank,
                     const int *axes)
{
    int64_t stride = 1, strides[CLV_MAX_RANK];
    form->rank = rank;
    for (int i = rank; i-- > 0;) {
        form->dims[i] = file_dims[i];
        strides[i] = stride;
        stride *= file_dims[i];
    }
    form->order.rank = store_rank;
    for (int i = 0; i < store_rank; i++) {
        form->order.dims[i] = file_dims[axes[i]];
        form->order.strides[i] = strides[axes[i]];
    }
}

/* The only node that reads a tensor; NULL: none, or several. */
static const clvi_node *reader_of(const clv_graph *graph, clv_tensor tensor)
{
    const clvi_node *found = NULL;
    for (size_t i = 0; i < graph->node_count; i++)
        for (int32_t k = 0; k < graph->nodes[i].input_count; k++)
            if (graph->nodes[i].inputs[k] == tensor) {
                if (found)
                    return NULL;
                found = &graph->nodes[i];
            }
    return found;
}

/* Whether a dense layer is one of squeeze-excite: what comes of it is a factor for each channel of
 * an image. PyTorch's networks have 1×1 convolutions there. */
static bool is_squeeze(const clv_graph *graph, size_t variable)
{
    const clvi_node *node = node_of_weight(graph, variable);
    while (node) {
        const clv_tensor made = node->outputs[0];
        const clvi_node *next = reader_of(graph, made);
        if (next && strcmp(next->op->name, "multiply") == 0)
            return next->inputs[1] == made && clvi_in_shape(graph, next, 0)->rank == 4;
        const bool goes_on = next && next->inputs[0] == made &&
                             (strcmp(next->op->name, "dense") == 0 || next->input_count == 1);
        node = goes_on ? next : NULL;
    }
    return false;
}

/* Forms that a file of PyTorch may have for a variable, the usual one first; returns their number.
 */
static int list_forms(const clv_graph *graph, size_t variable, file_form forms[2])
{
    static const int conv_axes[] = {2, 3, 1, 0}, depthwise_axes[] = {2, 3, 0},
                     dense_axes[] = {1, 0}, same_axes[] = {0, 1, 2, 3, 4, 5};
    const clv_shape *s = &graph->tensors[graph->variables[variable].tensor].shape;
    const int64_t *d = s->dims;
    int64_t image[3];
    if (s->rank == 4) {
        set_form(&forms[0], 4, (int64_t[]){d[3], d[2], d[0], d[1]}, 4, conv_axes);
        set_form(&forms[1], 2, (int64_t[]){d[3], d[2]}, 2, dense_axes);
        return d[0] * d[1] == 1 ? 2 : 1;
    }
    if (s->rank == 3) {
        set_form(&forms[0], 4, (int64_t[]){d[2], 1, d[0], d[1]}, 3, depthwise_axes);
        return 1;
    }
    if (s->rank == 2 && clvi_reorder_flattened(graph, variable, image)) {
        /* The same elements as a matrix or as a convolution over the whole image. */
        set_form(&forms[0], 4, (int64_t[]){d[1], image[2], image[0], image[1]}, 4, conv_axes);
        forms[1] = forms[0];
        forms[0].rank = 2;
        forms[0].dims[1] = d[0];
        return 2;
    }
    if (s->rank == 2) {
        const int matrix = is_squeeze(graph, variable) ? 1 : 0;
        set_form(&forms[matrix], 2, (int64_t[]){d[1], d[0]}, 2, dense_axes);
        set_form(&forms[1 - matrix], 4, (int64_t[]){d[1], d[0], 1, 1}, 2, dense_axes);
        return 2;
    }
    set_form(&forms[0], s->rank, d, s->rank, same_axes);
    return 1;
}

/* Keras has the store's order, but for axes of one element; SE blocks of 1×1 convolutions may be
 * dense here. */
static int list_keras_forms(const clv_shape *s, file_form forms[2])
{
    static const int same_axes[] = {0, 1, 2, 3, 4, 5}, last_axes[] = {2, 3};
    const int64_t *d = s->dims;
    set_form(&forms[0], s->rank, d, s->rank, same_axes);
    if (s->rank == 3) {
        set_form(&forms[0], 4, (int64_t[]){d[0], d[1], d[2], 1}, 3, same_axes);
        return 1;
    }
    if (s->rank == 2)
        set_form(&forms[1], 4, (int64_t[]){1, 1, d[0], d[1]}, 2, last_axes);
    if (s->rank == 4)
        set_form(&forms[1], 2, (int64_t[]){d[2], d[3]}, 2, same_axes);
    return s->rank == 2 || (s->rank == 4 && d[0] * d[1] == 1) ? 2 : 1;
}

static int forms_of(const clv_graph *graph, size_t variable, clvi_weights_layout layout,
                    file_form forms[2])
{
    static const int same_axes[] = {0, 1, 2, 3, 4, 5};
    const clv_shape *s = &graph->tensors[graph->variables[variable].tensor].shape;
    if (layout == CLVI_LAYOUT_TORCH)
        return list_forms(graph, variable, forms);
    if (layout == CLVI_LAYOUT_KERAS)
        return list_keras_forms(s, forms);
    set_form(&forms[0], s->rank, s->dims, s->rank, same_axes);
    return 1;
}

bool clvi_reorder_find(const clv_graph *graph, size_t variable, clvi_weights_layout layout,
                       const clvi_file_tensor *tensor, clvi_reorder *out)
{
    file_form forms[2];
    const int count = forms_of(graph, variable, layout, forms);
    for (int i = 0; i < count; i++) {
        bool same = tensor->rank == forms[i].rank;
        for (int k = 0; same && k < tensor->rank; k++)
            same = tensor->dims[k] == forms[i].dims[k];
        if (same) {
            *out = forms[i].order;
            return true;
        }
    }
    return false;
}

const char *clvi_reorder_wanted(const clv_graph *graph, size_t variable, clvi_weights_layout layout,
                                char *out, size_t bytes)
{
    file_form forms[2];
    (void)forms_of(graph, variable, layout, forms);
    clv_shape shape = {.struct_size = sizeof shape, .rank = forms[0].rank};
    memcpy(shape.dims, forms[0].dims, sizeof shape.dims);
    return clvi_shape_text(&shape, out, bytes);
}

void clvi_reorder_to_torch(const clv_graph *graph, size_t variable, clv_shape *shape,
                           clvi_reorder *out)
{
    file_form forms[2];
    int64_t strides[CLV_MAX_RANK], stride = 1;
    bool taken[CLV_MAX_RANK] = {false};
    (void)list_forms(graph, variable, forms);
    const clvi_reorder *order = &forms[0].order;
    for (int i = order->rank; i-- > 0;) { /* of the store */
        strides[i] = stride;
        stride *= order->dims[i];
    }
    out->rank = order->rank;
    for (int k = 0; k < order->rank; k++) { /* the axes as they stand in the file */
        int widest = -1;
        for (int i = 0; i < order->rank; i++)
            if (!taken[i] && (widest < 0 || order->strides[i] > order->strides[widest]))
                widest = i;
        taken[widest] = true;
        out->dims[k] = order->dims[widest];
        out->strides[k] = strides[widest];
    }
    *shape = clvi_shape_make(CLV_F32, forms[0].rank, forms[0].dims);
}

int64_t clvi_reorder_outputs(const clvi_file_tensor *tensor, clvi_weights_layout layout)
{
    if (tensor->rank == 0)
        return 1;
    return tensor->dims[layout == CLVI_LAYOUT_TORCH ? 0 : tensor->rank - 1];
}

void clvi_reorder_part(const clvi_reorder *r, const float *from, int64_t first, int64_t count,
                       float *to)
{
    int64_t index[CLV_MAX_RANK] = {0}, at = 0, rest = first;
    for (int i = r->rank; i-- > 0;) {
        index[i] = rest % r->dims[i];
        rest /= r->dims[i];
        at += index[i] * r->strides[i];
    }
    for (int64_t k = 0; k < count; k++) {
        to[k] = from[at];
        for (int i = r->rank; i-- > 0;) {
            at += r->strides[i];
            if (++index[i] < r->dims[i])
                break;
            at -= r->strides[i] * r->dims[i];
            index[i] = 0;
        }
    }
}

void clvi_reorder_apply(const clvi_reorder *r, const float *from, float *to)
{
    int64_t elements = 1;
    for (int i = 0; i < r->rank; i++)
        elements *= r->dims[i];
    clvi_reorder_part(r, from, 0, elements, to);
}
