/* dropout: element e of a sample is kept (and divided by 1 - rate) when word e % 4 of the Philox
 * block with counter (epoch, sample id, node, e / 4) is at least rate·2^32. */
#include "base/philox.h"
#include "ref.h"

static double factor(const ref_call *c, int64_t sample, int64_t element)
{
    const double rate = ref_real(c, "rate", 0.5);
    const clvi_philox_key key = {{c->key[0], c->key[1]}};
    uint32_t words[4];
    if (!c->train)
        return 1;
    clvi_philox(key, c->epoch, c->ids[sample], c->node_index, (uint32_t)(element / 4), words);
    return words[element % 4] >= (uint32_t)(rate * 4294967296.0) ? 1 / (1 - rate) : 0;
}

static void apply(const ref_call *c, const double *from, double *to)
{
    const int64_t n = c->in[0].dims[0], each = c->in[0].elements / n;
    for (int64_t i = 0; i < c->in[0].elements; i++)
        to[i] = from[i] * factor(c, i / each, i % each);
}

void dropout_ref(ref_call *c)
{
    apply(c, c->in[0].data, c->out[0].data);
}

void dropout_ref_backward(ref_call *c)
{
    apply(c, c->grad_out[0].data, c->grad_in[0].data);
}
