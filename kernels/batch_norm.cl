/* Batch normalisation over the last axis' channels with an activation (Ioffe and Szegedy 2015):
 *     y = act(p), p = (z - mean)·invstd·gamma + beta, invstd = 1/√(var + eps).
 * z [pixels, c]. Sums run over groups of pixels first and over the groups afterwards, in an order
 * that depends on the shapes only. Host side: core/ops/batch_norm_kernels.c. NDRange of every
 * kernel but batch_norm_fold: groups of CLV_ITEMS work-items (group.clh). Outputs are overwritten.
 */
#include "activation.clh"
#include "norm.clh"

/* Mean and sum of squared deviations of the pixels [g·share, (g + 1)·share), per channel:
 * stats[g][c] and stats[G + g][c] for the G groups. Summed about the group's first pixel, so that
 * nothing is lost where the mean is large. */
CLV_GROUP __kernel void batch_norm_stats(__global float *restrict stats, ulong stats_at,
                                         __global const float *restrict z, ulong z_at, int pixels,
                                         int c, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(pixels, share);
    stats += stats_at + (size_t)get_group_id(0) * c;
    z += z_at;
#if CLV_ITEMS > 1
    CLV_SCRATCH(scratch);
    const floatV count = (floatV)(end - begin);
    const clv_span s = clv_span_for(c);
    CLV_COLUMNS_TOGETHER(j, s, c)
    {
        const int left = c - j;
        const floatV shift = clv_load(z + (size_t)begin * c + j, left, 0);
        floatV sum = (floatV)(0), square = (floatV)(0);
        CLV_ROWS(r, s, begin, end)
        {
            const floatV d = clv_load(z + (size_t)r * c + j, left, 0) - shift;
            sum += d;
            square = fma(d, d, square);
        }
        sum = clv_down_sum(sum, s, scratch);
        square = clv_down_sum(square, s, scratch);
        if (s.lane == 0) {
            clv_store(shift + sum / count, stats + j, left);
            clv_store(square - sum * sum / count, stats + (size_t)get_num_groups(0) * c + j, left);
        }
    }
#else
    norm_stats(stats, (size_t)get_num_groups(0) * c, z, begin, end, c);
#endif
}

/* From the groups' statistics (`groups` of them, `share` pixels each, the last one what is left)
 * the batch's: saved[0][c] mean, saved[1][c] invstd. Running statistics take a share of `momentum`,
 * the variance with pixels - 1 as PyTorch; not at all where pixels is 1 (running_mean NULL).
 * NDRange: group g takes the channels [g·CLV_V, (g + 1)·CLV_V). */
CLV_GROUP __kernel void batch_norm_finish(__global float *restrict saved, ulong saved_at,
                                          __global float *restrict running_mean, ulong mean_at,
                                          __global float *restrict running_var, ulong var_at,
                                          __global const float *restrict stats, ulong stats_at,
                                          int pixels, int c, int groups, int share, float eps,
                                          float momentum)
{
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_of(1);
    const int j = (int)get_group_id(0) * CLV_V, left = c - j;
    __global const float *means = stats + stats_at + j, *squares = means + (size_t)groups * c;
    const floatV first = clv_load(means, left, 0);
    floatV sum = (floatV)(0), square = (floatV)(0);
    for (int g = CLV_ITEM; g < groups; g += CLV_ITEMS) {
        const floatV count = (floatV)(min(share, pixels - g * share));
        sum = fma(count, clv_load(means + (size_t)g * c, left, 0) - first, sum);
    }
    sum = clv_down_sum(sum, s, scratch);
    const floatV mean = first + sum / (floatV)(pixels);
    for (int g = CLV_ITEM; g < groups; g += CLV_ITEMS) {
        const floatV count = (floatV)(min(share, pixels - g * share));
        const floatV d = clv_load(means + (size_t)g * c, left, 0) - mean;
        square += fma(count * d, d, clv_load(squares + (size_t)g * c, left, 0));
    }
    square = clv_down_sum(square, s, scratch);
    if (CLV_ITEM > 0)
        return;
    /* A single pixel, or equal ones: rounding must not make it negative. Not by max(), which may
     * make anything of NaN. */
    square = square < (floatV)(0) ? (floatV)(0) : square;
    clv_store(mean, saved + saved_at + j, left);
    clv_store((floatV)(1) / sqrt(square / (floatV)(pixels) + eps), saved + saved_at + c + j, left);
    if (!running_mean)
        return;
    running_mean += mean_at + j;
    running_var += var_at + j;
    const floatV old_mean = clv_load(running_mean, left, 0);
    const floatV old_var = clv_load(running_var, left, 0);
    const floatV var = square / (floatV)(max(pixels - 1, 1));
    clv_store(fma((floatV)(momentum), mean - old_mean, old_mean), running_mean, left);
    clv_store(fma((floatV)(momentum), var - old_var, old_var), running_var, left);
}

