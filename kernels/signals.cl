/* signals: what the experts of a mixture do with the samples of training steps, and what is sent
 * back to them, in sums over an epoch. The sums are words (uint, or the bits of floats; pairs of
 * floats are high and low, exact.clh), of K experts.
 *
 * 8 of all: samples, routed samples, gate entropy (2), samples with a posterior, samples with
 * gradients, entropy of the posterior (2).
 *
 * 10 of each expert: assigned, first choice, answered, right, weight (2), posterior (2), squares of
 * the gradient to its logits (2).
 *
 * 5 of each pair i < j, in the order (0,1), (0,2) … (1,2) …: both right, none, only i, only j,
 * different answers.
 *
 * 4 of each product (signals_add_products): dot product of gradients (2), distance, how many.
 *
 * Sums run over the rows in their order: the same bits whatever the device's load. */
#include "exact.clh"
#include "group.clh"
#include "mixture_loss.clh"

#define TOTAL_WORDS  8
#define EXPERT_WORDS 10
#define PAIR_WORDS   5

/* The expert of the largest weight, of equal ones the first; -1: all are 0. */
static int first_choice(__global const float *w, int experts)
{
    int best = -1;
    for (int i = 0; i < experts; i++)
        if (w[i] > 0 && (best < 0 || w[i] > w[best]))
            best = i;
    return best;
}

static int best_class(__global const float *x, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (x[c] > x[best])
            best = c;
    return best;
}

static float entropy_term(float x)
{
    return x > 0 ? -x * log(x) : 0;
}

/* The weights of a sample, brought to sum 1, and their entropy. gate NULL: all alike. */
static float normalise(__global float *w, __global const float *gate, int experts)
{
    float sum = 0, entropy = 0;
    for (int i = 0; i < experts; i++)
        sum += gate ? gate[i] : 1;
    for (int i = 0; i < experts; i++) {
        w[i] = sum > 0 ? (gate ? gate[i] : 1) / sum : 0;
        entropy += entropy_term(w[i]);
    }
    return entropy;
}

/* The posterior h of a sample and its entropy. h holds weights; kept [experts, EACH]. */
static float posterior(const setting *s, __global float *h, __global int *answers,
                       __global const float *w, __global const float *x, int label,
                       __global float *kept)
{
    float entropy = 0;
    for (int i = 0; i < s->experts; i++) {
        __global const float *row = x + (size_t)i * s->classes;
        if (w[i] == 0)
            continue;
        const int best = best_class(row, s->classes);
        clv_moments(row, s->classes, kept + EACH * i);
        kept[EACH * i + 2] = cost(s, row, label, kept + EACH * i);
        answers[i] = 2 * best + (best == label);
    }
    const float top = top_evidence(s, w, kept), rest = log_sum(s, w, kept, top);
    for (int i = 0; i < s->experts; i++) {
        h[i] = w[i] == 0 ? 0 : posterior_of(s, w[i], kept + EACH * i, top, rest);
        entropy += entropy_term(h[i]);
    }
    return entropy;
}

/* Of each sample: weights w and posterior h [n, experts], entropies [n, 2] of both over ln K (the
 * second -1 where there is no posterior), answers [n, experts + 1]: of each expert twice the class
 * that it names, plus 1 where that is right, -1 where it was not asked or has none; then the first
 * choice. kept [n, experts, EACH] is scratch. From route [n, experts] (read where gated = 1),
 * logits [n, experts, classes] (where answering = 1), labels [n]. All outputs are overwritten.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the samples; 0 bytes of local memory. */
CLV_GROUP __kernel void
signals_rows(__global float *w, ulong w_at, __global float *h, ulong h_at,
             __global float *entropies, ulong entropies_at, __global int *answers, ulong answers_at,
             __global float *kept, ulong kept_at, __global const float *route, ulong route_at,
             __global const float *logits, ulong logits_at, __global const int *labels,
             ulong labels_at, int n, int experts, int classes, int gated, int answering, int term,
             int target_logits, float beta, float smoothing, float scale, int share)
{
    const setting s = {experts, classes, term, target_logits, 1, beta, smoothing, scale};
    const float most = log((float)experts);
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(n, share); r < end; r += CLV_ITEMS) {
        const size_t at = (size_t)r * experts;
        const int label = labels[labels_at + r];
        __global float *own = w + w_at + at, *after = h + h_at + at;
        __global int *said = answers + answers_at + (size_t)r * (experts + 1);
        __global float *two = entropies + entropies_at + 2 * (size_t)r;
        two[0] = normalise(own, gated ? route + route_at + at : 0, experts) / most;
        two[1] = -1;
        for (int i = 0; i < experts; i++) {
            after[i] = 0;
            said[i] = -1;
        }
        said[experts] = first_choice(own, experts);
        if (answering && label >= 0 && label < classes && said[experts] >= 0)
            two[1] = posterior(&s, after, said, own, logits + logits_at + at * classes, label,
                               kept + kept_at + at * EACH) /
                     most;
    }
}

