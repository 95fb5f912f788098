/* add_noise: y = z + ε·σ, σ = softplus(s) + floor, ε ~ N(0, 1) (the noisy gate of Shazeer et al.
 * 2017). Element e of a sample draws from Philox counter (epoch, sample id, node, e / 4): words 0
 * and 1 give the first two normals of the four by Box and Muller, words 2 and 3 the others. Forward
 * and backward draw the same and nothing is stored. NDRange: group (g, s) of CLV_ITEMS work-items
 * takes g's share of sample s; 0 bytes of local memory. Outputs are overwritten. */
#include "group.clh"
#include "philox.clh"

/* A word as a float in (0, 1), exact; see clv_philox_unit. */
static floatV unit(uintV word)
{
    return (convert_floatV(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/* The 4·CLV_V normals of elements e … of a sample, e a multiple of 4. */
static void normals(uint2 key, uint epoch, uint id, uint node, int e, float *out)
{
    uint lane[CLV_V];
    uintV words[4];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = (uint)i;
    clv_philox_lanes(key, epoch, id, node, vloadV(0, lane) + (uint)(e / 4), words);
    for (int w = 0; w < 4; w += 2) {
        const floatV radius = sqrt(-2 * log(unit(words[w])));
        const floatV turn = 2 * unit(words[w + 1]);
        float first[CLV_V], second[CLV_V];
        vstoreV(radius * cospi(turn), 0, first);
        vstoreV(radius * sinpi(turn), 0, second);
        for (int i = 0; i < CLV_V; i++) {
            out[4 * i + w] = first[i];
            out[4 * i + w + 1] = second[i];
        }
    }
}

/* y = z + ε(softplus(s) + floor), softplus(s) = max(s, 0) + log(1 + exp(-|s|)). y, z, s [n, each],
 * ids [n]; share is a multiple of 4·CLV_V; y may be the very memory of z or s. */
CLV_GROUP __kernel void add_noise_fwd(__global float *y, ulong y_at, __global const float *z,
                                      ulong z_at, __global const float *s, ulong s_at,
                                      __global const uint *ids, ulong ids_at, int n, int each,
                                      int share, uint key0, uint key1, uint epoch, uint node,
                                      float floor)
{
    for (int r = (int)get_group_id(1); r < n; r += (int)get_num_groups(1)) {
        const size_t row = (size_t)r * each;
        for (int e = CLV_BEGIN(share) + 4 * CLV_FIRST, end = CLV_END(each, share); e < end;
             e += 4 * CLV_STEP) {
            float noise[4 * CLV_V];
            normals((uint2)(key0, key1), epoch, ids[ids_at + (ulong)r], node, e, noise);
            for (int i = 0; i < 4 && e + i * CLV_V < end; i++) {
                const int left = end - e - i * CLV_V;
                const size_t at = row + (size_t)(e + i * CLV_V);
                const floatV raw = clv_load(s + s_at + at, left, 0);
                const floatV sigma = fmax(raw, (floatV)(0)) + log1p(exp(-fabs(raw))) + floor;
                clv_store(fma(vloadV(i, noise), sigma, clv_load(z + z_at + at, left, 0)),
                          y + y_at + at, left);
            }
        }
    }
}

/* gz = gy, gs = gy·ε·sigmoid(s); either may be NULL, and either may be the very memory of gy.
 * gz, gs, gy, s [n, each], the rest as above. */
CLV_GROUP __kernel void add_noise_bwd(__global float *gz, ulong gz_at, __global float *gs,
                                      ulong gs_at, __global const float *gy, ulong gy_at,
                                      __global const float *s, ulong s_at, __global const uint *ids,
                                      ulong ids_at, int n, int each, int share, uint key0,
                                      uint key1, uint epoch, uint node)
{
    for (int r = (int)get_group_id(1); r < n; r += (int)get_num_groups(1)) {
        const size_t row = (size_t)r * each;
        for (int e = CLV_BEGIN(share) + 4 * CLV_FIRST, end = CLV_END(each, share); e < end;
             e += 4 * CLV_STEP) {
            float noise[4 * CLV_V];
            if (gs)
                normals((uint2)(key0, key1), epoch, ids[ids_at + (ulong)r], node, e, noise);
            for (int i = 0; i < 4 && e + i * CLV_V < end; i++) {
                const int left = end - e - i * CLV_V;
                const size_t at = row + (size_t)(e + i * CLV_V);
                const floatV g = clv_load(gy + gy_at + at, left, 0);
                if (gz)
                    clv_store(g, gz + gz_at + at, left);
                if (gs) {
                    const floatV slope =
                        (floatV)(1) / ((floatV)(1) + exp(-clv_load(s + s_at + at, left, 0)));
                    clv_store(g * vloadV(i, noise) * slope, gs + gs_at + at, left);
                }
            }
        }
    }
}
