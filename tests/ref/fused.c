#include "fused.h"

#include <stdlib.h>

void batch_norm_ref(ref_call *c);

void ref_convolved_norm(ref_call *c, void (*convolve)(ref_call *call))
{
    /* The convolution, with all attributes but the activation. */
    clv_attr attrs[16];
    ref_call conv = *c;
    conv.attrs = attrs, conv.attr_count = 0, conv.input_count = 2;
    conv.in[2] = (ref_tensor){0};
    for (uint32_t i = 0; i < c->attr_count && i < 16; i++)
        if (c->attrs[i].type != CLV_ATTR_TEXT)
            attrs[conv.attr_count++] = c->attrs[i];
    conv.out[0].data = malloc((size_t)c->out[0].elements * sizeof(double));
    if (!conv.out[0].data)
        abort();
    convolve(&conv);

    ref_call norm = *c;
    norm.input_count = 5;
    norm.in[0] = conv.out[0];
    for (int i = 1; i < 5; i++) {
        norm.in[i] = c->in[i + 1];
        norm.state[i] = c->state[i + 1];
    }
    batch_norm_ref(&norm);
    free(conv.out[0].data);
}
