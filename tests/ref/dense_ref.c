/* dense: y[n, u] = act(Σ x[n, i]·weights[i, u] + bias[u]), bias optional. */
#include "ref.h"

void dense_ref(ref_call *c);

void dense_ref(ref_call *c)
{
    const char *activation = ref_text(c, "activation", "none");
    const int64_t n = c->out[0].dims[0], units = c->out[0].dims[1], in = c->in[0].dims[1];
    for (int64_t s = 0; s < n; s++)
        for (int64_t u = 0; u < units; u++) {
            double sum = c->in[2].data ? c->in[2].data[u] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += c->in[0].data[s * in + i] * c->in[1].data[i * units + u];
            c->out[0].data[s * units + u] = ref_act(sum, activation);
        }
}
