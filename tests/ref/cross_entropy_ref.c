/* cross_entropy: loss_n = -Σ_c q_c log p_c, p = softmax(logits_n), q = (1 - s)·e_label + s/C. */
#include "ref.h"

#include <math.h>

/* log Σ_c exp(x_c). */
static double log_sum_exp(const double *x, int64_t count)
{
    double top = x[0], sum = 0;
    for (int64_t k = 1; k < count; k++)
        top = fmax(top, x[k]);
    for (int64_t k = 0; k < count; k++)
        sum += exp(x[k] - top);
    return top + log(sum);
}

static double target(const ref_call *c, int64_t sample, int64_t k, int64_t classes)
{
    const double s = ref_real(c, "label_smoothing", 0);
    return s / (double)classes + (k == (int64_t)c->in[1].data[sample] ? 1 - s : 0);
}

void cross_entropy_ref(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], classes = c->in[0].dims[1];
    for (int64_t i = 0; i < n; i++) {
        const double *x = c->in[0].data + i * classes;
        const double lse = log_sum_exp(x, classes);
        double loss = 0;
        for (int64_t k = 0; k < classes; k++)
            loss -= target(c, i, k, classes) * (x[k] - lse);
        c->out[0].data[i] = loss;
    }
}

void cross_entropy_ref_backward(ref_call *c)
{
    const int64_t n = c->in[0].dims[0], classes = c->in[0].dims[1];
    for (int64_t i = 0; i < n; i++) {
        const double *x = c->in[0].data + i * classes;
        const double lse = log_sum_exp(x, classes);
        for (int64_t k = 0; k < classes; k++)
            c->grad_in[0].data[i * classes + k] =
                c->grad_out[0].data[i] * (exp(x[k] - lse) - target(c, i, k, classes));
    }
}
