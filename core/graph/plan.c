/* Making a plan: which nodes run, which gradients are wanted, how long every tensor lives.
 * Steps in time: forward of step i at i; outside work (loss) at F, the number of steps; backward of
 * step i at F + 1 + (F - 1 - i). */
#include "base/process.h"
#include "graph/join.h"
#include "graph/plan_internal.h"

#include <stdio.h>

/* What is known while planning; arrays over all tensors of the graph, by root. */
typedef struct analysis {
    clvi_plan *plan;
    const clv_graph *graph;
    const clvi_plan_desc *desc;
    clvi_needs *needs; /* per step */
    bool *wanted;      /* tensor is a wanted output */
    bool *needs_grad;  /* something trainable lies above it */
    bool *has_grad;    /* a gradient arrives at it */
    int32_t *last_use; /* last step in time that reads its value; of dropped ones, forward */
    /* Of tensors that are dropped after forward and made again: when backward reads them first and
     * last. first INT32_MAX: kept, or not read. */
    bool *dropped;
    int32_t *again_first, *again_last;
    int32_t steps; /* F */
} analysis;

static clv_tensor root_of(const analysis *a, clv_tensor t)
{
    return clvi_graph_root(a->graph, t);
}

static int32_t backward_time(const analysis *a, int32_t step)
{
    return a->steps + 1 + (a->steps - 1 - step);
}

/* Marks the nodes that wanted outputs need, and numbers them as steps in the graph's order. */
static clv_status choose_nodes(analysis *a, clv_error *error)
{
    const clv_graph *g = a->graph;
    bool *needed = clvi_calloc(g->tensor_count + 1, sizeof *needed);
    a->plan->steps = clvi_calloc(g->node_count + 1, sizeof *a->plan->steps);
    a->needs = clvi_calloc(g->node_count + 1, sizeof *a->needs);
    if (!needed || !a->plan->steps || !a->needs) {
        clvi_free(needed);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", g->label);
    }
    size_t count = 0;
    for (size_t i = 0; i < a->desc->output_count; i++)
        needed[a->desc->outputs[i]] = a->desc->outputs[i] != a->plan->from;
    for (size_t k = g->node_count; k-- > 0;) {
        const clvi_node *node = &g->nodes[k];
        bool any = false;
        for (int o = 0; o < node->output_count; o++)
            any |= needed[node->outputs[o]];
        if (!any)
            continue;
        for (int i = 0; i < node->input_count; i++)
            if (node->inputs[i] != CLV_NO_TENSOR && root_of(a, node->inputs[i]) != a->plan->from)
                needed[node->inputs[i]] = true;
        const bool apart = a->plan->mode == CLV_MODE_TRAIN && a->desc->node_modes;
        a->plan->steps[count++] = (clvi_step){
            .node = (uint32_t)k,
            .what = node,
            .mode = apart ? (clv_mode)a->desc->node_modes[k] : a->plan->mode,
        };
    }
    for (size_t i = 0; i < count / 2; i++) { /* found last to first */
        const clvi_step swap = a->plan->steps[i];
        a->plan->steps[i] = a->plan->steps[count - 1 - i];
        a->plan->steps[count - 1 - i] = swap;
    }
    clvi_free(needed);
    a->plan->step_count = count;
    return CLV_OK;
}

/* Which tensors have something trainable above them. */
static void find_trainable(analysis *a)
{
    const clv_graph *g = a->graph;
    if (a->plan->mode != CLV_MODE_TRAIN)
        return;
    for (size_t v = 0; v < g->variable_count; v++)
        a->needs_grad[g->variables[v].tensor] =
            clvi_store_segment(a->plan->store, a->plan->base + v)->trainable &&
            (!a->desc->trains || a->desc->trains[v]);
    for (size_t i = 0; i < g->input_count; i++)
        a->needs_grad[g->inputs[i].tensor] = (a->desc->inputs_with_grad >> i & 1) != 0;
    if (a->plan->from != CLV_NO_TENSOR)
        a->needs_grad[a->plan->from] = a->desc->from_with_grad;
    for (int32_t s = 0; s < a->steps; s++) {
        const clvi_node *node = a->plan->steps[s].what;
        bool any = false;
        for (int i = 0; i < node->input_count && (node->op->backward || node->op->is_alias); i++)
            any |= node->inputs[i] != CLV_NO_TENSOR && a->needs_grad[root_of(a, node->inputs[i])];
        for (int o = 0; o < node->output_count && any; o++)
            a->needs_grad[root_of(a, node->outputs[o])] = true;
    }
}

