/* Weights of a file as the initial values of an expert: [expert.X] weights and weights_strict. */
#ifndef CLVI_INITIAL_WEIGHTS_H
#define CLVI_INITIAL_WEIGHTS_H

#include "mixture/mixture.h"
#include "weights/weights.h"

/* Opens what an expert's `weights`, which is not empty, names. Errors: those of clvi_weights_open,
 * with the key's place before. The caller closes. */
clv_status clvi_initial_weights_open(const clvi_config *config, const char *section,
                                     clvi_weights **out, clv_error *error) CLV_MUST_CHECK;
/* Opens every file that an expert's `weights` names, so that what is not there or damaged is told
 * before anything is computed. Errors: those of the file, with the key's place before. */
clv_status clvi_initial_weights_check(const clvi_config *config, clv_error *error) CLV_MUST_CHECK;
/* Sets the variables of every expert that has `weights` to them; others stay. Errors: those of
 * clvi_transfer_plan, with the key's place before. */
clv_status clvi_initial_weights_load(const clvi_config *config, clvi_plugins *plugins,
                                     clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;

#endif
