/* concat: inputs side by side along the last axis. */
#include "ref.h"

/* Calls copy(y's element, input k's element) for all. */
static void each_element(ref_call *c, void (*copy)(ref_call *c, int64_t y, int k, int64_t x))
{
    const int64_t whole = c->out[0].dims[c->out[0].rank - 1];
    int64_t first = 0;
    for (int k = 0; k < c->input_count; k++) {
        const int64_t columns = c->in[k].dims[c->in[k].rank - 1];
        for (int64_t i = 0; i < c->in[k].elements; i++)
            copy(c, i / columns * whole + first + i % columns, k, i);
        first += columns;
    }
}

static void forward(ref_call *c, int64_t y, int k, int64_t x)
{
    c->out[0].data[y] = c->in[k].data[x];
}

static void backward(ref_call *c, int64_t y, int k, int64_t x)
{
    c->grad_in[k].data[x] = c->grad_out[0].data[y];
}

void concat_ref(ref_call *c)
{
    each_element(c, forward);
}

void concat_ref_backward(ref_call *c)
{
    each_element(c, backward);
}
