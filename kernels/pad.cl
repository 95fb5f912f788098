/* pad: zeros around pictures, NHWC.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the rows; 0 bytes of local memory.
 * Outputs are overwritten. */
#include "group.clh"

static void copy_row(__global float *to, __global const float *from, int count)
{
    for (int i = CLV_FIRST; i < count; i += CLV_STEP)
        clv_store(clv_load(from + i, count - i, 0), to + i, count - i);
}

static void zero_row(__global float *to, int count)
{
    for (int i = CLV_FIRST; i < count; i += CLV_STEP)
        clv_store((floatV)(0), to + i, count - i);
}

/* y[s, i, j, :] = x[s, i - top, j - left, :], 0 outside. x [n, h, w, c], y [n, oh, ow, c]. Group g:
 * a share of the n·oh rows of y. */
CLV_GROUP __kernel void pad_fwd(__global float *restrict y, ulong y_at,
                                __global const float *restrict x, ulong x_at, int n, int h, int w,
                                int c, int top, int left, int oh, int ow, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n * oh, share); r < end; r++) {
        __global float *out = y + y_at + (size_t)r * ow * c;
        const int i = r % oh - top;
        if (i < 0 || i >= h) {
            zero_row(out, ow * c);
            continue;
        }
        zero_row(out, left * c);
        copy_row(out + left * c, x + x_at + ((size_t)(r / oh) * h + i) * w * c, w * c);
        zero_row(out + (left + w) * c, (ow - left - w) * c);
    }
}

/* gx[s, i, j, :] = gy[s, i + top, j + left, :]. Group g: a share of the n·h rows of gx. */
CLV_GROUP __kernel void pad_bwd(__global float *restrict gx, ulong gx_at,
                                __global const float *restrict gy, ulong gy_at, int n, int h, int w,
                                int c, int top, int left, int oh, int ow, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const size_t row = (size_t)(r / h) * oh + r % h + top;
        copy_row(gx + gx_at + (size_t)r * w * c, gy + gy_at + (row * ow + left) * c, w * c);
    }
}
