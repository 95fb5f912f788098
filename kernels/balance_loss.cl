/* balance_loss: how unevenly a gate uses K experts over a batch. x [n, experts] logits z, q =
 * softmax(z), or, of VARIATION, weights; one number comes out. NDRange: groups of one work-item; 0
 * bytes of local memory. Outputs are overwritten. Sources: Shazeer et al. 2017 (arXiv 1701.06538),
 * Fedus et al. 2021 (2101.03961), Zoph et al. 2022 (2202.08906). */
#include "vector.clh"

/* The losses, in the order of the op's choices. */
#define VARIATION  0 /* variance of I over its mean squared, I_i = Σ_n x_ni */
#define SWITCH     1 /* K Σ f P, P the mean q, f the share of samples whose largest weight is i's */
#define Z_LOSS     2 /* mean (log Σ exp z)² */
#define ENTROPY    3 /* Σ q̄ log q̄, q̄ the mean q */
#define KL_UNIFORM 4 /* Σ (1/K) log((1/K)/q̄) */

#define TINY 1e-10f

/* rows [n, 2]: the largest z of a row and log Σ exp(z - m). Groups: shares of the rows. */
CLV_SINGLE __kernel void balance_loss_rows(__global float *restrict rows, ulong rows_at,
                                           __global const float *restrict x, ulong x_at, int n,
                                           int experts, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *z = x + x_at + (size_t)r * experts;
        float top = z[0], sum = 0;
        for (int i = 1; i < experts; i++)
            top = fmax(top, z[i]);
        for (int i = 0; i < experts; i++)
            sum += exp(z[i] - top);
        rows[rows_at + 2 * r] = top;
        rows[rows_at + 2 * r + 1] = log(sum);
    }
}

/* log of the mean of q over the batch, by log-sum-exp: no q is too small. */
static float log_mean(__global const float *z, __global const float *rows, int n, int experts)
{
    float top = -INFINITY, sum = 0;
    for (int r = 0; r < n; r++)
        top = fmax(top, (z[(size_t)r * experts] - rows[2 * r]) - rows[2 * r + 1]);
    for (int r = 0; r < n; r++)
        sum += exp((z[(size_t)r * experts] - rows[2 * r]) - rows[2 * r + 1] - top);
    return top + log(sum / (float)n);
}

/* ∂L/∂I_i into stat. The sums' distances from their mean are summed themselves, about each row's
 * mean and compensated (Kahan), so that a balanced large batch costs no digits. */
static float variation(__global const float *x, __global float *stat, int n, int experts)
{
    const float k = (float)experts;
    float mean = 0, variance = 0;
    for (int i = 0; i < experts; i++) {
        float sum = 0, lost = 0;
        for (int r = 0; r < n; r++) {
            __global const float *row = x + (size_t)r * experts;
            float middle = 0;
            for (int j = 0; j < experts; j++)
                middle += row[j];
            middle /= k;
            mean += i == 0 ? middle : 0;
            const float term = (row[i] - middle) - lost, next = sum + term;
            lost = (next - sum) - term;
            sum = next;
        }
        stat[i] = sum;
        variance += sum * sum / k;
    }
    const float square = mean * mean + TINY;
    for (int i = 0; i < experts; i++)
        stat[i] = 2 * stat[i] / (k * square) - 2 * mean / k * (variance / square) / square;
    return variance / square;
}

/* f: the share of samples whose largest weight is each expert's, ties to the lowest index; nobody's
 * where all weights are 0. */
static void count(__global const float *route, __global float *stat, int n, int experts)
{
    for (int i = 0; i < experts; i++)
        stat[i] = 0;
    for (int r = 0; r < n; r++) {
        int best = 0;
        for (int i = 1; i < experts; i++)
            best = route[(size_t)r * experts + i] > route[(size_t)r * experts + best] ? i : best;
        stat[best] += route[(size_t)r * experts + best] > 0 ? 1 : 0;
    }
    for (int i = 0; i < experts; i++)
        stat[i] /= (float)n;
}

/* loss [1], and stat [experts]: of VARIATION ∂L/∂I, of SWITCH f, otherwise log q̄. One group. */
CLV_SINGLE __kernel void balance_loss_sum(__global float *loss, ulong loss_at, __global float *stat,
                                          ulong stat_at, __global const float *rows, ulong rows_at,
                                          __global const float *x, ulong x_at,
                                          __global const float *route, ulong route_at, int n,
                                          int experts, int term)
{
    const float k = (float)experts;
    float value = 0;
    x += x_at;
    stat += stat_at;
    rows += rows_at;
    if (term == VARIATION)
        value = variation(x, stat, n, experts);
    if (term == SWITCH)
        count(route + route_at, stat, n, experts);
    for (int r = 0; term == Z_LOSS && r < n; r++) {
        const float lse = rows[2 * r] + rows[2 * r + 1];
        value += lse * lse / (float)n;
    }
    for (int i = 0; i < experts && term != VARIATION && term != Z_LOSS; i++) {
        const float mean = log_mean(x + i, rows, n, experts);
        if (term == SWITCH)
            value += k * stat[i] * exp(mean);
        else if (term == ENTROPY)
            value += exp(mean) * mean;
        else
            value -= (mean + log(k)) / k;
        if (term != SWITCH)
            stat[i] = mean;
    }
    loss[loss_at] = value;
}

/* ∂L/∂q̄_i times q_ni, the log of which is given. */
static float through(int term, int experts, float log_q, float stat)
{
    if (term == SWITCH)
        return exp(log_q) * (float)experts * stat;
    if (term == ENTROPY)
        return exp(log_q) * (stat + 1);
    return -exp(log_q - stat) / (float)experts;
}

/* gx [n, experts]: of VARIATION gl ∂L/∂I_i; of Z_LOSS gl 2 lse q_i/n; otherwise gl (q_i v_i - q_i Σ
 * q_j v_j)/n with v = ∂L/∂q̄. gl [1]. Groups: shares of the rows. */
CLV_SINGLE __kernel void balance_loss_bwd(__global float *restrict gx, ulong gx_at,
                                          __global const float *restrict gl, ulong gl_at,
                                          __global const float *restrict stat, ulong stat_at,
                                          __global const float *restrict rows, ulong rows_at,
                                          __global const float *restrict x, ulong x_at, int n,
                                          int experts, int term, int share)
{
    const float up = gl[gl_at];
    stat += stat_at;
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *z = x + x_at + (size_t)r * experts;
        __global float *out = gx + gx_at + (size_t)r * experts;
        float m = 0, log_sum = 0, total = 0;
        if (term != VARIATION) {
            m = rows[rows_at + 2 * r];
            log_sum = rows[rows_at + 2 * r + 1];
        }
        for (int i = 0; i < experts && term != VARIATION && term != Z_LOSS; i++)
            total += through(term, experts, (z[i] - m) - log_sum, stat[i]);
        for (int i = 0; i < experts; i++) {
            const float log_q = (z[i] - m) - log_sum;
            float slope = 0;
            if (term == VARIATION)
                slope = stat[i] * (float)n;
            else if (term == Z_LOSS)
                slope = 2 * (m + log_sum) * exp(log_q);
            else
                slope = through(term, experts, log_q, stat[i]) - exp(log_q) * total;
            out[i] = up * (slope / (float)n);
        }
    }
}
