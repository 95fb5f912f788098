/* What others ask of a dense node. */
#ifndef CLVI_DENSE_H
#define CLVI_DENSE_H

#include "ops/op.h"

/* The activation of its output (clvi_activation), a joined sigmoid included. */
int64_t clvi_dense_activation(const clvi_node *node);

#endif
