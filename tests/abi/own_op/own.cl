/* Kernels of expert own: see own.c for the mathematics. */
#include "philox.clh"

#define GROUP __attribute__((reqd_work_group_size(32, 1, 1)))
#define EACH(i, total)                                                                             \
    for (int i = (int)get_global_id(0); i < (total); i += (int)get_global_size(0))

/* y = times·act(z) + offset[c % offsets]; y, z [total]. */
GROUP __kernel void project_act(__global float *y, ulong y_at, __global const float *z, ulong z_at,
                                int total, int columns, int curved, float times, float offset0,
                                float offset1)
{
    EACH(i, total)
    {
        const float v = z[z_at + i];
        const float offset = (i % columns) % 2 == 0 ? offset0 : offset1;
        y[y_at + i] = times * (curved ? tanh(v) : v) + offset;
    }
}

/* gz = times·act'(z)·gy. */
GROUP __kernel void project_act_bwd(__global float *gz, ulong gz_at, __global const float *gy,
                                    ulong gy_at, __global const float *z, ulong z_at, int total,
                                    int curved, float times)
{
    EACH(i, total)
    {
        const float t = curved ? tanh(z[z_at + i]) : 0;
        gz[gz_at + i] = times * (1 - t * t) * gy[gy_at + i];
    }
}

/* gb[c] = Σ_r gz[r][c]: a group per column, summed as a tree in `part`, 32 floats. */
GROUP __kernel void project_bias_bwd(__global float *gb, ulong gb_at, __global const float *gz,
                                     ulong gz_at, int rows, int columns, __local float *part)
{
    const int c = (int)get_group_id(0), lane = (int)get_local_id(0);
    float sum = 0;
    for (int r = lane; r < rows; r += 32)
        sum += gz[gz_at + (ulong)r * columns + c];
    part[lane] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int width = 16; width > 0; width /= 2) {
        if (lane < width)
            part[lane] += part[lane + width];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (lane == 0)
        gb[gb_at + c] = part[0];
}

/* y = x or 0, times scale where ids is not NULL; the same masks for gradients. */
GROUP __kernel void drop(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                         __global const uint *ids, ulong ids_at, int n, int each, uint threshold,
                         float scale, uint key0, uint key1, uint epoch, uint op)
{
    EACH(i, n * each)
    {
        const int e = i % each;
        float factor = 1;
        if (ids) {
            const uint4 c = (uint4)(epoch, ids[ids_at + i / each], op, (uint)(e / 4));
            uint words[4];
            vstore4(clv_philox((uint2)(key0, key1), c), 0, words);
            factor = words[e % 4] >= threshold ? scale : 0;
        }
        y[y_at + i] = x[x_at + i] * factor;
    }
}
