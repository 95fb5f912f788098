/* fill. */
#include "op_test.h"

ref_function fill_ref, fill_ref_backward;

static const op_case cases[] = {
    {.name = "zeros",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {5, 3, 7}, 0}},
     .attrs = {OP_INT("units", 33)}},
    {.name = "1 element",
     .n = 1,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {1}, 0}},
     .attrs = {OP_INT("units", 1), OP_REAL("value", -2.5)}},
    {.name = "a third",
     .n = 65,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {2}, 0}},
     .attrs = {OP_INT("units", 67), OP_REAL("value", 1.0 / 3)}},
};

OP_SUITE(fill, fill_ref_backward, cases);
