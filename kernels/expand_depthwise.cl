/* A convolution of 1 × 1 and the depthwise convolution that alone reads it, in inference
 * (core/graph/join.c): of CLV_NB channels a strip of rows stays in local memory, on CPUs a part of
 * a level-2 cache, and never goes to memory. Wide form (wide.clh). Host side:
 * core/ops/expand_depthwise.c. Sums run in an order that depends on the extents only. */
#include "activation.clh"
#include "wide_pixels.clh"

/* The most output pixels that are computed at a time, and pixels of a row under them. */
#define XD_MOST_BLOCK 8
#define XD_MOST_SPAN  17

/* Before what follows can be known while compiling. */
#define XD_INLINE __attribute__((always_inline))

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
        if (e->act == CLV_ACT_SILU) /* known here: without a question at each pixel */
            for (int i = 0; i < rows; i++)
                tile[i * CLV_NV + j] = clv_act(tile[i * CLV_NV + j] + bias, CLV_ACT_SILU);
        else
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

/* The second convolution's: filters [k, k, c] and bias at this block's first channel, output
 * rows of `ow` pixels of c channels; total: what they add up to goes there. */
typedef struct depthwise {
    __global float *y, *total;
    __global const float *f, *bias;
    int ow, c, columns, act;
} depthwise;

/* Outputs [0, outputs) of a block of a vector of channels: act(Σ strip · f + bias). in: the strip's
 * first vector under the first one. size, stride: height and width of the filter, and its stride,
 * known while compiling as `block` is: how many outputs there are at most, which with what they
 * read fit the registers. Gives their sum. */
XD_INLINE static floatV depthwise_block(const depthwise *d, __global float *y,
                                        __local const floatV *in, int wide, int k, int outputs,
                                        int size, int stride, int block)
{
    floatV acc[XD_MOST_BLOCK], out[XD_MOST_BLOCK], total = (floatV)(0);
    CLV_WIDE_EMPTY;
    const floatV bias = vloadV(0, d->bias + k);
    __global const float *f = d->f + k;
    CLV_UNROLL
    for (int i = 0; i < block; i++)
        acc[i] = bias;
    _Pragma("clang loop unroll(disable)") for (int a = 0; a < size;
                                               a++, in += wide * CLV_NV, f += size * d->c)
    {
        floatV v[XD_MOST_SPAN];
        CLV_UNROLL
        for (int i = 0; i < (block - 1) * stride + size; i++)
            v[i] = in[i * CLV_NV];
        CLV_UNROLL
        for (int b = 0; b < size; b++) {
            const floatV weight = vloadV(0, f + b * d->c);
            CLV_UNROLL
            for (int i = 0; i < block; i++)
                acc[i] = fma(v[i * stride + b], weight, acc[i]);
        }
    }
    CLV_UNROLL
    for (int i = 0; i < block; i++)
        out[i] = acc[i];
    if (d->act == CLV_ACT_SILU)
        for (int i = 0; i < outputs; i++) {
            const floatV v = clv_act(out[i], CLV_ACT_SILU);
            clv_put(v, y + (size_t)i * d->c + k);
            total += v;
        }
    else
        for (int i = 0; i < outputs; i++) {
            const floatV v = clv_act(out[i], d->act);
            clv_put(v, y + (size_t)i * d->c + k);
            total += v;
        }
    return total;
}

/* Output rows [begin, end), of which the strip's first row is under the first. */
XD_INLINE static void depthwise_rows(const strip *s, const depthwise *d, int begin, int end,
                                     int size, int stride, int block)
{
    floatV total[CLV_NV];
    for (int j = 0; j < CLV_NV; j++)
        total[j] = (floatV)(0);
    for (int r = begin; r < end; r++)
        for (int first = 0; first < d->ow; first += block)
            for (int j = 0; j < CLV_NV && j * CLV_V < d->columns; j++) {
                __local const floatV *in =
                    s->at + ((r - begin) * stride * s->wide + first * stride) * CLV_NV + j;
                total[j] +=
                    depthwise_block(d, d->y + ((size_t)r * d->ow + first) * d->c, in, s->wide,
                                    j * CLV_V, min(block, d->ow - first), size, stride, block);
            }
    for (int j = 0; j < CLV_NV && j * CLV_V < d->columns && d->total; j++)
        clv_put(total[j], d->total + j * CLV_V);
}

