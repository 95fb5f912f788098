/* See signals.h; the kernels, and what the words are, in kernels/signals.cl. */
#include "mixture/signals.h"

#include "mixture/usage.h"
#include "ops/share.h"
#include "runtime/profile.h"

#include <math.h>

/* As in kernels/signals.cl. */
enum { SAMPLES, ROUTED, GATE_ENTROPY, KNOWN = 4, SENT, POSTERIOR_ENTROPY, TOTAL_WORDS = 8 };
enum { ASSIGNED, FIRST, ANSWERED, RIGHT, WEIGHT, POSTERIOR = 6, SQUARES = 8, EXPERT_WORDS = 10 };
enum { BOTH, NONE, ONLY_FIRST, ONLY_SECOND, DIFFERENT, PAIR_WORDS };
enum { DOT, DISTANCE = 2, LOOKED, PRODUCT_WORDS };

/* Terms of kernels/mixture_loss.clh with a posterior. */
enum { JACOBS_MSE = 3, JACOBS_CE = 4, KEPT = 3 };

/* What of a sample lies on the device while it is added. */
enum { WEIGHTS, POSTERIORS, ENTROPIES, ANSWERS, MOMENTS, PARTIAL, SCRATCHES };

struct clvi_signals {
    clvi_device *device;
    size_t experts;
    int classes;
    bool answers;
    int term; /* whose posterior */
    bool target_logits;
    float beta, smoothing, scale;
    clvi_buf *sums, *scratch[SCRATCHES];
};

/* ---- Places ---- */

static size_t pair_count(size_t experts)
{
    return experts * (experts - 1) / 2;
}

/* Place of a pair first < second among the pairs. */
static size_t pair_index(size_t experts, size_t first, size_t second)
{
    return first * (2 * experts - first - 1) / 2 + second - first - 1;
}

static size_t expert_at(size_t index)
{
    return TOTAL_WORDS + index * EXPERT_WORDS;
}

static size_t pair_at(size_t experts, size_t pair)
{
    return expert_at(experts) + pair * PAIR_WORDS;
}

/* Of the parts alone, experts and gate; then of the pairs of experts. */
static size_t product_at(size_t experts, size_t first, size_t second)
{
    const size_t index = first == second ? first : experts + 1 + pair_index(experts, first, second);
    return pair_at(experts, pair_count(experts)) + index * PRODUCT_WORDS;
}

size_t clvi_signals_words(size_t experts)
{
    return pair_at(experts, pair_count(experts)) +
           (experts + 1 + pair_count(experts)) * PRODUCT_WORDS;
}

/* ---- Making ---- */

/* The posterior of the first loss that has one; else that of the likelihood. */
static void choose_posterior(clvi_signals *s, const clvi_fusion *f)
{
    s->term = JACOBS_CE;
    s->beta = 1;
    s->scale = 1;
    for (size_t i = 0; i < f->term_count; i++) {
        const char *name = f->terms[i].spec->name;
        const bool squared = strcmp(name, "jacobs_mse") == 0;
        if (!squared && strcmp(name, "jacobs_ce") != 0 && strcmp(name, "mixture_nll") != 0)
            continue;
        s->term = squared ? JACOBS_MSE : JACOBS_CE;
        s->beta = strcmp(name, "jacobs_ce") == 0 ? (float)f->beta : 1;
        s->smoothing = (float)f->smoothing;
        s->target_logits = squared && f->target_logits;
        s->scale = squared && f->distance_mean ? 1 / (float)s->classes : 1;
        return;
    }
}

static clv_status make_buffers(clvi_signals *s, const clvi_signals_desc *d, clv_error *error)
{
    const size_t rows = (size_t)d->max_batch, each = rows * s->experts;
    /* A shorter product may have more groups: their number does not only rise. */
    const size_t shares = (size_t)d->most_product / CLVI_SHARE_ELEMENTS + 1;
    const size_t partial = 2 * (shares < CLVI_MAX_GROUPS ? shares : CLVI_MAX_GROUPS);
    const size_t words[SCRATCHES] = {each, each, rows * 2, each + rows, each * KEPT, partial};
    for (int i = 0; i < SCRATCHES; i++)
        CLV_TRY(clvi_buf_create(s->device, words[i] * 4, "signals", &s->scratch[i], error));
    const size_t bytes = clvi_signals_words(s->experts) * 4;
    CLV_TRY(clvi_buf_create(s->device, bytes, "sums of signals", &s->sums, error));
    return clvi_fill(s->device, s->sums, 0, bytes, 0, error);
}

