/* Convolution of NHWC pictures, wide form (wide.clh), and the gradient to its weights. The gradient
 * to the input is a convolution too: with the filter flipped and its channels exchanged. Host side:
 * core/ops/conv2d_kernels.c. NDRange of every kernel: groups of one work-item, 0 bytes of local
 * memory. All sums run in an order that depends on the shapes only. */
#include "activation.clh"
#include "wide_param.clh"
#include "wide_pixels.clh"

#define CONV_BIAS  4 /* flags: bits 0 … 1 are the activation's code */
#define CONV_STATS 8
#define CONV_ADD   16
#define CONV_FETCH 32 /* what is written lies in no cache */

/* Writes a block's `rows` pixels of `columns` channels: act(tile + bias) (+ addend), pixel i at y +
 * outs[i] and addend + outs[i]. */
static void store_block(__global float *y, const int *outs, floatV *tile,
                        __global const float *bias, __global const float *addend, int rows,
                        int columns, int flags)
{
    floatV add[CLV_NV];
    CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++)
        add[j] =
            flags & CONV_BIAS ? clv_load(bias + j * CLV_V, columns - j * CLV_V, 0) : (floatV)(0);
    if ((flags & 3) == CLV_ACT_SILU) {
        for (int j = 0; j < CLV_NV && j * CLV_V < columns; j++)
            for (int i = 0; i < rows; i++)
                tile[i * CLV_NV + j] = clv_act(tile[i * CLV_NV + j] + add[j], CLV_ACT_SILU);
        CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++)
            add[j] = (floatV)(0);
    }
    /* relu, or nothing: a NaN stays one. */
    const floatV least = (floatV)((flags & 3) == CLV_ACT_RELU ? 0.0f : -INFINITY);
    if (columns == CLV_NB && !(flags & CONV_ADD)) {
        for (int i = 0; i < rows; i++)
            CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++) {
            const floatV v = tile[i * CLV_NV + j] + add[j];
            clv_put(v < least ? least : v, y + outs[i] + j * CLV_V);
        }
        return;
    }
    for (int i = 0; i < rows; i++)
        CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++) {
        const int left = columns - j * CLV_V;
        floatV v = tile[i * CLV_NV + j] + add[j];
        v = v < least ? least : v;
        if (left > 0 && flags & CONV_ADD)
            v += clv_load(addend + outs[i] + j * CLV_V, left, 0);
        if (left > 0)
            clv_store(v, y + outs[i] + j * CLV_V, left);
    }
}

/* Adds a block's pixels to the group's sums about `shift`, the mean of its first block. */
static void add_stats(const floatV *tile, int rows, bool first, floatV *shift, floatV *sum,
                      floatV *square)
{
    for (int i = 0; first && i < rows; i++)
        CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++)
        shift[j] += tile[i * CLV_NV + j] / (floatV)(rows);
    for (int i = 0; i < rows; i++)
        CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++) {
        const floatV d = tile[i * CLV_NV + j] - shift[j];
        sum[j] += d;
        square[j] = fma(d, d, square[j]);
    }
}

/* The statistics of a group's `pixels` pixels from their sums about `shift`. */
static void store_stats(__global float *stats, size_t apart, int columns, int pixels,
                        const floatV *shift, const floatV *sum, const floatV *square)
{
    const floatV count = (floatV)(pixels);
    CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++) {
        const int left = columns - j * CLV_V;
        if (left <= 0)
            break;
        clv_store(shift[j] + sum[j] / count, stats + j * CLV_V, left);
        clv_store(square[j] - sum[j] * sum[j] / count, stats + apart + j * CLV_V, left);
    }
}

/* Asks for the pixels of the picture that output pixel (oy, ox) is the first to need. */
static void fetch_ahead(__global const float *x, int h, int w, int pixel, int bottom, int right,
                        int sh, int sw)
{
    for (int a = 0; a < sh; a++)
        for (int b = 0; b < sw; b++)
            if (bottom - a >= 0 && bottom - a < h && right - b >= 0 && right - b < w)
                for (int l = 0; l < pixel; l += 16)
                    CLV_PREFETCH(x + ((bottom - a) * w + right - b) * pixel + l);
}

