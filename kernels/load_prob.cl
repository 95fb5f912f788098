/* load_prob: how probable it is that noise of its own would put expert i among the k largest of a
 * sample, the others' noise held (Shazeer et al. 2017, appendix A): y_i = Φ((z_i - t_i)/σ_i), σ =
 * softplus(s) + floor, t_i the (k + 1)-th largest of h where i is among the k largest, else the
 * k-th; ties go to the lowest index. z, s, h [n, columns]: clean logits, spread, noisy logits.
 * NDRange: groups of one work-item, each a share of the samples; 0 bytes of local memory. Outputs
 * are overwritten. */
#include "vector.clh"

#define ROOT_HALF 0.70710678f /* 1/√2 */
#define ROOT_2PI  0.39894228f /* 1/√2π */

/* How many come before column i in the order of falling h, ties by rising index. */
static int rank_of(__global const float *h, int columns, int i)
{
    int before = 0;
    for (int j = 0; j < columns; j++)
        before += h[j] > h[i] || (h[j] == h[i] && j < i);
    return before;
}

/* The columns of rank k - 1 and k. */
static int2 thresholds(__global const float *h, int columns, int k)
{
    int2 at = (int2)(0, 0);
    for (int i = 0; i < columns; i++) {
        const int rank = rank_of(h, columns, i);
        at.x = rank == k - 1 ? i : at.x;
        at.y = rank == k ? i : at.y;
    }
    return at;
}

static float spread(float s, float floor)
{
    return fmax(s, 0.0f) + log1p(exp(-fabs(s))) + floor;
}

CLV_SINGLE __kernel void load_prob_fwd(__global float *restrict y, ulong y_at,
                                       __global const float *restrict z, ulong z_at,
                                       __global const float *restrict s, ulong s_at,
                                       __global const float *restrict h, ulong h_at, int n,
                                       int columns, int k, float floor, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        const size_t row = (size_t)r * columns;
        __global const float *noisy = h + h_at + row;
        const int2 at = thresholds(noisy, columns, k);
        for (int i = 0; i < columns; i++) {
            const float t = noisy[rank_of(noisy, columns, i) < k ? at.y : at.x];
            const float u = (z[z_at + row + i] - t) / spread(s[s_at + row + i], floor);
            y[y_at + row + i] = 0.5f * erfc(-ROOT_HALF * u);
        }
    }
}

/* Of u = (z - t)/σ: to z gy φ(u)/σ, to s -gy φ(u) u/σ·σ', σ' = 1/(1 + exp(-s)), to h minus the
 * first at the threshold. Gradients that are not wanted are scratch of the caller's. */
CLV_SINGLE __kernel void
load_prob_bwd(__global float *restrict gz, ulong gz_at, __global float *restrict gs, ulong gs_at,
              __global float *restrict gh, ulong gh_at, __global const float *restrict gy,
              ulong gy_at, __global const float *restrict z, ulong z_at,
              __global const float *restrict s, ulong s_at, __global const float *restrict h,
              ulong h_at, int n, int columns, int k, float floor, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        const size_t row = (size_t)r * columns;
        __global const float *noisy = h + h_at + row;
        const int2 at = thresholds(noisy, columns, k);
        float last = 0, next = 0;
        for (int i = 0; i < columns; i++)
            gh[gh_at + row + i] = 0;
        for (int i = 0; i < columns; i++) {
            const bool chosen = rank_of(noisy, columns, i) < k;
            const float raw = s[s_at + row + i], sigma = spread(raw, floor);
            const float u = (z[z_at + row + i] - noisy[chosen ? at.y : at.x]) / sigma;
            const float slope = gy[gy_at + row + i] * ROOT_2PI * exp(-0.5f * u * u) / sigma;
            gz[gz_at + row + i] = slope;
            gs[gs_at + row + i] = -slope * u / (1 + exp(-raw));
            next -= chosen ? slope : 0;
            last -= chosen ? 0 : slope;
        }
        gh[gh_at + row + at.x] = last;
        gh[gh_at + row + at.y] = next;
    }
}
