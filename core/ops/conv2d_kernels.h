/* What conv2d and conv2d_bn share: attributes, shape rule, geometry, and the launches of
 * kernels/conv2d.cl. */
#ifndef CLVI_CONV2D_KERNELS_H
#define CLVI_CONV2D_KERNELS_H

#include "ops/op.h"
#include "runtime/wide.h"

typedef struct clvi_conv_attrs {
    int64_t stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
    int64_t activation;   /* clvi_activation */
    double eps, momentum; /* conv2d_bn only */
} clvi_conv_attrs;

/* The attributes of conv2d; conv2d_bn adds eps and momentum, the last two. */
enum { CLVI_CONV_ATTRS = 7, CLVI_CONV_BN_ATTRS = 9 };
extern const clvi_attr_spec clvi_conv_attr_specs[CLVI_CONV_BN_ATTRS];

/* x [N, H, W, C], weights [kh, kw, C, filters] → [N, ⌊(H + top + bottom - kh)/stride⌋ + 1, …,
 * filters]. Errors: CLV_E_SHAPE. */
clv_status clvi_conv_shape(clvi_shape_request *request, const char *op,
                           clv_error *error) CLV_MUST_CHECK;

/* One convolution of n pictures. */
typedef struct clvi_conv {
    int64_t n, h, w, ci, kh, kw, co, sh, sw, pt, pl, oh, ow;
} clvi_conv;

/* Of a node whose inputs 0 and 1 are picture and weights. */
clvi_conv clvi_conv_of(const clv_graph *graph, const clvi_node *node, int64_t n);
int64_t clvi_conv_pixels(const clvi_conv *conv); /* of the output, all pictures */

/* ---- Forward ---- */

/* Elements of the packed weights. */
int64_t clvi_conv_packed(const clvi_wide *wide, const clvi_conv *conv);
/* Packs weights [kh, kw, ci, co], each filter scaled by scale[co] (buf NULL: not). */
clv_status clvi_conv_pack(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                          clvi_view scale, clvi_view packed, clv_error *error) CLV_MUST_CHECK;
/* Statistics that the convolution leaves of its output: see kernels/conv2d.cl. */
typedef struct clvi_conv_stats {
    int32_t groups, share;
} clvi_conv_stats;
clvi_conv_stats clvi_conv_stats_of(const clvi_wide *wide, const clvi_conv *conv);
/* Elements of workspace, for any n. */
clvi_amount clvi_conv_forward_workspace(const clvi_wide *wide, const clvi_conv *conv);
typedef struct clvi_conv_call {
    clvi_view x, packed, y, workspace;
    clvi_view bias;  /* buf NULL: none */
    clvi_view stats; /* [2, groups, co]; buf NULL: not wanted */
    int64_t activation;
} clvi_conv_call;
clv_status clvi_conv_forward(clvi_device *device, const clvi_conv *conv, const clvi_conv_call *call,
                             clv_error *error) CLV_MUST_CHECK;

/* ---- Backward ---- */

/* Elements of workspace of the two gradients together, for any n. */
clvi_amount clvi_conv_backward_workspace(const clvi_wide *wide, const clvi_conv *conv);
/* dz [n, oh, ow, co]: the gradient to the convolution's sum. */
typedef struct clvi_conv_grads {
    clvi_view x, weights, dz, workspace;
    clvi_view dx, dweights; /* buf NULL: not wanted */
} clvi_conv_grads;
clv_status clvi_conv_backward(clvi_device *device, const clvi_conv *conv,
                              const clvi_conv_grads *grads, clv_error *error) CLV_MUST_CHECK;

#endif
