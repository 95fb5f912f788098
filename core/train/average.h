/* Averaged weights: an exponential moving average of all variables over the steps, which is used in
 * place of them wherever a model is judged or used. */
#ifndef CLVI_AVERAGE_H
#define CLVI_AVERAGE_H

#include "graph/store.h"

/* The decay of step `step`, from 1: the smaller of `most` and (1 + step) / (10 + step), so that the
 * first, random values are soon forgotten. */
double clvi_average_decay(double most, int64_t step);

/* average ← average + (1 - decay)·(value - average), for every variable of a store that keeps
 * CLVI_STORE_AVERAGE. Enqueues only. */
clv_status clvi_average_step(clvi_store *store, double decay, clv_error *error) CLV_MUST_CHECK;

#endif