/* For inference, from the running statistics: fold[0][c] mean, fold[1][c] invstd, fold[2][c] scale
 * = gamma·invstd, fold[3][c] offset = beta - mean·scale, so that p = z·scale + offset. NDRange: as
 * batch_norm_finish. */
CLV_SINGLE __kernel void batch_norm_fold(__global float *restrict fold, ulong fold_at,
                                         __global const float *restrict gamma, ulong gamma_at,
                                         __global const float *restrict beta, ulong beta_at,
                                         __global const float *restrict mean, ulong mean_at,
                                         __global const float *restrict var, ulong var_at, int c,
                                         float eps)
{
    const int j = (int)get_group_id(0) * CLV_V, left = c - j;
    const floatV m = clv_load(mean + mean_at + j, left, 0);
    const floatV invstd = (floatV)(1) / sqrt(clv_load(var + var_at + j, left, 1) + eps);
    const floatV scale = clv_load(gamma + gamma_at + j, left, 0) * invstd;
    fold += fold_at + j;
    clv_store(m, fold, left);
    clv_store(invstd, fold + c, left);
    clv_store(scale, fold + 2 * c, left);
    clv_store(clv_load(beta + beta_at + j, left, 0) - m * scale, fold + 3 * c, left);
}

/* y = act(p). saved: mean and invstd, [2][c]. z, y [pictures, pixels, c]; y may be the very memory
 * of z. part [pictures, groups, c]: what each group's y add up to, in the order of its pixels; NULL
 * where they are not wanted, and only with one work-item to a group. NDRange: group (g, s) takes
 * `share` pixels of picture s, which may be all pictures in one. */
CLV_GROUP __kernel void batch_norm_apply(__global float *y, ulong y_at,
                                         __global float *restrict part, ulong part_at,
                                         __global const float *z, ulong z_at,
                                         __global const float *restrict saved, ulong saved_at,
                                         __global const float *restrict gamma, ulong gamma_at,
                                         __global const float *restrict beta, ulong beta_at,
                                         int pixels, int c, int act, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(pixels, share);
    const size_t before = get_group_id(1) * pixels * (size_t)c;
    y += y_at + before;
    z += z_at + before;
    saved += saved_at;
#if CLV_ITEMS > 1
    const clv_span s = clv_span_for(c);
    CLV_COLUMNS(j, s, c)
    {
        const int left = c - j;
        const floatV mean = clv_load(saved + j, left, 0);
        const floatV scale =
            clv_load(saved + c + j, left, 0) * clv_load(gamma + gamma_at + j, left, 0);
        const floatV shift = clv_load(beta + beta_at + j, left, 0);
        CLV_ROWS(r, s, begin, end)
        {
            const size_t at = (size_t)r * c + j;
            const floatV p = fma(clv_load(z + at, left, 0) - mean, scale, shift);
            clv_store(clv_act(p, act), y + at, left);
        }
    }
#else
    const int ahead = norm_ahead(c);
    __global float *own =
        part ? part + part_at + (get_group_id(1) * get_num_groups(0) + get_group_id(0)) * c : 0;
    for (int j = 0; j < c; j += NORM_SPAN * CLV_V) {
        const int span = span_of(c, j);
        floatV mean[NORM_SPAN], scale[NORM_SPAN], shift[NORM_SPAN], total[NORM_SPAN];
        load_span(mean, saved + j, c - j);
        load_span(scale, saved + c + j, c - j);
        load_span(shift, gamma + gamma_at + j, c - j);
        for (int k = 0; k < span; k++)
            scale[k] *= shift[k], total[k] = (floatV)(0);
        load_span(shift, beta + beta_at + j, c - j);
        for (int r = begin; r < end; r++)
            for (int k = 0; k < span; k++) {
                const int i = j + k * CLV_V;
                const size_t at = (size_t)r * c + i;
                const floatV p = fma(clv_load(z + at, c - i, 0) - mean[k], scale[k], shift[k]);
                CLV_PREFETCH(z + at + ahead);
                CLV_PREFETCH_WRITE(y + at + ahead);
                const floatV v = clv_act(p, act);
                clv_store(v, y + at, c - i);
                if (own)
                    total[k] += v;
            }
        for (int k = 0; own && k < span; k++)
            clv_store(total[k], own + j + k * CLV_V, c - j - k * CLV_V);
    }
#endif
}

