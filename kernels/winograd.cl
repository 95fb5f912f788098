/* Convolution of 3 × 3 without strides by Winograd's algorithm F(4 × 4, 3 × 3): 36 products of
 * matrices for 16 pixels of the output, where the sum over the filter's taps takes 144. Wide form
 * (wide.clh). Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR
 * 2016), the interpolation points 0, ±1, ±2, ∞. With
 *
 *     Bᵀ = 4  0 -5  0 1 0    G =  1/4     0    0    Aᵀ = 1 1  1 1  1 0
 *          0 -4 -4  1 1 0        -1/6 -1/6 -1/6          0 1 -1 2 -2 0
 *          0  4 -4 -1 1 0        -1/6  1/6 -1/6          0 1  1 4  4 0
 *          0 -2 -1  2 1 0        1/24 1/12  1/6          0 1 -1 8 -8 1
 *          0  2 -1 -2 1 0        1/24 -1/12 1/6
 *          0  4  0 -5 0 1           0    0    1
 *
 * a tile of 4 × 4 pixels of one output channel is y = Aᵀ [Σ_c (G w_c Gᵀ) ⊙ (Bᵀ d_c B)] A, d_c the 6
 * × 6 pixels of channel c under it. The gradient to the input is such a convolution of dz with the
 * filter flipped; the one to the weights is Gᵀ [Σ_tiles (Bᵀ d B) ⊙ (A dz Aᵀ)] G. Rounding errors
 * are some ten times those of the plain sum.
 *
 * Tiles of all pictures are counted through, in rows; host side: core/ops/conv2d_winograd.c.
 * NDRange of every kernel: groups of one work-item, 0 bytes of local memory. The order of summation
 * depends on the shapes only. */
#include "activation.clh"
#include "wide_param.clh"
#include "wide_product.clh"

#define WINO_POINTS 36

/* Where a tile lies: its picture, and its first pixel there. */
typedef struct place {
    int image, top, left;
} place;

static place place_of(int tile, int ty_all, int tx_all)
{
    place p = {tile / (ty_all * tx_all), tile / tx_all % ty_all * 4, tile % tx_all * 4};
    return p;
}

/* o[0], o[os], … (6) = Bᵀ · (d[0], d[ds], … (6)) */
#define WINO_BT(o, os, d, ds)                                                                      \
    do {                                                                                           \
        const floatV d0 = (d)[0], d1 = (d)[ds], d2 = (d)[2 * ds], d3 = (d)[3 * ds];                \
        const floatV d4 = (d)[4 * ds], d5 = (d)[5 * ds];                                           \
        const floatV even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1;                                  \
        const floatV near = d4 - d2, far = 2.0f * (d3 - d1);                                       \
        (o)[0] = 4.0f * d0 - 5.0f * d2 + d4;                                                       \
        (o)[os] = even + odd;                                                                      \
        (o)[2 * os] = even - odd;                                                                  \
        (o)[3 * os] = near + far;                                                                  \
        (o)[4 * os] = near - far;                                                                  \
        (o)[5 * os] = 4.0f * d1 - 5.0f * d3 + d5;                                                  \
    } while (0)

/* o (4) = Aᵀ · m (6) */
#define WINO_AT(o, os, m, ms)                                                                      \
    do {                                                                                           \
        const floatV sum12 = (m)[ms] + (m)[2 * ms], dif12 = (m)[ms] - (m)[2 * ms];                 \
        const floatV sum34 = (m)[3 * ms] + (m)[4 * ms], dif34 = (m)[3 * ms] - (m)[4 * ms];         \
        (o)[0] = (m)[0] + sum12 + sum34;                                                           \
        (o)[os] = dif12 + 2.0f * dif34;                                                            \
        (o)[2 * os] = sum12 + 4.0f * sum34;                                                        \
        (o)[3 * os] = dif12 + 8.0f * dif34 + (m)[5 * ms];                                          \
    } while (0)

