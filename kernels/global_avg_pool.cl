/* global_avg_pool: the mean over all pixels, [n, pixels, c] → [n, c].
 * NDRange: groups of CLV_ITEMS work-items; local memory for sums (group.clh). Outputs are
 * overwritten. */
#include "group.clh"

/* y = 1/pixels·Σ x. Group g takes a share of the n·blocks pieces, each one sample's CLV_V channels,
 * blocks = ⌈c / CLV_V⌉. Four running sums, so that long sums lose less. */
CLV_GROUP_KERNEL(global_avg_pool_fwd, __global float *restrict y, ulong y_at,
                 __global const float *restrict x, ulong x_at, int n, int pixels, int c, int share)
{
    const int blocks = (c + CLV_V - 1) / CLV_V;
    const float scale = 1.0f / (float)pixels;
    const int begin = CLV_BEGIN(share), end = CLV_END(n * blocks, share);
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_of(end - begin);
    for (int p0 = begin; p0 < end; p0 += s.width) {
        /* A column beyond the last piece repeats it and stores nothing. */
        const int p = min(p0 + s.column, end - 1), sample = p / blocks, k = p % blocks * CLV_V;
        __global const float *in = x + x_at + (size_t)sample * pixels * c + k;
        floatV sum[4] = {(floatV)(0), (floatV)(0), (floatV)(0), (floatV)(0)};
        int i = 4 * s.lane;
        for (; i + 4 <= pixels; i += 4 * s.lanes) {
            CLV_UNROLL
            for (int j = 0; j < 4; j++)
                sum[j] += clv_load(in + (size_t)(i + j) * c, c - k, 0);
        }
        for (i = pixels / 4 * 4 + s.lane; i < pixels; i += s.lanes)
            sum[0] += clv_load(in + (size_t)i * c, c - k, 0);
        const floatV total = clv_down_sum((sum[0] + sum[1]) + (sum[2] + sum[3]), s, scratch);
        if (s.lane == 0 && p0 + s.column < end)
            clv_store(total * scale, y + y_at + (size_t)sample * c + k, c - k);
    }
}

/* mean[n, :] = scale·Σ part[n, g, :] over g < parts; mean [n, c]. Group g: a share of the n·⌈c /
 * CLV_V⌉ pieces. */
CLV_GROUP_KERNEL(global_avg_pool_sums, __global float *restrict mean, ulong mean_at,
                 __global const float *restrict part, ulong part_at, int n, int parts, int c,
                 float scale, int share)
{
    const int pieces = (c + CLV_V - 1) / CLV_V;
    for (int p = CLV_BEGIN(share) + CLV_FIRST / CLV_V; p < CLV_END(n * pieces, share);
         p += CLV_STEP / CLV_V) {
        const int sample = p / pieces, k = p % pieces * CLV_V;
        __global const float *from = part + part_at + (size_t)sample * parts * c + k;
        floatV total = (floatV)(0);
        for (int g = 0; g < parts; g++)
            total += clv_load(from + (size_t)g * c, c - k, 0);
        clv_store(total * scale, mean + mean_at + (size_t)sample * c + k, c - k);
    }
}

/* gx = gy/pixels at every pixel. Group g takes a share of the n·pixels pixels. */
CLV_GROUP_KERNEL(global_avg_pool_bwd, __global float *restrict gx, ulong gx_at,
                 __global const float *restrict gy, ulong gy_at, int n, int pixels, int c,
                 int share)
{
    const float scale = 1.0f / (float)pixels;
    gx += gx_at;
    gy += gy_at;
    const clv_span s = clv_span_for(c);
    CLV_ROWS(p, s, CLV_BEGIN(share), CLV_END(n * pixels, share))
    {
        __global const float *from = gy + (size_t)(p / pixels) * c;
        CLV_COLUMNS(k, s, c)
        clv_store(clv_load(from + k, c - k, 0) * scale, gx + (size_t)p * c + k, c - k);
    }
}