#if CLV_ITEMS == 1
/* The gradient that y's pixel r gets through the mean over its picture, for the channels of a span:
 * dmean [pictures, c] divided by a picture's pixels; zeros where dmean is NULL. */
static void load_share(floatV *to, __global const float *dmean, int r, int image, int c, int j)
{
    for (int k = 0; k < NORM_SPAN; k++)
        to[k] = (floatV)(0);
    if (!dmean)
        return;
    load_span(to, dmean + (size_t)(r / image) * c + j, c - j);
    for (int k = 0; k < NORM_SPAN; k++)
        to[k] /= (floatV)(image);
}

/* The end of the pixels from r on, at most `end`, that are of one picture. */
static int end_of_image(__global const float *dmean, int r, int image, int end)
{
    return dmean ? min(end, (r / image + 1) * image) : end;
}

/* What dp and n below are made from, for the channels of a span. rest: load_share's. */
typedef struct span_inputs {
    floatV mean[NORM_SPAN], invstd[NORM_SPAN], scale[NORM_SPAN], shift[NORM_SPAN], rest[NORM_SPAN];
} span_inputs;

static void load_inputs(span_inputs *to, __global const float *saved, int c,
                        __global const float *gamma, __global const float *beta, int left)
{
    load_span(to->mean, saved, left);
    load_span(to->invstd, saved + c, left);
    load_span(to->scale, gamma, left);
    load_span(to->shift, beta, left);
}

/* dp, and n: of vector k of a span, whose z and dy (NULL: zeros) are given. Asks for those `ahead`.
 */
static floatV gradient_at(const span_inputs *of, int k, __global const float *z,
                          __global const float *dy, int left, int act, int ahead, floatV *n)
{
    *n = (clv_load(z, left, 0) - of->mean[k]) * of->invstd[k];
    CLV_PREFETCH(z + ahead);
    CLV_PREFETCH(dy + ahead);
    const floatV g = dy ? clv_load(dy, left, 0) + of->rest[k] : of->rest[k];
    return g * clv_act_grad(fma(*n, of->scale[k], of->shift[k]), act);
}
#endif

/* Per group of `share` pixels: sums[g][0][c] = Σ dp, sums[g][1][c] = Σ dp·n, where dp = dy·act'(p)
 * and n = (z - mean)·invstd: parts of the gradients to beta and gamma. keep: dp takes dy's place,
 * which costs less than an exponential later. dmean [pictures, c]: the gradient to y's means over
 * `image` pixels each, which adds to dy; NULL: there is none; only with one work-item to a group,
 * and only then dy may be NULL, for zeros. */
