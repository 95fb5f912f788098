/* max_pool2d: the maximum over windows of kernel × kernel pixels, NHWC; padded pixels are ignored,
 * the first of equals in row order gets the gradient. */
#include "ref.h"

#include <string.h>

/* Index in x of the maximum of output element (n, oy, ox, k). */
static int64_t place_of(const ref_call *c, const int64_t at[4])
{
    const int64_t kernel = ref_int(c, "kernel", 2), stride = ref_int(c, "stride", 2);
    const int64_t pad = ref_int(c, "pad", 0), *x = c->in[0].dims;
    int64_t best = -1;
    for (int64_t ky = 0; ky < kernel; ky++)
        for (int64_t kx = 0; kx < kernel; kx++) {
            const int64_t iy = at[1] * stride - pad + ky, ix = at[2] * stride - pad + kx;
            if (iy < 0 || iy >= x[1] || ix < 0 || ix >= x[2])
                continue;
            const int64_t i = ((at[0] * x[1] + iy) * x[2] + ix) * x[3] + at[3];
            if (best < 0 || c->in[0].data[i] > c->in[0].data[best])
                best = i;
        }
    return best;
}

/* Coordinates of output element i. */
static void coordinates(const ref_call *c, int64_t i, int64_t at[4])
{
    for (int axis = 3; axis >= 0; axis--) {
        at[axis] = i % c->out[0].dims[axis];
        i /= c->out[0].dims[axis];
    }
}

void max_pool2d_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        int64_t at[4];
        coordinates(c, i, at);
        c->out[0].data[i] = c->in[0].data[place_of(c, at)];
    }
}

void max_pool2d_ref_backward(ref_call *c)
{
    memset(c->grad_in[0].data, 0, (size_t)c->in[0].elements * sizeof(double));
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        int64_t at[4];
        coordinates(c, i, at);
        c->grad_in[0].data[place_of(c, at)] += c->grad_out[0].data[i];
    }
}
