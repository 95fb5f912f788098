/* max_pool2d: maximum over windows of kernel × kernel pixels, NHWC. Padded pixels are ignored;
 * among equals the first in row order wins; a NaN wins over everything. NDRange: groups of
 * CLV_ITEMS work-items; forward: each a share of the n·oh output rows, backward: of the n·h input
 * rows; 0 bytes of local memory. Outputs are overwritten. */
#include "group.clh"

/* The first min(left, CLV_V) bytes of v to p, and back. */
static void store_bytes(ucharV v, __global uchar *p, int left)
{
    if (left >= CLV_V) {
        vstoreV(v, 0, p);
        return;
    }
    uchar lane[CLV_V];
    vstoreV(v, 0, lane);
    for (int i = 0; i < left; i++)
        p[i] = lane[i];
}

static ucharV load_bytes(__global const uchar *p, int left)
{
    if (left >= CLV_V)
        return vloadV(0, p);
    uchar lane[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = i < left ? p[i] : 0;
    return vloadV(0, lane);
}

/* One output pixel: its window is rows [h0, h1) and columns [w0, w1) of `in`, the picture. Writes
 * the maximum and, where `index` is not NULL, its place (row·kernel + column) in the window, which
 * starts at row `top` and column `left_edge`, inside the picture or not. */
static void pool_pixel(__global const float *in, __global float *out, __global uchar *index, int w,
                       int c, int kernel_size, int4 window, int top, int left_edge, clv_span s)
{
    CLV_COLUMNS(k, s, c)
    {
        const int left = c - k;
        floatV best = (floatV)(0);
        intV place = (intV)(-1);
        for (int y = window.x; y < window.y; y++)
            for (int x = window.z; x < window.w; x++) {
                const floatV v = clv_load(in + ((size_t)y * w + x) * c + k, left, 0);
                const int here = (y - top) * kernel_size + x - left_edge;
                const intV wins = (place < 0) | (v > best) | (v != v);
                best = wins ? v : best;
                place = wins ? (intV)(here) : place;
            }
        clv_store(best, out + k, left);
        if (index)
            store_bytes(convert_ucharV(place), index + k, left);
    }
}

/* y = max over the window; saved [n, oh, ow, c] bytes: where in the window it was (NULL in
 * inference). x [n, h, w, c], y [n, oh, ow, c]; saved_at counts 4-byte elements. */
CLV_GROUP __kernel void max_pool2d_fwd(__global float *restrict y, ulong y_at,
                                       __global uchar *restrict saved, ulong saved_at,
                                       __global const float *restrict x, ulong x_at, int n, int h,
                                       int w, int c, int oh, int ow, int kernel_size, int stride,
                                       int pad, int share)
{
    y += y_at;
    if (saved)
        saved += saved_at * 4;
    x += x_at;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * oh, share); r < end; r++) {
        __global const float *in = x + (size_t)(r / oh) * h * w * c;
        const int top = r % oh * stride - pad;
        int4 window;
        window.x = max(top, 0);
        window.y = min(top + kernel_size, h);
        CLV_ROWS(ox, s, 0, ow)
        {
            const size_t at = ((size_t)r * ow + ox) * c;
            const int left_edge = ox * stride - pad;
            window.z = max(left_edge, 0);
            window.w = min(left_edge + kernel_size, w);
            pool_pixel(in, y + at, saved ? saved + at : 0, w, c, kernel_size, window, top,
                       left_edge, s);
        }
    }
}

/* gx = the sum of gy over the windows whose maximum the pixel was: a gather, so no two work-items
 * write one element. gx [n, h, w, c], gy [n, oh, ow, c], saved as max_pool2d_fwd left it. */
CLV_GROUP __kernel void max_pool2d_bwd(__global float *restrict gx, ulong gx_at,
                                       __global const float *restrict gy, ulong gy_at,
                                       __global const uchar *restrict saved, ulong saved_at, int n,
                                       int h, int w, int c, int oh, int ow, int kernel_size,
                                       int stride, int pad, int share)
{
    gx += gx_at;
    gy += gy_at;
    saved += saved_at * 4;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int ih = r % h;
        const size_t first = (size_t)(r / h) * oh * ow * c;
        /* Windows with o·stride - pad <= i < o·stride - pad + kernel. */
        const int y0 = max((ih + pad - kernel_size + stride) / stride, 0);
        const int y1 = min((ih + pad) / stride, oh - 1);
        CLV_ROWS(iw, s, 0, w)
        {
            const int x0 = max((iw + pad - kernel_size + stride) / stride, 0);
            const int x1 = min((iw + pad) / stride, ow - 1);
            CLV_COLUMNS(k, s, c)
            {
                const int left = c - k;
                floatV sum = (floatV)(0);
                for (int oy = y0; oy <= y1; oy++)
                    for (int ox = x0; ox <= x1; ox++) {
                        const size_t at = first + ((size_t)oy * ow + ox) * c + k;
                        const int here =
                            (ih + pad - oy * stride) * kernel_size + iw + pad - ox * stride;
                        const intV place = convert_intV(load_bytes(saved + at, left));
                        const floatV g = clv_load(gy + at, left, 0);
                        sum += place == here ? g : (floatV)(0);
                    }
                clv_store(sum, gx + ((size_t)r * w + iw) * c + k, left);
            }
        }
    }
}
