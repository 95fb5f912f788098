/* column_topk: few and many rows per column, shares that do not divide, ties. */
#include "op_test.h"

ref_function column_topk_ref, column_topk_ref_backward;

#define TOP(title, batch, columns, fill, mean, flag)                                               \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 1, {columns}, 0}},              \
        .attrs = {OP_REAL("k", mean)}, .flags = (flag)                                             \
    }

static const op_case cases[] = {
    TOP("1 row, 1 column", 1, 1, OP_NORMAL, 1, OP_KINKS),
    TOP("1 row", 1, 3, OP_NORMAL, 1, OP_KINKS),
    TOP("2 columns", 33, 2, OP_NORMAL, 1, OP_KINKS),
    TOP("8 columns", 64, 8, OP_NORMAL, 2, OP_KINKS),
    TOP("8 columns, positive", 65, 8, OP_POSITIVE, 1, OP_KINKS),
    TOP("17 columns", 31, 17, OP_NORMAL, 3.5, OP_KINKS),
    TOP("33 columns, all", 5, 33, OP_NORMAL, 33, OP_KINKS),
    TOP("k·n/K is whole but for rounding", 10, 11, OP_NORMAL, 1.1, OP_KINKS),
    TOP("less than a row", 7, 4, OP_NORMAL, 0.1, OP_KINKS),
    TOP("ties", 33, 5, OP_TIES, 2, OP_NO_DIFFERENCES),
    TOP("ties, 20 columns", 64, 20, OP_TIES, 7, OP_NO_DIFFERENCES),
};

OP_SUITE(column_topk, column_topk_ref_backward, cases);
