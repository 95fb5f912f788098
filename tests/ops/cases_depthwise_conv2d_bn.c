/* depthwise_conv2d_bn: depthwise convolution, batch normalisation and activation in one. */
#include "op_test.h"

ref_function depthwise_conv2d_bn_ref;

#define NORM(c)                                                                                    \
    {OP_PARAMETER, OP_POSITIVE, 1, {c}, 0}, {OP_PARAMETER, OP_NORMAL, 1, {c}, 0},                  \
        {OP_STATE, OP_NORMAL, 1, {c}, 0},                                                          \
    {                                                                                              \
        OP_STATE, OP_POSITIVE, 1, {c}, 0                                                           \
    }
#define CONV(title, batch, h, w, c, k, s, p, act, flag)                                            \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0},                                         \
                   {OP_PARAMETER, OP_NORMAL, 3, {k, k, c}, 0.3},                                   \
                   NORM(c)},                                                                       \
        .attrs = {OP_INT("stride_h", s),     OP_INT("stride_w", s),   OP_INT("pad_top", p),        \
                  OP_INT("pad_left", p),     OP_INT("pad_bottom", p), OP_INT("pad_right", p),      \
                  OP_TEXT("activation", act)},                                                     \
        .flags = (flag)                                                                            \
    }

static const op_case cases[] = {
    CONV("1 value per channel", 1, 1, 1, 5, 1, 1, 0, "none", 0),
    CONV("3 by 3", 3, 5, 7, 17, 3, 1, 1, "none", 0),
    CONV("3 by 3, silu", 2, 8, 9, 33, 3, 1, 1, "silu", OP_AWKWARD),
    CONV("3 by 3, relu, 2 channels", 3, 6, 5, 2, 3, 1, 1, "relu", OP_KINKS),
    CONV("3 by 3, stride 2, silu", 3, 7, 9, 48, 3, 2, 1, "silu", 0),
    CONV("5 by 5, silu", 3, 7, 6, 19, 5, 1, 2, "silu", 0),
    CONV("5 by 5, stride 2", 2, 9, 8, 32, 5, 2, 2, "none", 0),
    CONV("7 by 7", 2, 9, 8, 18, 7, 1, 3, "none", 0),
    CONV("several groups of statistics and chunks", 4, 23, 19, 35, 3, 1, 1, "silu", 0),
};

OP_SUITE(depthwise_conv2d_bn, NULL, cases);
