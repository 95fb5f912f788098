/* multiply: y = a·b, elementwise, or with one factor per sample and channel (squeeze-excite).
 * NDRange: groups of CLV_ITEMS work-items; local memory for sums (group.clh). Outputs are
 * overwritten. */
#include "elementwise.clh"

/* y = a·b. a, b, y [total]; y may be the very memory of a or b. Group g: a share of the array. */
CLV_GROUP __kernel void multiply_fwd(__global float *y, ulong y_at, __global const float *a,
                                     ulong a_at, __global const float *b, ulong b_at, int total,
                                     int share)
{
    y += y_at;
    a += a_at;
    b += b_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_load(a + i, left, 0) * clv_load(b + i, left, 0), y + i, left);
}

/* ga = gy·b, gb = gy·a; either may be NULL, and either may be the very memory of gy. All [total].
 */
CLV_GROUP __kernel void multiply_bwd(__global float *ga, ulong ga_at, __global float *gb,
                                     ulong gb_at, __global const float *gy, ulong gy_at,
                                     __global const float *a, ulong a_at, __global const float *b,
                                     ulong b_at, int total, int share)
{
    gy += gy_at;
    a += a_at;
    b += b_at;
    CLV_EACH(i, left, total, share)
    {
        const floatV g = clv_load(gy + i, left, 0);
        if (ga)
            clv_store(g * clv_load(b + i, left, 0), ga + ga_at + i, left);
        if (gb)
            clv_store(g * clv_load(a + i, left, 0), gb + gb_at + i, left);
    }
}

/* y[s, p, :] = a[s, p, :]·b[s, :]. a, y [n, pixels, c], b [n, c]; y may be the very memory of a.
 * Group g: a share of the n·pixels pixels. */
CLV_GROUP __kernel void multiply_channels_fwd(__global float *y, ulong y_at,
                                              __global const float *a, ulong a_at,
                                              __global const float *b, ulong b_at, int n,
                                              int pixels, int c, int share)
{
    y += y_at;
    a += a_at;
    b += b_at;
    const clv_span s = clv_span_for(c);
    CLV_ROWS(p, s, CLV_BEGIN(share), CLV_END(n * pixels, share))
    {
        __global const float *factor = b + (size_t)(p / pixels) * c;
        const size_t at = (size_t)p * c;
        CLV_COLUMNS(k, s, c)
        clv_store(clv_load(a + at + k, c - k, 0) * clv_load(factor + k, c - k, 0), y + at + k,
                  c - k);
    }
}

/* ga[s, p, :] = gy[s, p, :]·b[s, :] and part[s, g, :] = Σ_p gy[s, p, :]·a[s, p, :] over the pixels
 * p of chunk g, in ascending order; either may be NULL, ga may be the very memory of gy. A pixel
 * after another, so that memory is read as it lies; the sums of a chunk stay in the nearest cache.
 * ga, gy, a [n, pixels, c], b [n, c], part [n, chunks, c]. Group (g, s): chunk and sample. */
CLV_GROUP __kernel void multiply_channels_bwd(__global float *ga, ulong ga_at,
                                              __global float *restrict part, ulong part_at,
                                              __global const float *gy, ulong gy_at,
                                              __global const float *restrict a, ulong a_at,
                                              __global const float *restrict b, ulong b_at, int n,
                                              int pixels, int c, int chunk)
{
    const int g = (int)get_group_id(0), chunks = (int)get_num_groups(0);
    const int begin = CLV_BEGIN(chunk), end = CLV_END(pixels, chunk);
#if CLV_ITEMS > 1
    CLV_SCRATCH(scratch);
    const clv_span span = clv_span_for(c);
#endif
    for (int s = (int)get_group_id(1); s < n; s += (int)get_num_groups(1)) {
        __global const float *factor = b + b_at + (size_t)s * c;
        __global float *sum = part ? part + part_at + ((size_t)s * chunks + g) * c : 0;
#if CLV_ITEMS > 1
        /* Lanes take every so many pixels, and what they hold is added at the end. */
        CLV_COLUMNS_TOGETHER(k, span, c)
        {
            const int left = c - k;
            const floatV by = clv_load(factor + k, left, 0);
            floatV total = (floatV)(0);
            CLV_ROWS(p, span, begin, end)
            {
                const size_t at = ((size_t)s * pixels + p) * c + k;
                const floatV v = clv_load(gy + gy_at + at, left, 0);
                if (sum)
                    total = fma(v, clv_load(a + a_at + at, left, 0), total);
                if (ga)
                    clv_store(v * by, ga + ga_at + at, left);
            }
            total = clv_down_sum(total, span, scratch);
            if (sum && span.lane == 0)
                clv_store(total, sum + k, left);
        }
#else
        for (int p = begin; p < end; p++) {
            const size_t at = ((size_t)s * pixels + p) * c;
            for (int k = 0; k < c; k += CLV_V) {
                const int left = c - k;
                const floatV v = clv_load(gy + gy_at + at + k, left, 0);
                if (sum) {
                    const floatV before = p == begin ? (floatV)(0) : clv_load(sum + k, left, 0);
                    clv_store(fma(v, clv_load(a + a_at + at + k, left, 0), before), sum + k, left);
                }
                if (ga)
                    clv_store(v * clv_load(factor + k, left, 0), ga + ga_at + at + k, left);
            }
        }
#endif
    }
}

/* gb[s, :] = Σ_g part[s, g, :], in ascending order. part [n, chunks, c], gb [n, c]. Group g: a
 * share of the n samples. */
CLV_GROUP __kernel void multiply_channels_sum(__global float *restrict gb, ulong gb_at,
                                              __global const float *restrict part, ulong part_at,
                                              int n, int chunks, int c, int share)
{
    for (int s = CLV_BEGIN(share), end = CLV_END(n, share); s < end; s++)
        for (int k = CLV_FIRST; k < c; k += CLV_STEP) {
            __global const float *from = part + part_at + (size_t)s * chunks * c + k;
            floatV sum = clv_load(from, c - k, 0);
            for (int g = 1; g < chunks; g++)
                sum += clv_load(from + (size_t)g * c, c - k, 0);
            clv_store(sum, gb + gb_at + (size_t)s * c + k, c - k);
        }
}
