/* Gradients against 4-point central differences of the double reference. */
#include "bounds.h"
#include "op_data.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Elements looked at one by one (all, where there are no more), and random directions, each of
 * which looks at all elements at once. */
enum { PROBES = 40, DIRECTIONS = 2 };

static double loss(ref_call *call, const op_suite *suite)
{
    double sum = 0;
    op_call_forward(call, suite);
    for (int o = 0; o < call->output_count; o++)
        for (int64_t k = 0; k < call->out[o].elements; k++)
            sum += call->grad_out[o].data[k] * call->out[o].data[k];
    return sum;
}

/* d loss(x + t·v) / dt at t = 0 for input i, where base is x: (f(-2h) - 8f(-h) + 8f(h) -
 * f(2h))/12h. */
static double slope(ref_call *call, const op_suite *suite, int i, const double *base,
                    const double *v, double h)
{
    static const double steps[4] = {-2, -1, 1, 2}, weights[4] = {1, -8, 8, -1};
    ref_tensor *x = &call->in[i];
    double sum = 0;
    for (int p = 0; p < 4; p++) {
        for (int64_t k = 0; k < x->elements; k++)
            x->data[k] = base[k] + steps[p] * h * v[k];
        sum += weights[p] * loss(call, suite);
    }
    memcpy(x->data, base, (size_t)x->elements * sizeof(double));
    return sum / (12 * h);
}

typedef struct verdict {
    int checked, kinks;
} verdict;

/* Checks one direction v of input i. */
static void check(ref_call *call, const op_suite *suite, const op_case *test, int i,
                  const double *base, const double *v, bool tight, verdict *seen)
{
    const ref_tensor *g = &call->grad_in[i];
    const op_bounds *bounds = op_bounds_find(suite->op);
    const bool kinks = (test->flags & OP_KINKS) != 0;
    double given = 0, terms = 0, lengths = 0;
    for (int64_t k = 0; k < g->elements; k++) {
        given += g->data[k] * v[k];
        terms += fabs(g->data[k] * v[k]);
        lengths += fabs(v[k]);
    }
    const double rms = op_rms(g->data, g->elements);
    double allowed = 1e-6 * (terms + rms * lengths) + 1e-7;
    const double times = test->flags & OP_WINOGRAD ? 16 : 1;
    if (!tight)
        allowed += times * (bounds->grad_rtol * terms + bounds->grad_atol * rms * lengths);
    const double h = kinks ? 1e-5 : 1e-4;
    const double found = slope(call, suite, i, base, v, h);
    seen->checked++;
    if (fabs(found - given) <= allowed)
        return;
    /* Where the loss is smooth the step does not matter; where it does, there is a kink. */
    const double finer = slope(call, suite, i, base, v, h / 3);
    if (kinks && !(fabs(found - finer) <= allowed)) {
        seen->kinks++;
        return;
    }
    fail_msg("%s, %s: gradient of input %d: %.9g, by differences %.9g, allowed %.2g", suite->op,
             test->name, i, given, found, allowed);
}

void op_check_differences(ref_call *call, op_data *data, const op_suite *suite, uint32_t mask,
                          bool tight)
{
    verdict seen = {0, 0};
    for (int i = 0; i < call->input_count; i++) {
        const int64_t elements = call->in[i].elements;
        if ((mask >> i & 1) == 0)
            continue;
        double *base = malloc((size_t)elements * sizeof(double));
        double *v = calloc((size_t)elements, sizeof(double));
        assert_non_null(base);
        assert_non_null(v);
        memcpy(base, call->in[i].data, (size_t)elements * sizeof(double));
        for (int64_t p = 0; p < elements && p < PROBES; p++) {
            int64_t k =
                elements <= PROBES ? p : (int64_t)(op_data_uniform(data) * (double)elements);
            if (p == PROBES - 1)
                k = elements - 1;
            v[k] = 1;
            check(call, suite, data->test, i, base, v, tight, &seen);
            v[k] = 0;
        }
        for (int d = 0; d < DIRECTIONS; d++) {
            for (int64_t k = 0; k < elements; k++)
                v[k] = op_data_normal(data);
            check(call, suite, data->test, i, base, v, tight, &seen);
        }
        free(base);
        free(v);
    }
    if (seen.kinks * 20 > seen.checked)
        fail_msg("%s, %s: %d of %d differences straddle a kink", suite->op, data->test->name,
                 seen.kinks, seen.checked);
}
