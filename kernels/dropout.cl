/* dropout (Srivastava et al. 2014): y_e = x_e·keep_e/(1 - rate). Element e of a sample is kept when
 * word e % 4 of Philox counter (epoch, sample id, node, e / 4) is at least `threshold`, which is
 * rate·2^32: forward and backward draw the same mask and nothing is stored.
 * NDRange: group (g, n) of CLV_ITEMS work-items takes g's share of sample n; 0 bytes of local
 * memory. Outputs are overwritten and may be the very memory of the input. */
#include "group.clh"
#include "philox.clh"

/* y = x·mask/(1 - rate); forward, and backward with gy for x. x, y [n, each], ids [n];
 * share is a multiple of 4·CLV_V; scale = 1/(1 - rate). */
CLV_GROUP __kernel void dropout_apply(__global float *y, ulong y_at, __global const float *x,
                                      ulong x_at, __global const uint *ids, ulong ids_at, int n,
                                      int each, int share, uint key0, uint key1, uint epoch,
                                      uint node, uint threshold, float scale)
{
    uint lane[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = (uint)i;
    const uintV lanes = vloadV(0, lane);
    for (int s = (int)get_group_id(1); s < n; s += (int)get_num_groups(1)) {
        const uint id = ids[ids_at + (ulong)s];
        __global const float *in = x + x_at + (size_t)s * each;
        __global float *out = y + y_at + (size_t)s * each;
        for (int e = CLV_BEGIN(share) + 4 * CLV_FIRST, end = CLV_END(each, share); e < end;
             e += 4 * CLV_STEP) {
            uintV words[4], word[4];
            clv_philox_lanes((uint2)(key0, key1), epoch, id, node, lanes + (uint)(e / 4), words);
            clv_philox_order(words, word);
            CLV_UNROLL
            for (int i = 0; i < 4; i++) {
                const int at = e + i * CLV_V;
                const floatV factor = word[i] >= (uintV)(threshold) ? (floatV)(scale) : (floatV)(0);
                clv_store(clv_load(in + at, end - at, 0) * factor, out + at, end - at);
            }
        }
    }
}
