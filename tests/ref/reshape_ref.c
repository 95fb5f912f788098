/* reshape: the same elements in the same order. */
#include "ref.h"

void reshape_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->in[0].elements; i++)
        c->out[0].data[i] = c->in[0].data[i];
}

void reshape_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->in[0].elements; i++)
        c->grad_in[0].data[i] = c->grad_out[0].data[i];
}
