/* add: elementwise, so only the number of elements matters. */
#include "op_test.h"

ref_function add_ref, add_ref_backward;

#define SIZE(title, batch, size)                                                                   \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0},                                                   \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0}                                                    \
        }                                                                                          \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1),
    SIZE("31", 1, 31),
    SIZE("32", 2, 16),
    SIZE("33", 3, 11),
    SIZE("63", 3, 21),
    SIZE("65", 5, 13),
    SIZE("several shares", 3, 4099),
    {.name = "picture",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}, {OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}}},
};

OP_SUITE(add, add_ref_backward, cases);