clv_status clvi_signals_create(const clvi_signals_desc *desc, clvi_signals **out, clv_error *error)
{
    clvi_signals *s = clvi_calloc(1, sizeof *s);
    if (!s)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the signals");
    s->device = desc->device;
    s->experts = desc->fusion->experts;
    s->classes = desc->classes;
    s->answers = desc->answers;
    choose_posterior(s, desc->fusion);
    const clv_status status = make_buffers(s, desc, error);
    if (status != CLV_OK) {
        clvi_signals_destroy(s);
        return status;
    }
    *out = s;
    return CLV_OK;
}

void clvi_signals_destroy(clvi_signals *s)
{
    if (!s)
        return;
    clvi_buf_destroy(s->sums);
    for (int i = 0; i < SCRATCHES; i++)
        clvi_buf_destroy(s->scratch[i]);
    clvi_free(s);
}

uint64_t clvi_signals_bytes(const clvi_signals *s)
{
    uint64_t sum = clvi_buf_bytes(s->sums);
    for (int i = 0; i < SCRATCHES; i++)
        sum += clvi_buf_bytes(s->scratch[i]);
    return sum;
}

/* ---- Adding ---- */

static clvi_view scratch(const clvi_signals *s, int which)
{
    return (clvi_view){s->scratch[which], 0};
}

static clv_status look_at_rows(clvi_signals *s, clvi_view route, clvi_view logits, clvi_view labels,
                               int64_t n, clv_error *error)
{
    const clvi_share share = clvi_share_of(n, (int64_t)s->experts * s->classes, 1);
    clvi_launch l;
    clvi_launch_begin(&l, s->device, "signals", "signals_rows", "");
    for (int i = WEIGHTS; i <= MOMENTS; i++)
        clvi_arg_view(&l, scratch(s, i));
    /* What is not read must still be a buffer. */
    clvi_arg_view(&l, route.buf ? route : scratch(s, MOMENTS));
    clvi_arg_view(&l, s->answers ? logits : scratch(s, MOMENTS));
    clvi_arg_view(&l, labels);
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)s->experts);
    clvi_arg_int(&l, s->classes);
    clvi_arg_int(&l, route.buf != NULL);
    clvi_arg_int(&l, s->answers);
    clvi_arg_int(&l, s->term);
    clvi_arg_int(&l, s->target_logits);
    clvi_arg_float(&l, s->beta);
    clvi_arg_float(&l, s->smoothing);
    clvi_arg_float(&l, s->scale);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_signals_add(clvi_signals *s, clvi_view route, clvi_view logits, clvi_view labels,
                            int64_t n, clv_error *error)
{
    clvi_profile_enter_part(s->device, "signals", "add");
    CLV_TRY(look_at_rows(s, route, logits, labels, n, error));
    const int64_t columns = (int64_t)(1 + s->experts + pair_count(s->experts));
    const clvi_share share = clvi_share_of(columns, 4 * n, 1);
    clvi_launch l;
    clvi_launch_begin(&l, s->device, "signals", "signals_add", "");
    clvi_arg_view(&l, (clvi_view){s->sums, 0});
    for (int i = WEIGHTS; i <= ANSWERS; i++)
        clvi_arg_view(&l, scratch(s, i));
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)s->experts);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_signals_add_gradients(clvi_signals *s, clvi_view gradients, int64_t n, double share,
                                      clv_error *error)
{
    const int64_t rows = n * (int64_t)s->experts;
    const clvi_share items = clvi_share_of(rows, s->classes, 1);
    clvi_launch l;
    clvi_profile_enter_part(s->device, "signals", "add");
    clvi_launch_begin(&l, s->device, "signals", "signals_squares", "");
    clvi_arg_view(&l, scratch(s, WEIGHTS));
    clvi_arg_view(&l, gradients);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, s->classes);
    clvi_arg_int(&l, items.items);
    CLV_TRY(clvi_launch_run(&l, items.groups, 1, 1, error));
    clvi_launch_begin(&l, s->device, "signals", "signals_add_squares", "");
    clvi_arg_view(&l, (clvi_view){s->sums, 0});
    clvi_arg_view(&l, scratch(s, WEIGHTS));
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)s->experts);
    clvi_arg_float(&l, share > 0 ? (float)(1 / (share * share)) : 0);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

