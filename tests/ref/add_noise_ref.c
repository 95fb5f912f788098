/* add_noise: y = z + ε(softplus(s) + floor) in training, z in inference. Elements 4b … 4b + 3 of a
 * sample take their ε from the Philox block with counter (epoch, sample id, node, b): words w0, w1
 * as numbers u0, u1 in (0, 1) give √(-2 log u0)·cos 2πu1 and …·sin 2πu1, words w2, w3 the other
 * two. */
#include "base/philox.h"
#include "ref.h"

#include <math.h>

static double noise(const ref_call *c, int64_t i)
{
    const clvi_philox_key key = {{c->key[0], c->key[1]}};
    const int64_t each = c->in[0].elements / c->in[0].dims[0], e = i % each;
    uint32_t words[4];
    clvi_philox(key, c->epoch, c->ids[i / each], c->node_index, (uint32_t)(e / 4), words);
    const uint32_t *pair = words + (e % 4 < 2 ? 0 : 2);
    const double radius = sqrt(-2 * log((double)clvi_philox_unit(pair[0])));
    const double angle = 6.283185307179586476925 * (double)clvi_philox_unit(pair[1]);
    return radius * (e % 2 == 0 ? cos(angle) : sin(angle));
}

void add_noise_ref(ref_call *c)
{
    const double floor = ref_real(c, "floor", 1e-2);
    for (int64_t i = 0; i < c->in[0].elements; i++) {
        const double s = c->in[1].data[i];
        const double sigma = (s > 0 ? s : 0) + log1p(exp(-fabs(s))) + floor;
        c->out[0].data[i] = c->in[0].data[i] + (c->train ? noise(c, i) * sigma : 0);
    }
}

void add_noise_ref_backward(ref_call *c)
{
    for (int64_t i = 0; i < c->in[0].elements; i++) {
        c->grad_in[0].data[i] = c->grad_out[0].data[i];
        c->grad_in[1].data[i] = c->grad_out[0].data[i] * noise(c, i) / (1 + exp(-c->in[1].data[i]));
    }
}
