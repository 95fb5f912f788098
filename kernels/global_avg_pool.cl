/* global_avg_pool: the mean over all pixels, [n, pixels, c] → [n, c].
 * NDRange: groups of one work-item; 0 bytes of local memory. Outputs are overwritten. */
#include "vector.clh"

/* y = 1/pixels·Σ x. Group g takes a share of the n·blocks pieces, each one sample's CLV_V channels,
 * blocks = ⌈c / CLV_V⌉. Four running sums, so that long sums lose less. */
CLV_SINGLE __kernel void global_avg_pool_fwd(__global float *restrict y, ulong y_at,
                                             __global const float *restrict x, ulong x_at, int n,
                                             int pixels, int c, int share)
{
    const int blocks = (c + CLV_V - 1) / CLV_V;
    const float scale = 1.0f / (float)pixels;
    for (int p = CLV_BEGIN(share), end = CLV_END(n * blocks, share); p < end; p++) {
        const int s = p / blocks, k = p % blocks * CLV_V;
        __global const float *in = x + x_at + (size_t)s * pixels * c + k;
        floatV sum[4] = {(floatV)(0), (floatV)(0), (floatV)(0), (floatV)(0)};
        int i = 0;
        for (; i + 4 <= pixels; i += 4) {
            CLV_UNROLL
            for (int j = 0; j < 4; j++)
                sum[j] += clv_load(in + (size_t)(i + j) * c, c - k, 0);
        }
        for (; i < pixels; i++)
            sum[0] += clv_load(in + (size_t)i * c, c - k, 0);
        clv_store(((sum[0] + sum[1]) + (sum[2] + sum[3])) * scale, y + y_at + (size_t)s * c + k,
                  c - k);
    }
}

/* gx = gy/pixels at every pixel. Group g takes a share of the n·pixels pixels. */
CLV_SINGLE __kernel void global_avg_pool_bwd(__global float *restrict gx, ulong gx_at,
                                             __global const float *restrict gy, ulong gy_at, int n,
                                             int pixels, int c, int share)
{
    const float scale = 1.0f / (float)pixels;
    gx += gx_at;
    gy += gy_at;
    for (int p = CLV_BEGIN(share), end = CLV_END(n * pixels, share); p < end; p++) {
        __global const float *from = gy + (size_t)(p / pixels) * c;
        for (int k = 0; k < c; k += CLV_V)
            clv_store(clv_load(from + k, c - k, 0) * scale, gx + (size_t)p * c + k, c - k);
    }
}
