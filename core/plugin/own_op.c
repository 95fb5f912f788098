/* Ops of plugins: taking their descriptions apart while they register, and the functions of a
 * clvi_op over those of the plugin. Nothing is believed: what a plugin's function returns is
 * checked here, what it asks for in own_run.c. */
#include "base/text.h"
#include "base/structs.h"
#include "plugin/loader.h"
#include "plugin/own_run.h"

#include <math.h>
#include <stdio.h>

enum { MOST_ATTRS = 32, MOST_SOURCES = 16, MOST_NAME_BYTES = 64 };

/* ---- Registering: what is wrong with a description ---- */

/* A description on its way in. */
typedef struct entry {
    clvi_own *own;
    const clv_op_desc *desc; /* as this host knows the struct */
    clvi_own_op *op;
} entry;

CLV_PRINTF(3, 4)
static clv_status refuse(const entry *e, clv_error *error, const char *format, ...)
{
    char sentence[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE, "the operation \"%s\": %s",
                     e->op->op.name != NULL ? e->op->op.name : "", sentence);
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: an operation of a plugin");
}

/* "PLUGIN.OP", not in use. */
static clv_status take_name(entry *e, clv_error *error)
{
    const char *given = e->desc->name;
    const size_t plugin = strlen(e->own->name);
    char shown[MOST_NAME_BYTES];
    if (given == NULL || strncmp(given, e->own->name, plugin) != 0 || given[plugin] != '.' ||
        !clvi_is_plain_name(given + plugin + 1, MOST_NAME_BYTES))
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "an operation is named \"%s\", wanted is \"%s.\" and letters a-z, digits and _",
                 given != NULL ? clvi_printable(given, shown, sizeof(shown)) : "", e->own->name);
    e->op->op.name = clvi_arena_strdup(e->own->arena, given);
    if (e->op->op.name == NULL)
        return no_memory(error);
    for (size_t i = 0; i < e->own->set->count; i++)
        if (strcmp(e->own->set->ops[i]->name, given) == 0)
            return refuse(e, error,
                          "another one of that name is registered already, by this plugin or by "
                          "the other one called %s; rename one",
                          e->own->name);
    return CLV_OK;
}

static clv_status take_counts(entry *e, clv_error *error)
{
    const clv_op_desc *d = e->desc;
    if (d->max_inputs < 1 || d->max_inputs > CLVI_MAX_INPUTS || d->min_inputs > d->max_inputs)
        return refuse(e, error, "%u to %u inputs, possible are 1 to %d", d->min_inputs,
                      d->max_inputs, CLVI_MAX_INPUTS);
    if (d->output_count < 1 || d->output_count > CLVI_MAX_OUTPUTS)
        return refuse(e, error, "%u outputs, possible are 1 to %d", d->output_count,
                      CLVI_MAX_OUTPUTS);
    if (d->shape == NULL)
        return refuse(e, error, "clv_op_desc.shape is NULL, it is mandatory");
    if (d->forward == NULL)
        return refuse(e, error, "clv_op_desc.forward is NULL, it is mandatory");
    e->op->op.draws = true; /* for all that is known of it */
    e->op->op.min_inputs = (int32_t)d->min_inputs;
    e->op->op.max_inputs = (int32_t)d->max_inputs;
    e->op->op.output_count = (int32_t)d->output_count;
    e->op->shape = d->shape, e->op->forward = d->forward, e->op->backward = d->backward;
    e->op->needs = d->needs, e->op->reference = d->reference;
    return CLV_OK;
}

