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

double clvi_usage_entropy(const float *gate, int experts)
{
    const double all = sum_of(gate, experts);
    double entropy = 0;
    for (int i = 0; i < experts; i++)
        entropy += entropy_term(gate[i] / all);
    return !(all > 0) ? NAN : experts > 1 ? entropy / log(experts) : 1;
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
    }
    const double most = log(in->experts);
    r.entropy_of_mean = in->experts > 1 ? r.entropy_of_mean / most : 1;
    r.mean_entropy = in->experts > 1 ? r.mean_entropy / routed / most : 1;
    *out = r;
}

void clvi_usage_histogram(const clvi_usage_input *in, int expert, int bins, int64_t *counts,
                          int64_t *none)
{
    memset(counts, 0, (size_t)bins * sizeof *counts);
    *none = 0;
    for (size_t n = 0; n < in->samples; n++) {
        const float *gate = gate_of(in, n);
        const double sum = sum_of(gate, in->experts);
        if (!(sum > 0))
            continue;
        const int bin = (int)(gate[expert] / sum * bins);
        if (gate[expert] > 0)
            counts[bin < bins ? bin : bins - 1]++;
        else
            (*none)++;
    }
}

/* ---- Information ---- */

clv_status clvi_usage_shuffle(size_t count, uint32_t number, uint32_t **out, clv_error *error)
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
        uint32_t *order = NULL;
        status = clvi_usage_shuffle(in->samples, r, &order, error);
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

/* ---- What each expert is worth ---- */

void clvi_usage_answers(const float *logits, size_t n, int experts, int classes, int32_t *out)
{
    for (size_t i = 0; i < n * (size_t)experts; i++) {
        const float *row = logits + i * (size_t)classes;
        int best = 0;
        for (int c = 1; c < classes; c++)
            if (row[c] > row[best])
                best = c;
        out[i] = best;
    }
}

void clvi_usage_alone(const clvi_usage_input *in, const int32_t *answers, double *alone,
                      double *oracle)
{
    const double count = in->samples > 0 ? (double)in->samples : NAN;
    double any = 0;
    memset(alone, 0, (size_t)in->experts * sizeof *alone);
    for (size_t n = 0; n < in->samples; n++) {
        bool some = false;
        for (int i = 0; i < in->experts; i++) {
            const bool right = answers[n * (size_t)in->experts + (size_t)i] == in->labels[n];
            alone[i] += right;
            some = some || right;
        }
        any += some;
    }
    for (int i = 0; i < in->experts; i++)
        alone[i] /= count;
    *oracle = any / count;
}

double clvi_usage_yule_q(double both, double none, double first, double second)
{
    const double sum = both * none + first * second;
    return sum > 0 ? (both * none - first * second) / sum : NAN;
}

void clvi_usage_compare(const clvi_usage_input *in, const int32_t *answers, int first, int second,
                        clvi_usage_pair *out)
{
    double both = 0, none = 0, only_first = 0, only_second = 0, different = 0;
    for (size_t n = 0; n < in->samples; n++) {
        const int32_t *row = answers + n * (size_t)in->experts;
        const bool x = row[first] == in->labels[n], y = row[second] == in->labels[n];
        both += x && y;
        none += !x && !y;
        only_first += x && !y;
        only_second += y && !x;
        different += row[first] != row[second];
    }
    *out =
        (clvi_usage_pair){.disagreement = in->samples > 0 ? different / (double)in->samples : NAN,
                          .yule_q = clvi_usage_yule_q(both, none, only_first, only_second)};
}

/* ---- Other gates ---- */

void clvi_usage_uniform(const clvi_usage_input *in, size_t n, float *out)
{
    for (size_t i = 0; i < n * (size_t)in->experts; i++)
        out[i] = 1 / (float)in->experts;
}

void clvi_usage_shuffled(const clvi_usage_input *in, const uint32_t *order, size_t from, size_t n,
                         float *out)
{
    const size_t row = (size_t)in->experts;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * row, gate_of(in, order[from + i]), row * sizeof *out);
}

void clvi_usage_without(const clvi_usage_input *in, int without, size_t from, size_t n, float *out)
{
    for (size_t s = 0; s < n; s++) {
        const float *gate = gate_of(in, from + s);
        float *to = out + s * (size_t)in->experts;
        const double all = sum_of(gate, in->experts), rest = all - gate[without];
        for (int i = 0; i < in->experts; i++)
            to[i] = i == without ? 0
                    : rest > 0   ? (float)(gate[i] * all / rest)
                                 : (float)(all / (in->experts - 1));
    }
}
