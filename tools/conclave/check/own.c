/* Each own op of a plugin by itself, as the plugin's network uses it: a graph of that one node, all
 * of whose inputs are bound from outside between guard bands, with the values that occur in the
 * network.
 *   - forward in both modes, whole batch and one sample, against the plugin's reference in double
 *   - gradients, all at once and each alone, against differences: of the reference in double where
 *     there is one, else of the device's own forward in f32 (probe.h)
 *   - memory full of NaN before, bands and inputs unchanged after, the same bits twice */
#include "check/probe.h"

#include <math.h>

enum { MOST_NODES = 16, SINGLES = 12 };
static const double tolerance = 0.005; /* one operation rounds less than a network */

/* One node taken out of the network. */
typedef struct subject {
    check *c;
    const clvi_node *node;          /* of the network */
    clv_graph *graph;               /* of this node alone */
    float *values[CLVI_MAX_INPUTS]; /* per input of the node, CHECK_BATCH samples */
    size_t places[CLVI_MAX_INPUTS]; /* in a rig of `graph` */
} subject;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: an operation by itself");
}

/* ---- Taking it out ---- */

/* The node's attributes as add_op takes them; strings lie in `words`. Returns their number. */
static uint32_t attributes_of(const clvi_node *node, clv_attr *out, char words[][64])
{
    uint32_t count = 0;
    for (size_t i = 0; i < node->op->attr_count; i++) {
        const clvi_attr_spec *spec = &node->op->attrs[i];
        const char *at = (const char *)node->attrs + spec->offset;
        clv_attr a = {.struct_size = (uint32_t)sizeof(a), .type = spec->type, .name = spec->name};
        const clvi_attr_ints *ints = (const clvi_attr_ints *)at;
        if (spec->type == CLV_ATTR_REAL) {
            memcpy(&a.real, at, sizeof(a.real));
        } else if (spec->type == CLV_ATTR_INTS) {
            a.ints = ints->values, a.int_count = (uint32_t)ints->count;
        } else {
            memcpy(&a.i, at, sizeof(a.i));
        }
        if (spec->type == CLV_ATTR_TEXT) {
            const char *word = spec->choices;
            for (int64_t skip = a.i; skip > 0; skip--)
                word = strchr(word, '|') + 1;
            snprintf(words[count], 64, "%.*s", (int)strcspn(word, "|"), word);
            a.text = words[count];
        }
        out[count++] = a;
    }
    return count;
}

/* Whether an input is a state, which running may change. */
static bool is_state(const subject *s, int input)
{
    const clv_graph *graph = s->c->train;
    const clv_tensor tensor = s->node->inputs[input];
    const int32_t variable = tensor != CLV_NO_TENSOR ? graph->tensors[tensor].variable : -1;
    return variable >= 0 && graph->variables[variable].is_state;
}

/* States stay variables (places[i] counts among them for now); all else is bound from outside. */
static clv_status add_input(subject *s, int i, clv_tensor *out, clv_error *error)
{
    const clv_shape *shape = clvi_in_shape(s->c->train, s->node, i);
    char name[32];
    snprintf(name, sizeof(name), "input-%d", i);
    if (!is_state(s, i)) {
        s->places[i] = s->graph->input_count;
        return clvi_graph_input_tensor(s->graph, name, shape, out, error);
    }
    clv_variable_desc desc = {.struct_size = (uint32_t)sizeof(desc),
                              .name = name,
                              .rank = shape->rank,
                              .init = CLV_INIT_ZEROS};
    memcpy(desc.dims, shape->dims, sizeof(desc.dims));
    s->places[i] = s->graph->variable_count;
    return clvi_graph_variable_add(s->graph, &desc, true, out, error);
}

