/* Depthwise convolution of NHWC pictures: each channel with a filter of its own; and its gradients.
 * A work-item takes whole rows, of these blocks of DW_BLOCK pixels, and of a block CLV_V channels
 * at a time in registers, so that a pixel which several taps read is loaded once. NDRange of every
 * kernel: groups of CLV_ITEMS work-items (group.clh), side by side along the channels. All sums run
 * in an order that depends on the shapes only. Outputs are overwritten. */
#include "activation.clh"
#include "norm.clh"

/* Height and width of the filter and stride, where they are known while compiling; 0: any. Where
 * they are known there are at least CLV_V channels, and the last vector begins at c - CLV_V: it
 * repeats some of what the one before it did instead of being a part of a vector. */
#ifndef DW_K
#define DW_K 0
#endif
#ifndef DW_S
#define DW_S 0
#endif

#if DW_K > 0
#define DW_CHANNEL(k, c)     min((k), (c)-CLV_V)
#define DW_LOAD(p, left)     vloadV(0, (p))
#define DW_STORE(v, p, left) clv_put((v), (p))
#else
#define DW_CHANNEL(k, c)     (k)
#define DW_LOAD(p, left)     clv_load((p), (left), 0)
#define DW_STORE(v, p, left) clv_store((v), (p), (left))
#endif

/* Output pixels of a block: with what they read they fit 32 registers of 16 floats, or 16 of fewer.
 * Small filters are bound by memory, which likes short blocks better. */
#if CLV_V >= 16 && DW_K == 5 && DW_S == 1
#define DW_BLOCK 8
#elif CLV_V >= 16 && DW_K == 5
#define DW_BLOCK 6
#elif CLV_V < 16 && DW_S == 2
#define DW_BLOCK 3
#else
#define DW_BLOCK 4
#endif

/* Output pixels that the gradient to the filter takes at a time, and channels of a work-group
 * there. */
#define DW_PIXELS 4
#if CLV_ITEMS > 1
#define DW_CHANNELS CLV_STEP
#else
#define DW_CHANNELS (64 * CLV_V)
#endif

/* Unrolled, what follows would be most of the program. */
#define DW_ROLLED _Pragma("clang loop unroll(disable)")

/* Input pixels of a row under so many outputs. */
#define DW_SPAN(outputs) (((outputs)-1) * DW_S + DW_K)

/* What CLV_V channels of a row of outputs read: out[i] = Σ in[a][i·step + at + b]·f[a][b] over the
 * `rows` rows a and `taps` columns b of the filter; pixels outside 0 … w - 1 are zero. */
typedef struct line {
    __global const float *in; /* the first row's pixel 0, at the first of the channels */
    __global const float *f;  /* the first tap */
    int in_row, f_row, f_tap; /* elements between neighbours; the filter may run backwards */
    int rows, taps, step;
    int w, c;
    int left; /* channels from here on */
} line;

/* Pixel x of a row of w (its pixel 0 at p), zeros outside: without a branch, for a whole vector of
 * channels; and with any number of them. */
static floatV pixel_or_zero(__global const float *p, int x, int w, int c)
{
    const floatV v = vloadV(0, p + clamp(x, 0, w - 1) * c);
    return select((floatV)(0), v, (intV)(x >= 0 && x < w ? -1 : 0));
}

static floatV part_or_zero(__global const float *p, int x, int w, int c, int left)
{
    return x >= 0 && x < w ? clv_load(p + x * c, left, 0) : (floatV)(0);
}

/* acc[i] += out[i] for the DW_BLOCK outputs from pixel `at` on, any filter. PIXEL(x): pixel x of
 * row `row`. What is known of the pixels is decided outside of these loops: the compiler takes what
 * does not depend on the row out of them, also where it is not used. */
#define ADD_ANY(l, at, acc, PIXEL)                                                                 \
    for (int a = 0; a < l->rows; a++)                                                              \
        for (int b = 0; b < l->taps; b++) {                                                        \
            __global const float *row = l->in + (long)a * l->in_row;                               \
            const floatV weight = DW_LOAD(l->f + a * l->f_row + b * l->f_tap, l->left);            \
            CLV_UNROLL                                                                             \
            for (int i = 0; i < DW_BLOCK; i++)                                                     \
                acc[i] = fma(PIXEL(at + i * l->step + b), weight, acc[i]);                         \
        }
