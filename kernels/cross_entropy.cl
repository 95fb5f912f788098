/* cross_entropy: loss of each row of logits against a label, by log-sum-exp, with label smoothing
 * s: the target is q = (1 - s)·e_label + s/C, the loss -Σ_c q_c log p_c, p = softmax(x). A label
 * outside 0 … C - 1 gives NaN (loss and gradient), and reads nothing outside. NDRange: groups of
 * CLV_ITEMS work-items, each a share of the rows; local memory for sums (group.clh). Outputs are
 * overwritten. */
#include "group.clh"

/* loss_n = log Σ_c exp(x_c - m) - (1 - s)(x_label - m) - s/C·Σ_c (x_c - m), m = max_c x_c.
 * saved [n, 2]: m and log Σ exp(x - m). They are not added up: with logits of thousands their sum
 * would lose the digits that the gradient needs. loss [n], x [n, columns], labels [n]. */
CLV_GROUP __kernel void cross_entropy_fwd(__global float *restrict loss, ulong loss_at,
                                          __global float *restrict saved, ulong saved_at,
                                          __global const float *restrict x, ulong x_at,
                                          __global const int *restrict labels, ulong labels_at,
                                          int rows, int columns, float smoothing, int share)
{
    loss += loss_at;
    saved += saved_at;
    x += x_at;
    labels += labels_at;
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(columns);
    for (int r0 = CLV_BEGIN(share), end = CLV_END(rows, share); r0 < end; r0 += s.lanes) {
        /* A lane beyond the last row goes along with an empty one. */
        const int r = r0 + s.lane, width = r < end ? columns : 0;
        __global const float *in = x + (size_t)r * columns;
        floatV top = (floatV)(-FLT_MAX), sum = (floatV)(0), total = (floatV)(0);
        CLV_COLUMNS(c, s, width)
        top = fmax(top, clv_load(in + c, columns - c, -FLT_MAX));
        const float m = clv_across_max(top, s, scratch);
        CLV_COLUMNS(c, s, width)
        {
            sum += exp(clv_load(in + c, columns - c, -FLT_MAX) - m);
            if (smoothing > 0)
                total += clv_load(in + c, columns - c, m) - m;
        }
        const float log_sum = log(clv_across_sum(sum, s, scratch));
        const float off = clv_across_sum(total, s, scratch);
        if (r < end && s.column == 0) {
            const int label = labels[r];
            float value = NAN;
            if (label >= 0 && label < columns)
                value = log_sum - (1 - smoothing) * (in[label] - m);
            if (smoothing > 0)
                value -= smoothing / (float)columns * off;
            loss[r] = value;
            saved[2 * r] = m;
            saved[2 * r + 1] = log_sum;
        }
    }
}

/* gx_c = g_n (p_c - q_c), p_c = exp(x_c - m - log Σ exp(x - m)). gx, x [n, columns], g, labels [n],
 * saved as cross_entropy_fwd left it. */
CLV_GROUP __kernel void cross_entropy_bwd(__global float *restrict gx, ulong gx_at,
                                          __global const float *restrict g, ulong g_at,
                                          __global const float *restrict saved, ulong saved_at,
                                          __global const float *restrict x, ulong x_at,
                                          __global const int *restrict labels, ulong labels_at,
                                          int rows, int columns, float smoothing, int share)
{
    gx += gx_at;
    g += g_at;
    saved += saved_at;
    x += x_at;
    labels += labels_at;
    const clv_span s = clv_span_for(columns);
    CLV_ROWS(r, s, CLV_BEGIN(share), CLV_END(rows, share))
    {
        __global const float *in = x + (size_t)r * columns;
        __global float *out = gx + (size_t)r * columns;
        const int label = labels[r];
        const bool valid = label >= 0 && label < columns;
        const float weight = valid ? g[r] : NAN;
        const float m = saved[2 * r], log_sum = saved[2 * r + 1];
        const float off = smoothing / (float)columns;
        CLV_COLUMNS(c, s, columns)
        {
            const floatV p = exp(clv_load(in + c, columns - c, 0) - m - log_sum);
            clv_store((p - off) * weight, out + c, columns - c);
            if (label >= c && label < min(c + CLV_V, columns))
                out[label] -= (1 - smoothing) * weight;
        }
    }
}