static clv_status make_graph(subject *s, clv_error *error)
{
    clv_attr attrs[32];
    char words[32][64];
    const uint32_t attr_count = attributes_of(s->node, attrs, words);
    clv_tensor inputs[CLVI_MAX_INPUTS], outputs[CLVI_MAX_OUTPUTS];
    CLV_TRY(clvi_graph_create(s->node->op->name, &s->graph, error));
    clvi_graph_offer_ops(s->graph, s->c->plugin->ops);
    for (int i = 0; i < s->node->input_count; i++) {
        inputs[i] = CLV_NO_TENSOR;
        if (s->node->inputs[i] != CLV_NO_TENSOR)
            CLV_TRY(add_input(s, i, &inputs[i], error));
    }
    for (int i = 0; i < s->node->input_count; i++)
        if (is_state(s, i))
            s->places[i] += s->graph->input_count;
    CLV_TRY(clvi_graph_add_op(s->graph, s->node->op->name, "op", inputs,
                              (uint32_t)s->node->input_count, attrs, attr_count, sizeof(clv_attr),
                              outputs, (uint32_t)s->node->output_count, error));
    for (int o = 0; o < s->node->output_count; o++) {
        char role[32];
        snprintf(role, sizeof(role), "output-%d", o);
        CLV_TRY(clvi_graph_output_add(s->graph, role, outputs[o], error));
    }
    return CLV_OK;
}

/* The values of one input of the node in a run of the network. */
static clv_status take_value(subject *s, int input, clv_error *error)
{
    const clv_tensor tensor = clvi_graph_root(s->c->train, s->node->inputs[input]);
    const clvi_tensor *t = &s->c->train->tensors[tensor];
    const rig_desc desc = {.device = s->c->device,
                           .graph = s->c->train,
                           .mode = CLV_MODE_TRAIN,
                           .batch = CHECK_BATCH,
                           .outputs = &tensor,
                           .output_count = t->kind == CLVI_TENSOR_ACTIVATION ? 1 : 0,
                           .only = -1};
    const clv_shape *shape = clvi_in_shape(s->c->train, s->node, input);
    rig_desc whole = desc;
    rig r;
    if (whole.output_count == 0)
        whole.outputs = NULL; /* all outputs: any will do to have inputs and variables */
    s->values[input] =
        rig_floats(clvi_shape_elements(shape) * (clvi_shape_batched(shape) ? CHECK_BATCH : 1));
    clv_status status = s->values[input] != NULL ? CLV_OK : no_memory(error);
    if (status == CLV_OK)
        status = rig_open(&r, &whole, error);
    else
        return status;
    if (status == CLV_OK && t->kind == CLVI_TENSOR_ACTIVATION)
        status = rig_forward(&r, CHECK_BATCH, error);
    if (status == CLV_OK && t->kind == CLVI_TENSOR_ACTIVATION)
        status = rig_output(&r, 0, s->values[input], error);
    for (size_t p = 0; status == CLV_OK && p < rig_count(&r); p++)
        if (strcmp(rig_name(&r, p), t->name) == 0 && t->kind != CLVI_TENSOR_ACTIVATION)
            memcpy(s->values[input], rig_values(&r, p),
                   (size_t)rig_elements(&r, p, CHECK_BATCH) * 4);
    rig_close(&r);
    return status;
}

static clv_status take_out(subject *s, clv_error *error)
{
    CLV_TRY(make_graph(s, error));
    for (int i = 0; i < s->node->input_count; i++)
        if (s->node->inputs[i] != CLV_NO_TENSOR)
            CLV_TRY(take_value(s, i, error));
    return CLV_OK;
}

static void subject_fini(subject *s)
{
    clvi_graph_destroy(s->graph);
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        clvi_free(s->values[i]);
}

/* A rig of the node alone with these values. only: input of the node, -1: all gradients. */
static clv_status open_alone(const subject *s, clv_mode mode, int only, rig *r, clv_error *error)
{
    const rig_desc desc = {.device = s->c->device,
                           .graph = s->graph,
                           .mode = mode,
                           .batch = CHECK_BATCH,
                           .input_grads = s->node->op->backward != NULL,
                           .only = only < 0 ? -1 : (int64_t)s->places[only]};
    CLV_TRY(rig_open(r, &desc, error));
    for (int i = 0; i < s->node->input_count; i++)
        if (s->values[i] != NULL)
            CLV_TRY(rig_set(r, s->places[i], s->values[i], error));
    return CLV_OK;
}

/* ---- Against the reference ---- */