/* Which gradients arrive where, and what each node needs from the plan. */
static void find_gradients(analysis *a)
{
    const clv_graph *g = a->graph;
    for (size_t i = 0; i < a->desc->output_count; i++)
        if (a->plan->mode == CLV_MODE_TRAIN && (a->desc->outputs_with_grad >> i & 1) != 0)
            a->has_grad[root_of(a, a->desc->outputs[i])] = true;
    for (int32_t s = a->steps; s-- > 0;) {
        clvi_step *step = &a->plan->steps[s];
        const clvi_node *node = step->what;
        bool arrives = false;
        for (int o = 0; o < node->output_count; o++)
            arrives |= a->has_grad[root_of(a, node->outputs[o])];
        if (node->op->is_alias)
            continue;
        for (int i = 0; i < node->input_count && arrives && node->op->backward; i++) {
            if (node->inputs[i] == CLV_NO_TENSOR || !a->needs_grad[root_of(a, node->inputs[i])])
                continue;
            step->wants_grad |= 1u << i;
            a->has_grad[root_of(a, node->inputs[i])] = true;
        }
        a->needs[s].max_batch = a->desc->max_batch;
        if (node->op->needs)
            node->op->needs(a->plan->device, g, node, step->mode, step->wants_grad, &a->needs[s]);
    }
}

/* Gradients need what training computes. */
static clv_status check_modes(const analysis *a, clv_error *error)
{
    for (int32_t s = 0; s < a->steps; s++) {
        const clvi_step *step = &a->plan->steps[s];
        const clvi_node *node = step->what;
        if (a->needs[s].refused)
            CLV_FAIL(error, CLV_E_PLUGIN, "%s: %s", a->graph->label, a->needs[s].refused);
        if ((step->wants_grad && step->mode == CLV_MODE_INFER) ||
            (step->mode == CLVI_MODE_FROZEN && node->op->norm_inputs == 0 && !node->op->draws))
            CLV_FAIL(error, CLV_E_INTERNAL, "%s: %s (%s) cannot run in mode %d in training",
                     a->graph->label, node->name, node->op->name, (int)step->mode);
    }
    return CLV_OK;
}

static void use(analysis *a, clv_tensor tensor, int32_t time)
{
    if (tensor == CLV_NO_TENSOR)
        return;
    const clv_tensor root = root_of(a, tensor);
    if (a->dropped[root] && time > a->steps) {
        a->again_first[root] = time < a->again_first[root] ? time : a->again_first[root];
        a->again_last[root] = time > a->again_last[root] ? time : a->again_last[root];
        return;
    }
    a->last_use[root] = time > a->last_use[root] ? time : a->last_use[root];
}

/* Whether the output of step s need not be kept for backward: making it again is one pass over
 * memory, and reads nothing that its own backward does not keep anyway. */
static bool may_drop(const analysis *a, int32_t s)
{
    const clvi_step *step = &a->plan->steps[s];
    const clvi_node *node = step->what;
    if (!a->plan->recomputes || !node->op->again || !step->wants_grad ||
        a->wanted[node->outputs[0]])
        return false;
    for (int i = 0; i < node->input_count; i++) {
        if (!(node->op->again_inputs >> i & 1) || node->inputs[i] == CLV_NO_TENSOR)
            continue;
        const clv_tensor root = root_of(a, node->inputs[i]);
        if (a->graph->tensors[root].kind == CLVI_TENSOR_ACTIVATION &&
            !(a->needs[s].backward_inputs >> i & 1))
            return false;
    }
    return true;
}

