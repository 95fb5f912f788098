/* column_topk: each column keeps its ⌈k·n/K⌉ largest rows (ties: the lowest row), zero elsewhere.
 */
#include "ref.h"

#include <math.h>

static bool chosen(const ref_call *c, int64_t row, int64_t column)
{
    const int64_t n = c->in[0].dims[0], columns = c->in[0].dims[1];
    const double *x = c->in[0].data, here = x[row * columns + column];
    const double most = ceil(ref_real(c, "k", 1) * (double)n / (double)columns - 1e-9);
    double before = 0;
    for (int64_t i = 0; i < n; i++)
        before += x[i * columns + column] > here || (x[i * columns + column] == here && i < row);
    return before < most;
}

static void apply(const ref_call *c, const double *from, double *to)
{
    const int64_t columns = c->in[0].dims[1];
    for (int64_t i = 0; i < c->in[0].elements; i++)
        to[i] = chosen(c, i / columns, i % columns) ? from[i] : 0;
}

void column_topk_ref(ref_call *c)
{
    apply(c, c->in[0].data, c->out[0].data);
}

void column_topk_ref_backward(ref_call *c)
{
    apply(c, c->grad_out[0].data, c->grad_in[0].data);
}