#define INSIDE(x) vloadV(0, row + (x)*l->c)
#define EDGE(x)   pixel_or_zero(row, (x), l->w, l->c)

#if DW_K > 0
/* The same for `width` taps and a known step: a pixel is loaded once for all its taps. */
#define ADD_KNOWN(l, at, acc, PIXEL, width, step)                                                  \
    for (int a = 0; a < l->rows; a++) {                                                            \
        __global const float *row = l->in + (long)a * l->in_row, *f = l->f + a * l->f_row;         \
        floatV v[(DW_BLOCK - 1) * (step) + (width)];                                               \
        CLV_UNROLL                                                                                 \
        for (int j = 0; j < (DW_BLOCK - 1) * (step) + (width); j++)                                \
            v[j] = PIXEL(at + j);                                                                  \
        CLV_UNROLL                                                                                 \
        for (int b = 0; b < (width); b++) {                                                        \
            const floatV weight = vloadV(0, f + b * l->f_tap);                                     \
            CLV_UNROLL                                                                             \
            for (int i = 0; i < DW_BLOCK; i++)                                                     \
                acc[i] = fma(v[i * (step) + b], weight, acc[i]);                                   \
        }                                                                                          \
    }
#define ADD_KNOWN_BLOCK(width, step)                                                               \
    if (inside) {                                                                                  \
        ADD_KNOWN(l, at, acc, INSIDE, width, step)                                                 \
    } else {                                                                                       \
        ADD_KNOWN(l, at, acc, EDGE, width, step)                                                   \
    }
#else
/* acc[i] += out[i] as above for a part of a vector of channels, through private memory. */
static void add_part(const line *l, int at, floatV acc[DW_BLOCK])
{
    for (int a = 0; a < l->rows; a++)
        for (int b = 0; b < l->taps; b++) {
            __global const float *row = l->in + (long)a * l->in_row;
            const floatV weight = clv_load(l->f + a * l->f_row + b * l->f_tap, l->left, 0);
            float v[DW_BLOCK * CLV_V];
            DW_ROLLED
            for (int i = 0; i < DW_BLOCK; i++)
                vstoreV(part_or_zero(row, at + i * l->step + b, l->w, l->c, l->left), i, v);
            CLV_UNROLL
            for (int i = 0; i < DW_BLOCK; i++)
                acc[i] = fma(vloadV(i, v), weight, acc[i]);
        }
}
#endif

/* acc[i] += out[i] for the DW_BLOCK outputs from pixel `at` on. phase: the taps are those of one
 * phase of the gradient, with step 1. */
static void add_block(const line *l, int at, bool phase, floatV acc[DW_BLOCK])
{
    const bool inside = at >= 0 && at + (DW_BLOCK - 1) * l->step + l->taps <= l->w;
#if DW_K > 0
    const bool by_one = DW_S == 1;
    if (!phase || by_one) {
        ADD_KNOWN_BLOCK(DW_K, DW_S)
    } else if (l->taps == DW_K / 2) {
        ADD_KNOWN_BLOCK(DW_K / 2, 1)
    } else {
        ADD_KNOWN_BLOCK(DW_K / 2 + 1, 1)
    }
#else
    if (l->left < CLV_V) {
        add_part(l, at, acc);
        return;
    }
    if (inside) {
        ADD_ANY(l, at, acc, INSIDE)
    } else {
        ADD_ANY(l, at, acc, EDGE)
    }
#endif
}

/* Where a block's results go: `outputs` pixels, `step` elements apart, at y; what act is taken of
 * at sum, alike, where it is not NULL; and their total is added to `total`, of which the first
 * `known` channels are in another vector's, where it is not NULL. */
typedef struct results {
    __global float *y, *sum, *total;
    int step, outputs, act, known;
} results;

/* The lanes of `from` on of v, zeros before. */
static floatV lanes_from(floatV v, int from)
{
    float lane[CLV_V];
    vstoreV(v, 0, lane);
    for (int i = 0; i < from; i++)
        lane[i] = 0;
    return vloadV(0, lane);
}