/* Makes step s, whose output is dropped, run again where backward reads that first. All that reads
 * it stands behind it and has been asked. */
static void plan_again(analysis *a, int32_t s)
{
    clvi_step *step = &a->plan->steps[s];
    const clvi_node *node = step->what;
    const int32_t first = a->again_first[node->outputs[0]];
    if (!a->dropped[node->outputs[0]] || first == INT32_MAX)
        return;
    step->again_before = (uint32_t)(2 * a->steps - first); /* backward_time's inverse */
    for (int i = 0; i < node->input_count; i++)
        if (node->op->again_inputs >> i & 1)
            use(a, node->inputs[i], first);
}

/* Until when every value is read. */
static void find_last_uses(analysis *a)
{
    for (size_t t = 0; t < a->graph->tensor_count; t++) {
        a->last_use[t] = a->again_last[t] = -1;
        a->again_first[t] = INT32_MAX;
    }
    for (size_t i = 0; i < a->desc->output_count; i++)
        a->wanted[root_of(a, a->desc->outputs[i])] = true;
    for (int32_t s = 0; s < a->steps; s++)
        a->dropped[a->plan->steps[s].what->outputs[0]] = may_drop(a, s);
    for (int32_t s = a->steps; s-- > 0;) {
        const clvi_step *step = &a->plan->steps[s];
        const clvi_node *node = step->what;
        const int32_t back = backward_time(a, s);
        for (int i = 0; i < node->input_count; i++) {
            use(a, node->inputs[i], s);
            if (step->wants_grad && (a->needs[s].backward_inputs >> i & 1))
                use(a, node->inputs[i], back);
        }
        for (int o = 0; o < node->output_count; o++) {
            use(a, node->outputs[o], s);
            if (step->wants_grad && (a->needs[s].backward_outputs >> o & 1))
                use(a, node->outputs[o], back);
        }
        plan_again(a, s);
    }
    for (size_t i = 0; i < a->desc->output_count; i++)
        use(a, a->desc->outputs[i], 2 * a->steps + 1);
}

static clvi_amount amount_of(const clv_shape *shape)
{
    return clvi_amount_of(shape, clvi_shape_elements(shape));
}

static bool same_amount(clvi_amount x, clvi_amount y)
{
    return x.per_sample == y.per_sample && x.constant == y.constant;
}

/* Memory of what forward step s writes. */
static clv_status add_values(analysis *a, int32_t s, clv_error *error)
{
    clvi_plan *plan = a->plan;
    clvi_step *step = &plan->steps[s];
    const clvi_node *node = step->what;
    const clvi_needs *needs = &a->needs[s];
    if (node->op->is_alias)
        return CLV_OK;
    for (int o = 0; o < node->output_count; o++) {
        const clv_tensor out = node->outputs[o];
        const clvi_amount amount = amount_of(&a->graph->tensors[out].shape);
        for (int i = 0; o == 0 && i < node->input_count; i++) {
            if (!(needs->forward_in_place >> i & 1))
                continue;
            const clv_tensor in = root_of(a, node->inputs[i]);
            if (plan->value_item[in] >= 0 && a->last_use[in] == s && !a->wanted[in] &&
                same_amount(plan->layout.items[plan->value_item[in]].amount, amount))
                plan->value_item[out] = plan->value_item[in];
        }
        if (plan->value_item[out] >= 0)
            plan->layout.items[plan->value_item[out]].last = a->last_use[out];
        else
            CLV_TRY(clvi_layout_add(&plan->layout, a->graph->tensors[out].name, amount, s,
                                    a->last_use[out], &plan->value_item[out], error));
        if (o == 0 && step->again_before > 0)
            CLV_TRY(clvi_layout_add(&plan->layout, a->graph->tensors[out].name, amount,
                                    a->again_first[out], a->again_last[out], &plan->again_item[out],
                                    error));
    }
    const int32_t back = backward_time(a, s), end = 2 * a->steps + 1;
    const bool train = plan->mode == CLV_MODE_TRAIN;
    for (int k = 0; k < CLVI_MAX_SAVED; k++)
        CLV_TRY(clvi_layout_add(&plan->layout, node->name, needs->saved[k], s,
                                step->wants_grad ? back : s, &step->saved[k], error));
    CLV_TRY(clvi_layout_add(&plan->layout, node->name, needs->forward_workspace, s, s,
                            &step->forward_workspace, error));
    CLV_TRY(clvi_layout_add(&plan->layout, node->name, needs->prepared, train ? s : 0,
                            !train                                            ? end
                            : needs->prepared_in_backward && step->wants_grad ? back
                                                                              : s,
                            &step->prepared, error));
    if (!train && step->prepared >= 0)
        plan->layout.items[step->prepared].fixed = true;
    return CLV_OK;
}

