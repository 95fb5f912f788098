#include "graph/join.h"
#include "ops/expand_depthwise.h"
#include "ops/pool2d.h"
#include "ops/squeeze_excite.h"

/* By root tensor: what the plan's steps do with it. */
typedef struct usage {
    int32_t readers; /* how often it is read; outside counts */
    int32_t reader;  /* the last step that does */
    int32_t maker;   /* -1: none of the steps */
    bool wanted;     /* from outside */
} usage;

typedef struct joining {
    clvi_plan *plan;
    usage *of;
    bool *gone; /* steps that have become part of others */
} joining;

static clvi_node *node_at(const joining *j, int32_t step)
{
    return &j->plan->joined[step];
}

static usage *usage_of(const joining *j, clv_tensor tensor)
{
    return &j->of[clvi_graph_root(j->plan->graph, tensor)];
}

static void count(const joining *j, const clvi_plan_desc *desc)
{
    for (size_t t = 0; t < j->plan->graph->tensor_count; t++)
        j->of[t].maker = -1;
    for (int32_t s = 0; s < (int32_t)j->plan->step_count; s++) {
        const clvi_node *node = node_at(j, s);
        for (int i = 0; i < node->input_count; i++) {
            if (node->inputs[i] == CLV_NO_TENSOR)
                continue;
            usage_of(j, node->inputs[i])->readers++;
            usage_of(j, node->inputs[i])->reader = s;
        }
        for (int o = 0; o < node->output_count && !node->op->is_alias; o++)
            usage_of(j, node->outputs[o])->maker = s;
    }
    for (size_t i = 0; i < desc->output_count; i++)
        usage_of(j, desc->outputs[i])->readers++, usage_of(j, desc->outputs[i])->wanted = true;
    if (j->plan->from != CLV_NO_TENSOR)
        usage_of(j, j->plan->from)->readers++;
}

/* Whether node `host` offers it and has not joined it yet. */
static bool offers(const joining *j, const clvi_node *host, uint32_t join)
{
    const bool training = j->plan->mode == CLV_MODE_TRAIN;
    return host->op->joins && !(host->joined & join) &&
           (host->op->joins(j->plan->device, j->plan->graph, host, training) & join) != 0;
}

static void append(clvi_node *host, uint32_t join, int slot, clv_tensor tensor)
{
    for (; host->input_count <= slot; host->input_count++)
        host->inputs[host->input_count] = CLV_NO_TENSOR;
    host->inputs[slot] = tensor;
    host->joined |= join;
}

/* x times a factor per channel becomes part of the only step that reads it. */
static void join_scale(joining *j, int32_t s)
{
    const clvi_node *node = node_at(j, s);
    const clvi_tensor *tensors = j->plan->graph->tensors;
    const usage *y = usage_of(j, node->outputs[0]);
    if (y->readers != 1 || y->reader <= s ||
        clvi_shape_elements(&tensors[node->inputs[0]].shape) ==
            clvi_shape_elements(&tensors[node->inputs[1]].shape))
        return;
    clvi_node *host = node_at(j, y->reader);
    if (host->inputs[0] != node->outputs[0] || !offers(j, host, CLVI_JOIN_SCALE))
        return;
    host->inputs[0] = node->inputs[0];
    append(host, CLVI_JOIN_SCALE, host->op->max_inputs, node->inputs[1]);
    usage_of(j, node->inputs[0])->reader = usage_of(j, node->inputs[1])->reader = y->reader;
    j->gone[s] = true;
}

/* Step s becomes part of the one that makes its input i and that nobody else reads. join 0: needs
 * nothing of it. */
