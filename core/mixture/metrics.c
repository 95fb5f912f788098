/* See metrics.h; the kernels are in kernels/metrics.cl. */
#include "mixture/metrics.h"

#include "ops/share.h"
#include "runtime/profile.h"

#include <assert.h>

/* Words of the sums: loss as high and low float, then seven counts. */
enum { LOSS_WORDS = 2, COUNT_WORDS = 7, SUM_WORDS = LOSS_WORDS + COUNT_WORDS };
static_assert(SUM_WORDS == (int)CLVI_METRICS_WORDS, "metrics.h says how many words there are");

struct clvi_metrics {
    clvi_device *device;
    int classes;
    clvi_buf *sums, *ranks; /* ranks: [2, rank_capacity], the second what a route gave */
    int64_t rank_capacity;
};

clv_status clvi_metrics_create(clvi_device *device, int classes, clvi_metrics **out,
                               clv_error *error)
{
    clvi_metrics *m = clvi_calloc(1, sizeof *m);
    if (!m)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the metrics");
    m->device = device;
    m->classes = classes;
    clv_status status =
        clvi_buf_create(device, SUM_WORDS * sizeof(uint32_t), "metrics", &m->sums, error);
    if (status == CLV_OK)
        status = clvi_metrics_reset(m, error);
    if (status != CLV_OK) {
        clvi_metrics_destroy(m);
        return status;
    }
    *out = m;
    return CLV_OK;
}

void clvi_metrics_destroy(clvi_metrics *m)
{
    if (!m)
        return;
    clvi_buf_destroy(m->sums);
    clvi_buf_destroy(m->ranks);
    clvi_free(m);
}

clv_status clvi_metrics_reserve(clvi_metrics *m, int64_t n, clv_error *error)
{
    if (n <= m->rank_capacity)
        return CLV_OK;
    clvi_buf *larger = NULL;
    CLV_TRY(clvi_buf_create(m->device, 2 * (size_t)n * sizeof(int32_t), "ranks", &larger, error));
    clvi_buf_destroy(m->ranks);
    m->ranks = larger;
    m->rank_capacity = n;
    return CLV_OK;
}

/* Who took each sample: marks in `ranks` those that nobody did. */
static clv_status look_at_route(const clvi_metrics *m, const clvi_metrics_batch *b, clvi_view taken,
                                clvi_view ranks, clv_error *error)
{
    const clvi_share share = clvi_share_of(b->n, 2 * b->experts, 1);
    clvi_launch l;
    clvi_launch_begin(&l, m->device, "metrics", "metrics_taken", "");
    clvi_arg_view(&l, taken);
    clvi_arg_view(&l, ranks);
    clvi_arg_view(&l, b->route);
    clvi_arg_view(&l, b->wanted.buf ? b->wanted : b->route);
    clvi_arg_int(&l, (int32_t)b->n);
    clvi_arg_int(&l, (int32_t)b->experts);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_metrics_add(clvi_metrics *m, const clvi_metrics_batch *b, clv_error *error)
{
    CLV_TRY(clvi_metrics_reserve(m, b->n, error));
    clvi_profile_enter_part(m->device, "metrics", "add");
    const clvi_share share = clvi_share_of(b->n, m->classes, 1);
    const clvi_view ranks = {m->ranks, 0}, taken = {m->ranks, (uint64_t)m->rank_capacity};
    const bool routed = b->route.buf != NULL;
    clvi_launch l;
    clvi_launch_begin(&l, m->device, "metrics", "metrics_rank", "");
    clvi_arg_view(&l, ranks);
    clvi_arg_view(&l, b->logits);
    clvi_arg_view(&l, b->labels);
    clvi_arg_int(&l, (int32_t)b->n);
    clvi_arg_int(&l, (int32_t)m->classes);
    clvi_arg_int(&l, share.items);
    CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    if (routed)
        CLV_TRY(look_at_route(m, b, taken, ranks, error));
    clvi_launch_begin(&l, m->device, "metrics", "metrics_add", "");
    clvi_arg_view(&l, (clvi_view){m->sums, 0});
    clvi_arg_view(&l, (clvi_view){m->sums, LOSS_WORDS});
    clvi_arg_view(&l, b->loss);
    clvi_arg_view(&l, ranks);
    clvi_arg_view(&l, taken);
    clvi_arg_int(&l, (int32_t)b->n);
    clvi_arg_int(&l, routed);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

clv_status clvi_metrics_read(clvi_metrics *m, clvi_metrics_sums *out, clv_error *error)
{
    uint32_t words[SUM_WORDS];
    float loss[LOSS_WORDS];
    CLV_TRY(clvi_download(m->device, m->sums, 0, words, sizeof words, error));
    memcpy(loss, words, sizeof loss);
    *out = (clvi_metrics_sums){.count = words[2],
                               .top1 = words[3],
                               .top5 = words[4],
                               .not_finite = words[5],
                               .unrouted = words[6],
                               .wanted = words[7],
                               .dropped = words[8],
                               .loss = (double)loss[0] + (double)loss[1]};
    return CLV_OK;
}

clv_status clvi_metrics_take(clvi_metrics *m, uint32_t words[CLVI_METRICS_WORDS], clv_error *error)
{
    return clvi_download(m->device, m->sums, 0, words, SUM_WORDS * sizeof *words, error);
}

clv_status clvi_metrics_put(clvi_metrics *m, const uint32_t words[CLVI_METRICS_WORDS],
                            clv_error *error)
{
    return clvi_upload(m->device, m->sums, 0, words, SUM_WORDS * sizeof *words, error);
}

uint64_t clvi_metrics_bytes(const clvi_metrics *m)
{
    return clvi_buf_bytes(m->sums) + (m->ranks ? clvi_buf_bytes(m->ranks) : 0);
}

clv_status clvi_metrics_reset(clvi_metrics *m, clv_error *error)
{
    return clvi_fill(m->device, m->sums, 0, SUM_WORDS * sizeof(uint32_t), 0, error);
}
