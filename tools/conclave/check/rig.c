#include "check/rig.h"

#include "base/philox.h"

#include <math.h>

enum { GUARD = 64 }; /* elements before and behind each bound tensor */
static const uint32_t nan_pattern = 0x7FC0FEEDu;

double rig_normal(rig_dice *dice)
{
    uint32_t words[4];
    const clvi_philox_key key = {{0xC0C1A7Eu, 7}};
    clvi_philox(key, dice->draws++, 0, 0, 0, words);
    const double u = clvi_philox_unit(words[0]), v = clvi_philox_unit(words[1]);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v); /* Box and Muller 1958 */
}

float *rig_floats(int64_t count)
{
    return clvi_calloc((size_t)(count > 0 ? count : 1), sizeof(float));
}

double rig_rms(const float *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return count > 0 ? sqrt(sum / (double)count) : 0;
}

static clv_status no_memory(const rig *r, clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: checking %s",
                     r->desc.graph->label);
}

/* ---- Places ---- */

size_t rig_count(const rig *r)
{
    return r->desc.graph->input_count + r->desc.graph->variable_count;
}

static bool is_input(const rig *r, size_t place)
{
    return place < r->desc.graph->input_count;
}

static size_t variable_of(const rig *r, size_t place)
{
    return place - r->desc.graph->input_count;
}

static clv_tensor tensor_of(const rig *r, size_t place)
{
    return is_input(r, place) ? r->desc.graph->inputs[place].tensor
                              : r->desc.graph->variables[variable_of(r, place)].tensor;
}

const clv_shape *rig_shape(const rig *r, size_t place)
{
    return &r->desc.graph->tensors[tensor_of(r, place)].shape;
}

const char *rig_name(const rig *r, size_t place)
{
    return r->desc.graph->tensors[tensor_of(r, place)].name;
}

bool rig_is_state(const rig *r, size_t place)
{
    return !is_input(r, place) && r->desc.graph->variables[variable_of(r, place)].is_state;
}

bool rig_has_grad(const rig *r, size_t place)
{
    if (r->desc.mode != CLV_MODE_TRAIN || rig_shape(r, place)->dtype != CLV_F32 ||
        (r->desc.only >= 0 && (size_t)r->desc.only != place))
        return false;
    return is_input(r, place) ? r->desc.input_grads : !rig_is_state(r, place);
}

static int64_t count_of(const clv_shape *shape, int64_t n)
{
    return clvi_shape_elements(shape) * (clvi_shape_batched(shape) ? n : 1);
}

int64_t rig_elements(const rig *r, size_t place, int64_t n)
{
    return count_of(rig_shape(r, place), n);
}

static float **values_place(const rig *r, size_t place)
{
    return is_input(r, place) ? (float **)&r->input_values[place]
                              : &r->values[variable_of(r, place)];
}

const float *rig_values(const rig *r, size_t place)
{
    return *values_place(r, place);
}

clv_status rig_set(rig *r, size_t place, const float *values, clv_error *error)
{
    float *own = *values_place(r, place);
    const size_t bytes = (size_t)rig_elements(r, place, r->desc.batch) * 4;
    if (own != values)
        memcpy(own, values, bytes);
    if (is_input(r, place))
        return clvi_upload(r->desc.device, r->inputs[place], GUARD * 4, own, bytes, error);
    return clvi_store_write(r->store, r->base + variable_of(r, place), CLVI_STORE_VALUE, own,
                            error);
}

clv_status rig_read(const rig *r, size_t place, int64_t n, float *out, clv_error *error)
{
    if (is_input(r, place))
        return clvi_download(r->desc.device, r->inputs[place], GUARD * 4, out,
                             (size_t)rig_elements(r, place, n) * 4, error);
    return clvi_store_read(r->store, r->base + variable_of(r, place), CLVI_STORE_VALUE, out, error);
}

/* ---- Opening ---- */

/* store's question: has the variable of this name a gradient? */
static clvi_trains is_trainable(void *user, const char *name)
{
    const rig *r = user;
    const clv_graph *graph = r->desc.graph;
    for (size_t v = 0; v < graph->variable_count; v++)
        if (strcmp(graph->variables[v].name, name) == 0)
            return rig_has_grad(r, graph->input_count + v);
    return false;
}