/* A block of pixels from pixel `at` on: y = act(start + out). phase: as for add_block. */
static void convolve_block(const line *l, int at, bool phase, floatV start, const results *to)
{
    floatV acc[DW_BLOCK], total = (floatV)(0);
    CLV_UNROLL
    for (int i = 0; i < DW_BLOCK; i++)
        acc[i] = start;
    add_block(l, at, phase, acc);
    float tile[DW_BLOCK * CLV_V];
    CLV_UNROLL
    for (int i = 0; i < DW_BLOCK; i++)
        vstoreV(acc[i], i, tile);
    DW_ROLLED
    for (int i = 0; i < to->outputs; i++) {
        const floatV v = vloadV(i, tile), y = clv_act(v, to->act);
        if (to->sum)
            DW_STORE(v, to->sum + (size_t)i * to->step, l->left);
        DW_STORE(y, to->y + (size_t)i * to->step, l->left);
        total += y;
    }
    if (!to->total)
        return;
    if (to->known > 0)
        total = lanes_from(total, to->known);
    DW_STORE(DW_LOAD(to->total, l->left) + total, to->total, l->left);
}

#if CLV_ITEMS == 1
/* Asks for the vectors at `count` pixels of `c` channels, to read or to write them. */
static void fetch_pixels(__global const float *p, int c, int count)
{
    for (int i = 0; i < count; i++)
        CLV_PREFETCH(p + (long)i * c);
}

static void fetch_results(const results *to, long ahead)
{
    for (int i = 0; i < to->outputs; i++)
        CLV_PREFETCH_WRITE(to->y + ahead + (long)i * to->step);
}
#endif

/* y[n, i, j, :] = act(Σ x[n, i·sh - pt + a, j·sw - pl + b, :]·f[a, b, :] + bias), x zero outside
 * the picture. x [n, h, w, c], f [kh, kw, c], bias [c] or NULL, y [n, oh, ow, c]; sum, as y: what
 * act is taken of, NULL where it is not wanted; part [n', groups, c]: what each group's y add up to
 * over the pixels, NULL where they are not wanted, and only with one work-item to a group; stats
 * [2, groups, c]: mean and sum of squared deviations of each group's y, alike, s being 0. Group
 * (g, s): a share of the n·oh rows of y, of n samples from sample s on: all of them and s = 0, or
 * one each. */
CLV_GROUP __kernel void depthwise_conv2d_fwd(
    __global float *restrict y, ulong y_at, __global float *restrict sum, ulong sum_at,
    __global const float *restrict x, ulong x_at, __global const float *restrict f, ulong f_at,
    __global const float *restrict bias, ulong bias_at, __global float *restrict part,
    ulong part_at, __global float *restrict stats, ulong stats_at, int n, int h, int w, int c,
    int kh, int kw, int sh, int sw, int pt, int pl, int oh, int ow, int act, int share)
{
    const int rows_before = (int)get_group_id(1) * oh;
    line l;
    results to = {.step = c, .act = act};
    __global float *own =
        part ? part + part_at + (get_group_id(1) * get_num_groups(0) + get_group_id(0)) * c : 0;
    for (int k = 0; own && k < c; k += CLV_V)
        clv_store((floatV)(0), own + k, c - k);
    l.in_row = w * c;
    l.f_row = kw * c;
    l.f_tap = c;
    l.taps = kw;
    l.step = sw;
    l.w = w;
    l.c = c;
    const clv_span s = clv_span_for(c);
    for (int i = CLV_BEGIN(share), end = CLV_END(n * oh, share); i < end; i++) {
        const int r = rows_before + i, top = r % oh * sh - pt, a = max(0, -top);
        l.rows = max(0, min(kh, h - top) - a);
        const size_t from = ((size_t)(r / oh) * h + (l.rows > 0 ? top + a : 0)) * w * c;
        /* Pixels outside, channels inside: memory is read and written nearly as it lies. */
        for (int first = s.lane * DW_BLOCK; first < ow; first += s.lanes * DW_BLOCK)
            CLV_COLUMNS(k0, s, c)
            {
                const int k = DW_CHANNEL(k0, c);
                const size_t at = ((size_t)r * ow + first) * c + k;
                l.in = x + x_at + from + k;
                l.f = f + f_at + (l.rows > 0 ? a * l.f_row : 0) + k;
                l.left = c - k;
                const floatV start = bias ? DW_LOAD(bias + bias_at + k, l.left) : (floatV)(0);
                to.y = y + y_at + at;
                to.sum = sum ? sum + sum_at + at : 0;
                to.total = own ? own + k : 0;
                to.known = k0 - k;
                to.outputs = min(DW_BLOCK, ow - first);
#if CLV_ITEMS == 1
                /* What the next row is the first to need. */
                for (int b = 0; b < sh; b++)
                    fetch_pixels(x + x_at + k +
                                     (((long)(r / oh) * h + top + kh + b) * w + first * sw) * c,
                                 c, to.outputs * sw);
                fetch_results(&to, (long)ow * c);
#endif
                convolve_block(&l, first * sw - pl, false, start, &to);
            }
    }
#if CLV_ITEMS == 1
    if (stats) /* of what is in a cache now */
        norm_stats(stats + stats_at + get_group_id(0) * c, get_num_groups(0) * c, y + y_at,
                   CLV_BEGIN(share) * ow, CLV_END(n * oh, share) * ow, c);
#endif
}

