/* Running a plan: forward and backward, a node at a time. Everything is enqueued, nothing waits. */
#include "graph/plan_internal.h"
#include "runtime/profile.h"

void clvi_plan_bind(clvi_plan *plan, size_t input, clvi_view values, clvi_view gradient)
{
    CLV_ASSERT(input < plan->graph->input_count);
    plan->input_values[input] = values;
    plan->input_grads[input] = gradient;
}

void clvi_plan_bind_from(clvi_plan *plan, clvi_view values)
{
    CLV_ASSERT(plan->from != CLV_NO_TENSOR);
    plan->from_values = values;
}

/* Index of the graph input that is this tensor; it must be one. */
static size_t input_index(const clvi_plan *plan, clv_tensor root)
{
    size_t i = 0;
    while (i + 1 < plan->graph->input_count && plan->graph->inputs[i].tensor != root)
        i++;
    return i;
}

clvi_view clvi_plan_value_of(const clvi_plan *plan, clv_tensor tensor, int64_t n)
{
    if (tensor == CLV_NO_TENSOR)
        return (clvi_view){NULL, 0};
    const clv_tensor root = clvi_graph_root(plan->graph, tensor);
    const clvi_tensor *t = &plan->graph->tensors[root];
    if (root == plan->from)
        return plan->from_values;
    if (t->kind == CLVI_TENSOR_INPUT)
        return plan->input_values[input_index(plan, root)];
    if (t->kind == CLVI_TENSOR_VARIABLE)
        return clvi_store_view(plan->store, plan->base + (uint32_t)t->variable, CLVI_STORE_VALUE);
    return clvi_layout_view(&plan->layout, plan->value_item[root], n);
}

clvi_view clvi_plan_grad_of(const clvi_plan *plan, clv_tensor tensor, int64_t n)
{
    const clv_tensor root = clvi_graph_root(plan->graph, tensor);
    const clvi_tensor *t = &plan->graph->tensors[root];
    if (t->kind == CLVI_TENSOR_INPUT)
        return plan->input_grads[input_index(plan, root)];
    if (t->kind == CLVI_TENSOR_VARIABLE)
        return clvi_store_view(plan->store, plan->base + (uint32_t)t->variable,
                               CLVI_STORE_GRADIENT);
    return clvi_layout_view(&plan->layout, plan->grad_item[root], n);
}

clvi_view clvi_plan_output(const clvi_plan *plan, size_t output, int64_t n)
{
    return clvi_plan_value_of(plan, plan->outputs[output], n);
}

clvi_view clvi_plan_grad(const clvi_plan *plan, size_t output, int64_t n)
{
    return clvi_plan_grad_of(plan, plan->outputs[output], n);
}

clvi_view clvi_plan_from_grad(const clvi_plan *plan, int64_t n)
{
    CLV_ASSERT(plan->from != CLV_NO_TENSOR);
    return clvi_layout_view(&plan->layout, plan->grad_item[plan->from], n);
}

/* Where backward reads a tensor's value: of one that was made again, there. */
static clvi_view value_behind(const clvi_plan *plan, clv_tensor tensor)
{
    if (tensor != CLV_NO_TENSOR) {
        const int32_t again = plan->again_item[clvi_graph_root(plan->graph, tensor)];
        if (again >= 0)
            return clvi_layout_view(&plan->layout, again, plan->n);
    }
    return clvi_plan_value_of(plan, tensor, plan->n);
}

