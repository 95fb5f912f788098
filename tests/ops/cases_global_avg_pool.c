/* global_avg_pool. */
#include "op_test.h"

ref_function global_avg_pool_ref, global_avg_pool_ref_backward;

#define SIZE(title, batch, h, w, c)                                                                \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = { {OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0} }        \
    }

static const op_case cases[] = {
    SIZE("1 pixel", 1, 1, 1, 1),
    SIZE("2 channels", 2, 3, 5, 2),
    SIZE("31 channels", 3, 4, 4, 31),
    SIZE("33 channels", 33, 2, 3, 33),
    SIZE("64 channels", 5, 7, 7, 64),
    SIZE("65 channels", 1, 5, 1, 65),
    {.name = "many pixels", .n = 2, .inputs = {{OP_INPUT, OP_POSITIVE, 3, {53, 61, 17}, 0}}},
};

OP_SUITE(global_avg_pool, global_avg_pool_ref_backward, cases);