/* gx[n, i, j, :] = Σ dz[n, (i + pt - a)/sh, (j + pl - b)/sw, :]·f[a, b, :] over the taps for which
 * the divisions leave no remainder. With j + pl = q·sw + p a pixel meets the taps b = p + t·sw, at
 * column q - t of dz: for each p a convolution of step 1 with part of the filter, backwards; rows
 * alike. gx [n, h, w, c], dz [n, oh, ow, c], f [kh, kw, c]. Group g: a share of the n·h rows of gx.
 */
CLV_GROUP __kernel void depthwise_conv2d_bwd_data(__global float *restrict gx, ulong gx_at,
                                                  __global const float *restrict dz, ulong dz_at,
                                                  __global const float *restrict f, ulong f_at,
                                                  int n, int h, int w, int c, int kh, int kw,
                                                  int sh, int sw, int pt, int pl, int oh, int ow,
                                                  int share)
{
    line l;
    l.in_row = ow * c;
    l.f_row = -sh * kw * c;
    l.f_tap = -sw * c;
    l.step = 1;
    l.w = ow;
    l.c = c;
    const clv_span s = clv_span_for(c);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        /* Rows q - t of dz for t in [t0, t1]. */
        const int q = (r % h + pt) / sh, p = (r % h + pt) % sh;
        const int t0 = max(0, q - oh + 1), t1 = min(q, (kh - p + sh - 1) / sh - 1);
        l.rows = max(0, t1 - t0 + 1);
        const size_t from = ((size_t)(r / h) * oh + (l.rows > 0 ? q - t1 : 0)) * ow * c;
        const int f_top = l.rows > 0 ? (p + t1 * sh) * kw * c : 0;
        for (int phase = 0; phase < sw; phase++) {
            const int j = (phase + sw - pl % sw) % sw; /* first pixel with this p */
            const int pixels = j < w ? (w - j + sw - 1) / sw : 0;
            l.taps = max(0, (kw - phase + sw - 1) / sw);
            const int f_left = l.taps > 0 ? phase + (l.taps - 1) * sw : 0;
            const int at = (j + pl) / sw - l.taps + 1;
            for (int first = s.lane * DW_BLOCK; first < pixels; first += s.lanes * DW_BLOCK)
                CLV_COLUMNS(k0, s, c)
                {
                    const int k = DW_CHANNEL(k0, c);
                    const results to = {.y = gx + gx_at + ((size_t)r * w + j + first * sw) * c + k,
                                        .step = sw * c,
                                        .outputs = min(DW_BLOCK, pixels - first)};
                    l.in = dz + dz_at + from + k;
                    l.f = f + f_at + f_top + f_left * c + k;
                    l.left = c - k;
#if CLV_ITEMS == 1
                    if (phase == 0 && p == 0)
                        fetch_pixels(dz + dz_at + k +
                                         (((long)(r / h) * oh + q + 1) * ow + first) * c,
                                     c, to.outputs);
                    fetch_results(&to, (long)w * c);
#endif
                    convolve_block(&l, at + first, true, (floatV)(0), &to);
                }
        }
    }
}

