/* Convolutions of 3 × 3 without strides in the wide form by Winograd's algorithm: launches of
 * kernels/winograd.cl, called by conv2d_kernels.c only. */
#ifndef CLVI_CONV2D_WINOGRAD_H
#define CLVI_CONV2D_WINOGRAD_H

#include "ops/conv2d_kernels.h"

/* Whether this convolution goes this way, in all directions: the shapes allow and reward it and the
 * device was not opened with `winograd = off`. Does not depend on n. */
bool clvi_winograd_serves(const clvi_device *device, const clvi_conv *conv);

/* As the functions of these names without winograd, for a conv that it serves. No statistics. */
int64_t clvi_winograd_packed(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_winograd_pack(clvi_device *device, const clvi_conv *conv, clvi_view weights,
                              clvi_view scale, clvi_view packed, clv_error *error) CLV_MUST_CHECK;
clvi_amount clvi_winograd_forward_workspace(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_winograd_forward(clvi_device *device, const clvi_conv *conv,
                                 const clvi_conv_call *call, clv_error *error) CLV_MUST_CHECK;
clvi_amount clvi_winograd_backward_workspace(const clvi_device *device, const clvi_conv *conv);
clv_status clvi_winograd_backward(clvi_device *device, const clvi_conv *conv,
                                  const clvi_conv_grads *grads, clv_error *error) CLV_MUST_CHECK;

#endif
