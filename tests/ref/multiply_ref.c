/* multiply: y = a·b; b as a, or one factor per sample and channel, [N, C] or [N, 1, 1, C]. */
#include "ref.h"

#include <string.h>

/* Index in b of what multiplies element i of a. */
static int64_t factor(const ref_call *c, int64_t i)
{
    const ref_tensor *a = &c->in[0], *b = &c->in[1];
    const int64_t channels = a->dims[a->rank - 1], each = a->elements / a->dims[0];
    return b->elements == a->elements ? i : i / each * channels + i % channels;
}

void multiply_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->out[0].data[i] = c->in[0].data[i] * c->in[1].data[factor(c, i)];
}

void multiply_ref_backward(ref_call *c)
{
    memset(c->grad_in[1].data, 0, (size_t)c->in[1].elements * sizeof(double));
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const int64_t k = factor(c, i);
        c->grad_in[0].data[i] = c->grad_out[0].data[i] * c->in[1].data[k];
        c->grad_in[1].data[k] += c->grad_out[0].data[i] * c->in[0].data[i];
    }
}
