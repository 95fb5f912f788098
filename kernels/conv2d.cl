/* Convolution of NHWC pictures, wide form (wide.clh), and the gradient to its weights. The gradient
 * to the input is a convolution too: with the filter flipped and its channels exchanged. Host side:
 * core/ops/conv2d_kernels.c. NDRange of every kernel: groups of one work-item, 0 bytes of local
 * memory. All sums run in an order that depends on the shapes only. */
#include "activation.clh"
#include "wide.clh"

/* One int per row of accumulators. */
#if CLV_MR <= 8
#define CONV_LANES 8
#else
#define CONV_LANES 16
#endif
#define intR   CLV_PASTE(int, CONV_LANES)
#define uintR  CLV_PASTE(uint, CONV_LANES)
#define vloadR CLV_PASTE(vload, CONV_LANES)
#define vstoreR CLV_PASTE(vstore, CONV_LANES)
#define as_uintR CLV_PASTE(as_uint, CONV_LANES)

#define CONV_BIAS  4 /* flags: bits 0 … 1 are the activation's code */
#define CONV_STATS 8

/* Finishes CLV_NV vectors of one output pixel: + bias, sums for the statistics, activation, store.
 * shift, sum, square: see conv2d_fwd. */
static void finish_pixel(__global float *restrict y, const float *tile,
                         __global const float *restrict bias, int columns, int flags,
                         const floatV *shift, floatV *sum, floatV *square)
{
    CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++) {
        const int left = columns - j * CLV_V;
        floatV v = vloadV(j, tile);
        if (flags & CONV_STATS) {
            const floatV d = v - shift[j];
            sum[j] += d;
            square[j] = fma(d, d, square[j]);
        }
        if (left <= 0)
            continue;
        if (flags & CONV_BIAS)
            v += clv_load(bias + j * CLV_V, left, 0);
        clv_store(clv_act(v, flags & 3), y + j * CLV_V, left);
    }
}

/* y[n, i, j, :] = act(Σ x[n, i·sh - pt + a, j·sw - pl + b, :] · w[a, b] + bias), x zero outside the
 * picture; i < oh, j < ow, a < kh, b < kw.
 *
 * x: h × w pixels of `pixel` elements; of each, `run` elements from its begin on take part. With run >
 * pixel a tap (a, b) reads over the neighbours to the right: rows of few channels are convolved as
 * kw·ci "channels" of one wide tap, in a copy of the picture with a margin of zeros.
 * w: packed by gemm_pack as [ceil(co / CLV_NB)][kh][kw][run][CLV_NB], then `run` zeros (x outside).
 * y: picture y_image, row y_row, pixel y_pixel elements apart: the phases of a strided gradient are
 * woven into one picture.
 * stats (CONV_STATS): for group g of G and channel c: stats[g][c] mean and stats[G + g][c] sum of
 * squared deviations from it, of the group's pixels, before bias and activation. They are summed
 * about the group's first pixel, so that nothing is lost where the mean is large.
 *
 * NDRange: group (g, q): output pixels [g·share, (g + 1)·share) of all n pictures, counted through
 * (share a multiple of CLV_MR), columns [q·CLV_NB, …). `pixels`: n·oh·ow. Overwrites. */
