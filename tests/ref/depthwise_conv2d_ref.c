/* depthwise_conv2d: every output is a sum over the filter's window in its own channel, zero outside
 * the picture, + bias, then the activation. x [n, h, w, c], weights [kh, kw, c], bias [c]
 * (optional), y [n, oh, ow, c]. */
#include "ref.h"

#include <string.h>

/* What is under the window of output element i. */
typedef struct window {
    int64_t top, left; /* of tap (0, 0) in the picture, inside or not */
    int64_t first;     /* element of x that is pixel (0, 0) of this picture and channel */
    int64_t h, w, c, k;
} window;

static window window_of(const ref_call *c, int64_t i)
{
    const int64_t *x = c->in[0].dims, *y = c->out[0].dims;
    const int64_t row = i / (y[3] * y[2]), k = i % y[3];
    return (window){
        .top = row % y[1] * ref_int(c, "stride_h", 1) - ref_int(c, "pad_top", 0),
        .left = i / y[3] % y[2] * ref_int(c, "stride_w", 1) - ref_int(c, "pad_left", 0),
        .first = row / y[1] * x[1] * x[2] * x[3] + k,
        .h = x[1],
        .w = x[2],
        .c = x[3],
        .k = k,
    };
}

/* Element of x under tap (a, b), or -1 outside the picture. */
static int64_t under(const window *v, int64_t a, int64_t b)
{
    const int64_t iy = v->top + a, ix = v->left + b;
    if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w)
        return -1;
    return v->first + (iy * v->w + ix) * v->c;
}

/* Sum of an output element before the activation. */
static double sum_of(const ref_call *c, const window *v)
{
    const ref_tensor *f = &c->in[1];
    double sum = c->in[2].data ? c->in[2].data[v->k] : 0;
    for (int64_t a = 0; a < f->dims[0]; a++)
        for (int64_t b = 0; b < f->dims[1]; b++) {
            const int64_t at = under(v, a, b);
            if (at >= 0)
                sum += c->in[0].data[at] * f->data[(a * f->dims[1] + b) * f->dims[2] + v->k];
        }
    return sum;
}

void depthwise_conv2d_ref(ref_call *c)
{
    const char *activation = ref_text(c, "activation", "none");
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const window v = window_of(c, i);
        c->out[0].data[i] = ref_act(sum_of(c, &v), activation);
    }
}

void depthwise_conv2d_ref_backward(ref_call *c)
{
    const ref_tensor *f = &c->in[1];
    const char *activation = ref_text(c, "activation", "none");
    for (int k = 0; k < 3; k++)
        if (c->grad_in[k].data)
            memset(c->grad_in[k].data, 0, (size_t)c->in[k].elements * sizeof(double));
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const window v = window_of(c, i);
        const double g = c->grad_out[0].data[i] * ref_act_slope(sum_of(c, &v), activation);
        if (c->grad_in[2].data)
            c->grad_in[2].data[v.k] += g;
        for (int64_t a = 0; a < f->dims[0]; a++)
            for (int64_t b = 0; b < f->dims[1]; b++) {
                const int64_t at = under(&v, a, b), tap = (a * f->dims[1] + b) * f->dims[2] + v.k;
                if (at < 0)
                    continue;
                c->grad_in[0].data[at] += g * f->data[tap];
                c->grad_in[1].data[tap] += g * c->in[0].data[at];
            }
    }
}
