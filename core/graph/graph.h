/* A network as a list of operations on tensors: what a plugin's build makes, and what a plan runs.
 * Pure description: no device, no memory of pixels. The batch extent is symbolic (CLV_BATCH). */
#ifndef CLVI_GRAPH_H
#define CLVI_GRAPH_H

#include "ops/node.h"

clv_status clvi_graph_create(const char *label, clv_graph **out, clv_error *error) CLV_MUST_CHECK;
void clvi_graph_destroy(clv_graph *graph); /* NULL allowed */
/* Lets add_op find these ops besides the built-in ones. `ops` (NULL: none) may grow later and must
 * outlive the graph as soon as one of them is in it. */
void clvi_graph_offer_ops(clv_graph *graph, const struct clvi_op_set *ops);

/* The functions behind clv_host's graph slots; see conclave/plugin.h. */
clv_status clvi_graph_input_add(clv_graph *graph, const clv_input_desc *desc, clv_tensor *out,
                                clv_error *error) CLV_MUST_CHECK;
/* An input that is no image: any shape, named by its role ("labels", "logits", …). */
clv_status clvi_graph_input_tensor(clv_graph *graph, const char *role, const clv_shape *shape,
                                   clv_tensor *out, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_variable_add(clv_graph *graph, const clv_variable_desc *desc, bool is_state,
                                   clv_tensor *out, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_add_op(clv_graph *graph, const char *op, const char *name,
                             const clv_tensor *inputs, uint32_t input_count, const clv_attr *attrs,
                             uint32_t attr_count, uint32_t attr_stride, clv_tensor *outputs,
                             uint32_t output_count, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_output_add(clv_graph *graph, const char *role, clv_tensor tensor,
                                 clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_route(clv_graph *graph, const clv_route_desc *desc,
                            clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_step_sum(clv_graph *graph, clv_tensor tensor, clv_tensor *out,
                               clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_after_step(clv_graph *graph, clv_tensor state, clv_tensor next,
                                 clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_push_scope(clv_graph *graph, const char *name,
                                 clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_pop_scope(clv_graph *graph, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_graph_shape(const clv_graph *graph, clv_tensor tensor, clv_shape *out,
                            clv_error *error) CLV_MUST_CHECK;

/* When all is declared: nothing but states after a step may read sums over it. Errors: CLV_E_PLUGIN
 * naming the output that does. */
clv_status clvi_graph_check_step_sums(const clv_graph *graph, clv_error *error) CLV_MUST_CHECK;

/* Multiply-adds of all ops for one sample, forward. */
int64_t clvi_graph_macs(const clv_graph *graph);

/* The tensor of a role, or CLV_NO_TENSOR. */
clv_tensor clvi_graph_find_output(const clv_graph *graph, const char *role);
clv_tensor clvi_graph_find_input(const clv_graph *graph, const char *role);
#endif
