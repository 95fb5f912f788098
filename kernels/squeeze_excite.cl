/* What squeeze-excite makes of a picture's channels, in inference (core/graph/join.c): their mean
 * over the pixels, from what groups of the convolution before have added up, and two dense layers
 * of it. Host side: core/ops/squeeze_excite.c. Sums run in an order that depends on the extents
 * only. */
#include "activation.clh"
#include "group.clh"

/* Rows of a matrix that are read side by side. */
#define EXCITE_ROWS 4

/* A vector of row i of w [rows, columns] from column k on, the rest of the last row's being 0: what
 * is read beyond a row is the next one's, and nobody asks for it. */
static floatV row_vector(__global const float *w, int rows, int columns, int i, int k)
{
    const long at = (long)i * columns + k, end = (long)rows * columns;
    if (at >= end)
        return (floatV)(0);
    return clv_load(w + at, (int)min(end - at, (long)CLV_V), 0);
}

/* to = act(from · w + b): from [rows], w [rows, columns], b [columns] or NULL, to [columns]; both
 * lie in local memory, whole vectors. */
static void dense(__local floatV *to, __local const float *from, __global const float *w,
                  __global const float *b, int rows, int columns, int act)
{
    for (int k = 0; k < columns; k += CLV_V)
        to[k / CLV_V] = b ? clv_load(b + k, columns - k, 0) : (floatV)(0);
    for (int i = 0; i < rows; i += EXCITE_ROWS) {
        const bool whole = (long)(i + EXCITE_ROWS) * columns + CLV_V <= (long)rows * columns;
        floatV factor[EXCITE_ROWS];
        CLV_UNROLL
        for (int r = 0; r < EXCITE_ROWS; r++)
            factor[r] = (floatV)(i + r < rows ? from[i + r] : 0);
        for (int k = 0; k < columns; k += CLV_V) {
            floatV sum[EXCITE_ROWS];
            CLV_UNROLL
            for (int r = 0; r < EXCITE_ROWS; r++)
                sum[r] = factor[r] * (whole ? vloadV(0, w + (long)(i + r) * columns + k)
                                            : row_vector(w, rows, columns, i + r, k));
            to[k / CLV_V] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
    }
    for (int k = 0; k < columns; k += CLV_V)
        to[k / CLV_V] = clv_act(to[k / CLV_V], act);
}

/* m = scale·Σ part[n, g, :] over g < parts, h = act(m · w + b), y[n, :] = act2(h · w2 + b2); part
 * [n, parts, c], w [c, hidden], w2 [hidden, outputs], b [hidden] and b2 [outputs] or NULL. memory:
 * c, hidden and outputs floats, each rounded up to whole vectors. NDRange: group n. Overwrites. */
CLV_SINGLE __kernel void squeeze_excite_fwd(__global float *restrict y, ulong y_at,
                                            __global const float *restrict part, ulong part_at,
                                            __global const float *restrict w, ulong w_at,
                                            __global const float *restrict b, ulong b_at,
                                            __global const float *restrict w2, ulong w2_at,
                                            __global const float *restrict b2, ulong b2_at,
                                            __local floatV *memory, int parts, int c, int hidden,
                                            int outputs, float scale, int act, int act2)
{
    const int sample = (int)get_group_id(0);
    __local floatV *h = memory + (c + CLV_V - 1) / CLV_V;
    __local floatV *result = h + (hidden + CLV_V - 1) / CLV_V;
    part += part_at + (size_t)sample * parts * c;
    y += y_at + (size_t)sample * outputs;
    for (int k = 0; k < c; k += CLV_V) {
        floatV total = (floatV)(0);
        for (int g = 0; g < parts; g++)
            total += clv_load(part + (size_t)g * c + k, c - k, 0);
        memory[k / CLV_V] = total * scale;
    }
    dense(h, (__local const float *)memory, w + w_at, b ? b + b_at : 0, c, hidden, act);
    dense(result, (__local const float *)h, w2 + w2_at, b2 ? b2 + b2_at : 0, hidden, outputs, act2);
    for (int k = 0; k < outputs; k += CLV_V)
        clv_store(result[k / CLV_V], y + k, outputs - k);
}
