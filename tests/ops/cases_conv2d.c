/* conv2d: kernels, strides and paddings that do not divide, channels around the widths of blocks.
 */
#include "op_test.h"

ref_function conv2d_ref;

#define PICTURE(h, w, c)                                                                           \
    {                                                                                              \
        OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0                                                       \
    }
#define WEIGHT(kh, kw, c, f)                                                                       \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 4, {kh, kw, c, f}, 0.3                                            \
    }
#define BIAS(f)                                                                                    \
    {                                                                                              \
        OP_PARAMETER, OP_NORMAL, 1, {f}, 0                                                         \
    }
#define STRIDES(h, w) OP_INT("stride_h", h), OP_INT("stride_w", w)
#define PADS(top, left, bottom, right)                                                             \
    OP_INT("pad_top", top), OP_INT("pad_left", left), OP_INT("pad_bottom", bottom),                \
        OP_INT("pad_right", right)

/* A square kernel k with padding p all around. */
#define CONV(title, batch, h, w, c, f, k, s, p, act, flag)                                         \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {PICTURE(h, w, c), WEIGHT(k, k, c, f), BIAS(f)},  \
        .attrs = {STRIDES(s, s), PADS(p, p, p, p), OP_TEXT("activation", act)}, .flags = (flag)    \
    }

/* The same in g groups of channels. */
#define GROUPS(title, batch, h, w, c, f, g, k, s, p, act, flag)                                    \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {PICTURE(h, w, c), WEIGHT(k, k, (c) / (g), f), BIAS(f)},                         \
        .attrs = {STRIDES(s, s), PADS(p, p, p, p), OP_INT("groups", g),                            \
                  OP_TEXT("activation", act)},                                                     \
        .flags = (flag)                                                                            \
    }

static const op_case cases[] = {
    CONV("1 pixel", 1, 1, 1, 1, 1, 1, 1, 0, "none", 0),
    CONV("1 by 1", 3, 5, 7, 31, 33, 1, 1, 0, "none", 0),
    CONV("1 by 1, stride 2", 2, 7, 6, 33, 17, 1, 2, 0, "none", 0),
    CONV("1 by 1, relu", 1, 4, 4, 32, 32, 1, 1, 0, "relu", OP_KINKS),
    CONV("1 by 1, silu", 3, 3, 5, 65, 63, 1, 1, 0, "silu", 0),
    CONV("1 by 1, four pixels left", 1, 4, 7, 19, 50, 1, 1, 0, "silu", 0),
    CONV("3 by 3", 2, 8, 8, 3, 32, 3, 1, 1, "none", 0),
    CONV("3 by 3, relu", 3, 7, 5, 17, 33, 3, 1, 1, "relu", OP_KINKS),
    CONV("3 by 3, silu", 1, 9, 10, 16, 31, 3, 1, 1, "silu", 0),
    CONV("3 by 3, 64 to 65", 1, 5, 5, 64, 65, 3, 1, 1, "none", 0),
    CONV("3 by 3, no padding", 2, 6, 5, 5, 7, 3, 1, 0, "none", 0),
    CONV("3 by 3, stride 2", 2, 7, 8, 13, 33, 3, 2, 1, "none", 0),
    CONV("3 by 3, stride 3", 1, 11, 10, 4, 3, 3, 3, 1, "none", 0),
    CONV("stride beyond the kernel", 1, 10, 11, 3, 5, 2, 3, 0, "none", 0),
    CONV("5 by 5", 2, 6, 7, 3, 19, 5, 1, 2, "none", 0),
    CONV("5 by 5, stride 2", 1, 9, 9, 2, 32, 5, 2, 2, "silu", 0),
    CONV("kernel larger than the picture", 2, 3, 2, 3, 5, 5, 1, 2, "none", 0),
    CONV("rows of 33 pixels", 1, 3, 33, 3, 16, 3, 1, 1, "none", 0),
    CONV("many weights", 2, 4, 5, 130, 129, 3, 1, 1, "none", OP_WINOGRAD),
    CONV("tiles that do not fit, relu", 2, 7, 6, 64, 66, 3, 1, 1, "relu", OP_WINOGRAD | OP_KINKS),
    CONV("tiles without padding, silu", 1, 10, 9, 67, 64, 3, 1, 0, "silu", OP_WINOGRAD),
    CONV("several chunks of tiles", 3, 45, 44, 64, 64, 3, 1, 1, "none",
         OP_WINOGRAD | OP_NO_DIFFERENCES),
    CONV("tiles of many channels", 1, 4, 4, 576, 64, 3, 1, 1, "none",
         OP_WINOGRAD | OP_NO_DIFFERENCES),
    {.name = "tiles, padding wider than the filter reaches",
     .n = 2,
     .inputs = {PICTURE(7, 6, 64), WEIGHT(3, 3, 64, 64), BIAS(64)},
     .attrs = {STRIDES(1, 1), PADS(3, 4, 0, 0)},
     .flags = OP_WINOGRAD},
    {.name = "tiles, padding of each side its own",
     .n = 3,
     .inputs = {PICTURE(6, 7, 80), WEIGHT(3, 3, 80, 72), BIAS(72)},
     .attrs = {STRIDES(1, 1), PADS(0, 2, 3, 1)},
     .flags = OP_WINOGRAD},
    CONV("several chunks of pixels", 3, 20, 21, 8, 5, 3, 1, 1, "none", 0),
    CONV("one filter", 3, 6, 6, 9, 1, 3, 1, 1, "none", 0),
    GROUPS("2 groups of 17", 2, 5, 6, 34, 36, 2, 3, 1, 1, "none", 0),
    GROUPS("3 groups, stride 2, silu", 2, 7, 8, 15, 33, 3, 3, 2, 1, "silu", OP_AWKWARD),
    GROUPS("groups of 1 by 1", 3, 4, 5, 12, 64, 4, 1, 1, 0, "none", 0),
    GROUPS("4 groups of 16 to 33", 1, 6, 5, 64, 132, 4, 3, 1, 1, "none", 0),
    GROUPS("a group for every channel", 2, 6, 7, 5, 10, 5, 3, 1, 1, "relu", OP_KINKS),
    GROUPS("13 groups of one filter, 5 by 5, stride 2", 1, 9, 8, 26, 13, 13, 5, 2, 2, "none", 0),
    GROUPS("groups, several chunks", 3, 20, 21, 8, 6, 2, 3, 1, 1, "none", 0),
    {.name = "oblong kernel, strides and padding apart",
     .n = 2,
     .inputs = {PICTURE(8, 9, 5), WEIGHT(2, 3, 5, 18), BIAS(18)},
     .attrs = {STRIDES(2, 1), PADS(0, 2, 1, 1)}},
    {.name = "padding below and right only",
     .n = 2,
     .inputs = {PICTURE(8, 8, 3), WEIGHT(3, 3, 3, 16), BIAS(16)},
     .attrs = {STRIDES(2, 2), PADS(0, 0, 1, 1)}},
    {.name = "no bias",
     .n = 3,
     .inputs = {PICTURE(5, 6, 7), WEIGHT(3, 3, 7, 11), {.kind = OP_ABSENT}},
     .attrs = {STRIDES(1, 1), PADS(1, 1, 1, 1), OP_TEXT("activation", "silu")}},
};

OP_SUITE(conv2d, NULL, cases);
