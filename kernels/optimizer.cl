/* AdamW, Adam and SGD over whole slabs of variables, as PyTorch has them.
 * AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101):
 *   θ ← θ(1 - lr·decay); m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²;
 *   θ ← θ - lr·(m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + eps)
 * Adam (Kingma & Ba 2015, arXiv 1412.6980): the same with g ← g + decay·θ instead of the first.
 * SGD: g ← g + decay·θ; m ← momentum·m + g; θ ← θ - lr·(nesterov ? g + momentum·m : m).
 * A slab is cut into chunks that lie within one variable. The table of chunks has 8 words each: low
 * and high word of the offset in the slab, length, group, learning-rate multiplier (float), decay
 * (float), two spare. The table of groups has 4 floats each: lr/(1-β₁ᵗ), 1/√(1-β₂ᵗ), lr, and 1
 * where the group is stepped, 0 where nothing of it moves. NDRange: groups of CLV_ITEMS work-items,
 * each a share of the chunks; local memory for sums (group.clh). */
#include "group.clh"

#define CHUNK_WORDS 8

static ulong chunk_offset(__global const uint *chunk)
{
    return (ulong)chunk[1] << 32 | chunk[0];
}

/* partial[c] = Σ g² over chunk c, 0 where its group is not stepped. partial [chunks], at
 * partial_at; overwritten. */
CLV_GROUP __kernel void optimizer_squares(__global float *restrict partial, ulong partial_at,
                                          __global const float *restrict gradient,
                                          ulong gradient_at, __global const uint *restrict chunks,
                                          ulong chunks_at, __global const float *restrict groups,
                                          ulong groups_at, int count, int share)
{
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_of(CLV_ITEMS);
    for (int c = CLV_BEGIN(share), end = CLV_END(count, share); c < end; c++) {
        __global const uint *chunk = chunks + chunks_at + (size_t)c * CHUNK_WORDS;
        __global const float *g = gradient + gradient_at + chunk_offset(chunk);
        const int length = groups[groups_at + 4 * chunk[3] + 3] > 0 ? (int)chunk[2] : 0;
        floatV sum = (floatV)(0);
        for (int i = CLV_FIRST; i < length; i += CLV_STEP) {
            const floatV x = clv_load(g + i, length - i, 0);
            sum = fma(x, x, sum);
        }
        const float squares = clv_across_sum(sum, s, scratch);
        if (CLV_ITEM == 0)
            partial[partial_at + c] = squares;
    }
}

/* scale[0] = factor·min(1, clip/(factor·√Σ partial + 1e-6)): what gradients are multiplied by for a
 * norm of factor times them of at most clip, as torch.nn.utils.clip_grad_norm_. One work-group; the
 * order of the sum depends on count only. */
CLV_GROUP __kernel void optimizer_clip(__global float *restrict scale, ulong scale_at,
                                       __global const float *restrict partial, ulong partial_at,
                                       int count, float clip, float factor)
{
    CLV_SCRATCH(scratch);
    floatV sum = (floatV)(0);
    for (int i = CLV_FIRST; i < count; i += CLV_STEP)
        sum += clv_load(partial + partial_at + i, count - i, 0);
    const float squares = clv_across_sum(sum, clv_span_of(CLV_ITEMS), scratch);
    const float limit = clip / (factor * sqrt(squares) + 1e-6f);
    if (CLV_ITEM == 0)
        scale[scale_at] = limit < 1 ? factor * limit : factor;
}

/* One step of every stepped chunk; value, m and v are updated in place. The gradient counts times
 * scale[0]. rest1 = 1 - β₁, rest2 = 1 - β₂; coupled: Adam, else AdamW. θ·lr·decay is subtracted,
 * not θ multiplied by 1 - lr·decay: that factor, rounded, would be wrong by a good part of
 * lr·decay. */
