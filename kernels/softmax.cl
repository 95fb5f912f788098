/* softmax over the last axis of [rows, columns].
 * NDRange: groups of one work-item, each a share of the rows; 0 bytes of local memory. Outputs are
 * overwritten. */
#include "vector.clh"

/* y_c = exp(x_c - m) / Σ_k exp(x_k - m), m = max_k x_k: no overflow for any finite x.
 * x, y [rows, columns]; y may be the very memory of x. */
CLV_SINGLE __kernel void softmax_fwd(__global float *y, ulong y_at, __global const float *x,
                                     ulong x_at, int rows, int columns, int share)
{
    y += y_at;
    x += x_at;
    for (int r = CLV_BEGIN(share), end = CLV_END(rows, share); r < end; r++) {
        __global const float *in = x + (size_t)r * columns;
        __global float *out = y + (size_t)r * columns;
        floatV top = (floatV)(-FLT_MAX), sum = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V)
            top = fmax(top, clv_load(in + c, columns - c, -FLT_MAX));
        const floatV m = (floatV)(clv_lanes_max(top));
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV e = exp(clv_load(in + c, columns - c, -FLT_MAX) - m);
            sum += e;
            clv_store(e, out + c, columns - c);
        }
        const floatV scale = (floatV)(1 / clv_lanes_sum(sum));
        for (int c = 0; c < columns; c += CLV_V)
            clv_store(clv_load(out + c, columns - c, 0) * scale, out + c, columns - c);
    }
}

/* gx_c = y_c (gy_c - Σ_k gy_k y_k). gx, gy, y [rows, columns]; gx may be the very memory of gy. */
CLV_SINGLE __kernel void softmax_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                     ulong gy_at, __global const float *y, ulong y_at, int rows,
                                     int columns, int share)
{
    gx += gx_at;
    gy += gy_at;
    y += y_at;
    for (int r = CLV_BEGIN(share), end = CLV_END(rows, share); r < end; r++) {
        const size_t at = (size_t)r * columns;
        floatV dot = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V)
            dot = fma(clv_load(gy + at + c, columns - c, 0), clv_load(y + at + c, columns - c, 0),
                      dot);
        const floatV mean = (floatV)(clv_lanes_sum(dot));
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV g = clv_load(gy + at + c, columns - c, 0) - mean;
            clv_store(g * clv_load(y + at + c, columns - c, 0), gx + at + c, columns - c);
        }
    }
}
