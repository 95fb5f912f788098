/* balance_loss: one number for a batch x [N, K]; the gradients by the closed forms of
 * core/mixture/README.md. */
#include "ref.h"

#include <math.h>
#include <string.h>

enum { MOST = 128 };

typedef struct batch {
    const char *term;
    const double *x, *route;
    int64_t n, k;
} batch;

static batch batch_of(const ref_call *c)
{
    return (batch){.term = ref_text(c, "term", ""),
                   .x = c->in[0].data,
                   .route = c->input_count > 1 ? c->in[1].data : NULL,
                   .n = c->in[0].dims[0],
                   .k = c->in[0].dims[1]};
}

static bool is(const batch *b, const char *term)
{
    return strcmp(b->term, term) == 0;
}

static double lse(const batch *b, int64_t r)
{
    const double *z = b->x + r * b->k;
    double top = z[0], sum = 0;
    for (int64_t i = 1; i < b->k; i++)
        top = fmax(top, z[i]);
    for (int64_t i = 0; i < b->k; i++)
        sum += exp(z[i] - top);
    return top + log(sum);
}

static double log_q(const batch *b, int64_t r, int64_t i)
{
    return b->x[r * b->k + i] - lse(b, r);
}

/* log of the mean q of an expert. */
static double log_mean(const batch *b, int64_t i)
{
    double top = -INFINITY, sum = 0;
    for (int64_t r = 0; r < b->n; r++)
        top = fmax(top, log_q(b, r, i));
    for (int64_t r = 0; r < b->n; r++)
        sum += exp(log_q(b, r, i) - top);
    return top + log(sum / (double)b->n);
}

static double share(const batch *b, int64_t i)
{
    double count = 0;
    for (int64_t r = 0; r < b->n; r++) {
        int64_t best = 0;
        for (int64_t j = 1; j < b->k; j++)
            best = b->route[r * b->k + j] > b->route[r * b->k + best] ? j : best;
        count += best == i && b->route[r * b->k + best] > 0; /* of all 0 nobody was chosen */
    }
    return count / (double)b->n;
}

/* The columns' sums, their mean and variance. */
static void sums(const batch *b, double *columns, double *mean, double *variance)
{
    *mean = *variance = 0;
    for (int64_t i = 0; i < b->k; i++) {
        columns[i] = 0;
        for (int64_t r = 0; r < b->n; r++)
            columns[i] += b->x[r * b->k + i];
        *mean += columns[i] / (double)b->k;
    }
    for (int64_t i = 0; i < b->k; i++)
        *variance += pow(columns[i] - *mean, 2) / (double)b->k;
}

void balance_loss_ref(ref_call *c)
{
    const batch b = batch_of(c);
    double sum = 0, columns[MOST], mean, variance;
    const double k = (double)b.k;
    if (is(&b, "variation")) {
        sums(&b, columns, &mean, &variance);
        sum = variance / (mean * mean + 1e-10);
    }
    for (int64_t r = 0; is(&b, "z_loss") && r < b.n; r++)
        sum += pow(lse(&b, r), 2) / (double)b.n;
    for (int64_t i = 0; i < b.k; i++) {
        if (is(&b, "switch"))
            sum += k * share(&b, i) * exp(log_mean(&b, i));
        if (is(&b, "entropy"))
            sum += exp(log_mean(&b, i)) * log_mean(&b, i);
        if (is(&b, "kl_uniform"))
            sum += (-log(k) - log_mean(&b, i)) / k;
    }
    c->out[0].data[0] = sum;
}

void balance_loss_ref_backward(ref_call *c)
{
    const batch b = batch_of(c);
    const double up = c->grad_out[0].data[0], k = (double)b.k, n = (double)b.n;
    double columns[MOST], v[MOST], means[MOST], mean, variance;
    sums(&b, columns, &mean, &variance);
    for (int64_t i = 0; i < b.k; i++) {
        const double square = mean * mean + 1e-10;
        means[i] = is(&b, "variation") || is(&b, "z_loss") ? 0 : log_mean(&b, i);
        v[i] = is(&b, "variation") ? 2 * (columns[i] - mean) / (k * square) -
                                         2 * mean * variance / (k * square * square)
               : is(&b, "switch")  ? k * share(&b, i)
               : is(&b, "entropy") ? means[i] + 1
                                   : 0;
    }
    for (int64_t r = 0; r < b.n; r++) {
        double total = 0;
        /* q v; of kl_uniform v is -1/(K q̄), which may overflow where q v does not. */
        for (int64_t j = 0; j < b.k; j++)
            total += is(&b, "kl_uniform") ? -exp(log_q(&b, r, j) - means[j]) / k
                                          : exp(log_q(&b, r, j)) * v[j];
        for (int64_t i = 0; i < b.k && c->grad_in[0].data != NULL; i++) {
            const double q = exp(log_q(&b, r, i));
            const double own =
                is(&b, "kl_uniform") ? -exp(log_q(&b, r, i) - means[i]) / k : q * v[i];
            c->grad_in[0].data[r * b.k + i] = up * (is(&b, "variation") ? v[i]
                                                    : is(&b, "z_loss")  ? 2 * lse(&b, r) * q / n
                                                                        : (own - q * total) / n);
        }
    }
    for (int64_t i = 0; c->grad_in[1].data != NULL && i < c->in[1].elements; i++)
        c->grad_in[1].data[i] = 0;
}
