/* add: y = a + b. */
#include "ref.h"

void add_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->out[0].data[i] = c->in[0].data[i] + c->in[1].data[i];
}

void add_ref_backward(ref_call *c)
{
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < c->out[0].elements; i++)
            c->grad_in[k].data[i] = c->grad_out[0].data[i];
}
