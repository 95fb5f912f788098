/* What max_pool2d and avg_pool2d share: attributes, shape rule and launch arguments. */
#ifndef CLVI_POOL2D_H
#define CLVI_POOL2D_H

#include "ops/op.h"
#include "ops/share.h"

typedef struct clvi_pool2d_attrs {
    int64_t kernel, stride, pad;
} clvi_pool2d_attrs;

/* kernel² places must fit a byte, see kernels/max_pool2d.cl. */
enum { CLVI_POOL2D_ATTRS = 3, CLVI_POOL2D_MAX_KERNEL = 15 };
extern const clvi_attr_spec clvi_pool2d_attr_specs[CLVI_POOL2D_ATTRS];

/* [N, H, W, C] → [N, ⌊(H + 2·pad - kernel)/stride⌋ + 1, …, C]; pad ≤ kernel/2, so that every window
 * holds a pixel of the picture. */
clv_status clvi_pool2d_shape(clvi_shape_request *request, const char *op,
                             clv_error *error) CLV_MUST_CHECK;

/* Whether windows of 2 × 2 pixels lie side by side: what CLVI_JOIN_MAX_POOL means. */
bool clvi_pool2d_halves(const clvi_node *node);

/* Launches a pooling kernel over views, then n, h, w, c, oh, ow, kernel, stride, pad, share. Shares
 * are of rows, of the input where `rows_of_input`, else of the output. */
clv_status clvi_pool2d_launch(const clvi_run *run, const char *kernel, const clvi_view *views,
                              int view_count, bool rows_of_input, clv_error *error) CLV_MUST_CHECK;

#endif
