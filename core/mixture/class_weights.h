/* [loss] class_weights: how much the samples of each class count in the loss. */
#ifndef CLVI_CLASS_WEIGHTS_H
#define CLVI_CLASS_WEIGHTS_H

#include "config/config.h"

/* Reads the key. *out: [classes] weights that the caller frees, NULL for none (all count alike).
 * balanced: N/(C·n_c) with the n_c images of class c in counts[classes] and N of all; 1 where
 * counts is NULL (there are no images). A list: one weight >= 0 per class, in the order of the
 * classes, not all 0. Errors: CLV_E_CONFIG, CLV_E_MEMORY. */
clv_status clvi_class_weights(const clvi_config *config, int classes, const int64_t *counts,
                              float **out, clv_error *error) CLV_MUST_CHECK;

#endif
