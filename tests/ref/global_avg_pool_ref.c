/* global_avg_pool: the mean over all pixels, [N, H, W, C] → [N, C]. */
#include "ref.h"

void global_avg_pool_ref(ref_call *c)
{
    const int64_t *x = c->in[0].dims, pixels = x[1] * x[2];
    for (int64_t n = 0; n < x[0]; n++)
        for (int64_t k = 0; k < x[3]; k++) {
            double sum = 0;
            for (int64_t p = 0; p < pixels; p++)
                sum += c->in[0].data[(n * pixels + p) * x[3] + k];
            c->out[0].data[n * x[3] + k] = sum / (double)pixels;
        }
}

void global_avg_pool_ref_backward(ref_call *c)
{
    const int64_t *x = c->in[0].dims, pixels = x[1] * x[2];
    for (int64_t i = 0; i < c->in[0].elements; i++)
        c->grad_in[0].data[i] =
            c->grad_out[0].data[i / (pixels * x[3]) * x[3] + i % x[3]] / (double)pixels;
}
