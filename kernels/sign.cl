/* sign: y = 1, 0 or -1 as x lies above, at or below 0; a NaN stays one.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the flat array; 0 bytes of local memory.
 * The output is overwritten and may be the very memory of the input. */
#include "elementwise.clh"

/* y = sign(x). x, y [total]. */
CLV_GROUP __kernel void sign_fwd(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                                 int total, int share)
{
    y += y_at;
    x += x_at;
    CLV_EACH(i, left, total, share)
    {
        const floatV v = clv_load(x + i, left, 0);
        clv_store(v != v ? v : sign(v), y + i, left);
    }
}
