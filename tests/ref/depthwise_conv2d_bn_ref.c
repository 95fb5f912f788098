/* depthwise_conv2d_bn: depthwise_conv2d, then batch_norm; by their references. */
#include "fused.h"

void depthwise_conv2d_bn_ref(ref_call *c);
void depthwise_conv2d_ref(ref_call *c);

void depthwise_conv2d_bn_ref(ref_call *c)
{
    ref_convolved_norm(c, depthwise_conv2d_ref);
}
