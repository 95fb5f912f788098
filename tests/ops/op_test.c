#include "op_test.h"

#include "bounds.h"
#include "compare.h"
#include "graph/plan.h"
#include "op_data.h"
#include "ops/conv2d_winograd.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Elements of guard before and after each bound buffer's data, and what they hold: a NaN. */
enum { GUARD = 32 };
static const uint32_t guard_pattern = 0x7FC0DEADu;

/* One plan of the case: a mode and a set of inputs whose gradients are wanted. */
typedef struct rig {
    clvi_device *device;
    const op_suite *suite;
    op_data *data;
    clv_mode mode;
    bool frozen;   /* training by running statistics: CLVI_MODE_FROZEN */
    uint32_t mask; /* inputs with gradient */
    clv_graph *graph;
    clvi_store *store;
    clvi_plan *plan;
    int output_count;
    clv_tensor outputs[REF_MAX_OUTPUTS];
    clv_shape output_shapes[REF_MAX_OUTPUTS];
    int bound[REF_MAX_INPUTS];    /* graph input's index, -1: none */
    int variable[REF_MAX_INPUTS]; /* segment, -1: none */
    clvi_buf *input_buf[REF_MAX_INPUTS], *grad_buf[REF_MAX_INPUTS], *ids;
} rig;

/* What the device answered, of one forward and backward. */
typedef struct answer {
    float *out[REF_MAX_OUTPUTS], *state[REF_MAX_INPUTS], *grad[REF_MAX_INPUTS];
} answer;

static void check(const rig *r, clv_status status, const clv_error *error, int line)
{
    if (status != CLV_OK)
        fail_msg("%s, %s (op_test.c:%d): %s", r->suite->op, r->data->test->name, line,
                 error->message);
}
#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error error = CLV_ERROR_INIT;                                                          \
        check(r, (call), &error, __LINE__);                                                        \
    } while (0)

static float *floats(int64_t count)
{
    float *memory = malloc((size_t)(count > 0 ? count : 1) * sizeof(float));
    assert_non_null(memory);
    return memory;
}

/* ---- Building
 * ------------------------------------------------------------------------------------ */

static void add_input(rig *r, int i, clv_tensor *tensor)
{
    const op_input *input = &r->data->test->inputs[i];
    char name[16];
    snprintf(name, sizeof name, "in%d", i);
    r->bound[i] = r->variable[i] = -1;
    *tensor = CLV_NO_TENSOR;
    if (input->kind == OP_ABSENT)
        return;
    if (input->kind == OP_INPUT || input->kind == OP_FIXED) {
        const int batched = input->kind == OP_INPUT;
        int64_t dims[CLV_MAX_RANK] = {CLV_BATCH};
        for (int axis = 0; axis < input->rank; axis++)
            dims[axis + batched] = input->dims[axis];
        const clv_dtype dtype = op_fill_is_integer(input->fill) ? CLV_I32 : CLV_F32;
        const clv_shape shape = clvi_shape_make(dtype, input->rank + batched, dims);
        r->bound[i] = (int)r->graph->input_count;
        OK(clvi_graph_input_tensor(r->graph, name, &shape, tensor, &error));
        return;
    }
    clv_variable_desc desc = {
        .struct_size = sizeof desc, .name = name, .rank = input->rank, .init = CLV_INIT_ZEROS};
    for (int axis = 0; axis < input->rank; axis++)
        desc.dims[axis] = input->dims[axis];
    r->variable[i] = (int)r->graph->variable_count;
    OK(clvi_graph_variable_add(r->graph, &desc, input->kind == OP_STATE, tensor, &error));
}

static clvi_trains is_trainable(void *user, const char *name)
{
    const rig *r = user;
    return (r->mask >> (name[2] - '0') & 1) != 0;
}

