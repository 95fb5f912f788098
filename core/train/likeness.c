/* See likeness.h. */
#include "train/likeness.h"

#include "base/reals.h"

#include <math.h>

clv_status clvi_likeness_add(clvi_likeness_sample *to, double value, clv_error *error)
{
    void *values = to->values;
    if (!isfinite(value))
        return CLV_OK;
    CLV_TRY(clvi_grow(&values, &to->capacity, to->count + 1, sizeof *to->values, error));
    to->values = values;
    to->values[to->count++] = value;
    return CLV_OK;
}

void clvi_likeness_fini(clvi_likeness_sample *sample)
{
    clvi_free(sample->values);
    *sample = (clvi_likeness_sample){0};
}

/* Largest share of `a` at or below a number less that of `b` at or below it and the grain; both
 * ascend. */
static double lead(const clvi_likeness_sample *a, const clvi_likeness_sample *b)
{
    double most = 0;
    for (size_t i = 0, j = 0; i < a->count; i++) {
        while (j < b->count && b->values[j] <= a->values[i] + CLVI_LIKENESS_GRAIN)
            j++;
        most = fmax(most, (double)(i + 1) / (double)a->count - (double)j / (double)b->count);
    }
    return most;
}

static double mean_of(const clvi_likeness_sample *sample)
{
    double sum = 0;
    for (size_t i = 0; i < sample->count; i++)
        sum += sample->values[i];
    return sum / (double)sample->count;
}

bool clvi_likeness_compare(clvi_likeness_sample *known, clvi_likeness_sample *given,
                           clvi_likeness *out)
{
    if (known->count == 0 || given->count == 0)
        return false;
    clvi_sort_reals(known->values, known->count);
    clvi_sort_reals(given->values, given->count);
    const double n = (double)known->count, m = (double)given->count;
    clvi_likeness r = {.images = given->count,
                       .known_images = known->count,
                       .mean = mean_of(given),
                       .known_mean = mean_of(known),
                       .difference = fmax(lead(known, given), lead(given, known))};
    /* P(difference > d) <= 2 exp(-2 d² nm/(n + m)) for large samples; ties and the grain only make
     * it smaller. */
    r.threshold = fmax(CLVI_LIKENESS_LEAST,
                       sqrt(-log(CLVI_LIKENESS_FALSE_ALARM / 2) / 2 * (n + m) / (n * m)));
    r.unlike = r.difference > r.threshold;
    *out = r;
    return true;
}