/* o (6) = A · y (4) */
#define WINO_A(o, os, y, ys)                                                                       \
    do {                                                                                           \
        const floatV even = (y)[0] + (y)[2 * ys], odd = (y)[ys] + (y)[3 * ys];                     \
        const floatV far = (y)[0] + 4.0f * (y)[2 * ys],                                            \
                     wide = 2.0f * (y)[ys] + 8.0f * (y)[3 * ys];                                   \
        (o)[0] = (y)[0];                                                                           \
        (o)[os] = even + odd;                                                                      \
        (o)[2 * os] = even - odd;                                                                  \
        (o)[3 * os] = far + wide;                                                                  \
        (o)[4 * os] = far - wide;                                                                  \
        (o)[5 * os] = (y)[3 * ys];                                                                 \
    } while (0)

/* o (6) = G · w (3) */
#define WINO_G(o, os, w, ws)                                                                       \
    do {                                                                                           \
        const floatV ends = (w)[0] + (w)[2 * ws];                                                  \
        const floatV slope = (1.0f / 24) * (w)[0] + (1.0f / 6) * (w)[2 * ws];                      \
        (o)[0] = 0.25f * (w)[0];                                                                   \
        (o)[os] = (-1.0f / 6) * (ends + (w)[ws]);                                                  \
        (o)[2 * os] = (-1.0f / 6) * (ends - (w)[ws]);                                              \
        (o)[3 * os] = slope + (1.0f / 12) * (w)[ws];                                               \
        (o)[4 * os] = slope - (1.0f / 12) * (w)[ws];                                               \
        (o)[5 * os] = (w)[2 * ws];                                                                 \
    } while (0)

/* o (3) = Gᵀ · u (6) */
#define WINO_GT(o, os, u, us)                                                                      \
    do {                                                                                           \
        const floatV near = (u)[us] + (u)[2 * us], far = (u)[3 * us] + (u)[4 * us];                \
        (o)[0] = 0.25f * (u)[0] - (1.0f / 6) * near + (1.0f / 24) * far;                           \
        (o)[os] =                                                                                  \
            (1.0f / 6) * ((u)[2 * us] - (u)[us]) + (1.0f / 12) * ((u)[3 * us] - (u)[4 * us]);      \
        (o)[2 * os] = (1.0f / 6) * (far - near) + (u)[5 * us];                                     \
    } while (0)

/* The filter, ready for winograd_products: out[point][q][l][j] = (G w Gᵀ)[point] of the 3 × 3
 * weights w[a][b] = scale[q·CLV_NB + j] · from[a·tap_y + b·tap_x + l·row + (q·CLV_NB + j)·column],
 * q < ceil(n / CLV_NB), l < k, j < CLV_NB, zeros beyond column n (strides may be negative: a
 * flipped filter). scale NULL: 1. NDRange: group (g, q): rows l in [g·share, …) of block q.
 * Overwrites. */
