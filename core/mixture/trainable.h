/* What of an expert trains: `trainable`, `bn`, `unfreeze_at_epoch` and `unfreeze` of its section,
 * applied to its graph. Stage 0 lasts until the epoch `unfreeze_at_epoch`, stage 1 begins with it.
 *
 * In training the frozen part runs as in inference: nodes with nothing trainable above that carry
 * frozen parameters, lead to such nodes only, or stand without parameters in a frozen block. A
 * normalisation takes the running statistics where its weights are frozen (bn = auto). */
#ifndef CLVI_TRAINABLE_H
#define CLVI_TRAINABLE_H

#include "config/config.h"
#include "graph/store.h"

typedef struct clvi_trainable clvi_trainable;

/* The sections's keys for `graph`, which must outlive the result. Errors: CLV_E_CONFIG
 * "path:line: …" for what fits no parameter, with the nearest names. The caller destroys. */
clv_status clvi_trainable_create(const clvi_config *config, const char *section,
                                 const clv_graph *graph, clvi_trainable **out,
                                 clv_error *error) CLV_MUST_CHECK;
void clvi_trainable_destroy(clvi_trainable *trainable); /* NULL allowed */

/* For clvi_store_add, with the object as `user`: by the name of a parameter. */
clvi_trains clvi_trainable_of(void *trainable, const char *name);

/* 1, or 2 where more trains from some epoch on. */
int clvi_trainable_stages(const clvi_trainable *trainable);
/* The stage of an epoch, from 0. */
int clvi_trainable_stage(const clvi_trainable *trainable, uint32_t epoch);
/* clvi_plan_desc.trains and .node_modes of a stage; live as long as the object. */
const bool *clvi_trainable_variables(const clvi_trainable *trainable, int stage);
const uint8_t *clvi_trainable_modes(const clvi_trainable *trainable, int stage);

/* Where the part ends that gives the same for an image in each epoch: the one tensor between it and
 * the nodes of stage 0 that are left to run. Errors: CLV_E_CONFIG (of train.cache_features) saying
 * why there is none: nothing frozen, more trains later, bn = train, several tensors. */
clv_status clvi_trainable_cut(const clvi_trainable *trainable, clv_tensor *out,
                              clv_error *error) CLV_MUST_CHECK;

#endif
