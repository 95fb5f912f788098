/* load_prob: y_i = Φ((z_i - t_i)/σ_i), σ = softplus(s) + floor; t_i is the k-th largest of the
 * others' h: the (k + 1)-th of all where i is among the k largest, else the k-th. */
#include "ref.h"

#include <math.h>

/* The column of the k-th largest of h without i; ties: the lowest index first. */
static int64_t threshold(const double *h, int64_t columns, int64_t k, int64_t i)
{
    for (int64_t j = 0; j < columns; j++) {
        int64_t before = 0;
        for (int64_t m = 0; m < columns; m++)
            before += m != i && m != j && (h[m] > h[j] || (h[m] == h[j] && m < j));
        if (j != i && before == k - 1)
            return j;
    }
    return -1;
}

static double spread(const ref_call *c, int64_t at)
{
    const double s = c->in[1].data[at];
    return (s > 0 ? s : 0) + log1p(exp(-fabs(s))) + ref_real(c, "floor", 0.01);
}

void load_prob_ref(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], k = ref_int(c, "k", 1);
    for (int64_t at = 0; at < c->in[0].elements; at++) {
        const int64_t row = at / columns * columns;
        const double *h = c->in[2].data + row;
        const double t = h[threshold(h, columns, k, at - row)];
        c->out[0].data[at] = erfc(-(c->in[0].data[at] - t) / spread(c, at) / sqrt(2)) / 2;
    }
}

void load_prob_ref_backward(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], k = ref_int(c, "k", 1);
    for (int64_t at = 0; at < c->in[0].elements && c->grad_in[2].data != NULL; at++)
        c->grad_in[2].data[at] = 0;
    for (int64_t at = 0; at < c->in[0].elements; at++) {
        const int64_t row = at / columns * columns;
        const double *h = c->in[2].data + row, sigma = spread(c, at);
        const int64_t by = threshold(h, columns, k, at - row);
        const double u = (c->in[0].data[at] - h[by]) / sigma;
        const double slope =
            c->grad_out[0].data[at] * exp(-u * u / 2) / sqrt(2 * 3.14159265358979323846) / sigma;
        if (c->grad_in[0].data != NULL)
            c->grad_in[0].data[at] = slope;
        if (c->grad_in[1].data != NULL)
            c->grad_in[1].data[at] = -slope * u / (1 + exp(-c->in[1].data[at]));
        if (c->grad_in[2].data != NULL)
            c->grad_in[2].data[row + by] -= slope;
    }
}
