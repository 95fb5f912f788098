/* train.cache_features: what the frozen part of the expert makes of each image of training and
 * validation, computed once when training begins or goes on, and kept on the host. */
#ifndef CLVI_FEATURES_H
#define CLVI_FEATURES_H

#include "data/dataset.h"
#include "mixture/mixture.h"

#include <signal.h>

typedef struct clvi_features clvi_features;

/* Room for the features of all images, full of zeros; *out is NULL where the mixture keeps none.
 * batch: images of the largest clvi_batch. Errors: CLV_E_CONFIG where it would take more than a
 * quarter of the machine's memory. The caller destroys. */
clv_status clvi_features_create(const clvi_config *config, const clvi_mixture *mixture,
                                const clvi_dataset *data, int64_t batch, clvi_features **out,
                                clv_error *error) CLV_MUST_CHECK;
void clvi_features_destroy(clvi_features *features); /* NULL allowed */

/* Computes them with the mixture's variables, always in the same batches, so that they have the
 * same bits each time. Ends early, without an error, when *stop is not 0 (NULL: never). Errors:
 * those of images and device. */
clv_status clvi_features_compute(clvi_features *features, clvi_mixture *mixture, clvi_dataset *data,
                                 const volatile sig_atomic_t *stop,
                                 clv_error *error) CLV_MUST_CHECK;

/* The features of a batch of a split, in its order; valid until the next call. features NULL: NULL.
 */
const float *clvi_features_of(clvi_features *features, clvi_split split, const clvi_batch *batch);

#endif
