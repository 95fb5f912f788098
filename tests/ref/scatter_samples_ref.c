/* scatter_samples: y[index[r]] += x[r], r < count, from zeros; an index that is no sample is left
 * out. */
#include "ref.h"

#include <string.h>

/* Sample that entry r names, or -1. */
static int64_t destination(const ref_call *c, int64_t r)
{
    const double index = c->in[1].data[r];
    return (double)r < c->in[2].data[0] && index >= 0 && index < (double)c->in[0].dims[0]
               ? (int64_t)index
               : -1;
}

void scatter_samples_ref(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], each = c->in[0].elements / n;
    memset(c->out[0].data, 0, (size_t)(n * each) * sizeof(double));
    for (int64_t i = 0; i < n * each; i++)
        if (destination(c, i / each) >= 0)
            c->out[0].data[destination(c, i / each) * each + i % each] += c->in[0].data[i];
}

void scatter_samples_ref_backward(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], each = c->in[0].elements / n;
    for (int64_t i = 0; i < n * each; i++) {
        const int64_t to = destination(c, i / each);
        c->grad_in[0].data[i] = to < 0 ? 0 : c->grad_out[0].data[to * each + i % each];
    }
}
