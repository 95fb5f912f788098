#include "compare.h"

#include <math.h>
#include <stdio.h>

bool compare(const float *a, const double *b, int64_t count, double atol, double rtol,
             compare_result *result)
{
    compare_result r = {.count = count, .worst = -1};
    double excess = -INFINITY;
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)a[i] - b[i]);
        const double bound = atol + rtol * fabs(b[i]);
        /* An infinite bound would excuse everything. */
        const bool good = error <= bound && bound < INFINITY;
        const double over = good ? error - bound : isfinite(error) ? error : INFINITY;
        if (!good)
            r.bad++;
        if (r.worst < 0 || over > excess) {
            excess = over;
            r.worst = i;
            r.worst_abs = error;
            r.worst_rel = error / fabs(b[i]);
            r.a = (double)a[i];
            r.b = b[i];
        }
    }
    if (result != NULL)
        *result = r;
    return r.bad == 0;
}

const char *compare_text(const compare_result *r, char *out)
{
    snprintf(out, 256, "%lld of %lld differ, worst at %lld: %.9g for %.9g (abs %.2g, rel %.2g)",
             (long long)r->bad, (long long)r->count, (long long)r->worst, r->a, r->b, r->worst_abs,
             r->worst_rel);
    return out;
}
