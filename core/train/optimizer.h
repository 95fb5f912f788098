/* AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), Adam (Kingma & Ba 2015, arXiv 1412.6980) and
 * SGD with momentum as PyTorch has them, over all trainable variables of a store: one launch per
 * slab. A group of variables (an expert, the gate, the head) counts its own steps and may sit a
 * step out: then nothing of it moves. */
#ifndef CLVI_OPTIMIZER_H
#define CLVI_OPTIMIZER_H

#include "graph/store.h"

typedef struct clvi_optimizer clvi_optimizer;

typedef enum clvi_optimizer_kind {
    CLVI_ADAMW,
    CLVI_ADAM, /* weight decay is added to the gradient */
    CLVI_SGD   /* likewise */
} clvi_optimizer_kind;

typedef struct clvi_optimizer_desc {
    clvi_optimizer_kind kind;
    double betas[2], eps; /* AdamW, Adam */
    double momentum;      /* SGD; 0: none */
    bool nesterov;        /* SGD */
    double weight_decay;
    double clip_norm; /* largest norm of all stepped gradients together; 0: no limit */
    bool decay_all;   /* else variables marked no_decay (biases, normalisation) do not decay */
    /* Factor on the learning rate of a variable by its full name; NULL: 1 everywhere. */
    double (*multiplier)(void *user, const char *name);
    void *user;
} clvi_optimizer_desc;

/* What the store must keep for it (clvi_store_commit_kinds). several: clvi_optimizer_add is used.
 */
uint32_t clvi_optimizer_kinds(const clvi_optimizer_desc *desc, bool several);

/* store: committed with these kinds; outlives the optimiser. Errors: CLV_E_MEMORY. */
clv_status clvi_optimizer_create(clvi_store *store, const clvi_optimizer_desc *desc,
                                 clvi_optimizer **out, clv_error *error) CLV_MUST_CHECK;
void clvi_optimizer_destroy(clvi_optimizer *optimizer); /* NULL allowed */

/* Adds the gradients that lie in the store to those of the next step, which then takes the sum of
 * what was added and not what lies in the store. Enqueues only. */
clv_status clvi_optimizer_add(clvi_optimizer *optimizer, clv_error *error) CLV_MUST_CHECK;
/* From now on gradients count times `factor` (1 at first), clip_norm being applied after it.
 * Enqueues only. */
clv_status clvi_optimizer_set_factor(clvi_optimizer *optimizer, double factor,
                                     clv_error *error) CLV_MUST_CHECK;
/* One step with the gradients that lie in the store, or the sum of those that were added since the
 * last one. active: per group whether it is stepped; NULL: all. Touches the store. Enqueues only:
 * the norm is taken and used on the device. */
clv_status clvi_optimizer_step(clvi_optimizer *optimizer, double lr, const bool *active,
                               clv_error *error) CLV_MUST_CHECK;
/* Launches every kernel once without moving anything, so that they are compiled. */
clv_status clvi_optimizer_warm(clvi_optimizer *optimizer, clv_error *error) CLV_MUST_CHECK;

/* Steps that a group has taken, for checkpoints (the moments are in the store). */
int64_t clvi_optimizer_group_steps(const clvi_optimizer *optimizer, uint32_t group);
void clvi_optimizer_set_group_steps(clvi_optimizer *optimizer, uint32_t group, int64_t steps);
/* Bytes of device memory of its own, without the store's. */
uint64_t clvi_optimizer_bytes(const clvi_optimizer *optimizer);

#endif
