/* What a device can do at most: multiply-adds in registers, and copying. core/runtime/peak.c runs
 * these; nothing else does. -DPROBE_LOCAL=n: work-items per work-group (1 on CPUs). */
#include "vector.clh"

#ifndef PROBE_LOCAL
#define PROBE_LOCAL 1
#endif

/* Independent chains of multiply-adds: enough to hide the latency (4 cycles, two units) and few
 * enough for 16 registers. core/runtime/peak.c counts on the same number. */
#define PROBE_CHAINS 12

/* 2·CLV_V·PROBE_CHAINS·rounds operations per work-item. out[work-items]: overwritten by what the
 * chains end at (a fixed point of x·a + b when |a| < 1), so that nothing can be left out. */
__attribute__((reqd_work_group_size(PROBE_LOCAL, 1, 1))) __kernel void
probe_multiply_add(__global float *out, ulong out_offset, int rounds, float a, float b)
{
    floatV chain[PROBE_CHAINS];
    const floatV va = (floatV)(a), vb = (floatV)(b);
    CLV_UNROLL
    for (int i = 0; i < PROBE_CHAINS; i++)
        chain[i] = (floatV)((float)((int)get_local_id(0) + i));
    for (int r = 0; r < rounds; r++) {
        CLV_UNROLL
        for (int i = 0; i < PROBE_CHAINS; i++)
            chain[i] = fma(chain[i], va, vb);
    }
    floatV sum = chain[0];
    CLV_UNROLL
    for (int i = 1; i < PROBE_CHAINS; i++)
        sum += chain[i];
    out[out_offset + get_global_id(0)] = clv_lanes_sum(sum);
}

/* to[i] = from[i]: work-group g copies the vectors g·share … (g+1)·share - 1, neighbouring
 * work-items neighbouring vectors. to, from: share · work-groups · CLV_V floats; to is overwritten.
 */
__attribute__((reqd_work_group_size(PROBE_LOCAL, 1, 1))) __kernel void
probe_copy(__global float *restrict to, ulong to_offset, __global const float *restrict from,
           ulong from_offset, int share)
{
    const size_t begin = get_group_id(0) * (size_t)share;
    to += to_offset;
    from += from_offset;
    for (int i = (int)get_local_id(0); i < share; i += PROBE_LOCAL)
        vstoreV(vloadV(begin + (size_t)i, from), begin + (size_t)i, to);
}
