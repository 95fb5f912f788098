/* Activation and bias of conv2d and dense on the way back, and the activation alone on the way
 * forward; launches of kernels/bias_act.cl. */
#ifndef CLVI_ACTIVATE_H
#define CLVI_ACTIVATE_H

#include "ops/op.h"

/* y = act(x) for `total` elements; y may be x. */
clv_status clvi_activate(clvi_device *device, clvi_view y, clvi_view x, int64_t total,
                         int64_t activation, clv_error *error) CLV_MUST_CHECK;

/* Back through y = act(x), x = sum + bias, all [rows, columns]. */
typedef struct clvi_act_grads {
    clvi_view dy;
    clvi_view value;     /* silu: x; relu: y; none: unused */
    clvi_view dz;        /* gradient to x; buf NULL: not wanted; may be dy's memory */
    clvi_view dbias;     /* [columns]; buf NULL: not wanted */
    clvi_view workspace; /* clvi_act_workspace, where dbias is wanted */
    int64_t rows, columns, activation;
} clvi_act_grads;
/* Elements of workspace, for any number of rows: whatever batch. */
int64_t clvi_act_workspace(int64_t columns);
clv_status clvi_act_backward(clvi_device *device, const clvi_act_grads *grads,
                             clv_error *error) CLV_MUST_CHECK;

/* ---- Ops whose output is act(sum), with the bias as input 2 ---- */

/* Whether forward keeps the sum, in saved[0]: silu's slope is not to be had from its result. */
bool clvi_act_saves_sum(int64_t activation, uint32_t wants_grad);
/* Back to the sum and the bias. `grads` comes with workspace, rows, columns and activation; own: dz
 * is wanted and no copy of dy, and goes to the beginning of the run's workspace. Afterwards
 * grads->dz is where the gradient to the sum lies. */
clv_status clvi_act_run_backward(const clvi_run *run, clvi_act_grads *grads, bool own,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
