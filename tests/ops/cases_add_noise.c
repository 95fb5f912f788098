/* add_noise: the noise must be Philox's, whatever the width of vectors. */
#include "op_test.h"

ref_function add_noise_ref, add_noise_ref_backward;

#define SIZE(title, batch, size, spread)                                                           \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0},                                                   \
            {OP_INPUT, OP_NORMAL, 1, {size}, spread}                                               \
        }                                                                                          \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1, 0),
    SIZE("2", 2, 2, 0),
    SIZE("8", 33, 8, 0),
    SIZE("31", 3, 31, 0),
    SIZE("32", 3, 32, 0),
    SIZE("33", 31, 33, 0),
    SIZE("63", 3, 63, 0),
    SIZE("64", 65, 64, 0),
    SIZE("65", 3, 65, 0),
    SIZE("wide", 7, 17, 20),
    SIZE("several shares of a sample", 3, 9001, 0),
    {.name = "floor",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {6}, 0}, {OP_INPUT, OP_NORMAL, 1, {6}, 0}},
     .attrs = {OP_REAL("floor", 0.5)}},
};

OP_SUITE(add_noise, add_noise_ref_backward, cases);