/* The choices of an attribute one by one, for clv_op_host.attribute. */
static clv_status take_choices(entry *e, const clv_attr_spec *spec, clvi_attr_spec *to,
                               const char *const **names, clv_error *error)
{
    size_t count = 1, at = 0;
    if (spec->choices == NULL || spec->choices[0] == '\0')
        return refuse(e, error, "attribute %s is a text and has no choices", spec->name);
    for (const char *c = spec->choices; *c != '\0'; c++)
        count += *c == '|';
    const char **list = clvi_arena_alloc(e->own->arena, count * sizeof(*list));
    char *words = clvi_arena_strdup(e->own->arena, spec->choices);
    to->choices = clvi_arena_strdup(e->own->arena, spec->choices);
    if (list == NULL || words == NULL || to->choices == NULL)
        return no_memory(error);
    for (char *word = words; word != NULL;) {
        char *bar = strchr(word, '|');
        list[at++] = word;
        if (bar != NULL)
            *bar = '\0';
        word = bar != NULL ? bar + 1 : NULL;
    }
    if (!(spec->default_value >= 0 && spec->default_value < (double)count))
        return refuse(e, error, "attribute %s has %zu choices, its default is number %g",
                      spec->name, count, spec->default_value);
    *names = list;
    return CLV_OK;
}

static clv_status take_attr(entry *e, uint32_t index, clvi_attr_spec *to, const char *const **names,
                            clv_error *error)
{
    const clv_op_desc *d = e->desc;
    const char *from = (const char *)d->attrs + (size_t)index * d->attr_stride;
    clv_attr_spec spec;
    if (!clvi_struct_take(&spec, sizeof(spec), from, CLVI_BYTES_TO(clv_attr_spec, reserved),
                          d->attr_stride))
        return refuse(e, error, "clv_attr_spec.struct_size of attribute %u does not fit", index);
    if (spec.reserved != 0)
        return refuse(e, error, "clv_attr_spec.reserved of attribute %u is not 0", index);
    if (!clvi_is_plain_name(spec.name, MOST_NAME_BYTES))
        return refuse(e, error, "attribute %u is not named by letters a-z, digits and _", index);
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(e->op->op.attrs[i].name, spec.name) == 0)
            return refuse(e, error, "two attributes are named %s", spec.name);
    if (spec.type < CLV_ATTR_INT || spec.type > CLV_ATTR_INTS)
        return refuse(e, error, "attribute %s has the unknown type %u", spec.name, spec.type);
    if (!isfinite(spec.default_value) || !(spec.min <= spec.max))
        return refuse(e, error, "attribute %s: default %g, smallest %g and largest %g do not fit",
                      spec.name, spec.default_value, spec.min, spec.max);
    *to = (clvi_attr_spec){.name = clvi_arena_strdup(e->own->arena, spec.name),
                           .type = (clv_attr_type)spec.type,
                           .offset = index * sizeof(clvi_own_value),
                           .default_value = spec.default_value,
                           .min = spec.min,
                           .max = spec.max,
                           .required = spec.required != 0};
    if (to->name == NULL)
        return no_memory(error);
    return spec.type == CLV_ATTR_TEXT ? take_choices(e, &spec, to, names, error) : CLV_OK;
}

static clv_status take_attrs(entry *e, clv_error *error)
{
    const clv_op_desc *d = e->desc;
    if (d->attr_count == 0)
        return CLV_OK;
    if (d->attr_count > MOST_ATTRS || d->attrs == NULL ||
        d->attr_stride < CLVI_BYTES_TO(clv_attr_spec, reserved) ||
        d->attr_stride % _Alignof(clv_attr_spec) != 0)
        return refuse(e, error, "%u attributes at a stride of %u bytes cannot be", d->attr_count,
                      d->attr_stride);
    clvi_attr_spec *specs = clvi_arena_alloc(e->own->arena, d->attr_count * sizeof(*specs));
    const char *const **names = clvi_arena_alloc(e->own->arena, d->attr_count * sizeof(*names));
    if (specs == NULL || names == NULL)
        return no_memory(error);
    e->op->op.attrs = specs;
    e->op->choices = names;
    e->op->op.attr_bytes = d->attr_count * sizeof(clvi_own_value);
    for (uint32_t i = 0; i < d->attr_count; i++) {
        CLV_TRY(take_attr(e, i, &specs[i], &names[i], error));
        e->op->op.attr_count = i + 1;
    }
    return CLV_OK;
}