/* The same, of what is known while compiling, as functions of their own: block_of in
 * core/ops/expand_depthwise.c says which there are. */
#define XD_WINDOW(size, stride, block)                                                             \
    static __attribute__((noinline)) void rows_##size##_##stride##_##block(                        \
        const strip *s, const depthwise *d, int begin, int end)                                    \
    {                                                                                              \
        depthwise_rows(s, d, begin, end, size, stride, block);                                     \
    }
#define XD_CASE(size, stride, block)                                                               \
    case (size * 4 + stride) * 16 + block:                                                         \
        rows_##size##_##stride##_##block(s, d, begin, end);                                        \
        break;
#if CLV_V >= 16
#define XD_WINDOWS(X)                                                                              \
    X(3, 1, 4)                                                                                     \
    X(3, 1, 7) X(3, 2, 4) X(3, 2, 7) X(5, 1, 4) X(5, 1, 7) X(5, 1, 8) X(5, 2, 4) X(5, 2, 7)
#else
#define XD_WINDOWS(X) X(3, 1, 4) X(3, 2, 3) X(5, 1, 4) X(5, 2, 3)
#endif
XD_WINDOWS(XD_WINDOW)

static void depthwise_window(const strip *s, const depthwise *d, int begin, int end, int size,
                             int stride, int block)
{
    switch ((size * 4 + stride) * 16 + block) {
        XD_WINDOWS(XD_CASE)
    }
}

/* z[n, i, j, :] = act(x[n, i, j, :] · w + bias), and of that
 *     y[n, i, j, :] = act2(Σ z[n, i·s - pt + a, j·s - pl + b, :]·f[a, b, :] + bias2),
 * z zero outside the picture; x [n, h, w, ci], w packed by gemm_pack as [ceil(c / CLV_NB)][ci]
 * [CLV_NB], f [k, k, c], y [n, oh, ow, c], c a multiple of CLV_V. part [n, strips, c]: what
 * y adds up to over a strip's pixels; NULL: not wanted. memory: ((rows - 1)·s + k)·wide
 * pixels of CLV_NB floats, wide being what a row's blocks of outputs lie over. NDRange: group
 * (q, s, n): channels [q·CLV_NB, …), output rows [s·rows, (s + 1)·rows), picture. Overwrites. */
CLV_KERNEL(expand_depthwise_fwd, __global float *restrict y, ulong y_at,
           __global float *restrict part, ulong part_at, __global const float *restrict x,
           ulong x_at, __global const float *restrict w, ulong w_at,
           __global const float *restrict b, ulong b_at, __global const float *restrict f,
           ulong f_at, __global const float *restrict bias2, ulong bias2_at, __local floatV *memory,
           int h, int width, int ci, int c, int pt, int pl, int size, int stride, int block, int oh,
           int ow, int act, int act2, int rows, int wide)
{
    const int first = CLV_GROUP_ID(0) * CLV_NB, picture = CLV_GROUP_ID(2);
    const int begin = CLV_GROUP_ID(1) * rows, end = min(oh, begin + rows);
    const size_t own = (size_t)picture * CLV_GROUPS(1) + CLV_GROUP_ID(1);
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
                     .rows = (end - begin - 1) * stride + size,
                     .wide = wide,
                     .top = begin * stride - pt,
                     .left = pl};
    expand(&s, &e);
    depthwise_window(&s, &d, begin, end, size, stride, block);
}
