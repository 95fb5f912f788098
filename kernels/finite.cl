/* finite_count: counts[slot] += how many of x[0..total) are infinite or no number, told by their
 * bits, so that fast-math cannot take it away. x [total]. NDRange: groups of CLV_ITEMS work-items,
 * each a share of the elements; 0 bytes of local memory. */
#include "group.clh"

CLV_GROUP __kernel void finite_count(__global volatile uint *counts, ulong counts_at,
                                     __global const float *restrict x, ulong x_at, int total,
                                     int share)
{
    x += x_at;
    uint bad = 0;
    for (int i = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(total, share); i < end; i += CLV_ITEMS)
        bad += (as_uint(x[i]) & 0x7F800000u) == 0x7F800000u;
    if (bad > 0)
        atomic_add(counts + counts_at, bad);
}
