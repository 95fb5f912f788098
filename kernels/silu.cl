/* silu: y = x·sigmoid(x), elementwise (Elfwing et al. 2017, arXiv 1702.03118).
 * NDRange: groups of CLV_ITEMS work-items, each a share of the flat array; 0 bytes of local memory.
 * Outputs are overwritten and may be the very memory of an input. */
#include "activation.clh"
#include "elementwise.clh"

/* y = silu(x). x, y [total]. */
CLV_GROUP __kernel void silu_fwd(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                                 int total, int share)
{
    y += y_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_act(clv_load(x + i, left, 0), CLV_ACT_SILU), y + i, left);
}

/* gx = gy·silu'(x). gx, gy, x [total]. */
CLV_GROUP __kernel void silu_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                 ulong gy_at, __global const float *x, ulong x_at, int total,
                                 int share)
{
    gx += gx_at;
    gy += gy_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    {
        const floatV slope = clv_act_grad(clv_load(x + i, left, 0), CLV_ACT_SILU);
        clv_store(slope * clv_load(gy + i, left, 0), gx + i, left);
    }
}
