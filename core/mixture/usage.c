/* See usage.h. */
#include "mixture/usage.h"

#include "base/philox.h"

#include <math.h>

static const float *gate_of(const clvi_usage_input *in, size_t sample)
{
    return in->gate + sample * (size_t)in->experts;
}

/* The expert of the largest weight; -1: all are 0. */
static int first_choice(const float *gate, int experts)
{
    int best = -1;
    for (int i = 0; i < experts; i++)
        if (gate[i] > 0 && (best < 0 || gate[i] > gate[best]))
            best = i;
    return best;
}

static double sum_of(const float *gate, int experts)
{
    double sum = 0;
    for (int i = 0; i < experts; i++)
        sum += gate[i];
    return sum;
}

/* -x ln x */
static double entropy_term(double x)
{
    return x > 0 ? -x * log(x) : 0;
}

/* ---- Counting ---- */

bool clvi_usage_dead(const clvi_usage_expert *expert, int experts)
{
    const double least = 1 / (10.0 * experts);
    return expert->share < least || expert->weight_share < least;
}

static void add_sample(const float *gate, int experts, clvi_usage *out, clvi_usage_expert *each)
{
    const double sum = sum_of(gate, experts);
    const int best = first_choice(gate, experts);
    out->samples++;
    if (best < 0) {
        out->unrouted++;
        return;
    }
    each[best].first++;
    for (int i = 0; i < experts; i++) {
        const double weight = gate[i] / sum;
        each[i].assigned += gate[i] > 0;
        out->assignments += gate[i] > 0;
        each[i].weight_share += weight;
        out->mean_entropy += entropy_term(weight);
    }
}

void clvi_usage_count(const clvi_usage_input *in, const int32_t *group, int32_t value,
                      clvi_usage *out, clvi_usage_expert *experts)
{
    clvi_usage r = {0};
    memset(experts, 0, (size_t)in->experts * sizeof *experts);
    for (size_t n = 0; n < in->samples; n++)
        if (!group || group[n] == value)
            add_sample(gate_of(in, n), in->experts, &r, experts);
    const double routed = r.samples > r.unrouted ? (double)(r.samples - r.unrouted) : 1;
    const double assignments = r.assignments > 0 ? (double)r.assignments : 1;
    for (int i = 0; i < in->experts; i++) {
        experts[i].share = (double)experts[i].assigned / assignments;
        experts[i].weight_share /= routed;
        r.entropy_of_mean += entropy_term(experts[i].weight_share);
        r.dead = r.dead || (r.assignments > 0 && clvi_usage_dead(&experts[i], in->experts));
    }
    const double most = log(in->experts);
    r.entropy_of_mean = in->experts > 1 ? r.entropy_of_mean / most : 1;
    r.mean_entropy = in->experts > 1 ? r.mean_entropy / routed / most : 1;
    *out = r;
}

/* ---- Information ---- */

/* A permutation of the samples from fixed random numbers. */
static clv_status shuffle(size_t count, uint32_t number, uint32_t **out, clv_error *error)
{
    uint32_t *order = clvi_malloc(count * sizeof *order);
    if (!order)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to shuffle %zu samples", count);
    clvi_philox_shuffle(clvi_philox_stream(0, "usage"), number, (uint32_t)count, order);
    *out = order;
    return CLV_OK;
}

/* Entropy in nats of counts that sum to `total`, plus Miller and Madow's (occupied - 1) / 2 total.
 */
static double entropy_of(const int64_t *counts, size_t cells, double total)
{
    double sum = 0;
    int64_t occupied = 0;
    for (size_t i = 0; i < cells; i++) {
        sum += entropy_term((double)counts[i] / total);
        occupied += counts[i] > 0;
    }
    return sum + (double)(occupied - 1) / (2 * total);
}

/* Bits between the choices and labels[order[n]]; order NULL: labels[n]. joint: [experts + 1,
 * classes + 1], the last row and column for the sums. */
static double information(const clvi_usage_input *in, const uint32_t *order, int64_t *joint)
{
    const size_t experts = (size_t)in->experts, classes = (size_t)in->classes;
    int64_t *by_expert = joint + experts * classes, *by_class = by_expert + experts;
    int64_t total = 0;
    memset(joint, 0, (experts * classes + experts + classes) * sizeof *joint);
    for (size_t n = 0; n < in->samples; n++) {
        const int choice = first_choice(gate_of(in, n), in->experts);
        const int32_t label = in->labels[order ? order[n] : n];
        if (choice < 0)
            continue;
        joint[(size_t)choice * classes + (size_t)label]++;
        by_expert[choice]++;
        by_class[label]++;
        total++;
    }
    if (total == 0)
        return NAN;
    const double n = (double)total;
    return (entropy_of(by_expert, experts, n) + entropy_of(by_class, classes, n) -
            entropy_of(joint, experts * classes, n)) /
           log(2);
}

clv_status clvi_usage_information(const clvi_usage_input *in, double *bits, double *shuffled,
                                  clv_error *error)
{
    enum { SHUFFLES = 20 };
    const size_t experts = (size_t)in->experts, classes = (size_t)in->classes;
    int64_t *joint = clvi_malloc((experts * classes + experts + classes) * sizeof *joint);
    if (!joint)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to count %d experts and %d classes", in->experts,
                 in->classes);
    const double own = information(in, NULL, joint);
    double sum = 0;
    clv_status status = CLV_OK;
    for (uint32_t r = 0; r < SHUFFLES && status == CLV_OK; r++) {
        uint32_t *order;
        status = shuffle(in->samples, r, &order, error);
        if (status != CLV_OK)
            break;
        sum += information(in, order, joint);
        clvi_free(order);
    }
    clvi_free(joint);
    CLV_TRY(status);
    *bits = own;
    *shuffled = sum / SHUFFLES;
    return CLV_OK;
}

