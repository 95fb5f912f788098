/* dispatch: who gets which sample of a sparse gate's route [n, experts]; a weight that is not
 * exactly 0 (a NaN, too) sends the sample. 0 bytes of local memory. */
#include "vector.clh"

/* A sample that no expert got goes to the one of the largest logit, the first of equals, with its
 * softmax as weight. route [n, experts] is changed; logits [n, experts] may be route itself, whose
 * rows of 0 say that all are alike. Groups: shares of the samples. */
CLV_SINGLE __kernel void dispatch_complete(__global float *route, ulong route_at,
                                           __global const float *logits, ulong logits_at, int n,
                                           int experts, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global float *to = route + route_at + (size_t)r * experts;
        __global const float *z = logits + logits_at + (size_t)r * experts;
        int any = 0, best = 0;
        float sum = 0;
        for (int i = 0; i < experts; i++) {
            any |= to[i] != 0;
            best = z[i] > z[best] ? i : best;
        }
        if (any)
            continue;
        for (int i = 0; i < experts; i++)
            sum += exp(z[i] - z[best]);
        to[best] = 1 / sum;
    }
}

/* Of expert i, the samples in rising order: list[i·room + r], their names ids_list[…], and how many
 * there are, counts[i]. One group of one work-item for each expert. */
CLV_SINGLE __kernel void dispatch_lists(__global int *restrict list, ulong list_at,
                                        __global uint *restrict ids_list, ulong ids_list_at,
                                        __global int *restrict counts, ulong counts_at,
                                        __global const float *restrict route, ulong route_at,
                                        __global const uint *restrict ids, ulong ids_at, int n,
                                        int experts, int room)
{
    const int i = (int)get_group_id(0);
    const size_t first = (size_t)i * room;
    int count = 0;
    for (int r = 0; r < n; r++) {
        if (route[route_at + (size_t)r * experts + i] == 0)
            continue;
        list[list_at + first + count] = r;
        ids_list[ids_list_at + first + count] = ids[ids_at + r];
        count++;
    }
    counts[counts_at + i] = count;
}

/* A sample that no expert got is left out of the loss: seed[r] = 0. Groups: shares of the samples.
 */
CLV_SINGLE __kernel void dispatch_mask(__global float *restrict seed, ulong seed_at,
                                       __global const float *restrict route, ulong route_at, int n,
                                       int experts, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        int any = 0;
        for (int i = 0; i < experts; i++)
            any |= route[route_at + (size_t)r * experts + i] != 0;
        if (!any)
            seed[seed_at + r] = 0;
    }
}