/* Extents of conv2d_fwd_wide and conv2d_fwd_pooled, which say what they are. */
typedef struct extents {
    int h, w, pixel, run, kh, kw, sh, sw, pt, pl, oh, ow, co, y_image, y_row, y_pixel, flags,
        blocks;
    int group, groups; /* which group p of columns, and how many groups g there are */
} extents;

/* The largest of four rows of `tile` each, `rows` of them; a NaN is larger than everything. And
 * where they go. */
static void pool_rows(floatV *tile, int *outs, int rows)
{
    for (int i = 0; i < rows; i += 4) {
        CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++) {
            floatV best = tile[i * CLV_NV + j];
            CLV_UNROLL
            for (int k = 1; k < 4; k++)
                best = clv_larger(best, tile[(i + k) * CLV_NV + j]);
            tile[i / 4 * CLV_NV + j] = best;
        }
        outs[i / 4] = outs[i];
    }
}

/* The pixels [begin, end) of the two kernels below, whose views are moved on already. pooled (known
 * while compiling): of each output in turn the four pixels whose largest it is. */
static void wide_pixels(__global float *y, __global float *stats, __global const float *x,
                        __global const float *f, __global const float *bias, int begin, int end,
                        extents e, bool pooled)
{
    const int q0 = e.group * e.blocks, all = (e.co + CLV_NB - 1) / CLV_NB;
    const int h = e.h, w = e.w, pixel = e.pixel, run = e.run, oh = e.oh, ow = e.ow;
    const int of = pooled ? 4 : 1, side = pooled ? 2 : 1; /* pixels of an output */
    const size_t panel = (size_t)e.kh * e.kw * run * CLV_NB;
    __global const float *zeros = f + panel * all;
    for (int q = q0; q < min(all, q0 + e.blocks); q++) {
        const int columns = min(e.co - q * CLV_NB, CLV_NB);
        floatV shift[CLV_NV], sum[CLV_NV], square[CLV_NV];
        CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++)
            shift[j] = sum[j] = square[j] = (floatV)(0);
        /* The next output: column, row, and where its picture begins in x and y. */
        int ox = begin / of % ow, oy = begin / of / ow % oh;
        int in = begin / of / ow / oh * (h * w * pixel), out = begin / of / ow / oh * e.y_image;
        for (int p = begin; p < end; p += CLV_MR) {
            const int rows = min(CLV_MR, end - p);
            int outs[CONV_LANES];
            floatV tile[CLV_MR * CLV_NV];
            const intR xs = CONV_LANE / of + ox, downs = times_passed(xs, ow), ys = downs + oy;
            const intR images = times_passed(ys, oh);
            const intR column = xs - downs * ow, line_of = ys - images * oh;
            const intR right = pooled ? CONV_LANE & 1 : (intR)(0);
            const intR below = pooled ? CONV_LANE >> 1 & 1 : (intR)(0);
            /* Where each pixel's first tap lies; rows that are too many lie outside for all taps.
             */
            const intR left = (column * side + right) * e.sw - e.pl;
            const intR row = (line_of * side + below) * e.sh - e.pt;
            const intR at = in + images * (h * w * pixel) + (row * w + left) * pixel;
            const intR top = CONV_LANE < (intR)(rows) ? row : (intR)(-0x40000000);
            vstoreR(out + images * e.y_image + line_of * e.y_row + column * e.y_pixel, 0, outs);
            for (ox += CLV_MR / of; ox >= ow; ox -= ow)
                if (++oy == oh) {
                    oy = 0;
                    in += h * w * pixel;
                    out += e.y_image;
                }
            if (q == q0 && pixel >= 16 && p + CLV_MR < end)
                for (int i = 0, ahead = ox; i < CLV_MR / of && ahead < ow; i++, ahead++)
                    fetch_ahead(x + in, h, w, pixel,
                                (oy * side + side - 1) * e.sh - e.pt + e.kh - 1,
                                (ahead * side + side - 1) * e.sw - e.pl + e.kw - 1,
                                min(side * e.sh, e.kh), min(side * e.sw, e.kw));
            floatV acc[CLV_MR][CLV_NV];
            CLV_WIDE_ZERO(acc, CLV_MR);
            __global const float *packed = f + panel * q;
            for (int a = 0; a < e.kh; a++)
                for (int b = 0; b < e.kw; b++) {
                    __global const float *line[CLV_MR];
                    int offset[CONV_LANES];
                    const intR inside =
                        (as_uintR(top + a) < (uintR)(h)) & (as_uintR(left + b) < (uintR)(w));
                    vstoreR(inside ? at + (a * w + b) * pixel : (intR)(-1), 0, offset);
                    CLV_UNROLL
                    for (int i = 0; i < CLV_MR; i++)
                        line[i] = offset[i] < 0 ? zeros : x + offset[i];
                    if (columns <= CLV_NARROW * CLV_V)
                        for (int l = 0; l < run; l++, packed += CLV_NB)
                            CLV_WIDE_STEP(acc, CLV_MR, CLV_NARROW, packed, CONV_SCALAR);
                    else
                        for (int l = 0; l < run; l++, packed += CLV_NB)
                            CLV_WIDE_STEP(acc, CLV_MR, CLV_NV, packed, CONV_SCALAR);
                }
            CLV_WIDE_SPILL(tile, acc, CLV_MR);
            if (e.flags & CONV_STATS)
                add_stats(tile, rows, p == begin, shift, sum, square);
            if (pooled)
                pool_rows(tile, outs, rows);
            store_block(y + q * CLV_NB, outs, tile, bias + q * CLV_NB, 0, rows / of, columns,
                        e.flags & ~CONV_ADD);
        }
        if (e.flags & CONV_STATS)
            store_stats(stats + q * CLV_NB, (size_t)e.groups * e.y_pixel, columns, end - begin,
                        shift, sum, square);
    }
}

