/* softmax over the last axis of [rows, columns].
 * NDRange: groups of CLV_ITEMS work-items, each a share of the rows; local memory for sums
 * (group.clh). Outputs are overwritten. */
#include "group.clh"

/* y_c = exp(x_c - m) / Σ_k exp(x_k - m), m = max_k x_k: no overflow for any finite x.
 * x, y [rows, columns]; y may be the very memory of x. */
CLV_GROUP __kernel void softmax_fwd(__global float *y, ulong y_at, __global const float *x,
                                    ulong x_at, int rows, int columns, int share)
{
    y += y_at;
    x += x_at;
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(columns);
    for (int r0 = CLV_BEGIN(share), end = CLV_END(rows, share); r0 < end; r0 += s.lanes) {
        /* A lane beyond the last row goes along with an empty one. */
        const int r = r0 + s.lane, width = r < end ? columns : 0;
        __global const float *in = x + (size_t)r * columns;
        __global float *out = y + (size_t)r * columns;
        floatV top = (floatV)(-FLT_MAX), sum = (floatV)(0);
        CLV_COLUMNS(c, s, width)
        top = fmax(top, clv_load(in + c, columns - c, -FLT_MAX));
        const floatV m = (floatV)(clv_across_max(top, s, scratch));
        CLV_COLUMNS(c, s, width)
        {
            const floatV e = exp(clv_load(in + c, columns - c, -FLT_MAX) - m);
            sum += e;
            clv_store(e, out + c, columns - c);
        }
        const floatV scale = (floatV)(1 / clv_across_sum(sum, s, scratch));
        CLV_COLUMNS(c, s, width)
        clv_store(clv_load(out + c, columns - c, 0) * scale, out + c, columns - c);
    }
}

/* gx_c = y_c (gy_c - Σ_k gy_k y_k). gx, gy, y [rows, columns]; gx may be the very memory of gy. */
CLV_GROUP __kernel void softmax_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                    ulong gy_at, __global const float *y, ulong y_at, int rows,
                                    int columns, int share)
{
    gx += gx_at;
    gy += gy_at;
    y += y_at;
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(columns);
    for (int r0 = CLV_BEGIN(share), end = CLV_END(rows, share); r0 < end; r0 += s.lanes) {
        /* A lane beyond the last row goes along with an empty one. */
        const int r = r0 + s.lane, width = r < end ? columns : 0;
        const size_t at = (size_t)r * columns;
        floatV dot = (floatV)(0);
        CLV_COLUMNS(c, s, width)
        dot = fma(clv_load(gy + at + c, columns - c, 0), clv_load(y + at + c, columns - c, 0), dot);
        const floatV mean = (floatV)(clv_across_sum(dot, s, scratch));
        CLV_COLUMNS(c, s, width)
        {
            const floatV g = clv_load(gy + at + c, columns - c, 0) - mean;
            clv_store(g * clv_load(y + at + c, columns - c, 0), gx + at + c, columns - c);
        }
    }
}