static bool makes(const clvi_node *node, clv_tensor tensor)
{
    bool made = false;
    for (int o = 0; o < node->output_count; o++)
        made |= node->outputs[o] == tensor;
    return made;
}

/* Until when the gradient of a tensor is read: until backward of the step that made it, or at the
 * end by who wants it. `before`: no later step made it. */
static int32_t death_of_gradient(const analysis *a, clv_tensor tensor, int32_t before)
{
    int32_t producer = before;
    if (tensor == a->plan->from)
        return 2 * a->steps + 1;
    while (producer > 0 && !makes(a->plan->steps[producer].what, tensor))
        producer--;
    return backward_time(a, producer);
}

/* Memory of the gradients that backward of step s writes, and of its workspace. The gradient of a
 * tensor is born at its first writer and dies when its producer has read it. */
static clv_status add_gradients(analysis *a, int32_t s, bool *written, clv_error *error)
{
    clvi_plan *plan = a->plan;
    clvi_step *step = &plan->steps[s];
    const clvi_node *node = step->what;
    const int32_t now = backward_time(a, s);
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        step->addend[i] = -1;
    step->backward_workspace = -1;
    if (!step->wants_grad)
        return CLV_OK;
    CLV_TRY(clvi_layout_add(&plan->layout, node->name, a->needs[s].backward_workspace, now, now,
                            &step->backward_workspace, error));
    const int32_t out_item = plan->grad_item[root_of(a, node->outputs[0])];
    for (int i = 0; i < node->input_count; i++) {
        if (!(step->wants_grad >> i & 1))
            continue;
        const clv_tensor in = root_of(a, node->inputs[i]);
        const clvi_amount amount = amount_of(&a->graph->tensors[in].shape);
        const char *name = a->graph->tensors[in].name;
        if (written[in]) {
            CLV_TRY(
                clvi_layout_add(&plan->layout, name, amount, now, now, &step->addend[i], error));
            continue;
        }
        written[in] = true;
        if (a->graph->tensors[in].kind != CLVI_TENSOR_ACTIVATION)
            continue; /* the store's, or bound from outside */
        const int32_t death = death_of_gradient(a, in, s);
        if ((a->needs[s].grad_in_place >> i & 1) && out_item >= 0 &&
            plan->layout.items[out_item].last == now &&
            same_amount(plan->layout.items[out_item].amount, amount)) {
            plan->grad_item[in] = out_item;
            plan->layout.items[out_item].last = death;
        } else {
            CLV_TRY(clvi_layout_add(&plan->layout, name, amount, now, death, &plan->grad_item[in],
                                    error));
        }
    }
    return CLV_OK;
}

