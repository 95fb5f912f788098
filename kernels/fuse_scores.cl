/* fuse_scores: the answers of K experts as one. x [n, experts, classes] logits, weights g
 * [n, experts] ≥ 0; an expert whose weight is exactly 0 has no part in it, and its logits are not
 * used. s is x, or log softmax(x) of an expert (probabilities = 1). NDRange: groups of one
 * work-item, each a share of the samples; 0 bytes of local memory. Outputs are overwritten. */
#include "log_softmax.clh"

/* The rules, in the order of the op's choices. */
#define WEIGHTED 0
#define PRODUCT  1
#define MAXIMUM  2
#define MEDIAN   3
#define MINIMUM  4
#define VOTE     5

#define MAX_EXPERTS 64

static floatV log_probability(__global const float *x, int left, __global const float *saved)
{
    return (clv_load(x, left, 0) - saved[0]) - saved[1];
}

static floatV score(__global const float *x, int left, __global const float *saved,
                    int probabilities)
{
    return probabilities ? log_probability(x, left, saved) : clv_load(x, left, 0);
}

/* The mean of the middle values of a class over the experts, of probabilities in their own scale.
 */
static float median_of(__global const float *x, __global const float *g,
                       __global const float *saved, int experts, int classes, int probabilities)
{
    float sorted[MAX_EXPERTS];
    int count = 0;
    for (int i = 0; i < experts; i++) {
        if (g[i] == 0)
            continue;
        const float v = x[(size_t)i * classes];
        const float s = probabilities ? (v - saved[2 * i]) - saved[2 * i + 1] : v;
        int at = count++;
        for (; at > 0 && sorted[at - 1] > s; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = s;
    }
    if (count == 0)
        return 0;
    const float low = sorted[(count - 1) / 2], high = sorted[count / 2];
    return probabilities ? high + log(0.5f * (1 + exp(low - high))) : 0.5f * (low + high);
}

/* Log of the number of experts whose first choice a class is, plus the mean of its probabilities,
 * which decides ties and keeps a class without votes above nothing. */
static void vote(__global float *y, __global const float *x, __global const float *g,
                 __global const float *saved, int experts, int classes)
{
    float active = 0;
    for (int i = 0; i < experts; i++)
        active += g[i] != 0;
    for (int c = 0; c < classes; c++)
        y[c] = 0;
    for (int i = 0; i < experts; i++) {
        if (g[i] == 0)
            continue;
        __global const float *row = x + (size_t)i * classes;
        int best = 0;
        for (int c = 0; c < classes; c++) {
            best = row[c] > row[best] ? c : best;
            y[c] += exp((row[c] - saved[2 * i]) - saved[2 * i + 1]) / active;
        }
        y[best] += 1;
    }
    for (int c = 0; c < classes && active > 0; c++)
        y[c] = log(fmax(y[c], 1e-30f));
}

/* One class vector of the rules that need no sorting. */
static floatV combine_at(__global const float *x, __global const float *g,
                         __global const float *saved, int experts, int classes, int c, int rule,
                         int probabilities)
{
    const int left = classes - c;
    floatV top = (floatV)(rule == MINIMUM ? FLT_MAX : -FLT_MAX), sum = (floatV)(0);
    int active = 0;
    for (int i = 0; i < experts; i++) {
        if (g[i] == 0)
            continue;
        floatV s = score(x + (size_t)i * classes + c, left, saved + 2 * i, probabilities);
        active = 1;
        if (rule == WEIGHTED && !probabilities)
            sum = fma(s, (floatV)(g[i]), sum);
        else if (rule == PRODUCT)
            sum += s;
        else if (rule == MINIMUM)
            top = fmin(top, s);
        else
            top = fmax(top, rule == WEIGHTED ? s + log(g[i]) : s);
    }
    if (!active || rule == PRODUCT || (rule == WEIGHTED && !probabilities))
        return sum;
    if (rule != WEIGHTED)
        return top;
    for (int i = 0; i < experts; i++)
        if (g[i] != 0)
            sum +=
                exp(score(x + (size_t)i * classes + c, left, saved + 2 * i, 1) + log(g[i]) - top);
    return top + log(sum);
}

/* y [n, classes]: scores as logits: weighted Σ g s, of probabilities log Σ g exp(s); product_rule
 * Σ s; max, median, min, vote over the experts with a weight. 0 where there is none. saved
 * [n, experts, 2]: see clv_moments. */
CLV_SINGLE __kernel void fuse_scores_fwd(__global float *y, ulong y_at, __global float *saved,
                                         ulong saved_at, __global const float *x, ulong x_at,
                                         __global const float *g, ulong g_at, int n, int experts,
                                         int classes, int rule, int probabilities, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *in = x + x_at + (size_t)r * experts * classes;
        __global const float *weight = g + g_at + (size_t)r * experts;
        __global float *out = y + y_at + (size_t)r * classes;
        __global float *kept = saved + saved_at + (size_t)r * experts * 2;
        for (int i = 0; i < experts; i++) {
            kept[2 * i] = kept[2 * i + 1] = 0;
            if (weight[i] != 0)
                clv_moments(in + (size_t)i * classes, classes, kept + 2 * i);
        }
        if (rule == VOTE)
            vote(out, in, weight, kept, experts, classes);
        for (int c = 0; rule == MEDIAN && c < classes; c++)
            out[c] = median_of(in + c, weight, kept, experts, classes, probabilities);
        for (int c = 0; rule != VOTE && rule != MEDIAN && c < classes; c += CLV_V)
            clv_store(combine_at(in, weight, kept, experts, classes, c, rule, probabilities),
                      out + c, classes - c);
    }
}

