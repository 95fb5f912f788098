/* A graph's states after a step of the optimiser (clv_host.after_step): sums over the samples of
 * all its batches, then a small plan that computes what the states become. Nothing waits. */
#ifndef CLVI_AFTER_STEP_H
#define CLVI_AFTER_STEP_H

#include "graph/plan.h"

typedef struct clvi_after_step clvi_after_step;

/* The tensors that are summed, graph->step_sum_count of them: a training plan of the graph has to
 * give them. */
void clvi_after_step_sources(const clv_graph *graph, clv_tensor out[CLVI_MAX_STEP_SUMS]);

/* For a graph with graph->new_state_count > 0. graph and store (committed; base: segment of the
 * graph's first variable) outlive it. The sums are 0. Errors: those of plans. */
clv_status clvi_after_step_create(const clv_graph *graph, clvi_store *store, uint32_t base,
                                  clvi_after_step **out, clv_error *error) CLV_MUST_CHECK;
void clvi_after_step_destroy(clvi_after_step *after); /* NULL allowed; before the store */

/* A step begins: the sums are 0. Enqueues only, as do the following. */
clv_status clvi_after_step_begin(clvi_after_step *after, clv_error *error) CLV_MUST_CHECK;
/* Adds a batch of n samples: sources[i], values of the i-th tensor that is summed. */
clv_status clvi_after_step_add(clvi_after_step *after, const clvi_view *sources, int64_t n,
                               clv_error *error) CLV_MUST_CHECK;
/* The step is over, the optimiser's part included: the states change in the store. */
clv_status clvi_after_step_run(clvi_after_step *after, clv_error *error) CLV_MUST_CHECK;
uint64_t clvi_after_step_bytes(const clvi_after_step *after); /* of device memory */

#endif