static clv_status add_memory(analysis *a, clv_error *error)
{
    clvi_plan *plan = a->plan;
    for (int32_t s = 0; s < a->steps; s++) {
        clvi_step *step = &plan->steps[s];
        step->forward_workspace = step->prepared = -1;
        for (int k = 0; k < CLVI_MAX_SAVED; k++)
            step->saved[k] = -1;
        CLV_TRY(add_values(a, s, error));
    }
    bool *written = clvi_calloc(a->graph->tensor_count + 1, sizeof *written);
    if (!written)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", a->graph->label);
    clv_status status = CLV_OK;
    for (size_t i = 0; i < a->desc->output_count && status == CLV_OK; i++) {
        const clv_tensor out = root_of(a, a->desc->outputs[i]);
        if (!a->has_grad[out] || written[out] || plan->mode != CLV_MODE_TRAIN ||
            !(a->desc->outputs_with_grad >> i & 1))
            continue;
        written[out] = true;
        if (a->graph->tensors[out].kind != CLVI_TENSOR_ACTIVATION)
            continue; /* the store's, or bound from outside */
        status = clvi_layout_add(
            &plan->layout, a->graph->tensors[out].name, amount_of(&a->graph->tensors[out].shape),
            a->steps, death_of_gradient(a, out, a->steps - 1), &plan->grad_item[out], error);
    }
    for (int32_t s = a->steps; s-- > 0 && status == CLV_OK;)
        status = add_gradients(a, s, written, error);
    clvi_free(written);
    return status;
}

static clv_status analyse(analysis *a, clv_error *error)
{
    const size_t n = a->graph->tensor_count + 1;
    a->wanted = clvi_calloc(n, sizeof *a->wanted);
    a->needs_grad = clvi_calloc(n, sizeof *a->needs_grad);
    a->has_grad = clvi_calloc(n, sizeof *a->has_grad);
    a->last_use = clvi_calloc(n, sizeof *a->last_use);
    a->dropped = clvi_calloc(n, sizeof *a->dropped);
    a->again_first = clvi_calloc(n, sizeof *a->again_first);
    a->again_last = clvi_calloc(n, sizeof *a->again_last);
    if (!a->wanted || !a->needs_grad || !a->has_grad || !a->last_use || !a->dropped ||
        !a->again_first || !a->again_last)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", a->graph->label);
    CLV_TRY(choose_nodes(a, error));
    CLV_TRY(clvi_plan_join(a->plan, a->desc, error));
    a->steps = (int32_t)a->plan->step_count;
    find_trainable(a);
    find_gradients(a);
    CLV_TRY(check_modes(a, error));
    find_last_uses(a);
    a->plan->layout.pause = a->desc->pauses ? a->steps : 0;
    CLV_TRY(add_memory(a, error));
    return clvi_layout_place(&a->plan->layout, a->graph->label, error);
}

static clv_status start(clvi_plan *plan, const clvi_plan_desc *desc, clv_error *error)
{
    const size_t tensors = desc->graph->tensor_count + 1;
    plan->graph = desc->graph;
    plan->store = desc->store;
    plan->device = clvi_store_device(desc->store);
    plan->base = desc->base;
    plan->mode = desc->mode;
    plan->max_batch = desc->max_batch;
    plan->from = desc->has_from ? clvi_graph_root(desc->graph, desc->from) : CLV_NO_TENSOR;
    plan->slabs = desc->slabs;
    if (!plan->slabs) {
        CLV_TRY(clvi_slabs_create(plan->device, &plan->slabs, error));
        plan->owns_slabs = true;
    }
    clvi_layout_init(&plan->layout, plan->device, plan->slabs, plan->max_batch);
    plan->layout.beside = desc->beside;
    plan->layout.beside_count = desc->beside_count;
    plan->value_item = clvi_malloc(tensors * sizeof *plan->value_item);
    plan->grad_item = clvi_malloc(tensors * sizeof *plan->grad_item);
    plan->again_item = clvi_malloc(tensors * sizeof *plan->again_item);
    plan->outputs = clvi_malloc((desc->output_count + 1) * sizeof *plan->outputs);
    if (!plan->value_item || !plan->grad_item || !plan->again_item || !plan->outputs)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", desc->graph->label);
    for (size_t t = 0; t < tensors; t++)
        plan->value_item[t] = plan->grad_item[t] = plan->again_item[t] = -1;
    memcpy(plan->outputs, desc->outputs, desc->output_count * sizeof *plan->outputs);
    plan->output_count = desc->output_count;
    return CLV_OK;
}

