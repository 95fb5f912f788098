/* The one comparator of the tests: results of a device against references in double precision. */
#ifndef CLV_TEST_COMPARE_H
#define CLV_TEST_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct compare_result {
    int64_t count, bad;
    int64_t worst;    /* index of the largest excess over its bound; a NaN is worse than any */
    double worst_abs; /* |a - b| there */
    double worst_rel; /* |a - b| / |b| there */
    double a, b;      /* the values there */
} compare_result;

/* True when fabs(a - b) <= atol + rtol·fabs(b) holds for each element; it does not hold where a or
 * b is NaN or infinite. `result` may be NULL. */
bool compare(const float *a, const double *b, int64_t count, double atol, double rtol,
             compare_result *result);

/* "3 of 100 differ, worst at 17: 1.5 for 1.25 (abs 2.5e-01, rel 2.0e-01)" into `out` (256 bytes).
 */
const char *compare_text(const compare_result *result, char *out);

#endif
