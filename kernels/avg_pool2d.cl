/* avg_pool2d: mean over windows of kernel × kernel pixels, NHWC; padded pixels are not counted.
 * NDRange: groups of CLV_ITEMS work-items; forward: each a share of the n·oh output rows, backward:
 * of the n·h input rows; 0 bytes of local memory. Outputs are overwritten. */
#include "group.clh"

/* First and one past the last pixel of window o along an axis of `size` pixels. */
static int2 window_of(int o, int kernel_size, int stride, int pad, int size)
{
    const int begin = o * stride - pad;
    return (int2)(max(begin, 0), min(begin + kernel_size, size));
}

/* y = mean of x over the window's pixels inside the picture. x [n, h, w, c], y [n, oh, ow, c]. */
CLV_GROUP __kernel void avg_pool2d_fwd(__global float *restrict y, ulong y_at,
                                       __global const float *restrict x, ulong x_at, int n, int h,
                                       int w, int c, int oh, int ow, int kernel_size, int stride,
                                       int pad, int share)
{
    y += y_at;
    x += x_at;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * oh, share); r < end; r++) {
        __global const float *in = x + (size_t)(r / oh) * h * w * c;
        const int2 rows = window_of(r % oh, kernel_size, stride, pad, h);
        CLV_ROWS(ox, s, 0, ow)
        {
            const int2 columns = window_of(ox, kernel_size, stride, pad, w);
            const float scale = 1.0f / (float)((rows.y - rows.x) * (columns.y - columns.x));
            CLV_COLUMNS(k, s, c)
            {
                floatV sum = (floatV)(0);
                for (int iy = rows.x; iy < rows.y; iy++)
                    for (int ix = columns.x; ix < columns.y; ix++)
                        sum += clv_load(in + ((size_t)iy * w + ix) * c + k, c - k, 0);
                clv_store(sum * scale, y + ((size_t)r * ow + ox) * c + k, c - k);
            }
        }
    }
}

/* gx = the sum of gy/(pixels of the window) over the windows that hold the pixel: a gather.
 * gx [n, h, w, c], gy [n, oh, ow, c]. */
CLV_GROUP __kernel void avg_pool2d_bwd(__global float *restrict gx, ulong gx_at,
                                       __global const float *restrict gy, ulong gy_at, int n, int h,
                                       int w, int c, int oh, int ow, int kernel_size, int stride,
                                       int pad, int share)
{
    gx += gx_at;
    gy += gy_at;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int ih = r % h;
        __global const float *from = gy + (size_t)(r / h) * oh * ow * c;
        const int y0 = max((ih + pad - kernel_size + stride) / stride, 0);
        const int y1 = min((ih + pad) / stride, oh - 1);
        CLV_ROWS(iw, s, 0, w)
        {
            const int x0 = max((iw + pad - kernel_size + stride) / stride, 0);
            const int x1 = min((iw + pad) / stride, ow - 1);
            CLV_COLUMNS(k, s, c)
            {
                floatV sum = (floatV)(0);
                for (int oy = y0; oy <= y1; oy++) {
                    const int2 rows = window_of(oy, kernel_size, stride, pad, h);
                    for (int ox = x0; ox <= x1; ox++) {
                        const int2 columns = window_of(ox, kernel_size, stride, pad, w);
                        const int pixels = (rows.y - rows.x) * (columns.y - columns.x);
                        const floatV g = clv_load(from + ((size_t)oy * ow + ox) * c + k, c - k, 0);
                        sum += g * (1.0f / (float)pixels);
                    }
                }
                clv_store(sum, gx + ((size_t)r * w + iw) * c + k, c - k);
            }
        }
    }
}
