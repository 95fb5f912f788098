/* Work-groups of several launches, one launch after the other, in one (core/runtime/chain.c): on
 * CPUs a launch costs as much as some ten thousand multiply-adds before its last thread is awake.
 * OpenCL C 3.0, with atomics of acquire and release between work-groups of a device. Wide form. */
#define CLV_CHAIN
#include "conv2d.cl"
#include "expand_depthwise.cl"
#include "gemm.cl"
#include "global_avg_pool.cl"
#include "image_plain.cl"
#include "squeeze_excite.cl"
#include "winograd.cl"

/* Buffers that a chain's views lie in, and numbers of a link in front of its arguments. */
#define CHAIN_BUFFERS 8
#define CHAIN_HEAD    5

/* Shares that a link's work-groups fall into, at most. */
#define CHAIN_SHARES 8

/* Elements between counters: each lies in a cache line of its own. */
#define CHAIN_APART 32

/* How long a group waits for another one's work before it leaves the rest to it: longer than a
 * work-group takes, some tenths of a millisecond or more. Who has not done it by then is not
 * running: its core does something else, and this one's should not be kept from it. */
#if defined(__x86_64__)
#define CHAIN_PATIENCE (1 << 15)
#define CHAIN_PAUSE()  __builtin_ia32_pause()
#else
#define CHAIN_PATIENCE (1 << 20)
#define CHAIN_PAUSE()
#endif

typedef struct buffers {
    __global float *at[CHAIN_BUFFERS];
} buffers;

/* The buffer and the offset that begin at w[0]: which one, -1 for none, and two halves. */
static __global float *buffer_of(const buffers *b, __global const int *w)
{
    return w[0] < 0 ? 0 : b->at[w[0]];
}

static ulong offset_of(__global const int *w)
{
    return (ulong)(uint)w[2] << 32 | (uint)w[1];
}

/* Arguments of a kernel: views come first, v of them before number i. */
#define VIEW(i)      buffer_of(b, args + 3 * (i)), offset_of(args + 3 * (i))
#define VIEWS2       VIEW(0), VIEW(1)
#define VIEWS3       VIEWS2, VIEW(2)
#define VIEWS4       VIEWS3, VIEW(3)
#define VIEWS5       VIEWS4, VIEW(4)
#define VIEWS6       VIEWS5, VIEW(5)
#define VIEWS7       VIEWS6, VIEW(6)
#define WORD(v, i)   args[3 * (v) + (i)]
#define WORDS2(v, i) WORD(v, i), WORD(v, (i) + 1)
#define WORDS3(v, i) WORDS2(v, i), WORD(v, (i) + 2)
#define WORDS4(v, i) WORDS2(v, i), WORDS2(v, (i) + 2)
#define WORDS8(v, i) WORDS4(v, i), WORDS4(v, (i) + 4)
#define FLOAT(v, i)  as_float(WORD(v, i))
#define FLOATS6(v, i)                                                                              \
    FLOAT(v, i), FLOAT(v, (i) + 1), FLOAT(v, (i) + 2), FLOAT(v, (i) + 3), FLOAT(v, (i) + 4),       \
        FLOAT(v, (i) + 5)

/* A kernel's work-group; numbers are places in the list of core/runtime/chain.c. */
#define CHAIN_CASE(number, kernel, ...)                                                            \
    case number:                                                                                   \
        kernel(place, __VA_ARGS__);                                                                \
        break

/* Runs a work-group of a launch. which: its kernel. */
static void run_group(int which, clv_place place, const buffers *b, __global const int *args,
                      __local floatV *memory)
{
    switch (which) {
        CHAIN_CASE(0, conv2d_fwd_wide, VIEWS5, WORDS8(5, 0), WORDS8(5, 8), WORDS4(5, 16));
        CHAIN_CASE(1, conv2d_fwd_pooled, VIEWS4, WORDS8(4, 0), WORDS8(4, 8), WORDS4(4, 16));
        CHAIN_CASE(2, conv2d_fwd_plain, VIEWS7, WORDS8(7, 0), WORD(7, 8));
        CHAIN_CASE(3, conv2d_fwd_scaled, VIEWS7, WORDS8(7, 0), WORD(7, 8));
        CHAIN_CASE(4, conv2d_pad, VIEWS2, WORDS8(2, 0), WORDS2(2, 8));
        CHAIN_CASE(5, expand_depthwise_fwd, VIEWS7, memory, WORDS8(7, 0), WORDS4(7, 8),
                   WORDS3(7, 12));
        CHAIN_CASE(6, squeeze_excite_fwd, VIEWS6, memory, WORDS4(6, 0), WORD(6, 4), FLOAT(6, 5),
                   WORDS3(6, 6));
        CHAIN_CASE(7, winograd_input, VIEWS2, WORDS8(2, 0), WORDS2(2, 8));
        CHAIN_CASE(8, winograd_products, VIEWS3, WORDS4(3, 0), WORD(3, 4));
        CHAIN_CASE(9, winograd_output, VIEWS3, WORDS8(3, 0), WORD(3, 8));
        CHAIN_CASE(10, gemm_pack, VIEWS3, WORDS8(3, 0), WORDS2(3, 8));
        CHAIN_CASE(11, gemm_wide, VIEWS4, WORDS8(4, 0), WORDS4(4, 8), WORD(4, 12));
        CHAIN_CASE(12, gemm_few_plain, VIEWS4, WORDS8(4, 0));
        CHAIN_CASE(13, global_avg_pool_fwd, VIEWS2, WORDS4(2, 0));
        CHAIN_CASE(14, global_avg_pool_sums, VIEWS2, WORDS3(2, 0), FLOAT(2, 3), WORD(2, 4));
        CHAIN_CASE(15, image_plain, VIEW(0), (__global const uchar *)buffer_of(b, args + 3),
                   offset_of(args + 3), WORDS4(2, 0), WORDS2(2, 4), FLOATS6(2, 6), WORD(2, 12));
    }
}

