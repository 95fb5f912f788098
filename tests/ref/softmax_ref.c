/* softmax over the last axis of [N, …, C]: y_c = exp(x_c) / Σ_k exp(x_k), with the largest taken
 * off.
 */
#include "ref.h"

#include <math.h>

void softmax_ref(ref_call *c)
{
    const int64_t classes = c->in[0].dims[c->in[0].rank - 1], n = c->in[0].elements / classes;
    for (int64_t s = 0; s < n; s++) {
        const double *x = c->in[0].data + s * classes;
        double *y = c->out[0].data + s * classes;
        double top = x[0], sum = 0;
        for (int64_t k = 1; k < classes; k++)
            top = fmax(top, x[k]);
        for (int64_t k = 0; k < classes; k++)
            sum += exp(x[k] - top);
        for (int64_t k = 0; k < classes; k++)
            y[k] = exp(x[k] - top) / sum;
    }
}

/* gx_c = y_c (gy_c - Σ_k gy_k y_k). */
void softmax_ref_backward(ref_call *c)
{
    const int64_t classes = c->in[0].dims[c->in[0].rank - 1], n = c->in[0].elements / classes;
    for (int64_t s = 0; s < n; s++) {
        const double *y = c->out[0].data + s * classes, *g = c->grad_out[0].data + s * classes;
        double dot = 0;
        for (int64_t k = 0; k < classes; k++)
            dot += g[k] * y[k];
        for (int64_t k = 0; k < classes; k++)
            c->grad_in[0].data[s * classes + k] = y[k] * (g[k] - dot);
    }
}
