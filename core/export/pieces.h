/* A variable on its way into a file: read whole, handed over in the file's order a piece at a time,
 * so that there is no second copy of a large one. */
#ifndef CLVI_EXPORT_PIECES_H
#define CLVI_EXPORT_PIECES_H

#include "weights/reorder.h"

/* Reads all elements of a segment of the mixture's store to `out`. */
typedef clv_status clvi_export_read(const void *user, size_t segment, float *out, clv_error *error);
/* Takes the next `count` numbers, which it may change. */
typedef clv_status clvi_export_take(void *to, float *piece, size_t count, clv_error *error);

typedef struct clvi_export_variable {
    const char *name; /* for messages */
    clvi_export_read *read;
    const void *user; /* of `read` */
    size_t segment;
    int64_t elements;
    const clvi_reorder
        *order; /* which of the elements, one after the other, is which in the file */
} clvi_export_variable;

/* Errors: CLV_E_MEMORY; those of `read` and `take`. */
clv_status clvi_export_pieces(const clvi_export_variable *variable, clvi_export_take *take,
                              void *to, clv_error *error) CLV_MUST_CHECK;

#endif
