/* What a step computed, to be compared with what the shipped record computes. */
#ifndef CONCLAVE_TUNE_RESULT_H
#define CONCLAVE_TUNE_RESULT_H

#include "bench.h"

/* The gradient of one parameter: some of its numbers. */
typedef struct tune_part {
    size_t first, count; /* in values */
    double largest;      /* of all its numbers; NaN where one is */
} tune_part;
typedef struct tune_result {
    double loss;
    float *values;
    tune_part *parts;
    size_t value_count, part_count;
} tune_result;

/* Runs a step and keeps what it computes; tune_result_fini frees it. Errors: as of steps. */
clv_status tune_result_of(bench_steps *steps, tune_result *out, clv_error *error) CLV_MUST_CHECK;
void tune_result_fini(tune_result *result);
/* Whether nothing but rounding lies between them. */
bool tune_results_agree(const tune_result *want, const tune_result *got);

#endif
