/* AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) as PyTorch has it, over all trainable
 * variables of a store: one launch per slab. A group of variables (an expert, the gate, the head)
 * counts its own steps and may sit a step out: then nothing of it moves. */
#ifndef CLVI_OPTIMIZER_H
#define CLVI_OPTIMIZER_H

#include "graph/store.h"

typedef struct clvi_optimizer clvi_optimizer;

typedef struct clvi_adamw_desc {
    double betas[2], eps, weight_decay;
    double clip_norm; /* largest norm of all stepped gradients together; 0: no limit */
    bool decay_all;   /* else variables marked no_decay (biases, normalisation) do not decay */
    /* Factor on the learning rate of a variable by its full name; NULL: 1 everywhere. */
    double (*multiplier)(void *user, const char *name);
    void *user;
} clvi_adamw_desc;

/* store: committed with gradients; outlives the optimiser. Errors: CLV_E_MEMORY. */
clv_status clvi_optimizer_create(clvi_store *store, const clvi_adamw_desc *desc,
                                 clvi_optimizer **out, clv_error *error) CLV_MUST_CHECK;
void clvi_optimizer_destroy(clvi_optimizer *optimizer); /* NULL allowed */

/* One step with the gradients that lie in the store. active: per group whether it is stepped; NULL:
 * all. Touches the store. Enqueues only: the norm is taken and used on the device. */
clv_status clvi_optimizer_step(clvi_optimizer *optimizer, double lr, const bool *active,
                               clv_error *error) CLV_MUST_CHECK;
/* Launches every kernel once without moving anything, so that they are compiled. */
clv_status clvi_optimizer_warm(clvi_optimizer *optimizer, clv_error *error) CLV_MUST_CHECK;

/* Steps that a group has taken, for checkpoints (the moments are in the store). */
int64_t clvi_optimizer_group_steps(const clvi_optimizer *optimizer, uint32_t group);
void clvi_optimizer_set_group_steps(clvi_optimizer *optimizer, uint32_t group, int64_t steps);

#endif
