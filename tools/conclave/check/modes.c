/* Training against inference. What is compared: the outputs of the training graph in training mode
 * and of the inference graph in inference mode, same values, same five samples, when
 *   - dropout, drop_path and add_noise of both graphs pass their input through, and
 *   - the running mean and variance of each normalisation are those of this very batch (the limit
 * of many steps on it; the variance with m, not m - 1, as training itself normalises). Then both
 * modes compute the same function, up to rounding. A gate may route otherwise in inference: where
 * its two graphs differ, its training graph is run in both modes. An op of the plugin's own that
 * draws random numbers cannot be silenced: nothing is compared then. */
#include "check/rig.h"

#include <math.h>

/* Inputs that differ by this share stand for what f32 rounds in a network: a deep one with few
 * pixels to normalise by makes a hundredth of its outputs' size of it, and that is no mistake. */
static const double ROUNDING = 1e-6;

/* ---- Silence ---- */

static bool is_random(const clvi_op *op)
{
    return strcmp(op->name, "dropout") == 0 || strcmp(op->name, "drop_path") == 0 ||
           strcmp(op->name, "add_noise") == 0;
}

/* Turns random operations into other names for their first input, as reshape makes them. */
static void silence(clv_graph *graph)
{
    for (size_t k = 0; k < graph->node_count; k++) {
        clvi_node *node = &graph->nodes[k];
        if (!is_random(node->op))
            continue;
        node->op = clvi_op_find("reshape");
        graph->tensors[node->outputs[0]].alias = node->inputs[0];
    }
}

/* ---- Normalisation ---- */

/* Index of the first state (mean, then variance) among a node's inputs; -1: not a normalisation. */
static int first_state(const clvi_node *node)
{
    return strcmp(node->op->name, "batch_norm") == 0            ? 3
           : strcmp(node->op->name, "conv2d_bn") == 0           ? 4
           : strcmp(node->op->name, "depthwise_conv2d_bn") == 0 ? 4
                                                                : -1;
}

static double momentum_of(const clvi_node *node)
{
    double value = 0;
    for (size_t i = 0; i < node->op->attr_count; i++)
        if (strcmp(node->op->attrs[i].name, "momentum") == 0)
            memcpy(&value, (const char *)node->attrs + node->op->attrs[i].offset, sizeof(value));
    return value;
}

static size_t place_of(const clv_graph *graph, clv_tensor tensor)
{
    return graph->input_count + (size_t)graph->tensors[tensor].variable;
}

/* Sets all states to `value`. */
static clv_status fill_state(rig *r, size_t place, double value, clv_error *error)
{
    const int64_t elements = rig_elements(r, place, 1);
    float *values = rig_floats(elements);
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a state");
    for (int64_t k = 0; k < elements; k++)
        values[k] = (float)value;
    const clv_status status = rig_set(r, place, values, error);
    clvi_free(values);
    return status;
}

/* From zero, one pass leaves momentum times the batch's own mean and m / (m - 1) variance. */
static clv_status take_state(rig *r, size_t place, double factor, clv_error *error)
{
    const int64_t elements = rig_elements(r, place, 1);
    float *values = rig_floats(elements);
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a state");
    clv_status status = rig_read(r, place, 1, values, error);
    for (int64_t k = 0; k < elements; k++)
        values[k] = (float)((double)values[k] * factor);
    if (status == CLV_OK)
        status = rig_set(r, place, values, error);
    clvi_free(values);
    return status;
}

/* Makes the states of the training rig those of its batch. Its last forward is of the whole batch.
 */
static clv_status settle(rig *r, clv_error *error)
{
    const clv_graph *graph = r->desc.graph;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < graph->node_count; k++) {
            const clvi_node *node = &graph->nodes[k];
            const int state = first_state(node);
            const double momentum = momentum_of(node);
            if (state < 0 || !(momentum > 0))
                continue;
            const clv_shape *out = clvi_out_shape(graph, node, 0);
            const double m =
                (double)(clvi_shape_elements(out) / out->dims[out->rank - 1]) * CHECK_BATCH;
            const size_t mean = place_of(graph, node->inputs[state]);
            const size_t variance = place_of(graph, node->inputs[state + 1]);
            CLV_TRY(pass == 0 ? fill_state(r, mean, 0, error)
                              : take_state(r, mean, 1 / momentum, error));
            CLV_TRY(pass == 0 ? fill_state(r, variance, 0, error)
                              : take_state(r, variance, (m - 1) / m / momentum, error));
        }
        if (pass == 0)
            CLV_TRY(rig_forward(r, CHECK_BATCH, error));
    }
    return CLV_OK;
}

