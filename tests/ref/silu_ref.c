/* silu, elementwise. */
#include "ref.h"

void silu_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->out[0].data[i] = ref_act(c->in[0].data[i], "silu");
}

void silu_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->grad_in[0].data[i] = c->grad_out[0].data[i] * ref_act_slope(c->in[0].data[i], "silu");
}
