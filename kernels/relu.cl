/* relu: y = max(x, 0), elementwise; a NaN stays one.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the flat array; 0 bytes of local memory.
 * Outputs are overwritten and may be the very memory of the input. */
#include "activation.clh"
#include "elementwise.clh"

/* y = relu(x). x, y [total]. */
CLV_GROUP __kernel void relu_fwd(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                                 int total, int share)
{
    y += y_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_act(clv_load(x + i, left, 0), CLV_ACT_RELU), y + i, left);
}

/* gx = gy where y > 0, else 0. gx, gy, y [total]; y is the result of relu_fwd. */
CLV_GROUP __kernel void relu_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                 ulong gy_at, __global const float *y, ulong y_at, int total,
                                 int share)
{
    gx += gx_at;
    gy += gy_at;
    y += y_at;
    CLV_EACH(i, left, total, share)
    {
        const floatV slope = clv_act_grad(clv_load(y + i, left, 0), CLV_ACT_RELU);
        clv_store(slope * clv_load(gy + i, left, 0), gx + i, left);
    }
}
