/* What the references share. */
#include "ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const clv_attr *find(const ref_call *call, const char *name, clv_attr_type type)
{
    for (uint32_t i = 0; i < call->attr_count; i++) {
        if (strcmp(call->attrs[i].name, name) != 0)
            continue;
        if (call->attrs[i].type != (uint32_t)type) {
            fprintf(stderr, "ref: attribute %s is given with another type\n", name);
            abort();
        }
        return &call->attrs[i];
    }
    return NULL;
}

int64_t ref_int(const ref_call *call, const char *name, int64_t fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_INT);
    return a != NULL ? a->i : fallback;
}

double ref_real(const ref_call *call, const char *name, double fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_REAL);
    return a != NULL ? a->real : fallback;
}

const char *ref_text(const ref_call *call, const char *name, const char *fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_TEXT);
    return a != NULL ? a->text : fallback;
}

static void unknown(const char *name)
{
    fprintf(stderr, "ref: no activation %s\n", name);
    abort();
}

double ref_act(double x, const char *name)
{
    if (strcmp(name, "relu") == 0)
        return x > 0 ? x : 0;
    if (strcmp(name, "silu") == 0)
        return x / (1 + exp(-x));
    if (strcmp(name, "none") != 0)
        unknown(name);
    return x;
}

double ref_act_slope(double x, const char *name)
{
    if (strcmp(name, "relu") == 0)
        return x > 0 ? 1 : 0;
    if (strcmp(name, "silu") == 0) {
        const double s = 1 / (1 + exp(-x));
        return s * (1 + x * (1 - s));
    }
    if (strcmp(name, "none") != 0)
        unknown(name);
    return 1;
}

void ref_convolve(ref_call *c)
{
    const int64_t *x = c->in[0].dims, *w = c->in[1].dims, *y = c->out[0].dims;
    const int64_t stride_h = ref_int(c, "stride_h", 1), stride_w = ref_int(c, "stride_w", 1);
    const int64_t top = ref_int(c, "pad_top", 0), left = ref_int(c, "pad_left", 0);
    for (int64_t i = 0; i < c->out[0].elements; i++) {
        const int64_t f = i % y[3], ox = i / y[3] % y[2], oy = i / y[3] / y[2] % y[1];
        const int64_t n = i / y[3] / y[2] / y[1];
        double sum = 0;
        for (int64_t ky = 0; ky < w[0]; ky++)
            for (int64_t kx = 0; kx < w[1]; kx++) {
                const int64_t iy = oy * stride_h - top + ky, ix = ox * stride_w - left + kx;
                if (iy < 0 || iy >= x[1] || ix < 0 || ix >= x[2])
                    continue;
                const double *pixel = c->in[0].data + ((n * x[1] + iy) * x[2] + ix) * x[3];
                const double *weight = c->in[1].data + (ky * w[1] + kx) * w[2] * w[3] + f;
                for (int64_t k = 0; k < x[3]; k++)
                    sum += pixel[k] * weight[k * w[3]];
            }
        c->out[0].data[i] = sum;
    }
}

void ref_normalise(ref_call *c, int first)
{
    const char *activation = ref_text(c, "activation", "none");
    const double eps = ref_real(c, "eps", 1e-5), momentum = ref_real(c, "momentum", 0.1);
    const int64_t channels = c->in[first].elements, m = c->out[0].elements / channels;
    double *y = c->out[0].data;
    for (int64_t k = 0; k < channels; k++) {
        double mean = c->in[first + 2].data[k], variance = c->in[first + 3].data[k];
        if (c->train) {
            mean = variance = 0;
            for (int64_t i = 0; i < m; i++)
                mean += y[i * channels + k] / (double)m;
            for (int64_t i = 0; i < m; i++)
                variance += pow(y[i * channels + k] - mean, 2) / (double)m;
        }
        if (c->train && m > 1) {
            const double unbiased = variance * (double)m / (double)(m - 1);
            double *running_mean = &c->state[first + 2].data[k];
            double *running_variance = &c->state[first + 3].data[k];
            *running_mean += momentum * (mean - *running_mean);
            *running_variance += momentum * (unbiased - *running_variance);
        }
        for (int64_t i = 0; i < m; i++) {
            const double normal = (y[i * channels + k] - mean) / sqrt(variance + eps);
            y[i * channels + k] =
                ref_act(normal * c->in[first].data[k] + c->in[first + 1].data[k], activation);
        }
    }
}