CLV_KERNEL(winograd_filter, __global float *restrict out, ulong out_at,
           __global const float *restrict from, ulong from_at, __global const float *restrict scale,
           ulong scale_at, int n, int k, int row, int column, int tap_y, int tap_x, int share)
{
    const int q = CLV_GROUP_ID(1), first = q * CLV_NB, columns = min(n - first, CLV_NB);
    const size_t apart = (size_t)CLV_GROUPS(1) * k * CLV_NB;
    out += out_at + (size_t)q * k * CLV_NB;
    from += from_at + (size_t)first * column;
    const int end = CLV_END(k, share);
    for (int j0 = 0; j0 < CLV_NB; j0 += CLV_V) {
        const int left = columns - j0;
        const floatV times = scale ? clv_load(scale + scale_at + first + j0, left, 0) : (floatV)(1);
        for (int l0 = CLV_BEGIN(share); l0 < end; l0 += CLV_V) {
            /* Where columns lie apart: CLV_V rows of each at once, which lie side by side then. */
            float square[9][CLV_V * CLV_V];
            for (int i = 0; column != 1 && i < 9 * CLV_V; i++) {
                const int t = i / CLV_V, j = i % CLV_V;
                __global const float *tap =
                    from + (t / 3 * tap_y + t % 3 * tap_x) + (size_t)l0 * row;
                vstoreV(clv_load(tap + (size_t)(j0 + j) * column, j < left ? end - l0 : 0, 0), j,
                        square[t]);
            }
            for (int l = l0; l < min(end, l0 + CLV_V); l++) {
                floatV w[9], part[18], u[WINO_POINTS];
                for (int t = 0; t < 9; t++) {
                    __global const float *tap =
                        from + (t / 3 * tap_y + t % 3 * tap_x) + (size_t)l * row + j0;
                    float lane[CLV_V];
                    CLV_UNROLL
                    for (int j = 0; j < CLV_V; j++)
                        lane[j] = square[t][j * CLV_V + l - l0];
                    w[t] = times * (column == 1 ? clv_load(tap, left, 0) : vloadV(0, lane));
                }
                CLV_UNROLL
                for (int b = 0; b < 3; b++)
                    WINO_G(part + b, 3, w + b, 3);
                CLV_UNROLL
                for (int a = 0; a < 6; a++)
                    WINO_G(u + 6 * a, 1, part + 3 * a, 1);
                for (int p = 0; p < WINO_POINTS; p++)
                    clv_put(u[p], out + p * apart + (size_t)l * CLV_NB + j0);
            }
        }
    }
}

/* v[point][t][c] = (Bᵀ d B)[point] of the 6 × 6 pixels of x from (4·ty - pt, 4·tx - pl) on, zeros
 * outside the picture; for the tiles first + t, t < tiles, of pictures of ty_all × tx_all tiles. x
 * [n, h, w, c]. NDRange: group g: the tiles t in [g·share, …). Overwrites. */
CLV_KERNEL(winograd_input, __global float *restrict v, ulong v_at, __global const float *restrict x,
           ulong x_at, int first, int tiles, int ty_all, int tx_all, int h, int w, int c, int pt,
           int pl, int share)
{
    const size_t apart = (size_t)tiles * c;
    v += v_at;
    x += x_at;
    for (int t = CLV_BEGIN(share); t < CLV_END(tiles, share); t++) {
        const place at = place_of(first + t, ty_all, tx_all);
        const int top = at.top - pt, left = at.left - pl;
        __global const float *picture = x + (size_t)at.image * h * w * c;
        for (int j = 0; j < c; j += CLV_V) {
            floatV d[WINO_POINTS], part[WINO_POINTS];
            for (int a = 0; a < 6; a++) {
                const bool inside = top + a >= 0 && top + a < h;
                __global const float *line = picture + (ptrdiff_t)((top + a) * w + left) * c + j;
                CLV_UNROLL
                for (int b = 0; b < 6; b++)
                    d[6 * a + b] = inside && left + b >= 0 && left + b < w
                                       ? clv_load(line + b * c, c - j, 0)
                                       : (floatV)(0);
            }
            CLV_UNROLL
            for (int b = 0; b < 6; b++)
                WINO_BT(part + b, 6, d + b, 6);
            CLV_UNROLL
            for (int a = 0; a < 6; a++)
                WINO_BT(d + 6 * a, 1, part + 6 * a, 1);
            for (int p = 0; p < WINO_POINTS; p++)
                clv_store(d[p], v + p * apart + (size_t)t * c + j, c - j);
        }
    }
}

/* m[point][t][o] = Σ_l v[point][t][l] · u[point][q][l][j], o = q·CLV_NB + j < co, l < k: 36
 * products. NDRange: group (q, g, point): column block q, the tiles t in [g·share, …). Overwrites.
 */
