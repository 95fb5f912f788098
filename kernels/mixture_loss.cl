/* mixture_loss: what K experts and their weights cost for one label (Jacobs, Jordan, Nowlan and
 * Hinton 1991, and relatives). x [n, experts, classes] logits o_i, g [n, experts] ≥ 0; p_i =
 * softmax(o_i); the target t is (1 - s) e_label + s/C. CE_i = -Σ t log p_i; u_i is p_i, or o_i
 * (target_logits = 1); d_i = κ‖t - u_i‖². Experts whose weight is exactly 0 have no part in it. A
 * label outside 0 … C - 1 gives NaN. NDRange: groups of one work-item, each a share of the samples;
 * 0 bytes of local memory. Outputs are overwritten. */
#include "mixture_loss.clh"

/* Leaves t - Σ g u and gives κ‖·‖². */
static float residual(const setting *s, __global const float *x, __global const float *g, int label,
                      __global const float *kept, __global float *rest)
{
    floatV sum = (floatV)(0);
    for (int c = 0; c < s->classes; c += CLV_V) {
        floatV r = target(s, label, c);
        for (int i = 0; i < s->experts; i++)
            if (g[i] != 0)
                r -= g[i] *
                     answer(s, x + (size_t)i * s->classes + c, s->classes - c, kept + EACH * i);
        clv_store(r, rest + c, s->classes - c);
        sum = fma(r, r, sum);
    }
    return s->scale * clv_lanes_sum(sum);
}

static float loss_of(const setting *s, __global const float *x, __global const float *g, int label,
                     __global float *kept)
{
    int any = 0;
    float sum = 0;
    for (int i = 0; i < s->experts; i++) {
        __global const float *row = x + (size_t)i * s->classes;
        kept[EACH * i] = kept[EACH * i + 1] = kept[EACH * i + 2] = 0;
        if (!takes_part(s, g[i]))
            continue;
        any = 1;
        clv_moments(row, s->classes, kept + EACH * i);
        kept[EACH * i + 2] = cost(s, row, label, kept + EACH * i);
        sum += (s->term == EXPERT_CE ? 1 / (float)s->experts : g[i]) * kept[EACH * i + 2];
    }
    kept[EACH * s->experts] = 0;
    if (!any)
        return 0;
    if (s->term == COOPERATIVE)
        return residual(s, x, g, label, kept, kept + EACH * s->experts + 1);
    if (s->term == JACOBS_MSE || s->term == JACOBS_CE) {
        const float top = top_evidence(s, g, kept);
        kept[EACH * s->experts] = log_sum(s, g, kept, top);
        return -(top + kept[EACH * s->experts]);
    }
    return sum;
}

/* loss [n]; saved [n, stride]: see above. A sample without experts costs 0. */
CLV_SINGLE __kernel void
mixture_loss_fwd(__global float *loss, ulong loss_at, __global float *saved, ulong saved_at,
                 __global const float *x, ulong x_at, __global const float *g, ulong g_at,
                 __global const int *labels, ulong labels_at, int n, int experts, int classes,
                 int stride, int term, int target_logits, int sparse, float beta, float smoothing,
                 float scale, int share)
{
    const setting s = {experts, classes, term, target_logits, sparse, beta, smoothing, scale};
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        const int label = labels[labels_at + r];
        const bool valid = label >= 0 && label < classes;
        const float value =
            loss_of(&s, x + x_at + (size_t)r * experts * classes, g + g_at + (size_t)r * experts,
                    valid ? label : 0, saved + saved_at + (size_t)r * stride);
        loss[loss_at + r] = valid ? value : NAN;
    }
}

/* The factor of an expert's own gradient, p - t or u - t: without g_n. */
static float factor(const setting *s, float weight, __global const float *kept, float top,
                    float rest)
{
    const float h = posterior_of(s, weight, kept, top, rest);
    switch (s->term) {
    case COMPETITIVE:
        return 2 * weight * s->scale;
    case COMPETITIVE_CE:
        return weight;
    case JACOBS_MSE:
        return s->scale * h;
    case JACOBS_CE:
        return s->beta * h;
    case EXPERT_CE:
        return 1 / (float)s->experts;
    }
    return -2 * weight * s->scale; /* COOPERATIVE: of t - Σ g u */
}

