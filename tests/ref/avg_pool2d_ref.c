/* avg_pool2d: the mean over windows of kernel × kernel pixels, NHWC; padded pixels are not counted.
 */
#include "ref.h"

#include <string.h>

/* Indices in x of the pixels of output element i; returns how many. */
static int64_t window_of(const ref_call *c, int64_t i, int64_t pixels[225])
{
    const int64_t kernel = ref_int(c, "kernel", 2), stride = ref_int(c, "stride", 2);
    const int64_t pad = ref_int(c, "pad", 0), *x = c->in[0].dims, *y = c->out[0].dims;
    const int64_t k = i % y[3], ox = i / y[3] % y[2], oy = i / y[3] / y[2] % y[1];
    const int64_t n = i / y[3] / y[2] / y[1];
    int64_t count = 0;
    for (int64_t ky = 0; ky < kernel; ky++)
        for (int64_t kx = 0; kx < kernel; kx++) {
            const int64_t iy = oy * stride - pad + ky, ix = ox * stride - pad + kx;
            if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2])
                pixels[count++] = ((n * x[1] + iy) * x[2] + ix) * x[3] + k;
        }
    return count;
}

void avg_pool2d_ref(ref_call *c)
{
    int64_t pixels[225];
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const int64_t count = window_of(c, i, pixels);
        double sum = 0;
        for (int64_t p = 0; p < count; p++)
            sum += c->in[0].data[pixels[p]];
        c->out[0].data[i] = sum / (double)count;
    }
}

void avg_pool2d_ref_backward(ref_call *c)
{
    int64_t pixels[225];
    memset(c->grad_in[0].data, 0, (size_t)c->in[0].elements * sizeof(double));
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const int64_t count = window_of(c, i, pixels);
        for (int64_t p = 0; p < count; p++)
            c->grad_in[0].data[pixels[p]] += c->grad_out[0].data[i] / (double)count;
    }
}
