/* add: y = a + b, elementwise.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the flat array; 0 bytes of local memory.
 * Outputs are overwritten. */
#include "elementwise.clh"

/* y = a + b. a, b, y [total]; y may be the very memory of a or b. */
CLV_GROUP __kernel void add_fwd(__global float *y, ulong y_at, __global const float *a, ulong a_at,
                                __global const float *b, ulong b_at, int total, int share)
{
    y += y_at;
    a += a_at;
    b += b_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_load(a + i, left, 0) + clv_load(b + i, left, 0), y + i, left);
}

/* gx = gy, for either input. gx, gy [total], apart from each other. */
CLV_GROUP __kernel void add_bwd(__global float *restrict gx, ulong gx_at,
                                __global const float *restrict gy, ulong gy_at, int total,
                                int share)
{
    gx += gx_at;
    gy += gy_at;
    CLV_EACH(i, left, total, share)
    clv_store(clv_load(gy + i, left, 0), gx + i, left);
}