/* Gradient to one expert's logits. */
static void to_logits(const setting *s, __global float *out, __global const float *x, int label,
                      float by, __global const float *kept, __global const float *rest)
{
    floatV dot = (floatV)(0);
    const bool softmax = is_squared(s->term) && !s->target_logits;
    for (int c = 0; c < s->classes; c += CLV_V) {
        const int left = s->classes - c;
        floatV d;
        if (s->term == COOPERATIVE)
            d = by * clv_load(rest + c, left, 0);
        else if (is_squared(s->term))
            d = by * (answer(s, x + c, left, kept) - target(s, label, c));
        else
            d = by * (probability(x + c, left, kept) - target(s, label, c));
        if (softmax)
            dot = fma(d, probability(x + c, left, kept), dot);
        clv_store(d, out + c, left);
    }
    const float mean = clv_lanes_sum(dot);
    for (int c = 0; softmax && c < s->classes; c += CLV_V) {
        const int left = s->classes - c;
        clv_store(probability(x + c, left, kept) * (clv_load(out + c, left, 0) - mean), out + c,
                  left);
    }
}

/* gx [n, experts, classes] from the gradient gl [n] of the losses. */
CLV_SINGLE __kernel void
mixture_loss_bwd_x(__global float *gx, ulong gx_at, __global const float *gl, ulong gl_at,
                   __global const float *saved, ulong saved_at, __global const float *x, ulong x_at,
                   __global const float *g, ulong g_at, __global const int *labels, ulong labels_at,
                   int n, int experts, int classes, int stride, int term, int target_logits,
                   int sparse, float beta, float smoothing, float scale, int share)
{
    const setting s = {experts, classes, term, target_logits, sparse, beta, smoothing, scale};
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *kept = saved + saved_at + (size_t)r * stride;
        const int label = labels[labels_at + r];
        const bool valid = label >= 0 && label < classes;
        const float top = top_evidence(&s, g + g_at + (size_t)r * experts, kept);
        for (int i = 0; i < experts; i++) {
            const size_t at = ((size_t)r * experts + i) * classes;
            const float weight = g[g_at + (size_t)r * experts + i];
            float by = 0;
            if (!takes_part(&s, weight)) {
                for (int c = 0; c < classes; c += CLV_V)
                    clv_store((floatV)(0), gx + gx_at + at + c, classes - c);
                continue;
            }
            by = gl[gl_at + r] * factor(&s, weight, kept + EACH * i, top, kept[EACH * experts]);
            to_logits(&s, gx + gx_at + at, x + x_at + at, valid ? label : 0, valid ? by : NAN,
                      kept + EACH * i, kept + EACH * experts + 1);
        }
    }
}

/* gg [n, experts]: COOPERATIVE -2κ (t - Σ g u)·u_i, COMPETITIVE* d_i or CE_i, JACOBS_* minus the
 * expert's exponential over the sum; 0 of EXPERT_CE and where the weight is 0. */
CLV_SINGLE __kernel void
mixture_loss_bwd_g(__global float *gg, ulong gg_at, __global const float *gl, ulong gl_at,
                   __global const float *saved, ulong saved_at, __global const float *x, ulong x_at,
                   __global const float *g, ulong g_at, __global const int *labels, ulong labels_at,
                   int n, int experts, int classes, int stride, int term, int target_logits,
                   int sparse, float beta, float smoothing, float scale, int share)
{
    const setting s = {experts, classes, term, target_logits, sparse, beta, smoothing, scale};
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *kept = saved + saved_at + (size_t)r * stride;
        const int label = labels[labels_at + r];
        const bool valid = label >= 0 && label < classes;
        const float top = top_evidence(&s, g + g_at + (size_t)r * experts, kept);
        for (int i = 0; i < experts; i++) {
            const size_t at = (size_t)r * experts + i;
            __global const float *row = x + x_at + at * classes;
            const float own = kept[EACH * i + 2];
            float slope = 0;
            if (term == COOPERATIVE && g[g_at + at] != 0) {
                floatV dot = (floatV)(0);
                for (int c = 0; c < classes; c += CLV_V)
                    dot = fma(clv_load(kept + EACH * experts + 1 + c, classes - c, 0),
                              answer(&s, row + c, classes - c, kept + EACH * i), dot);
                slope = -2 * scale * clv_lanes_sum(dot);
            } else if (term == JACOBS_MSE || term == JACOBS_CE) {
                slope =
                    -exp(fmin((log_evidence(&s, own) - top) - kept[EACH * experts], CLV_MAX_LOG));
            } else if (term == COMPETITIVE || term == COMPETITIVE_CE) {
                slope = own;
            }
            const float up = valid ? gl[gl_at + r] : NAN;
            gg[gg_at + at] = g[g_at + at] != 0 ? up * slope : 0;
        }
    }
}
