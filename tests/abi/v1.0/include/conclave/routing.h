/* Routes to the k best experts of each sample, with what keeps these evenly used: a bias that
 * learns without a gradient, and a capacity. Static inline over conclave/ops.h, for gates that
 * share the rest of such a rule; the host knows nothing of it. */
#ifndef CONCLAVE_ROUTING_H
#define CONCLAVE_ROUTING_H

#include <conclave/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Above this nothing is ever dropped: there are at most 64 experts. */
#define CLV_NO_CAPACITY 64

typedef struct clv_top_desc {
    int64_t k;
    bool before; /* normalise over all experts, not over the chosen: see clv_topk_mask */
    /* What a step of the optimiser adds to or takes from an expert's bias; 0: there is no bias. */
    double balance_bias;
    double capacity_factor; /* in training an expert takes ⌈factor·k·n/K⌉ samples of a batch of n */
} clv_top_desc;

/* The options of a clv_option_spec table, and their values. */
#define CLV_TOP_OPTIONS                                                                            \
    CLV_OPTION("balance_bias", REAL, "0", 0, 1, NULL,                                              \
               "step of a bias on choosing that evens the load without a loss; 0: none"),          \
        CLV_OPTION("capacity_factor", REAL, "64", 1e-3, CLV_NO_CAPACITY, NULL,                     \
                   "most samples of an expert, in equal shares of the batch; K/k or more: any")

static inline void clv_top_options(clv_builder *b, const clv_options *options, clv_top_desc *d)
{
    d->balance_bias = clv_option_real(b, options, "balance_bias");
    d->capacity_factor = clv_option_real(b, options, "capacity_factor");
}

/* After each step the bias of an expert that was chosen less often than the mean grows by d->
 * balance_bias, that of one chosen more often falls (Wang et al. 2024, arXiv 2408.15664). chosen
 * [N, K]: not 0 where a sample chose the expert. */
static inline void clv_balance(clv_builder *b, clv_tensor bias, clv_tensor chosen,
                               const clv_top_desc *d)
{
    const clv_tensor load = clv_step_sum(b, clv_sign(b, "chosen", chosen));
    const clv_tensor missing = clv_below_mean(b, "missing", load, d->balance_bias);
    clv_after_step(b, bias, clv_add(b, "next_bias", bias, missing));
}

/* Declares the outputs "route" and, where some of it may be dropped, "wanted", the state
 * "balance_bias" where there is one, and the route itself, from logits z [N, K]. With a bias the k
 * largest softmax(z) + bias are chosen, and weighed as without. Beyond its capacity an expert loses
 * the samples of the smallest weights first, of equal ones the last (Riquelme et al. 2021, arXiv
 * 2106.05974); the load that the bias evens is that before. Evaluation drops nothing. */
static inline void clv_top_route(clv_builder *b, const clv_build_input *in, clv_tensor z,
                                 const clv_top_desc *d)
{
    const double room = d->capacity_factor * (double)d->k;
    const bool train = in->mode == CLV_MODE_TRAIN, drops = train && room < in->experts;
    clv_route_desc route;
    clv_tensor chosen;
    memset(&route, 0, sizeof route);
    if (d->k > in->experts)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "k is %d, and there are %d experts", (int)d->k,
                         (int)in->experts);
    if (d->balance_bias > 0 && d->k == in->experts)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG,
                         "balance_bias has nothing to choose where each sample goes to all %d "
                         "experts; write a smaller k, or balance_bias = 0",
                         (int)in->experts);
    if (d->balance_bias > 0) {
        const clv_variable_desc desc =
            clv_variable("balance_bias", CLV_INIT_ZEROS, 0, 1, in->experts, 0, 0, 0);
        const clv_tensor bias = clv_state(b, &desc);
        chosen = clv_topk_mask_biased(b, drops ? "wanted" : "route", z, bias, d->k, d->before);
        if (train)
            clv_balance(b, bias, chosen, d);
    } else {
        chosen = clv_topk_mask(b, drops ? "wanted" : "route", z, d->k, d->before);
    }
    if (drops)
        clv_output(b, "wanted", chosen);
    clv_output(b, "route", drops ? clv_column_topk(b, "route", chosen, room) : chosen);
    route.sparse = 1;
    route.max_per_sample = (int32_t)d->k;
    route.sums_to_one = !d->before && !drops;
    route.per_batch = drops && room < (double)d->k ? room : 0;
    clv_route(b, &route);
}

#ifdef __cplusplus
}
#endif
#endif