/* y[n, i, j, :] = act(Σ x[n, i·sh - pt + a, j·sw - pl + b, :] · w[a, b] + bias), x zero outside the
 * picture; i < oh, j < ow, a < kh, b < kw.
 *
 * x: h × w pixels of `pixel` elements; of each, `run` elements from its begin on take part. With
 * run > pixel a tap (a, b) reads over the neighbours to the right: rows of few channels are
 * convolved as kw·ci "channels" of one wide tap, in a copy of the picture with a margin of zeros.
 * w: packed by gemm_pack as [ceil(co / CLV_NB)][kh][kw][run][CLV_NB], then `run` zeros (x outside).
 * y: picture y_image, row y_row, pixel y_pixel elements apart: the phases of a strided gradient are
 * woven into one picture.
 * stats (CONV_STATS): for group g of G and channel c: stats[g][c] mean and stats[G + g][c] sum of
 * squared deviations from it, of the group's pixels, before bias and activation. They are summed
 * about the mean of the group's first pixels, so that little is lost where the mean is large.
 *
 * Of a convolution in groups of channels a launch does one: y_pixel are all its channels, co one
 * group's, and channel c of stats is y's.
 *
 * NDRange: group (g, p): the output pixels [g·share, (g + 1)·share) of all n pictures, counted
 * through (share a multiple of CLV_MR), for one column block q in [p·blocks, (p + 1)·blocks) after
 * the other. `pixels`: n·oh·ow. Overwrites. */
