/* adaptive_avg_pool2d: the mean over the pixels that overlap the o-th of O equal parts of each
 * axis.
 */
#include "ref.h"

#include <math.h>
#include <string.h>

/* Adds the mean of output element i's pixels to *sum, or shares grad out among their gradients. */
static void visit(const ref_call *c, int64_t i, double *sum, double *grad)
{
    const int64_t *x = c->in[0].dims, *y = c->out[0].dims;
    const int64_t k = i % y[3], ox = i / y[3] % y[2], oy = i / y[3] / y[2] % y[1];
    const int64_t n = i / y[3] / y[2] / y[1];
    const int64_t top = (int64_t)floor((double)(oy * x[1]) / (double)y[1]);
    const int64_t bottom = (int64_t)ceil((double)((oy + 1) * x[1]) / (double)y[1]);
    const int64_t left = (int64_t)floor((double)(ox * x[2]) / (double)y[2]);
    const int64_t right = (int64_t)ceil((double)((ox + 1) * x[2]) / (double)y[2]);
    const double pixels = (double)((bottom - top) * (right - left));
    for (int64_t iy = top; iy < bottom; iy++)
        for (int64_t ix = left; ix < right; ix++) {
            const int64_t at = ((n * x[1] + iy) * x[2] + ix) * x[3] + k;
            if (sum)
                *sum += c->in[0].data[at] / pixels;
            else
                grad[at] += c->grad_out[0].data[i] / pixels;
        }
}

void adaptive_avg_pool2d_ref(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        double sum = 0;
        visit(c, i, &sum, NULL);
        c->out[0].data[i] = sum;
    }
}

void adaptive_avg_pool2d_ref_backward(ref_call *c)
{
    memset(c->grad_in[0].data, 0, (size_t)c->in[0].elements * sizeof(double));
    for (int64_t i = 0; i < c->out[0].elements; i++)
        visit(c, i, NULL, c->grad_in[0].data);
}
