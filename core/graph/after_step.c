/* See after_step.h; the kernel is in kernels/step_sum.cl. */
#include "graph/after_step.h"

#include "ops/share.h"
#include "runtime/profile.h"

struct clvi_after_step {
    const clv_graph *graph;
    clvi_store *store;
    uint32_t base;
    clvi_plan *plan;
    clvi_slabs *slabs;
    clvi_buf *sums;
    int64_t width[CLVI_MAX_STEP_SUMS];
    uint64_t at[CLVI_MAX_STEP_SUMS]; /* elements in `sums` */
    uint64_t elements;
};

void clvi_after_step_sources(const clv_graph *graph, clv_tensor out[CLVI_MAX_STEP_SUMS])
{
    for (uint32_t i = 0; i < graph->step_sum_count; i++)
        out[i] = graph->step_sums[i].of;
}

static clv_status make_plan(clvi_after_step *a, clv_error *error)
{
    clv_tensor outputs[CLVI_MAX_NEW_STATES];
    for (uint32_t i = 0; i < a->graph->new_state_count; i++)
        outputs[i] = a->graph->new_states[i].next;
    CLV_TRY(clvi_slabs_create(clvi_store_device(a->store), &a->slabs, error));
    const clvi_plan_desc desc = {.graph = a->graph,
                                 .store = a->store,
                                 .base = a->base,
                                 .slabs = a->slabs,
                                 .mode = CLV_MODE_INFER,
                                 .max_batch = 1, /* nothing in it has a batch */
                                 .outputs = outputs,
                                 .output_count = a->graph->new_state_count};
    return clvi_plan_create(&desc, &a->plan, error);
}

static clv_status make_sums(clvi_after_step *a, clv_error *error)
{
    for (uint32_t i = 0; i < a->graph->step_sum_count; i++) {
        a->at[i] = a->elements;
        a->width[i] = clvi_shape_elements(&a->graph->tensors[a->graph->step_sums[i].sum].shape);
        a->elements += (uint64_t)a->width[i];
    }
    const size_t bytes = (size_t)(a->elements > 0 ? a->elements : 1) * 4;
    CLV_TRY(
        clvi_buf_create(clvi_store_device(a->store), bytes, "sums over a step", &a->sums, error));
    for (uint32_t i = 0; i < a->graph->step_sum_count; i++)
        for (size_t k = 0; k < a->graph->input_count; k++)
            if (a->graph->inputs[k].tensor == a->graph->step_sums[i].sum)
                clvi_plan_bind(a->plan, k, (clvi_view){a->sums, a->at[i]}, (clvi_view){NULL, 0});
    return clvi_after_step_begin(a, error);
}

clv_status clvi_after_step_create(const clv_graph *graph, clvi_store *store, uint32_t base,
                                  clvi_after_step **out, clv_error *error)
{
    CLV_ASSERT(graph->new_state_count > 0);
    clvi_after_step *a = clvi_calloc(1, sizeof *a);
    if (!a)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the states of %s", graph->label);
    a->graph = graph;
    a->store = store;
    a->base = base;
    clv_status status = make_plan(a, error);
    if (status == CLV_OK)
        status = make_sums(a, error);
    if (status != CLV_OK) {
        clvi_after_step_destroy(a);
        return status;
    }
    *out = a;
    return CLV_OK;
}

void clvi_after_step_destroy(clvi_after_step *a)
{
    if (!a)
        return;
    clvi_plan_destroy(a->plan);
    clvi_slabs_destroy(a->slabs);
    clvi_buf_destroy(a->sums);
    clvi_free(a);
}

clv_status clvi_after_step_begin(clvi_after_step *a, clv_error *error)
{
    if (a->elements == 0)
        return CLV_OK;
    return clvi_fill(clvi_store_device(a->store), a->sums, 0, (size_t)a->elements * 4, 0, error);
}

clv_status clvi_after_step_add(clvi_after_step *a, const clvi_view *sources, int64_t n,
                               clv_error *error)
{
    clvi_device *device = clvi_store_device(a->store);
    const int vector = clvi_tuning_int(device, "vector");
    clvi_profile_enter_part(device, a->graph->label, "sums of the step");
    for (uint32_t i = 0; i < a->graph->step_sum_count; i++) {
        const clvi_share share = clvi_share_of((a->width[i] + vector - 1) / vector, n * vector, 1);
        clvi_launch l;
        clvi_launch_begin(&l, device, "step_sum", "step_sum_add", "");
        clvi_arg_view(&l, (clvi_view){a->sums, a->at[i]});
        clvi_arg_view(&l, sources[i]);
        clvi_arg_int(&l, (int32_t)n);
        clvi_arg_int(&l, (int32_t)a->width[i]);
        clvi_arg_int(&l, share.items);
        CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    }
    return CLV_OK;
}

clv_status clvi_after_step_run(clvi_after_step *a, clv_error *error)
{
    CLV_TRY(clvi_plan_forward(a->plan, 1, NULL, error));
    for (uint32_t i = 0; i < a->graph->new_state_count; i++) {
        const int32_t v = a->graph->tensors[a->graph->new_states[i].state].variable;
        const clvi_view from = clvi_plan_output(a->plan, i, 1);
        const clvi_view to = clvi_store_view(a->store, a->base + (uint32_t)v, CLVI_STORE_VALUE);
        CLV_TRY(clvi_copy(clvi_store_device(a->store), from.buf, (size_t)from.offset * 4, to.buf,
                          (size_t)to.offset * 4, (size_t)a->graph->variables[v].elements * 4,
                          error));
    }
    clvi_store_touch(a->store);
    return CLV_OK;
}

uint64_t clvi_after_step_bytes(const clvi_after_step *a)
{
    return clvi_slabs_bytes(a->slabs) + clvi_plan_own_bytes(a->plan) + clvi_buf_bytes(a->sums);
}
