/* conv2d_bn of 1 × 1 with a depthwise_conv2d_bn behind it, in inference (graph/join.h,
 * CLVI_JOIN_DEPTHWISE): what the first makes stays in local memory. Kernel:
 * kernels/expand_depthwise.cl. */
#ifndef CLVI_EXPAND_DEPTHWISE_H
#define CLVI_EXPAND_DEPTHWISE_H

#include "ops/depthwise_kernels.h"

/* The two convolutions of n pictures. */
typedef struct clvi_expand_depthwise {
    clvi_conv expand, depthwise;
} clvi_expand_depthwise;

/* Of a node that has joined CLVI_JOIN_DEPTHWISE: node.behind[0]. */
clvi_expand_depthwise clvi_expand_depthwise_of(const clv_graph *graph, const clvi_node *node,
                                               int64_t n);
/* Whether conv2d_bn `expand` can take along `depthwise`, which reads its output: the wide form,
 * filters of 1 × 1, and of 3 × 3 or 5 × 5 with strides of 1 or 2, channels of whole vectors, and
 * some rows of a block of channels in the device's local memory; and whether it should, in batches
 * of at most `batch`: each picture goes over all weights, which many pictures of a few pixels had
 * better share. */
bool clvi_expand_depthwise_serves(const clvi_device *device, const clv_graph *graph,
                                  const clvi_node *expand, const clvi_node *depthwise,
                                  int64_t batch);

typedef struct clvi_expand_depthwise_call {
    clvi_view x, packed, bias;   /* packed by clvi_conv_pack */
    clvi_view weights, bias2, y; /* of the depthwise one */
    clvi_view parts; /* [n, clvi_expand_depthwise_strips, channels]: y's sums over pixels; buf NULL:
                        not wanted */
    int64_t activation, activation2;
} clvi_expand_depthwise_call;
/* Parts of a picture that leave sums of their own. */
int64_t clvi_expand_depthwise_strips(const clvi_device *device, const clvi_expand_depthwise *c);
clv_status clvi_expand_depthwise_forward(clvi_device *device, const clvi_expand_depthwise *c,
                                         const clvi_expand_depthwise_call *call,
                                         clv_error *error) CLV_MUST_CHECK;

#endif