static clv_status take_sources(entry *e, clv_error *error)
{
    const clv_op_desc *d = e->desc;
    if (d->source_count == 0)
        return CLV_OK;
    if (d->source_count > MOST_SOURCES || d->sources == NULL ||
        d->source_stride < CLVI_BYTES_TO(clv_source, text) ||
        d->source_stride % _Alignof(clv_source) != 0)
        return refuse(e, error, "%u sources at a stride of %u bytes cannot be", d->source_count,
                      d->source_stride);
    clvi_own_source *sources = clvi_arena_alloc(e->own->arena, d->source_count * sizeof(*sources));
    if (sources == NULL)
        return no_memory(error);
    e->op->sources = sources;
    for (uint32_t i = 0; i < d->source_count; i++) {
        const char *from = (const char *)d->sources + (size_t)i * d->source_stride;
        clv_source source;
        if (!clvi_struct_take(&source, sizeof(source), from, CLVI_BYTES_TO(clv_source, text),
                              d->source_stride))
            return refuse(e, error, "clv_source.struct_size of source %u does not fit", i);
        if (source.reserved != 0)
            return refuse(e, error, "clv_source.reserved of source %u is not 0", i);
        if (!clvi_is_plain_name(source.name, MOST_NAME_BYTES) || source.text == NULL)
            return refuse(e, error, "source %u has no text or no name of a-z, digits and _", i);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(sources[k].name, source.name) == 0)
                return refuse(e, error, "two sources are named %s", source.name);
        sources[i].name = clvi_arena_strdup(e->own->arena, source.name);
        sources[i].text = (const char *)source.text;
        sources[i].program = clvi_arena_printf(e->own->arena, "%s.%s", e->op->op.name, source.name);
        if (sources[i].name == NULL || sources[i].program == NULL)
            return no_memory(error);
        e->op->source_count = i + 1;
    }
    return CLV_OK;
}

/* ---- The op, as the core calls it ---- */

static const clvi_own_op *own_of(const clvi_op *op)
{
    return (const clvi_own_op *)op; /* its first member */
}

/* A node as the plugin's functions see it. */
static clv_run run_of(const clv_graph *graph, const clvi_node *node, clvi_own_phase phase)
{
    clv_run run = {.phase = phase, .own = own_of(node->op), .attrs = node->attrs};
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR)
            run.inputs[i] = clvi_in_shape(graph, node, i);
    for (int o = 0; o < node->output_count; o++)
        run.outputs[o] = clvi_out_shape(graph, node, o);
    return run;
}

/* What a plugin's function returned, and what the host told it on the way: the status that counts,
 * in `error` with its sentence. */
static clv_status judge(clv_status status, clv_error *cause, const char *function, clv_error *error)
{
    if (status == CLV_OK && cause->status == CLV_OK)
        return CLV_OK;
    status = clvi_plugin_explain(status, cause, function);
    return clvi_fail(error, status, CLV_HERE, "%s", cause->message);
}

static clv_status own_shape(clvi_shape_request *request, clv_error *error)
{
    const clvi_own_op *own = own_of(request->op);
    clv_error cause = CLV_ERROR_INIT;
    clv_run run = {
        .phase = CLVI_OWN_SHAPE, .own = own, .attrs = request->attrs, .request = request};
    memcpy(run.inputs, request->inputs, sizeof(run.inputs));
    clv_status status = own->shape(clvi_own_host(), &run, &cause);
    status = judge(status, &cause, "shape", error);
    if (status != CLV_OK) {
        clvi_prepend(error, "%s (%s)", request->node, own->op.name);
        return status;
    }
    for (int o = 0; o < own->op.output_count; o++)
        if ((run.set >> o & 1) == 0)
            CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): the shape rule does not set output %d",
                     request->node, own->op.name, o);
    return CLV_OK;
}

static bool is_amount(int64_t per_sample, int64_t constant)
{
    return per_sample >= 0 && per_sample <= INT32_MAX && constant >= 0 && constant <= INT32_MAX;
}

