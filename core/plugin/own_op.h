/* Ops that plugins bring (conclave/own_op.h), as the core sees them: a clvi_op each, so that graph,
 * plan and executor know no difference. */
#ifndef CLVI_OWN_OP_H
#define CLVI_OWN_OP_H

#include "ops/op.h"

#include <conclave/own_op.h>

/* What one plugin registers. Zeroed before clvi_own_init; must not move afterwards. */
typedef struct clvi_own {
    clv_host host;    /* first: the table that the plugin's init is given */
    clvi_op_set *set; /* where its ops are added; NULL: init is over */
    const char *name; /* of the plugin */
    const char *path;
    clvi_arena *arena; /* of the ops; NULL: it has none */
    clv_error failure; /* of the first register_op that failed, which init may have ignored */
} clvi_own;

/* Calls the plugin's init (nothing where it has none), which adds its ops to `set`. `path` is kept.
 * On failure the set is what it was. Errors: CLV_E_PLUGIN naming path, op and what is wrong. */
clv_status clvi_own_init(clvi_own *own, const clv_plugin *table, const char *path, clvi_op_set *set,
                         clv_error *error) CLV_MUST_CHECK;
/* The ops are gone: no set and no graph may hold them any more. Zeroed is allowed. */
void clvi_own_fini(clvi_own *own);

/* True for an op that a plugin registered. */
bool clvi_op_is_own(const clvi_op *op);
/* True when the plugin brought a plain C reference of its forward. */
bool clvi_own_has_reference(const clvi_op *op);
/* Runs the reference of a node of an own op for n samples. data: as in conclave/own_op.h. */
clv_status clvi_own_reference(const clv_graph *graph, const clvi_node *node, clv_mode mode,
                              int64_t n, const clv_reference *data,
                              clv_error *error) CLV_MUST_CHECK;

/* Calls forward and then, where wants_grad is not 0, backward of a node of an own op as a step of n
 * samples would, but nothing is launched: what is left is the plugin's own doing on the host.
 * Errors: the plugin's. */
clv_status clvi_own_rehearse(clvi_device *device, const clv_graph *graph, const clvi_node *node,
                             int64_t n, uint32_t wants_grad, clv_error *error) CLV_MUST_CHECK;

#endif