/* A call of the reference: doubles in and out. */
typedef struct model {
    const subject *s;
    clv_mode mode;
    int64_t n;
    double *inputs[CLVI_MAX_INPUTS], *outputs[CLVI_MAX_OUTPUTS];
    int64_t elements[CLVI_MAX_INPUTS], out_elements[CLVI_MAX_OUTPUTS];
} model;

static int64_t elements_of(const clv_shape *shape, int64_t n)
{
    return clvi_shape_elements(shape) * (clvi_shape_batched(shape) ? n : 1);
}

static clv_status model_open(model *m, const subject *s, clv_mode mode, int64_t n, clv_error *error)
{
    *m = (model){.s = s, .mode = mode, .n = n};
    for (int i = 0; i < s->node->input_count; i++) {
        if (s->values[i] == NULL)
            continue;
        const clv_shape *shape = clvi_in_shape(s->c->train, s->node, i);
        m->elements[i] = elements_of(shape, n);
        m->inputs[i] = clvi_calloc((size_t)m->elements[i], sizeof(double));
        if (m->inputs[i] == NULL)
            return no_memory(error);
        for (int64_t k = 0; k < m->elements[i]; k++) {
            int32_t whole;
            memcpy(&whole, &s->values[i][k], sizeof(whole));
            m->inputs[i][k] = shape->dtype == CLV_F32 ? (double)s->values[i][k] : (double)whole;
        }
    }
    for (int o = 0; o < s->node->output_count; o++) {
        m->out_elements[o] = elements_of(clvi_out_shape(s->c->train, s->node, o), n);
        m->outputs[o] = clvi_calloc((size_t)m->out_elements[o], sizeof(double));
        if (m->outputs[o] == NULL)
            return no_memory(error);
    }
    return CLV_OK;
}

static void model_close(model *m)
{
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        clvi_free(m->inputs[i]);
    for (int o = 0; o < CLVI_MAX_OUTPUTS; o++)
        clvi_free(m->outputs[o]);
}

static clv_status model_run(model *m, clv_error *error)
{
    const double *inputs[CLVI_MAX_INPUTS];
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        inputs[i] = m->inputs[i];
    const clv_reference data = {
        .struct_size = (uint32_t)sizeof(data), .inputs = inputs, .outputs = m->outputs};
    return clvi_own_reference(m->s->graph, &m->s->graph->nodes[0], m->mode, m->n, &data, error);
}

/* Output o of the device against the reference's. False: said. */
static bool compare_output(const subject *s, const rig *r, const model *m, int o, clv_error *error)
{
    const int64_t count = m->out_elements[o];
    const bool real = clvi_out_shape(s->c->train, s->node, o)->dtype == CLV_F32;
    float *given = rig_floats(count);
    clv_status status = given != NULL ? rig_output(r, (size_t)o, given, error) : no_memory(error);
    double rms = 0;
    int64_t bad = -1;
    for (int64_t k = 0; k < count; k++)
        rms += m->outputs[o][k] * m->outputs[o][k] / (double)count;
    for (int64_t k = 0; k < count && status == CLV_OK && bad < 0; k++) {
        int32_t whole;
        memcpy(&whole, &given[k], sizeof(whole));
        const double value = real ? (double)given[k] : (double)whole;
        if (!(fabs(value - m->outputs[o][k]) <= 1e-4 * (fabs(m->outputs[o][k]) + sqrt(rms)) + 1e-6))
            bad = k;
    }
    if (status == CLV_OK && bad >= 0)
        check_bad(s->c,
                  "%s in %s with %lld samples: element %lld of output %d is %.7g, its reference "
                  "gives %.7g",
                  s->node->name, m->mode == CLV_MODE_TRAIN ? "training" : "inference",
                  (long long)m->n, (long long)bad, o, (double)given[bad], m->outputs[o][bad]);
    clvi_free(given);
    return check_works(s->c, status, error) && bad < 0;
}