/* A launch in the table, counters of its work-groups, and the share of them that is taken from. */
typedef struct link {
    __global const int *head;
    __global atomic_int *counters;
    int shares;
} link;

/* Takes and runs what is left of share s. */
static void run_share(const link *l, int s, const buffers *b, __local floatV *memory)
{
    const int all = l->head[4], size = (all + l->shares - 1) / l->shares;
    const int begin = min(all, s * size), end = min(all, begin + size);
    __global atomic_int *taken = l->counters + (1 + s) * CHAIN_APART;
    const clv_place whole = {{0, 0, 0}, {l->head[1], l->head[2], l->head[3]}};
    int i;
    while (atomic_load_explicit(taken, memory_order_relaxed, memory_scope_device) < end - begin &&
           (i = begin + atomic_fetch_add_explicit(taken, 1, memory_order_relaxed,
                                                  memory_scope_device)) < end) {
        clv_place place = whole;
        place.id[0] = i % place.count[0];
        place.id[1] = i / place.count[0] % place.count[1];
        place.id[2] = i / place.count[0] / place.count[1];
        run_group(l->head[0], place, b, l->head + CHAIN_HEAD, memory);
        atomic_fetch_add_explicit(l->counters, 1, memory_order_release, memory_scope_device);
    }
}

/* Waits until all of it is done; false: not any longer. */
static bool wait_for(const link *l)
{
    int patience = CHAIN_PATIENCE;
    while (atomic_load_explicit(l->counters, memory_order_acquire, memory_scope_device) <
           l->head[4]) {
        if (patience-- == 0)
            return false;
        CHAIN_PAUSE();
    }
    return true;
}

/* Runs `links` launches, each when all work-groups of the one before are done. table: of link l,
 * table[l] says where it begins: its kernel, work-groups of the three dimensions and all of them,
 * arguments. counters: CHAIN_APART elements apart, all 0, and 0 again afterwards: how many
 * groups of this kernel are done; of each link how many work-groups are done, and how many are
 * taken of each share, of which there is one per group of this kernel, or CHAIN_SHARES. A group
 * takes of its own share first, so that it finds in its caches what it wrote before, then of the
 * others'. It waits only for what another group has taken, which has begun therefore, waits for
 * nothing, and goes on; so the others may leave, or not have begun: one alone does all of it.
 * NDRange: as many groups of one work-item as there are threads. memory: as much as the link that
 * wants most. */
CLV_SINGLE __kernel void chain(__global float *b0, ulong b0_at, __global float *b1, ulong b1_at,
                               __global float *b2, ulong b2_at, __global float *b3, ulong b3_at,
                               __global float *b4, ulong b4_at, __global float *b5, ulong b5_at,
                               __global float *b6, ulong b6_at, __global float *b7, ulong b7_at,
                               __global const int *table, ulong table_at,
                               __global atomic_int *counters, ulong counters_at,
                               __local floatV *memory, int links)
{
    const buffers b = {{b0, b1, b2, b3, b4, b5, b6, b7}};
    const int own = (int)get_group_id(0), groups = (int)get_num_groups(0);
    table += table_at;
    counters += counters_at;
    const int shares = min(groups, CHAIN_SHARES);
    for (int i = 0; i < links; i++) {
        const link l = {table + table[i], counters + (1 + i * (1 + shares)) * CHAIN_APART, shares};
        for (int s = 0; s < shares; s++)
            run_share(&l, (own + s) % shares, &b, memory);
        if (i + 1 < links && !wait_for(&l))
            break;
    }
    /* The last one leaves everything as it found it. */
    const int before =
        atomic_fetch_add_explicit(counters, 1, memory_order_acq_rel, memory_scope_device);
    if (before + 1 == groups)
        for (int i = 0; i < 1 + links * (1 + shares); i++)
            atomic_store_explicit(counters + i * CHAIN_APART, 0, memory_order_relaxed,
                                  memory_scope_device);
}
