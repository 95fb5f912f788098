/* See temperature.h. */
#include "train/temperature.h"

#include "train/scores.h"

#include <math.h>
#include <stdbool.h>

/* First and second derivative of the summed negative log-likelihood by b = 1/temperature: with
 * p = softmax(b·o), sum of E_p[o] - o_y and of Var_p[o]; the further sample, of every class in
 * equal parts, is spread over all rows. */
static void slope(const float *logits, const int32_t *labels, size_t n, int classes, double b,
                  double *first, double *second)
{
    double plain_sum = 0, mean_sum = 0, variance_sum = 0, label_sum = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        const float *o = logits + i * (size_t)classes;
        const int best = clvi_best_class(o, classes);
        if (best < 0)
            continue;
        double sum = 0, mean = 0, square = 0, plain = 0; /* of o - max o */
        for (int c = 0; c < classes; c++) {
            const double d = (double)o[c] - o[best], e = exp(b * d);
            sum += e;
            mean += e * d;
            square += e * d * d;
            plain += d / classes;
        }
        mean /= sum;
        rows++;
        mean_sum += mean;
        plain_sum += plain;
        variance_sum += square / sum - mean * mean;
        label_sum += (double)o[labels[i]] - o[best];
    }
    const double share = rows > 0 ? 1 / rows : 0;
    *first = mean_sum - label_sum + share * (mean_sum - plain_sum);
    *second = (1 + share) * variance_sum;
}

double clvi_temperature_fit(const float *logits, const int32_t *labels, size_t n, int classes)
{
    double low = 1 / CLVI_TEMPERATURE_LIMIT, high = CLVI_TEMPERATURE_LIMIT, b = 1;
    double first, second;
    slope(logits, labels, n, classes, b, &first, &second);
    if (first == 0 && second == 0)
        return 1;
    /* Newton's steps between bounds that close in: the slope rises with b. */
    for (int i = 0; i < 100 && high - low > 1e-12 * high; i++) {
        if (first > 0)
            high = b;
        else
            low = b;
        const double wanted = second > 0 ? b - first / second : low;
        const bool inside = wanted > low && wanted < high;
        const double next = inside ? wanted : sqrt(low * high);
        const bool still = fabs(next - b) <= 1e-12 * b;
        b = next;
        if (still)
            break;
        slope(logits, labels, n, classes, b, &first, &second);
    }
    return 1 / b;
}
