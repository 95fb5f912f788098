/* Convolution of NHWC pictures for GPUs (tiled.clh) and its gradients, as matrix products whose
 * left factor is gathered from the picture on the way into local memory. Host side:
 * core/ops/conv2d_tiled.c. Outputs are overwritten; sums run in an order that depends on the shapes
 * only. Local memory of the products: 2 slices, 8.3 KiB with CLV_TS 16. */
#include "activation.clh"
#include "tiled.clh"

#define CONV_BIAS 4 /* flags: bits 0 … 1 are the activation's code */
#define CONV_LINEAR                                                                                \
    8 /* f[(a·kw + b)·ci + c] is at that multiple of f_c, with its columns side by side */

/* y[n, i, j, k] = act(Σ x[n, i·sh - pt + a, j·sw - pl + b, c]·f[a, b, c, k] + bias[k]), x zero
 * outside the picture; a < kh, b < kw, c < ci, k < co: channels of one of the groups. The gradient
 * to the input is this, too, with dz for x and the filter flipped (negative f_a, f_b).
 *
 * Elements between neighbours: pixels of x x_pixel; f: f_a, f_b, f_c, f_k; y: picture y_image, row
 * y_row, pixel y_pixel. Groups of channels are x_group, f_group, y_group apart. `pixels`: those of
 * the output, n·oh·ow.
 * NDRange: group (p, g, q): the columns [p·CLV_TILE, …) of channel group q; the pixels of tiles g,
 * g
 * + groups, …. */
