/* Matrix products for GPUs (tiled.clh), row-major: c[m, n] = op(a)[m, k]·op(b)[k, n]. Host side:
 * core/runtime/gemm_tiled.c. */
#include "tiled.clh"

#define GEMM_BIAS       1 /* + bias[n] */
#define GEMM_ACCUMULATE 2 /* + c */

/* c[i·ldc + j] = Σ_l a[i·a_i + l·a_l]·b[l·b_l + j·b_j] (+ bias[j]) (+ c), i < m, j < n, over the l
 * in [s·span, (s + 1)·span): with more than one s, c is a stack of partial sums, c_part apart. One
 * of a_i and a_l is 1, and one of b_l and b_j: a and b may be transposed. Overwrites. Local memory:
 * 2 slices, 8.3 KiB with CLV_TS 16.
 * NDRange: group (p, g, s): the columns [p·CLV_TILE, …); the rows of tiles g, g + groups, …. */
CLV_TILED __kernel void gemm_tiled(__global float *restrict c, ulong c_at,
                                   __global const float *restrict a, ulong a_at,
                                   __global const float *restrict b, ulong b_at,
                                   __global const float *restrict bias, ulong bias_at, int m, int n,
                                   int k, int ldc, int a_i, int a_l, int b_l, int b_j, int c_part,
                                   int span, int flags)
{
    __local float left[CLV_SLICE], right[CLV_SLICE];
    const int first = (int)get_group_id(0) * CLV_TILE;
    const int begin = (int)get_group_id(2) * span, end = min(k, begin + span);
    c += c_at + (size_t)get_group_id(2) * c_part;
    a += a_at;
    b += b_at;
    for (int top = (int)get_group_id(1) * CLV_TILE; top < m;
         top += (int)get_num_groups(1) * CLV_TILE) {
        float acc[CLV_TR][CLV_TR];
        clv_tile_zero(acc);
        for (int l0 = begin; l0 < end; l0 += CLV_TK) {
            for (int r = 0; r < CLV_LOADS; r++) {
                const bool across = a_i == 1 && a_l != 1;
                const int l = across ? CLV_ACROSS_L(r) : CLV_ALONG_L;
                const int i = across ? CLV_ACROSS_I : CLV_ALONG_I(r);
                left[CLV_AT(l, i)] = top + i < m && l0 + l < end
                                         ? a[(size_t)(top + i) * a_i + (size_t)(l0 + l) * a_l]
                                         : 0.0f;
            }
            for (int r = 0; r < CLV_LOADS; r++) {
                const bool across = b_j == 1;
                const int l = across ? CLV_ACROSS_L(r) : CLV_ALONG_L;
                const int j = across ? CLV_ACROSS_I : CLV_ALONG_I(r);
                right[CLV_AT(l, j)] = first + j < n && l0 + l < end
                                          ? b[(size_t)(l0 + l) * b_l + (size_t)(first + j) * b_j]
                                          : 0.0f;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            clv_tile_step(acc, left, right);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        CLV_UNROLL
        for (int i = 0; i < CLV_TR; i++)
            CLV_UNROLL
        for (int j = 0; j < CLV_TR; j++) {
            const int row = top + CLV_TILE_ROW(i), column = first + CLV_TILE_COLUMN(j);
            if (row < m && column < n) {
                __global float *to = c + (size_t)row * ldc + column;
                float v = acc[i][j];
                if (flags & GEMM_BIAS)
                    v += bias[bias_at + column];
                if (flags & GEMM_ACCUMULATE)
                    v += *to;
                *to = v;
            }
        }
    }
}
