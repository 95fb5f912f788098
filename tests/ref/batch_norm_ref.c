/* batch_norm: per channel of the last axis, (x - mean)/√(var + eps)·weight + bias, then the
 * activation. Training takes mean and variance of the batch's m values (divided by m) and moves the
 * running ones by `momentum` towards them, the variance divided by m - 1 as PyTorch does; m = 1
 * leaves them alone. Inference takes the running ones. */
#include "ref.h"

#include <math.h>

void batch_norm_ref(ref_call *c);

/* Mean and sum of squared deviations of channel k. */
static void statistics(const ref_tensor *x, int64_t channels, int64_t k, double *mean,
                       double *squares)
{
    const double m = (double)(x->elements / channels);
    *mean = *squares = 0;
    for (int64_t i = k; i < x->elements; i += channels)
        *mean += x->data[i] / m;
    for (int64_t i = k; i < x->elements; i += channels)
        *squares += (x->data[i] - *mean) * (x->data[i] - *mean);
}

void batch_norm_ref(ref_call *c)
{
    const char *activation = ref_text(c, "activation", "none");
    const double eps = ref_real(c, "eps", 1e-5), momentum = ref_real(c, "momentum", 0.1);
    const ref_tensor *x = &c->in[0];
    const int64_t channels = x->dims[x->rank - 1], m = x->elements / channels;
    for (int64_t k = 0; k < channels; k++) {
        double mean = c->in[3].data[k], var = c->in[4].data[k];
        if (c->train) {
            double squares;
            statistics(x, channels, k, &mean, &squares);
            var = squares / (double)m;
            if (m > 1) {
                c->state[3].data[k] += momentum * (mean - c->in[3].data[k]);
                c->state[4].data[k] += momentum * (squares / (double)(m - 1) - c->in[4].data[k]);
            }
        }
        for (int64_t i = k; i < x->elements; i += channels) {
            const double normal = (x->data[i] - mean) / sqrt(var + eps);
            c->out[0].data[i] = ref_act(normal * c->in[1].data[k] + c->in[2].data[k], activation);
        }
    }
}