CLV_TILED __kernel void
conv2d_tiled(__global float *restrict y, ulong y_at, __global const float *restrict x, ulong x_at,
             __global const float *restrict f, ulong f_at, __global const float *restrict bias,
             ulong bias_at, int pixels, int h, int w, int x_pixel, int ci, int kh, int kw, int sh,
             int sw, int pt, int pl, int oh, int ow, int co, int y_image, int y_row, int y_pixel,
             int f_a, int f_b, int f_c, int f_k, int x_group, int f_group, int y_group, int flags)
{
    __local float left[CLV_SLICE], right[CLV_SLICE];
    const int q = (int)get_group_id(2), first = (int)get_group_id(0) * CLV_TILE;
    const int terms = kh * kw * ci;
    x += x_at + (size_t)q * x_group;
    f += f_at + (size_t)q * f_group;
    y += y_at + (size_t)q * y_group;
    for (int start = (int)get_group_id(1) * CLV_TILE; start < pixels;
         start += (int)get_num_groups(1) * CLV_TILE) {
        /* The pixels whose values this work-item loads. */
        int top[CLV_LOADS], side[CLV_LOADS], picture[CLV_LOADS];
        CLV_UNROLL
        for (int r = 0; r < CLV_LOADS; r++) {
            const int p = start + CLV_ALONG_I(r), row = p / ow;
            top[r] = p < pixels ? row % oh * sh - pt : -0x40000000;
            side[r] = p % ow * sw - pl;
            picture[r] = row / oh * h;
        }
        float acc[CLV_TR][CLV_TR];
        clv_tile_zero(acc);
        for (int t0 = 0; t0 < terms; t0 += CLV_TK) {
            const int t = t0 + CLV_ALONG_L, tap = t / ci, c = t - tap * ci;
            const int a = tap / kw, b = tap - a * kw;
            CLV_UNROLL
            for (int r = 0; r < CLV_LOADS; r++) {
                const int i = top[r] + a, j = side[r] + b;
                const bool inside = t < terms && i >= 0 && i < h && j >= 0 && j < w;
                left[CLV_AT(CLV_ALONG_L, CLV_ALONG_I(r))] =
                    inside ? x[(size_t)((picture[r] + i) * w + j) * x_pixel + c] : 0.0f;
            }
            if (flags & CONV_LINEAR) {
                const int k = first + CLV_ACROSS_I;
                CLV_UNROLL
                for (int r = 0; r < CLV_LOADS; r++) {
                    const int l = CLV_ACROSS_L(r);
                    right[CLV_AT(l, CLV_ACROSS_I)] =
                        k < co && t0 + l < terms ? f[(size_t)(t0 + l) * f_c + k] : 0.0f;
                }
            } else {
                const int at = a * f_a + b * f_b + c * f_c;
                CLV_UNROLL
                for (int r = 0; r < CLV_LOADS; r++) {
                    const int k = first + CLV_ALONG_I(r);
                    right[CLV_AT(CLV_ALONG_L, CLV_ALONG_I(r))] =
                        k < co && t < terms ? f[at + k * f_k] : 0.0f;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            clv_tile_step(acc, left, right);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        CLV_UNROLL
        for (int i = 0; i < CLV_TR; i++) {
            const int p = start + CLV_TILE_ROW(i), row = p / ow;
            __global float *to = y + (size_t)(row / oh) * y_image + (size_t)(row % oh) * y_row +
                                 (size_t)(p % ow) * y_pixel;
            CLV_UNROLL
            for (int j = 0; j < CLV_TR; j++) {
                const int k = first + CLV_TILE_COLUMN(j);
                if (p < pixels && k < co) {
                    float v = acc[i][j];
                    if (flags & CONV_BIAS)
                        v += bias[bias_at + q * y_group + k];
                    to[k] = clv_act_one(v, flags & 3);
                }
            }
        }
    }
}

/* Part of the gradient to the weights, from a chunk of the output's pixels:
 *     part[s][a][b][c][k] = Σ x[n, i·sh - pt + a, j·sw - pl + b, c]·dz[n, i, j, k]
 * over the pixels (n, i, j) in [s·chunk, (s + 1)·chunk) of all n pictures, counted through. ci, co:
 * channels of one group; pixels of x and of dz (and rows of part) lie x_pixel and z_pixel apart.
 * NDRange: group (p, g, q·parts + s): the columns k in [p·CLV_TILE, …), the rows (a, b, c) in
 * [g·CLV_TILE, …) of channel group q. */
CLV_TILED __kernel void conv2d_bwd_param_tiled(__global float *restrict part, ulong part_at,
                                               __global const float *restrict x, ulong x_at,
                                               __global const float *restrict dz, ulong dz_at,
                                               int pixels, int h, int w, int x_pixel, int ci,
                                               int kh, int kw, int sh, int sw, int pt, int pl,
                                               int oh, int ow, int co, int z_pixel, int parts,
                                               int chunk)
{
    __local float left[CLV_SLICE], right[CLV_SLICE];
    const int q = (int)get_group_id(2) / parts, s = (int)get_group_id(2) % parts;
    const int first = (int)get_group_id(0) * CLV_TILE, top = (int)get_group_id(1) * CLV_TILE;
    const int begin = s * chunk, end = min(pixels, begin + chunk), rows = kh * kw * ci;
    /* The row and the column that this work-item loads. */
    const int m = top + CLV_ACROSS_I, tap = m / ci, a = tap / kw;
    const int dy = a - pt, dx = tap - a * kw - pl, k = first + CLV_ACROSS_I;
    float acc[CLV_TR][CLV_TR];
    x += x_at + q * ci + (m - tap * ci);
    dz += dz_at + q * co + k;
    part += part_at + (size_t)s * rows * z_pixel + q * co;
    clv_tile_zero(acc);
    for (int p0 = begin; p0 < end; p0 += CLV_TK) {
        CLV_UNROLL
        for (int r = 0; r < CLV_LOADS; r++) {
            const int p = p0 + CLV_ACROSS_L(r), row = p / ow, picture = row / oh;
            const int i = (row - picture * oh) * sh + dy, j = (p - row * ow) * sw + dx;
            const bool inside = m < rows && p < end && i >= 0 && i < h && j >= 0 && j < w;
            left[CLV_AT(CLV_ACROSS_L(r), CLV_ACROSS_I)] =
                inside ? x[(size_t)((picture * h + i) * w + j) * x_pixel] : 0.0f;
            right[CLV_AT(CLV_ACROSS_L(r), CLV_ACROSS_I)] =
                k < co && p < end ? dz[(size_t)p * z_pixel] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        clv_tile_step(acc, left, right);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    CLV_UNROLL
    for (int i = 0; i < CLV_TR; i++)
        CLV_UNROLL
    for (int j = 0; j < CLV_TR; j++) {
        const int row = top + CLV_TILE_ROW(i), column = first + CLV_TILE_COLUMN(j);
        if (row < rows && column < co)
            part[(size_t)row * z_pixel + column] = acc[i][j];
    }
}

/* to[i, k] = weights[i, k]·scale[k]: a normalisation folded into the filters. weights, to [rows,
 * co]. NDRange: group g takes the elements [g·share, …), its work-items side by side. */
__attribute__((reqd_work_group_size(CLV_TS * CLV_TS, 1, 1))) __kernel void
conv2d_scale(__global float *restrict to, ulong to_at, __global const float *restrict weights,
             ulong weights_at, __global const float *restrict scale, ulong scale_at, int total,
             int co, int share)
{
    const int end = CLV_END(total, share);
    for (int i = CLV_BEGIN(share) + (int)get_local_id(0); i < end; i += CLV_TS * CLV_TS)
        to[to_at + i] = weights[weights_at + i] * scale[scale_at + i % co];
}
