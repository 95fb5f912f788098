/* Attributes of an operation: from what a builder passes to the op's own struct. Called by graph.c
 * only; what each attribute means is said in conclave/ops.h and core/ops/. */
#ifndef CLVI_ATTRS_H
#define CLVI_ATTRS_H

#include "ops/op.h"

/* What add_op was given: `count` attributes, `stride` bytes apart (as the caller compiled them). */
typedef struct clvi_attr_list {
    const clv_attr *attrs;
    uint32_t count, stride;
} clvi_attr_list;

/* Writes the defaults of `op`, then the given attributes over them, into `out` (op->attr_bytes,
 * zeroed). `node` is the scoped name for messages. An integer is taken where a real is wanted.
 * Errors: CLV_E_PLUGIN for an attribute that the op does not know, is given twice, is of the wrong
 * type or is missing; CLV_E_SHAPE for a value out of range. Each names node, op and attribute. */
clv_status clvi_attrs_parse(const clvi_op *op, const char *node, const clvi_attr_list *given,
                            void *out, clv_error *error) CLV_MUST_CHECK;

#endif
