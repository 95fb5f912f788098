/* Data of a case and calls of its reference. */
#ifndef CLV_TEST_OP_DATA_H
#define CLV_TEST_OP_DATA_H

#include "op_test.h"

#include <stdbool.h>

/* What a case is fed with: f32 values, whatever the device's type (labels are whole numbers). */
typedef struct op_data {
    const op_case *test;
    int input_count;
    uint32_t attr_count;
    int64_t each[REF_MAX_INPUTS];  /* elements, of one sample for an OP_INPUT */
    float *values[REF_MAX_INPUTS]; /* test->n samples; NULL for OP_ABSENT */
    uint32_t *ids;                 /* [n] sample ids, as they come from a shuffled list */
    uint64_t random;               /* state of the generator */
} op_data;

void op_data_init(op_data *data, const op_suite *suite, const op_case *test);
void op_data_fini(op_data *data);
/* Elements of input i with a batch of n. */
int64_t op_data_elements(const op_data *data, int i, int64_t n);
/* Inputs that can have a gradient, bit i for input i. */
uint32_t op_data_differentiable(const op_data *data);
double op_data_uniform(op_data *data); /* 0 … 1 */
double op_data_normal(op_data *data);

/* A call with inputs and states filled in, outputs full of NaN, gradients of zeros. The shapes of
 * outputs are those of `outputs`, whose dims[0] is CLV_BATCH for a batched one. */
void op_call_init(ref_call *call, const op_data *data, const clv_shape *outputs, int output_count,
                  int64_t n, bool train);
void op_call_fini(ref_call *call);
/* Forward anew: outputs NaN and states as before the call, then the reference. */
void op_call_forward(ref_call *call, const op_suite *suite);

/* Checks grad_in of the inputs in `mask` (already filled) against 4-point central differences of
 * loss = Σ grad_out·out. tight: grad_in is the reference's own, else f32 results under the suite's
 * bounds. Fails the running test. */
void op_check_differences(ref_call *call, op_data *data, const op_suite *suite, uint32_t mask,
                          bool tight);

double op_rms(const double *values, int64_t count);

#endif
