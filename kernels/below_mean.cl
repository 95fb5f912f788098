/* below_mean: which numbers of a row lie below its mean.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the rows; 0 bytes of local memory. The
 * output is overwritten and may be the very memory of the input. */
#include "group.clh"

/* y = by where columns·x < Σ x of its row, -by where it is more, 0 where they are equal, NaN where
 * one is. x, y [rows, columns]. */
CLV_GROUP __kernel void below_mean_fwd(__global float *y, ulong y_at, __global const float *x,
                                       ulong x_at, int rows, int columns, float by, int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        __global const float *in = x + x_at + (size_t)r * columns;
        __global float *out = y + y_at + (size_t)r * columns;
        floatV sums = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V)
            sums += clv_load(in + c, columns - c, 0);
        const float sum = clv_lanes_sum(sums);
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV missing = sum - (float)columns * clv_load(in + c, columns - c, 0);
            clv_store(missing != missing ? missing : by * sign(missing), out + c, columns - c);
        }
    }
}