/* word[0], word[1] become what they are plus x. */
static void add_to(__global uint *word, float x)
{
    float high = as_float(word[0]), low = as_float(word[1]);
    add_exactly(&high, &low, x);
    word[0] = as_uint(high);
    word[1] = as_uint(low);
}

static void add_totals(__global uint *word, __global const float *entropies,
                       __global const int *answers, int n, int experts)
{
    float gate = 0, gate_low = 0, after = 0, after_low = 0;
    uint routed = 0, known = 0;
    for (int r = 0; r < n; r++) {
        const float second = entropies[2 * r + 1];
        if (answers[(size_t)r * (experts + 1) + experts] < 0)
            continue;
        routed++;
        add_exactly(&gate, &gate_low, entropies[2 * r]);
        if (second < 0)
            continue;
        known++;
        add_exactly(&after, &after_low, second);
    }
    word[0] += (uint)n;
    word[1] += routed;
    word[4] += known;
    add_to(word + 2, gate_low);
    add_to(word + 2, gate);
    add_to(word + 6, after_low);
    add_to(word + 6, after);
}

static void add_expert(__global uint *word, __global const float *w, __global const float *h,
                       __global const int *answers, int n, int experts, int i)
{
    float weight = 0, weight_low = 0, after = 0, after_low = 0;
    uint assigned = 0, first = 0, answered = 0, right = 0;
    for (int r = 0; r < n; r++) {
        const size_t at = (size_t)r * experts + i;
        __global const int *said = answers + (size_t)r * (experts + 1);
        assigned += w[at] != 0;
        first += said[experts] == i;
        answered += said[i] >= 0;
        right += said[i] >= 0 && (said[i] & 1) != 0;
        add_exactly(&weight, &weight_low, w[at]);
        add_exactly(&after, &after_low, h[at]);
    }
    word[0] += assigned;
    word[1] += first;
    word[2] += answered;
    word[3] += right;
    add_to(word + 4, weight_low);
    add_to(word + 4, weight);
    add_to(word + 6, after_low);
    add_to(word + 6, after);
}

static void add_pair(__global uint *word, __global const int *answers, int n, int experts, int i,
                     int j)
{
    uint both = 0, none = 0, only_i = 0, only_j = 0, different = 0;
    for (int r = 0; r < n; r++) {
        const int x = answers[(size_t)r * (experts + 1) + i];
        const int y = answers[(size_t)r * (experts + 1) + j];
        const int asked = x >= 0 && y >= 0;
        both += asked && (x & 1) != 0 && (y & 1) != 0;
        none += asked && (x & 1) == 0 && (y & 1) == 0;
        only_i += asked && (x & 1) != 0 && (y & 1) == 0;
        only_j += asked && (x & 1) == 0 && (y & 1) != 0;
        different += asked && x != y;
    }
    word[0] += both;
    word[1] += none;
    word[2] += only_i;
    word[3] += only_j;
    word[4] += different;
}

/* Adds what signals_rows left of n samples to the sums: item 0 the totals, then the experts, then
 * the pairs, `columns` in all. NDRange: groups of CLV_ITEMS work-items, each a share of the
 * columns; 0 bytes of local memory. */
CLV_GROUP __kernel void signals_add(__global uint *sums, ulong sums_at, __global const float *w,
                                    ulong w_at, __global const float *h, ulong h_at,
                                    __global const float *entropies, ulong entropies_at,
                                    __global const int *answers, ulong answers_at, int n,
                                    int experts, int columns, int share)
{
    for (int c = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(columns, share); c < end;
         c += CLV_ITEMS) {
        __global uint *all = sums + sums_at;
        __global uint *each = all + TOTAL_WORDS, *pairs = each + (size_t)experts * EXPERT_WORDS;
        int pair = c - 1 - experts, i = 0;
        if (c == 0) {
            add_totals(all, entropies + entropies_at, answers + answers_at, n, experts);
        } else if (pair < 0) {
            add_expert(each + (size_t)(c - 1) * EXPERT_WORDS, w + w_at, h + h_at,
                       answers + answers_at, n, experts, c - 1);
        } else {
            pairs += (size_t)pair * PAIR_WORDS;
            for (; pair >= experts - 1 - i; i++)
                pair -= experts - 1 - i;
            add_pair(pairs, answers + answers_at, n, experts, i, i + 1 + pair);
        }
    }
}

