/* adaptive_avg_pool2d: mean over the windows that share a picture of h × w pixels out among oh ×
 * ow, NHWC: output o of O has pixels ⌊o·S/O⌋ up to before ⌈(o + 1)·S/O⌉ of an axis of S, so that
 * windows may overlap and a smaller picture is repeated. NDRange: groups of CLV_ITEMS work-items;
 * forward: each a share of the n·oh output rows, backward: of the n·h input rows; 0 bytes of local
 * memory. Outputs are overwritten. */
#include "group.clh"

/* First and one past the last pixel of window o of `count` along an axis of `size` pixels. */
static int2 window_of(int o, int count, int size)
{
    return (int2)(o * size / count, ((o + 1) * size + count - 1) / count);
}

/* y = mean of x over the window. x [n, h, w, c], y [n, oh, ow, c]. */
CLV_GROUP __kernel void adaptive_avg_pool2d_fwd(__global float *restrict y, ulong y_at,
                                                __global const float *restrict x, ulong x_at, int n,
                                                int h, int w, int c, int oh, int ow, int share)
{
    y += y_at;
    x += x_at;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * oh, share); r < end; r++) {
        __global const float *in = x + (size_t)(r / oh) * h * w * c;
        const int2 rows = window_of(r % oh, oh, h);
        CLV_ROWS(ox, s, 0, ow)
        {
            const int2 columns = window_of(ox, ow, w);
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

/* gx = the sum of gy/(pixels of the window) over the windows that hold the pixel, ⌊i·O/S⌋ to
 * ⌈(i + 1)·O/S⌉ - 1 for pixel i: a gather. gx [n, h, w, c], gy [n, oh, ow, c]. */
CLV_GROUP __kernel void adaptive_avg_pool2d_bwd(__global float *restrict gx, ulong gx_at,
                                                __global const float *restrict gy, ulong gy_at,
                                                int n, int h, int w, int c, int oh, int ow,
                                                int share)
{
    gx += gx_at;
    gy += gy_at;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        __global const float *from = gy + (size_t)(r / h) * oh * ow * c;
        const int2 down = window_of(r % h, h, oh);
        CLV_ROWS(iw, s, 0, w)
        {
            const int2 across = window_of(iw, w, ow);
            CLV_COLUMNS(k, s, c)
            {
                floatV sum = (floatV)(0);
                for (int oy = down.x; oy < down.y; oy++) {
                    const int2 rows = window_of(oy, oh, h);
                    for (int ox = across.x; ox < across.y; ox++) {
                        const int2 columns = window_of(ox, ow, w);
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
