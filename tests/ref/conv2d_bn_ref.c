/* conv2d_bn: conv2d, then batch_norm; by their references. */
#include "fused.h"

void conv2d_bn_ref(ref_call *c);
void conv2d_ref(ref_call *c);

void conv2d_bn_ref(ref_call *c)
{
    ref_convolved_norm(c, conv2d_ref);
}
