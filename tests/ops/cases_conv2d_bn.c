/* conv2d_bn: convolution, batch normalisation and activation in one. */
#include "op_test.h"

ref_function conv2d_bn_ref;

#define NORM(c)                                                                                    \
    {OP_PARAMETER, OP_POSITIVE, 1, {c}, 0}, {OP_PARAMETER, OP_NORMAL, 1, {c}, 0},                  \
        {OP_STATE, OP_NORMAL, 1, {c}, 0},                                                          \
    {                                                                                              \
        OP_STATE, OP_POSITIVE, 1, {c}, 0                                                           \
    }
#define CONV(title, batch, h, w, c, f, k, s, p, act, flag)                                         \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0},                                         \
                   {OP_PARAMETER, OP_NORMAL, 4, {k, k, c, f}, 0.3},                                \
                   NORM(f)},                                                                       \
        .attrs = {OP_INT("stride_h", s),     OP_INT("stride_w", s),   OP_INT("pad_top", p),        \
                  OP_INT("pad_left", p),     OP_INT("pad_bottom", p), OP_INT("pad_right", p),      \
                  OP_TEXT("activation", act)},                                                     \
        .flags = (flag)                                                                            \
    }

#define GROUPS(title, batch, h, w, c, f, g, k, s, p, act, flag)                                    \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0},                                         \
                   {OP_PARAMETER, OP_NORMAL, 4, {k, k, (c) / (g), f}, 0.3},                        \
                   NORM(f)},                                                                       \
        .attrs = {OP_INT("stride_h", s), OP_INT("stride_w", s),     OP_INT("pad_top", p),          \
                  OP_INT("pad_left", p), OP_INT("pad_bottom", p),   OP_INT("pad_right", p),        \
                  OP_INT("groups", g),   OP_TEXT("activation", act)},                              \
        .flags = (flag)                                                                            \
    }

static const op_case cases[] = {
    CONV("1 value per channel", 1, 1, 1, 3, 5, 1, 1, 0, "none", 0),
    CONV("1 by 1", 3, 4, 5, 31, 33, 1, 1, 0, "none", 0),
    CONV("1 by 1, silu", 5, 3, 3, 16, 32, 1, 1, 0, "silu", 0),
    CONV("1 by 1, four pixels left", 2, 2, 7, 24, 40, 1, 1, 0, "silu", 0),
    CONV("3 by 3", 3, 5, 7, 3, 17, 3, 1, 1, "none", 0),
    CONV("3 by 3, relu", 3, 6, 5, 3, 33, 3, 1, 1, "relu", OP_KINKS),
    CONV("3 by 3, silu", 2, 7, 6, 13, 31, 3, 1, 1, "silu", 0),
    CONV("3 by 3, 32 to 64, silu", 2, 4, 4, 32, 64, 3, 1, 1, "silu", 0),
    CONV("3 by 3, stride 2, relu", 3, 7, 8, 5, 65, 3, 2, 1, "relu", OP_KINKS),
    CONV("5 by 5, stride 2", 4, 9, 8, 2, 18, 5, 2, 2, "none", 0),
    CONV("several groups of statistics", 4, 21, 20, 2, 5, 3, 1, 1, "silu", 0),
    CONV("tiles, 64 to 70, silu", 3, 7, 8, 64, 70, 3, 1, 1, "silu", OP_WINOGRAD),
    CONV("one filter", 7, 5, 5, 3, 1, 3, 1, 0, "silu", 0),
    GROUPS("3 groups, silu", 3, 5, 6, 21, 51, 3, 3, 1, 1, "silu", 0),
    GROUPS("a group for every channel, stride 2", 4, 7, 8, 6, 6, 6, 3, 2, 1, "relu",
           OP_KINKS | OP_AWKWARD),
};

OP_SUITE(conv2d_bn, NULL, cases);
