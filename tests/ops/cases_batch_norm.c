/* batch_norm: m values per channel; m = 1 has variance 0 and leaves the running statistics alone.
 */
#include "op_test.h"

ref_function batch_norm_ref;

#define NORM(c)                                                                                    \
    {OP_PARAMETER, OP_POSITIVE, 1, {c}, 0}, {OP_PARAMETER, OP_NORMAL, 1, {c}, 0},                  \
        {OP_STATE, OP_NORMAL, 1, {c}, 0},                                                          \
    {                                                                                              \
        OP_STATE, OP_POSITIVE, 1, {c}, 0                                                           \
    }
#define PICTURE(title, batch, h, w, c, act, flag)                                                  \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 3, {h, w, c}, 0}, NORM(c)},                               \
        .attrs = {OP_TEXT("activation", act)}, .flags = (flag)                                     \
    }
#define ROW(title, batch, c, act, flag)                                                            \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, OP_NORMAL, 1, {c}, 0}, NORM(c)},      \
        .attrs = {OP_TEXT("activation", act)}, .flags = (flag)                                     \
    }

static const op_case cases[] = {
    PICTURE("1 value per channel", 1, 1, 1, 5, "none", 0),
    PICTURE("1 channel", 2, 3, 3, 1, "none", 0),
    PICTURE("2 channels", 3, 5, 7, 2, "none", 0),
    PICTURE("31 channels, relu", 3, 4, 5, 31, "relu", OP_KINKS),
    PICTURE("32 channels, silu", 2, 4, 4, 32, "silu", 0),
    PICTURE("33 channels", 5, 3, 3, 33, "none", 0),
    PICTURE("65 channels, silu", 1, 7, 3, 65, "silu", 0),
    PICTURE("many pixels", 2, 33, 31, 3, "none", 0),
    ROW("row", 33, 17, "none", 0),
    ROW("row, relu", 31, 64, "relu", OP_KINKS),
    {.name = "eps and momentum",
     .n = 3,
     .inputs = {{OP_INPUT, OP_NORMAL, 3, {3, 2, 19}, 0.05}, NORM(19)},
     .attrs = {OP_REAL("eps", 1e-3), OP_REAL("momentum", 0.01)}},
    {.name = "mean far from 0",
     .n = 4,
     .inputs = {{OP_INPUT, OP_POSITIVE, 3, {5, 5, 18}, 0}, NORM(18)}},
};

OP_SUITE(batch_norm, NULL, cases);
