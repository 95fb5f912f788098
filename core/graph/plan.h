/* A graph made ready for one device, a largest batch, a mode and a set of trainable parameters:
 * which nodes run, where each tensor lies, in which order backward goes; and the executor that runs
 * it.
 *
 * Memory is planned by lifetime. Sizes and offsets are a·n + b for a batch of n, such that one
 * placement serves every batch up to the largest. A slab is at most the device's largest
 * allocation; no tensor spans two. A training plan that does not fit keeps fewer activations and
 * makes them again in backward (README.md of core). CONCLAVE_ARENA=0 gives every item a buffer of
 * its own with guard bands. */
#ifndef CLVI_PLAN_H
#define CLVI_PLAN_H

#include "graph/store.h"
#include "ops/op.h"

typedef struct clvi_plan clvi_plan;

/* Device memory that plans which never run at the same time share (training and inference). */
typedef struct clvi_slabs clvi_slabs;
clv_status clvi_slabs_create(clvi_device *device, clvi_slabs **out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_slabs_destroy(clvi_slabs *slabs); /* NULL allowed; after its plans */
/* Bytes of device memory of its slabs: of each the most that one of the plans wants. */
uint64_t clvi_slabs_bytes(const clvi_slabs *slabs);

/* Makes the first slab at least this large. Errors: CLV_E_MEMORY. */
clv_status clvi_slabs_reserve(clvi_slabs *slabs, uint64_t bytes, clv_error *error) CLV_MUST_CHECK;

/* Device memory that somebody will want beside the plan, for its largest batch. */
typedef struct clvi_beside {
    const char *what;
    uint64_t sample_bytes;
} clvi_beside;

typedef struct clvi_plan_desc {
    const clv_graph *graph; /* outlives the plan */
    clvi_store *store;      /* committed; outlives the plan */
    uint32_t base;          /* segment of the graph's first variable */
    clvi_slabs *slabs;      /* NULL: slabs of its own */
    clv_mode mode;
    int64_t max_batch;
    const clv_tensor *outputs; /* wanted tensors; only what they need is planned */
    size_t output_count;
    uint32_t outputs_with_grad; /* bit i: a gradient of outputs[i] will be given (train) */
    uint32_t inputs_with_grad;  /* bit i: the gradient of graph input i is wanted (train) */
    /* Of each node, CLV_MODE_TRAIN, CLV_MODE_INFER (nothing trainable above it) or
     * CLVI_MODE_FROZEN (op.h); NULL: all run in `mode`. Training only; copied. */
    const uint8_t *node_modes;
    const bool *trains; /* of each variable of the graph; NULL: as the store says. Borrowed */
    /* Only nodes behind this tensor are planned; its values come from clvi_plan_bind_from. */
    clv_tensor from;
    bool has_from;
    bool from_with_grad; /* training: its gradient is wanted (clvi_plan_from_grad) */
    /* Training: between its forward and its backward other plans in the same slabs run, with places
     * of their own (clvi_plan_place). */
    bool pauses;
    const clvi_beside *beside; /* is to fit as well; borrowed while the plan is made */
    size_t beside_count;
} clvi_plan_desc;

/* Errors: CLV_E_MEMORY: what does not fit, and the largest tensors. */
clv_status clvi_plan_create(const clvi_plan_desc *desc, clvi_plan **out,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_plan_destroy(clvi_plan *plan); /* NULL allowed */

/* Graph inputs are bound from outside before forward: input i's values, and where its gradient goes
 * (inputs_with_grad). The binding stays until changed. */
void clvi_plan_bind(clvi_plan *plan, size_t input, clvi_view values, clvi_view gradient);

/* Where the values of the tensor lie that the plan begins at (clvi_plan_desc.from). */
void clvi_plan_bind_from(clvi_plan *plan, clvi_view values);

/* After backward: the gradient of the tensor that the plan begins at (from_with_grad). buf NULL: no
 * gradient passes from the outputs to it. */
clvi_view clvi_plan_from_grad(const clvi_plan *plan, int64_t n);

/* Plans that pause share one slab by lying one behind the other in it, each as long as its batch
 * wants. Bytes that a batch of n takes at most are per_sample·n + constant; false: with
 * CONCLAVE_ARENA=0 it needs no place. */
bool clvi_plan_extent(const clvi_plan *plan, uint64_t *per_sample, uint64_t *constant);
/* Everything begins `bytes`, a sum of such, behind the slab's beginning, from the next forward on.
 */
void clvi_plan_place(clvi_plan *plan, uint64_t bytes);

/* Says that the largest batch runs soon: what it uses of the slabs is got ready (clvi_buf_expect).
 * Not for plans that were given a place. */
void clvi_plan_expect(const clvi_plan *plan);

/* Runs forward for n samples, 1 … max_batch. `random` may be NULL where the graph draws nothing.
 * Enqueues only. */
clv_status clvi_plan_forward(clvi_plan *plan, int64_t n, const clvi_run_random *random,
                             clv_error *error) CLV_MUST_CHECK;
/* Runs backward of the last forward; the gradients of outputs must lie at clvi_plan_grad. Parameter
 * gradients are overwritten in the store. Enqueues only. */
clv_status clvi_plan_backward(clvi_plan *plan, clv_error *error) CLV_MUST_CHECK;

/* Where a wanted output lies for a batch of n, valid until the next forward; and where its gradient
 * is to be put (outputs_with_grad). buf NULL: not planned. */
clvi_view clvi_plan_output(const clvi_plan *plan, size_t output, int64_t n);
clvi_view clvi_plan_grad(const clvi_plan *plan, size_t output, int64_t n);

/* Bytes of device memory that the plan's layout takes at max_batch (without the store). */
uint64_t clvi_plan_bytes(const clvi_plan *plan);
/* Those of them that do not lie in slabs: all with CONCLAVE_ARENA=0, otherwise 0. */
uint64_t clvi_plan_own_bytes(const clvi_plan *plan);
/* CONCLAVE_ARENA=0: CLV_E_INTERNAL naming a node whose guard band was overwritten. Waits. */
clv_status clvi_plan_check_guards(clvi_plan *plan, clv_error *error) CLV_MUST_CHECK;
/* Fills all planned memory with NaN (a pattern), for tests: nothing may depend on old content. */
clv_status clvi_plan_poison(clvi_plan *plan, clv_error *error) CLV_MUST_CHECK;

#endif