CLV_GROUP __kernel void batch_norm_bwd_sums(
    __global float *restrict sums, ulong sums_at, __global const float *restrict z, ulong z_at,
    __global float *restrict dy, ulong dy_at, __global const float *restrict dmean, ulong dmean_at,
    __global const float *restrict saved, ulong saved_at, __global const float *restrict gamma,
    ulong gamma_at, __global const float *restrict beta, ulong beta_at, int keep, int image,
    int pixels, int c, int act, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(pixels, share);
    sums += sums_at + (size_t)get_group_id(0) * 2 * c;
    z += z_at;
    if (dy)
        dy += dy_at;
    if (dmean)
        dmean += dmean_at;
    saved += saved_at;
#if CLV_ITEMS > 1
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_for(c);
    CLV_COLUMNS_TOGETHER(j, s, c)
    {
        const int left = c - j;
        const floatV mean = clv_load(saved + j, left, 0);
        const floatV invstd = clv_load(saved + c + j, left, 0);
        const floatV scale = clv_load(gamma + gamma_at + j, left, 0);
        const floatV shift = clv_load(beta + beta_at + j, left, 0);
        floatV sum = (floatV)(0), product = (floatV)(0);
        CLV_ROWS(r, s, begin, end)
        {
            const size_t at = (size_t)r * c + j;
            const floatV n = (clv_load(z + at, left, 0) - mean) * invstd;
            const floatV dp = clv_load(dy + at, left, 0) * clv_act_grad(fma(n, scale, shift), act);
            sum += dp;
            product = fma(dp, n, product);
            if (keep)
                clv_store(dp, dy + at, left);
        }
        sum = clv_down_sum(sum, s, scratch);
        product = clv_down_sum(product, s, scratch);
        if (s.lane == 0) {
            clv_store(sum, sums + j, left);
            clv_store(product, sums + c + j, left);
        }
    }
#else
    const int ahead = norm_ahead(c);
    for (int j = 0; j < c; j += NORM_SPAN * CLV_V) {
        const int span = span_of(c, j);
        floatV sum[NORM_SPAN], product[NORM_SPAN];
        span_inputs of;
        load_inputs(&of, saved + j, c, gamma + gamma_at + j, beta + beta_at + j, c - j);
        for (int k = 0; k < span; k++)
            sum[k] = product[k] = (floatV)(0);
        for (int r = begin; r < end;) {
            load_share(of.rest, dmean, r, image, c, j);
            for (const int stop = end_of_image(dmean, r, image, end); r < stop; r++)
                for (int k = 0; k < span; k++) {
                    const int i = j + k * CLV_V;
                    const size_t at = (size_t)r * c + i;
                    floatV n;
                    const floatV dp =
                        gradient_at(&of, k, z + at, dy ? dy + at : 0, c - i, act, ahead, &n);
                    sum[k] += dp;
                    product[k] = fma(dp, n, product[k]);
                    if (keep)
                        clv_store(dp, dy + at, c - i);
                }
        }
        for (int k = 0; k < span; k++) {
            const int i = j + k * CLV_V;
            clv_store(sum[k], sums + i, c - i);
            clv_store(product[k], sums + c + i, c - i);
        }
    }
#endif
}

/* total[0][c], total[1][c]: the sums of batch_norm_bwd_sums over the groups, in their order; also
 * to dbeta and dgamma (NULL: not wanted). NDRange: as batch_norm_finish. */
CLV_GROUP __kernel void batch_norm_bwd_finish(__global float *restrict total, ulong total_at,
                                              __global float *restrict dgamma, ulong dgamma_at,
                                              __global float *restrict dbeta, ulong dbeta_at,
                                              __global const float *restrict sums, ulong sums_at,
                                              int c, int groups)
{
    const int j = (int)get_group_id(0) * CLV_V, left = c - j;
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_of(1);
    floatV sum = (floatV)(0), product = (floatV)(0);
    sums += sums_at + j;
    for (int g = CLV_ITEM; g < groups; g += CLV_ITEMS) {
        sum += clv_load(sums + (size_t)g * 2 * c, left, 0);
        product += clv_load(sums + (size_t)g * 2 * c + c, left, 0);
    }
    sum = clv_down_sum(sum, s, scratch);
    product = clv_down_sum(product, s, scratch);
    if (CLV_ITEM > 0)
        return;
    clv_store(sum, total + total_at + j, left);
    clv_store(product, total + total_at + c + j, left);
    if (dbeta)
        clv_store(sum, dbeta + dbeta_at + j, left);
    if (dgamma)
        clv_store(product, dgamma + dgamma_at + j, left);
}

