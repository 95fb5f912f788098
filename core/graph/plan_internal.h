/* What plan.c (analysis) and executor.c (running) share. */
#ifndef CLVI_PLAN_INTERNAL_H
#define CLVI_PLAN_INTERNAL_H

#include "graph/layout.h"

/* One node as this plan runs it. Item indices are -1 where there is nothing. */
typedef struct clvi_step {
    uint32_t node;         /* index in the graph */
    const clvi_node *what; /* that node, or what it has become (join.h) */
    clv_mode mode;         /* how it runs */
    uint32_t wants_grad;   /* bit i: backward writes the gradient of input i; 0: no backward */
    int32_t saved[CLVI_MAX_SAVED];
    int32_t forward_workspace, backward_workspace, prepared;
    /* A second gradient for one tensor is written here first and then added. */
    int32_t addend[CLVI_MAX_INPUTS];
    uint32_t again_before; /* its output is made again before backward of this step; 0: it is not */
} clvi_step;

struct clvi_plan {
    const clv_graph *graph;
    clvi_store *store;
    clvi_device *device;
    uint32_t base;
    clv_mode mode;
    int64_t max_batch;
    clvi_slabs *slabs;
    bool owns_slabs;
    clvi_layout layout;
    clvi_step *steps;
    size_t step_count;
    clvi_node *joined;   /* nodes that others have joined; NULL: none */
    int32_t *value_item; /* per tensor (roots): where its value lies */
    int32_t *grad_item;  /* per tensor (roots): where its gradient lies */
    int32_t *again_item; /* per tensor (roots): where its value is made again; -1: it is kept */
    bool recomputes;
    clv_tensor *outputs;
    size_t output_count;
    clv_tensor from; /* root of the tensor bound by clvi_plan_bind_from; CLV_NO_TENSOR: none */
    clvi_view from_values;
    clvi_view input_values[CLVI_MAX_INPUTS], input_grads[CLVI_MAX_INPUTS]; /* per graph input */
    /* State of the last forward. */
    int64_t n;
    clvi_run_random random;
    clvi_buf *watch;           /* counts of what is not finite (finite.h); NULL: nobody looks */
    uint64_t prepared_version; /* inference: store version that `prepared` was made from; 0: none */
};

/* finite.c: a watched plan's counters are set to 0, and added to after a node has run. */
clv_status clvi_watch_begin(clvi_plan *plan, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_watch_forward(clvi_plan *plan, size_t step, const clvi_run *run,
                              clv_error *error) CLV_MUST_CHECK;
clv_status clvi_watch_backward(const clvi_plan *plan, size_t step, const clvi_run *run,
                               clv_error *error) CLV_MUST_CHECK;

/* Where a tensor's value or gradient lies for a batch of n. */
clvi_view clvi_plan_value_of(const clvi_plan *plan, clv_tensor tensor, int64_t n);
clvi_view clvi_plan_grad_of(const clvi_plan *plan, clv_tensor tensor, int64_t n);

#endif
