/* A convolution without bias and activation, then batch_norm; by their references. */
#ifndef CONCLAVE_REF_FUSED_H
#define CONCLAVE_REF_FUSED_H

#include "ref.h"

/* c: a call of an op whose inputs are x, weights, then batch_norm's. `convolve` is the reference of
 * its convolution. */
void ref_convolved_norm(ref_call *c, void (*convolve)(ref_call *call));

#endif