static clv_status create(const clvi_plan_desc *desc, bool recomputes, clvi_plan **out,
                         clv_error *error)
{
    if (desc->graph->input_count > CLVI_MAX_INPUTS)
        CLV_FAIL(error, CLV_E_SHAPE, "%s has %zu inputs, at most %d are possible",
                 desc->graph->label, desc->graph->input_count, CLVI_MAX_INPUTS);
    clvi_plan *plan = clvi_calloc(1, sizeof *plan);
    if (!plan)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", desc->graph->label);
    plan->recomputes = recomputes;
    analysis a = {.plan = plan, .graph = desc->graph, .desc = desc};
    clv_status status = start(plan, desc, error);
    if (status == CLV_OK)
        status = analyse(&a, error);
    clvi_free(a.needs);
    clvi_free(a.wanted);
    clvi_free(a.needs_grad);
    clvi_free(a.has_grad);
    clvi_free(a.last_use);
    clvi_free(a.dropped);
    clvi_free(a.again_first);
    clvi_free(a.again_last);
    if (status != CLV_OK) {
        clvi_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return CLV_OK;
}

clv_status clvi_plan_create(const clvi_plan_desc *desc, clvi_plan **out, clv_error *error)
{
    CLV_ASSERT(desc->max_batch >= 1 && desc->output_count >= 1);
    const bool train = desc->mode == CLV_MODE_TRAIN;
    const bool always = train && clvi_device_recomputes(clvi_store_device(desc->store));
    const clv_status status = create(desc, always, out, error);
    clv_error again = CLV_ERROR_INIT;
    if (status != CLV_E_MEMORY || !train || always || create(desc, true, out, &again) != CLV_OK)
        return status;
    clvi_error_clear(error);
    clvi_log(CLVI_LOG_INFO, "%s: not all activations fit into memory; some are computed again",
             desc->graph->label);
    return CLV_OK;
}

void clvi_plan_destroy(clvi_plan *plan)
{
    if (!plan)
        return;
    clvi_layout_fini(&plan->layout);
    if (plan->owns_slabs)
        clvi_slabs_destroy(plan->slabs);
    else if (plan->slabs && clvi_slabs_claimed_by(plan->slabs, plan))
        clvi_slabs_claim(plan->slabs, NULL);
    clvi_free(plan->steps);
    clvi_free(plan->joined);
    clvi_free(plan->value_item);
    clvi_free(plan->grad_item);
    clvi_free(plan->again_item);
    clvi_free(plan->outputs);
    clvi_buf_destroy(plan->watch);
    clvi_free(plan);
}

bool clvi_plan_extent(const clvi_plan *plan, uint64_t *per_sample, uint64_t *constant)
{
    clvi_extent extent;
    if (!clvi_layout_extent(&plan->layout, &extent))
        return false;
    *per_sample = extent.per_sample * plan->layout.unit * 4;
    *constant = extent.constant * plan->layout.unit * 4;
    return true;
}

void clvi_plan_place(clvi_plan *plan, uint64_t bytes)
{
    CLV_ASSERT(bytes % (plan->layout.unit * 4) == 0);
    plan->layout.base = bytes / (plan->layout.unit * 4);
}

void clvi_plan_expect(const clvi_plan *plan)
{
    clvi_layout_expect(&plan->layout);
}

uint64_t clvi_plan_bytes(const clvi_plan *plan)
{
    return plan->layout.bytes;
}

uint64_t clvi_plan_own_bytes(const clvi_plan *plan)
{
    return plan->layout.guarded ? plan->layout.bytes : 0;
}

clv_status clvi_plan_check_guards(clvi_plan *plan, clv_error *error)
{
    return clvi_layout_check_guards(&plan->layout, error);
}

clv_status clvi_plan_poison(clvi_plan *plan, clv_error *error)
{
    plan->prepared_version = 0;
    return clvi_layout_poison(&plan->layout, error);
}
