/* below_mean: rows of one to many, whole numbers that lie at the mean. */
#include "op_test.h"

ref_function below_mean_ref, below_mean_ref_backward;

#define ROWS(title, batch, columns, fill, step, flag)                                              \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 1, {columns}, 0}},              \
        .attrs = {OP_REAL("by", step)}, .flags = (flag)                                            \
    }

static const float loads[] = {3, 1, 2, 5, 0, 1};

static const op_case cases[] = {
    ROWS("1 of 1", 3, 1, OP_TIES, 0.5, OP_NO_DIFFERENCES),
    ROWS("2", 33, 2, OP_NORMAL, 0.001, OP_KINKS),
    ROWS("8", 31, 8, OP_NORMAL, 1, OP_KINKS),
    ROWS("17", 7, 17, OP_NORMAL, -2, OP_KINKS | OP_AWKWARD),
    ROWS("65", 3, 65, OP_NORMAL, 1, OP_KINKS),
    ROWS("at the mean", 65, 3, OP_TIES, 1, OP_NO_DIFFERENCES),
    {.name = "default, by hand",
     .n = 1,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {6}, 0}},
     .values = {loads},
     .flags = OP_NO_DIFFERENCES},
};

OP_SUITE(below_mean, below_mean_ref_backward, cases);
