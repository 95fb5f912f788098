/* What conv2d_bn and depthwise_conv2d_bn share: a convolution, then batch normalisation by the
 * inputs 2 … 5, and where the normalisation is. Training saves the convolution's result (saved[0])
 * and its statistics (saved[1]); otherwise the running statistics are folded (clvi_norm_fold) into
 * `prepared`, behind the weights. */
#ifndef CLVI_CONV_NORM_H
#define CLVI_CONV_NORM_H

#include "ops/batch_norm_kernels.h"
#include "ops/conv2d_kernels.h"

/* Whether the normalisation is in the weights: in inference, and frozen where no gradient passes.
 */
bool clvi_conv_norm_folds(clv_mode mode, uint32_t wants_grad);
/* Saved tensors, `prepared` and what backward reads; what the convolution itself takes is added to
 * it. `one`: of one picture; `weights`: elements of its prepared ones. */
void clvi_conv_norm_needs(const clvi_conv *one, int64_t channels, int64_t weights, clv_mode mode,
                          uint32_t wants_grad, clvi_needs *out);
/* `weights`: elements in `prepared` before the folded statistics. */
clvi_norm clvi_conv_norm_of(const clvi_run *run, const clvi_conv *conv, int64_t channels,
                            int64_t weights);
/* y from the convolution's result, and its mean where that is joined, through `workspace`
 * (clvi_norm_workspace); and y alone once more. */
clv_status clvi_conv_norm_apply(const clvi_run *run, const clvi_norm *norm,
                                clv_error *error) CLV_MUST_CHECK;
clv_status clvi_conv_norm_again(const clvi_run *run, const clvi_norm *norm,
                                clv_error *error) CLV_MUST_CHECK;
/* The normalisation's gradients; *out: what the convolution's are made from. The gradient to the
 * convolution's result takes the result's place: nothing reads that afterwards, and memory that was
 * just read is cheaper to write than any other. */
clv_status clvi_conv_norm_backward(const clvi_run *run, const clvi_norm *norm, clvi_conv_grads *out,
                                   clv_error *error) CLV_MUST_CHECK;

#endif
