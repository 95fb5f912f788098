/* Weights of a file as the initial values of an expert: [expert.X] weights and weights_strict, or
 * init where it names a checkpoint. What else `init` may be, runs and configurations, is brought to
 * that form by who can search and train them. */
#ifndef CLVI_INITIAL_WEIGHTS_H
#define CLVI_INITIAL_WEIGHTS_H

#include "mixture/mixture.h"
#include "weights/weights.h"

/* The ':' of a value of `init` that ends in an expert's name, "RUN:EXPERT"; NULL: it does not. */
const char *clvi_init_colon(const char *init);
/* Whether it is of the form "CHECKPOINT.safetensors:EXPERT", which says all there is to know. */
bool clvi_init_is_settled(const char *init);

/* Whether the expert starts from a file: `weights`, or an `init` of that form. */
bool clvi_initial_weights_given(const clvi_config *config, const char *section);
/* Section of the expert in the file, where that is a checkpoint: "expert.a". Its own, but where
 * `init` says another. It lies in the configuration or in `out`. */
enum { CLVI_EXPERT_BYTES = 160 };
const char *clvi_initial_weights_section(const clvi_config *config, const char *section,
                                         char out[CLVI_EXPERT_BYTES]);

/* The value of a plugin's option in the section; NULL: it has no such one. */
const char *clvi_initial_weights_option(const clvi_config *config, const char *section,
                                        const clv_plugin *plugin, const char *key);

/* Opens that file. Errors: those of clvi_weights_open, with the key's place before. The caller
 * closes. */
clv_status clvi_initial_weights_open(const clvi_config *config, const char *section,
                                     clvi_weights **out, clv_error *error) CLV_MUST_CHECK;
/* Opens every file that an expert starts from, so that what is not there or damaged is told before
 * anything is computed. Errors: those of the file, with the key's place before. */
clv_status clvi_initial_weights_check(const clvi_config *config, clv_error *error) CLV_MUST_CHECK;
/* Sets the variables of every expert that starts from a file to what is there; others stay. Errors:
 * those of clvi_transfer_plan, with the key's place before. */
clv_status clvi_initial_weights_load(const clvi_config *config, clvi_plugins *plugins,
                                     clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;

#endif
