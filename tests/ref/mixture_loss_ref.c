/* mixture_loss: the losses after Jacobs et al. (1991) for x [N, K, C] logits, g [N, K] weights and
 * labels [N]; the gradients by the closed forms of core/mixture/README.md. t is the smoothed label,
 * CE_i = -Σ t log p_i, u_i = p_i or x_i, d_i = κ‖t - u_i‖². */
#include "ref.h"

#include <math.h>
#include <string.h>

enum { MOST = 64 };

typedef struct sample {
    const char *term;
    const double *x, *g;
    int64_t experts, classes, label;
    bool logits, sparse;
    double beta, smoothing, scale;
} sample;

static sample sample_of(const ref_call *c, int64_t n)
{
    const int64_t experts = c->in[0].dims[1], classes = c->in[0].dims[2];
    const bool mean = strcmp(ref_text(c, "distance", "sum"), "mean") == 0;
    return (sample){.term = ref_text(c, "term", ""),
                    .x = c->in[0].data + n * experts * classes,
                    .g = c->in[1].data + n * experts,
                    .experts = experts,
                    .classes = classes,
                    .label = (int64_t)c->in[2].data[n],
                    .logits = strcmp(ref_text(c, "target_space", "probabilities"), "logits") == 0,
                    .sparse = ref_int(c, "sparse", 0) != 0,
                    .beta = ref_real(c, "beta", 0.5),
                    .smoothing = ref_real(c, "label_smoothing", 0),
                    .scale = mean ? 1.0 / (double)classes : 1};
}

static bool is(const sample *s, const char *term)
{
    return strcmp(s->term, term) == 0;
}

static double target(const sample *s, int64_t c)
{
    return s->smoothing / (double)s->classes + (c == s->label ? 1 - s->smoothing : 0);
}

static double log_p(const sample *s, int64_t i, int64_t k)
{
    const double *x = s->x + i * s->classes;
    double top = x[0], sum = 0;
    for (int64_t c = 1; c < s->classes; c++)
        top = fmax(top, x[c]);
    for (int64_t c = 0; c < s->classes; c++)
        sum += exp(x[c] - top);
    return x[k] - top - log(sum);
}

static double p(const sample *s, int64_t i, int64_t c)
{
    return exp(log_p(s, i, c));
}

static double u(const sample *s, int64_t i, int64_t c)
{
    return s->logits ? s->x[i * s->classes + c] : p(s, i, c);
}

static double cross_entropy(const sample *s, int64_t i)
{
    double sum = 0;
    for (int64_t c = 0; c < s->classes; c++)
        sum -= target(s, c) * log_p(s, i, c);
    return sum;
}

static double distance(const sample *s, int64_t i)
{
    double sum = 0;
    for (int64_t c = 0; c < s->classes; c++)
        sum += s->scale * pow(target(s, c) - u(s, i, c), 2);
    return sum;
}

/* t - Σ g u */
static double rest(const sample *s, int64_t c)
{
    double r = target(s, c);
    for (int64_t i = 0; i < s->experts; i++)
        r -= s->g[i] != 0 ? s->g[i] * u(s, i, c) : 0;
    return r;
}

/* Log of the exponential that the expert's weight is multiplied by. */
static double evidence(const sample *s, int64_t i)
{
    return is(s, "jacobs_mse") ? -distance(s, i) / 2 : -s->beta * cross_entropy(s, i);
}

static double log_of_sum(const sample *s)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < s->experts; i++)
        if (s->g[i] != 0)
            top = fmax(top, log(s->g[i]) + evidence(s, i));
    for (int64_t i = 0; i < s->experts; i++)
        if (s->g[i] != 0)
            sum += exp(log(s->g[i]) + evidence(s, i) - top);
    return top + log(sum);
}

static double loss(const sample *s)
{
    double sum = 0, any = 0;
    for (int64_t i = 0; i < s->experts; i++) {
        const bool counts = s->g[i] != 0 || (is(s, "expert_ce") && !s->sparse);
        any += counts;
        if (!counts)
            continue;
        sum += is(s, "competitive")      ? s->g[i] * distance(s, i)
               : is(s, "competitive_ce") ? s->g[i] * cross_entropy(s, i)
               : is(s, "expert_ce")      ? cross_entropy(s, i) / (double)s->experts
                                         : 0;
    }
    if (any > 0 && (is(s, "jacobs_mse") || is(s, "jacobs_ce")))
        return -log_of_sum(s);
    for (int64_t c = 0; any > 0 && is(s, "cooperative") && c < s->classes; c++)
        sum += s->scale * pow(rest(s, c), 2);
    return sum;
}

void mixture_loss_ref(ref_call *c)
{
    for (int64_t n = 0; n < c->in[0].dims[0]; n++) {
        const sample s = sample_of(c, n);
        c->out[0].data[n] = loss(&s);
    }
}

/* ∂L/∂u_ic, or ∂L/∂x_ic of the losses by cross-entropy. */
static double slope(const sample *s, int64_t i, int64_t c, double h)
{
    const double g = s->g[i];
    if (is(s, "cooperative"))
        return -2 * s->scale * g * rest(s, c);
    if (is(s, "competitive"))
        return 2 * s->scale * g * (u(s, i, c) - target(s, c));
    if (is(s, "jacobs_mse"))
        return s->scale * h * (u(s, i, c) - target(s, c));
    const double by = is(s, "competitive_ce") ? g
                      : is(s, "jacobs_ce")    ? s->beta * h
                                              : 1.0 / (double)s->experts;
    return by * (p(s, i, c) - target(s, c));
}

static double weight_slope(const sample *s, int64_t i, double log_sum)
{
    double sum = 0;
    if (is(s, "competitive"))
        return distance(s, i);
    if (is(s, "competitive_ce"))
        return cross_entropy(s, i);
    if (is(s, "jacobs_mse") || is(s, "jacobs_ce"))
        return -exp(fmin(evidence(s, i) - log_sum, 80));
    for (int64_t c = 0; is(s, "cooperative") && c < s->classes; c++)
        sum -= 2 * s->scale * rest(s, c) * u(s, i, c);
    return sum;
}

void mixture_loss_ref_backward(ref_call *c)
{
    for (int64_t n = 0; n < c->in[0].dims[0]; n++) {
        const sample s = sample_of(c, n);
        const double up = c->grad_out[0].data[n];
        const bool posterior = is(&s, "jacobs_mse") || is(&s, "jacobs_ce");
        const double sum = posterior ? log_of_sum(&s) : 0;
        for (int64_t i = 0; i < s.experts; i++) {
            const bool counts = s.g[i] != 0 || (is(&s, "expert_ce") && !s.sparse);
            const double h = counts && posterior ? exp(log(s.g[i]) + evidence(&s, i) - sum) : 0;
            const bool softmax = !s.logits && (is(&s, "cooperative") || is(&s, "competitive") ||
                                               is(&s, "jacobs_mse"));
            double dot = 0;
            for (int64_t k = 0; softmax && k < s.classes; k++)
                dot += slope(&s, i, k, h) * p(&s, i, k);
            for (int64_t k = 0; c->grad_in[0].data != NULL && k < s.classes; k++) {
                const double d = slope(&s, i, k, h);
                c->grad_in[0].data[(n * s.experts + i) * s.classes + k] =
                    counts ? up * (softmax ? p(&s, i, k) * (d - dot) : d) : 0;
            }
            if (c->grad_in[1].data != NULL)
                c->grad_in[1].data[n * s.experts + i] =
                    s.g[i] != 0 ? up * weight_slope(&s, i, sum) : 0;
        }
    }
}
