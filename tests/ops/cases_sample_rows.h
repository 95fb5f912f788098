/* The cases of gather_samples and scatter_samples: lists in order of nothing, with repetitions, too
 * short, too long, and pointing outside (the half batch of each case makes half the list do that).
 */
#ifndef CLV_CASES_SAMPLE_ROWS_H
#define CLV_CASES_SAMPLE_ROWS_H

#include "op_test.h"

#define LIST(title, batch, size, fill, count)                                                      \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {                                                 \
            {OP_INPUT, OP_NORMAL, 1, {size}, 0},                                                   \
            {OP_INPUT, fill, 0, {0}, batch},                                                       \
            {OP_FIXED, OP_COUNT, 1, {1}, count}                                                    \
        }                                                                                          \
    }

static const op_case cases[] = {
    LIST("1 sample", 1, 1, OP_ORDER, 1),
    LIST("none", 3, 5, OP_ORDER, 0),
    LIST("all", 5, 31, OP_ORDER, 5),
    LIST("some", 33, 33, OP_ORDER, 20),
    LIST("more than there are", 7, 64, OP_ORDER, 1000000),
    LIST("less than none", 7, 3, OP_ORDER, -1),
    LIST("repeated", 31, 65, OP_LABELS, 29),
    LIST("several shares of a sample", 5, 9001, OP_LABELS, 4),
    {.name = "pictures",
     .n = 6,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {7, 5, 19}, 0},
                {OP_INPUT, OP_ORDER, 0, {0}, 0},
                {OP_FIXED, OP_COUNT, 1, {1}, 4}}},
};

#endif
