/* multiply: equal shapes, where only the number of elements matters, and factors per sample and
 * channel, with pixels in one chunk and in several. */
#include "op_test.h"

ref_function multiply_ref, multiply_ref_backward;

#define SIZE(title, batch, size)                                                                   \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0},                                                   \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0}                                                    \
        }                                                                                          \
    }
#define CHANNELS(title, batch, h, w, c)                                                            \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0},                                                \
            {OP_INPUT, OP_NORMAL, 1, {c}, 0}                                                       \
        }                                                                                          \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1),
    SIZE("31", 1, 31),
    SIZE("32", 2, 16),
    SIZE("33", 3, 11),
    SIZE("65", 5, 13),
    SIZE("several shares", 3, 4099),
    {.name = "pictures",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}, {OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0}}},
    CHANNELS("1 pixel, 1 channel", 1, 1, 1, 1),
    CHANNELS("1 pixel", 3, 1, 1, 33),
    CHANNELS("2 channels", 2, 3, 5, 2),
    CHANNELS("31 channels", 3, 4, 4, 31),
    CHANNELS("32 channels", 33, 3, 3, 32),
    CHANNELS("65 channels", 1, 5, 1, 65),
    CHANNELS("several chunks", 3, 13, 17, 96),
    CHANNELS("more channels than a chunk holds", 2, 2, 3, 8209),
    {.name = "factors [N, 1, 1, C]",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {9, 7, 48}, 0}, {OP_INPUT, OP_NORMAL, 3, {1, 1, 48}, 0}}},
};

OP_SUITE(multiply, multiply_ref_backward, cases);
