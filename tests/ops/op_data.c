#include "op_data.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *allocate(int64_t count, size_t bytes)
{
    void *memory = calloc(count > 0 ? (size_t)count : 1, bytes);
    assert_non_null(memory);
    return memory;
}

/* SplitMix64 (Steele et al. 2014). */
static uint64_t next(op_data *data)
{
    uint64_t x = data->random += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

double op_data_uniform(op_data *data)
{
    return ((double)(next(data) >> 11) + 0.5) * 0x1p-53;
}

double op_data_normal(op_data *data)
{
    const double radius = sqrt(-2 * log(op_data_uniform(data)));
    return radius * cos(6.283185307179586 * op_data_uniform(data));
}

static float draw(op_data *data, const op_input *input)
{
    const double scale = input->a > 0 ? input->a : 1;
    switch (input->fill) {
    case OP_NORMAL:
        return (float)(op_data_normal(data) * scale);
    case OP_AWAY: {
        const double x = op_data_normal(data);
        return (float)(x + (x < 0 ? -0.05 : 0.05));
    }
    case OP_POSITIVE:
        return (float)(0.5 + op_data_uniform(data));
    case OP_TIES:
        return (float)(next(data) % 3) - 1;
    case OP_LARGE:
        return (float)(1000 + 5 * op_data_normal(data));
    case OP_LABELS:
        return (float)(next(data) % (uint64_t)input->a);
    case OP_COUNT:
        return (float)input->a;
    case OP_ORDER: /* see shuffle */
        return 0;
    }
    return 0;
}

/* 0 … count - 1 in random order (Fisher and Yates). */
static void shuffle(op_data *data, float *values, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        const int64_t other = (int64_t)(next(data) % (uint64_t)(k + 1));
        values[k] = values[other];
        values[other] = (float)k;
    }
}

void op_data_init(op_data *data, const op_suite *suite, const op_case *test)
{
    *data = (op_data){.test = test, .random = 1469598103934665603u};
    for (const char *c = suite->op; *c != '\0'; c++)
        data->random = data->random * 31 + (unsigned char)*c;
    for (const char *c = test->name; *c != '\0'; c++)
        data->random = data->random * 31 + (unsigned char)*c;
    while (data->attr_count < OP_MAX_ATTRS && test->attrs[data->attr_count].name != NULL)
        data->attr_count++;
    for (int i = 0; i < REF_MAX_INPUTS && test->inputs[i].kind != OP_NONE; i++) {
        const op_input *input = &test->inputs[i];
        data->input_count = i + 1;
        if (input->kind == OP_ABSENT)
            continue;
        data->each[i] = 1;
        for (int axis = 0; axis < input->rank; axis++)
            data->each[i] *= input->dims[axis];
        const int64_t elements = op_data_elements(data, i, test->n);
        data->values[i] = allocate(elements, sizeof(float));
        if (test->values[i] != NULL) {
            memcpy(data->values[i], test->values[i], (size_t)elements * sizeof(float));
            continue;
        }
        for (int64_t k = 0; k < elements; k++)
            data->values[i][k] = draw(data, input);
        if (input->fill == OP_ORDER)
            shuffle(data, data->values[i], elements);
    }
    data->ids = allocate(test->n, sizeof(uint32_t));
    for (int64_t k = 0; k < test->n; k++)
        data->ids[k] = (uint32_t)next(data);
}

void op_data_fini(op_data *data)
{
    for (int i = 0; i < data->input_count; i++)
        free(data->values[i]);
    free(data->ids);
}

int64_t op_data_elements(const op_data *data, int i, int64_t n)
{
    return data->each[i] * (data->test->inputs[i].kind == OP_INPUT ? n : 1);
}

uint32_t op_data_differentiable(const op_data *data)
{
    uint32_t mask = 0;
    for (int i = 0; i < data->input_count; i++) {
        const op_input *input = &data->test->inputs[i];
        if (input->kind == OP_PARAMETER ||
            (input->kind == OP_INPUT && !op_fill_is_integer(input->fill)))
            mask |= 1u << i;
    }
    return mask;
}

static void shape_input(ref_tensor *t, const op_data *data, int i, int64_t n)
{
    const op_input *input = &data->test->inputs[i];
    const int batched = input->kind == OP_INPUT;
    t->rank = input->rank + batched;
    t->dims[0] = n;
    for (int axis = 0; axis < input->rank; axis++)
        t->dims[axis + batched] = input->dims[axis];
    t->elements = op_data_elements(data, i, n);
}

void op_call_init(ref_call *call, const op_data *data, const clv_shape *outputs, int output_count,
                  int64_t n, bool train)
{
    *call = (ref_call){.train = train,
                       .attrs = data->test->attrs,
                       .attr_count = data->attr_count,
                       .input_count = data->input_count,
                       .output_count = output_count,
                       .key = {0x12345678u, 0x9ABCDEF0u},
                       .epoch = 3,
                       .ids = data->ids};
    for (int i = 0; i < data->input_count; i++) {
        if (data->test->inputs[i].kind == OP_ABSENT)
            continue;
        ref_tensor *t = &call->in[i];
        shape_input(t, data, i, n);
        call->grad_in[i] = call->state[i] = *t;
        t->data = allocate(t->elements, sizeof(double));
        for (int64_t k = 0; k < t->elements; k++)
            t->data[k] = (double)data->values[i][k];
        if (data->test->inputs[i].kind == OP_STATE)
            call->state[i].data = allocate(t->elements, sizeof(double));
        if (op_data_differentiable(data) >> i & 1)
            call->grad_in[i].data = allocate(t->elements, sizeof(double));
    }
    for (int o = 0; o < output_count; o++) {
        ref_tensor *t = &call->out[o];
        t->rank = outputs[o].rank;
        t->elements = 1;
        for (int axis = 0; axis < t->rank; axis++) {
            t->dims[axis] = outputs[o].dims[axis] == CLV_BATCH ? n : outputs[o].dims[axis];
            t->elements *= t->dims[axis];
        }
        call->grad_out[o] = *t;
        t->data = allocate(t->elements, sizeof(double));
        call->grad_out[o].data = allocate(t->elements, sizeof(double));
    }
}

void op_call_fini(ref_call *call)
{
    for (int i = 0; i < call->input_count; i++) {
        free(call->in[i].data);
        free(call->state[i].data);
        free(call->grad_in[i].data);
    }
    for (int o = 0; o < call->output_count; o++) {
        free(call->out[o].data);
        free(call->grad_out[o].data);
    }
}

void op_call_forward(ref_call *call, const op_suite *suite)
{
    for (int i = 0; i < call->input_count; i++)
        if (call->state[i].data != NULL)
            memcpy(call->state[i].data, call->in[i].data,
                   (size_t)call->in[i].elements * sizeof(double));
    for (int o = 0; o < call->output_count; o++)
        for (int64_t k = 0; k < call->out[o].elements; k++)
            call->out[o].data[k] = NAN;
    suite->forward(call);
}

double op_rms(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t k = 0; k < count; k++)
        sum += values[k] * values[k];
    return count > 0 ? sqrt(sum / (double)count) : 0;
}