/* Where the gradient to CLV_V channels of the filter is taken from. */
typedef struct place {
    __global const float *x, *dz; /* all pictures, at the first of the channels */
    int h, w, c, kh, kw, sh, sw, pt, pl, oh, ow;
    int left;        /* channels from here on */
    int rows, ahead; /* of all outputs; and how many further those are that are asked for */
} place;

/* Filter rows [from, to) that lie inside the picture for row r of the outputs, and the row under
 * filter row 0, inside the picture or not. */
typedef struct reach {
    __global const float *x, *dz;
    int from, to;
} reach;

static reach reach_of(const place *p, int r)
{
    const int top = r % p->oh * p->sh - p->pt;
    reach result;
    result.x = p->x + ((long)(r / p->oh) * p->h + top) * p->w * p->c;
    result.dz = p->dz + (long)r * p->ow * p->c;
    result.from = max(0, -top);
    result.to = min(p->kh, p->h - top);
    return result;
}

#if DW_K > 0
/* acc[a·DW_K + b] += Σ_i x[a][i·DW_S - pl + b]·dz[i] over the DW_PIXELS outputs from `first` on. */
static void add_products(const place *p, const reach *r, int first, floatV acc[DW_K * DW_K])
{
    const int at = first * DW_S - p->pl;
    const bool inside = at >= 0 && at + DW_SPAN(DW_PIXELS) <= p->w;
    floatV d[DW_PIXELS];
    CLV_UNROLL
    for (int i = 0; i < DW_PIXELS; i++)
        d[i] = pixel_or_zero(r->dz, first + i, p->ow, p->c);
    CLV_UNROLL
    for (int a = 0; a < DW_K; a++) {
        if (a < r->from || a >= r->to)
            continue;
        __global const float *row = r->x + (long)a * p->w * p->c;
        floatV v[DW_SPAN(DW_PIXELS)];
        if (inside) {
            CLV_UNROLL
            for (int j = 0; j < DW_SPAN(DW_PIXELS); j++)
                v[j] = vloadV(0, row + (at + j) * p->c);
        } else {
            CLV_UNROLL
            for (int j = 0; j < DW_SPAN(DW_PIXELS); j++)
                v[j] = pixel_or_zero(row, at + j, p->w, p->c);
        }
        CLV_UNROLL
        for (int b = 0; b < DW_K; b++)
            CLV_UNROLL
        for (int i = 0; i < DW_PIXELS; i++)
            acc[a * DW_K + b] = fma(v[i * DW_S + b], d[i], acc[a * DW_K + b]);
    }
}

#if CLV_ITEMS > 1
/* Rows [begin, end) of the outputs into to[tap][channel]: every lane takes some of the rows, and
 * what the lanes have is added at the end. mine: these channels exist. Called by all work-items
 * together. */
static void add_rows(const place *p, int begin, int end, __global float *to, bool mine, clv_span s,
                     __local floatV *scratch)
{
    floatV acc[DW_K * DW_K];
    CLV_UNROLL
    for (int t = 0; t < DW_K * DW_K; t++)
        acc[t] = (floatV)(0);
    CLV_ROWS(r, s, begin, mine ? end : begin)
    {
        const reach here = reach_of(p, r);
        for (int first = 0; first < p->ow; first += DW_PIXELS)
            add_products(p, &here, first, acc);
    }
    float sums[DW_K * DW_K * CLV_V];
    CLV_UNROLL
    for (int t = 0; t < DW_K * DW_K; t++)
        vstoreV(acc[t], t, sums);
    DW_ROLLED
    for (int t = 0; t < DW_K * DW_K; t++) {
        const floatV sum = clv_down_sum(vloadV(t, sums), s, scratch);
        if (mine && s.lane == 0)
            vstoreV(sum, 0, to + t * p->c);
    }
}
#else
/* Asks for what the DW_PIXELS outputs of row r from `first` on are the first to read. */
static void fetch_products(const place *p, int r, int first)
{
    const long top = (long)(r / p->oh) * p->h + r % p->oh * DW_S - p->pt + DW_K - DW_S;
    for (int b = 0; b < DW_S; b++)
        fetch_pixels(p->x + ((top + b) * p->w + first * DW_S) * p->c, p->c, DW_PIXELS * DW_S);
    fetch_pixels(p->dz + ((long)r * p->ow + first) * p->c, p->c, DW_PIXELS);
}

