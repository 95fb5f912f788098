/* Experts that start as copies of each other: with equal weights they stay so for ever. */
#ifndef CLVI_COPIES_H
#define CLVI_COPIES_H

#include "mixture/mixture.h"

/* Warns in the log of each expert whose parameters all have the values of an earlier one's. Waits.
 */
clv_status clvi_copies_warn(const clvi_config *config, clvi_mixture *mixture,
                            clv_error *error) CLV_MUST_CHECK;

/* Whether two networks have the same variables, by name and size. */
bool clvi_copies_same_variables(const clv_graph *a, const clv_graph *b);

#endif
