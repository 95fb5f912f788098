/* What the tensors of a file are called in a network: by the variables' own names, by one of the
 * lists of names that the network's plugin has, or, for a file of Keras, by the order of its
 * layers. */
#ifndef CLVI_FOREIGN_NAMES_H
#define CLVI_FOREIGN_NAMES_H

#include "graph/graph.h"
#include "weights/weights.h"

typedef struct clvi_foreign_name {
    const char *name; /* of a variable, if there is one of this name */
    size_t tensor;    /* in the file */
} clvi_foreign_name;

/* Zero is empty; everything lies in the arena that it was found with. */
typedef struct clvi_foreign_names {
    clvi_foreign_name *list; /* by name; what no network needs is not in it */
    size_t count;
    clv_weight_names family; /* family NULL: the variables' own names, or the order of layers */
    bool by_order;
} clvi_foreign_names;

/* Takes the list of names under which most variables are found; several tensors may come out with
 * one name. `prefix` is what stands before the names in a checkpoint, where not only
 * one expert is in it; `plugin` may be NULL. Errors:
 * CLV_E_DATA for a checkpoint without this expert; CLV_E_MEMORY. */
clv_status clvi_foreign_names_find(const clvi_weights *file, const clv_graph *graph,
                                   const clv_plugin *plugin, const char *prefix, clvi_arena *arena,
                                   clvi_foreign_names *out, clv_error *error) CLV_MUST_CHECK;
/* The tensor of a name; -1: none. */
int64_t clvi_foreign_names_tensor(const clvi_foreign_names *names, const char *name);

#endif
