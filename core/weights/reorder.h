/* The order of a parameter's axes in weight files and in a store: which element goes where. In a
 * store: convolution [kh, kw, in, out], depthwise [kh, kw, C], dense [in, out]; an image that was
 * flattened before a dense layer lies as height, width, channels. */
#ifndef CLVI_REORDER_H
#define CLVI_REORDER_H

#include "graph/graph.h"
#include "weights/weights.h"

/* Element (i, j, …) of the store, row-major in dims, is at i·strides[0] + j·strides[1] + … of the
 * file's tensor. */
typedef struct clvi_reorder {
    int rank;
    int64_t dims[CLV_MAX_RANK], strides[CLV_MAX_RANK];
} clvi_reorder;

/* Extents of the image [H, W, C] that a dense weight's inputs are, when they are a flattened image
 * of more than one pixel; otherwise false. `variable` is an index in graph->variables. */
bool clvi_reorder_flattened(const clv_graph *graph, size_t variable, int64_t image[3]);

/* How to bring a file's tensor into the variable; false: its shape does not fit. */
bool clvi_reorder_find(const clv_graph *graph, size_t variable, clvi_weights_layout layout,
                       const clvi_file_tensor *tensor, clvi_reorder *out);
/* The shape that a file of this layout would have: "[64, 3, 7, 7]", into `out`; returns it. */
const char *clvi_reorder_wanted(const clv_graph *graph, size_t variable, clvi_weights_layout layout,
                                char *out, size_t bytes);
/* How a variable lies in a new file of PyTorch: its shape there, and which of its elements, row by
 * row in that shape, is which of the store. */
void clvi_reorder_to_torch(const clv_graph *graph, size_t variable, clv_shape *shape,
                           clvi_reorder *out);
/* Number of a tensor's outputs (of its axis `out`) in a layout, for a weight or a bias. */
int64_t clvi_reorder_outputs(const clvi_file_tensor *tensor, clvi_weights_layout layout);

/* Elements of `from` in the order that the reorder says: all, or `count` of the result from `first`
 * on. */
void clvi_reorder_apply(const clvi_reorder *reorder, const float *from, float *to);
void clvi_reorder_part(const clvi_reorder *reorder, const float *from, int64_t first, int64_t count,
                       float *to);

#endif
