/* gather_samples: y[r] = x[index[r]] where r < count and the index is a sample, else 0. */
#include "ref.h"

#include <string.h>

/* Sample that entry r names, or -1. */
static int64_t source(const ref_call *c, int64_t r)
{
    const double index = c->in[1].data[r];
    return (double)r < c->in[2].data[0] && index >= 0 && index < (double)c->in[0].dims[0]
               ? (int64_t)index
               : -1;
}

void gather_samples_ref(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], each = c->in[0].elements / n;
    for (int64_t i = 0; i < n * each; i++) {
        const int64_t from = source(c, i / each);
        c->out[0].data[i] = from < 0 ? 0 : c->in[0].data[from * each + i % each];
    }
}

void gather_samples_ref_backward(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], each = c->in[0].elements / n;
    memset(c->grad_in[0].data, 0, (size_t)(n * each) * sizeof(double));
    for (int64_t i = 0; i < n * each; i++)
        if (source(c, i / each) >= 0)
            c->grad_in[0].data[source(c, i / each) * each + i % each] += c->grad_out[0].data[i];
}