static void choose_outputs(rig *r)
{
    const clv_graph *graph = r->desc.graph;
    const bool given = r->desc.outputs != NULL;
    const size_t count = given ? r->desc.output_count : graph->output_count;
    r->output_count = count < CHECK_MOST_OUTPUTS ? count : CHECK_MOST_OUTPUTS;
    for (size_t o = 0; o < r->output_count; o++) {
        r->outputs[o] = given ? r->desc.outputs[o] : graph->outputs[o].tensor;
        r->output_grad[o] =
            r->desc.mode == CLV_MODE_TRAIN && graph->tensors[r->outputs[o]].shape.dtype == CLV_F32;
        for (size_t k = 0; k < o; k++) /* a tensor of two roles has one gradient */
            r->output_grad[o] &=
                clvi_graph_root(graph, r->outputs[k]) != clvi_graph_root(graph, r->outputs[o]);
    }
}

static clv_status open_plan(rig *r, clv_error *error)
{
    const bool train = r->desc.mode == CLV_MODE_TRAIN;
    clvi_plan_desc desc = {.graph = r->desc.graph,
                           .store = r->store,
                           .base = r->base,
                           .mode = r->desc.mode,
                           .max_batch = r->desc.batch,
                           .outputs = r->outputs,
                           .output_count = r->output_count};
    for (size_t o = 0; o < r->output_count; o++)
        desc.outputs_with_grad |= r->output_grad[o] ? 1u << o : 0;
    for (size_t i = 0; i < r->desc.graph->input_count && train; i++)
        desc.inputs_with_grad |= rig_has_grad(r, i) ? 1u << i : 0;
    return clvi_plan_create(&desc, &r->plan, error);
}

/* A buffer of `elements` between bands of NaN, itself NaN. */
static clv_status guarded(const rig *r, int64_t elements, clvi_buf **out, clv_error *error)
{
    const size_t bytes = (size_t)(elements + 2 * GUARD) * 4;
    CLV_TRY(clvi_buf_create(r->desc.device, bytes, "check", out, error));
    return clvi_fill(r->desc.device, *out, 0, bytes, nan_pattern, error);
}

static clv_status open_inputs(rig *r, rig_dice *dice, clv_error *error)
{
    uint32_t ids[64];
    for (size_t i = 0; i < r->desc.graph->input_count; i++) {
        const int64_t elements = rig_elements(r, i, r->desc.batch);
        CLV_TRY(guarded(r, elements, &r->inputs[i], error));
        if (rig_has_grad(r, i))
            CLV_TRY(guarded(r, elements, &r->grads[i], error));
        r->input_values[i] = rig_floats(elements);
        if (r->input_values[i] == NULL)
            return no_memory(r, error);
        for (int64_t k = 0; k < elements && rig_shape(r, i)->dtype == CLV_F32; k++)
            r->input_values[i][k] = (float)rig_normal(dice);
        CLV_TRY(rig_set(r, i, r->input_values[i], error));
        const clvi_view values = {r->inputs[i], GUARD};
        clvi_plan_bind(r->plan, i, values,
                       (clvi_view){r->grads[i], r->grads[i] != NULL ? GUARD : 0});
    }
    CLV_TRY(guarded(r, r->desc.batch, &r->ids, error));
    for (uint32_t k = 0; k < 64; k++)
        ids[k] = 1000 + 7 * k;
    CLV_ASSERT(r->desc.batch <= 64);
    return clvi_upload(r->desc.device, r->ids, GUARD * 4, ids, (size_t)r->desc.batch * 4, error);
}

/* Zeros, equal weights and ones hide mistakes: every parameter moves by a tenth. */
static clv_status open_values(rig *r, rig_dice *dice, clv_error *error)
{
    const clv_graph *graph = r->desc.graph;
    CLV_TRY(clvi_store_initialise(r->store, 1, error));
    for (size_t v = 0; v < graph->variable_count; v++) {
        const size_t place = graph->input_count + v;
        const int64_t elements = rig_elements(r, place, 1);
        r->values[v] = rig_floats(elements);
        if (r->values[v] == NULL)
            return no_memory(r, error);
        CLV_TRY(clvi_store_read(r->store, r->base + v, CLVI_STORE_VALUE, r->values[v], error));
        const double rms = rig_rms(r->values[v], elements);
        for (int64_t k = 0; k < elements && !rig_is_state(r, place); k++)
            r->values[v][k] += (float)(0.1 * (rms > 0 ? rms : 1) * rig_normal(dice));
        CLV_TRY(rig_set(r, place, r->values[v], error));
    }
    return CLV_OK;
}

