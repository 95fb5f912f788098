/* reshape. */
#include "op_test.h"

ref_function reshape_ref, reshape_ref_backward;

static const int64_t to_picture[] = {3, 5, 7}, to_row[] = {66};

static const op_case cases[] = {
    {.name = "flatten", .n = 3, .inputs = {{OP_INPUT, OP_NORMAL, 3, {5, 3, 7}, 0}}},
    {.name = "1 element", .n = 1, .inputs = {{OP_INPUT, OP_NORMAL, 1, {1}, 0}}},
    {.name = "to a picture",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {105}, 0}},
     .attrs = {OP_ATTR(CLV_ATTR_INTS, "shape", .ints = to_picture, .int_count = 3)}},
    {.name = "to a row",
     .n = 2,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {2, 3, 11}, 0}},
     .attrs = {OP_ATTR(CLV_ATTR_INTS, "shape", .ints = to_row, .int_count = 1)}},
};

OP_SUITE(reshape, reshape_ref_backward, cases);
