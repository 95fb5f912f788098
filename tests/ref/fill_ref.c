/* fill: one value everywhere; its input counts for nothing. */
#include "ref.h"

void fill_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->out[0].data[i] = ref_real(c, "value", 0);
}

void fill_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->in[0].elements; i++)
        c->grad_in[0].data[i] = 0;
}