CLV_KERNEL(conv2d_fwd_wide, __global float *restrict y, ulong y_at, __global float *restrict stats,
           ulong stats_at, __global const float *restrict x, ulong x_at,
           __global const float *restrict f, ulong f_at, __global const float *restrict bias,
           ulong bias_at, int pixels, int h, int w, int pixel, int run, int kh, int kw, int sh,
           int sw, int pt, int pl, int oh, int ow, int co, int y_image, int y_row, int y_pixel,
           int flags, int blocks, int share)
{
    const int group = CLV_GROUP_ID(1), groups = CLV_GROUPS(0);
    const extents e = {h,  w,  pixel, run,     kh,    kw,      sh,    sw,     pt,    pl,
                       oh, ow, co,    y_image, y_row, y_pixel, flags, blocks, group, groups};
    wide_pixels(y + y_at, stats + stats_at + (size_t)CLV_GROUP_ID(0) * y_pixel, x + x_at, f + f_at,
                bias + bias_at, CLV_BEGIN(share), CLV_END(pixels, share), e, false);
}

/* The largest of 2 × 2 outputs of that each (max_pool2d), act being none or relu: y is a quarter as
 * large, and so are oh and ow, those of y, while `pixels` counts n·oh·ow·4. CLV_MR must be a
 * multiple of 4. No stats. */
CLV_KERNEL(conv2d_fwd_pooled, __global float *restrict y, ulong y_at,
           __global const float *restrict x, ulong x_at, __global const float *restrict f,
           ulong f_at, __global const float *restrict bias, ulong bias_at, int pixels, int h, int w,
           int pixel, int run, int kh, int kw, int sh, int sw, int pt, int pl, int oh, int ow,
           int co, int y_image, int y_row, int y_pixel, int flags, int blocks, int share)
{
    const int group = CLV_GROUP_ID(1), groups = CLV_GROUPS(0);
    const extents e = {h,  w,  pixel, run,     kh,    kw,      sh,    sw,     pt,    pl,
                       oh, ow, co,    y_image, y_row, y_pixel, flags, blocks, group, groups};
    wide_pixels(y + y_at, 0, x + x_at, f + f_at, bias + bias_at, CLV_BEGIN(share),
                CLV_END(pixels, share), e, true);
}

#define SCALED_COLUMN(j) (CLV_WIDE_COLUMN(j) * (floatV)(factor[l]))

/* Arguments of the two kernels below. */
typedef struct row_of_pixels {
    int pixel, run, co, y_pixel, flags, blocks;
    int image;         /* pixels that share their factors */
    int group, groups; /* as in extents */
} row_of_pixels;

/* tile[i] *= factor, for `rows` rows of `columns` columns. */
static void spread_block(floatV *tile, __global const float *factor, int rows, int columns)
{
    CLV_UNROLL
    for (int j = 0; j < CLV_NV; j++) {
        const floatV by = clv_load(factor + j * CLV_V, columns - j * CLV_V, 0);
        for (int i = 0; i < rows; i++)
            tile[i * CLV_NV + j] *= by;
    }
}

/* Asks for where a block's results will be written that lie `ahead` elements behind these. */
static void fetch_rows(__global float *y, const int *outs, int ahead, int rows, int columns)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j += 16)
            CLV_PREFETCH_WRITE(y + (long)outs[i] + ahead + j);
}

/* So few blocks of pixels behind a group's first one ask for the next columns' weights, which are
 * used as often; others ask for the next pixels. */
#define CONV_SHORT 6

/* The pixels [begin, end) of the two kernels below: views as there, already moved on. scale NULL:
 * no factors of x (known while compiling); spread NULL: none of the result. */