/* dz = invstd·gamma·(dp - (Σ dp + n·Σ dp·n)/pixels), with dp and n computed again; total NULL: dz =
 * invstd·gamma·dp, for statistics that do not depend on z. dz may be the very memory of dy or z.
 * dy and dmean as for batch_norm_bwd_sums.
 * NDRange: group g takes `share` pixels. */
CLV_GROUP __kernel void batch_norm_bwd_data(__global float *dz, ulong dz_at,
                                            __global const float *z, ulong z_at,
                                            __global const float *dy, ulong dy_at,
                                            __global const float *restrict dmean, ulong dmean_at,
                                            __global const float *restrict saved, ulong saved_at,
                                            __global const float *restrict gamma, ulong gamma_at,
                                            __global const float *restrict beta, ulong beta_at,
                                            __global const float *restrict total, ulong total_at,
                                            int image, int pixels, int c, int act, int share)
{
    const int begin = CLV_BEGIN(share), end = CLV_END(pixels, share);
    dz += dz_at;
    z += z_at;
    if (dy)
        dy += dy_at;
    if (dmean)
        dmean += dmean_at;
    saved += saved_at;
    if (total)
        total += total_at;
#if CLV_ITEMS > 1
    const clv_span s = clv_span_for(c);
    CLV_COLUMNS(j, s, c)
    {
        const int left = c - j;
        const floatV mean = clv_load(saved + j, left, 0);
        const floatV invstd = clv_load(saved + c + j, left, 0);
        const floatV scale = clv_load(gamma + gamma_at + j, left, 0);
        const floatV shift = clv_load(beta + beta_at + j, left, 0);
        floatV sum = (floatV)(0), product = (floatV)(0);
        if (total) {
            sum = clv_load(total + j, left, 0) / (floatV)(pixels);
            product = clv_load(total + c + j, left, 0) / (floatV)(pixels);
        }
        const floatV outer = scale * invstd;
        CLV_ROWS(r, s, begin, end)
        {
            const size_t at = (size_t)r * c + j;
            const floatV n = (clv_load(z + at, left, 0) - mean) * invstd;
            const floatV dp = clv_load(dy + at, left, 0) * clv_act_grad(fma(n, scale, shift), act);
            clv_store(outer * (dp - fma(n, product, sum)), dz + at, left);
        }
    }
#else
    const int ahead = norm_ahead(c);
    for (int j = 0; j < c; j += NORM_SPAN * CLV_V) {
        const int span = span_of(c, j);
        floatV sum[NORM_SPAN], product[NORM_SPAN];
        span_inputs of;
        load_inputs(&of, saved + j, c, gamma + gamma_at + j, beta + beta_at + j, c - j);
        for (int k = 0; k < span; k++)
            sum[k] = product[k] = (floatV)(0);
        if (total) {
            load_span(sum, total + j, c - j);
            load_span(product, total + c + j, c - j);
            for (int k = 0; k < span; k++) {
                sum[k] /= (floatV)(pixels);
                product[k] /= (floatV)(pixels);
            }
        }
        for (int r = begin; r < end;) {
            load_share(of.rest, dmean, r, image, c, j);
            for (const int stop = end_of_image(dmean, r, image, end); r < stop; r++)
                for (int k = 0; k < span; k++) {
                    const int i = j + k * CLV_V;
                    const size_t at = (size_t)r * c + i;
                    floatV n;
                    const floatV dp =
                        gradient_at(&of, k, z + at, dy ? dy + at : 0, c - i, act, ahead, &n);
                    clv_store(of.scale[k] * of.invstd[k] * (dp - fma(n, product[k], sum[k])),
                              dz + at, c - i);
                }
        }
    }
#endif
}
