/* The variables of a trainable thing (all experts, gate and head of a mixture) on one device:
 * values of parameters and states, gradients and moments of trainable parameters, in slabs with one
 * layout, and the table of segments that the optimiser walks. */
#ifndef CLVI_STORE_H
#define CLVI_STORE_H

#include "graph/graph.h"
#include "runtime/runtime.h"

typedef struct clvi_store clvi_store;

/* One variable. Offsets in elements, the same in the value, gradient and moment slabs. */
typedef struct clvi_segment {
    const char *name; /* prefix + the graph's name, "expert.a.conv1.weight" */
    clv_shape shape;
    int64_t elements;
    clv_init init;
    double a;
    bool is_state, no_decay;
    bool trainable; /* never for states */
    uint32_t group; /* steps together: each expert, gate and head is a group */
    uint32_t slab;  /* which slab of its kind; trainable and fixed variables have slabs apart */
    uint64_t offset;
} clvi_segment;

clv_status clvi_store_create(clvi_device *device, clvi_store **out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_store_destroy(clvi_store *store); /* NULL allowed; plans over it must be gone */
/* Adds the variables of a graph, named prefix + name, as a new group; *base is the index of the
 * first: variable i of the graph is segment *base + i. Before commit. `trainable` NULL: all
 * parameters; else it decides by the name without prefix. */
clv_status clvi_store_add(clvi_store *store, const clv_graph *graph, const char *prefix,
                          bool (*trainable)(void *user, const char *name), void *user,
                          uint32_t *base, clv_error *error) CLV_MUST_CHECK;
/* Allocates. with_gradients: also gradients and AdamW's two moments (zeroed) of trainable segments.
 * Errors: CLV_E_MEMORY with the largest variables. */
clv_status clvi_store_commit(clvi_store *store, bool with_gradients,
                             clv_error *error) CLV_MUST_CHECK;
/* Sets every variable to its initial value: Philox stream "init/<segment name>" of `seed`, made on
 * the host so that all devices start alike. */
clv_status clvi_store_initialise(clvi_store *store, uint64_t seed, clv_error *error) CLV_MUST_CHECK;

size_t clvi_store_count(const clvi_store *store);
const clvi_segment *clvi_store_segment(const clvi_store *store, size_t index);
/* Index by name, or -1. */
int64_t clvi_store_find(const clvi_store *store, const char *name);
clvi_device *clvi_store_device(const clvi_store *store);

typedef enum clvi_store_kind {
    CLVI_STORE_VALUE,
    CLVI_STORE_GRADIENT,
    CLVI_STORE_MOMENT1,
    CLVI_STORE_MOMENT2,
    CLVI_STORE_KINDS
} clvi_store_kind;
/* Where a segment's data lies; buf NULL when it has none of that kind. */
clvi_view clvi_store_view(const clvi_store *store, size_t index, clvi_store_kind kind);
/* Whole slabs of trainable data, for the optimiser: count and buffer. */
size_t clvi_store_slab_count(const clvi_store *store);
clvi_buf *clvi_store_slab(const clvi_store *store, size_t slab, clvi_store_kind kind);
uint64_t clvi_store_slab_elements(const clvi_store *store, size_t slab);

/* Host copies of one segment, `elements` floats. Setting a value bumps the version. */
clv_status clvi_store_read(const clvi_store *store, size_t index, clvi_store_kind kind, float *out,
                           clv_error *error) CLV_MUST_CHECK;
clv_status clvi_store_write(clvi_store *store, size_t index, clvi_store_kind kind,
                            const float *values, clv_error *error) CLV_MUST_CHECK;
/* Grows whenever values may have changed: inference plans prepare packed weights anew. */
uint64_t clvi_store_version(const clvi_store *store);
void clvi_store_touch(clvi_store *store);

/* Number of groups: one per clvi_store_add. */
uint32_t clvi_store_group_count(const clvi_store *store);

/* Trainable or all parameters (no states), in elements. */
int64_t clvi_store_parameters(const clvi_store *store, bool trainable_only);

#endif