static void rows_of_pixels(__global float *y, __global float *stats, __global const float *x,
                           __global const float *f, __global const float *bias,
                           __global const float *scale, __global const float *spread,
                           __global const float *addend, int begin, int end, row_of_pixels a)
{
    const int q0 = a.group * a.blocks, all = (a.co + CLV_NB - 1) / CLV_NB;
    const int pixel = a.pixel, run = a.run;
    const int blocks = (end - begin - 1) / CLV_MR; /* behind the first one */
    for (int q = q0; q < min(all, q0 + a.blocks); q++) {
        const int columns = min(a.co - q * CLV_NB, CLV_NB);
        __global const float *weights = f + (size_t)run * CLV_NB * q;
        floatV shift[CLV_NV], sum[CLV_NV], square[CLV_NV];
        CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++)
            shift[j] = sum[j] = square[j] = (floatV)(0);
        for (int p = begin, rows = 0; p < end; p += rows) {
            /* Blocks do not reach into the next picture, whose factors are others. */
            const int stop = scale || spread ? min(end, (p / a.image + 1) * a.image) : end;
            floatV tile[CLV_MR * CLV_NV];
            int outs[CONV_LANES];
            asked ahead = {p == begin ? weights + 40 * CLV_NB : x + (size_t)(p + CLV_MR) * pixel,
                           CLV_NB};
            if (p > begin && blocks <= CONV_SHORT && q + 1 < all)
                ahead = ask_for_panel(weights + (size_t)run * CLV_NB, run, (p - begin) / CLV_MR - 1,
                                      blocks);
            rows = min(CLV_MR, stop - p);
            vstoreR((CONV_LANE + p) * a.y_pixel, 0, outs);
            if (scale) {
                __global const float *factor = scale + (size_t)(p / a.image) * run;
                PLAIN_BLOCKS(SCALED_COLUMN);
            } else {
                PLAIN_BLOCKS(CLV_WIDE_COLUMN);
            }
            if (spread)
                spread_block(tile, spread + (size_t)(p / a.image) * a.co + q * CLV_NB, rows,
                             columns);
            if (a.flags & CONV_STATS)
                add_stats(tile, rows, p == begin, shift, sum, square);
            if (a.flags & CONV_FETCH)
                fetch_rows(y + q * CLV_NB, outs, CLV_MR * a.y_pixel, rows, columns);
            store_block(y + q * CLV_NB, outs, tile, bias + q * CLV_NB, addend + q * CLV_NB, rows,
                        columns, a.flags);
        }
        if (a.flags & CONV_STATS)
            store_stats(stats + q * CLV_NB, (size_t)a.groups * a.y_pixel, columns, end - begin,
                        shift, sum, square);
    }
}

/* The same of a filter of 1 × 1 without strides and margins, all pictures being one row of pixels:
 *     y[p, :] = act(spread[p / image, :] · Σ x[p, l] · w[l] + bias) (+ addend[p, :]),
 * p < pixels, l < run. x: `pixel` elements from one pixel to the next. spread [pictures, co], NULL:
 * ones. addend as y (CONV_ADD). w, stats and the rest as in conv2d_fwd_wide. NDRange: as there.
 * Overwrites. */
CLV_KERNEL(conv2d_fwd_plain, __global float *restrict y, ulong y_at, __global float *restrict stats,
           ulong stats_at, __global const float *restrict x, ulong x_at,
           __global const float *restrict f, ulong f_at, __global const float *restrict bias,
           ulong bias_at, __global const float *restrict spread, ulong spread_at,
           __global const float *restrict addend, ulong addend_at, int pixels, int pixel, int run,
           int co, int y_pixel, int flags, int blocks, int image, int share)
{
    const int group = CLV_GROUP_ID(1), groups = CLV_GROUPS(0);
    const row_of_pixels a = {pixel, run, co, y_pixel, flags, blocks, image, group, groups};
    rows_of_pixels(y + y_at, stats + stats_at + (size_t)CLV_GROUP_ID(0) * y_pixel, x + x_at,
                   f + f_at, bias + bias_at, 0, spread ? spread + spread_at : 0, addend + addend_at,
                   CLV_BEGIN(share), CLV_END(pixels, share), a);
}

/* The same of x[p, l] · scale[p / image, l], without spread; scale [pictures, run]. */
CLV_KERNEL(conv2d_fwd_scaled, __global float *restrict y, ulong y_at,
           __global float *restrict stats, ulong stats_at, __global const float *restrict x,
           ulong x_at, __global const float *restrict f, ulong f_at,
           __global const float *restrict bias, ulong bias_at, __global const float *restrict scale,
           ulong scale_at, __global const float *restrict addend, ulong addend_at, int pixels,
           int pixel, int run, int co, int y_pixel, int flags, int blocks, int image, int share)
{
    const int group = CLV_GROUP_ID(1), groups = CLV_GROUPS(0);
    const row_of_pixels a = {pixel, run, co, y_pixel, flags, blocks, image, group, groups};
    rows_of_pixels(y + y_at, stats + stats_at + (size_t)CLV_GROUP_ID(0) * y_pixel, x + x_at,
                   f + f_at, bias + bias_at, scale + scale_at, 0, addend + addend_at,
                   CLV_BEGIN(share), CLV_END(pixels, share), a);
}

