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

/* Samples that a group takes together where it can: they read a matrix once. */
#define EXCITE_SAMPLES 4

/* to = act(from · w + b) of `samples` (known while compiling) samples, `apart` floatV from one to
 * the next: from [rows], w [rows, columns], b [columns] or NULL, to [columns]; both lie in local
 * memory, whole vectors. */
__attribute__((always_inline)) static void dense(__local floatV *to, __local const floatV *from,
                                                 __global const float *w, __global const float *b,
                                                 int rows, int columns, int act, int apart,
                                                 int samples)
{
    for (int s = 0; s < samples; s++)
        for (int k = 0; k < columns; k += CLV_V)
            to[s * apart + k / CLV_V] = b ? clv_load(b + k, columns - k, 0) : (floatV)(0);
    for (int i = 0; i < rows; i += EXCITE_ROWS) {
        const bool whole = (long)(i + EXCITE_ROWS) * columns + CLV_V <= (long)rows * columns;
        floatV factor[EXCITE_SAMPLES][EXCITE_ROWS];
        CLV_UNROLL
        for (int s = 0; s < samples; s++) {
            __local const float *value = (__local const float *)(from + s * apart) + i;
            CLV_UNROLL
            for (int r = 0; r < EXCITE_ROWS; r++)
                factor[s][r] = (floatV)(i + r < rows ? value[r] : 0);
        }
        for (int k = 0; k < columns; k += CLV_V) {
            floatV row[EXCITE_ROWS];
            CLV_UNROLL
            for (int r = 0; r < EXCITE_ROWS; r++)
                row[r] = whole ? vloadV(0, w + (long)(i + r) * columns + k)
                               : row_vector(w, rows, columns, i + r, k);
            CLV_UNROLL
            for (int s = 0; s < samples; s++) {
                floatV sum[EXCITE_ROWS];
                CLV_UNROLL
                for (int r = 0; r < EXCITE_ROWS; r++)
                    sum[r] = factor[s][r] * row[r];
                to[s * apart + k / CLV_V] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
            }
        }
    }
    for (int s = 0; s < samples; s++)
        for (int k = 0; k < columns; k += CLV_V)
            to[s * apart + k / CLV_V] = clv_act(to[s * apart + k / CLV_V], act);
}

/* Arguments of the kernel below, views moved on to the first sample. */
typedef struct excitation {
    __global float *y;
    __global const float *part, *w, *b, *w2, *b2;
    int parts, c, hidden, outputs, act, act2;
    float scale;
} excitation;

/* Of `samples` (known while compiling) samples from number `first` on. */
__attribute__((always_inline)) static void excite(const excitation *e, __local floatV *memory,
                                                  int first, int samples)
{
    const int c = e->c, outputs = e->outputs;
    const int h = (c + CLV_V - 1) / CLV_V, result = h + (e->hidden + CLV_V - 1) / CLV_V;
    const int apart = result + (outputs + CLV_V - 1) / CLV_V;
    for (int s = 0; s < samples; s++)
        for (int k = 0; k < c; k += CLV_V) {
            __global const float *part = e->part + (size_t)(first + s) * e->parts * c + k;
            floatV total = (floatV)(0);
            for (int g = 0; g < e->parts; g++)
                total += clv_load(part + (size_t)g * c, c - k, 0);
            memory[s * apart + k / CLV_V] = total * e->scale;
        }
    dense(memory + h, memory, e->w, e->b, c, e->hidden, e->act, apart, samples);
    dense(memory + result, memory + h, e->w2, e->b2, e->hidden, outputs, e->act2, apart, samples);
    for (int s = 0; s < samples; s++)
        for (int k = 0; k < outputs; k += CLV_V)
            clv_store(memory[s * apart + result + k / CLV_V],
                      e->y + (size_t)(first + s) * outputs + k, outputs - k);
}

/* m = scale·Σ part[n, g, :] over g < parts, h = act(m · w + b), y[n, :] = act2(h · w2 + b2); part
 * [n, parts, c], w [c, hidden], w2 [hidden, outputs], b [hidden] and b2 [outputs] or NULL. memory:
 * of min(share, EXCITE_SAMPLES) samples c, hidden and outputs floats, each rounded up to whole
 * vectors. NDRange: group g: the samples [g·share, (g + 1)·share). Overwrites. */
CLV_KERNEL(squeeze_excite_fwd, __global float *restrict y, ulong y_at,
           __global const float *restrict part, ulong part_at, __global const float *restrict w,
           ulong w_at, __global const float *restrict b, ulong b_at,
           __global const float *restrict w2, ulong w2_at, __global const float *restrict b2,
           ulong b2_at, __local floatV *memory, int n, int parts, int c, int hidden, int outputs,
           float scale, int act, int act2, int share)
{
    const excitation e = {.y = y + y_at,
                          .part = part + part_at,
                          .w = w + w_at,
                          .b = b ? b + b_at : 0,
                          .w2 = w2 + w2_at,
                          .b2 = b2 ? b2 + b2_at : 0,
                          .parts = parts,
                          .c = c,
                          .hidden = hidden,
                          .outputs = outputs,
                          .act = act,
                          .act2 = act2,
                          .scale = scale};
    int i = CLV_BEGIN(share);
    const int end = CLV_END(n, share);
    for (; i + EXCITE_SAMPLES <= end; i += EXCITE_SAMPLES)
        excite(&e, memory, i, EXCITE_SAMPLES);
    for (; i < end; i++)
        excite(&e, memory, i, 1);
}
