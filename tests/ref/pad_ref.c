/* pad: zeros around pictures, NHWC. */
#include "ref.h"

/* Element of x that lies at element i of y, or -1 in the margin. */
static int64_t source(const ref_call *c, int64_t i)
{
    const int64_t *x = c->in[0].dims, *y = c->out[0].dims;
    const int64_t k = i % y[3], column = i / y[3] % y[2] - ref_int(c, "left", 0);
    const int64_t row = i / (y[3] * y[2]) % y[1] - ref_int(c, "top", 0);
    if (row < 0 || row >= x[1] || column < 0 || column >= x[2])
        return -1;
    return ((i / (y[3] * y[2] * y[1]) * x[1] + row) * x[2] + column) * x[3] + k;
}

void pad_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const int64_t from = source(c, i);
        c->out[0].data[i] = from < 0 ? 0 : c->in[0].data[from];
    }
}

void pad_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        if (source(c, i) >= 0)
            c->grad_in[0].data[source(c, i)] = c->grad_out[0].data[i];
}