/* The call record of a step with everything that forward and backward share. */
static clvi_run run_of(const clvi_plan *plan, const clvi_step *step, bool back)
{
    const clvi_node *node = step->what;
    clvi_run run = {.device = plan->device,
                    .graph = plan->graph,
                    .node = node,
                    .node_index = step->node,
                    .mode = step->mode,
                    .n = plan->n,
                    .wants_grad = step->wants_grad,
                    .random = plan->random};
    for (int i = 0; i < node->input_count; i++)
        run.in[i] = back ? value_behind(plan, node->inputs[i])
                         : clvi_plan_value_of(plan, node->inputs[i], plan->n);
    for (int o = 0; o < node->output_count; o++)
        run.out[o] = back ? value_behind(plan, node->outputs[o])
                          : clvi_plan_value_of(plan, node->outputs[o], plan->n);
    for (int k = 0; k < CLVI_MAX_SAVED; k++)
        run.saved[k] = clvi_layout_view(&plan->layout, step->saved[k], plan->n);
    run.prepared = clvi_layout_view(&plan->layout, step->prepared, plan->n);
    return run;
}

static clv_status in_context(const clvi_plan *plan, const clvi_step *step, const char *pass,
                             clv_status status, clv_error *error)
{
    const clvi_node *node = step->what;
    if (status != CLV_OK)
        clvi_prepend(error, "%s: %s of %s (%s)", plan->graph->label, pass, node->name,
                     node->op->name);
    return status;
}

/* Bytes of a tensor for this batch. */
static double bytes_of(const clvi_plan *plan, clv_tensor tensor)
{
    if (tensor == CLV_NO_TENSOR)
        return 0;
    const clv_shape *shape = &plan->graph->tensors[tensor].shape;
    const int64_t elements = clvi_shape_elements(shape);
    return 4.0 * (double)(clvi_shape_batched(shape) ? elements * plan->n : elements);
}

/* Tells the profile what the next launches are for. The least to move: forward reads the inputs and
 * writes the outputs; backward reads the outputs' gradients and the inputs, writes the inputs'
 * gradients. */
static void enter(const clvi_plan *plan, const clvi_step *step, const char *pass)
{
    if (!clvi_profile_is_on(plan->device))
        return;
    const clvi_node *node = step->what;
    const bool forward = pass[0] == 'f', backward = pass[0] == 'b';
    clvi_profile_scope scope = {plan->graph->label, node->name, node->op->name, pass, 0, 0};
    int products = forward;
    for (int i = 0; i < node->input_count; i++) {
        const bool wanted = backward && (step->wants_grad >> i & 1);
        scope.bytes += bytes_of(plan, node->inputs[i]) * (1 + wanted);
        products += wanted && i < 2;
    }
    for (int o = 0; o < node->output_count; o++)
        scope.bytes += bytes_of(plan, node->outputs[o]);
    if ((forward || backward) && node->op->macs)
        scope.macs = (double)node->op->macs(plan->graph, node) * (double)plan->n * products;
    clvi_profile_enter(plan->device, &scope);
}

static clv_status forward_steps(clvi_plan *plan, bool prepare, clv_error *error)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const clvi_step *step = &plan->steps[s];
        const clvi_op *op = step->what->op;
        if (op->is_alias)
            continue;
        clvi_run run = run_of(plan, step, false);
        run.workspace = clvi_layout_view(&plan->layout, step->forward_workspace, plan->n);
        if (op->prepare && prepare) {
            enter(plan, step, "prepare");
            CLV_TRY(in_context(plan, step, "preparation", op->prepare(&run, error), error));
        }
        enter(plan, step, "forward");
        CLV_TRY(in_context(plan, step, "forward", op->forward(&run, error), error));
        if (plan->watch)
            CLV_TRY(clvi_watch_forward(plan, s, &run, error));
    }
    return CLV_OK;
}

/* The same, as far as that goes in one launch: in training, most kernels are none of a chain. */
static clv_status forward_chained(clvi_plan *plan, bool prepare, clv_error *error)
{
    clvi_chain_begin(plan->device);
    clv_status status = forward_steps(plan, prepare, error);
    const clv_status end = clvi_chain_end(plan->device, status == CLV_OK ? error : NULL);
    return status == CLV_OK ? end : status;
}

