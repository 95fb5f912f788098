/* One network of a mixture as nodes of an ONNX model. Images are [N, C, H, W] there: values of four
 * axes are turned once, with the weights, and stay so. */
#ifndef CLVI_ONNX_PART_H
#define CLVI_ONNX_PART_H

#include "export/onnx_model.h"
#include "ops/op.h"

/* What a tensor of the graph is in the model. */
typedef struct clvi_onnx_value {
    const char *name; /* NULL: not made */
    bool flat;        /* [N, C·H·W], and H·W·C in the graph */
    int64_t image[3]; /* then: H, W, C */
} clvi_onnx_value;

typedef struct clvi_onnx_part {
    clvi_onnx *onnx;
    const clv_graph *graph;
    const char *section;     /* "expert.a": begins all names */
    size_t base;             /* segment of the graph's first variable */
    clvi_onnx_value *values; /* of each tensor */
} clvi_onnx_part;

/* A part without values; its inputs are set by clvi_onnx_part_bind before it is emitted. */
void clvi_onnx_part_begin(clvi_onnx_part *out, clvi_onnx *onnx, const clv_graph *graph,
                          const char *section, size_t base);
/* The input of a role is a value: an image [N, C, H, W], all else as in the graph. */
void clvi_onnx_part_bind(clvi_onnx_part *part, const char *role, const char *value);
/* Adds what the output of a role needs, once; returns its value, laid out as in the graph. NULL: no
 * such output, or a failure. */
const char *clvi_onnx_part_output(clvi_onnx_part *part, const char *role);

/* ---- For the table of operations ---- */

/* An operation's node is added, and its output's value set. */
typedef void clvi_onnx_emit(clvi_onnx_part *part, const clvi_node *node);
/* How an operation is written; NULL: it cannot be. */
clvi_onnx_emit *clvi_onnx_emitter(const char *op);

/* Attributes of a node, by name. */
int64_t clvi_onnx_int_of(const clvi_node *node, const char *attr);
double clvi_onnx_real_of(const clvi_node *node, const char *attr);
const char *clvi_onnx_choice_of(const clvi_node *node, const char *attr, char out[32]);

/* "expert.a.features.0.conv", of the node's output. */
const char *clvi_onnx_name(const clvi_onnx_part *part, const clvi_node *node);
const clv_shape *clvi_onnx_shape(const clvi_onnx_part *part, clv_tensor tensor);
/* Input `index`: as it lies, or in the graph's order of elements (images [N, C, H, W] all the
 * same). NULL where the node has none. */
clvi_onnx_value clvi_onnx_raw(const clvi_onnx_part *part, const clvi_node *node, int index);
const char *clvi_onnx_in(clvi_onnx_part *part, const clvi_node *node, int index);
/* The variable that is input `index`, in the order of the store or another one. */
const char *clvi_onnx_weight(clvi_onnx_part *part, const clvi_node *node, int index,
                             const clv_shape *shape, const clvi_reorder *order);
/* Node `op` with inputs, as (x, "Add", name, ONNX_LIST(a, b)) and with attributes. */
const char *clvi_onnx_plain(clvi_onnx *onnx, const char *op, const char *name,
                            const char *const *inputs, size_t count);
/* With one attribute, an integer. */
const char *clvi_onnx_along(clvi_onnx *onnx, const char *op, const char *name, const char *input,
                            const char *attr, int64_t value);
/* x with extents `dims` of `rank`; 0: as it is; -1: what is left. */
const char *clvi_onnx_reshaped(clvi_onnx *onnx, const char *name, const char *x,
                               const int64_t *dims, size_t rank);
/* Images [N, C, H, W] times a matrix for each axis that is given (NULL: the axis stays):
 * rows [out, H], columns [out, W]; for means over windows, and other sizes. */
typedef struct clvi_onnx_axes {
    const float *rows, *columns;
    int64_t height, width, to_height, to_width;
} clvi_onnx_axes;
const char *clvi_onnx_mapped(clvi_onnx *onnx, const char *name, const char *x,
                             const clvi_onnx_axes *axes);
/* Sets the node's output: laid out as in the graph (images aside), or as `like` is. */
void clvi_onnx_set(clvi_onnx_part *part, const clvi_node *node, const char *value);
void clvi_onnx_set_like(clvi_onnx_part *part, const clvi_node *node, const char *value,
                        const clvi_onnx_value *like);

/* onnx_fusion.c */
clvi_onnx_emit clvi_onnx_fuse_scores, clvi_onnx_topk_mask, clvi_onnx_weigh_columns;

#endif
