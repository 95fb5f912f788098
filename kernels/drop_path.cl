/* drop_path (stochastic depth, Huang et al. 2016): a whole sample is kept, and scaled by 1/(1 -
 * rate), when word 0 of Philox counter (epoch, sample id, node, 0) is at least `threshold`, which
 * is rate·2^32; else it is zero. Forward and backward draw the same and nothing is stored. NDRange:
 * group (g, s) of CLV_ITEMS work-items takes g's share of sample s; 0 bytes of local memory.
 * Outputs are overwritten and may be the very memory of the input. */
#include "group.clh"
#include "philox.clh"

/* y = x·kept/(1 - rate); forward, and backward with gy for x. x, y [n, each], ids [n];
 * scale = 1/(1 - rate). */
CLV_GROUP __kernel void drop_path_apply(__global float *y, ulong y_at, __global const float *x,
                                        ulong x_at, __global const uint *ids, ulong ids_at, int n,
                                        int each, int share, uint key0, uint key1, uint epoch,
                                        uint node, uint threshold, float scale)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(each, share);
    for (int s = (int)get_group_id(1); s < n; s += (int)get_num_groups(1)) {
        const uint4 counter = (uint4)(epoch, ids[ids_at + (ulong)s], node, 0);
        const bool kept = clv_philox((uint2)(key0, key1), counter).x >= threshold;
        __global const float *in = x + x_at + (size_t)s * each;
        __global float *out = y + y_at + (size_t)s * each;
        for (int e = begin + CLV_FIRST; e < end; e += CLV_STEP)
            clv_store(kept ? clv_load(in + e, end - e, 0) * scale : (floatV)(0), out + e, end - e);
    }
}