clv_status clvi_own_ask_needs(const clv_run *run, clv_op_needs *out, clv_error *error)
{
    clv_op_needs needs = {.struct_size = (uint32_t)sizeof(needs)};
    clv_error cause = CLV_ERROR_INIT;
    uint32_t given = 0;
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        given |= run->inputs[i] != NULL ? 1u << i : 0;
    if (run->own->needs != NULL) {
        clv_run asked = *run;
        asked.phase = CLVI_OWN_NEEDS;
        asked.n = 0;
        const clv_status status = run->own->needs(clvi_own_host(), &asked, &needs, &cause);
        CLV_TRY(judge(status, &cause, "needs", error));
    }
    bool good = is_amount(needs.forward_per_sample, needs.forward_constant) &&
                is_amount(needs.backward_per_sample, needs.backward_constant);
    for (int k = 0; k < CLV_MAX_SAVED; k++)
        good &= is_amount(needs.saved_per_sample[k], needs.saved_constant[k]);
    if (!good)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "needs asks for an amount of memory below 0 or beyond 2^31 elements");
    if (needs.reserved != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_op_needs.reserved is not 0");
    if ((needs.backward_outputs >> run->own->op.output_count) != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_op_needs.backward_outputs is 0x%x with %d outputs",
                 needs.backward_outputs, run->own->op.output_count);
    needs.backward_inputs &= given;
    needs.forward_in_place &= given;
    needs.grad_in_place &= given;
    *out = needs;
    return CLV_OK;
}

static void own_needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                      clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    clv_run run = run_of(graph, node, CLVI_OWN_NEEDS);
    clv_error cause = CLV_ERROR_INIT;
    clv_op_needs needs;
    run.device = (clvi_device *)device; /* only asked, never enqueued to, in this phase */
    run.mode = mode;
    run.wants_grad = wants_grad;
    if (clvi_own_ask_needs(&run, &needs, &cause) != CLV_OK) {
        out->refused = clvi_arena_printf(graph->arena, "%s (%s): %s", node->name, node->op->name,
                                         cause.message);
        if (out->refused == NULL)
            out->refused = "out of memory: why an operation cannot be planned";
        return;
    }
    out->backward_inputs = needs.backward_inputs;
    out->backward_outputs = needs.backward_outputs;
    out->forward_in_place = needs.forward_in_place;
    out->grad_in_place = needs.grad_in_place;
    for (int k = 0; k < CLVI_MAX_SAVED && k < CLV_MAX_SAVED; k++)
        out->saved[k] = (clvi_amount){needs.saved_per_sample[k], needs.saved_constant[k]};
    out->forward_workspace = (clvi_amount){needs.forward_per_sample, needs.forward_constant};
    out->backward_workspace = (clvi_amount){needs.backward_per_sample, needs.backward_constant};
}

static clv_status pass(const clvi_run *call, clvi_own_phase phase, bool rehearsed, clv_error *error)
{
    clv_run run = run_of(call->graph, call->node, phase);
    clv_error cause = CLV_ERROR_INIT;
    clv_op_needs needs;
    run.rehearsed = rehearsed;
    run.device = call->device;
    run.mode = call->mode;
    run.wants_grad = call->wants_grad;
    run.n = call->n;
    run.call = call;
    CLV_TRY(clvi_own_ask_needs(&run, &needs, error));
    run.needs = &needs;
    const bool forward = phase == CLVI_OWN_FORWARD;
    clv_op_function *function = forward ? run.own->forward : run.own->backward;
    const clv_status status = function(clvi_own_host(), &run, &cause);
    return judge(status, &cause, forward ? "forward" : "backward", error);
}

static clv_status own_forward(const clvi_run *call, clv_error *error)
{
    return pass(call, CLVI_OWN_FORWARD, false, error);
}

static clv_status own_backward(const clvi_run *call, clv_error *error)
{
    return pass(call, CLVI_OWN_BACKWARD, false, error);
}

bool clvi_op_is_own(const clvi_op *op)
{
    return op->forward == own_forward;
}

bool clvi_own_has_reference(const clvi_op *op)
{
    return clvi_op_is_own(op) && own_of(op)->reference != NULL;
}

clv_status clvi_own_reference(const clv_graph *graph, const clvi_node *node, clv_mode mode,
                              int64_t n, const clv_reference *data, clv_error *error)
{
    clv_run run = run_of(graph, node, CLVI_OWN_REFERENCE);
    clv_error cause = CLV_ERROR_INIT;
    run.mode = mode;
    run.n = n;
    clv_status status = run.own->reference(clvi_own_host(), &run, data, &cause);
    status = judge(status, &cause, "reference", error);
    if (status != CLV_OK)
        clvi_prepend(error, "reference of %s (%s)", node->name, node->op->name);
    return status;
}