static bool compare_forward(const subject *s, rig *r, int64_t n)
{
    clv_error error = CLV_ERROR_INIT;
    model m;
    clv_status status = model_open(&m, s, r->desc.mode, n, &error);
    if (status == CLV_OK)
        status = model_run(&m, &error);
    if (status == CLV_OK)
        status = rig_poison(r, &error);
    if (status == CLV_OK)
        status = rig_forward(r, n, &error);
    bool good = check_works(s->c, status, &error);
    for (int o = 0; o < s->node->output_count && good; o++)
        good = compare_output(s, r, &m, o, &error);
    model_close(&m);
    return good;
}

/* Σ r·out of the reference. */
static clv_status model_loss(model *m, float *const *seeds, double *out, clv_error *error)
{
    double sum = 0;
    CLV_TRY(model_run(m, error));
    for (int o = 0; o < m->s->node->output_count; o++)
        for (int64_t k = 0; k < m->out_elements[o]; k++)
            if (clvi_out_shape(m->s->c->train, m->s->node, o)->dtype == CLV_F32)
                sum += (double)seeds[o][k] * m->outputs[o][k];
    *out = sum;
    return CLV_OK;
}

/* The reference's slope along v (elements of input i) by 4-point differences. */
static clv_status model_slope(model *m, int i, const double *v, double h, float *const *seeds,
                              double *out, clv_error *error)
{
    static const double at[4] = {-2, -1, 1, 2}, weights[4] = {1, -8, 8, -1};
    double sum = 0, value = 0;
    for (int p = 0; p < 4; p++) {
        for (int64_t k = 0; k < m->elements[i]; k++)
            m->inputs[i][k] += at[p] * h * v[k];
        const clv_status status = model_loss(m, seeds, &value, error);
        for (int64_t k = 0; k < m->elements[i]; k++)
            m->inputs[i][k] -= at[p] * h * v[k];
        CLV_TRY(status);
        sum += weights[p] * value;
    }
    *out = sum / (12 * h);
    return CLV_OK;
}

/* The gradient of input i along v; *kink: two steps of the reference disagree. False: it is wrong.
 */
static clv_status model_judge(model *m, const probe *p, int i, const double *v, bool *wrong,
                              bool *kink, probe_answer *answer, clv_error *error)
{
    const float *grad = p->grads[m->s->places[i]];
    double given = 0, terms = 0, length = 0, finer;
    for (int64_t k = 0; k < m->elements[i]; k++) {
        given += (double)grad[k] * v[k];
        terms += fabs((double)grad[k] * v[k]);
        length += fabs(v[k]);
    }
    const double allowed = 1e-3 * terms + 1e-4 * rig_rms(grad, m->elements[i]) * length + 1e-6;
    *answer = (probe_answer){.given = given};
    CLV_TRY(model_slope(m, i, v, 1e-4, p->seeds, &answer->found, error));
    *wrong = *kink = false;
    if (fabs(answer->found - given) <= allowed)
        return CLV_OK;
    CLV_TRY(model_slope(m, i, v, 3e-5, p->seeds, &finer, error));
    *kink = !(fabs(finer - answer->found) <= allowed);
    *wrong = !*kink;
    return CLV_OK;
}

/* All directions of one input by the reference. */
static clv_status model_place(const subject *s, probe *p, int i, probe_answer *out,
                              clv_error *error)
{
    model m;
    rig_dice dice = {30000};
    int kinks = 0, count = 0;
    clv_status status = model_open(&m, s, CLV_MODE_TRAIN, p->n, error);
    double *v = clvi_calloc((size_t)(m.elements[i] > 0 ? m.elements[i] : 1), sizeof(*v));
    if (status == CLV_OK && v == NULL)
        status = no_memory(error);
    *out = (probe_answer){.verdict = PROBE_AGREES};
    const int64_t step = m.elements[i] > SINGLES ? (m.elements[i] - 1) / (SINGLES - 1) : 1;
    for (int d = 0; d < SINGLES + 2 && status == CLV_OK && out->verdict == PROBE_AGREES; d++) {
        bool wrong, kink;
        probe_answer answer;
        const int64_t at = d == SINGLES - 1 ? m.elements[i] - 1 : d * step;
        if (d < SINGLES && at >= m.elements[i])
            continue;
        for (int64_t k = 0; k < m.elements[i]; k++)
            v[k] = d >= SINGLES ? rig_normal(&dice) : k == at ? 1 : 0;
        status = model_judge(&m, p, i, v, &wrong, &kink, &answer, error);
        count++;
        if (status == CLV_OK && wrong) {
            *out = answer;
            out->verdict = PROBE_DIFFERS;
        }
        kinks += status == CLV_OK && kink;
    }
    if (2 * kinks > count && out->verdict == PROBE_AGREES)
        out->verdict = PROBE_UNCLEAR;
    clvi_free(v);
    model_close(&m);
    return status;
}