clv_status rig_open(rig *r, const rig_desc *desc, clv_error *error)
{
    rig_dice dice = {0};
    *r = (rig){.desc = *desc};
    if (desc->graph->input_count > CLVI_MAX_INPUTS)
        CLV_FAIL(error, CLV_E_SHAPE, "the graph has %zu inputs", desc->graph->input_count);
    choose_outputs(r);
    r->values = clvi_calloc(desc->graph->variable_count + 1, sizeof(*r->values));
    if (r->values == NULL)
        return no_memory(r, error);
    CLV_TRY(clvi_store_create(desc->device, &r->store, error));
    CLV_TRY(clvi_store_add(r->store, desc->graph, "check.", is_trainable, r, &r->base, error));
    CLV_TRY(clvi_store_commit(r->store, desc->mode == CLV_MODE_TRAIN, error));
    CLV_TRY(open_plan(r, error));
    CLV_TRY(open_inputs(r, &dice, error));
    return open_values(r, &dice, error);
}

void rig_close(rig *r)
{
    clvi_plan_destroy(r->plan);
    clvi_store_destroy(r->store);
    for (int i = 0; i < CLVI_MAX_INPUTS; i++) {
        clvi_buf_destroy(r->inputs[i]);
        clvi_buf_destroy(r->grads[i]);
        clvi_free(r->input_values[i]);
    }
    for (size_t v = 0; r->values != NULL && v < r->desc.graph->variable_count; v++)
        clvi_free(r->values[v]);
    clvi_free(r->values);
    clvi_buf_destroy(r->ids);
    *r = (rig){.store = NULL};
}

/* ---- Running ---- */

clv_status rig_forward(rig *r, int64_t n, clv_error *error)
{
    const clvi_run_random random = {.key = {11, 22}, .epoch = r->epoch, .ids = {r->ids, GUARD}};
    for (size_t place = 0; place < rig_count(r); place++)
        if (rig_is_state(r, place))
            CLV_TRY(rig_set(r, place, rig_values(r, place), error));
    r->n = n;
    return clvi_plan_forward(r->plan, n, &random, error);
}

int64_t rig_output_elements(const rig *r, size_t o)
{
    return count_of(&r->desc.graph->tensors[r->outputs[o]].shape, r->n);
}

const char *rig_output_name(const rig *r, size_t o)
{
    const clv_graph *graph = r->desc.graph;
    for (size_t k = 0; k < graph->output_count; k++)
        if (graph->outputs[k].tensor == r->outputs[o])
            return graph->outputs[k].role;
    return graph->tensors[r->outputs[o]].name;
}

clv_status rig_output(const rig *r, size_t o, float *out, clv_error *error)
{
    const clvi_view at = clvi_plan_output(r->plan, o, r->n);
    return clvi_download(r->desc.device, at.buf, (size_t)at.offset * 4, out,
                         (size_t)rig_output_elements(r, o) * 4, error);
}

clv_status rig_backward(rig *r, float *const *r_out, clv_error *error)
{
    for (size_t o = 0; o < r->output_count; o++) {
        if (!r->output_grad[o])
            continue;
        const clvi_view at = clvi_plan_grad(r->plan, o, r->n);
        CLV_TRY(clvi_upload(r->desc.device, at.buf, (size_t)at.offset * 4, r_out[o],
                            (size_t)rig_output_elements(r, o) * 4, error));
    }
    return clvi_plan_backward(r->plan, error);
}

clv_status rig_grad(const rig *r, size_t place, float *out, clv_error *error)
{
    if (is_input(r, place))
        return clvi_download(r->desc.device, r->grads[place], GUARD * 4, out,
                             (size_t)rig_elements(r, place, r->n) * 4, error);
    return clvi_store_read(r->store, r->base + variable_of(r, place), CLVI_STORE_GRADIENT, out,
                           error);
}

clv_status rig_poison(rig *r, clv_error *error)
{
    for (size_t place = 0; place < rig_count(r); place++) {
        const int64_t elements = rig_elements(r, place, r->desc.batch);
        if (!rig_has_grad(r, place))
            continue;
        if (is_input(r, place)) {
            CLV_TRY(clvi_fill(r->desc.device, r->grads[place], GUARD * 4, (size_t)elements * 4,
                              nan_pattern, error));
            continue;
        }
        float *nan = rig_floats(elements);
        if (nan == NULL)
            return no_memory(r, error);
        for (int64_t k = 0; k < elements; k++)
            memcpy(&nan[k], &nan_pattern, 4);
        const clv_status status = clvi_store_write(r->store, r->base + variable_of(r, place),
                                                   CLVI_STORE_GRADIENT, nan, error);
        clvi_free(nan);
        CLV_TRY(status);
    }
    CLV_TRY(clvi_plan_poison(r->plan, error));
    clvi_store_touch(r->store); /* what inference had prepared is gone */
    return CLV_OK;
}

