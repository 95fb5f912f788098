/* [optimizer] lr_multiplier: factors on the learning rate by the names of parameters. */
#ifndef CLVI_MULTIPLIERS_H
#define CLVI_MULTIPLIERS_H

#include "config/config.h"
#include "graph/store.h"

typedef struct clvi_multipliers clvi_multipliers;

/* Reads the key; *out is NULL where it is empty. Every pattern must fit a parameter of the store.
 * Errors: CLV_E_CONFIG naming the piece that is wrong, CLV_E_MEMORY. The caller destroys. */
clv_status clvi_multipliers_create(const clvi_config *config, const clvi_store *store,
                                   clvi_multipliers **out, clv_error *error) CLV_MUST_CHECK;
void clvi_multipliers_destroy(clvi_multipliers *multipliers); /* NULL allowed */

/* The factor for a parameter: of the last pattern that fits it, otherwise 1. `multipliers` is a
 * clvi_multipliers; the signature is that of clvi_optimizer_desc.multiplier. */
double clvi_multipliers_of(void *multipliers, const char *name);

#endif
