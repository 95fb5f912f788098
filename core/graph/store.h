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
    bool seeded;    /* it has a seed of its own */
    uint64_t seed;
    uint32_t group; /* steps together: each expert, gate and head is a group, and each one's
                     * variables that train later */
    uint32_t slab;  /* which slab of its kind; trainable and fixed variables have slabs apart */
    uint64_t offset;
} clvi_segment;

clv_status clvi_store_create(clvi_device *device, clvi_store **out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_store_destroy(clvi_store *store); /* NULL allowed; plans over it must be gone */
typedef enum clvi_trains {
    CLVI_TRAINS_NEVER,
    CLVI_TRAINS,
    CLVI_TRAINS_LATER /* trainable, in a group of its own that begins to step at some time */
} clvi_trains;

/* Adds the variables of a graph, named prefix + name, as a new group, and those that train later as
 * one more; *base is the index of the first: variable i of the graph is segment *base + i. Before
 * commit. `trains` NULL: all parameters; else it decides by the name without prefix. */
clv_status clvi_store_add(clvi_store *store, const clv_graph *graph, const char *prefix,
                          clvi_trains (*trains)(void *user, const char *name), void *user,
                          uint32_t *base, clv_error *error) CLV_MUST_CHECK;

/* What a store may keep of a variable. Gradients, moments and sums: of trainable ones only. */
typedef enum clvi_store_kind {
    CLVI_STORE_VALUE,
    CLVI_STORE_GRADIENT,
    CLVI_STORE_MOMENT1,
    CLVI_STORE_MOMENT2,
    CLVI_STORE_SUM,     /* gradients of several batches together */
    CLVI_STORE_AVERAGE, /* of the values over the steps */
    CLVI_STORE_KINDS
} clvi_store_kind;
/* Sets of them. */
enum {
    CLVI_STORE_ONLY_VALUES = 1u << CLVI_STORE_VALUE,
    CLVI_STORE_FOR_ADAM = 1u << CLVI_STORE_VALUE | 1u << CLVI_STORE_GRADIENT |
                          1u << CLVI_STORE_MOMENT1 | 1u << CLVI_STORE_MOMENT2
};

/* Allocates, zeroed, what `kinds` (bits 1 << clvi_store_kind; values always) says. Errors:
 * CLV_E_MEMORY naming a variable or what the memory is for. */
clv_status clvi_store_commit_kinds(clvi_store *store, uint32_t kinds,
                                   clv_error *error) CLV_MUST_CHECK;
/* The same with CLVI_STORE_FOR_ADAM, or CLVI_STORE_ONLY_VALUES. */
clv_status clvi_store_commit(clvi_store *store, bool with_gradients,
                             clv_error *error) CLV_MUST_CHECK;
/* Gives `count` segments from `first` on a seed of their own for their initial values. */
void clvi_store_seed(clvi_store *store, size_t first, size_t count, uint64_t seed);
/* Sets every variable to its initial value: Philox stream "init/<segment name>" of `seed`, or of
 * its own, made on the host so that all devices start alike. */
clv_status clvi_store_initialise(clvi_store *store, uint64_t seed, clv_error *error) CLV_MUST_CHECK;

size_t clvi_store_count(const clvi_store *store);
const clvi_segment *clvi_store_segment(const clvi_store *store, size_t index);
/* Index by name, or -1. */
int64_t clvi_store_find(const clvi_store *store, const char *name);
clvi_device *clvi_store_device(const clvi_store *store);

/* Where a segment's data lies; buf NULL when it has none of that kind. */
clvi_view clvi_store_view(const clvi_store *store, size_t index, clvi_store_kind kind);
/* Whole slabs: first those of trainable data, clvi_store_slab_count of them, then the others, in
 * all clvi_store_all_slabs. A slab's buffer of a kind that it has not is NULL. */
size_t clvi_store_slab_count(const clvi_store *store);
size_t clvi_store_all_slabs(const clvi_store *store);
clvi_buf *clvi_store_slab(const clvi_store *store, size_t slab, clvi_store_kind kind);
uint64_t clvi_store_slab_elements(const clvi_store *store, size_t slab);

/* Host copies of one segment, `elements` floats. Setting a value bumps the version. */
clv_status clvi_store_read(const clvi_store *store, size_t index, clvi_store_kind kind, float *out,
                           clv_error *error) CLV_MUST_CHECK;
clv_status clvi_store_write(clvi_store *store, size_t index, clvi_store_kind kind,
                            const float *values, clv_error *error) CLV_MUST_CHECK;
/* Copies all data of one kind to another, where both are kept; enqueued. */
clv_status clvi_store_copy(clvi_store *store, clvi_store_kind from, clvi_store_kind to,
                           clv_error *error) CLV_MUST_CHECK;
/* Sets all data of a kind to 0, where it is kept; enqueued. */
clv_status clvi_store_zero(clvi_store *store, clvi_store_kind kind,
                           clv_error *error) CLV_MUST_CHECK;
/* Makes the averages the values and the values the averages; nothing is moved. */
void clvi_store_swap_average(clvi_store *store);
/* Whether data of this kind is kept. */
bool clvi_store_keeps(const clvi_store *store, clvi_store_kind kind);
/* Bytes of device memory, of everything that is kept. */
uint64_t clvi_store_bytes(const clvi_store *store);
/* Grows whenever values may have changed: inference plans prepare packed weights anew. */
uint64_t clvi_store_version(const clvi_store *store);
void clvi_store_touch(clvi_store *store);

/* Number of groups: one or two per clvi_store_add. */
uint32_t clvi_store_group_count(const clvi_store *store);

/* Trainable or all parameters (no states), in elements. */
int64_t clvi_store_parameters(const clvi_store *store, bool trainable_only);

#endif