/* ---- Guards ---- */

/* Only the first `used` elements of the buffer may differ from the pattern. */
static clv_status check_bands(const rig *r, clvi_buf *buf, const char *what, int64_t used,
                              int64_t elements, clv_error *error)
{
    float *all = buf != NULL ? rig_floats(elements + 2 * GUARD) : NULL;
    clv_status status = CLV_OK;
    if (buf == NULL)
        return CLV_OK;
    if (all == NULL)
        return no_memory(r, error);
    status = clvi_download(r->desc.device, buf, 0, all, (size_t)(elements + 2 * GUARD) * 4, error);
    for (int64_t k = 0; k < elements + 2 * GUARD && status == CLV_OK; k++) {
        const bool own = k >= GUARD && k < GUARD + used;
        if (!own && memcmp(&all[k], &nan_pattern, 4) != 0)
            status = clvi_fail(error, CLV_E_INTERNAL, CLV_HERE,
                               "%s: element %lld was written, it has %lld with %lld samples", what,
                               (long long)(k - GUARD), (long long)used, (long long)r->n);
    }
    clvi_free(all);
    return status;
}

static clv_status check_unchanged(const rig *r, size_t place, clv_error *error)
{
    const int64_t elements = rig_elements(r, place, r->desc.batch);
    float *now = rig_floats(elements);
    if (now == NULL)
        return no_memory(r, error);
    clv_status status = rig_read(r, place, r->desc.batch, now, error);
    const float *before = rig_values(r, place);
    for (int64_t k = 0; k < elements && status == CLV_OK; k++)
        if (memcmp(&now[k], &before[k], 4) != 0)
            status = clvi_fail(error, CLV_E_INTERNAL, CLV_HERE,
                               "%s: element %lld was changed by running, from %.9g to %.9g",
                               rig_name(r, place), (long long)k, (double)before[k], (double)now[k]);
    clvi_free(now);
    return status;
}

/* The plan's bands stand where its unit of alignment ends; what lies between the end of an output
 * and there was NaN before and has to be one still. */
static clv_status check_tail(const rig *r, size_t o, clv_error *error)
{
    enum { MOST_TAIL = 64 };
    float tail[MOST_TAIL];
    const clvi_view at = clvi_plan_output(r->plan, o, r->n);
    const uint64_t from = at.offset + (uint64_t)rig_output_elements(r, o);
    const uint64_t room = clvi_buf_bytes(at.buf) / 4 - from;
    const size_t count = room < MOST_TAIL ? (size_t)room : MOST_TAIL;
    CLV_TRY(clvi_download(r->desc.device, at.buf, (size_t)from * 4, tail, count * 4, error));
    for (size_t k = 0; k < count; k++)
        if (!isnan(tail[k]))
            CLV_FAIL(error, CLV_E_INTERNAL,
                     "output %s: element %lld was written, it has %lld with %lld samples",
                     rig_output_name(r, o), (long long)(from - at.offset + k),
                     (long long)rig_output_elements(r, o), (long long)r->n);
    return CLV_OK;
}

clv_status rig_check_guards(const rig *r, clv_error *error)
{
    char what[160];
    CLV_TRY(clvi_plan_check_guards(r->plan, error));
    for (size_t o = 0; o < r->output_count; o++) {
        const clv_tensor root = clvi_graph_root(r->desc.graph, r->outputs[o]);
        if (r->desc.graph->tensors[root].kind == CLVI_TENSOR_ACTIVATION)
            CLV_TRY(check_tail(r, o, error));
    }
    for (size_t place = 0; place < rig_count(r); place++) {
        const int64_t full = rig_elements(r, place, r->desc.batch);
        if (is_input(r, place)) {
            CLV_TRY(check_bands(r, r->inputs[place], rig_name(r, place), full, full, error));
            snprintf(what, sizeof(what), "the gradient of %s", rig_name(r, place));
            CLV_TRY(
                check_bands(r, r->grads[place], what, rig_elements(r, place, r->n), full, error));
        }
        if (!rig_is_state(r, place))
            CLV_TRY(check_unchanged(r, place, error));
    }
    return CLV_OK;
}
