/* What inference makes of sums over pixels (graph/join.h): their mean, or, with squeeze-excite's
 * two dense layers behind it, what these make of it. Kernels: kernels/squeeze_excite.cl. */
#ifndef CLVI_SQUEEZE_EXCITE_H
#define CLVI_SQUEEZE_EXCITE_H

#include "ops/op.h"

/* Whether `first` and `second`, dense layers one behind the other, are small enough that one
 * work-group should compute both for a sample, on a device where that has one work-item. */
bool clvi_squeeze_excite_serves(const clvi_device *device, const clv_graph *graph,
                                const clvi_node *first, const clvi_node *second);
/* Output 1 of the run, whose node has joined CLVI_JOIN_MEAN: the mean [n, channels] over `pixels`
 * pixels, or behind it CLVI_JOIN_DENSE, the last two of node.behind. Enqueues. */
clv_status clvi_squeeze(const clvi_run *run, const clvi_pixel_sums *sums, int64_t pixels,
                        clv_error *error) CLV_MUST_CHECK;

#endif