/* Output pixels of a pass of conv2d_bwd_param_wide: their CLV_NB columns of dz, 128 B each at 32
 * floats, stay in a level-1 cache together with what is read of x. */
#define PARAM_PIECE 128

/* Asks for `elements` floats. */
static void fetch_lines(__global const float *from, int elements)
{
    for (int i = 0; i < elements; i += 16)
        CLV_PREFETCH(from + i);
}

/* Part of the gradient to the weights, from a chunk of the output's pixels:
 *     part[g][a][b][c][k] = Σ x[n, i·sh - pt + a, j·sw - pl + b, c] · dz[n, i, j, k]
 * over the pixels (n, i, j) of chunk g. All pixels, counted through all n pictures, fall into
 * stretches of `image`, and each of these into chunks of `chunk`, the last one what is left.
 * x: as in conv2d_fwd_wide (c < run), `before` elements in front of it being readable; where run +
 * before < CLV_PR, as many as are missing beyond its end, too. dz [pixels, row], and part's last
 * axis is row: of these a launch does co, one group of channels. Blocks of rows that would reach
 * beyond run begin earlier instead and do not store what is another block's. In passes over pieces
 * of the chunk: dz is packed once, and for each tap the pixels are listed for which it lies inside
 * the picture; then all channels go over them. The accumulators pass through `part` between the
 * pieces. NDRange: group (q, g, s): columns [q·CLV_NB, …), chunk, filter rows a in [s·span, (s +
 * 1)·span): neighbours read the same pixels of x. Overwrites. */
CLV_KERNEL(conv2d_bwd_param_wide, __global float *restrict part, ulong part_at,
           __global const float *restrict x, ulong x_at, __global const float *restrict dz,
           ulong dz_at, int pixels, int h, int w, int pixel, int run, int kh, int kw, int sh,
           int sw, int pt, int pl, int oh, int ow, int co, int row, int before, int span, int image,
           int chunk)
{
    floatV panel[PARAM_PIECE * CLV_NV];
    /* A launch with zeros for numbers is to do nothing (core/runtime/rehearsal.c). */
    const int chunks = max(1, (image + chunk - 1) / max(1, chunk));
    const int stretch = CLV_GROUP_ID(1) / chunks;
    const int begin = stretch * image + CLV_GROUP_ID(1) % chunks * chunk;
    const int end = min((stretch + 1) * image, begin + chunk);
    const int first = CLV_GROUP_ID(0) * CLV_NB, columns = min(co - first, CLV_NB);
    const int a0 = CLV_GROUP_ID(2) * span;
    part += part_at + (size_t)CLV_GROUP_ID(1) * kh * kw * run * row + first;
    x += x_at;
    dz += dz_at + first;
    const bool fetch = CLV_GROUP_ID(0) == 0 && a0 == 0 && row == co;
    const int reach = (kh - 1 - pt) * w; /* to the pixels that are new to a row of outputs */
    const bool aligned = sh == 1 && sw == 1 && oh == h && ow == w && run == pixel && reach >= 0;
    for (int start = begin; start < end; start += PARAM_PIECE) {
        const int count = min(end - start, PARAM_PIECE);
        /* In the order that it lies in, which processors foresee: what follows takes parts of each
         * pixel. */
        if (fetch)
            fetch_lines(dz + (size_t)start * row, count * row);
        if (fetch && aligned)
            fetch_lines(x + (size_t)(start + reach) * pixel,
                        min(count, pixels - start - reach) * pixel);
        for (int p = 0; p < count; p++)
            CLV_UNROLL
        for (int j = 0; j < CLV_NV; j++)
            panel[p * CLV_NV + j] =
                clv_load(dz + (size_t)(start + p) * row + j * CLV_V, columns - j * CLV_V, 0);
        const int ox = start % ow, oy = start / ow % oh;
        const int in = start / ow / oh * (h * w * pixel);
        for (int a = a0; a < min(kh, a0 + span); a++)
            for (int b = 0; b < kw; b++) {
                int from[PARAM_PIECE + CONV_LANES], with[PARAM_PIECE + CONV_LANES];
                /* The columns of the output whose tap lies inside the picture. */
                const int lo = max(0, (pl - b + sw - 1) / sw);
                const int hi = min(ow, (w - 1 + pl - b + sw) / sw);
                int taps = 0, column = ox, line = oy, picture = in;
                for (int p = 0; p < count;) {
                    const int length = min(ow - column, count - p), y = line * sh - pt + a;
                    const int left = max(column, lo), n = min(column + length, hi) - left;
                    if (y >= 0 && y < h && n > 0) {
                        const int first = picture + (y * w + left * sw - pl + b) * pixel;
                        for (int i = 0; i < n; i += CONV_LANES) {
                            vstoreR(first + (CONV_LANE + i) * (sw * pixel), 0, from + taps + i);
                            vstoreR(CONV_LANE + (p + left - column + i), 0, with + taps + i);
                        }
                        taps += n;
                    }
                    p += length;
                    column = 0;
                    if (++line == oh) {
                        line = 0;
                        picture += h * w * pixel;
                    }
                }
                param_channels(part + (size_t)(a * kw + b) * run * row, x, panel, from, with, taps,
                               run, row, columns, before, start != begin);
            }
    }
}