CLV_KERNEL(winograd_products, __global float *restrict m, ulong m_at,
           __global const float *restrict v, ulong v_at, __global const float *restrict u,
           ulong u_at, int tiles, int k, int co, int depth, int share)
{
    const int q = CLV_GROUP_ID(0), point = CLV_GROUP_ID(2);
    const int begin = CLV_GROUP_ID(1) * share, end = min(tiles, begin + share);
    const size_t blocks = CLV_GROUPS(0);
    m += m_at + (size_t)point * tiles * co + q * CLV_NB;
    v += v_at + (size_t)point * tiles * k;
    u += u_at + (point * blocks + q) * k * CLV_NB;
    for (int l = 0; l < k; l += depth)
        wide_rows(m, v + l, u + (size_t)l * CLV_NB, u, begin, end, min(depth, k - l), co, k, CLV_NB,
                  min(co - q * CLV_NB, CLV_NB), l == 0 ? 0 : GEMM_ACCUMULATE);
}

/* The largest of each 2 × 2 of 4 × 4 pixels to the first two of the first two rows; a NaN is larger
 * than everything. */
static void pool_tile(floatV *o)
{
    CLV_UNROLL
    for (int i = 0; i < 4; i++) {
        const int from = i / 2 * 8 + i % 2 * 2;
        floatV best = o[from];
        CLV_UNROLL
        for (int k = 1; k < 4; k++)
            best = clv_larger(best, o[from + k / 2 * 4 + k % 2]);
        o[i / 2 * 4 + i % 2] = best;
    }
}

/* y = act(Aᵀ m A + bias), the pixels of each tile that lie in the picture: y [n, oh, ow, c]; tiles
 * as in winograd_input; flags: bits 0 … 1 the activation's code, 4 with bias, 8: of each 2 × 2
 * pixels the largest instead, y [n, oh/2, ow/2, c], oh and ow even, no silu. NDRange: group g: the
 * tiles t in [g·share, …). Overwrites. */
CLV_KERNEL(winograd_output, __global float *restrict y, ulong y_at,
           __global const float *restrict m, ulong m_at, __global const float *restrict bias,
           ulong bias_at, int first, int tiles, int ty_all, int tx_all, int oh, int ow, int c,
           int flags, int share)
{
    const size_t apart = (size_t)tiles * c;
    m += m_at;
    bias += bias_at;
    for (int t = CLV_BEGIN(share); t < CLV_END(tiles, share); t++) {
        const place at = place_of(first + t, ty_all, tx_all);
        const int side = flags & 8 ? 2 : 1, row = ow / side, high = (oh - at.top) / side;
        const int wide = (ow - at.left) / side;
        __global float *to =
            y + y_at +
            (((size_t)at.image * (oh / side) + at.top / side) * row + at.left / side) * c;
        for (int j = 0; j < c; j += CLV_V) {
            floatV s[WINO_POINTS], part[24], o[16];
            for (int p = 0; p < WINO_POINTS; p++)
                s[p] = clv_load(m + p * apart + (size_t)t * c + j, c - j, 0);
            CLV_UNROLL
            for (int b = 0; b < 6; b++)
                WINO_AT(part + b, 6, s + b, 6);
            CLV_UNROLL
            for (int a = 0; a < 4; a++)
                WINO_AT(o + 4 * a, 1, part + 6 * a, 1);
            const floatV add = flags & 4 ? clv_load(bias + j, c - j, 0) : (floatV)(0);
            if (side == 2)
                pool_tile(o);
            for (int a = 0; a < min(4 / side, high); a++)
                for (int b = 0; b < min(4 / side, wide); b++)
                    clv_store(clv_act(o[4 * a + b] + add, flags & 3),
                              to + (size_t)(a * row + b) * c + j, c - j);
        }
    }
}

/* d[point][t][o] = (A dz Aᵀ)[point] of the 4 × 4 pixels of each tile of dz [n, oh, ow, c], zeros
 * outside the picture; tiles and NDRange as in winograd_output. Overwrites. */