/* A buffer of `elements` between guards. */
static clvi_buf *guarded(const rig *r, int64_t elements)
{
    clvi_buf *buf = NULL;
    const size_t bytes = (size_t)(elements + 2 * GUARD) * 4;
    OK(clvi_buf_create(r->device, bytes, "test", &buf, &error));
    OK(clvi_fill(r->device, buf, 0, bytes, guard_pattern, &error));
    return buf;
}

/* A case says whether it goes by Winograd's algorithm, where the device has that. */
static void check_way(const rig *r)
{
    const bool convolves =
        strcmp(r->suite->op, "conv2d") == 0 || strcmp(r->suite->op, "conv2d_bn") == 0;
    if (!convolves || !clvi_device_uses_winograd(r->device))
        return;
    const clvi_conv conv = clvi_conv_of(r->graph, &r->graph->nodes[r->graph->node_count - 1], 1);
    const bool said = (r->data->test->flags & OP_WINOGRAD) != 0;
    if (clvi_winograd_serves(r->device, &conv) != said)
        fail_msg("%s, %s: goes %s Winograd's algorithm", r->suite->op, r->data->test->name,
                 said ? "not by" : "by");
}

static void build(rig *r)
{
    const op_case *test = r->data->test;
    clv_tensor inputs[REF_MAX_INPUTS];
    OK(clvi_graph_create("test", &r->graph, &error));
    for (int i = 0; i < r->data->input_count; i++)
        add_input(r, i, &inputs[i]);
    const struct clvi_op *op = clvi_op_find(r->suite->op);
    assert_non_null(op);
    r->output_count = op->output_count;
    OK(clvi_graph_add_op(r->graph, r->suite->op, "node", inputs, (uint32_t)r->data->input_count,
                         test->attrs, r->data->attr_count, sizeof(clv_attr), r->outputs,
                         (uint32_t)r->output_count, &error));
    check_way(r);
    for (int o = 0; o < r->output_count; o++) {
        char role[16];
        snprintf(role, sizeof role, "out%d", o);
        r->output_shapes[o].struct_size = sizeof(clv_shape);
        OK(clvi_graph_shape(r->graph, r->outputs[o], &r->output_shapes[o], &error));
        OK(clvi_graph_output_add(r->graph, role, r->outputs[o], &error));
    }
    OK(clvi_store_create(r->device, &r->store, &error));
    uint32_t base = 0;
    OK(clvi_store_add(r->store, r->graph, "test.", is_trainable, r, &base, &error));
    assert_int_equal(base, 0);
    OK(clvi_store_commit(r->store, r->mode == CLV_MODE_TRAIN, &error));

    clvi_plan_desc desc = {.graph = r->graph,
                           .store = r->store,
                           .base = base,
                           .mode = r->mode,
                           .max_batch = test->n,
                           .outputs = r->outputs,
                           .output_count = (size_t)r->output_count};
    const uint8_t frozen = (uint8_t)CLVI_MODE_FROZEN; /* of the one node */
    desc.node_modes = r->frozen ? &frozen : NULL;
    if (r->mode == CLV_MODE_TRAIN)
        desc.outputs_with_grad = (1u << r->output_count) - 1;
    for (int i = 0; i < r->data->input_count; i++)
        if (r->bound[i] >= 0 && (r->mask >> i & 1) != 0)
            desc.inputs_with_grad |= 1u << r->bound[i];
    OK(clvi_plan_create(&desc, &r->plan, &error));
}

