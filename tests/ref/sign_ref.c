/* sign, elementwise; no gradient. */
#include "ref.h"

void sign_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const double x = c->in[0].data[i];
        c->out[0].data[i] = x > 0 ? 1 : x < 0 ? -1 : 0;
    }
}

void sign_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->grad_in[0].data[i] = 0;
}
