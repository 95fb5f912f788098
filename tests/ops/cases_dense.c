/* dense: blocks of rows and columns that are cut short on every side. */
#include "op_test.h"

ref_function dense_ref;

#define WEIGHT(in, units)                                                                          \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 2, {in, units}, 0.3                                               \
    }
#define BIAS(units)                                                                                \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 1, {units}, 0                                                     \
    }
#define DENSE(title, batch, in, units, act, flag)                                                  \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {in}, 0}, WEIGHT(in, units), BIAS(units)},             \
        .attrs = {OP_TEXT("activation", act)}, .flags = (flag)                                     \
    }

static const op_case cases[] = {
    DENSE("1 by 1", 1, 1, 1, "none", 0),
    DENSE("2 by 2", 2, 2, 2, "none", 0),
    DENSE("31 to 33", 7, 31, 33, "none", 0),
    DENSE("32 to 32", 32, 32, 32, "none", 0),
    DENSE("33 to 31", 33, 33, 31, "none", 0),
    DENSE("63 to 65, relu", 13, 63, 65, "relu", OP_KINKS),
    DENSE("65 to 46, silu", 31, 65, 46, "silu", 0),
    DENSE("one sample", 1, 257, 46, "none", 0),
    DENSE("four samples, 64 columns and some", 4, 19, 70, "silu", 0),
    DENSE("three samples, relu", 3, 48, 129, "relu", OP_KINKS),
    DENSE("eight samples", 8, 33, 75, "silu", 0),
    DENSE("one unit", 65, 64, 1, "silu", 0),
    DENSE("primes", 17, 101, 103, "none", 0),
    {.name = "no bias",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {19}, 0}, WEIGHT(19, 23), {.kind = OP_ABSENT}}},
};

OP_SUITE(dense, NULL, cases);
