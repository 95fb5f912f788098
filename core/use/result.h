/* The answers to the images of one call: what clv_result is inside. */
#ifndef CLVI_RESULT_H
#define CLVI_RESULT_H

#include "base/error.h"

#include <conclave/conclave.h>

struct clv_result {
    size_t count, classes, experts;
    double *probabilities; /* [count, classes] */
    float *gate;           /* [count, experts]; NULL: there is no gate */
    clv_error *faults;     /* [count], of status 0 where there is an answer; NULL: all have one */
};

/* For `count` images, without answers yet. The caller destroys with clv_result_destroy. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_result_create(size_t count, size_t classes, size_t gated_experts, clv_result **out,
                              clv_error *error) CLV_MUST_CHECK;
/* The answer to an image: its logits, [classes], as probabilities by a temperature > 0, and the
 * gate's weights, [experts], NULL where there is no gate. Logits that are not finite are a fault of
 * the image, which `name` is. Errors: CLV_E_MEMORY. */
clv_status clvi_result_set(clv_result *result, size_t image, const float *logits, const float *gate,
                           double temperature, const char *name, clv_error *error) CLV_MUST_CHECK;
/* Why there is none. Errors: CLV_E_MEMORY. */
clv_status clvi_result_fail(clv_result *result, size_t image, const clv_error *fault,
                            clv_error *error) CLV_MUST_CHECK;

#endif