CLV_GROUP __kernel void optimizer_adamw(__global float *restrict value, ulong value_at,
                                        __global float *restrict moment1, ulong moment1_at,
                                        __global float *restrict moment2, ulong moment2_at,
                                        __global const float *restrict gradient, ulong gradient_at,
                                        __global const uint *restrict chunks, ulong chunks_at,
                                        __global const float *restrict groups, ulong groups_at,
                                        __global const float *restrict scale, ulong scale_at,
                                        int count, float rest1, float rest2, float eps, int coupled,
                                        int share)
{
    const float factor = scale[scale_at];
    for (int c = CLV_BEGIN(share), end = CLV_END(count, share); c < end; c++) {
        __global const uint *chunk = chunks + chunks_at + (size_t)c * CHUNK_WORDS;
        __global const float *group = groups + groups_at + 4 * chunk[3];
        const ulong at = chunk_offset(chunk);
        const int length = group[3] > 0 ? (int)chunk[2] : 0;
        const float multiplier = as_float(chunk[4]);
        const float rate = group[0] * multiplier, correction = group[1];
        const float decay = as_float(chunk[5]), pull = coupled ? decay : 0;
        const float shrink = coupled ? 0 : group[2] * multiplier * decay;
        __global float *theta = value + value_at + at;
        __global float *m_of = moment1 + moment1_at + at, *v_of = moment2 + moment2_at + at;
        __global const float *g_of = gradient + gradient_at + at;
        for (int i = CLV_FIRST; i < length; i += CLV_STEP) {
            const int left = length - i;
            const floatV x = clv_load(theta + i, left, 0);
            const floatV g = fma((floatV)(pull), x, clv_load(g_of + i, left, 0) * factor);
            floatV m = clv_load(m_of + i, left, 0), v = clv_load(v_of + i, left, 0);
            m = fma((floatV)(rest1), g - m, m);
            v = fma((floatV)(rest2), fma(g, g, -v), v);
            const floatV step = rate * m / fma(sqrt(v), (floatV)(correction), (floatV)(eps));
            clv_store(m, m_of + i, left);
            clv_store(v, v_of + i, left);
            clv_store(x - fma((floatV)(shrink), x, step), theta + i, left);
        }
    }
}

/* One step of every stepped chunk; value and m are updated in place. m is neither read nor written
 * where momentum is 0. */
CLV_GROUP __kernel void optimizer_sgd(__global float *restrict value, ulong value_at,
                                      __global float *restrict moment, ulong moment_at,
                                      __global const float *restrict gradient, ulong gradient_at,
                                      __global const uint *restrict chunks, ulong chunks_at,
                                      __global const float *restrict groups, ulong groups_at,
                                      __global const float *restrict scale, ulong scale_at,
                                      int count, float momentum, int nesterov, int share)
{
    const float factor = scale[scale_at];
    for (int c = CLV_BEGIN(share), end = CLV_END(count, share); c < end; c++) {
        __global const uint *chunk = chunks + chunks_at + (size_t)c * CHUNK_WORDS;
        __global const float *group = groups + groups_at + 4 * chunk[3];
        const ulong at = chunk_offset(chunk);
        const int length = group[3] > 0 ? (int)chunk[2] : 0;
        const float rate = group[2] * as_float(chunk[4]), decay = as_float(chunk[5]);
        __global float *theta = value + value_at + at, *m_of = moment + moment_at + at;
        __global const float *g_of = gradient + gradient_at + at;
        for (int i = CLV_FIRST; i < length; i += CLV_STEP) {
            const int left = length - i;
            const floatV x = clv_load(theta + i, left, 0);
            floatV g = fma((floatV)(decay), x, clv_load(g_of + i, left, 0) * factor);
            if (momentum > 0) {
                const floatV m = fma((floatV)(momentum), clv_load(m_of + i, left, 0), g);
                clv_store(m, m_of + i, left);
                g = nesterov ? fma((floatV)(momentum), m, g) : m;
            }
            clv_store(fma((floatV)(-rate), g, x), theta + i, left);
        }
    }
}

/* average ← average + rest·(value - average). value, average [total]. NDRange: groups of CLV_ITEMS
 * work-items, each a share of the elements. */
CLV_GROUP __kernel void optimizer_average(__global float *restrict average, ulong average_at,
                                          __global const float *restrict value, ulong value_at,
                                          int total, float rest, int share)
{
    average += average_at;
    value += value_at;
    for (int i = CLV_BEGIN(share) + CLV_FIRST, end = CLV_END(total, share); i < end;
         i += CLV_STEP) {
        const floatV a = clv_load(average + i, end - i, 0);
        const floatV x = clv_load(value + i, end - i, 0);
        clv_store(fma((floatV)(rest), x - a, a), average + i, end - i);
    }
}