static void bind_inputs(rig *r)
{
    const op_case *test = r->data->test;
    for (int i = 0; i < r->data->input_count; i++) {
        if (r->bound[i] < 0)
            continue;
        const int64_t elements = op_data_elements(r->data, i, test->n);
        r->input_buf[i] = guarded(r, elements);
        if (op_fill_is_integer(test->inputs[i].fill)) {
            int32_t *labels = malloc((size_t)elements * sizeof *labels);
            assert_non_null(labels);
            for (int64_t k = 0; k < elements; k++)
                labels[k] = (int32_t)r->data->values[i][k];
            OK(clvi_upload(r->device, r->input_buf[i], GUARD * 4, labels, (size_t)elements * 4,
                           &error));
            free(labels);
        } else {
            OK(clvi_upload(r->device, r->input_buf[i], GUARD * 4, r->data->values[i],
                           (size_t)elements * 4, &error));
        }
        if (r->mask >> i & 1)
            r->grad_buf[i] = guarded(r, elements);
        const clvi_view values = {r->input_buf[i], GUARD};
        const clvi_view gradient = {r->grad_buf[i], r->grad_buf[i] != NULL ? GUARD : 0};
        clvi_plan_bind(r->plan, (size_t)r->bound[i], values, gradient);
    }
    r->ids = guarded(r, test->n);
    OK(clvi_upload(r->device, r->ids, GUARD * 4, r->data->ids, (size_t)test->n * 4, &error));
}

static void tear_down(rig *r)
{
    clvi_plan_destroy(r->plan);
    clvi_store_destroy(r->store);
    clvi_graph_destroy(r->graph);
    for (int i = 0; i < r->data->input_count; i++) {
        clvi_buf_destroy(r->input_buf[i]);
        clvi_buf_destroy(r->grad_buf[i]);
    }
    clvi_buf_destroy(r->ids);
}

/* ---- Running
 * ------------------------------------------------------------------------------------- */

/* Sets variables to their values and their gradients, and the plan's memory, to NaN. */
static void reset(rig *r, int64_t n)
{
    for (int i = 0; i < r->data->input_count; i++) {
        if (r->grad_buf[i] != NULL)
            OK(clvi_fill(r->device, r->grad_buf[i], GUARD * 4,
                         (size_t)op_data_elements(r->data, i, r->data->test->n) * 4, guard_pattern,
                         &error));
        if (r->variable[i] < 0)
            continue;
        const size_t segment = (size_t)r->variable[i];
        OK(clvi_store_write(r->store, segment, CLVI_STORE_VALUE, r->data->values[i], &error));
        if (clvi_store_view(r->store, segment, CLVI_STORE_GRADIENT).buf == NULL)
            continue;
        const int64_t elements = op_data_elements(r->data, i, n);
        float *nan = floats(elements);
        for (int64_t k = 0; k < elements; k++)
            nan[k] = NAN;
        OK(clvi_store_write(r->store, segment, CLVI_STORE_GRADIENT, nan, &error));
        free(nan);
    }
    OK(clvi_plan_poison(r->plan, &error));
    clvi_store_touch(r->store); /* what inference had prepared is poisoned, too */
}

static float *download(const rig *r, clvi_view view, int64_t elements)
{
    float *values = floats(elements);
    assert_non_null(view.buf);
    OK(clvi_download(r->device, view.buf, (size_t)view.offset * 4, values, (size_t)elements * 4,
                     &error));
    return values;
}

/* Forward and, in training, backward with grad_out; n samples. */
static void run(rig *r, const ref_call *call, int64_t n, answer *a)
{
    const clvi_run_random random = {
        .key = {call->key[0], call->key[1]}, .epoch = call->epoch, .ids = {r->ids, GUARD}};
    *a = (answer){{NULL}, {NULL}, {NULL}};
    reset(r, n);
    OK(clvi_plan_forward(r->plan, n, &random, &error));
    for (int o = 0; o < r->output_count; o++)
        a->out[o] = download(r, clvi_plan_output(r->plan, (size_t)o, n), call->out[o].elements);
    if (r->mode == CLV_MODE_TRAIN) {
        for (int o = 0; o < r->output_count; o++) {
            const clvi_view to = clvi_plan_grad(r->plan, (size_t)o, n);
            const int64_t elements = call->grad_out[o].elements;
            float *g = floats(elements);
            assert_non_null(to.buf);
            for (int64_t k = 0; k < elements; k++)
                g[k] = (float)call->grad_out[o].data[k];
            OK(clvi_upload(r->device, to.buf, (size_t)to.offset * 4, g, (size_t)elements * 4,
                           &error));
            free(g);
        }
        OK(clvi_plan_backward(r->plan, &error));
    }
    for (int i = 0; i < call->input_count; i++) {
        const int64_t elements = op_data_elements(r->data, i, n);
        if (call->state[i].data != NULL)
            a->state[i] = download(
                r, clvi_store_view(r->store, (size_t)r->variable[i], CLVI_STORE_VALUE), elements);
        if ((r->mask >> i & 1) == 0)
            continue;
        const clvi_view g = r->variable[i] >= 0 ? clvi_store_view(r->store, (size_t)r->variable[i],
                                                                  CLVI_STORE_GRADIENT)
                                                : (clvi_view){r->grad_buf[i], GUARD};
        a->grad[i] = download(r, g, elements);
    }
    OK(clvi_plan_check_guards(r->plan, &error));
}

