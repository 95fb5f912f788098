/* A convolution of 1 × 1 and the depthwise convolution that alone reads it, in inference
 * (core/graph/join.c): of CLV_NB channels a strip of rows stays in local memory, on CPUs a part of
 * a level-2 cache, and never goes to memory. Wide form (wide.clh). Host side:
 * core/ops/expand_depthwise.c. Sums run in an order that depends on the extents only. */
#include "activation.clh"
#include "wide_pixels.clh"

/* Height and width of the depthwise filter, its stride, and how many output pixels are computed at
 * a time: with what they read they fit the registers. */
#ifndef XD_K
#define XD_K 3
#endif
#ifndef XD_S
#define XD_S 1
#endif
#ifndef XD_BLOCK
#define XD_BLOCK 4
#endif

/* Pixels of a row under a block of outputs. */
#define XD_SPAN ((XD_BLOCK - 1) * XD_S + XD_K)

/* Rows of the picture's first convolution, with margins of zeros: `rows` by `wide` pixels of
 * CLV_NV vectors. Row 0 is row `top` of the picture, pixel `left` of a row its pixel 0. */
typedef struct strip {
    __local floatV *at;
    int rows, wide, top, left;
} strip;

/* The first convolution's arguments: h × w pixels of `ci` channels at x, weights of this block of
 * columns packed as conv2d_fwd_wide's, of which `columns` are channels. */
typedef struct expansion {
    __global const float *x, *weights, *bias;
    int h, w, ci, columns, act;
} expansion;

/* Zeros around the rows [first, last) of w pixels, and in the strip's other rows. */
static void clear_margins(const strip *s, int w, int first, int last)
{
    for (int r = 0; r < s->rows; r++) {
        __local floatV *row = s->at + r * s->wide * CLV_NV;
        const bool inside = r >= first && r < last;
        for (int i = 0; i < (inside ? s->left : s->wide) * CLV_NV; i++)
            row[i] = (floatV)(0);
        for (int i = (inside ? s->left + w : s->wide) * CLV_NV; i < s->wide * CLV_NV; i++)
            row[i] = (floatV)(0);
    }
}

/* Pixels of a block to the strip: act(tile + bias), pixel i to vector at[i]. */
static void keep_block(const strip *s, const expansion *e, floatV *tile, const int *at, int rows)
{
    for (int j = 0; j < CLV_NV && j * CLV_V < e->columns; j++) {
        const floatV bias = clv_load(e->bias + j * CLV_V, e->columns - j * CLV_V, 0);
        for (int i = 0; i < rows; i++)
            tile[i * CLV_NV + j] = clv_act(tile[i * CLV_NV + j] + bias, e->act);
    }
    for (int i = 0; i < rows; i++)
        CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++)
        s->at[at[i] + j] = tile[i * CLV_NV + j];
}

/* The strip: act(x · weights + bias), zeros outside the picture. */
static void expand(const strip *s, const expansion *e)
{
    const int first = max(0, -s->top), last = min(s->rows, e->h - s->top);
    clear_margins(s, e->w, first, last);
    const int begin = (s->top + first) * e->w, stop = (s->top + last) * e->w;
    const int pixel = e->ci, run = e->ci, columns = e->columns;
    __global const float *x = e->x, *weights = e->weights;
    const int blocks = (stop - begin) / CLV_MR;
    int column = 0, to = first * s->wide + s->left; /* of the next pixel */
    for (int p = begin, rows = 0; p < stop; p += rows) {
        floatV tile[CLV_MR * CLV_NV];
        int at[CONV_LANES];
        asked ahead =
            ask_for_panel(weights + (size_t)run * CLV_NB, run, (p - begin) / CLV_MR, blocks);
        rows = min(CLV_MR, stop - p);
        const intR t = CONV_LANE + column;
        vstoreR((to + CONV_LANE + times_passed(t, e->w) * (s->wide - e->w)) * CLV_NV, 0, at);
        for (column += rows, to += rows; column >= e->w; column -= e->w)
            to += s->wide - e->w;
        PLAIN_BLOCKS(CLV_WIDE_COLUMN);
        keep_block(s, e, tile, at, rows);
    }
}

/* The second convolution's: filters [XD_K, XD_K, c] and bias at this block's first channel, output
 * rows of `ow` pixels of c channels; total: what they add up to goes there. */
typedef struct depthwise {
    __global float *y, *total;
    __global const float *f, *bias;
    int ow, c, columns, act;
} depthwise;

/* Outputs [0, outputs) of a block of a vector of channels: act(Σ strip · f + bias). in: the strip's
 * first vector under the first one. Gives their sum. */
