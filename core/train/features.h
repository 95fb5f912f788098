/* train.cache_features: what the frozen part of an expert makes of each image of training and
 * validation, or what experts that are frozen as a whole make of each image of all splits, computed
 * once when training begins or goes on, and kept on the host. */
#ifndef CLVI_FEATURES_H
#define CLVI_FEATURES_H

#include "data/dataset.h"
#include "mixture/mixture.h"

#include <signal.h>

typedef struct clvi_features clvi_features;

/* Room for the features of all images that steps read, full of zeros; *out is NULL where the
 * mixture keeps none. batch: images of the largest clvi_batch. Errors: CLV_E_CONFIG where it would
 * take more than a quarter of the machine's memory. The caller destroys. */
clv_status clvi_features_create(const clvi_config *config, const clvi_mixture *mixture,
                                const clvi_dataset *data, int64_t batch, clvi_features **out,
                                clv_error *error) CLV_MUST_CHECK;
void clvi_features_destroy(clvi_features *features); /* NULL allowed */

/* Computes them with the mixture's variables, always in the same batches, so that they have the
 * same bits each time. Of whole experts, what the files of train.feature_folder have is read, and
 * what they lack is written (not where images may be skipped, data.on_bad). Ends early, without an
 * error, when *stop is not 0 (NULL: never). Errors: those of images, device and files. */
clv_status clvi_features_compute(clvi_features *features, clvi_mixture *mixture, clvi_dataset *data,
                                 const volatile sig_atomic_t *stop,
                                 clv_error *error) CLV_MUST_CHECK;

/* Whether those of a split are kept; features NULL: none. */
bool clvi_features_have(const clvi_features *features, clvi_split split);
/* A loader of a split whose features are kept leaves out the pixels that nobody reads. */
void clvi_features_lighten(const clvi_features *features, clvi_loader *loader);
/* The features of a batch of a split, in its order; valid until the next call. NULL where they are
 * not kept. */
const float *clvi_features_of(clvi_features *features, clvi_split split, const clvi_batch *batch);

#endif
