/* step_sum: what a tensor adds up to over the samples of a step, batch after batch.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the blocks of CLV_V columns; 0 bytes of
 * local memory. */
#include "group.clh"

/* sums[c] += Σ_r x[r][c], the rows in their order. sums [columns], x [rows, columns]. */
CLV_GROUP __kernel void step_sum_add(__global float *restrict sums, ulong sums_at,
                                     __global const float *restrict x, ulong x_at, int rows,
                                     int columns, int share)
{
    const int blocks = (columns + CLV_V - 1) / CLV_V;
    for (int q = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(blocks, share); q < end;
         q += CLV_ITEMS) {
        const int c = q * CLV_V, left = columns - c;
        floatV sum = (floatV)(0);
        for (int r = 0; r < rows; r++)
            sum += clv_load(x + x_at + (size_t)r * columns + c, left, 0);
        clv_store(clv_load(sums + sums_at + c, left, 0) + sum, sums + sums_at + c, left);
    }
}
