/* below_mean: ±by on the numbers below and above the mean of their row; no gradient. */
#include "ref.h"

void below_mean_ref(ref_call *c)
{
    const int64_t columns = c->in[0].dims[c->in[0].rank - 1];
    const double by = ref_real(c, "by", 1);
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const double *row = c->in[0].data + i / columns * columns, x = c->in[0].data[i];
        double sum = 0;
        for (int64_t j = 0; j < columns; j++)
            sum += row[j];
        c->out[0].data[i] = (double)columns * x < sum ? by : (double)columns * x > sum ? -by : 0;
    }
}

void below_mean_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->out[0].elements; i++)
        c->grad_in[0].data[i] = 0;
}
