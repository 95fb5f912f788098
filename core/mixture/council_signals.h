/* What signals.h sums, taken from a council: its last step, and what of two networks lies side by
 * side in the store. */
#ifndef CLVI_COUNCIL_SIGNALS_H
#define CLVI_COUNCIL_SIGNALS_H

#include "mixture/council.h"
#include "mixture/signals.h"

/* Sums for a council that is planned for training and has two experts or more. Errors:
 * CLV_E_MEMORY. The caller destroys. */
clv_status clvi_council_signals_create(const clvi_council *council, clvi_signals **out,
                                       clv_error *error) CLV_MUST_CHECK;

/* Adds what the last forward in training did; after it, before backward. Enqueues only. */
clv_status clvi_council_signals_add(const clvi_council *council, clvi_signals *signals,
                                    clv_error *error) CLV_MUST_CHECK;
/* Adds what the last backward sent to the experts' logits, where it sent something; share: what a
 * sample counted. Enqueues only. */
clv_status clvi_council_signals_add_sent(const clvi_council *council, clvi_signals *signals,
                                         double share, clv_error *error) CLV_MUST_CHECK;
/* Adds the products of each expert, of the gate where it has parameters, and of each two experts of
 * one architecture: of the gradients of a kind (CLVI_STORE_GRADIENT, CLVI_STORE_SUM) that lie in
 * the store, times `factor`, and the values. What trains in the epoch counts. Enqueues only. */
clv_status clvi_council_signals_add_parameters(const clvi_council *council, clvi_signals *signals,
                                               clvi_store_kind kind, double factor, uint32_t epoch,
                                               clv_error *error) CLV_MUST_CHECK;

/* Parameters of an expert, or (index = experts) of the gate, that train in the epoch; 0 where there
 * is no gate. */
int64_t clvi_council_signals_elements(const clvi_council *council, size_t index, uint32_t epoch);

#endif
