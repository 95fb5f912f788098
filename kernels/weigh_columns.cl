/* weigh_columns: what K experts give stands side by side, x [n, columns]; owner[columns] says whose
 * a column is. Each is scaled by K times its expert's weight, g [n, experts], so that equal weights
 * 1/K change nothing. Where the weight is exactly 0 the result is 0, whatever x is. NDRange: groups
 * of one work-item, each a share of the samples; 0 bytes of local memory. Outputs are overwritten.
 */
#include "vector.clh"

/* y[r, m] = K g[r, owner[m]] x[r, m]; the gradient to x is the same of gy. */
CLV_SINGLE __kernel void weigh_columns_fwd(__global float *restrict y, ulong y_at,
                                           __global const float *restrict x, ulong x_at,
                                           __global const float *restrict g, ulong g_at,
                                           __global const int *restrict owner, ulong owner_at,
                                           int n, int columns, int experts, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *in = x + x_at + (size_t)r * columns;
        __global const float *weight = g + g_at + (size_t)r * experts;
        __global float *out = y + y_at + (size_t)r * columns;
        for (int m = 0; m < columns; m++) {
            const int i = owner[owner_at + m];
            const float w = i >= 0 && i < experts ? weight[i] : 0;
            out[m] = w == 0 ? 0 : (float)experts * w * in[m];
        }
    }
}

/* gg[r, i] = K Σ gy[r, m] x[r, m] over the columns of expert i; 0 where its weight is 0. */
CLV_SINGLE __kernel void weigh_columns_bwd_g(__global float *restrict gg, ulong gg_at,
                                             __global const float *restrict gy, ulong gy_at,
                                             __global const float *restrict x, ulong x_at,
                                             __global const float *restrict g, ulong g_at,
                                             __global const int *restrict owner, ulong owner_at,
                                             int n, int columns, int experts, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *in = x + x_at + (size_t)r * columns;
        __global const float *up = gy + gy_at + (size_t)r * columns;
        __global const float *weight = g + g_at + (size_t)r * experts;
        __global float *out = gg + gg_at + (size_t)r * experts;
        for (int i = 0; i < experts; i++)
            out[i] = 0;
        for (int m = 0; m < columns; m++) {
            const int i = owner[owner_at + m];
            if (i >= 0 && i < experts && weight[i] != 0)
                out[i] += (float)experts * up[m] * in[m];
        }
    }
}