CLV_SINGLE __kernel void
conv2d_fwd_wide(__global float *restrict y, ulong y_at, __global float *restrict stats,
                ulong stats_at, __global const float *restrict x, ulong x_at,
                __global const float *restrict f, ulong f_at, __global const float *restrict bias,
                ulong bias_at, int pixels, int h, int w, int pixel, int run, int kh, int kw, int sh,
                int sw, int pt, int pl, int oh, int ow, int co, int y_image, int y_row, int y_pixel,
                int flags, int share)
{
    const int q = (int)get_group_id(1), columns = min(co - q * CLV_NB, CLV_NB);
    const int begin = CLV_BEGIN(share), end = CLV_END(pixels, share);
    const size_t panel = (size_t)kh * kw * run * CLV_NB;
    __global const float *zeros = f + f_at + panel * get_num_groups(1);
    x += x_at;
    f += f_at + panel * q;
    y += y_at + q * CLV_NB;
    bias += bias_at + q * CLV_NB;
    floatV shift[CLV_NV], sum[CLV_NV], square[CLV_NV];
    CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++)
        shift[j] = sum[j] = square[j] = (floatV)(0);
    /* The next pixel: column, row, and where its picture begins in x and y. */
    int ox = begin % ow, oy = begin / ow % oh;
    int in = begin / ow / oh * (h * w * pixel), out = begin / ow / oh * y_image;
    for (int p = begin; p < end; p += CLV_MR) {
        const int rows = min(CLV_MR, end - p);
        int ys[CONV_LANES], xs[CONV_LANES], ats[CONV_LANES], outs[CLV_MR];
        float tile[CLV_MR * CLV_NB];
        for (int i = 0; i < CLV_MR; i++) {
            ys[i] = i < rows ? oy * sh - pt : -0x40000000; /* outside, whatever the tap */
            xs[i] = ox * sw - pl;
            ats[i] = in + ((oy * sh - pt) * w + ox * sw - pl) * pixel;
            outs[i] = out + oy * y_row + ox * y_pixel;
            if (++ox == ow) {
                ox = 0;
                if (++oy == oh) {
                    oy = 0;
                    in += h * w * pixel;
                    out += y_image;
                }
            }
        }
        const intR top = vloadR(0, ys), left = vloadR(0, xs), at = vloadR(0, ats);
        floatV acc[CLV_MR][CLV_NV];
        CLV_WIDE_ZERO(acc, CLV_MR);
        __global const float *packed = f;
        for (int a = 0; a < kh; a++)
            for (int b = 0; b < kw; b++) {
                __global const float *line[CLV_MR];
                int offset[CONV_LANES];
                const intR inside = (as_uintR(top + a) < (uintR)(h)) &
                                    (as_uintR(left + b) < (uintR)(w));
                vstoreR(inside ? at + (a * w + b) * pixel : (intR)(-1), 0, offset);
                CLV_UNROLL
                for (int i = 0; i < CLV_MR; i++)
                    line[i] = offset[i] < 0 ? zeros : x + offset[i];
                for (int l = 0; l < run; l++, packed += CLV_NB) {
#define CONV_SCALAR(i) line[i][l]
                    CLV_WIDE_STEP(acc, CLV_MR, packed, CONV_SCALAR);
                }
            }
        CLV_WIDE_SPILL(tile, acc, CLV_MR);
        if (p == begin)
            CLV_UNROLL
            for (int j = 0; j < CLV_NV; j++)
                shift[j] = vloadV(j, tile);
        for (int i = 0; i < rows; i++)
            finish_pixel(y + outs[i], tile + i * CLV_NB, bias, columns, flags, shift, sum, square);
    }
    if (flags & CONV_STATS) {
        const floatV count = (floatV)(end - begin);
        stats += stats_at + (size_t)get_group_id(0) * co + q * CLV_NB;
        CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++) {
            const int left = columns - j * CLV_V;
            if (left <= 0)
                break;
            clv_store(shift[j] + sum[j] / count, stats + j * CLV_V, left);
            clv_store(square[j] - sum[j] * sum[j] / count,
                      stats + (size_t)get_num_groups(0) * co + j * CLV_V, left);
        }
    }
}

/* Part of the gradient to the weights, from a chunk of the output's pixels:
 *     part[g][a][b][c][k] = Σ x[n, i·sh - pt + a, j·sw - pl + b, c] · dz[n, i, j, k]
 * over the pixels (n, i, j) in [g·chunk, (g + 1)·chunk) of all n pictures, counted through.
 * x: as in conv2d_fwd_wide (c < run); dz [pixels, co], rows dz_pixel elements apart, the last one
 * readable up to a multiple of CLV_NB (or co >= CLV_NB); where run < CLV_PR, x is readable CLV_PR - run
 * elements beyond its end. Blocks of accumulators that would reach beyond run or co begin earlier
 * instead and do not store what is another block's.
 * The accumulators pass through `part` every `piece` pixels, so that these stay in the nearest cache
 * while all taps and channels go over them.
 * NDRange: group (g, q, a): chunk, columns [q·CLV_NB, …), filter row. Overwrites. */
