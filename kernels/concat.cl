/* concat: rows side by side.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the rows; 0 bytes of local memory. */
#include "group.clh"

/* to[r·to_row + i] = from[r·from_row + i], r < rows, i < columns: one input into its place in the
 * output's rows, or its gradient out of them. Overwrites these columns. */
CLV_GROUP __kernel void concat_copy(__global float *restrict to, ulong to_at,
                                    __global const float *restrict from, ulong from_at, int rows,
                                    int columns, int to_row, int from_row, int share)
{
    const clv_span s = clv_span_for(columns);
    CLV_ROWS(r, s, CLV_BEGIN(share), CLV_END(rows, share))
    {
        __global float *out = to + to_at + (size_t)r * to_row;
        __global const float *in = from + from_at + (size_t)r * from_row;
        CLV_COLUMNS(i, s, columns)
        clv_store(clv_load(in + i, columns - i, 0), out + i, columns - i);
    }
}
