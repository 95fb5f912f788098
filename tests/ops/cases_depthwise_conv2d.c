/* depthwise_conv2d: the filters and strides with kernels of their own and others, paddings that do
 * not divide, channels around the widths of vectors, rows around the widths of blocks. */
#include "op_test.h"

ref_function depthwise_conv2d_ref, depthwise_conv2d_ref_backward;

#define PICTURE(h, w, c)                                                                           \
    {                                                                                              \
        OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0                                                       \
    }
#define WEIGHT(kh, kw, c)                                                                          \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 3, {kh, kw, c}, 0.3                                               \
    }
#define BIAS(c)                                                                                    \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 1, {c}, 0                                                         \
    }
#define STRIDES(h, w) OP_INT("stride_h", h), OP_INT("stride_w", w)
#define PADS(top, left, bottom, right)                                                             \
    OP_INT("pad_top", top), OP_INT("pad_left", left), OP_INT("pad_bottom", bottom),                \
        OP_INT("pad_right", right)

/* A square kernel k with padding p all around. */
#define CONV(title, batch, h, w, c, k, s, p, act, flag)                                            \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {PICTURE(h, w, c), WEIGHT(k, k, c), BIAS(c)},     \
        .attrs = {STRIDES(s, s), PADS(p, p, p, p), OP_TEXT("activation", act)}, .flags = (flag)    \
    }

static const op_case cases[] = {
    CONV("1 pixel", 1, 1, 1, 1, 1, 1, 0, "none", 0),
    CONV("1 pixel under 3 by 3", 3, 1, 1, 33, 3, 1, 1, "none", 0),
    CONV("3 by 3", 2, 8, 8, 32, 3, 1, 1, "none", 0),
    CONV("3 by 3, 31 channels, relu", 3, 7, 5, 31, 3, 1, 1, "relu", OP_KINKS | OP_AWKWARD),
    CONV("3 by 3, 33 channels, silu", 1, 9, 10, 33, 3, 1, 1, "silu", 0),
    CONV("3 by 3, 2 channels", 2, 5, 6, 2, 3, 1, 1, "none", 0),
    CONV("3 by 3, no padding", 2, 6, 5, 65, 3, 1, 0, "none", 0),
    CONV("3 by 3, rows of 33", 1, 5, 33, 16, 3, 1, 1, "silu", 0),
    CONV("3 by 3, wide padding", 2, 3, 4, 16, 3, 1, 4, "none", 0),
    CONV("3 by 3, stride 2", 2, 8, 7, 48, 3, 2, 1, "none", 0),
    CONV("3 by 3, stride 2, silu", 3, 7, 9, 17, 3, 2, 1, "silu", 0),
    CONV("3 by 3, stride 2, rows of 31", 1, 5, 31, 32, 3, 2, 1, "none", 0),
    CONV("5 by 5", 2, 9, 11, 32, 5, 1, 2, "none", 0),
    CONV("5 by 5, small picture", 3, 4, 3, 19, 5, 1, 2, "silu", 0),
    CONV("5 by 5, rows of 33", 1, 6, 33, 17, 5, 1, 2, "none", 0),
    CONV("5 by 5, stride 2", 2, 9, 8, 33, 5, 2, 2, "none", 0),
    CONV("5 by 5, stride 2, rows of 29", 1, 5, 29, 16, 5, 2, 2, "relu", OP_KINKS),
    CONV("7 by 7", 1, 9, 8, 18, 7, 1, 3, "none", 0),
    CONV("3 by 3, stride 3", 2, 10, 11, 16, 3, 3, 1, "silu", 0),
    CONV("stride beyond the kernel", 1, 10, 11, 5, 2, 3, 0, "none", 0),
    CONV("several vectors of channels", 2, 5, 5, 131, 3, 1, 1, "none", 0),
    CONV("several chunks", 3, 23, 19, 32, 3, 1, 1, "silu", 0),
    CONV("several chunks of 5 by 5, stride 2", 2, 41, 37, 3, 5, 2, 2, "none", 0),
    {.name = "oblong kernel, strides and padding apart",
     .n = 2,
     .inputs = {PICTURE(8, 19, 18), WEIGHT(2, 3, 18), BIAS(18)},
     .attrs = {STRIDES(2, 1), PADS(0, 2, 1, 1)}},
    {.name = "padding below and right only",
     .n = 2,
     .inputs = {PICTURE(8, 18, 16), WEIGHT(3, 3, 16), BIAS(16)},
     .attrs = {STRIDES(2, 2), PADS(0, 0, 1, 1)}},
    {.name = "padding apart, 5 by 5",
     .n = 3,
     .inputs = {PICTURE(7, 14, 16), WEIGHT(5, 5, 16), BIAS(16)},
     .attrs = {STRIDES(2, 2), PADS(1, 1, 2, 2)}},
    {.name = "no bias",
     .n = 3,
     .inputs = {PICTURE(5, 6, 35), WEIGHT(3, 3, 35), {.kind = OP_ABSENT}},
     .attrs = {STRIDES(1, 1), PADS(1, 1, 1, 1), OP_TEXT("activation", "silu")}},
};

OP_SUITE(depthwise_conv2d, depthwise_conv2d_ref_backward, cases);