/* ---- Gradients ---- */

/* Says so where an element is no finite number. */
static bool check_finite(const subject *s, const float *values, int64_t count, const char *what,
                         int index)
{
    for (int64_t k = 0; k < count; k++)
        if (!isfinite(values[k])) {
            check_bad(
                s->c,
                "%s by itself: element %lld of %s %d is not finite: it is not written, or made "
                "of memory that is not",
                s->node->name, (long long)k, what, index);
            return false;
        }
    return true;
}

/* All that the rig's node wrote after it was poisoned. */
static bool check_finite_all(const subject *s, const rig *r, const probe *p)
{
    bool good = true;
    for (int o = 0; o < s->node->output_count && good; o++) {
        const int64_t count = rig_output_elements(r, (size_t)o);
        clv_error error = CLV_ERROR_INIT;
        float *values = rig_floats(count);
        if (clvi_out_shape(s->c->train, s->node, o)->dtype == CLV_F32)
            good = check_works(s->c,
                               values != NULL ? rig_output(r, (size_t)o, values, &error)
                                              : no_memory(&error),
                               &error) &&
                   check_finite(s, values, count, "output", o);
        clvi_free(values);
    }
    for (int i = 0; i < s->node->input_count && good; i++)
        if (s->values[i] != NULL && p->grads[s->places[i]] != NULL)
            good = check_finite(s, p->grads[s->places[i]], rig_elements(r, s->places[i], r->n),
                                "the gradient of input", i);
    return good;
}

/* Gradients of all inputs with `only` of them wanted. False: said what is wrong. */
static bool check_gradients_of(const subject *s, int64_t n, int only, int *unclear)
{
    clv_error error = CLV_ERROR_INIT;
    rig r;
    probe p = {.r = NULL};
    clv_status status = open_alone(s, CLV_MODE_TRAIN, only, &r, &error);
    if (status == CLV_OK)
        status = rig_poison(&r, &error);
    if (status == CLV_OK)
        status = probe_open(&p, &r, n, tolerance, &error);
    if (status == CLV_OK)
        status = rig_check_guards(&r, &error);
    clvi_prepend(&error, "%s by itself", s->node->name);
    bool good = check_works(s->c, status, &error) && check_finite_all(s, &r, &p);
    for (int i = 0; i < s->node->input_count && good; i++) {
        probe_answer answer = {.verdict = PROBE_AGREES};
        if (s->values[i] == NULL || !rig_has_grad(&r, s->places[i]))
            continue;
        status = clvi_own_has_reference(s->node->op)
                     ? model_place(s, &p, i, &answer, &error)
                     : probe_place(&p, s->places[i], SINGLES, &answer, &error);
        good = check_works(s->c, status, &error);
        *unclear += answer.verdict == PROBE_UNCLEAR;
        if (good && answer.verdict == PROBE_DIFFERS) {
            check_bad(s->c,
                      "%s with %lld samples%s: wrong gradient of input %d: slope %.5g, by "
                      "differences%s %.5g",
                      s->node->name, (long long)n, only >= 0 ? ", that one alone wanted" : "", i,
                      answer.given, clvi_own_has_reference(s->node->op) ? " of its reference" : "",
                      answer.found);
            good = false;
        }
    }
    probe_close(&p);
    rig_close(&r);
    return good;
}

