/* An expert as its council sees it: a network (part.h), or a mixture, which is a council of its
 * own. Of a mixture `experts[i]` has a name, an empty graph and, as the plan that ran, that of its
 * head, whose first outputs are what an expert gives. Internal to core/mixture. */
#ifndef CLVI_MEMBER_H
#define CLVI_MEMBER_H

#include "mixture/council_impl.h"

/* Builds expert `index` and enters its variables into the store. Errors: those of clvi_council_
 * create; CLV_E_CONFIG where features are fused and it has none. */
clv_status clvi_member_build(clvi_council *council, size_t index, clv_error *error) CLV_MUST_CHECK;
/* The roles that an expert of this council is to give lie in council->given. Errors: CLV_E_MEMORY;
 * CLV_E_CONFIG of train.cache_features. */
clv_status clvi_member_plan(clvi_council *council, size_t index, const clvi_part_wants *wants,
                            clv_error *error) CLV_MUST_CHECK;
/* Runs it; of a routed one `run` has its samples. Enqueues only, but for sparse gates inside. */
clv_status clvi_member_forward(clvi_council *council, size_t index, const clvi_part_run *run,
                               clv_error *error) CLV_MUST_CHECK;
/* Its backward, when the gradients of what it gave lie in its plan; n: the samples it ran. Enqueues
 * only. */
clv_status clvi_member_backward(clvi_council *council, size_t index, int64_t n,
                                const clvi_council_seed *seed, clv_error *error) CLV_MUST_CHECK;
/* Makes all its gradients 0. Enqueues only. */
clv_status clvi_member_clear(const clvi_council *council, size_t index,
                             clv_error *error) CLV_MUST_CHECK;
/* Whether a variable of the store is its own. */
bool clvi_member_holds(const clvi_council *council, size_t index, size_t segment);

#endif
