/* What the elementwise ops of one input share (relu, silu, sigmoid): y = f(x), any f32 shape. Op
 * `foo` has the kernels foo_fwd(y, x) and foo_bwd(gx, gy, kept) of kernels/foo.cl, where `kept` is
 * y or x, whichever f's slope is computed from. */
#ifndef CLVI_UNARY_H
#define CLVI_UNARY_H

#include "ops/op.h"

/* The slots of clvi_op. _of_y: backward reads y only, so that x need not be kept; _of_x: reads x.
 */
clv_status clvi_unary_shape(clvi_shape_request *request, clv_error *error);
void clvi_unary_needs_of_y(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                           clv_mode mode, uint32_t wants_grad, clvi_needs *needs);
void clvi_unary_needs_of_x(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                           clv_mode mode, uint32_t wants_grad, clvi_needs *needs);
clv_status clvi_unary_forward(const clvi_run *run, clv_error *error);
clv_status clvi_unary_backward_of_y(const clvi_run *run, clv_error *error);
clv_status clvi_unary_backward_of_x(const clvi_run *run, clv_error *error);

#endif
