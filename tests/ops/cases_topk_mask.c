/* topk_mask: from one of two to all of many, ties, rows longer than a vector. */
#include "op_test.h"

ref_function topk_mask_ref, topk_mask_ref_backward;

#define TOP(title, batch, columns, fill, a, largest, how, flag)                                    \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, fill, 1, {columns}, a}},              \
        .attrs = {OP_INT("k", largest), OP_TEXT("normalise", how)}, .flags = (flag)                \
    }

/* The bias is a state. */
#define BIASED(title, batch, columns, a, largest, how)                                             \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {columns}, a},                                         \
                   {OP_STATE, OP_NORMAL, 1, {columns}, 0.2}},                                      \
        .attrs = {OP_INT("k", largest), OP_TEXT("normalise", how)}, .flags = OP_KINKS              \
    }

/* Of the first row 0.5, 0.25, 0.25 the bias brings the last to the front. */
static const float hand_logits[] = {0.6931472f, 0, 0}, hand_bias[] = {0, 0, 0.375f};

/* exp of the difference is no float. */
static const float steep_logits[] = {300, 0, 0}, steep_bias[] = {0, 0, 3}, steep_grad[] = {4, 4, 4};

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
    BIASED("biased, 1 of 2", 33, 2, 0, 1, "before"),
    BIASED("biased, 2 of 8", 64, 8, 0, 2, "after"),
    BIASED("biased, 2 of 8, before", 31, 8, 0, 2, "before"),
    BIASED("biased, 3 of 17", 7, 17, 3, 3, "after"),
    BIASED("biased, 3 of 17, before", 7, 17, 3, 3, "before"),
    BIASED("biased, all of 5", 7, 5, 0, 5, "after"),
    {.name = "biased, by hand",
     .n = 1,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {3}, 0}, {OP_STATE, OP_NORMAL, 1, {3}, 0}},
     .values = {hand_logits, hand_bias},
     .attrs = {OP_INT("k", 1), OP_TEXT("normalise", "before")},
     .flags = OP_KINKS},
    {.name = "biased, too small for a float",
     .n = 1,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {3}, 0}, {OP_STATE, OP_NORMAL, 1, {3}, 0}},
     .values = {steep_logits, steep_bias},
     .grad_out = {steep_grad},
     .attrs = {OP_INT("k", 1), OP_TEXT("normalise", "before")},
     .flags = OP_NO_DIFFERENCES},
    {.name = "default",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {5}, 0}},
     .attrs = {OP_INT("k", 2)},
     .flags = OP_KINKS},
};

OP_SUITE(topk_mask, topk_mask_ref_backward, cases);