static void answer_fini(answer *a)
{
    for (int o = 0; o < REF_MAX_OUTPUTS; o++)
        free(a->out[o]);
    for (int i = 0; i < REF_MAX_INPUTS; i++) {
        free(a->state[i]);
        free(a->grad[i]);
    }
}

/* ---- Checking
 * ------------------------------------------------------------------------------------ */

static void check_guards(const rig *r, clvi_buf *buf, int64_t used, int64_t elements,
                         const char *what)
{
    if (buf == NULL)
        return;
    float *all = download(r, (clvi_view){buf, 0}, elements + 2 * GUARD);
    uint32_t word;
    for (int64_t k = 0; k < elements + 2 * GUARD; k++) {
        memcpy(&word, &all[k], sizeof word);
        if ((k < GUARD || k >= GUARD + used) && word != guard_pattern)
            fail_msg("%s, %s: %s: element %lld of %lld was written", r->suite->op,
                     r->data->test->name, what, (long long)(k - GUARD), (long long)used);
    }
    free(all);
}

/* Inputs and parameters are what they were; nothing beyond a bound tensor was written. */
static void check_untouched(const rig *r, int64_t n)
{
    const op_case *test = r->data->test;
    for (int i = 0; i < r->data->input_count; i++) {
        const int64_t full = op_data_elements(r->data, i, test->n);
        if (test->inputs[i].kind == OP_ABSENT || test->inputs[i].kind == OP_STATE)
            continue;
        check_guards(r, r->input_buf[i], full, full, "an input");
        check_guards(r, r->grad_buf[i], op_data_elements(r->data, i, n), full,
                     "the gradient of an input");
        const clvi_view view =
            r->variable[i] >= 0
                ? clvi_store_view(r->store, (size_t)r->variable[i], CLVI_STORE_VALUE)
                : (clvi_view){r->input_buf[i], GUARD};
        float *now = download(r, view, full);
        for (int64_t k = 0; k < full; k++) {
            float was = r->data->values[i][k];
            if (op_fill_is_integer(test->inputs[i].fill)) {
                const int32_t label = (int32_t)was;
                memcpy(&was, &label, sizeof was);
            }
            if (memcmp(&was, &now[k], sizeof was) != 0)
                fail_msg("%s, %s: element %lld of input %d was changed", r->suite->op, test->name,
                         (long long)k, i);
        }
        free(now);
    }
}

static const char *mode_text(const rig *r)
{
    return r->frozen ? "frozen" : r->mode == CLV_MODE_TRAIN ? "training" : "inference";
}

static void check_values(const rig *r, const char *what, int index, const float *given,
                         const ref_tensor *expected, bool gradient)
{
    const op_bounds *b = op_bounds_find(r->suite->op);
    const double rms = op_rms(expected->data, expected->elements);
    const double times = r->data->test->flags & OP_WINOGRAD ? 16 : 1;
    const double atol = (gradient ? b->grad_atol : b->atol) * rms * times;
    compare_result result;
    char text[256];
    if (!compare(given, expected->data, expected->elements, atol,
                 (gradient ? b->grad_rtol : b->rtol) * times, &result))
        fail_msg("%s, %s, %s, batch %lld of %lld: %s %d: %s", r->suite->op, r->data->test->name,
                 mode_text(r), (long long)expected->dims[0], (long long)r->data->test->n, what,
                 index, compare_text(&result, text));
}