/* squares [rows] = Σ x² over each row of x [rows, columns], overwritten. NDRange: groups of
 * CLV_ITEMS work-items, each a share of the rows; 0 bytes of local memory. */
CLV_GROUP __kernel void signals_squares(__global float *restrict squares, ulong squares_at,
                                        __global const float *restrict x, ulong x_at, int rows,
                                        int columns, int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        __global const float *row = x + x_at + (size_t)r * columns;
        floatV sum = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV v = clv_load(row + c, columns - c, 0);
            sum = fma(v, v, sum);
        }
        squares[squares_at + r] = clv_lanes_sum(sum);
    }
}

/* Adds squares [n, experts] of gradients to logits, times `by`, to the sums. One group. */
CLV_GROUP __kernel void signals_add_squares(__global uint *sums, ulong sums_at,
                                            __global const float *squares, ulong squares_at, int n,
                                            int experts, float by)
{
    if (CLV_ITEM == 0)
        sums[sums_at + 5] += (uint)n;
    for (int i = CLV_ITEM; i < experts; i += CLV_ITEMS) {
        float high = 0, low = 0;
        __global uint *word = sums + sums_at + TOTAL_WORDS + (size_t)i * EXPERT_WORDS + 8;
        for (int r = 0; r < n; r++)
            add_exactly(&high, &low, squares[squares_at + (size_t)r * experts + i] * by);
        add_to(word, low);
        add_to(word, high);
    }
}

/* Of each share of `total` elements: Σ a·b of the gradients, and Σ (u - v)² of the values, or Σ u²
 * where alone = 1. partial [shares, 2], overwritten. NDRange: groups of CLV_ITEMS work-items, a
 * share each; local memory for one sum. */
CLV_GROUP __kernel void
signals_products(__global float *restrict partial, ulong partial_at, __global const float *a,
                 ulong a_at, __global const float *b, ulong b_at, __global const float *u,
                 ulong u_at, __global const float *v, ulong v_at, int total, int alone, int share)
{
    CLV_SCRATCH(scratch);
    const clv_span s = clv_span_of(CLV_ITEMS);
    floatV dot = (floatV)(0), apart = (floatV)(0);
    for (int i = CLV_BEGIN(share) + CLV_FIRST, end = CLV_END(total, share); i < end;
         i += CLV_STEP) {
        const int left = end - i;
        floatV d = clv_load(u + u_at + i, left, 0);
        dot = fma(clv_load(a + a_at + i, left, 0), clv_load(b + b_at + i, left, 0), dot);
        if (!alone)
            d -= clv_load(v + v_at + i, left, 0);
        apart = fma(d, d, apart);
    }
    const float first = clv_across_sum(dot, s, scratch), second = clv_across_sum(apart, s, scratch);
    if (CLV_ITEM == 0) {
        partial[partial_at + 2 * get_group_id(0)] = first;
        partial[partial_at + 2 * get_group_id(0) + 1] = second;
    }
}

/* Adds partial [count, 2] to the four words of a product at sums_at: the first sums times `by` to
 * the dot product, the second to the distance, which begins anew where fresh = 1, and `fresh` to
 * how many there are. One group of one work-item. */
CLV_SINGLE __kernel void signals_add_products(__global uint *sums, ulong sums_at,
                                              __global const float *partial, ulong partial_at,
                                              int count, float by, int fresh)
{
    float dot = 0, dot_low = 0, apart = 0, apart_low = 0;
    __global uint *word = sums + sums_at;
    for (int i = 0; i < count; i++) {
        add_exactly(&dot, &dot_low, partial[partial_at + 2 * i]);
        add_exactly(&apart, &apart_low, partial[partial_at + 2 * i + 1]);
    }
    add_to(word, dot_low * by);
    add_to(word, dot * by);
    word[2] = as_uint(fresh ? apart : as_float(word[2]) + apart);
    word[3] += (uint)fresh;
}
