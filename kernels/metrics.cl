/* Sums over a run's samples that stay on the device until somebody reads them. */
#include "exact.clh"
#include "group.clh"

/* True in every lane whose number is infinite or no number; by its bits, so that fast-math cannot
 * take it away. */
#define NOT_FINITE(v) ((as_uintV(v) & 0x7F800000u) == 0x7F800000u)

/* ranks[r]: how many classes stand before the label of row r, the first of equals before the
 * others: 0 is a right answer. -1 where a logit is not finite or the label is no class. logits
 * [rows, columns], labels, ranks [rows]; overwritten. NDRange: groups of CLV_ITEMS work-items, each
 * a share of the rows; 0 bytes of local memory. */
CLV_GROUP __kernel void metrics_rank(__global int *restrict ranks, ulong ranks_at,
                                     __global const float *restrict logits, ulong logits_at,
                                     __global const int *restrict labels, ulong labels_at, int rows,
                                     int columns, int share)
{
    int lane[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = i;
    const intV lanes = vloadV(0, lane);
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        __global const float *in = logits + logits_at + (size_t)r * columns;
        const int label = labels[labels_at + r];
        const bool valid = label >= 0 && label < columns;
        const floatV mine = (floatV)(valid ? in[label] : 0);
        intV before = (intV)(0), bad = (intV)(0);
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV v = clv_load(in + c, columns - c, -FLT_MAX);
            const intV index = lanes + c;
            before -= (v > mine) | ((v == mine) & (index < label));
            bad |= NOT_FINITE(v);
        }
        int count = 0, any = 0;
        vstoreV(before, 0, lane);
        for (int i = 0; i < CLV_V; i++)
            count += lane[i];
        vstoreV(bad, 0, lane);
        for (int i = 0; i < CLV_V; i++)
            any |= lane[i];
        ranks[ranks_at + r] = valid && !any ? count : -1;
    }
}

/* Of a sparse route [rows, experts], and of what was wanted before some of it was dropped: which
 * samples nobody took, ranks[r] = -2, and of each sample how many experts were wanted and how many
 * of these were dropped, taken[r] = wanted + 65536·dropped. Overwritten; of ranks the others are
 * left as they are. Groups as metrics_rank. */
CLV_GROUP __kernel void metrics_taken(__global int *restrict taken, ulong taken_at,
                                      __global int *restrict ranks, ulong ranks_at,
                                      __global const float *restrict route, ulong route_at,
                                      __global const float *restrict want, ulong want_at, int rows,
                                      int experts, int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        const size_t first = (size_t)r * experts;
        int got = 0, wanted = 0, dropped = 0;
        for (int i = 0; i < experts; i++) {
            const bool here = route[route_at + first + i] != 0;
            const bool there = want[want_at + first + i] != 0;
            got += here;
            wanted += here || there;
            dropped += there && !here;
        }
        taken[taken_at + r] = wanted + (dropped << 16);
        if (got == 0)
            ranks[ranks_at + r] = -2;
    }
}

/* Adds rows to the sums. losses [2]: the sum of finite losses as high and low float, in the order
 * of the rows. counts [7]: rows, rank 0, rank below 5, rows whose loss or logits are not finite
 * (these are wrong answers, and a loss that is not finite is left out); rows of rank -2, which are
 * in none of these; with routed = 1 the sums over taken's wanted and dropped. One work-group of one
 * work-item; 0 bytes of local memory. */
CLV_SINGLE __kernel void metrics_add(__global float *restrict losses, ulong losses_at,
                                     __global uint *restrict counts, ulong counts_at,
                                     __global const float *restrict loss, ulong loss_at,
                                     __global const int *restrict ranks, ulong ranks_at,
                                     __global const int *restrict taken, ulong taken_at, int rows,
                                     int routed)
{
    float high = 0, low = 0;
    uint first = 0, five = 0, bad = 0, nobody = 0, wanted = 0, dropped = 0;
    for (int r = 0; r < rows; r++) {
        const float x = loss[loss_at + r];
        const int rank = ranks[ranks_at + r];
        if (routed) {
            wanted += (uint)taken[taken_at + r] & 0xFFFFu;
            dropped += (uint)taken[taken_at + r] >> 16;
        }
        if (rank == -2) {
            nobody++;
            continue;
        }
        const bool finite = (as_uint(x) & 0x7F800000u) != 0x7F800000u;
        if (finite)
            add_exactly(&high, &low, x);
        first += finite && rank == 0;
        five += finite && rank >= 0 && rank < 5;
        bad += !finite || rank < 0;
    }
    float all = losses[losses_at], all_low = losses[losses_at + 1];
    add_exactly(&all, &all_low, low);
    add_exactly(&all, &all_low, high);
    losses[losses_at] = all;
    losses[losses_at + 1] = all_low;
    counts[counts_at] += (uint)rows - nobody;
    counts[counts_at + 1] += first;
    counts[counts_at + 2] += five;
    counts[counts_at + 3] += bad;
    counts[counts_at + 4] += nobody;
    counts[counts_at + 5] += wanted;
    counts[counts_at + 6] += dropped;
}