clv_status clvi_plan_forward(clvi_plan *plan, int64_t n, const clvi_run_random *random,
                             clv_error *error)
{
    if (n < 1 || n > plan->max_batch)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s: a batch of %lld where 1 to %lld were planned",
                 plan->graph->label, (long long)n, (long long)plan->max_batch);
    CLV_TRY(clvi_layout_set_batch(&plan->layout, n, error));
    plan->n = n;
    plan->random = random ? *random : (clvi_run_random){0};
    const uint64_t version = clvi_store_version(plan->store);
    const bool prepare = plan->mode == CLV_MODE_TRAIN || plan->prepared_version != version ||
                         !clvi_slabs_claimed_by(plan->slabs, plan);
    clvi_slabs_claim(plan->slabs, plan);
    if (prepare)
        plan->prepared_version = 0; /* until all of it is done */
    if (plan->watch)
        CLV_TRY(clvi_watch_begin(plan, error));
    const bool chained = plan->mode == CLV_MODE_INFER && !plan->watch;
    CLV_TRY(chained ? forward_chained(plan, prepare, error) : forward_steps(plan, prepare, error));
    plan->prepared_version = version;
    return CLV_OK;
}

/* total += part, over a tensor's elements. */
static clv_status add_into(const clvi_plan *plan, clv_tensor tensor, clvi_view total,
                           clvi_view part, clv_error *error)
{
    const clv_shape *shape = &plan->graph->tensors[tensor].shape;
    const int64_t elements = clvi_shape_elements(shape) * (clvi_shape_batched(shape) ? plan->n : 1);
    return clvi_add_into(plan->device, total, part, elements, error);
}

static clv_status backward_step(const clvi_plan *plan, const clvi_step *step, clv_error *error)
{
    const clvi_node *node = step->what;
    clvi_run run = run_of(plan, step, true);
    run.workspace = clvi_layout_view(&plan->layout, step->backward_workspace, plan->n);
    for (int o = 0; o < node->output_count; o++)
        run.grad_out[o] = clvi_plan_grad_of(plan, node->outputs[o], plan->n);
    for (int i = 0; i < node->input_count; i++)
        if (step->wants_grad >> i & 1)
            run.grad_in[i] = step->addend[i] >= 0
                                 ? clvi_layout_view(&plan->layout, step->addend[i], plan->n)
                                 : clvi_plan_grad_of(plan, node->inputs[i], plan->n);
    enter(plan, step, "backward");
    CLV_TRY(in_context(plan, step, "backward", node->op->backward(&run, error), error));
    if (plan->watch)
        CLV_TRY(clvi_watch_backward(plan, (size_t)(step - plan->steps), &run, error));
    for (int i = 0; i < node->input_count; i++)
        if (step->addend[i] >= 0)
            CLV_TRY(add_into(plan, node->inputs[i],
                             clvi_plan_grad_of(plan, node->inputs[i], plan->n), run.grad_in[i],
                             error));
    return CLV_OK;
}

/* Makes what backward of step `before` is the first to read. In the order of forward: one may read
 * the other. */
static clv_status make_again(const clvi_plan *plan, size_t before, clv_error *error)
{
    for (size_t s = 0; s < before; s++) {
        const clvi_step *step = &plan->steps[s];
        if (step->again_before != before)
            continue;
        const clvi_run run = run_of(plan, step, true);
        enter(plan, step, "again");
        CLV_TRY(in_context(plan, step, "making again", step->what->op->again(&run, error), error));
    }
    return CLV_OK;
}

clv_status clvi_plan_backward(clvi_plan *plan, clv_error *error)
{
    CLV_ASSERT(plan->mode == CLV_MODE_TRAIN && plan->n > 0);
    for (size_t s = plan->step_count; s-- > 0;) {
        if (!plan->steps[s].wants_grad)
            continue;
        if (plan->recomputes)
            CLV_TRY(make_again(plan, s, error));
        CLV_TRY(backward_step(plan, &plan->steps[s], error));
    }
    return CLV_OK;
}
