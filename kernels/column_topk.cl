/* column_topk: each column of [n, columns] keeps its m largest (expert choice, Zhou et al. 2022,
 * arXiv 2202.09368). Ties go to the lowest row; a NaN counts as larger than anything.
 * NDRange: groups of CLV_ITEMS work-items; 0 bytes of local memory. Outputs are overwritten. */
#include "group.clh"

/* A whole number that grows as x does: the bits of a positive float do, those of a negative one
 * fall. */
static uintV key_of(floatV x)
{
    x = x == 0 ? (floatV)(0) : x; /* -0 equals 0 */
    const intV bits = as_intV(x);
    const uintV key = as_uintV(bits ^ ((bits >> 31) | (intV)(INT_MIN)));
    return x != x ? (uintV)(0xFFFFFFFFu) : key;
}

static uintV load_key(__global const float *x, int left)
{
    return key_of(clv_load(x, left, 0));
}

/* y = x where it is one of its column's m largest, else 0. cut [2, columns]: the key of the m-th
 * largest and the last row with that key that is kept, for backward. The key is found bit by bit
 * from the top: the largest one that at least m rows reach. x, y [n, columns], 1 <= m <= n. Group
 * g: a share of the blocks of CLV_V columns. */
CLV_GROUP __kernel void column_topk_fwd(__global float *restrict y, ulong y_at,
                                        __global uint *restrict cut, ulong cut_at,
                                        __global const float *restrict x, ulong x_at, int n,
                                        int columns, int m, int share)
{
    const int blocks = (columns + CLV_V - 1) / CLV_V;
    for (int q = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(blocks, share); q < end;
         q += CLV_ITEMS) {
        const int c = q * CLV_V, left = columns - c;
        __global const float *in = x + x_at + c;
        uintV key = (uintV)(0);
        for (uint bit = 0x80000000u; bit != 0; bit >>= 1) {
            /* Comparisons give -1. Counted upwards LLVM makes 1 of them, which Oclgrind reads as
             * 255. */
            intV missing = (intV)(m);
            for (int r = 0; r < n; r++)
                missing += load_key(in + (size_t)r * columns, left) >= (key | bit);
            key = missing <= 0 ? key | bit : key;
        }
        intV ties = (intV)(m), last = (intV)(-1);
        for (int r = 0; r < n; r++)
            ties += load_key(in + (size_t)r * columns, left) > key;
        for (int r = 0; r < n; r++) {
            const floatV v = clv_load(in + (size_t)r * columns, left, 0);
            const uintV here = key_of(v);
            const intV tie = (here == key) & (ties > 0);
            ties += tie;
            last = tie ? (intV)(r) : last;
            clv_store((here > key) | tie ? v : (floatV)(0), y + y_at + (size_t)r * columns + c,
                      left);
        }
        uint keys[CLV_V];
        int lasts[CLV_V];
        vstoreV(key, 0, keys);
        vstoreV(last, 0, lasts);
        for (int i = 0; i < CLV_V && i < left; i++) {
            cut[cut_at + (ulong)(c + i)] = keys[i];
            cut[cut_at + (ulong)(columns + c + i)] = (uint)lasts[i];
        }
    }
}

/* gx = gy where x was kept, else 0. gx, gy, x [n, columns], cut as column_topk_fwd left it; gx may
 * be the very memory of gy. Group g: a share of the rows. */
CLV_GROUP __kernel void column_topk_bwd(__global float *gx, ulong gx_at, __global const float *gy,
                                        ulong gy_at, __global const float *x, ulong x_at,
                                        __global const uint *cut, ulong cut_at, int n, int columns,
                                        int share)
{
    cut += cut_at;
    const clv_span s = clv_span_for(columns);
    CLV_ROWS(r, s, CLV_BEGIN(share), CLV_END(n, share))
    CLV_COLUMNS(c, s, columns)
    {
        const int left = columns - c;
        const size_t at = (size_t)r * columns + c;
        const uintV here = load_key(x + x_at + at, left);
        uint keys[CLV_V];
        int lasts[CLV_V];
        for (int i = 0; i < CLV_V; i++) {
            keys[i] = i < left ? cut[c + i] : 0;
            lasts[i] = i < left ? (int)cut[columns + c + i] : 0;
        }
        const uintV key = vloadV(0, keys);
        const intV kept = (here > key) | ((here == key) & ((intV)(r) <= vloadV(0, lasts)));
        clv_store(kept ? clv_load(gy + gy_at + at, left, 0) : (floatV)(0), gx + gx_at + at, left);
    }
}
