/* drop_path: which samples are kept must be what Philox says. */
#include "op_test.h"

ref_function drop_path_ref, drop_path_ref_backward;

#define SIZE(title, batch, size, r)                                                                \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, OP_NORMAL, 1, {size}, 0}}, .attrs = { \
            OP_REAL("rate", r)                                                                     \
        }                                                                                          \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1, 0.5),
    SIZE("31", 2, 31, 0.5),
    SIZE("32", 3, 32, 0.25),
    SIZE("33", 31, 33, 0.9),
    SIZE("63", 3, 63, 0.5),
    SIZE("64", 65, 64, 0.1),
    SIZE("65", 3, 65, 0.5),
    SIZE("none dropped", 3, 67, 0),
    SIZE("several shares of a sample", 3, 9001, 0.3),
    {.name = "picture, default rate", .n = 3, .inputs = {{OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}}},
};

OP_SUITE(drop_path, drop_path_ref_backward, cases);
