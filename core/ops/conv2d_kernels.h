/* What conv2d and conv2d_bn share: attributes, shape rule, geometry, and the launches of
 * kernels/conv2d.cl and, in the tiled form, kernels/conv2d_tiled.cl. */
#ifndef CLVI_CONV2D_KERNELS_H
#define CLVI_CONV2D_KERNELS_H

#include "ops/op.h"
#include "runtime/wide.h"

typedef struct clvi_conv_attrs {
    int64_t stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
    int64_t activation;   /* clvi_activation */
    int64_t groups;       /* not depthwise_conv2d, where every channel is one */
    double eps, momentum; /* conv2d_bn only */
} clvi_conv_attrs;

/* The attributes of depthwise_conv2d; conv2d adds groups, conv2d_bn eps and momentum. */
enum { CLVI_DEPTHWISE_ATTRS = 7, CLVI_CONV_ATTRS = 8, CLVI_CONV_BN_ATTRS = 10 };
extern const clvi_attr_spec clvi_conv_attr_specs[CLVI_CONV_BN_ATTRS];

/* x [N, H, W, C], weights [kh, kw, C / groups, filters] → [N, ⌊(H + top + bottom - kh)/stride⌋ + 1,
 * …, filters]. Errors: CLV_E_SHAPE. */
clv_status clvi_conv_shape(clvi_shape_request *request, const char *op,
                           clv_error *error) CLV_MUST_CHECK;

/* One convolution of n pictures. Filter k of group k / (co / groups) sees the ci / groups channels
 * of its group. */
typedef struct clvi_conv {
    int64_t n, h, w, ci, kh, kw, co, sh, sw, pt, pl, oh, ow, groups;
} clvi_conv;

/* Of a node whose inputs 0 and 1 are picture and weights. */
clvi_conv clvi_conv_of(const clv_graph *graph, const clvi_node *node, int64_t n);
int64_t clvi_conv_pixels(const clvi_conv *conv);  /* of the output, all pictures */
int64_t clvi_conv_weights(const clvi_conv *conv); /* elements */

/* ---- Forward ---- */

/* Elements of the packed weights; scaled: clvi_conv_pack will be given a scale. */
int64_t clvi_conv_packed(const clvi_device *device, const clvi_conv *conv, bool scaled);
/* Packs weights [kh, kw, ci / groups, co], each filter scaled by scale[co] (buf NULL: not). */
clv_status clvi_conv_pack(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                          clvi_view scale, clvi_view packed, clv_error *error) CLV_MUST_CHECK;
/* Statistics that the convolution leaves of its output: see kernels/conv2d.cl. groups 0: it leaves
 * none (tiled form). */
typedef struct clvi_conv_stats {
    int32_t groups, share;
} clvi_conv_stats;
clvi_conv_stats clvi_conv_stats_of(const clvi_device *device, const clvi_conv *conv);
/* Elements of workspace, for any n. */
clvi_amount clvi_conv_forward_workspace(const clvi_device *device, const clvi_conv *conv);
/* Flag of kernels that convolve: there is a bias; bits 0 … 1 are the activation. */
enum { CLVI_CONV_BIAS = 4 };
typedef struct clvi_conv_call {
    clvi_view x, packed, y, workspace;
    clvi_view weights; /* as they are; buf NULL: only what was scaled counts, `packed` */
    clvi_view bias;    /* buf NULL: none */
    clvi_view stats;   /* [2, groups, co]; buf NULL: not wanted */
    clvi_view scale;   /* [n, ci], factors of x; buf NULL: none; if CLVI_JOIN_SCALE */
    clvi_view addend;  /* as y, added to act(…); buf NULL: none; if CLVI_JOIN_ADD */
    bool pooled;       /* y: the largest of 2 × 2 pixels each; if CLVI_JOIN_MAX_POOL */
    int64_t activation;
} clvi_conv_call;
/* clvi_op.joins of conv2d and conv2d_bn, in the wide form: scale and addend where the filter is 1 ×
 * 1 without strides, else the pooling, not behind silu. In training the scale, and only where its
 * gradient is cheap; of conv2d_bn. */
uint32_t clvi_conv_joins(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                         bool training);
/* Takes what joined the run's node into the call. */
void clvi_conv_take_joined(const clvi_run *run, clvi_conv_call *call);
clv_status clvi_conv_forward(clvi_device *device, const clvi_conv *conv, const clvi_conv_call *call,
                             clv_error *error) CLV_MUST_CHECK;

/* ---- Backward ---- */

/* Elements of workspace of the two gradients together, for any n; scaled: they will be given a
 * scale. */
clvi_amount clvi_conv_backward_workspace(const clvi_device *device, const clvi_conv *conv,
                                         bool scaled);
/* dz [n, oh, ow, co]: the gradient to the convolution's sum. */
typedef struct clvi_conv_grads {
    clvi_view x, weights, dz, workspace;
    clvi_view dx, dweights; /* buf NULL: not wanted */
    /* With CLVI_JOIN_SCALE the convolution's picture was x times scale [n, ci]; buf NULL: was x. */
    clvi_view scale, dscale; /* dscale.buf NULL: not wanted */
    int64_t image;           /* pixels of a picture, with a scale */
} clvi_conv_grads;
clv_status clvi_conv_backward(clvi_device *device, const clvi_conv *conv,
                              const clvi_conv_grads *grads, clv_error *error) CLV_MUST_CHECK;

/* ---- The tiled form: conv2d_tiled.c, called by conv2d_kernels.c only ---- */

clv_status clvi_conv_tiled_scale(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                                 clvi_view scale, clvi_view to, clv_error *error) CLV_MUST_CHECK;
clvi_amount clvi_conv_tiled_forward_workspace(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_conv_tiled_forward(clvi_device *device, const clvi_conv *conv,
                                   const clvi_conv_call *call, clv_error *error) CLV_MUST_CHECK;
clvi_amount clvi_conv_tiled_backward_workspace(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_conv_tiled_backward(clvi_device *device, const clvi_conv *conv,
                                    const clvi_conv_grads *grads, clv_error *error) CLV_MUST_CHECK;

/* With strides, the pixels of dx fall into sh·sw phases; those of one phase are a convolution of dz
 * with every sh-th row and sw-th column of the filter, flipped. In one axis: phase p, the pixels
 * y = first + stride·j, j < count, meet the rows p + stride·t, t < taps, of the filter; the pixel
 * of dz at tap t is j + base - t. */
typedef struct clvi_conv_phase {
    int64_t first, count, taps, base;
} clvi_conv_phase;
clvi_conv_phase clvi_conv_phase_of(int64_t p, int64_t stride, int64_t pad, int64_t kernel,
                                   int64_t extent);
/* 1 × 1 without strides or margins: a product of matrices. */
bool clvi_conv_is_plain(const clvi_conv *conv);

#endif