static bool join_maker(joining *j, int32_t s, int i, uint32_t join, clv_tensor addend)
{
    const clvi_node *node = node_at(j, s);
    const usage *x = usage_of(j, node->inputs[i]);
    if (x->readers != 1 || x->maker < 0)
        return false;
    clvi_node *host = node_at(j, x->maker);
    if (host->outputs[0] != node->inputs[i] || host->output_count != 1 ||
        (join && !offers(j, host, join)))
        return false;
    if (addend != CLV_NO_TENSOR) {
        if (usage_of(j, addend)->maker >= x->maker)
            return false;
        append(host, join, host->op->max_inputs + 1, addend);
    }
    host->joined |= join;
    host->outputs[0] = node->outputs[0];
    usage_of(j, node->outputs[0])->maker = x->maker;
    j->gone[s] = true;
    return true;
}

/* Node s, behind what host has already, with inputs of its own from the second one on: they follow
 * those that other joins have their places for. */
static void append_behind(joining *j, clvi_node *host, int32_t s, uint32_t join)
{
    const clvi_node *node = node_at(j, s);
    const int32_t least = host->op->max_inputs + 2;
    const int32_t first = host->input_count > least ? host->input_count : least;
    for (int i = 1; i < node->op->max_inputs; i++)
        append(host, join, first + i - 1, i < node->input_count ? node->inputs[i] : CLV_NO_TENSOR);
    host->behind[host->behind_count++] = (clvi_behind){node, first};
    j->gone[s] = true;
}

/* Whether what node s reads from its second input on is there when step `host` runs. */
static bool ready_at(const joining *j, int32_t s, int32_t host)
{
    const clvi_node *node = node_at(j, s);
    for (int i = 1; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR && usage_of(j, node->inputs[i])->maker >= host)
            return false;
    return true;
}

/* A depthwise convolution becomes part of the one whose only reader it is. */
static void join_depthwise(joining *j, int32_t s)
{
    const clvi_node *node = node_at(j, s);
    const usage *x = usage_of(j, node->inputs[0]);
    if (x->readers != 1 || x->maker < 0)
        return;
    clvi_node *host = node_at(j, x->maker);
    if (host->outputs[0] != node->inputs[0] || !offers(j, host, CLVI_JOIN_DEPTHWISE) ||
        !ready_at(j, s, x->maker) ||
        !clvi_expand_depthwise_serves(j->plan->device, j->plan->graph, host, node,
                                      j->plan->max_batch))
        return;
    append_behind(j, host, s, CLVI_JOIN_DEPTHWISE);
    host->outputs[0] = node->outputs[0];
    usage_of(j, node->outputs[0])->maker = x->maker;
}

/* The step that alone makes the dense layer's input for it; -1: there is none. */
static int32_t only_maker(const joining *j, int32_t dense)
{
    const usage *x = usage_of(j, node_at(j, dense)->inputs[0]);
    return x->readers == 1 && !x->wanted ? x->maker : -1;
}

/* Two dense layers of a mean that has joined what makes the pixels, after all else has: the gate
 * may be a sigmoid. s: the second one. */
static void join_dense(joining *j, int32_t s)
{
    const clvi_op *dense = clvi_op_find("dense");
    const int32_t f = node_at(j, s)->op == dense ? only_maker(j, s) : -1;
    const int32_t h = f >= 0 && !j->gone[f] && node_at(j, f)->op == dense ? only_maker(j, f) : -1;
    if (h < 0)
        return;
    clvi_node *host = node_at(j, h);
    if (!(host->joined & CLVI_JOIN_MEAN) || !offers(j, host, CLVI_JOIN_DENSE) ||
        clvi_graph_root(j->plan->graph, node_at(j, f)->inputs[0]) != host->outputs[1] ||
        !ready_at(j, f, h) || !ready_at(j, s, h) ||
        !clvi_squeeze_excite_serves(j->plan->device, j->plan->graph, node_at(j, f), node_at(j, s)))
        return;
    append_behind(j, host, f, CLVI_JOIN_DENSE);
    append_behind(j, host, s, CLVI_JOIN_DENSE);
    host->outputs[1] = node_at(j, s)->outputs[0];
    usage_of(j, host->outputs[1])->maker = h;
}

