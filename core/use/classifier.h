/* Images to answers by a model that is on a device: reading, batches, calibrated probabilities. The
 * public API (model.c), `conclave predict` and `conclave bench --bundle` are made of it. */
#ifndef CLVI_CLASSIFIER_H
#define CLVI_CLASSIFIER_H

#include "train/model.h"
#include "use/result.h"

typedef struct clvi_classifier clvi_classifier;

/* Of a loaded model, in batches of at most what it was loaded for, `max_batch`. The model must
 * outlive it, and be used through it only. The caller destroys. Errors: CLV_E_MEMORY. */
clv_status clvi_classifier_create(clvi_model *model, int64_t max_batch, clvi_classifier **out,
                                  clv_error *error) CLV_MUST_CHECK;
void clvi_classifier_destroy(clvi_classifier *classifier); /* NULL allowed */

/* clv_model_classify. Thread: any number at the same time. */
clv_status clvi_classifier_run(clvi_classifier *classifier, const clv_image *images, size_t count,
                               clv_result **out, clv_error *error) CLV_MUST_CHECK;
/* clvi_model_compile, between two batches of others. */
clv_status clvi_classifier_warm(clvi_classifier *classifier, clv_error *error) CLV_MUST_CHECK;
/* Counters of the device, between two batches of others. */
void clvi_classifier_counters(clvi_classifier *classifier, clvi_device_counters *out);

#endif
