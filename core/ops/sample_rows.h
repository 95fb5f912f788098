/* What gather_samples and scatter_samples share: each is the other's gradient. */
#ifndef CLVI_SAMPLE_ROWS_H
#define CLVI_SAMPLE_ROWS_H

#include "ops/op.h"

/* x [N, …] f32, index [N] i32, count [1] i32 → y, as x. */
clv_status clvi_sample_rows_shape(clvi_shape_request *request, const char *op,
                                  clv_error *error) CLV_MUST_CHECK;

/* Launches `op`'s kernel with the run's list: `to` from `from`, both [n, …] as the run's input 0.
 */
clv_status clvi_sample_rows_launch(const clvi_run *run, const char *op, clvi_view to,
                                   clvi_view from, clv_error *error) CLV_MUST_CHECK;

#endif
