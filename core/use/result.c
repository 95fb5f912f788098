/* See result.h and conclave.h. */
#include "use/result.h"

#include "base/memory.h"
#include "train/scores.h"

clv_status clvi_result_create(size_t count, size_t classes, size_t gated_experts, clv_result **out,
                              clv_error *error)
{
    clv_result *r = clvi_calloc(1, sizeof *r);
    if (r != NULL) {
        *r = (clv_result){.count = count, .classes = classes, .experts = gated_experts};
        r->probabilities = clvi_calloc(count * classes, sizeof *r->probabilities);
        if (gated_experts > 0)
            r->gate = clvi_calloc(count * gated_experts, sizeof *r->gate);
    }
    if (r == NULL || r->probabilities == NULL || (gated_experts > 0 && r->gate == NULL)) {
        clv_result_destroy(r);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the answers to %zu images", count);
    }
    *out = r;
    return CLV_OK;
}

void clv_result_destroy(clv_result *result)
{
    if (result == NULL)
        return;
    clvi_free(result->probabilities);
    clvi_free(result->gate);
    clvi_free(result->faults);
    clvi_free(result);
}

clv_status clvi_result_fail(clv_result *r, size_t image, const clv_error *fault, clv_error *error)
{
    if (r->faults == NULL)
        r->faults = clvi_calloc(r->count, sizeof *r->faults);
    if (r->faults == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the faults of %zu images", r->count);
    r->faults[image] = *fault;
    return CLV_OK;
}

clv_status clvi_result_set(clv_result *r, size_t image, const float *logits, const float *gate,
                           double temperature, const char *name, clv_error *error)
{
    double *chances = r->probabilities + image * r->classes;
    clvi_softmax_row(logits, (int)r->classes, temperature, chances);
    for (size_t c = 0; c < r->classes; c++)
        if (!(chances[c] >= 0)) {
            clv_error fault = CLV_ERROR_INIT;
            clvi_fail(&fault, CLV_E_NUMERIC, CLV_HERE,
                      "%s: the network gives numbers that are not finite", name);
            return clvi_result_fail(r, image, &fault, error);
        }
    if (gate != NULL)
        memcpy(r->gate + image * r->experts, gate, r->experts * sizeof *gate);
    return CLV_OK;
}

/* ---- For the caller ---- */

size_t clv_result_count(const clv_result *result)
{
    return result->count;
}

static clv_status check(const clv_result *r, size_t image, clv_error *error)
{
    if (image >= r->count)
        CLV_FAIL(error, CLV_E_USAGE, "there is no answer %zu: the call had %zu images", image,
                 r->count);
    if (r->faults == NULL || r->faults[image].status == CLV_OK)
        return CLV_OK;
    const clv_error *fault = &r->faults[image];
    clvi_fail(error, (clv_status)fault->status, fault->file, fault->line, "%s", fault->message);
    return (clv_status)fault->status;
}

clv_status clv_result_probabilities(const clv_result *r, size_t image, const double **out,
                                    clv_error *error)
{
    CLV_TRY(check(r, image, error));
    *out = r->probabilities + image * r->classes;
    return CLV_OK;
}

clv_status clv_result_top(const clv_result *r, size_t image, size_t count, size_t *classes,
                          clv_error *error)
{
    CLV_TRY(check(r, image, error));
    if (count < 1 || count > r->classes)
        CLV_FAIL(error, CLV_E_USAGE, "the %zu most probable of %zu classes: give 1 to %zu", count,
                 r->classes, r->classes);
    clvi_top_classes(r->probabilities + image * r->classes, r->classes, count, classes);
    return CLV_OK;
}

const float *clv_result_gate(const clv_result *r, size_t image)
{
    if (r->gate == NULL || check(r, image, NULL) != CLV_OK)
        return NULL;
    return r->gate + image * r->experts;
}
