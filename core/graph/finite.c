/* See finite.h. A watched plan has a counter for each output and each gradient of every step. */
#include "graph/finite.h"

#include "graph/plan_internal.h"
#include "ops/share.h"

enum { SLOTS = CLVI_MAX_OUTPUTS + CLVI_MAX_INPUTS }; /* of a step: outputs, then gradients */

clv_status clvi_finite_count(clvi_device *device, clvi_buf *counts, uint64_t slot, clvi_view x,
                             int64_t elements, clv_error *error)
{
    const clvi_share share = clvi_share_of(elements, 1, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "finite", "finite_count", "");
    clvi_arg_view(&l, (clvi_view){counts, slot});
    clvi_arg_view(&l, x);
    clvi_arg_int(&l, (int32_t)elements);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_plan_watch(clvi_plan *plan, clv_error *error)
{
    if (plan->watch)
        return CLV_OK;
    return clvi_buf_create(plan->device, (plan->step_count * SLOTS + 1) * sizeof(uint32_t),
                           "counts of what is not finite", &plan->watch, error);
}

clv_status clvi_watch_begin(clvi_plan *plan, clv_error *error)
{
    return clvi_fill(plan->device, plan->watch, 0, clvi_buf_bytes(plan->watch), 0, error);
}

static clv_status count(const clvi_plan *plan, uint64_t slot, clv_tensor tensor, clvi_view data,
                        clv_error *error)
{
    const clv_shape *shape = &plan->graph->tensors[tensor].shape;
    if (!data.buf || shape->dtype != CLV_F32)
        return CLV_OK;
    const int64_t elements = clvi_shape_elements(shape) * (clvi_shape_batched(shape) ? plan->n : 1);
    return clvi_finite_count(plan->device, plan->watch, slot, data, elements, error);
}

clv_status clvi_watch_forward(clvi_plan *plan, size_t step, const clvi_run *run, clv_error *error)
{
    for (int o = 0; o < run->node->output_count; o++)
        CLV_TRY(count(plan, step * SLOTS + (uint64_t)o, run->node->outputs[o], run->out[o], error));
    return CLV_OK;
}

clv_status clvi_watch_backward(const clvi_plan *plan, size_t step, const clvi_run *run,
                               clv_error *error)
{
    for (int i = 0; i < run->node->input_count; i++)
        if (run->wants_grad >> i & 1)
            CLV_TRY(count(plan, step * SLOTS + CLVI_MAX_OUTPUTS + (uint64_t)i, run->node->inputs[i],
                          run->grad_in[i], error));
    return CLV_OK;
}

/* The first of a step's counters that is not 0. */
static bool look(const clvi_plan *plan, const uint32_t *counts, size_t step, bool backward,
                 clvi_finding *out)
{
    const clvi_node *node = plan->steps[step].what;
    const uint32_t *own = counts + step * SLOTS + (backward ? CLVI_MAX_OUTPUTS : 0);
    const int inputs = node->input_count < CLVI_MAX_INPUTS ? node->input_count : CLVI_MAX_INPUTS;
    const int slots = backward ? inputs : node->output_count;
    for (int i = 0; i < slots; i++) {
        if (own[i] == 0)
            continue;
        const clv_tensor tensor = backward ? node->inputs[i] : node->outputs[i];
        *out = (clvi_finding){.found = true,
                              .backward = backward,
                              .node = node->name,
                              .op = node->op->name,
                              .tensor = plan->graph->tensors[tensor].name,
                              .count = own[i]};
        return true;
    }
    return false;
}

clv_status clvi_plan_watched(const clvi_plan *plan, clvi_finding *out, clv_error *error)
{
    CLV_ASSERT(plan->watch != NULL);
    const size_t bytes = clvi_buf_bytes(plan->watch);
    uint32_t *counts = clvi_malloc(bytes);
    if (!counts)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look for what is not finite");
    const clv_status status = clvi_download(plan->device, plan->watch, 0, counts, bytes, error);
    clvi_finding finding = {0};
    for (size_t s = 0; status == CLV_OK && s < plan->step_count && !finding.found; s++)
        (void)look(plan, counts, s, false, &finding);
    for (size_t s = plan->step_count; status == CLV_OK && s-- > 0 && !finding.found;)
        (void)look(plan, counts, s, true, &finding);
    clvi_free(counts);
    if (status == CLV_OK)
        *out = finding;
    return status;
}
