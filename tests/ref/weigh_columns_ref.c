/* weigh_columns: y[n, m] = K g[n, owner[m]] x[n, m]; 0 where g is. */
#include "ref.h"

void weigh_columns_ref(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], experts = c->in[1].dims[1];
    for (int64_t k = 0; k < c->in[0].elements; k++) {
        const int64_t owner = (int64_t)c->in[2].data[k % columns];
        c->out[0].data[k] =
            (double)experts * c->in[1].data[k / columns * experts + owner] * c->in[0].data[k];
    }
}

void weigh_columns_ref_backward(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], experts = c->in[1].dims[1];
    for (int64_t k = 0; k < c->in[1].elements && c->grad_in[1].data != NULL; k++)
        c->grad_in[1].data[k] = 0;
    for (int64_t k = 0; k < c->in[0].elements; k++) {
        const int64_t at = k / columns * experts + (int64_t)c->in[2].data[k % columns];
        const double g = c->in[1].data[at], up = (double)experts * c->grad_out[0].data[k];
        if (c->grad_in[0].data != NULL)
            c->grad_in[0].data[k] = g * up;
        if (c->grad_in[1].data != NULL && g != 0)
            c->grad_in[1].data[at] += up * c->in[0].data[k];
    }
}
