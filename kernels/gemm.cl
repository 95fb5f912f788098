/* Matrix products, row-major: c[m, n] = op(a)[m, k] · op(b)[k, n]. Host side: core/runtime/gemm.c.
 * NDRange of every kernel but gemm_reduce
 * and gemm_sum, which every form uses: groups of one work-item, 0 bytes of local memory. The order
 * of summation depends on the shapes only. */
#include "activation.clh"
#include "group.clh"
#include "wide_product.clh"

/* Copies a matrix into blocks of CLV_NB columns, zeros beyond column n:
 *     out[q][t][l][j] = scale[q·CLV_NB + j] · from[tap(t) + l·row + (q·CLV_NB + j)·column],
 * q < ceil(n / CLV_NB), l < k, j < CLV_NB, t < taps_y·taps_x, and
 *     tap(t) = (t / taps_x)·tap_y + (t % taps_x)·tap_x
 * (strides may be negative: a flipped filter). scale NULL: 1. After the last block come `zeros`
 * zeros, which stand for pixels outside the picture. out is overwritten.
 * NDRange: group (g, q) packs the rows r of taps·k with g·share <= r < (g + 1)·share of block q. */
CLV_KERNEL(gemm_pack, __global float *restrict out, ulong out_at,
           __global const float *restrict from, ulong from_at, __global const float *restrict scale,
           ulong scale_at, int n, int k, int row, int column, int taps_y, int taps_x, int tap_y,
           int tap_x, int zeros, int share)
{
    const int q = CLV_GROUP_ID(1), total = taps_y * taps_x * k;
    const int first = q * CLV_NB, columns = min(n - first, CLV_NB);
    const int end = CLV_END(total, share);
    __global float *to = out + out_at + (size_t)q * total * CLV_NB;
    from += from_at;
    for (int r = CLV_BEGIN(share); r < end;) {
        const int t = r / k, stop = min(end, (t + 1) * k);
        __global const float *tap =
            from + (t / taps_x * tap_y + t % taps_x * tap_x) + (size_t)first * column;
        if (columns == CLV_NB && column == 1 && !scale) {
            for (; r < stop; r++)
                CLV_UNROLL
            for (int j = 0; j < CLV_NV; j++)
                clv_put(vloadV(j, tap + (size_t)(r - t * k) * row),
                        to + (size_t)r * CLV_NB + j * CLV_V);
            continue;
        }
        for (; r < stop; r++) {
            for (int j = 0; j < CLV_NB; j++) {
                float v = j < columns ? tap[(size_t)(r - t * k) * row + (size_t)j * column] : 0.0f;
                if (scale && j < columns)
                    v *= scale[scale_at + first + j];
                to[(size_t)r * CLV_NB + j] = v;
            }
        }
    }
    if (q == 0 && CLV_GROUP_ID(0) == 0) {
        __global float *rest = out + out_at + (size_t)total * CLV_NB * CLV_GROUPS(1);
        for (int i = 0; i < zeros; i++)
            rest[i] = 0.0f;
    }
}

/* to[j·rows + i] = from[i·row + j], i < rows, j < columns: a transpose by squares of CLV_V.
 * NDRange: group (g, h): i in [h·share, …) and j in [g·share, …), share a multiple of CLV_V.
 * Overwrites. */
CLV_KERNEL(gemm_transpose, __global float *restrict to, ulong to_at,
           __global const float *restrict from, ulong from_at, int rows, int columns, int row,
           int share)
{
    const int i_end = min(rows, (CLV_GROUP_ID(1) + 1) * share);
    const int j_end = CLV_END(columns, share);
    to += to_at;
    from += from_at;
    for (int i0 = CLV_GROUP_ID(1) * share; i0 < i_end; i0 += CLV_V)
        for (int j0 = CLV_BEGIN(share); j0 < j_end; j0 += CLV_V) {
            float square[CLV_V * CLV_V];
            for (int i = 0; i < min(i_end - i0, CLV_V); i++)
                vstoreV(clv_load(from + (size_t)(i0 + i) * row + j0, j_end - j0, 0), i, square);
            for (int j = 0; j < min(j_end - j0, CLV_V); j++) {
                float line[CLV_V];
                CLV_UNROLL
                for (int i = 0; i < CLV_V; i++)
                    line[i] = square[i * CLV_V + j];
                clv_store(vloadV(0, line), to + (size_t)(j0 + j) * rows + i0, i_end - i0);
            }
        }
}

/* c[m, n] = Σ_l a[i·lda + l] · b[q·b_block + l·b_row + j] (+ bias) (+ c), c's rows ldc apart. b is
 * packed (b_row = CLV_NB) or any matrix whose n is a multiple of CLV_NB. The sum over l is cut into
 * pieces of `depth` that stay in the cache, and a group takes the l in [s·span, (s + 1)·span): with
 * more than one s, c is a stack of partial sums, c_part apart.
 * NDRange: group (p, g, s): column blocks q in [p·blocks, (p + 1)·blocks), rows [g·share,
 * (g + 1)·share). */
