/* drop_path: a sample is kept (and divided by 1 - rate) when word 0 of the Philox block with
 * counter (epoch, sample id, node, 0) is at least rate·2^32. */
#include "base/philox.h"
#include "ref.h"

static void apply(const ref_call *c, const double *from, double *to)
{
    const double rate = ref_real(c, "rate", 0.2);
    const clvi_philox_key key = {{c->key[0], c->key[1]}};
    const int64_t each = c->in[0].elements / c->in[0].dims[0];
    for (int64_t i = 0; i < c->in[0].elements; i++) {
        uint32_t words[4];
        clvi_philox(key, c->epoch, c->ids[i / each], c->node_index, 0, words);
        const double kept = words[0] >= (uint32_t)(rate * 4294967296.0) ? 1 / (1 - rate) : 0;
        to[i] = from[i] * (c->train ? kept : 1);
    }
}

void drop_path_ref(ref_call *c)
{
    apply(c, c->in[0].data, c->out[0].data);
}

void drop_path_ref_backward(ref_call *c)
{
    apply(c, c->grad_out[0].data, c->grad_in[0].data);
}
