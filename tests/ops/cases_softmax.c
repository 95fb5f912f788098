/* softmax. */
#include "op_test.h"

ref_function softmax_ref, softmax_ref_backward;

#define SIZE(title, batch, classes, fill, a)                                                       \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = { {OP_INPUT, fill, 1, {classes}, a} }             \
    }

static const op_case cases[] = {
    SIZE("1 class", 3, 1, OP_NORMAL, 0),
    SIZE("2 classes", 1, 2, OP_NORMAL, 0),
    SIZE("31", 33, 31, OP_NORMAL, 0),
    SIZE("32", 2, 32, OP_NORMAL, 0),
    SIZE("33", 31, 33, OP_NORMAL, 0),
    SIZE("46", 65, 46, OP_NORMAL, 0),
    SIZE("64", 63, 64, OP_NORMAL, 0),
    SIZE("1009", 5, 1009, OP_NORMAL, 0),
    SIZE("equal ones", 7, 17, OP_TIES, 0),
    SIZE("wide", 7, 17, OP_NORMAL, 6),
    SIZE("far from 0", 7, 17, OP_LARGE, 0),
    {.name = "rows of a sample", .n = 5, .inputs = {{OP_INPUT, OP_NORMAL, 2, {3, 19}, 0}}},
};

OP_SUITE(softmax, softmax_ref_backward, cases);
