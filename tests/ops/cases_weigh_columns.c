/* weigh_columns: blocks of equal and of different widths, weights that are exactly 0. */
#include "op_test.h"

ref_function weigh_columns_ref, weigh_columns_ref_backward;

static const float uneven[] = {0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2};
static const float holes[] = {0, 1, 0, 0.25f, 0, 0.75f, 0, 0, 0};

#define WEIGH(title, batch, columns, k)                                                            \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 1, {columns}, 0},                                                \
            {OP_INPUT, OP_POSITIVE, 1, {k}, 0},                                                    \
            {OP_FIXED, OP_LABELS, 1, {columns}, k}                                                 \
        }                                                                                          \
    }

static const op_case cases[] = {
    WEIGH("1 expert", 3, 1, 1),
    WEIGH("2 of 46", 33, 92, 2),
    WEIGH("8 of 17", 7, 136, 8),
    WEIGH("64", 2, 509, 64),
    {.name = "blocks",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {11}, 0},
                {OP_INPUT, OP_POSITIVE, 1, {3}, 0},
                {OP_FIXED, OP_LABELS, 1, {11}, 3}},
     .values = {NULL, NULL, uneven}},
    {.name = "holes",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {11}, 0},
                {OP_INPUT, OP_NORMAL, 1, {3}, 0},
                {OP_FIXED, OP_LABELS, 1, {11}, 3}},
     .values = {NULL, holes, uneven},
     .flags = OP_NO_DIFFERENCES},
};

OP_SUITE(weigh_columns, weigh_columns_ref_backward, cases);
