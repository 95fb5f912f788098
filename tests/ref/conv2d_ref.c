/* conv2d: every output is a sum over the filter's window, zero outside the picture, + bias, then
 * the activation. x [n, h, w, c], weights [kh, kw, c / groups, f], bias [f] (optional), y [n, oh,
 * ow, f]. Of g groups, filter k sees the channels of group k / (f / g). */
#include "ref.h"

void conv2d_ref(ref_call *c);

/* The sum over the window of output pixel (n, oy, ox) for filter f, without bias. */
static double window_sum(const ref_call *c, int64_t n, int64_t oy, int64_t ox, int64_t f)
{
    const ref_tensor *x = &c->in[0], *w = &c->in[1];
    const int64_t top = oy * ref_int(c, "stride_h", 1) - ref_int(c, "pad_top", 0);
    const int64_t left = ox * ref_int(c, "stride_w", 1) - ref_int(c, "pad_left", 0);
    const int64_t first = f / (w->dims[3] / ref_int(c, "groups", 1)) * w->dims[2];
    double sum = 0;
    for (int64_t a = 0; a < w->dims[0]; a++)
        for (int64_t b = 0; b < w->dims[1]; b++) {
            const int64_t iy = top + a, ix = left + b;
            if (iy < 0 || iy >= x->dims[1] || ix < 0 || ix >= x->dims[2])
                continue;
            for (int64_t k = 0; k < w->dims[2]; k++)
                sum += x->data[((n * x->dims[1] + iy) * x->dims[2] + ix) * x->dims[3] + first + k] *
                       w->data[((a * w->dims[1] + b) * w->dims[2] + k) * w->dims[3] + f];
        }
    return sum;
}

void conv2d_ref(ref_call *c)
{
    const char *activation = ref_text(c, "activation", "none");
    const int64_t *y = c->out[0].dims;
    int64_t i = 0;
    for (int64_t n = 0; n < y[0]; n++)
        for (int64_t oy = 0; oy < y[1]; oy++)
            for (int64_t ox = 0; ox < y[2]; ox++)
                for (int64_t f = 0; f < y[3]; f++, i++) {
                    const double bias = c->in[2].data ? c->in[2].data[f] : 0;
                    c->out[0].data[i] = ref_act(window_sum(c, n, oy, ox, f) + bias, activation);
                }
}