/* The mean over pixels becomes a second output of what makes them. */
static void join_mean(joining *j, int32_t s)
{
    const clvi_node *node = node_at(j, s);
    const usage *x = usage_of(j, node->inputs[0]);
    if (x->maker < 0 || usage_of(j, node->outputs[0])->wanted)
        return;
    clvi_node *host = node_at(j, x->maker);
    if (host->outputs[0] != node->inputs[0] || !offers(j, host, CLVI_JOIN_MEAN))
        return;
    host->outputs[host->output_count++] = node->outputs[0];
    host->joined |= CLVI_JOIN_MEAN;
    usage_of(j, node->outputs[0])->maker = x->maker;
    j->gone[s] = true;
}

/* What does nothing in inference goes first: it may stand between two that join. */
static void join_idle(joining *j, int32_t s)
{
    const clvi_node *node = node_at(j, s);
    if (node->op == clvi_op_find("dropout") || node->op == clvi_op_find("drop_path"))
        (void)join_maker(j, s, 0, 0, CLV_NO_TENSOR);
}

static void join_step(joining *j, int32_t s)
{
    const clvi_node *node = node_at(j, s);
    if (node->op == clvi_op_find("multiply"))
        join_scale(j, s);
    else if (node->op == clvi_op_find("global_avg_pool"))
        join_mean(j, s);
    else if (j->plan->mode == CLV_MODE_TRAIN)
        return; /* what the others make is not what their gradients are made from */
    else if (node->op == clvi_op_find("sigmoid"))
        (void)join_maker(j, s, 0, CLVI_JOIN_SIGMOID, CLV_NO_TENSOR);
    else if (node->op == clvi_op_find("depthwise_conv2d_bn"))
        join_depthwise(j, s);
    else if (node->op == clvi_op_find("max_pool2d") && clvi_pool2d_halves(node))
        (void)join_maker(j, s, 0, CLVI_JOIN_MAX_POOL, CLV_NO_TENSOR);
    else if (node->op == clvi_op_find("add") &&
             !join_maker(j, s, 0, CLVI_JOIN_ADD, node->inputs[1]))
        (void)join_maker(j, s, 1, CLVI_JOIN_ADD, node->inputs[0]);
}

clv_status clvi_plan_join(clvi_plan *plan, const clvi_plan_desc *desc, clv_error *error)
{
    const size_t count_of_steps = plan->step_count;
    joining j = {.plan = plan};
    plan->joined = clvi_calloc(count_of_steps + 1, sizeof *plan->joined);
    j.of = clvi_calloc(plan->graph->tensor_count + 1, sizeof *j.of);
    j.gone = clvi_calloc(count_of_steps + 1, sizeof *j.gone);
    const bool made = plan->joined && j.of && j.gone;
    if (made) {
        for (size_t s = 0; s < count_of_steps; s++)
            plan->joined[s] = *plan->steps[s].what;
        count(&j, desc);
        for (int32_t s = 0; s < (int32_t)count_of_steps && plan->mode == CLV_MODE_INFER; s++)
            join_idle(&j, s);
        for (int32_t s = 0; s < (int32_t)count_of_steps; s++)
            if (!j.gone[s])
                join_step(&j, s);
        for (int32_t s = 0; s < (int32_t)count_of_steps && plan->mode == CLV_MODE_INFER; s++)
            if (!j.gone[s])
                join_dense(&j, s);
        plan->step_count = 0;
        for (size_t s = 0; s < count_of_steps; s++) {
            if (j.gone[s])
                continue;
            clvi_step *step = &plan->steps[plan->step_count++];
            *step = plan->steps[s];
            if (plan->joined[s].joined || plan->joined[s].outputs[0] != step->what->outputs[0])
                step->what = &plan->joined[s];
        }
    }
    clvi_free(j.of);
    clvi_free(j.gone);
    if (!made)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to plan %s", plan->graph->label);
    return CLV_OK;
}