/* A tensor of one run beside the same one of another. */
typedef struct pair {
    const char *what;
    int index;
    const float *first, *second, *third; /* NULL: there is none */
    int64_t elements;
} pair;

/* Everything that a run answers with, one after the other; false at the end. */
static bool next_pair(const rig *r, const ref_call *call, const answer *a, int k, pair *out)
{
    const int o = r->output_count, in = call->input_count;
    if (k < o)
        *out = (pair){"output", k, a[0].out[k], a[1].out[k], a[2].out[k], call->out[k].elements};
    else if (k < o + in)
        *out = (pair){"state",           k - o,
                      a[0].state[k - o], a[1].state[k - o],
                      a[2].state[k - o], call->in[k - o].elements};
    else if (k < o + 2 * in)
        *out = (pair){"gradient of input",   k - o - in,
                      a[0].grad[k - o - in], a[1].grad[k - o - in],
                      a[2].grad[k - o - in], call->in[k - o - in].elements};
    return k < o + 2 * in;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Which elements differ, for somebody who cannot make it happen again. a: three runs. */
static void report_bits(const rig *r, const ref_call *call, const answer *a, int64_t n)
{
    pair p;
    for (int k = 0; next_pair(r, call, a, k, &p); k++) {
        int64_t count = 0, at = 0;
        for (int64_t e = p.first != NULL ? p.elements : 0; e-- > 0;)
            if (bits_of(p.first[e]) != bits_of(p.second[e]))
                count++, at = e;
        if (count > 0)
            print_error("%s, %s, %s, gradients 0x%x, batch %lld of %lld: %s %d: a second run gives "
                        "other bits in %lld of %lld elements, the first of them %lld: %.9g (%08x), "
                        "%.9g (%08x), a third time %.9g (%08x)\n",
                        r->suite->op, r->data->test->name, mode_text(r), (unsigned)r->mask,
                        (long long)n, (long long)r->data->test->n, p.what, p.index,
                        (long long)count, (long long)p.elements, (long long)at, (double)p.first[at],
                        (unsigned)bits_of(p.first[at]), (double)p.second[at],
                        (unsigned)bits_of(p.second[at]), (double)p.third[at],
                        (unsigned)bits_of(p.third[at]));
    }
}

/* a: two runs, and room for a third one where they differ. */
static void check_same_bits(rig *r, answer *a, int64_t n, const ref_call *call)
{
    bool same = true;
    pair p;
    a[2] = (answer){{NULL}, {NULL}, {NULL}};
    for (int k = 0; next_pair(r, call, a, k, &p); k++)
        same &= p.first == NULL || memcmp(p.first, p.second, (size_t)p.elements * 4) == 0;
    if (same)
        return;
    run(r, call, n, &a[2]);
    report_bits(r, call, a, n);
    fail_msg("%s, %s: a second run gives other bits", r->suite->op, r->data->test->name);
}

/* Fills grad_in of the call: by the reference's backward, or from the device's answer of all
 * gradients at once; either is checked against differences. */
static void expect_gradients(const rig *r, ref_call *call, const answer *a)
{
    for (int i = 0; r->suite->backward == NULL && i < call->input_count; i++)
        for (int64_t k = 0; a->grad[i] != NULL && k < call->in[i].elements; k++)
            call->grad_in[i].data[k] = (double)a->grad[i][k];
    if (r->suite->backward != NULL)
        r->suite->backward(call);
    if ((r->data->test->flags & OP_NO_DIFFERENCES) == 0)
        op_check_differences(call, r->data, r->suite, r->mask, r->suite->backward != NULL);
}

/* One batch of a rig. `call` holds the reference; on the first training rig (all gradients) its
 * gradients are found, the later ones are compared with them. */
static void run_batch(rig *r, ref_call *call, int64_t n, bool first)
{
    answer answers[3], *a = &answers[0];
    op_call_forward(call, r->suite);
    run(r, call, n, a);
    check_untouched(r, n);
    for (int o = 0; o < r->output_count; o++)
        check_values(r, "output", o, a->out[o], &call->out[o], false);
    for (int i = 0; i < call->input_count; i++)
        if (a->state[i] != NULL)
            check_values(r, "state", i, a->state[i], &call->state[i], false);
    run(r, call, n, &answers[1]);
    check_same_bits(r, answers, n, call);
    if (r->mode == CLV_MODE_TRAIN) {
        if (first)
            expect_gradients(r, call, a);
        for (int i = 0; i < call->input_count; i++)
            if (a->grad[i] != NULL)
                check_values(r, "gradient of input", i, a->grad[i], &call->grad_in[i], true);
    }
    answer_fini(&answers[0]);
    answer_fini(&answers[1]);
}

static void op_call_grad(ref_call *call, op_data *data)
{
    for (int o = 0; o < call->output_count; o++) {
        const float *given = data->test->grad_out[o];
        for (int64_t k = 0; k < call->out[o].elements; k++)
            call->grad_out[o].data[k] =
                given != NULL ? (double)given[k] : (double)(float)op_data_normal(data);
    }
}

/* The whole batch and half of it; calls[0] and calls[1] live from rig to rig. */
static void run_rig(rig *r, ref_call calls[2], bool first)
{
    const int64_t n = r->data->test->n;
    const int64_t batches[2] = {n, (r->data->test->flags & OP_WHOLE) != 0 ? 0 : n / 2};
    build(r);
    bind_inputs(r);
    for (int b = 0; b < 2 && batches[b] > 0; b++) {
        if (calls[b].in[0].data == NULL) {
            op_call_init(&calls[b], r->data, r->output_shapes, r->output_count, batches[b],
                         r->mode == CLV_MODE_TRAIN && !r->frozen);
            op_call_grad(&calls[b], r->data);
        }
        run_batch(r, &calls[b], batches[b], first);
    }
    tear_down(r);
}

/* All gradients at once, each alone, and none. */
static void run_training(struct clvi_device *device, const op_suite *suite, op_data *data,
                         bool frozen)
{
    const uint32_t all = op_data_differentiable(data);
    ref_call calls[2] = {{.train = false}};
    for (int i = -1; i <= data->input_count; i++) {
        const uint32_t mask = i < 0 ? all : i < data->input_count ? all & 1u << i : 0;
        const bool none = frozen && i == data->input_count;
        if (i >= 0 && (mask == all || (mask == 0 && !none)))
            continue;
        rig r = {.device = device,
                 .suite = suite,
                 .data = data,
                 .mode = CLV_MODE_TRAIN,
                 .frozen = frozen,
                 .mask = mask};
        run_rig(&r, calls, i < 0);
    }
    for (int b = 0; b < 2; b++)
        op_call_fini(&calls[b]);
}

void op_test_run(struct clvi_device *device, const op_suite *suite, const op_case *test)
{
    op_data data;
    op_data_init(&data, suite, test);
    ref_call infer[2] = {{.train = false}};
    rig r = {.device = device, .suite = suite, .data = &data, .mode = CLV_MODE_INFER};
    run_rig(&r, infer, true);
    run_training(device, suite, &data, false);
    if (clvi_op_find(suite->op)->norm_inputs != 0 && (test->flags & OP_WHOLE) == 0)
        run_training(device, suite, &data, true);
    for (int b = 0; b < 2; b++)
        op_call_fini(&infer[b]);
    op_data_fini(&data);
}