/* Two runs from NaN give the same bits. False: said what is wrong. */
static bool check_twice(const subject *s)
{
    clv_error error = CLV_ERROR_INIT;
    float *out[2] = {NULL, NULL};
    probe p[2] = {{.r = NULL}, {.r = NULL}};
    rig r;
    bool same = true;
    clv_status status = open_alone(s, CLV_MODE_TRAIN, -1, &r, &error);
    for (int k = 0; k < 2 && status == CLV_OK; k++) {
        status = rig_poison(&r, &error);
        if (status == CLV_OK)
            status = probe_open(&p[k], &r, CHECK_BATCH, tolerance, &error);
        out[k] = status == CLV_OK ? rig_floats(rig_output_elements(&r, 0)) : NULL;
        if (status == CLV_OK)
            status = out[k] != NULL ? rig_output(&r, 0, out[k], &error) : no_memory(&error);
    }
    if (status == CLV_OK)
        same = memcmp(out[0], out[1], (size_t)rig_output_elements(&r, 0) * 4) == 0;
    for (size_t at = 0; status == CLV_OK && at < rig_count(&r); at++)
        if (p[0].grads[at] != NULL)
            same &= memcmp(p[0].grads[at], p[1].grads[at],
                           (size_t)rig_elements(&r, at, CHECK_BATCH) * 4) == 0;
    if (!same)
        check_bad(s->c, "%s: the same values give other bits another time", s->node->name);
    for (int k = 0; k < 2; k++) {
        probe_close(&p[k]);
        clvi_free(out[k]);
    }
    rig_close(&r);
    clvi_prepend(&error, "%s by itself", s->node->name);
    return check_works(s->c, status, &error) && same;
}

/* ---- The check ---- */

static bool is_trainable_input(const subject *s, int i)
{
    return s->values[i] != NULL && !is_state(s, i) &&
           clvi_in_shape(s->c->train, s->node, i)->dtype == CLV_F32;
}

static bool check_node(check *c, const clvi_node *node, int *unclear)
{
    static const clv_mode modes[] = {CLV_MODE_TRAIN, CLV_MODE_INFER};
    subject s = {.c = c, .node = node};
    clv_error error = CLV_ERROR_INIT;
    bool good = check_works(c, take_out(&s, &error), &error);
    for (int k = 0; k < 2 && good && clvi_own_has_reference(node->op); k++) {
        rig r;
        good = check_works(c, open_alone(&s, modes[k], -1, &r, &error), &error) &&
               compare_forward(&s, &r, CHECK_BATCH) && compare_forward(&s, &r, 1);
        rig_close(&r);
    }
    if (good && node->op->backward != NULL) {
        good = check_twice(&s) && check_gradients_of(&s, CHECK_BATCH, -1, unclear) &&
               check_gradients_of(&s, 1, -1, unclear);
        for (int i = 0; i < node->input_count && good; i++)
            if (is_trainable_input(&s, i))
                good = check_gradients_of(&s, CHECK_BATCH - 1, i, unclear);
    }
    subject_fini(&s);
    return good;
}

/* Whether the network uses the op. */
static bool is_used(const clv_graph *graph, const clvi_op *op)
{
    for (size_t k = 0; k < graph->node_count; k++)
        if (graph->nodes[k].op == op)
            return true;
    return false;
}

void check_own_ops(check *c)
{
    const clvi_op_set *ops = c->plugin->ops;
    int nodes = 0, unclear = 0;
    const char *unused = NULL;
    for (size_t i = 0; i < ops->count; i++)
        if (!is_used(c->train, ops->ops[i]))
            unused = ops->ops[i]->name;
    for (size_t k = 0; k < c->train->node_count && nodes < MOST_NODES; k++) {
        if (!clvi_op_is_own(c->train->nodes[k].op))
            continue;
        nodes++;
        if (!check_node(c, &c->train->nodes[k], &unclear))
            return;
    }
    if (ops->count == 0)
        check_note(c, "none");
    else if (unused != NULL)
        check_note(c,
                   "%s is not used by the network, so it was not checked; give options that use "
                   "it",
                   unused);
    else if (unclear > 0)
        check_ok(
            c,
            "%d uses of %zu operations, each by itself: forward and gradients; %d gradients of "
            "inputs cannot be judged",
            nodes, ops->count, unclear);
    else
        check_ok(c, "%d uses of %zu operations, each by itself: forward and gradients", nodes,
                 ops->count);
}