static floatV depthwise_block(const depthwise *d, __global float *y, __local const floatV *in,
                              int wide, int k, int outputs)
{
    floatV acc[XD_BLOCK], out[XD_BLOCK], total = (floatV)(0);
    const floatV bias = vloadV(0, d->bias + k);
    __global const float *f = d->f + k;
    CLV_UNROLL
    for (int i = 0; i < XD_BLOCK; i++)
        acc[i] = bias;
    for (int a = 0; a < XD_K; a++, in += wide * CLV_NV, f += XD_K * d->c) {
        floatV v[XD_SPAN];
        CLV_UNROLL
        for (int i = 0; i < XD_SPAN; i++)
            v[i] = in[i * CLV_NV];
        CLV_UNROLL
        for (int b = 0; b < XD_K; b++) {
            const floatV weight = vloadV(0, f + b * d->c);
            CLV_UNROLL
            for (int i = 0; i < XD_BLOCK; i++)
                acc[i] = fma(v[i * XD_S + b], weight, acc[i]);
        }
    }
    CLV_UNROLL
    for (int i = 0; i < XD_BLOCK; i++)
        out[i] = acc[i];
    for (int i = 0; i < outputs; i++) {
        const floatV v = clv_act(out[i], d->act);
        clv_put(v, y + (size_t)i * d->c + k);
        total += v;
    }
    return total;
}

/* Output rows [begin, end), of which the strip's first row is under the first. */
static void depthwise_rows(const strip *s, const depthwise *d, int begin, int end)
{
    floatV total[CLV_NV];
    for (int j = 0; j < CLV_NV; j++)
        total[j] = (floatV)(0);
    for (int r = begin; r < end; r++)
        for (int first = 0; first < d->ow; first += XD_BLOCK)
            for (int j = 0; j < CLV_NV && j * CLV_V < d->columns; j++) {
                __local const floatV *in =
                    s->at + ((r - begin) * XD_S * s->wide + first * XD_S) * CLV_NV + j;
                total[j] += depthwise_block(d, d->y + ((size_t)r * d->ow + first) * d->c, in,
                                            s->wide, j * CLV_V, min(XD_BLOCK, d->ow - first));
            }
    for (int j = 0; j < CLV_NV && j * CLV_V < d->columns && d->total; j++)
        clv_put(total[j], d->total + j * CLV_V);
}

/* z[n, i, j, :] = act(x[n, i, j, :] · w + bias), and of that
 *     y[n, i, j, :] = act2(Σ z[n, i·XD_S - pt + a, j·XD_S - pl + b, :]·f[a, b, :] + bias2),
 * z zero outside the picture; x [n, h, w, ci], w packed by gemm_pack as [ceil(c / CLV_NB)][ci]
 * [CLV_NB], f [XD_K, XD_K, c], y [n, oh, ow, c], c a multiple of CLV_V. part [n, strips, c]: what
 * y adds up to over a strip's pixels; NULL: not wanted. memory: ((rows - 1)·XD_S + XD_K)·wide
 * pixels of CLV_NB floats, wide being what a row's blocks of outputs lie over. NDRange: group
 * (q, s, n): channels [q·CLV_NB, …), output rows [s·rows, (s + 1)·rows), picture. Overwrites. */
CLV_SINGLE __kernel void expand_depthwise_fwd(
    __global float *restrict y, ulong y_at, __global float *restrict part, ulong part_at,
    __global const float *restrict x, ulong x_at, __global const float *restrict w, ulong w_at,
    __global const float *restrict b, ulong b_at, __global const float *restrict f, ulong f_at,
    __global const float *restrict bias2, ulong bias2_at, __local floatV *memory, int h, int width,
    int ci, int c, int pt, int pl, int oh, int ow, int act, int act2, int rows, int wide)
{
    const int first = (int)get_group_id(0) * CLV_NB, picture = (int)get_group_id(2);
    const int begin = (int)get_group_id(1) * rows, end = min(oh, begin + rows);
    const size_t own = (size_t)picture * get_num_groups(1) + get_group_id(1);
    const expansion e = {.x = x + x_at + (size_t)picture * h * width * ci,
                         .weights = w + w_at + (size_t)first * ci,
                         .bias = b + b_at + first,
                         .h = h,
                         .w = width,
                         .ci = ci,
                         .columns = min(c - first, CLV_NB),
                         .act = act};
    const depthwise d = {.y = y + y_at + (size_t)picture * oh * ow * c + first,
                         .total = part ? part + part_at + own * c + first : 0,
                         .f = f + f_at + first,
                         .bias = bias2 + bias2_at + first,
                         .ow = ow,
                         .c = c,
                         .columns = e.columns,
                         .act = act2};
    const strip s = {.at = memory,
                     .rows = (end - begin - 1) * XD_S + XD_K,
                     .wide = wide,
                     .top = begin * XD_S - pt,
                     .left = pl};
    expand(&s, &e);
    depthwise_rows(&s, &d, begin, end);
}