clv_status clvi_signals_add_product(clvi_signals *s, size_t first, size_t second,
                                    const clvi_signals_piece *p, double factor, bool begins,
                                    clv_error *error)
{
    const clvi_share share = clvi_share_of(p->elements, 1, CLVI_FLAT_STEP);
    CLV_ASSERT(share.groups * 8 <= clvi_buf_bytes(s->scratch[PARTIAL]));
    clvi_launch l;
    clvi_profile_enter_part(s->device, "signals", "add");
    clvi_launch_begin(&l, s->device, "signals", "signals_products", "");
    clvi_arg_view(&l, scratch(s, PARTIAL));
    clvi_arg_view(&l, p->gradients[0]);
    clvi_arg_view(&l, p->gradients[1]);
    clvi_arg_view(&l, p->values[0]);
    clvi_arg_view(&l, p->values[1]);
    clvi_arg_int(&l, (int32_t)p->elements);
    clvi_arg_int(&l, first == second);
    clvi_arg_int(&l, share.items);
    CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    clvi_launch_begin(&l, s->device, "signals", "signals_add_products", "");
    clvi_arg_view(&l, (clvi_view){s->sums, product_at(s->experts, first, second)});
    clvi_arg_view(&l, scratch(s, PARTIAL));
    clvi_arg_int(&l, (int32_t)share.groups);
    clvi_arg_float(&l, (float)(factor * factor));
    clvi_arg_int(&l, begins);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

clv_status clvi_signals_take(clvi_signals *s, uint32_t *words, clv_error *error)
{
    return clvi_download(s->device, s->sums, 0, words, clvi_signals_words(s->experts) * 4, error);
}

clv_status clvi_signals_put(clvi_signals *s, const uint32_t *words, clv_error *error)
{
    return clvi_upload(s->device, s->sums, 0, words, clvi_signals_words(s->experts) * 4, error);
}

/* ---- What the words mean ---- */

static double single(const uint32_t *word)
{
    float value;
    memcpy(&value, word, sizeof value);
    return (double)value;
}

/* Of two words, high and low. */
static double real(const uint32_t *word)
{
    return single(word) + single(word + 1);
}

static double quotient(double sum, double count)
{
    return count > 0 ? sum / count : NAN;
}

void clvi_signals_gate_of(const uint32_t *words, size_t experts, clvi_signals_gate *out)
{
    *out = (clvi_signals_gate){.samples = words[SAMPLES],
                               .entropy = quotient(real(words + GATE_ENTROPY), words[ROUTED]),
                               .posterior_entropy =
                                   quotient(real(words + POSTERIOR_ENTROPY), words[KNOWN])};
    for (size_t i = 0; i < experts; i++)
        out->assignments += words[expert_at(i) + ASSIGNED];
}

void clvi_signals_expert_of(const uint32_t *words, size_t experts, int classes, size_t index,
                            clvi_signals_expert *out)
{
    const uint32_t *own = words + expert_at(index);
    clvi_signals_gate all;
    clvi_signals_gate_of(words, experts, &all);
    *out = (clvi_signals_expert){
        .share = quotient(own[ASSIGNED], (double)all.assignments),
        .first = quotient(own[FIRST], words[ROUTED]),
        .weight = quotient(real(own + WEIGHT), words[ROUTED]),
        .posterior = quotient(real(own + POSTERIOR), words[KNOWN]),
        .top1 = quotient(own[RIGHT], own[ANSWERED]),
        .logit_gradient = sqrt(quotient(
            real(own + SQUARES), words[SENT] > 0 ? (double)own[ASSIGNED] * (double)classes : 0))};
}

void clvi_signals_pair_of(const uint32_t *words, size_t experts, size_t first, size_t second,
                          clvi_signals_pair *out)
{
    const uint32_t *own = words + pair_at(experts, pair_index(experts, first, second));
    const uint32_t *product = words + product_at(experts, first, second);
    const uint32_t *one = words + product_at(experts, first, first);
    const uint32_t *other = words + product_at(experts, second, second);
    const double samples = (double)own[BOTH] + own[NONE] + own[ONLY_FIRST] + own[ONLY_SECOND];
    const double looked = product[LOOKED] > 0 ? 1 : 0;
    *out = (clvi_signals_pair){
        .disagreement = quotient(own[DIFFERENT], samples),
        .yule_q = clvi_usage_yule_q(own[BOTH], own[NONE], own[ONLY_FIRST], own[ONLY_SECOND]),
        .cosine = quotient(real(product + DOT), looked * sqrt(real(one + DOT) * real(other + DOT))),
        .distance =
            sqrt(quotient(single(product + DISTANCE),
                          looked * (single(one + DISTANCE) + single(other + DISTANCE)) / 2))};
}

double clvi_signals_gradient_of(const uint32_t *words, size_t experts, size_t index)
{
    const uint32_t *own = words + product_at(experts, index, index);
    return sqrt(quotient(real(own + DOT), own[LOOKED]));
}
