/* load_prob: from one of two to nearly all of many. */
#include "op_test.h"

ref_function load_prob_ref, load_prob_ref_backward;

#define LOAD(title, batch, columns, largest)                                                       \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {columns}, 0},                                         \
                   {OP_INPUT, OP_NORMAL, 1, {columns}, 0},                                         \
                   {OP_INPUT, OP_NORMAL, 1, {columns}, 0}},                                        \
        .attrs = {OP_INT("k", largest)}, .flags = OP_KINKS                                         \
    }

static const op_case cases[] = {
    LOAD("1 of 2", 3, 2, 1),
    LOAD("1 of 8", 33, 8, 1),
    LOAD("2 of 8", 31, 8, 2),
    LOAD("4 of 5", 7, 5, 4),
    LOAD("3 of 17", 1, 17, 3),
    LOAD("8 of 64", 2, 64, 8),
    {.name = "floor",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {4}, 0},
                {OP_INPUT, OP_NORMAL, 1, {4}, 0},
                {OP_INPUT, OP_NORMAL, 1, {4}, 0}},
     .attrs = {OP_INT("k", 2), OP_REAL("floor", 0.5)},
     .flags = OP_KINKS},
};

OP_SUITE(load_prob, load_prob_ref_backward, cases);
