/* sigmoid: y = 1/(1 + exp(-x)), elementwise.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the flat array; 0 bytes of local memory.
 * Outputs are overwritten and may be the very memory of an input. */
#include "elementwise.clh"

/* y = sigmoid(x). x, y [total]. Far from 0 exp(-x) is infinite or 0: y is 0 or 1, never NaN. */
CLV_GROUP __kernel void sigmoid_fwd(__global float *y, ulong y_at, __global const float *x,
                                    ulong x_at, int total, int share)
{
    y += y_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    clv_store((floatV)(1) / ((floatV)(1) + exp(-clv_load(x + i, left, 0))), y + i, left);
}

/* gx = gy·y·(1 - y). gx, gy, y [total]; y is the result of sigmoid_fwd. */
CLV_GROUP __kernel void sigmoid_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                    ulong gy_at, __global const float *y, ulong y_at, int total,
                                    int share)
{
    gx += gx_at;
    gy += gy_at;
    y += y_at;
    CLV_EACH(i, left, total, share)
    {
        const floatV s = clv_load(y + i, left, 0);
        clv_store(clv_load(gy + i, left, 0) * (s * ((floatV)(1) - s)), gx + i, left);
    }
}
