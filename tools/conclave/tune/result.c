#include "tune/result.h"

#include <math.h>

/* Numbers that are kept of a gradient. */
enum { SAMPLES = 512 };
/* Difference allowed, relative to the largest number of a parameter's gradient, or to a thousandth
 * of the largest of all where that is more (a bias before batch normalisation has gradients of
 * nothing but rounding). Rounding makes 1e-4; an input of relu that is near 0 more, in some. */
static const double tolerance = 0.01, least_share = 1e-3;

void tune_result_fini(tune_result *result)
{
    clvi_free(result->values);
    clvi_free(result->parts);
    *result = (tune_result){0};
}

static clv_status sample(const clvi_store *store, size_t index, tune_result *out, clv_error *error)
{
    const size_t n = (size_t)clvi_store_segment(store, index)->elements;
    tune_part part = {.first = out->value_count, .count = n < SAMPLES ? n : SAMPLES};
    float *all = clvi_malloc((n + 1) * sizeof *all);
    if (all == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %zu gradients", n);
    const clv_status status = clvi_store_read(store, index, CLVI_STORE_GRADIENT, all, error);
    for (size_t i = 0; status == CLV_OK && i < n; i++)
        if (!(fabs((double)all[i]) <= part.largest) && !isnan(part.largest))
            part.largest = fabs((double)all[i]);
    for (size_t i = 0; status == CLV_OK && i < part.count; i++)
        out->values[out->value_count++] = all[i * n / part.count];
    out->parts[out->part_count++] = part;
    clvi_free(all);
    return status;
}

static clv_status run(bench_steps *steps, tune_result *out, clv_error *error)
{
    const clvi_store *store = clvi_mixture_store(steps->mixture);
    const size_t segments = clvi_store_count(store);
    clvi_mixture_metrics metrics;
    out->values = clvi_malloc((segments * SAMPLES + 1) * sizeof *out->values);
    out->parts = clvi_malloc((segments + 1) * sizeof *out->parts);
    if (out->values == NULL || out->parts == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: samples of %zu gradients", segments);
    CLV_TRY(clvi_mixture_read_metrics(steps->mixture, &metrics, error)); /* from 0 on */
    CLV_TRY(bench_steps_run(steps, error));
    CLV_TRY(clvi_mixture_read_metrics(steps->mixture, &metrics, error));
    out->loss = metrics.loss;
    for (size_t i = 0; i < segments; i++)
        if (clvi_store_view(store, i, CLVI_STORE_GRADIENT).buf != NULL)
            CLV_TRY(sample(store, i, out, error));
    return CLV_OK;
}

clv_status tune_result_of(bench_steps *steps, tune_result *out, clv_error *error)
{
    tune_result r = {0};
    const clv_status status = run(steps, &r, error);
    if (status == CLV_OK)
        *out = r;
    else
        tune_result_fini(&r);
    return status;
}

bool tune_results_agree(const tune_result *want, const tune_result *got)
{
    double all = 0;
    if (want->part_count != got->part_count || want->value_count != got->value_count ||
        !(fabs(want->loss - got->loss) <= tolerance * fabs(want->loss)))
        return false;
    for (size_t p = 0; p < want->part_count; p++)
        all = fmax(all, want->parts[p].largest);
    for (size_t p = 0; p < want->part_count; p++) {
        const tune_part *part = &want->parts[p];
        const double scale = fmax(part->largest, least_share * all);
        double sum = 0;
        for (size_t i = part->first; i < part->first + part->count; i++) {
            const double off = (double)want->values[i] - (double)got->values[i];
            sum += off * off;
        }
        if (!(sqrt(sum / (double)(part->count > 0 ? part->count : 1)) <= tolerance * scale) ||
            !(fabs(part->largest - got->parts[p].largest) <= 0.1 * scale)) /* NaN is not */
            return false;
    }
    return true;
}
