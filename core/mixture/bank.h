/* What several experts give side by side, [n, width]: each expert has its columns. And the gradient
 * of it. */
#ifndef CLVI_BANK_H
#define CLVI_BANK_H

#include "runtime/runtime.h"

typedef struct clvi_bank {
    clvi_device *device;
    clvi_buf *values, *grads; /* grads NULL: inference only */
    int64_t width;            /* columns */
} clvi_bank;

/* The caller calls clvi_bank_fini, also after a failure. Errors: CLV_E_MEMORY. */
clv_status clvi_bank_init(clvi_bank *bank, clvi_device *device, int64_t width, int64_t max_batch,
                          bool with_grads, clv_error *error) CLV_MUST_CHECK;
void clvi_bank_fini(clvi_bank *bank); /* of a zeroed one: nothing */

/* An expert's columns. */
typedef struct clvi_bank_part {
    int64_t at, width;
} clvi_bank_part;
/* Which rows of the bank a matrix of n rows stands for. */
typedef struct clvi_bank_rows {
    int64_t n;
    clvi_view list; /* [n] i32; buf NULL: the first n */
} clvi_bank_rows;
/* from [n, part.width] → the part's columns. Enqueues only. */
clv_status clvi_bank_put(const clvi_bank *bank, clvi_bank_part part, clvi_view from,
                         clvi_bank_rows rows, clv_error *error) CLV_MUST_CHECK;
/* The gradient of the part's columns → to [n, part.width], overwritten, or added to. Enqueues only.
 */
clv_status clvi_bank_take(const clvi_bank *bank, clvi_bank_part part, clvi_view to,
                          clvi_bank_rows rows, bool add, clv_error *error) CLV_MUST_CHECK;
/* Rows of from [any, width] → to [n, width]. Enqueues only. */
clv_status clvi_bank_gather(clvi_device *device, int64_t width, clvi_view from, clvi_view to,
                            clvi_bank_rows rows, clv_error *error) CLV_MUST_CHECK;
uint64_t clvi_bank_bytes(const clvi_bank *bank); /* of device memory */

#endif
