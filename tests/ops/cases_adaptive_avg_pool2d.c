/* adaptive_avg_pool2d: pictures that divide evenly, do not, and are smaller than the output. */
#include "op_test.h"

ref_function adaptive_avg_pool2d_ref, adaptive_avg_pool2d_ref_backward;

#define POOL(title, batch, h, w, c, oh, ow)                                                        \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0}},         \
        .attrs = {                                                                                 \
            OP_INT("height", oh),                                                                  \
            OP_INT("width", ow)                                                                    \
        }                                                                                          \
    }

static const op_case cases[] = {
    POOL("1 pixel", 1, 1, 1, 1, 1, 1),
    POOL("1 pixel repeated", 3, 1, 1, 33, 7, 7),
    POOL("as it is", 2, 7, 7, 16, 7, 7),
    POOL("even", 2, 14, 21, 31, 7, 7),
    POOL("overlapping", 3, 10, 17, 17, 7, 5),
    POOL("smaller one way, larger the other", 2, 3, 11, 63, 7, 4),
    POOL("to one pixel", 2, 9, 8, 65, 1, 1),
    POOL("smaller", 5, 2, 4, 2, 7, 7),
    POOL("many rows", 13, 37, 5, 16, 31, 3),
};

OP_SUITE(adaptive_avg_pool2d, adaptive_avg_pool2d_ref_backward, cases);
