/* See statistics.h. */
#include "report/statistics.h"

#include "base/philox.h"
#include "base/reals.h"

#include <math.h>
#include <stdlib.h>

/* ---- Pairs ---- */

static int compare_names(const void *a, const void *b)
{
    const clvi_prediction *const *x = a, *const *y = b;
    return strcmp((*x)->image, (*y)->image);
}

/* The predictions in the order of their images' names; the caller frees. NULL: no memory. */
static const clvi_prediction **sort(const clvi_predictions *p)
{
    const clvi_prediction **list = clvi_malloc(p->count * sizeof *list);
    for (size_t i = 0; list && i < p->count; i++)
        list[i] = &p->items[i];
    if (list)
        qsort(list, p->count, sizeof *list, compare_names);
    return list;
}

static clv_status pair(const clvi_prediction **a, const clvi_prediction **b, clvi_pairing *out,
                       clv_error *error)
{
    for (size_t i = 0; i < out->images; i++) {
        if (strcmp(a[i]->image, b[i]->image) != 0)
            CLV_FAIL(error, CLV_E_DATA, "they saw other images, such as %s and %s", a[i]->image,
                     b[i]->image);
        if (a[i]->label != b[i]->label)
            CLV_FAIL(error, CLV_E_DATA, "%s is of class %d for one and of class %d for the other",
                     a[i]->image, a[i]->label, b[i]->label);
        const bool first = a[i]->predicted == a[i]->label, second = b[i]->predicted == b[i]->label;
        out->names[i] = a[i]->image;
        out->differences[i] = (int8_t)(first - second);
        out->only_first += first && !second;
        out->only_second += second && !first;
    }
    return CLV_OK;
}

clv_status clvi_pairing_make(const clvi_predictions *first, const clvi_predictions *second,
                             clvi_pairing *out, clv_error *error)
{
    if (first->count != second->count)
        CLV_FAIL(error, CLV_E_DATA, "one was tested on %zu images, the other on %zu", first->count,
                 second->count);
    clvi_pairing p = {.images = first->count};
    const clvi_prediction **a = sort(first), **b = sort(second);
    p.differences = clvi_malloc(p.images);
    p.names = clvi_malloc(p.images * sizeof *p.names);
    clv_status status;
    if (!a || !b || !p.differences || !p.names)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to pair %zu images", p.images);
    else
        status = pair(a, b, &p, error);
    clvi_free(a);
    clvi_free(b);
    if (status != CLV_OK) {
        clvi_pairing_fini(&p);
        return status;
    }
    *out = p;
    return CLV_OK;
}

bool clvi_pairing_same_images(const clvi_pairing *a, const clvi_pairing *b)
{
    bool same = a->images == b->images;
    for (size_t i = 0; same && i < a->images; i++)
        same = strcmp(a->names[i], b->names[i]) == 0;
    return same;
}

void clvi_pairing_fini(clvi_pairing *pairing)
{
    clvi_free(pairing->names);
    clvi_free(pairing->differences);
    *pairing = (clvi_pairing){0};
}

/* ---- Tests ---- */

double clvi_mcnemar(int64_t only_first, int64_t only_second)
{
    const int64_t n = only_first + only_second;
    const int64_t least = only_first < only_second ? only_first : only_second;
    double sum = 0;
    for (int64_t k = 0; k <= least; k++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) -
                   (double)n * log(2));
    return 2 * sum < 1 ? 2 * sum : 1;
}

void clvi_holm(double *p, size_t count)
{
    size_t tests = 0;
    for (size_t i = 0; i < count; i++)
        tests += isnan(p[i]) ? 0 : 1;
    /* The smallest is multiplied by the number of tests, the next by one less, and so on, and none
     * becomes smaller than the one before it. What is done is marked by adding 2. */
    double least = 0;
    for (size_t done = 0; done < tests; done++) {
        size_t next = count;
        for (size_t i = 0; i < count; i++)
            if (p[i] < 2 && (next == count || p[i] < p[next]))
                next = i;
        const double corrected = p[next] * (double)(tests - done);
        least = corrected > least ? corrected : least;
        p[next] = (least < 1 ? least : 1) + 2;
    }
    for (size_t i = 0; i < count; i++)
        if (!isnan(p[i]))
            p[i] -= 2;
}

/* ---- Bootstrap ---- */

enum { RESAMPLES = 5000 };

/* A word to an index below `count`, by the upper half of the product. */
static size_t below(uint32_t word, size_t count)
{
    return (size_t)(((uint64_t)word * (uint64_t)count) >> 32);
}

/* The mean of one resample. sums: [images], room for the sums over the seeds that were drawn. */
static double resample(const int8_t *const *differences, size_t seeds, size_t images,
                       uint32_t number, int32_t *sums)
{
    const clvi_philox_key key = clvi_philox_stream(0, "bootstrap");
    uint32_t words[4] = {0};
    for (size_t s = 0; s < seeds; s++) {
        if (s % 4 == 0)
            clvi_philox(key, number, (uint32_t)(s / 4), 0, 0, words);
        const int8_t *drawn = differences[below(words[s % 4], seeds)];
        for (size_t i = 0; i < images; i++)
            sums[i] = (s == 0 ? 0 : sums[i]) + drawn[i];
    }
    int64_t sum = 0;
    for (size_t i = 0; i < images; i++) {
        if (i % 4 == 0)
            clvi_philox(key, number, (uint32_t)(i / 4), 1, 0, words);
        sum += sums[below(words[i % 4], images)];
    }
    return (double)sum / ((double)seeds * (double)images);
}

clv_status clvi_bootstrap(const int8_t *const *differences, size_t seeds, size_t images,
                          clvi_difference *out, clv_error *error)
{
    CLV_ASSERT(seeds > 0 && images > 0);
    double *means = clvi_malloc(RESAMPLES * sizeof *means);
    int32_t *sums = clvi_malloc(images * sizeof *sums);
    if (!means || !sums) {
        clvi_free(means);
        clvi_free(sums);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare %zu images", images);
    }
    int64_t sum = 0, not_above = 0, not_below = 0;
    for (size_t s = 0; s < seeds; s++)
        for (size_t i = 0; i < images; i++)
            sum += differences[s][i];
    for (uint32_t r = 0; r < RESAMPLES; r++) {
        means[r] = resample(differences, seeds, images, r, sums);
        not_above += means[r] <= 0;
        not_below += means[r] >= 0;
    }
    clvi_sort_reals(means, RESAMPLES);
    /* The data themselves count as one resample, so that p is never 0. */
    const int64_t side = not_above < not_below ? not_above : not_below;
    const double p = 2 * (double)(side + 1) / (RESAMPLES + 1);
    *out = (clvi_difference){.mean = (double)sum / ((double)seeds * (double)images),
                             .low = clvi_quantile(means, RESAMPLES, 0.025),
                             .high = clvi_quantile(means, RESAMPLES, 0.975),
                             .p = p < 1 ? p : 1};
    clvi_free(means);
    clvi_free(sums);
    return CLV_OK;
}

void clvi_mean_deviation(const double *values, size_t count, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            sum += values[i], n++;
    *mean = n > 0 ? sum / (double)n : NAN;
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}
