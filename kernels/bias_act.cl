/* What conv2d and dense do besides multiplying: activation on its own, where training needs the sum
 * before it, and the way back through activation and bias.
 * NDRange of every kernel: groups of CLV_ITEMS work-items, local memory for sums (group.clh).
 * Outputs are overwritten.
 */
#include "activation.clh"
#include "elementwise.clh"

/* y = act(x). x, y [total]; y may be the very memory of x. Groups take `share` elements. */
CLV_GROUP __kernel void act_fwd(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                                int total, int act, int share)
{
    y += y_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_act(clv_load(x + i, left, 0), act), y + i, left);
}

/* dz = dy·act'(v), and column sums of dz: sums[g][j] over the rows [g·share, (g + 1)·share) of the
 * group. dz, dy, v [rows, columns]; v: x or, for relu, the result; dz may be the very memory of dy.
 * dz NULL: not wanted; sums NULL: not wanted; v NULL: act is none. */
CLV_GROUP __kernel void act_bwd(__global float *dz, ulong dz_at, __global float *sums,
                                ulong sums_at, __global const float *dy, ulong dy_at,
                                __global const float *v, ulong v_at, int rows, int columns, int act,
                                int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(rows, share);
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(columns);
    CLV_COLUMNS_TOGETHER(j, s, columns)
    {
        const int left = columns - j;
        floatV sum = (floatV)(0);
        CLV_ROWS(r, s, begin, end)
        {
            const size_t at = (size_t)r * columns + j;
            floatV g = clv_load(dy + dy_at + at, left, 0);
            if (v)
                g *= clv_act_grad(clv_load(v + v_at + at, left, 0), act);
            if (dz)
                clv_store(g, dz + dz_at + at, left);
            sum += g;
        }
        sum = clv_down_sum(sum, s, scratch);
        if (sums && s.lane == 0)
            clv_store(sum, sums + sums_at + (size_t)get_group_id(0) * columns + j, left);
    }
}