/* Rows [begin, end) of the outputs into to[tap][channel]; of the channels those from `skip` on are
 * this work-item's. fresh: `to` holds nothing yet. */
static void add_rows(const place *p, int begin, int end, __global float *to, int skip, bool fresh)
{
    float sums[DW_K * DW_K * CLV_V];
    floatV acc[DW_K * DW_K];
    CLV_UNROLL
    for (int t = 0; t < DW_K * DW_K; t++)
        acc[t] = fresh ? (floatV)(0) : vloadV(0, to + t * p->c);
    for (int r = begin; r < end; r++) {
        const reach here = reach_of(p, r);
        for (int first = 0; first < p->ow; first += DW_PIXELS) {
            if (r + p->ahead < p->rows)
                fetch_products(p, r + p->ahead, first);
            add_products(p, &here, first, acc);
        }
    }
    if (skip == 0) {
        CLV_UNROLL
        for (int t = 0; t < DW_K * DW_K; t++)
            clv_put(acc[t], to + t * p->c);
        return;
    }
    CLV_UNROLL
    for (int t = 0; t < DW_K * DW_K; t++)
        vstoreV(acc[t], t, sums);
    DW_ROLLED
    for (int t = 0; t < DW_K * DW_K; t++)
        for (int i = skip; i < CLV_V; i++)
            to[t * p->c + i] = sums[t * CLV_V + i];
}
#endif
#elif CLV_ITEMS > 1
static void add_rows(const place *p, int begin, int end, __global float *to, bool mine, clv_span s,
                     __local floatV *scratch)
{
    for (int a = 0; a < p->kh; a++)
        for (int b = 0; b < p->kw; b++) {
            const int from = max(0, (p->pl - b + p->sw - 1) / p->sw);
            const int stop = min(p->ow, (p->w - 1 + p->pl - b + p->sw) / p->sw);
            floatV acc = (floatV)(0);
            CLV_ROWS(r, s, begin, mine ? end : begin)
            {
                const reach here = reach_of(p, r);
                __global const float *x = here.x + ((long)a * p->w - p->pl + b) * p->c;
                if (a >= here.from && a < here.to)
                    for (int i = from; i < stop; i++)
                        acc = fma(clv_load(x + (long)i * p->sw * p->c, p->left, 0),
                                  clv_load(here.dz + (long)i * p->c, p->left, 0), acc);
            }
            acc = clv_down_sum(acc, s, scratch);
            if (mine && s.lane == 0)
                clv_store(acc, to + (a * p->kw + b) * p->c, p->left);
        }
}
#else
/* The same for any filter; skip is 0. */
static void add_rows(const place *p, int begin, int end, __global float *to, int skip, bool fresh)
{
    for (int a = 0; a < p->kh; a++)
        for (int b = 0; b < p->kw; b++) {
            /* Outputs whose tap b lies inside the picture: [from, stop). */
            const int from = max(0, (p->pl - b + p->sw - 1) / p->sw);
            const int stop = min(p->ow, (p->w - 1 + p->pl - b + p->sw) / p->sw);
            __global float *sum = to + (a * p->kw + b) * p->c;
            floatV acc = fresh ? (floatV)(0) : clv_load(sum, p->left, 0);
            for (int r = begin; r < end; r++) {
                const reach here = reach_of(p, r);
                if (a < here.from || a >= here.to)
                    continue;
                __global const float *x = here.x + ((long)a * p->w - p->pl + b) * p->c;
                for (int i = from; i < stop; i++)
                    acc = fma(clv_load(x + (long)i * p->sw * p->c, p->left, 0),
                              clv_load(here.dz + (long)i * p->c, p->left, 0), acc);
            }
            clv_store(acc, sum, p->left);
        }
}
#endif

