/* fuse_scores: x [N, K, C] logits, g [N, K] weights → y [N, C]. s_ic = x_ic, or log softmax(x_i)_c.
 * Experts with g = 0 take no part. weighted: Σ g s, of probabilities log Σ g exp(s); product_rule:
 * Σ s; max, median, min of s (the median of an even number: the mean of the middle two, of
 * probabilities as such); vote: log(votes + mean probability). */
#include "ref.h"

#include <math.h>
#include <string.h>

enum { MOST = 64 };

typedef struct row {
    const double *x, *g;
    int64_t experts, classes;
    bool probabilities;
} row;

static row row_of(const ref_call *c, int64_t sample)
{
    const int64_t experts = c->in[0].dims[1], classes = c->in[0].dims[2];
    return (row){c->in[0].data + sample * experts * classes, c->in[1].data + sample * experts,
                 experts, classes,
                 strcmp(ref_text(c, "scores", "probabilities"), "probabilities") == 0};
}

static double log_p(const row *r, int64_t i, int64_t k)
{
    const double *x = r->x + i * r->classes;
    double top = x[0], sum = 0;
    for (int64_t c = 1; c < r->classes; c++)
        top = fmax(top, x[c]);
    for (int64_t c = 0; c < r->classes; c++)
        sum += exp(x[c] - top);
    return x[k] - top - log(sum);
}

static double score(const row *r, int64_t i, int64_t k)
{
    return r->probabilities ? log_p(r, i, k) : r->x[i * r->classes + k];
}

static double weighted(const row *r, int64_t k)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < r->experts; i++)
        if (r->g[i] != 0)
            top = fmax(top, log(r->g[i]) + score(r, i, k));
    for (int64_t i = 0; i < r->experts; i++)
        if (r->g[i] != 0)
            sum += r->probabilities ? exp(log(r->g[i]) + score(r, i, k) - top)
                                    : r->g[i] * score(r, i, k);
    return r->probabilities ? top + log(sum) : sum;
}

/* The scores of the experts that take part, in rising order. */
static int sorted(const row *r, int64_t k, double *out)
{
    int count = 0;
    for (int64_t i = 0; i < r->experts; i++) {
        if (r->g[i] == 0)
            continue;
        int at = count++;
        for (; at > 0 && out[at - 1] > score(r, i, k); at--)
            out[at] = out[at - 1];
        out[at] = score(r, i, k);
    }
    return count;
}

static double median(const row *r, const double *values, int count)
{
    const double low = values[(count - 1) / 2], high = values[count / 2];
    return r->probabilities ? high + log((exp(low - high) + 1) / 2) : (low + high) / 2;
}

static double votes(const row *r, int64_t k, int count)
{
    double sum = 0;
    for (int64_t i = 0; i < r->experts; i++) {
        const double *x = r->x + i * r->classes;
        int64_t best = 0;
        for (int64_t c = 1; c < r->classes; c++)
            best = x[c] > x[best] ? c : best;
        if (r->g[i] != 0)
            sum += (best == k) + exp(log_p(r, i, k)) / count;
    }
    return log(fmax(sum, 1e-30));
}

void fuse_scores_ref(ref_call *c)
{
    const char *rule = ref_text(c, "combine", "weighted");
    for (int64_t s = 0; s < c->in[0].dims[0]; s++) {
        const row r = row_of(c, s);
        for (int64_t k = 0; k < r.classes; k++) {
            double values[MOST], total = 0, *y = &c->out[0].data[s * r.classes + k];
            const int count = sorted(&r, k, values);
            for (int i = 0; i < count; i++)
                total += values[i];
            *y = count == 0                          ? 0
                 : strcmp(rule, "weighted") == 0     ? weighted(&r, k)
                 : strcmp(rule, "product_rule") == 0 ? total
                 : strcmp(rule, "max") == 0          ? values[count - 1]
                 : strcmp(rule, "median") == 0       ? median(&r, values, count)
                 : strcmp(rule, "min") == 0          ? values[0]
                                                     : votes(&r, k, count);
        }
    }
}

/* ∂y_k/∂s_ik of a rule. */
static double slope(const row *r, const char *rule, double y, int64_t i, int64_t k)
{
    const double s = score(r, i, k);
    if (strcmp(rule, "weighted") == 0)
        return r->probabilities ? r->g[i] * exp(s - y) : r->g[i];
    if (strcmp(rule, "product_rule") == 0)
        return 1;
    if (strcmp(rule, "max") == 0 || strcmp(rule, "min") == 0)
        return s == y ? 1 : 0;
    return 0;
}

void fuse_scores_ref_backward(ref_call *c)
{
    const char *rule = ref_text(c, "combine", "weighted");
    for (int64_t n = 0; n < c->in[0].dims[0]; n++) {
        const row r = row_of(c, n);
        const double *y = c->out[0].data + n * r.classes, *gy = c->grad_out[0].data + n * r.classes;
        for (int64_t i = 0; i < r.experts; i++) {
            double total = 0, to_weight = 0;
            for (int64_t k = 0; k < r.classes; k++) {
                total += gy[k] * slope(&r, rule, y[k], i, k);
                to_weight +=
                    gy[k] * (r.probabilities ? exp(score(&r, i, k) - y[k]) : score(&r, i, k));
            }
            const bool taught = r.g[i] != 0 && strcmp(rule, "weighted") == 0;
            if (c->grad_in[1].data != NULL)
                c->grad_in[1].data[n * r.experts + i] = taught ? to_weight : 0;
            for (int64_t k = 0; k < r.classes && c->grad_in[0].data != NULL; k++) {
                const double own = gy[k] * slope(&r, rule, y[k], i, k);
                const double through = r.probabilities ? exp(log_p(&r, i, k)) * total : 0;
                c->grad_in[0].data[(n * r.experts + i) * r.classes + k] =
                    r.g[i] != 0 ? own - through : 0;
            }
        }
    }
}