CLV_KERNEL(winograd_grad, __global float *restrict d, ulong d_at, __global const float *restrict dz,
           ulong dz_at, int first, int tiles, int ty_all, int tx_all, int oh, int ow, int c,
           int share)
{
    const size_t apart = (size_t)tiles * c;
    d += d_at;
    for (int t = CLV_BEGIN(share); t < CLV_END(tiles, share); t++) {
        const place at = place_of(first + t, ty_all, tx_all);
        __global const float *from =
            dz + dz_at + (((size_t)at.image * oh + at.top) * ow + at.left) * c;
        for (int j = 0; j < c; j += CLV_V) {
            floatV s[16], part[24], o[WINO_POINTS];
            for (int p = 0; p < 16; p++)
                s[p] = at.top + p / 4 < oh && at.left + p % 4 < ow
                           ? clv_load(from + (size_t)(p / 4 * ow + p % 4) * c + j, c - j, 0)
                           : (floatV)(0);
            CLV_UNROLL
            for (int b = 0; b < 4; b++)
                WINO_A(part + b, 4, s + b, 4);
            CLV_UNROLL
            for (int a = 0; a < 6; a++)
                WINO_A(o + 6 * a, 1, part + 4 * a, 1);
            for (int p = 0; p < WINO_POINTS; p++)
                clv_store(o[p], d + p * apart + (size_t)t * c + j, c - j);
        }
    }
}

/* Tiles of a pass of winograd_param: their columns of d stay in a level-1 cache. */
#define WINO_PIECE 128

/* du[point][c][o] = or += (add) Σ_t v[point][t][c] · d[point][t][o], c < ci, o < co. ci is at least
 * CLV_PR. NDRange: group (q, g, point): columns [q·CLV_NB, …), rows [g·share, …). */
CLV_KERNEL(winograd_param, __global float *restrict du, ulong du_at,
           __global const float *restrict v, ulong v_at, __global const float *restrict d,
           ulong d_at, int tiles, int ci, int co, int add, int share)
{
    const int first = CLV_GROUP_ID(0) * CLV_NB, columns = min(co - first, CLV_NB);
    const int begin = CLV_GROUP_ID(1) * share, run = min(ci - begin, share);
    const int point = CLV_GROUP_ID(2);
    floatV panel[WINO_PIECE * CLV_NV];
    int from[WINO_PIECE], with[WINO_PIECE];
    du += du_at + ((size_t)point * ci + begin) * co + first;
    v += v_at + (size_t)point * tiles * ci + begin;
    d += d_at + (size_t)point * tiles * co + first;
    for (int t = 0; t < WINO_PIECE; t++) {
        from[t] = t * ci;
        with[t] = t;
    }
    for (int t0 = 0; t0 < tiles; t0 += WINO_PIECE) {
        const int count = min(tiles - t0, WINO_PIECE);
        for (int t = 0; t < count; t++)
            CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++)
            panel[t * CLV_NV + j] =
                clv_load(d + (size_t)(t0 + t) * co + j * CLV_V, columns - j * CLV_V, 0);
        param_channels(du, v + (size_t)t0 * ci, panel, from, with, count, run, co, columns, begin,
                       add || t0 > 0);
    }
}

/* dw[a][b][c][o] = (Gᵀ du G)[a][b]; du [36, ci, co], dw [3, 3, ci, co]. NDRange: group g: elements
 * [g·share, …) of the ci·co. Overwrites. */
CLV_KERNEL(winograd_param_out, __global float *restrict dw, ulong dw_at,
           __global const float *restrict du, ulong du_at, int total, int share)
{
    const int end = CLV_END(total, share);
    dw += dw_at;
    du += du_at;
    for (int i = CLV_BEGIN(share); i < end; i += CLV_V) {
        floatV u[WINO_POINTS], part[18], w[9];
        for (int p = 0; p < WINO_POINTS; p++)
            u[p] = clv_load(du + (size_t)p * total + i, end - i, 0);
        CLV_UNROLL
        for (int b = 0; b < 6; b++)
            WINO_GT(part + b, 6, u + b, 6);
        CLV_UNROLL
        for (int a = 0; a < 3; a++)
            WINO_GT(w + 3 * a, 1, part + 6 * a, 1);
        for (int p = 0; p < 9; p++)
            clv_store(w[p], dw + (size_t)p * total + i, end - i);
    }
}
