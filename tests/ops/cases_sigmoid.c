/* sigmoid: elementwise, so only the number of elements matters. */
#include "op_test.h"

ref_function sigmoid_ref, sigmoid_ref_backward;

#define SIZE(title, batch, size)                                                                   \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = { {OP_INPUT, OP_NORMAL, 1, {size}, 0} }           \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1),
    SIZE("2", 2, 1),
    SIZE("31", 1, 31),
    SIZE("32", 1, 32),
    SIZE("33", 3, 11),
    SIZE("63", 3, 21),
    SIZE("64", 4, 16),
    SIZE("65", 5, 13),
    SIZE("a share and one", 17, 241),
    SIZE("several shares", 5, 4099),
    {.name = "picture", .n = 3, .inputs = {{OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}}},
    {.name = "wide", .n = 3, .inputs = {{OP_INPUT, OP_NORMAL, 1, {67}, 8}}},
    {.name = "overflow", .n = 2, .inputs = {{OP_INPUT, OP_LARGE, 1, {35}, 0}}},
};

OP_SUITE(sigmoid, sigmoid_ref_backward, cases);
