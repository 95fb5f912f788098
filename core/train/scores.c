#include "train/scores.h"

#include <math.h>

enum { BINS = 15 };

/* How sure the answers are, beside how often they are right. */
typedef struct calibration {
    double nll;
    int64_t bin_correct[BINS];
    double bin_confidence[BINS];
} calibration;

struct clvi_scores {
    int classes;
    double temperature;
    int64_t count, not_finite, correct, in_five;
    double brier;
    calibration plain, calibrated;
    int64_t *confusion; /* [label, predicted] */
    double *row;        /* probabilities of one sample */
};

clv_status clvi_scores_create(int classes, clvi_scores **out, clv_error *error)
{
    clvi_scores *s = clvi_calloc(1, sizeof *s);
    if (s) {
        s->classes = classes;
        s->temperature = 1;
        s->confusion = clvi_calloc((size_t)classes * (size_t)classes, sizeof *s->confusion);
        s->row = clvi_calloc((size_t)classes, sizeof *s->row);
    }
    if (!s || !s->confusion || !s->row) {
        clvi_scores_destroy(s);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the scores of %d classes", classes);
    }
    *out = s;
    return CLV_OK;
}

void clvi_scores_destroy(clvi_scores *s)
{
    if (!s)
        return;
    clvi_free(s->confusion);
    clvi_free(s->row);
    clvi_free(s);
}

void clvi_scores_calibrate(clvi_scores *s, double temperature)
{
    CLV_ASSERT(temperature > 0);
    s->temperature = temperature;
}

void clvi_softmax_row(const float *logits, int classes, double temperature, double *out)
{
    double top = logits[0], sum = 0;
    for (int c = 1; c < classes; c++)
        top = logits[c] > top ? logits[c] : top;
    for (int c = 0; c < classes; c++)
        sum += out[c] = exp((logits[c] - top) / temperature);
    for (int c = 0; c < classes; c++)
        out[c] /= sum;
}

int clvi_best_class(const float *logits, int classes)
{
    int best = 0;
    for (int c = 0; c < classes; c++) {
        if (!isfinite(logits[c]))
            return -1;
        if (logits[c] > logits[best])
            best = c;
    }
    return best;
}

void clvi_top_classes(const double *probabilities, size_t classes, size_t count, size_t *out)
{
    size_t filled = 0;
    for (size_t c = 0; c < classes && count > 0; c++) {
        if (filled == count && !(probabilities[c] > probabilities[out[count - 1]]))
            continue;
        size_t at = filled < count ? filled++ : count - 1;
        for (; at > 0 && probabilities[out[at - 1]] < probabilities[c]; at--)
            out[at] = out[at - 1];
        out[at] = c;
    }
}

/* Sum of exp((o - o_best)/temperature) over all logits o, of which the largest is `best`. */
static double exp_sum(const float *logits, int classes, double temperature, int best)
{
    double sum = 0;
    for (int c = 0; c < classes; c++)
        sum += exp(((double)logits[c] - logits[best]) / temperature);
    return sum;
}

double clvi_log_probability(const float *logits, int classes, int label)
{
    const int best = clvi_best_class(logits, classes);
    if (best < 0)
        return NAN;
    return (double)logits[label] - logits[best] - log(exp_sum(logits, classes, 1, best));
}

double clvi_confidence(const float *logits, int classes, double temperature)
{
    const int best = clvi_best_class(logits, classes);
    return best < 0 ? NAN : 1 / exp_sum(logits, classes, temperature, best);
}

/* Adds a sample of `classes` logits whose class with the largest is `best`. */
static void add_calibration(calibration *to, const float *logits, int classes, double temperature,
                            int best, int label)
{
    const double sum = exp_sum(logits, classes, temperature, best);
    to->nll += log(sum) + ((double)logits[best] - logits[label]) / temperature;
    const double confidence = 1 / sum;
    int bin = (int)ceil(confidence * BINS) - 1; /* bins (k/15, (k+1)/15] */
    bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
    to->bin_correct[bin] += best == label;
    to->bin_confidence[bin] += confidence;
}

static void add_one(clvi_scores *s, const float *logits, int label)
{
    const int best = clvi_best_class(logits, s->classes);
    int above = 0;
    for (int c = 0; c < s->classes; c++)
        above += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    clvi_softmax_row(logits, s->classes, 1, s->row);
    for (int c = 0; c < s->classes; c++)
        s->brier += (s->row[c] - (c == label)) * (s->row[c] - (c == label));
    s->correct += best == label;
    s->in_five += above < 5;
    add_calibration(&s->plain, logits, s->classes, 1, best, label);
    add_calibration(&s->calibrated, logits, s->classes, s->temperature, best, label);
    s->confusion[label * s->classes + best]++;
}

void clvi_scores_add(clvi_scores *s, const float *logits, const int32_t *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = logits + i * (size_t)s->classes;
        s->count++;
        if (clvi_best_class(row, s->classes) >= 0)
            add_one(s, row, labels[i]);
        else
            s->not_finite++;
    }
}

void clvi_wilson(int64_t correct, int64_t count, double *low, double *high)
{
    const double z = 1.959963984540054, n = (double)count, p = (double)correct / n;
    const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *low = centre - half < 0 ? 0 : centre - half;
    *high = centre + half > 1 ? 1 : centre + half;
}

void clvi_scores_class(const clvi_scores *s, int label, clvi_class_score *out)
{
    clvi_class_score c = {0};
    for (int k = 0; k < s->classes; k++) {
        c.count += s->confusion[label * s->classes + k];
        c.predicted += s->confusion[k * s->classes + label];
    }
    c.correct = s->confusion[label * s->classes + label];
    c.precision = c.predicted ? (double)c.correct / (double)c.predicted : 0;
    c.recall = c.count ? (double)c.correct / (double)c.count : 0;
    c.f1 = c.count + c.predicted ? 2.0 * (double)c.correct / (double)(c.count + c.predicted) : 0;
    *out = c;
}

int64_t clvi_scores_confusion(const clvi_scores *s, int label, int predicted)
{
    return s->confusion[label * s->classes + predicted];
}

/* NAN without any sample. */
static double calibration_error(const calibration *of, double count)
{
    double sum = 0;
    for (int b = 0; b < BINS; b++)
        sum += fabs((double)of->bin_correct[b] - of->bin_confidence[b]);
    return count > 0 ? sum / count : NAN;
}

void clvi_scores_summary(const clvi_scores *s, clvi_score_summary *out)
{
    clvi_score_summary r = {.count = s->count, .not_finite = s->not_finite};
    const double n = s->count ? (double)s->count : 1, finite = n - (double)s->not_finite;
    r.top1 = (double)s->correct / n;
    if (s->count)
        clvi_wilson(s->correct, s->count, &r.top1_low, &r.top1_high);
    r.top5 = s->classes > 5 ? (double)s->in_five / n : NAN;
    r.nll = s->not_finite ? NAN : s->plain.nll / n;
    r.nll_calibrated = s->not_finite ? NAN : s->calibrated.nll / n;
    r.brier = finite > 0 ? s->brier / finite : NAN;
    r.ece = calibration_error(&s->plain, finite);
    r.ece_calibrated = calibration_error(&s->calibrated, finite);
    int seen = 0;
    for (int c = 0; c < s->classes; c++) {
        clvi_class_score one;
        clvi_scores_class(s, c, &one);
        if (one.count == 0 && one.predicted == 0)
            continue;
        seen++;
        r.precision += one.precision, r.recall += one.recall, r.f1 += one.f1;
    }
    if (seen)
        r.precision /= seen, r.recall /= seen, r.f1 /= seen;
    *out = r;
}
