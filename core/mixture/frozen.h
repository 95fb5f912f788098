/* The frozen part of an expert run apart from the rest: what it makes of an image is the same in
 * each epoch, so its features can be computed once and kept by whoever trains
 * (train.cache_features). */
#ifndef CLVI_FROZEN_H
#define CLVI_FROZEN_H

#include "graph/plan.h"

typedef struct clvi_frozen clvi_frozen;

/* Cuts an expert at `cut` (clvi_trainable_cut). train, infer: the plans of the whole expert as they
 * would be made. Makes the plan up to the cut for inference and those behind it for both modes, all
 * in the slabs that the descriptions name. Errors: those of plans. The caller destroys. */
clv_status clvi_frozen_create(const clvi_plan_desc *train, const clvi_plan_desc *infer,
                              clv_tensor cut, clvi_frozen **out, clv_error *error) CLV_MUST_CHECK;
void clvi_frozen_destroy(clvi_frozen *frozen); /* NULL allowed */

/* Elements of one image's features at a cut. */
int64_t clvi_frozen_elements(const clv_graph *graph, clv_tensor cut);
/* Computes the features of n images (the graph's input) into out [n, elements]. Waits. */
clv_status clvi_frozen_compute(clvi_frozen *frozen, int64_t n, clvi_view images, float *out,
                               clv_error *error) CLV_MUST_CHECK;
/* Gives both plans behind the cut these features [n, elements]. Enqueues only. */
clv_status clvi_frozen_put(clvi_frozen *frozen, int64_t n, const float *features,
                           clv_error *error) CLV_MUST_CHECK;
/* The plan behind the cut. */
clvi_plan *clvi_frozen_plan(const clvi_frozen *frozen, clv_mode mode);
/* Bytes of device memory, without the slabs. */
uint64_t clvi_frozen_bytes(const clvi_frozen *frozen);

#endif