CLV_KERNEL(gemm_wide, __global float *restrict c, ulong c_at, __global const float *restrict a,
           ulong a_at, __global const float *restrict b, ulong b_at,
           __global const float *restrict bias, ulong bias_at, int m, int n, int k, int ldc,
           int lda, int b_block, int b_row, int c_part, int span, int depth, int flags, int blocks,
           int share)
{
    const int s = CLV_GROUP_ID(2), stop = min(k, s * span + span);
    const int begin = CLV_GROUP_ID(1) * share, end = min(m, begin + share);
    const int q0 = CLV_GROUP_ID(0) * blocks;
    const int q1 = min((n + CLV_NB - 1) / CLV_NB, q0 + blocks);
    c += c_at + (size_t)s * c_part;
    a += a_at;
    b += b_at;
    bias += bias_at;
    for (int l = s * span; l < stop; l += depth) {
        /* Bias and old content join the sum with its first piece. */
        const int join = l == s * span ? flags : GEMM_ACCUMULATE;
        for (int q = q0; q < q1; q++)
            wide_rows(c + q * CLV_NB, a + l, b + (size_t)q * b_block + (size_t)l * b_row,
                      bias + q * CLV_NB, begin, end, min(depth, stop - l), ldc, lda, b_row,
                      min(n - q * CLV_NB, CLV_NB), join);
    }
}

/* c[m, n] = Σ_l a[i·lda + l] · b[j·ldb + l] (+ bias) (+ c), c's rows ldc apart, for few rows of a:
 * both factors are read along their rows, so that b, which is much larger, is read once and not
 * packed. Lanes of a vector are sums of their own, added at the end. NDRange: group g takes the
 * columns [g·share, (g + 1)·share), four at a time, by four rows. */
CLV_KERNEL(gemm_few, __global float *restrict c, ulong c_at, __global const float *restrict a,
           ulong a_at, __global const float *restrict b, ulong b_at,
           __global const float *restrict bias, ulong bias_at, int m, int n, int k, int ldc,
           int lda, int ldb, int flags, int share)
{
    const int end = CLV_END(n, share);
    for (int j0 = CLV_BEGIN(share); j0 < end; j0 += 4)
        for (int i0 = 0; i0 < m; i0 += 4) {
            floatV acc[4][4];
            float tile[16];
            __global const float *left[4], *right[4];
            CLV_UNROLL
            for (int i = 0; i < 4; i++) { /* what is beyond the last repeats it */
                left[i] = a + a_at + (size_t)min(i0 + i, m - 1) * lda;
                right[i] = b + b_at + (size_t)min(j0 + i, end - 1) * ldb;
                CLV_UNROLL
                for (int j = 0; j < 4; j++)
                    acc[i][j] = (floatV)(0);
            }
            for (int l = 0; l < k; l += CLV_V) {
                floatV row[4];
                CLV_UNROLL
                for (int i = 0; i < 4; i++)
                    row[i] = clv_load(left[i] + l, k - l, 0);
                CLV_UNROLL
                for (int j = 0; j < 4; j++) {
                    const floatV v = clv_load(right[j] + l, k - l, 0);
                    CLV_UNROLL
                    for (int i = 0; i < 4; i++)
                        acc[i][j] = fma(row[i], v, acc[i][j]);
                }
            }
            CLV_UNROLL
            for (int i = 0; i < 4; i++)
                CLV_UNROLL
            for (int j = 0; j < 4; j++)
                tile[4 * i + j] = clv_lanes_sum(acc[i][j]);
            for (int i = 0; i < min(m - i0, 4); i++)
                for (int j = 0; j < min(end - j0, 4); j++) {
                    __global float *to = c + c_at + (size_t)(i0 + i) * ldc + j0 + j;
                    float v = tile[4 * i + j];
                    if (flags & GEMM_BIAS)
                        v += bias[bias_at + j0 + j];
                    if (flags & GEMM_ACCUMULATE)
                        v += *to;
                    *to = v;
                }
        }
}

/* Rows [0, m), m <= nr, of the columns [j, j + nv·CLV_V) of gemm_few_plain, COLUMN(v) being vector
 * v of a row of b. */
