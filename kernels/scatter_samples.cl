/* scatter_samples: samples to where a list says, the others zero. Entry r of the list counts where
 * r < count[0]; an index outside 0 … n - 1 goes nowhere. Each destination looks for its sources, so
 * that no two work-items write one element; a destination named twice gets the sum, in the order of
 * the list.
 * NDRange: group (g, d) of CLV_ITEMS work-items takes g's share of destination d; 0 bytes of local
 * memory.
 */
#include "group.clh"

/* y[d, :] = Σ_r x[r, :] over the entries r with index[r] = d, in ascending order.
 * x, y [n, each], index [n], count [1]. Overwrites. */
CLV_GROUP __kernel void scatter_samples_fwd(__global float *restrict y, ulong y_at,
                                            __global const float *restrict x, ulong x_at,
                                            __global const int *restrict index, ulong index_at,
                                            __global const int *restrict count, ulong count_at,
                                            int n, int each, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(each, share);
    const int entries = min(count[count_at], n);
    for (int d = (int)get_group_id(1); d < n; d += (int)get_num_groups(1)) {
        __global float *out = y + y_at + (size_t)d * each;
        bool first = true;
        for (int r = 0; r < entries; r++) {
            if (index[index_at + (ulong)r] != d)
                continue;
            __global const float *in = x + x_at + (size_t)r * each;
            for (int e = begin + CLV_FIRST; e < end; e += CLV_STEP) {
                const floatV v = clv_load(in + e, end - e, 0);
                clv_store(first ? v : clv_load(out + e, end - e, 0) + v, out + e, end - e);
            }
            first = false;
        }
        for (int e = begin + CLV_FIRST; first && e < end; e += CLV_STEP)
            clv_store((floatV)(0), out + e, end - e);
    }
}