clv_status clvi_own_rehearse(clvi_device *device, const clv_graph *graph, const clvi_node *node,
                             int64_t n, uint32_t wants_grad, clv_error *error)
{
    const clvi_run call = {.device = device,
                           .graph = graph,
                           .node = node,
                           .mode = CLV_MODE_TRAIN,
                           .n = n,
                           .wants_grad = wants_grad};
    CLV_TRY(pass(&call, CLVI_OWN_FORWARD, true, error));
    if (wants_grad == 0 || node->op->backward == NULL)
        return CLV_OK;
    return pass(&call, CLVI_OWN_BACKWARD, true, error);
}

/* ---- Registering ---- */

static clv_status add(clvi_own *own, const clv_op_desc *desc, clv_error *error)
{
    if (own->arena == NULL)
        CLV_TRY(clvi_arena_create(&own->arena, error));
    entry e = {own, desc, clvi_arena_alloc(own->arena, sizeof(*e.op))};
    if (e.op == NULL)
        return no_memory(error);
    CLV_TRY(take_name(&e, error));
    CLV_TRY(take_counts(&e, error));
    CLV_TRY(take_attrs(&e, error));
    CLV_TRY(take_sources(&e, error));
    e.op->op.shape = own_shape;
    e.op->op.needs = own_needs;
    e.op->op.forward = own_forward;
    e.op->op.backward = desc->backward != NULL ? own_backward : NULL;
    void *ops = own->set->ops;
    const clv_status status =
        clvi_grow(&ops, &own->set->capacity, own->set->count + 1, sizeof(*own->set->ops), error);
    own->set->ops = ops;
    CLV_TRY(status);
    own->set->ops[own->set->count++] = &e.op->op;
    return CLV_OK;
}

static clv_status register_op(const clv_host *host, const clv_op_desc *desc, clv_error *error)
{
    clvi_own *own = (clvi_own *)host; /* its first member, given to init as such */
    clv_op_desc d;
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = CLV_OK;
    if (own->set == NULL)
        status = clvi_fail(&cause, CLV_E_PLUGIN, CLV_HERE,
                           "register_op is called when init is over; it belongs into init");
    else if (desc == NULL || !clvi_struct_take(&d, sizeof(d), desc,
                                               CLVI_BYTES_TO(clv_op_desc, reference), SIZE_MAX))
        status = clvi_fail(&cause, CLV_E_PLUGIN, CLV_HERE,
                           "clv_op_desc is NULL or its struct_size is below %zu bytes",
                           CLVI_BYTES_TO(clv_op_desc, reference));
    else
        status = add(own, &d, &cause);
    if (status != CLV_OK) {
        clvi_fail(&own->failure, status, CLV_HERE, "%s", cause.message);
        clvi_fail(error, status, CLV_HERE, "%s", cause.message);
    }
    return status;
}

clv_status clvi_own_init(clvi_own *own, const clv_plugin *table, const char *path, clvi_op_set *set,
                         clv_error *error)
{
    const size_t before = set->count;
    clv_error cause = CLV_ERROR_INIT;
    if (table->struct_size < CLVI_BYTES_TO(clv_plugin, init) || table->init == NULL)
        return CLV_OK;
    own->host = *clvi_host_table();
    own->host.register_op = register_op;
    own->failure = (clv_error)CLV_ERROR_INIT;
    own->set = set;
    own->name = table->name;
    own->path = path;
    clv_status status = table->init(&own->host, &cause);
    own->set = NULL;
    if (own->failure.status != CLV_OK)
        cause = own->failure;
    if (status == CLV_OK && cause.status == CLV_OK)
        return CLV_OK;
    status = clvi_plugin_explain(status, &cause, "init");
    set->count = before;
    CLV_FAIL(error, status, "%s: init: %s", path, cause.message);
}

void clvi_own_fini(clvi_own *own)
{
    clvi_arena_destroy(own->arena);
    own->arena = NULL;
}
