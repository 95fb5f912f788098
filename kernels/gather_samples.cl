/* gather_samples: samples of a batch by a list. Entry r of the list counts where r < count[0] and
 * its index lies in 0 … n - 1; any other gives zeros, and reads nothing outside. NDRange: group (g,
 * r) of CLV_ITEMS work-items takes g's share of sample r; 0 bytes of local memory. */
#include "group.clh"

/* y[r, :] = x[index[r], :], 0 where entry r does not count. x, y [n, each], index [n], count [1].
 * Overwrites. */
CLV_GROUP __kernel void gather_samples_fwd(__global float *restrict y, ulong y_at,
                                           __global const float *restrict x, ulong x_at,
                                           __global const int *restrict index, ulong index_at,
                                           __global const int *restrict count, ulong count_at,
                                           int n, int each, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(each, share);
    for (int r = (int)get_group_id(1); r < n; r += (int)get_num_groups(1)) {
        const int source = r < count[count_at] ? index[index_at + (ulong)r] : -1;
        const bool valid = source >= 0 && source < n;
        __global const float *in = x + x_at + (size_t)(valid ? source : 0) * each;
        __global float *out = y + y_at + (size_t)r * each;
        for (int e = begin + CLV_FIRST; e < end; e += CLV_STEP)
            clv_store(valid ? clv_load(in + e, end - e, 0) : (floatV)(0), out + e, end - e);
    }
}
