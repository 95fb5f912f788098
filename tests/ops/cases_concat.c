/* concat: two to eight inputs, rows that end inside a vector. */
#include "op_test.h"

ref_function concat_ref, concat_ref_backward;

#define ROW(c)                                                                                     \
    {                                                                                              \
        OP_INPUT, OP_NORMAL, 1, {c}, 0                                                             \
    }
#define PICTURE(h, w, c)                                                                           \
    {                                                                                              \
        OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0                                                       \
    }

static const op_case cases[] = {
    {.name = "1 and 1", .n = 1, .inputs = {ROW(1), ROW(1)}},
    {.name = "31 and 33", .n = 3, .inputs = {ROW(31), ROW(33)}},
    {.name = "32 and 32", .n = 33, .inputs = {ROW(32), ROW(32)}},
    {.name = "65, 1 and 64", .n = 31, .inputs = {ROW(65), ROW(1), ROW(64)}},
    {.name = "several shares", .n = 7, .inputs = {ROW(4099), ROW(1009)}},
    {.name = "pictures",
     .n = 3,
     .inputs = {PICTURE(5, 7, 17), PICTURE(5, 7, 2), PICTURE(5, 7, 31)}},
    {.name = "eight",
     .n = 2,
     .inputs = {ROW(3), ROW(16), ROW(1), ROW(33), ROW(2), ROW(15), ROW(64), ROW(7)}},
    {.name = "a parameter",
     .n = 5,
     .inputs = {{OP_PARAMETER, OP_NORMAL, 2, {3, 5}, 0}, {OP_PARAMETER, OP_NORMAL, 2, {3, 18}, 0}}},
};

OP_SUITE(concat, concat_ref_backward, cases);