CLV_SINGLE __kernel void
conv2d_bwd_param_wide(__global float *restrict part, ulong part_at, __global const float *restrict x,
                      ulong x_at, __global const float *restrict dz, ulong dz_at, int pixels, int h,
                      int w, int pixel, int run, int kh, int kw, int sh, int sw, int pt, int pl,
                      int oh, int ow, int co, int dz_pixel, int chunk, int piece)
{
    const int a = (int)get_group_id(2), begin = CLV_BEGIN(chunk), end = CLV_END(pixels, chunk);
    const int first = max(0, min((int)get_group_id(1) * CLV_NB, co - CLV_NB));
    const int columns = min(co, CLV_NB), rows = min(run, CLV_PR);
    const int skip = (int)get_group_id(1) * CLV_NB - first;
    part += part_at + ((size_t)get_group_id(0) * kh + a) * kw * run * co + first;
    x += x_at;
    dz += dz_at + first;
    for (int start = begin; start < end; start += piece) {
        const int stop = min(end, start + piece);
        for (int b = 0; b < kw; b++) {
            /* Columns of the output whose tap (a, b) lies inside the picture: [from, to). */
            const int from = max(0, (pl - b + sw - 1) / sw);
            const int to = min(ow, (w - 1 + pl - b + sw) / sw);
            for (int c0 = 0; c0 < run; c0 += CLV_PR) {
                const int c = max(0, min(c0, run - CLV_PR));
                __global float *mine = part + ((size_t)b * run + c) * co;
                floatV acc[CLV_PR][CLV_NV];
                CLV_WIDE_ZERO(acc, CLV_PR);
                int ox = start % ow, oy = start / ow % oh, image = start / ow / oh;
                for (int p = start; p < stop;) {
                    const int length = min(ow - ox, stop - p), iy = oy * sh - pt + a;
                    const int lo = max(ox, from), hi = min(ox + length, to);
                    if (iy >= 0 && iy < h && lo < hi) {
                        __global const float *in =
                            x + ((image * h + iy) * w + lo * sw - pl + b) * pixel + c;
                        __global const float *out = dz + (size_t)(p + lo - ox) * dz_pixel;
                        for (int i = lo; i < hi; i++, in += sw * pixel, out += dz_pixel) {
#define PARAM_SCALAR(r) in[r]
                            CLV_WIDE_STEP(acc, CLV_PR, out, PARAM_SCALAR);
                        }
                    }
                    p += length;
                    ox = 0;
                    if (++oy == oh) {
                        oy = 0;
                        image++;
                    }
                }
                /* What lies before row c0 or the group's own columns, others store. */
                float tile[CLV_PR * CLV_NB + CLV_V];
                CLV_WIDE_SPILL(tile, acc, CLV_PR);
                for (int r = c0 - c; r < rows; r++)
                    for (int j = skip; j < columns; j += CLV_V) {
                        __global float *to_part = mine + (size_t)r * co + j;
                        floatV v = vloadV(0, tile + r * CLV_NB + j);
                        if (start != begin)
                            v += clv_load(to_part, columns - j, 0);
                        clv_store(v, to_part, columns - j);
                    }
            }
        }
    }
}

/* Copies n pictures [h, w, c] into [ph, pw, c] with `top` rows and `left` columns of zeros before
 * and as many as it takes after, or cut there; then `rest` zeros. NDRange: group g copies rows [g·share,
 * (g + 1)·share) of the n·ph. Overwrites. */
CLV_SINGLE __kernel void conv2d_pad(__global float *restrict to, ulong to_at,
                                    __global const float *restrict from, ulong from_at, int n, int h,
                                    int w, int c, int ph, int pw, int top, int left, int rest,
                                    int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(n * ph, share);
    const int before = left * c, width = pw * c, inner = min(w, pw - left) * c;
    to += to_at;
    from += from_at;
    for (int r = begin; r < end; r++) {
        const int y = r % ph - top;
        const int copied = y >= 0 && y < h ? max(inner, 0) : 0;
        __global float *row = to + (size_t)r * width;
        __global const float *line = from + (size_t)(r / ph * h + max(y, 0)) * w * c;
        for (int i = 0; i < min(before, width); i++)
            row[i] = 0.0f;
        for (int i = 0; i < copied; i += CLV_V)
            clv_store(clv_load(line + i, copied - i, 0), row + before + i, copied - i);
        for (int i = before + copied; i < width; i++)
            row[i] = 0.0f;
    }
    if (end == n * ph)
        for (int i = 0; i < rest; i++)
            to[(size_t)n * ph * width + i] = 0.0f;
}