/* Where the picture that was convolved is x times a factor per picture and channel, with parts of
 * x's own: part [n, parts, run, co], of picture s's pixels.
 *     dw[c][k] = Σ scale[s][c] · part[s][g][c][k],  dscale[s][c] = Σ part[s][g][c][k] · w[c][k];
 * either may be NULL. w, dw [run, co], scale, dscale [n, run]. NDRange: group g takes a share of
 * the `run` rows c. Overwrites. */
CLV_KERNEL(conv2d_bwd_scale, __global float *restrict dw, ulong dw_at,
           __global float *restrict dscale, ulong dscale_at, __global const float *restrict part,
           ulong part_at, __global const float *restrict w, ulong w_at,
           __global const float *restrict scale, ulong scale_at, int n, int parts, int run, int co,
           int share)
{
    for (int c = CLV_BEGIN(share), end = CLV_END(run, share); c < end; c++)
        for (int s = 0; s < n; s++) {
            const floatV factor = (floatV)(scale[scale_at + (size_t)s * run + c]);
            floatV product = (floatV)(0);
            for (int k = 0; k < co; k += CLV_V) {
                __global const float *from =
                    part + part_at + ((size_t)s * parts * run + c) * co + k;
                floatV sum = (floatV)(0);
                for (int g = 0; g < parts; g++)
                    sum += clv_load(from + (size_t)g * run * co, co - k, 0);
                product = fma(sum, clv_load(w + w_at + c * co + k, co - k, 0), product);
                if (dw) {
                    __global float *to = dw + dw_at + c * co + k;
                    const floatV before = s == 0 ? (floatV)(0) : clv_load(to, co - k, 0);
                    clv_store(fma(factor, sum, before), to, co - k);
                }
            }
            if (dscale)
                dscale[dscale_at + (size_t)s * run + c] = clv_lanes_sum(product);
        }
}

/* Copies n pictures [h, w, c] into [ph, pw, c] with `top` rows and `left` columns of zeros before
 * and as many as it takes after, or cut there; then `rest` zeros. NDRange: group g copies rows
 * [g·share, (g + 1)·share) of the n·ph. Overwrites. */
CLV_KERNEL(conv2d_pad, __global float *restrict to, ulong to_at,
           __global const float *restrict from, ulong from_at, int n, int h, int w, int c, int ph,
           int pw, int top, int left, int rest, int share)
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
