/* avg_pool2d: strides and paddings that do not divide, channels around the widths of vectors. */
#include "op_test.h"

ref_function avg_pool2d_ref, avg_pool2d_ref_backward;

#define POOL(title, batch, h, w, c, fill, k, s, p)                                                 \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 3, {h, w, c}, 0}}, .attrs = {   \
            OP_INT("kernel", k),                                                                   \
            OP_INT("stride", s),                                                                   \
            OP_INT("pad", p)                                                                       \
        }                                                                                          \
    }

static const op_case cases[] = {
    POOL("1 pixel", 1, 1, 1, 1, OP_NORMAL, 1, 1, 0),
    POOL("2 by 2", 3, 8, 8, 32, OP_NORMAL, 2, 2, 0),
    POOL("2 by 2, odd picture", 3, 7, 9, 31, OP_NORMAL, 2, 2, 0),
    POOL("overlapping", 2, 7, 6, 33, OP_NORMAL, 3, 2, 1),
    POOL("stride 1", 2, 5, 7, 17, OP_NORMAL, 3, 1, 1),
    POOL("stride beyond the kernel", 3, 11, 13, 2, OP_NORMAL, 2, 3, 1),
    POOL("kernel as large as the picture", 2, 5, 5, 63, OP_NORMAL, 5, 1, 2),
    POOL("stride does not divide", 1, 10, 17, 65, OP_NORMAL, 4, 3, 2),
    POOL("largest kernel", 1, 15, 16, 3, OP_NORMAL, 15, 4, 7),
    POOL("many rows", 13, 37, 5, 16, OP_NORMAL, 2, 2, 0),

};

OP_SUITE(avg_pool2d, avg_pool2d_ref_backward, cases);