/* Gradient to the scores into out [experts, classes], of one sample. */
static void to_scores(__global float *out, __global const float *gy, __global const float *y,
                      __global const float *x, __global const float *g, __global const float *saved,
                      int experts, int classes, int rule, int probabilities)
{
    for (int c = 0; c < classes; c += CLV_V) {
        const int left = classes - c;
        const floatV up = clv_load(gy + c, left, 0), fused = clv_load(y + c, left, 0);
        intV taken = (intV)(0);
        for (int i = 0; i < experts; i++) {
            __global float *to = out + (size_t)i * classes + c;
            if (g[i] == 0) {
                clv_store((floatV)(0), to, left);
                continue;
            }
            const floatV s = score(x + (size_t)i * classes + c, left, saved + 2 * i, probabilities);
            floatV t = rule == MEDIAN || rule == VOTE ? (floatV)(0) : up;
            if (rule == WEIGHTED) {
                t *= probabilities ? exp(s + log(g[i]) - fused) : (floatV)(g[i]);
            } else if (rule == MAXIMUM || rule == MINIMUM) { /* the first of equal ones */
                const intV hit = (s == fused) & ~taken;
                taken |= hit;
                t = hit ? up : (floatV)(0);
            }
            clv_store(t, to, left);
        }
    }
}

/* gx [n, experts, classes] from gy [n, classes]: ∂s of weighted: g gy, of probabilities r gy with
 * r = exp(log g + s - y); product_rule: gy; max, min: gy at the largest, smallest; median, vote: 0.
 * Then, of probabilities, through log softmax: ∂x = ∂s - p Σ ∂s. y and saved as forward left them.
 */
CLV_SINGLE __kernel void
fuse_scores_bwd_x(__global float *gx, ulong gx_at, __global const float *gy, ulong gy_at,
                  __global const float *y, ulong y_at, __global const float *saved, ulong saved_at,
                  __global const float *x, ulong x_at, __global const float *g, ulong g_at, int n,
                  int experts, int classes, int rule, int probabilities, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        const size_t at = (size_t)r * experts * classes;
        __global const float *weight = g + g_at + (size_t)r * experts, *in = x + x_at + at;
        __global const float *kept = saved + saved_at + (size_t)r * experts * 2;
        __global float *out = gx + gx_at + at;
        to_scores(out, gy + gy_at + (size_t)r * classes, y + y_at + (size_t)r * classes, in, weight,
                  kept, experts, classes, rule, probabilities);
        for (int i = 0; probabilities && i < experts; i++) {
            if (weight[i] == 0)
                continue;
            __global float *row = out + (size_t)i * classes;
            floatV sum = (floatV)(0);
            for (int c = 0; c < classes; c += CLV_V)
                sum += clv_load(row + c, classes - c, 0);
            const float total = clv_lanes_sum(sum);
            for (int c = 0; c < classes; c += CLV_V) {
                const int left = classes - c;
                const floatV p =
                    exp(log_probability(in + (size_t)i * classes + c, left, kept + 2 * i));
                clv_store(clv_load(row + c, left, 0) - p * total, row + c, left);
            }
        }
    }
}

/* gg [n, experts] of rule weighted: Σ_c gy s, of probabilities Σ_c gy exp(s - y); 0 of the other
 * rules and where the weight is 0. */
CLV_SINGLE __kernel void
fuse_scores_bwd_g(__global float *gg, ulong gg_at, __global const float *gy, ulong gy_at,
                  __global const float *y, ulong y_at, __global const float *saved, ulong saved_at,
                  __global const float *x, ulong x_at, __global const float *g, ulong g_at, int n,
                  int experts, int classes, int rule, int probabilities, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *weight = g + g_at + (size_t)r * experts;
        __global const float *up = gy + gy_at + (size_t)r * classes;
        __global const float *fused = y + y_at + (size_t)r * classes;
        __global const float *kept = saved + saved_at + (size_t)r * experts * 2;
        for (int i = 0; i < experts; i++) {
            __global const float *in = x + x_at + ((size_t)r * experts + i) * classes;
            floatV sum = (floatV)(0);
            for (int c = 0; rule == WEIGHTED && weight[i] != 0 && c < classes; c += CLV_V) {
                const int left = classes - c;
                const floatV s = score(in + c, left, kept + 2 * i, probabilities);
                const floatV slope =
                    probabilities ? exp(fmin(s - clv_load(fused + c, left, 0), CLV_MAX_LOG)) : s;
                sum = fma(clv_load(up + c, left, 0), slope, sum);
            }
            gg[gg_at + (size_t)r * experts + i] = clv_lanes_sum(sum);
        }
    }
}
