/* topk_mask: from one of two to all of many, ties, rows longer than a vector. */
#include "op_test.h"

ref_function topk_mask_ref, topk_mask_ref_backward;

#define TOP(title, batch, columns, fill, a, largest, how, flag)                                    \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 1, {columns}, a}},              \
        .attrs = {OP_INT("k", largest), OP_TEXT("normalise", how)}, .flags = (flag)                \
    }

static const op_case cases[] = {
    TOP("1 of 1", 3, 1, OP_NORMAL, 0, 1, "after", OP_KINKS),
    TOP("1 of 2, before", 33, 2, OP_NORMAL, 0, 1, "before", OP_KINKS),
    TOP("1 of 8, before", 31, 8, OP_NORMAL, 0, 1, "before", OP_KINKS),
    TOP("1 of 8, after", 5, 8, OP_NORMAL, 0, 1, "after", OP_KINKS),
    TOP("2 of 8", 64, 8, OP_NORMAL, 0, 2, "after", OP_KINKS),
    TOP("2 of 8, before", 65, 8, OP_NORMAL, 0, 2, "before", OP_KINKS),
    TOP("3 of 16", 7, 16, OP_NORMAL, 0, 3, "after", OP_KINKS),
    TOP("16 of 17", 7, 17, OP_NORMAL, 0, 16, "after", OP_KINKS),
    TOP("all of 17", 7, 17, OP_NORMAL, 0, 17, "after", OP_KINKS),
    TOP("5 of 65, before", 3, 65, OP_NORMAL, 2, 5, "before", OP_KINKS),
    TOP("20 of 127", 2, 127, OP_NORMAL, 0, 20, "after", OP_KINKS),
    TOP("far from 0", 7, 13, OP_LARGE, 0, 4, "after", OP_KINKS),
    TOP("ties", 33, 7, OP_TIES, 0, 3, "after", OP_NO_DIFFERENCES),
    TOP("ties, before", 33, 40, OP_TIES, 0, 20, "before", OP_NO_DIFFERENCES),
    {.name = "default",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {5}, 0}},
     .attrs = {OP_INT("k", 2)},
     .flags = OP_KINKS},
};

OP_SUITE(topk_mask, topk_mask_ref_backward, cases);
