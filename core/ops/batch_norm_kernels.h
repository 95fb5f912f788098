/* What batch_norm and conv2d_bn share: the launches of kernels/batch_norm.cl. */
#ifndef CLVI_BATCH_NORM_KERNELS_H
#define CLVI_BATCH_NORM_KERNELS_H

#include "ops/op.h"

/* One normalisation of z [pixels, channels]. gamma, beta, running_mean, running_var: [channels].
 * saved: [2, channels], mean and 1/√(variance + eps). */
typedef struct clvi_norm {
    int64_t pixels, channels, activation;
    int64_t image; /* pixels of a picture, where there are means over them */
    double eps, momentum;
    bool fixed; /* saved holds the running statistics: they do not depend on z */
    clvi_view gamma, beta, running_mean, running_var;
    clvi_view saved;
} clvi_norm;

/* Groups of pixels that statistics are summed over first. Depends on the extents only. */
typedef struct clvi_norm_groups {
    int32_t count, share;
} clvi_norm_groups;
clvi_norm_groups clvi_norm_groups_of(int64_t pixels, int64_t channels);
/* Elements that the statistics of one group take, forward and backward: times the count. */
static inline int64_t clvi_norm_stats(int64_t channels)
{
    return 2 * channels;
}
/* At most so many elements for n samples of `pixels` pixels each. */
clvi_amount clvi_norm_workspace(int64_t pixels, int64_t channels);

/* Statistics of z into stats [2, groups, channels]. */
clv_status clvi_norm_statistics(clvi_device *device, const clvi_norm *norm, clvi_view z,
                                clvi_view stats, clv_error *error) CLV_MUST_CHECK;
/* Fills saved from such statistics and moves the running ones (not where pixels is 1). */
clv_status clvi_norm_finish(clvi_device *device, const clvi_norm *norm, clvi_view stats,
                            clvi_norm_groups groups, clv_error *error) CLV_MUST_CHECK;
/* y = act(normalised z) by saved. y may be z's memory. mean [pictures, channels]: of y over each
 * picture's pixels; buf NULL: not wanted; only on devices where a work-group is one work-item. */
typedef struct clvi_norm_result {
    clvi_view y, mean;
    clvi_view workspace; /* clvi_norm_workspace, with a mean */
} clvi_norm_result;
clv_status clvi_norm_apply(clvi_device *device, const clvi_norm *norm, clvi_view z,
                           const clvi_norm_result *to, clv_error *error) CLV_MUST_CHECK;
/* For inference: fold [4, channels]: mean, 1/√(variance + eps), scale, offset by the running
 * statistics. Its first two rows are a `saved`. */
enum { CLVI_NORM_FOLD = 4 };
clv_status clvi_norm_fold(clvi_device *device, const clvi_norm *norm, clvi_view fold,
                          clv_error *error) CLV_MUST_CHECK;

typedef struct clvi_norm_grads {
    clvi_view z, dy;         /* dy is spoilt; buf NULL: zero, if there is a dmean */
    clvi_view dmean;         /* [pictures, channels]; buf NULL: none. As for clvi_norm_result */
    clvi_view dz;            /* buf NULL: not wanted; may be the memory of dy or z */
    clvi_view dgamma, dbeta; /* buf NULL: not wanted */
    clvi_view workspace;     /* clvi_norm_workspace; none where fixed and only dz is wanted */
} clvi_norm_grads;
clv_status clvi_norm_backward(clvi_device *device, const clvi_norm *norm,
                              const clvi_norm_grads *grads, clv_error *error) CLV_MUST_CHECK;

/* gamma, beta, running mean and variance among a request's inputs, from `first` on: f32 [channels].
 * Errors: CLV_E_SHAPE. */
clv_status clvi_norm_shapes(clvi_shape_request *request, const char *op, int first,
                            int64_t channels, clv_error *error) CLV_MUST_CHECK;

#endif
