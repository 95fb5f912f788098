/* What depthwise_conv2d and depthwise_conv2d_bn share: shape rule and the launches of
 * kernels/depthwise_conv2d.cl. Geometry is clvi_conv's with weights [kh, kw, channels]. */
#ifndef CLVI_DEPTHWISE_KERNELS_H
#define CLVI_DEPTHWISE_KERNELS_H

#include "ops/batch_norm_kernels.h"
#include "ops/conv2d_kernels.h"

/* x [N, H, W, C], weights [kh, kw, C] → [N, ⌊(H + top + bottom - kh)/stride⌋ + 1, …, C]. Errors:
 * CLV_E_SHAPE. */
clv_status clvi_depthwise_shape(clvi_shape_request *request, const char *op,
                                clv_error *error) CLV_MUST_CHECK;
/* kh·kw for each output element. */
int64_t clvi_depthwise_macs(const clv_graph *graph, const clvi_node *node);

typedef struct clvi_depthwise_call {
    clvi_view x, weights, y;
    clvi_view bias;  /* buf NULL: none */
    clvi_view sum;   /* as y: what the activation is taken of; buf NULL: not wanted */
    clvi_view parts; /* [n, clvi_depthwise_parts_of_mean, channels]: y's sums over pixels; buf NULL:
                        not wanted */
    clvi_view stats; /* of y, by clvi_depthwise_stats; buf NULL: not wanted */
    int64_t activation;
} clvi_depthwise_call;
/* clvi_op.joins of depthwise_conv2d_bn: the mean and, in inference, what is made of it, on devices
 * where a work-group is one work-item. */
uint32_t clvi_depthwise_joins(const clvi_device *device, const clv_graph *graph,
                              const clvi_node *node, bool training);
int64_t clvi_depthwise_parts_of_mean(const clvi_conv *conv);
clv_status clvi_depthwise_forward(clvi_device *device, const clvi_conv *conv,
                                  const clvi_depthwise_call *call, clv_error *error) CLV_MUST_CHECK;
/* to = weights, the filter of each channel times its scale. */
clv_status clvi_depthwise_scale(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                                clvi_view scale, clvi_view to, clv_error *error) CLV_MUST_CHECK;

/* Of depthwise_conv2d_bn in inference: its bias in run->prepared, behind the weights. */
clvi_view clvi_depthwise_folded_bias(const clvi_run *run);

/* Groups whose statistics forward leaves, without a mean; count 0: none, where a work-group is more
 * than one work-item. For n pictures at most n times those of one. */
clvi_norm_groups clvi_depthwise_stats(const clvi_device *device, const clvi_conv *conv);
/* Elements of workspace that the gradient to the weights takes, for any n. */
int64_t clvi_depthwise_parts(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_depthwise_backward(clvi_device *device, const clvi_conv *conv,
                                   const clvi_conv_grads *grads, clv_error *error) CLV_MUST_CHECK;

#endif
