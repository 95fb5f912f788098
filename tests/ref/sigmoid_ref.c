/* sigmoid: y = 1/(1 + exp(-x)). */
#include "ref.h"

#include <math.h>

void sigmoid_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->out[0].data[i] = 1 / (1 + exp(-c->in[0].data[i]));
}

void sigmoid_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const double e = exp(-fabs(c->in[0].data[i]));
        c->grad_in[0].data[i] = c->grad_out[0].data[i] * e / ((1 + e) * (1 + e));
    }
}
