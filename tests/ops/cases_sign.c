/* sign: elementwise, so only the number of elements matters; zeros, too. */
#include "op_test.h"

ref_function sign_ref, sign_ref_backward;

#define SIZE(title, batch, size, fill, flag)                                                       \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 1, {size}, 0}}, .flags = (flag) \
    }

static const op_case cases[] = {
    SIZE("1 element", 1, 1, OP_AWAY, 0),
    SIZE("2", 2, 1, OP_AWAY, 0),
    SIZE("31", 1, 31, OP_AWAY, 0),
    SIZE("33", 3, 11, OP_AWAY, 0),
    SIZE("65", 5, 13, OP_AWAY, OP_AWKWARD),
    SIZE("several shares", 5, 4099, OP_AWAY, 0),
    SIZE("zeros", 2, 97, OP_TIES, OP_NO_DIFFERENCES),
};

OP_SUITE(sign, sign_ref_backward, cases);
