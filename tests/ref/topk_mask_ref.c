/* topk_mask: softmax of a row, kept on its k largest (ties: the lowest index), zero elsewhere;
 * normalised over the chosen ("after") or over the whole row ("before"). */
#include "ref.h"

#include <math.h>
#include <string.h>

/* Whether j is among the k largest of a row: fewer than k come before it. */
static bool chosen(const double *z, int64_t columns, int64_t k, int64_t j)
{
    int64_t before = 0;
    for (int64_t i = 0; i < columns; i++)
        before += z[i] > z[j] || (z[i] == z[j] && i < j);
    return before < k;
}

/* Σ exp(z - shift) over the chosen, or over all. */
static double denominator(const double *z, int64_t columns, int64_t k, double shift, bool all)
{
    double sum = 0;
    for (int64_t i = 0; i < columns; i++)
        if (all || chosen(z, columns, k, i))
            sum += exp(z[i] - shift);
    return sum;
}

static double largest(const double *z, int64_t columns)
{
    double top = z[0];
    for (int64_t i = 1; i < columns; i++)
        top = z[i] > top ? z[i] : top;
    return top;
}

static bool normalised_before(const ref_call *c)
{
    return strcmp(ref_text(c, "normalise", "after"), "before") == 0;
}

void topk_mask_ref(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], k = ref_int(c, "k", 1);
    for (int64_t r = 0; r < c->in[0].dims[0]; r++) {
        const double *z = c->in[0].data + r * columns, top = largest(z, columns);
        const double sum = denominator(z, columns, k, top, normalised_before(c));
        for (int64_t j = 0; j < columns; j++)
            c->out[0].data[r * columns + j] = chosen(z, columns, k, j) ? exp(z[j] - top) / sum : 0;
    }
}

void topk_mask_ref_backward(ref_call *c)
{
    const int64_t columns = c->in[0].dims[1], k = ref_int(c, "k", 1);
    for (int64_t r = 0; r < c->in[0].dims[0]; r++) {
        const double *z = c->in[0].data + r * columns, top = largest(z, columns);
        const double *g = c->grad_out[0].data + r * columns;
        const double sum = denominator(z, columns, k, top, normalised_before(c));
        double mean = 0;
        for (int64_t j = 0; j < columns; j++)
            mean += chosen(z, columns, k, j) ? g[j] * exp(z[j] - top) / sum : 0;
        for (int64_t j = 0; j < columns; j++) {
            const bool in = chosen(z, columns, k, j);
            const double q = in || normalised_before(c) ? exp(z[j] - top) / sum : 0;
            c->grad_in[0].data[r * columns + j] = q * ((in ? g[j] : 0) - mean);
        }
    }
}