#if CLV_ITEMS == 1
/* Asks for what rows [begin, end) of the outputs read: in the order it lies in, which processors
 * foresee. What follows goes over it a vector of each pixel at a time, which they do not. */
static void fetch_ahead(const place *p, __global const float *x, __global const float *dz,
                        int columns, int begin, int end)
{
    const int picture = begin / p->oh, top = max(0, begin % p->oh * p->sh - p->pt);
    const int last = min(end - picture * p->oh, p->oh) - 1; /* rows of the first picture only */
    const int bottom = min(p->h, last * p->sh - p->pt + p->kh);
    for (int i = 0; i < (bottom - top) * p->w; i++)
        for (int k = 0; k < columns; k += 16)
            CLV_PREFETCH(x + ((long)(picture * p->h + top) * p->w + i) * p->c + k);
    for (int i = 0; i < (end - begin) * p->ow; i++)
        for (int k = 0; k < columns; k += 16)
            CLV_PREFETCH(dz + ((long)begin * p->ow + i) * p->c + k);
}
#endif

/* Part of the gradient to the filter, from a chunk of the n·oh rows of outputs:
 *     part[g][a][b][:] = Σ x[n, i·sh - pt + a, j·sw - pl + b, :]·dz[n, i, j, :]
 * over the rows [g·chunk, (g + 1)·chunk), counted through all pictures. The sums pass through
 * `part` every `piece` rows, so that these stay in the nearest caches while all channels go over
 * them. x [n, h, w, c], dz [n, oh, ow, c]; rows: n·oh. Group (g, q): chunk, channels
 * [q·DW_CHANNELS, …). */
CLV_GROUP __kernel void depthwise_conv2d_bwd_param(__global float *restrict part, ulong part_at,
                                                   __global const float *restrict x, ulong x_at,
                                                   __global const float *restrict dz, ulong dz_at,
                                                   int rows, int h, int w, int c, int kh, int kw,
                                                   int sh, int sw, int pt, int pl, int oh, int ow,
                                                   int chunk, int piece)
{
    const int begin = CLV_BEGIN(chunk), end = CLV_END(rows, chunk);
    const int c0 = (int)get_group_id(1) * DW_CHANNELS, c1 = min(c, c0 + DW_CHANNELS);
    part += part_at + (size_t)get_group_id(0) * kh * kw * c;
    place p;
    p.h = h;
    p.w = w;
    p.c = c;
    p.kh = kh;
    p.kw = kw;
    p.sh = sh;
    p.sw = sw;
    p.pt = pt;
    p.pl = pl;
    p.oh = oh;
    p.ow = ow;
    p.rows = rows;
    p.ahead = piece;
#if CLV_ITEMS > 1
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(c1 - c0);
    const int k = c0 + s.column * CLV_V;
    p.x = x + x_at + k;
    p.dz = dz + dz_at + k;
    p.left = c - k;
    add_rows(&p, begin, end, part + k, k < c1, s, scratch);
#else
    for (int start = begin; start < end; start += piece) {
        const int stop = min(end, start + piece);
        /* Later pieces have been asked for while the one before was computed. */
        if (DW_K == 0 || start == begin)
            fetch_ahead(&p, x + x_at + c0, dz + dz_at + c0, c1 - c0, start, stop);
        for (int k0 = c0; k0 < c1; k0 += CLV_V) {
            const int k = DW_CHANNEL(k0, c);
            p.x = x + x_at + k;
            p.dz = dz + dz_at + k;
            p.left = c - k;
            add_rows(&p, start, stop, part + k, k0 - k, start == begin);
        }
    }
#endif
}

/* to[i, k] = f[i, k]·scale[k]: a normalisation folded into the filters. f, to [kh·kw, c]: `total`
 * elements. Group g: a share of them. */
CLV_GROUP __kernel void depthwise_conv2d_scale(__global float *restrict to, ulong to_at,
                                               __global const float *restrict f, ulong f_at,
                                               __global const float *restrict scale, ulong scale_at,
                                               int total, int c, int share)
{
    for (int i = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(total, share); i < end; i += CLV_ITEMS)
        to[to_at + i] = f[f_at + i] * scale[scale_at + i % c];
}
