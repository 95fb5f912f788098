/* topk_mask: softmax of a row, kept on its k largest (ties: the lowest index), zero elsewhere;
 * normalised over the chosen ("after") or over the whole row ("before"). With a bias, chosen are
 * the k largest of softmax(z) + bias. The weight of one that is chosen is a float above 0. */
#include "ref.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST_COLUMNS = 256 };

/* One row, and what its elements are chosen by. */
typedef struct row {
    const double *z;
    int64_t columns, k;
    double keys[MOST_COLUMNS]; /* z itself or, with a bias, softmax(z) + bias */
} row;

static row row_of(const ref_call *c, int64_t index)
{
    const double *bias = c->input_count > 1 ? c->in[1].data : NULL;
    const int64_t columns = c->in[0].dims[1];
    row r = {.z = c->in[0].data + index * columns, .columns = columns, .k = ref_int(c, "k", 1)};
    for (int64_t j = 0; j < columns; j++) {
        double sum = 0;
        for (int64_t i = 0; i < columns; i++)
            sum += exp(r.z[i] - r.z[j]);
        r.keys[j] = bias ? 1 / sum + bias[j] : r.z[j];
    }
    return r;
}

/* Whether j is among the k largest of a row: fewer than k come before it. */
static bool chosen(const row *r, int64_t j)
{
    int64_t before = 0;
    for (int64_t i = 0; i < r->columns; i++)
        before += r->keys[i] > r->keys[j] || (r->keys[i] == r->keys[j] && i < j);
    return before < r->k;
}

/* Σ exp(z - shift) over the chosen, or over all. */
static double denominator(const row *r, double shift, bool all)
{
    double sum = 0;
    for (int64_t i = 0; i < r->columns; i++)
        if (all || chosen(r, i))
            sum += exp(r->z[i] - shift);
    return sum;
}

static double largest(const row *r)
{
    double top = r->z[0];
    for (int64_t i = 1; i < r->columns; i++)
        top = r->z[i] > top ? r->z[i] : top;
    return top;
}

/* y of element j. */
static double weight(const row *r, int64_t j, double top, double sum)
{
    return chosen(r, j) ? fmax(exp(r->z[j] - top) / sum, (double)FLT_MIN) : 0;
}

static bool normalised_before(const ref_call *c)
{
    return strcmp(ref_text(c, "normalise", "after"), "before") == 0;
}

void topk_mask_ref(ref_call *c)
{
    for (int64_t n = 0; n < c->in[0].dims[0]; n++) {
        const row r = row_of(c, n);
        const double top = largest(&r), sum = denominator(&r, top, normalised_before(c));
        for (int64_t j = 0; j < r.columns; j++)
            c->out[0].data[n * r.columns + j] = weight(&r, j, top, sum);
    }
}

void topk_mask_ref_backward(ref_call *c)
{
    for (int64_t n = 0; n < c->in[0].dims[0]; n++) {
        const row r = row_of(c, n);
        const double *g = c->grad_out[0].data + n * r.columns;
        const double top = largest(&r), sum = denominator(&r, top, normalised_before(c));
        double mean = 0;
        for (int64_t j = 0; j < r.columns; j++)
            mean += g[j] * weight(&r, j, top, sum);
        for (int64_t j = 0; j < r.columns; j++) {
            const bool counts = chosen(&r, j) || normalised_before(c);
            const double q = counts ? exp(r.z[j] - top) / sum : 0;
            c->grad_in[0].data[n * r.columns + j] = weight(&r, j, top, sum) * g[j] - q * mean;
        }
    }
}
