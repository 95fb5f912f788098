/* pad: margins that differ from side to side, and none. */
#include "op_test.h"

ref_function pad_ref, pad_ref_backward;

#define PAD(title, batch, h, w, c, t, l, b, r)                                                     \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0}},         \
        .attrs = {                                                                                 \
            OP_INT("top", t),                                                                      \
            OP_INT("left", l),                                                                     \
            OP_INT("bottom", b),                                                                   \
            OP_INT("right", r)                                                                     \
        }                                                                                          \
    }

static const op_case cases[] = {
    PAD("1 pixel", 1, 1, 1, 1, 1, 1, 1, 1),
    PAD("nothing", 2, 3, 5, 7, 0, 0, 0, 0),
    PAD("below and right", 3, 8, 8, 3, 0, 0, 1, 1),
    PAD("above and left", 2, 5, 6, 31, 2, 3, 0, 0),
    PAD("all sides apart", 33, 4, 3, 2, 1, 2, 3, 4),
    PAD("33 channels", 1, 7, 5, 33, 1, 1, 2, 0),
    PAD("64 channels", 3, 5, 5, 64, 0, 1, 1, 2),
    PAD("wide margins", 1, 2, 3, 16, 5, 70, 9, 31),
    {.name = "default", .n = 2, .inputs = {{OP_INPUT, OP_NORMAL, 3, {3, 4, 5}, 0}}},
};

OP_SUITE(pad, pad_ref_backward, cases);