/* ---- Accuracy ---- */

/* What is needed for one sample after the other. */
typedef struct worth {
    const clvi_usage_input *in;
    const float *logits;
    clvi_usage_fuse fuse;
    void *user;
    double *gate;   /* [experts] */
    double *scores; /* [classes] */
} worth;

static int best_score(const double *scores, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (scores[c] > scores[best])
            best = c;
    return best;
}

/* Whether the mixture is right about a sample with w->gate. */
static bool right_with(const worth *w, size_t sample)
{
    const size_t row = (size_t)w->in->experts * (size_t)w->in->classes;
    w->fuse(w->user, w->gate, w->logits + sample * row, w->scores);
    return best_score(w->scores, w->in->classes) == w->in->labels[sample];
}

static int answer(const clvi_usage_input *in, const float *logits, size_t sample, int expert)
{
    const size_t at = sample * (size_t)in->experts + (size_t)expert;
    const float *row = logits + at * (size_t)in->classes;
    int best = 0;
    for (int c = 1; c < in->classes; c++)
        if (row[c] > row[best])
            best = c;
    return best;
}

/* w->gate without one expert, with the same sum. */
static void leave_out(const worth *w, size_t sample, int expert)
{
    const int experts = w->in->experts;
    const float *gate = gate_of(w->in, sample);
    const double all = sum_of(gate, experts), rest = all - gate[expert];
    for (int i = 0; i < experts; i++) {
        const double alike = all / (experts > 1 ? experts - 1 : 1);
        w->gate[i] = i == expert ? 0 : rest > 0 ? gate[i] * all / rest : alike;
    }
}

static void judge(const worth *w, size_t sample, const uint32_t *order, clvi_usage_worth *sum,
                  double *alone, double *without)
{
    const int experts = w->in->experts;
    const float *own = gate_of(w->in, sample), *other = gate_of(w->in, order[sample]);
    bool any = false;
    for (int i = 0; i < experts; i++)
        w->gate[i] = own[i];
    sum->fused += right_with(w, sample);
    for (int i = 0; i < experts; i++)
        w->gate[i] = other[i];
    sum->shuffled += right_with(w, sample);
    for (int i = 0; i < experts; i++)
        w->gate[i] = 1.0 / experts;
    sum->uniform += right_with(w, sample);
    for (int i = 0; i < experts; i++) {
        const bool right = answer(w->in, w->logits, sample, i) == w->in->labels[sample];
        alone[i] += right;
        any = any || right;
        leave_out(w, sample, i);
        without[i] += experts > 1 && right_with(w, sample);
    }
    sum->oracle += any;
}

clv_status clvi_usage_accuracy(const clvi_usage_input *in, const float *logits,
                               clvi_usage_fuse fuse, void *user, clvi_usage_worth *out,
                               double *alone, double *without, clv_error *error)
{
    const size_t experts = (size_t)in->experts;
    const double count = in->samples > 0 ? (double)in->samples : NAN;
    worth w = {.in = in, .logits = logits, .fuse = fuse, .user = user};
    clvi_usage_worth sum = {0};
    uint32_t *order;
    CLV_TRY(shuffle(in->samples, 1000, &order, error));
    w.gate = clvi_malloc(experts * sizeof *w.gate);
    w.scores = clvi_malloc((size_t)in->classes * sizeof *w.scores);
    if (!w.gate || !w.scores) {
        clvi_free(w.gate);
        clvi_free(w.scores);
        clvi_free(order);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to try other gates");
    }
    memset(alone, 0, experts * sizeof *alone);
    memset(without, 0, experts * sizeof *without);
    for (size_t n = 0; n < in->samples; n++)
        judge(&w, n, order, &sum, alone, without);
    clvi_free(w.gate);
    clvi_free(w.scores);
    clvi_free(order);
    *out = (clvi_usage_worth){.fused = sum.fused / count,
                              .uniform = sum.uniform / count,
                              .shuffled = sum.shuffled / count,
                              .oracle = sum.oracle / count};
    for (size_t i = 0; i < experts; i++)
        alone[i] /= count, without[i] /= in->experts > 1 ? count : NAN;
    return CLV_OK;
}

/* ---- Pairs ---- */

void clvi_usage_compare(const clvi_usage_input *in, const float *logits, int first, int second,
                        clvi_usage_pair *out)
{
    double both = 0, none = 0, only_first = 0, only_second = 0, different = 0;
    for (size_t n = 0; n < in->samples; n++) {
        const int a = answer(in, logits, n, first), b = answer(in, logits, n, second);
        const bool x = a == in->labels[n], y = b == in->labels[n];
        both += x && y;
        none += !x && !y;
        only_first += x && !y;
        only_second += y && !x;
        different += a != b;
    }
    const double sum = both * none + only_first * only_second;
    *out =
        (clvi_usage_pair){.disagreement = in->samples > 0 ? different / (double)in->samples : NAN,
                          .yule_q = sum > 0 ? (both * none - only_first * only_second) / sum : NAN};
}