/* Values of the training rig to the places of the same names in the other. */
static clv_status copy_values(const rig *from, rig *to, clv_error *error)
{
    for (size_t a = 0; a < rig_count(from); a++)
        for (size_t b = 0; b < rig_count(to); b++)
            if (strcmp(rig_name(from, a), rig_name(to, b)) == 0 &&
                rig_elements(from, a, CHECK_BATCH) == rig_elements(to, b, CHECK_BATCH))
                CLV_TRY(rig_set(to, b, rig_values(from, a), error));
    return CLV_OK;
}

/* ---- Comparing ---- */

/* The largest difference of an output, in units of its root mean square; -1: it is not there. */
static clv_status distance(const rig *a, size_t output, const rig *b, int64_t samples, double *out,
                           clv_error *error)
{
    size_t other = 0;
    while (other < b->output_count &&
           strcmp(rig_output_name(a, output), rig_output_name(b, other)) != 0)
        other++;
    *out = -1;
    if (other == b->output_count)
        return CLV_OK;
    const int64_t full = rig_output_elements(a, output);
    const int64_t count = full / a->n * samples;
    float *x = rig_floats(full), *y = rig_floats(rig_output_elements(b, other));
    clv_status status = CLV_OK;
    if (x == NULL || y == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: outputs");
    if (status == CLV_OK)
        status = rig_output(a, output, x, error);
    if (status == CLV_OK)
        status = rig_output(b, other, y, error);
    double most = 0;
    for (int64_t k = 0; k < count && status == CLV_OK; k++)
        most = fabs((double)x[k] - (double)y[k]) > most ? fabs((double)x[k] - (double)y[k]) : most;
    const double rms = status == CLV_OK ? rig_rms(x, full) : 1;
    *out = most / (rms > 0 ? rms : 1);
    clvi_free(x);
    clvi_free(y);
    return status;
}

/* Whether other random numbers change an output. */
static clv_status draws(rig *r, bool *out, clv_error *error)
{
    *out = false;
    for (size_t o = 0; o < r->output_count && !*out; o++) {
        float *first = NULL, *second = NULL;
        r->epoch = 0;
        clv_status status = rig_forward(r, CHECK_BATCH, error);
        const size_t bytes = (size_t)rig_output_elements(r, o) * 4;
        first = rig_floats(rig_output_elements(r, o));
        second = rig_floats(rig_output_elements(r, o));
        if (status == CLV_OK && (first == NULL || second == NULL))
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: outputs");
        if (status == CLV_OK)
            status = rig_output(r, o, first, error);
        r->epoch = 1;
        if (status == CLV_OK)
            status = rig_forward(r, CHECK_BATCH, error);
        if (status == CLV_OK)
            status = rig_output(r, o, second, error);
        *out = status == CLV_OK && memcmp(first, second, bytes) != 0;
        r->epoch = 0;
        clvi_free(first);
        clvi_free(second);
        CLV_TRY(status);
    }
    return CLV_OK;
}

/* Makes all f32 inputs another by about `share` of themselves, and runs. */
static clv_status nudge(rig *r, double share, clv_error *error)
{
    rig_dice dice = {0};
    for (size_t place = 0; place < r->desc.graph->input_count; place++) {
        const int64_t elements = rig_elements(r, place, CHECK_BATCH);
        if (rig_shape(r, place)->dtype != CLV_F32)
            continue;
        float *values = rig_floats(elements);
        if (values == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: an input");
        for (int64_t k = 0; k < elements; k++)
            values[k] = (float)((double)rig_values(r, place)[k] * (1 + share * rig_normal(&dice)));
        const clv_status status = rig_set(r, place, values, error);
        clvi_free(values);
        CLV_TRY(status);
    }
    return rig_forward(r, CHECK_BATCH, error);
}

/* How far each output of the inference rig goes when its inputs are nudged by ROUNDING. */
static clv_status sensitivity(const rig *infer, double out[CHECK_MOST_OUTPUTS], clv_error *error)
{
    rig nudged;
    clv_status status = rig_open(&nudged, &infer->desc, error);
    if (status == CLV_OK)
        status = copy_values(infer, &nudged, error);
    if (status == CLV_OK)
        status = nudge(&nudged, ROUNDING, error);
    for (size_t o = 0; o < infer->output_count && status == CLV_OK; o++)
        status = distance(infer, o, &nudged, CHECK_BATCH, &out[o], error);
    rig_close(&nudged);
    return status;
}

/* The first output in which the rigs, which hold the same values, differ, and by how much of its
 * size; as many as there are: in none. */
static clv_status first_apart(rig *train, rig *infer, size_t *output, double *away,
                              clv_error *error)
{
    double slack[CHECK_MOST_OUTPUTS] = {0};
    CLV_TRY(rig_forward(train, CHECK_BATCH, error));
    CLV_TRY(rig_forward(infer, CHECK_BATCH, error));
    CLV_TRY(sensitivity(infer, slack, error));
    for (*output = 0; *output < train->output_count; ++*output) {
        CLV_TRY(distance(train, *output, infer, CHECK_BATCH, away, error));
        if (!(*away <= 5e-3 + slack[*output]))
            break;
    }
    return CLV_OK;
}

/* False: said what is wrong. */
static bool compare_modes(check *c, rig *train, rig *infer)
{
    clv_error error = CLV_ERROR_INIT;
    size_t output;
    double away;
    if (!check_works(c, first_apart(train, infer, &output, &away, &error), &error))
        return false;
    if (output < train->output_count)
        check_bad(c,
                  "output %s differs between training and inference by %.2g of its size, with "
                  "random operations silent and normalisation by this batch",
                  rig_output_name(train, output), away);
    return output == train->output_count;
}

/* Whether a gate's graph for inference routes as that for training does. */
static clv_status routes_alike(const rig_desc *train, const rig_desc *infer, bool *out,
                               clv_error *error)
{
    rig a, b = {.store = NULL};
    size_t output = 0;
    double away;
    clv_status status = rig_open(&a, train, error);
    if (status == CLV_OK)
        status = rig_open(&b, infer, error);
    if (status == CLV_OK)
        status = settle(&a, error);
    if (status == CLV_OK)
        status = copy_values(&a, &b, error);
    if (status == CLV_OK)
        status = first_apart(&a, &b, &output, &away, error);
    *out = status == CLV_OK && output == a.output_count;
    rig_close(&a);
    rig_close(&b);
    return status;
}

/* Inference: what a sample gives does not depend on which others are in its batch. */
static bool compare_batches(check *c, rig *infer, const rig_desc *desc)
{
    clv_error error = CLV_ERROR_INIT;
    rig alone;
    clv_status status = rig_open(&alone, desc, &error);
    if (status == CLV_OK)
        status = copy_values(infer, &alone, &error);
    if (status == CLV_OK)
        status = rig_forward(&alone, 1, &error);
    bool good = check_works(c, status, &error);
    for (size_t o = 0; o < infer->output_count && good; o++) {
        double away;
        good = check_works(c, distance(infer, o, &alone, 1, &away, &error), &error);
        if (good && !(away <= 1e-3)) {
            check_bad(c, "inference: a sample alone gives another output %s than in a batch of %d",
                      rig_output_name(infer, o), CHECK_BATCH);
            good = false;
        }
    }
    rig_close(&alone);
    return good;
}

/* train, infer: graphs of this check's own, silenced. */
static void compare(check *c, clv_graph *train, clv_graph *infer)
{
    const bool gate = c->plugin->table->kind == CLV_KIND_GATE;
    char difference[256];
    const rig_desc one = {c->device, train, CLV_MODE_TRAIN, CHECK_BATCH, NULL, 0, false, -1};
    rig_desc two = {c->device, infer, CLV_MODE_INFER, CHECK_BATCH, NULL, 0, false, -1};
    clv_error error = CLV_ERROR_INIT;
    rig a = {.store = NULL}, b = {.store = NULL};
    bool random = false, alike = true;
    clv_status status = CLV_OK;
    if (gate && check_difference(train, infer, difference)[0] != '\0')
        status = routes_alike(&one, &two, &alike, &error);
    if (!alike)
        two.graph = train;
    if (status == CLV_OK)
        status = rig_open(&a, &one, &error);
    if (status == CLV_OK)
        status = rig_open(&b, &two, &error);
    if (status == CLV_OK)
        status = draws(&a, &random, &error);
    if (status == CLV_OK && !random)
        status = settle(&a, &error);
    if (status == CLV_OK && !random)
        status = copy_values(&a, &b, &error);
    if (check_works(c, status, &error)) {
        if (random)
            check_note(c, "an operation of the plugin's own draws random numbers in training");
        else if (compare_modes(c, &a, &b) && (gate || compare_batches(c, &b, &two)))
            check_ok(c,
                     "training (random operations silent, normalised by the batch) and inference "
                     "agree%s",
                     !alike ? "; by the training graph, as the route differs by design"
                     : gate ? ""
                            : ", and so do a batch and a sample of it");
    }
    rig_close(&a);
    rig_close(&b);
}

void check_modes(check *c)
{
    clv_graph *train = NULL, *infer = NULL;
    clv_error error = CLV_ERROR_INIT;
    clv_status status = check_build(c, &c->input, CLV_MODE_TRAIN, &train, &error);
    if (status == CLV_OK)
        status = check_build(c, &c->input, CLV_MODE_INFER, &infer, &error);
    if (check_works(c, status, &error)) {
        silence(train);
        silence(infer);
        compare(c, train, infer);
    }
    clvi_graph_destroy(train);
    clvi_graph_destroy(infer);
}