#define FEW_BLOCK(nr, nv, COLUMN)                                                                  \
    do {                                                                                           \
        floatV acc[nr][nv];                                                                        \
        __global const float *line[nr], *right = b + j;                                            \
        CLV_UNROLL                                                                                 \
        for (int i = 0; i < (nr); i++) { /* what is beyond the last repeats it */                  \
            line[i] = a + (size_t)min(i, m - 1) * lda;                                             \
            CLV_UNROLL                                                                             \
            for (int v = 0; v < (nv); v++)                                                         \
                acc[i][v] = (floatV)(0);                                                           \
        }                                                                                          \
        for (int l = 0; l < k; l++, right += ldb) {                                                \
            CLV_UNROLL                                                                             \
            for (int v = 0; v < (nv); v++)                                                         \
                CLV_PREFETCH(right + 16 * (size_t)ldb + v * CLV_V);                                \
            CLV_WIDE_STEP_(acc, nr, nv, COLUMN, GEMM_SCALAR);                                      \
        }                                                                                          \
        CLV_UNROLL                                                                                 \
        for (int i = 0; i < (nr); i++)                                                             \
            CLV_UNROLL                                                                             \
        for (int v = 0; v < (nv); v++)                                                             \
            tile[i * (nv) + v] = acc[i][v];                                                        \
        for (int i = 0; i < m; i++)                                                                \
            for (int v = 0; v < (nv); v++) {                                                       \
                __global float *to = c + (size_t)i * ldc + j + v * CLV_V;                          \
                const int left = n - j - v * CLV_V;                                                \
                floatV sum = tile[i * (nv) + v];                                                   \
                if (flags & GEMM_BIAS)                                                             \
                    sum += clv_load(bias + j + v * CLV_V, left, 0);                                \
                if (flags & GEMM_ACCUMULATE)                                                       \
                    sum += clv_load(to, left, 0);                                                  \
                clv_store(clv_act(sum, flags >> GEMM_ACT), to, left);                              \
            }                                                                                      \
        j += (nv)*CLV_V;                                                                           \
    } while (0)
#define FEW_WHOLE(v) vloadV(v, right)
#define FEW_TAIL(v)  clv_load(right, n - j, 0)

/* c[m, n] = act(Σ_l a[i·lda + l] · b[l·ldb + j] (+ bias) (+ c)), c's rows ldc apart, for m <= 8: b
 * is read once, as it lies. flags from bit GEMM_ACT on: the activation's code. NDRange: group g
 * takes the columns [g·share, (g + 1)·share), share a multiple of CLV_V. */
CLV_KERNEL(gemm_few_plain, __global float *restrict c, ulong c_at, __global const float *restrict a,
           ulong a_at, __global const float *restrict b, ulong b_at,
           __global const float *restrict bias, ulong bias_at, int m, int n, int k, int ldc,
           int lda, int ldb, int flags, int share)
{
    const int end = CLV_END(n, share);
    floatV tile[16];
    c += c_at;
    a += a_at;
    b += b_at;
    bias += bias_at;
    int j = CLV_BEGIN(share);
    if (m > 4) {
        while (j + 2 * CLV_V <= end)
            FEW_BLOCK(8, 2, FEW_WHOLE);
        while (j < end)
            FEW_BLOCK(8, 1, FEW_TAIL);
    } else {
        while (j + 4 * CLV_V <= end)
            FEW_BLOCK(4, 4, FEW_WHOLE);
        while (j < end)
            FEW_BLOCK(4, 1, FEW_TAIL);
    }
}

/* c[m, n] = part[0] + part[1] + … + part[parts - 1] (+ bias) (+ c), summed in this order; part[s]
 * [m, n] dense, c's rows ldc apart. NDRange: group g takes `share` rows. */
CLV_GROUP_KERNEL(gemm_reduce, __global float *restrict c, ulong c_at,
                 __global const float *restrict part, ulong part_at,
                 __global const float *restrict bias, ulong bias_at, int m, int n, int ldc,
                 int parts, int flags, int share)
{
    part += part_at;
    bias += bias_at;
    const clv_span s = clv_span_for(n);
    CLV_ROWS(i, s, CLV_BEGIN(share), CLV_END(m, share))
    {
        __global float *row = c + c_at + (size_t)i * ldc;
        CLV_COLUMNS(j, s, n)
        {
            const int left = n - j;
            floatV v = (floatV)(0);
            for (int p = 0; p < parts; p++)
                v += clv_load(part + ((size_t)p * m + i) * n + j, left, 0);
            if (flags & GEMM_BIAS)
                v += clv_load(bias + j, left, 0);
            if (flags & GEMM_ACCUMULATE)
                v += clv_load(row + j, left, 0);
            clv_store(v, row + j, left);
        }
    }
}

/* to[i] = Σ part[s·total + i] over s < parts, summed in this order; to [total]. Overwrites.
 * NDRange: group g takes the elements [g·share, (g + 1)·share). */
CLV_GROUP_KERNEL(gemm_sum, __global float *restrict to, ulong to_at,
                 __global const float *restrict part, ulong part_at, int total, int parts,
                 int share)
{
    const int end = CLV_END(total, share);
    to += to_at;
    part += part_at;
    for (int i = CLV_BEGIN(share) + CLV_FIRST; i < end; i += CLV_STEP) {
        const int left = end - i;
        floatV v = clv_load(part + i, left, 0);
        for (int s = 1; s < parts; s++)
            v += clv_load(part + (size_t)s * total + i, left, 0);
        clv_store(v, to + i, left);
    }
}
