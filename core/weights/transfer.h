/* Weights of a file for the variables of a network: which tensor is which variable, what is missing
 * or unexpected, and the bringing over. */
#ifndef CLVI_TRANSFER_H
#define CLVI_TRANSFER_H

#include "graph/store.h"
#include "weights/weights.h"

typedef struct clvi_transfer_desc {
    const clvi_weights *file;
    const clv_graph *graph;
    const clv_plugin *plugin; /* that built it, for its lists of names; NULL: none */
    /* What stands before a variable's name in a store, and in a checkpoint of Conclave:
     * "expert.a."; messages begin with it. */
    const char *prefix;
    const char *file_prefix; /* the same in the checkpoint; NULL: as `prefix` */
    /* Every variable must have its tensor and every tensor its variable; else what fits is taken
     * and the rest is said. */
    bool strict;
    /* What the names of tensors begin with that are no weights; ends in NULL. NULL: there are none.
     */
    const char *const *others;
} clvi_transfer_desc;

typedef struct clvi_transfer clvi_transfer;

/* Finds the tensors of all variables. The layer that makes the "logits" is left out, with a
 * message, where the file has other classes or no such layer. A bias that the file has for a
 * convolution before a normalisation goes into the running mean. Counters of batches, which only
 * PyTorch needs, are passed over. Errors: CLV_E_DATA naming tensors that are missing, unexpected
 * or of another shape (strict), or when nothing fits; CLV_E_MEMORY. file and graph must outlive
 * *out, which the caller destroys. */
clv_status clvi_transfer_plan(const clvi_transfer_desc *desc, clvi_transfer **out,
                              clv_error *error) CLV_MUST_CHECK;
void clvi_transfer_destroy(clvi_transfer *transfer); /* NULL allowed */

/* Whose names the file has; family NULL: the variables' own. */
const clv_weight_names *clvi_transfer_family(const clvi_transfer *transfer);
/* Index of the file's tensor for a variable of the graph; -1: none. */
int64_t clvi_transfer_tensor(const clvi_transfer *transfer, size_t variable);
/* Values of a variable that has a tensor, in the order of the store. Errors: CLV_E_DATA when one is
 * not finite; those of the file. */
clv_status clvi_transfer_read(const clvi_transfer *transfer, size_t variable, float *out,
                              clv_error *error) CLV_MUST_CHECK;
/* Writes all of them to the store, whose variables bear the prefix, and logs a line. */
clv_status clvi_transfer_run(const clvi_transfer *transfer, clvi_store *store,
                             clv_error *error) CLV_MUST_CHECK;

#endif
