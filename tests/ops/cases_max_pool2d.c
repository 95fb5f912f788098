/* max_pool2d: strides and paddings that do not divide, channels around the widths of vectors. */
#include "op_test.h"

ref_function max_pool2d_ref, max_pool2d_ref_backward;

#define POOL(title, batch, h, w, c, fill, k, s, p, ...)                                            \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 3, {h, w, c}, 0}},              \
        .attrs = {OP_INT("kernel", k), OP_INT("stride", s), OP_INT("pad", p)}, __VA_ARGS__         \
    }

static const op_case cases[] = {
    POOL("1 pixel", 1, 1, 1, 1, OP_NORMAL, 1, 1, 0, .flags = OP_KINKS),
    POOL("2 by 2", 3, 8, 8, 32, OP_NORMAL, 2, 2, 0, .flags = OP_KINKS),
    POOL("2 by 2, odd picture", 3, 7, 9, 31, OP_NORMAL, 2, 2, 0, .flags = OP_KINKS),
    POOL("overlapping", 2, 7, 6, 33, OP_NORMAL, 3, 2, 1, .flags = OP_KINKS),
    POOL("stride 1", 2, 5, 7, 17, OP_NORMAL, 3, 1, 1, .flags = OP_KINKS),
    POOL("stride beyond the kernel", 3, 11, 13, 2, OP_NORMAL, 2, 3, 1, .flags = OP_KINKS),
    POOL("kernel as large as the picture", 2, 5, 5, 63, OP_NORMAL, 5, 1, 2, .flags = OP_KINKS),
    POOL("stride does not divide", 1, 10, 17, 65, OP_NORMAL, 4, 3, 2, .flags = OP_KINKS),
    POOL("largest kernel", 1, 15, 16, 3, OP_NORMAL, 15, 4, 7, .flags = OP_KINKS),
    POOL("many rows", 13, 37, 5, 16, OP_NORMAL, 2, 2, 0, .flags = OP_KINKS),
    POOL("ties", 3, 9, 7, 19, OP_TIES, 3, 2, 1, .flags = OP_NO_DIFFERENCES),
};

OP_SUITE(max_pool2d, max_pool2d_ref_backward, cases);
