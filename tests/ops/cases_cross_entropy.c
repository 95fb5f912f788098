/* cross_entropy: also of logits of ten thousand, right and wrong. */
#include "op_test.h"

ref_function cross_entropy_ref, cross_entropy_ref_backward;

#define SIZE(title, batch, classes, fill, a, ...)                                                  \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, fill, 1, {classes}, a}, {OP_INPUT, OP_LABELS, 0, {0}, classes}},     \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define SMOOTH(s) OP_REAL("label_smoothing", s)

static const float extremes[] = {1e4f, -1e4f, 0, 1,      /* label 0: right */
                                 1e4f, -1e4f, 0, 1,      /* label 1: the last */
                                 1e4f, 1e4f,  0, 1e4f,   /* label 2: not among the three first */
                                 0,    0,     0, -1e4f}; /* label 3: never */
static const float which[] = {0, 1, 2, 3};
#define EXTREME(title, ...)                                                                        \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {4}, 0}, {OP_INPUT, OP_LABELS, 0, {0}, 4}},            \
        .attrs = {__VA_ARGS__}, .values = {extremes, which}, .flags = OP_NO_DIFFERENCES            \
    }

static const op_case cases[] = {
    SIZE("1 class", 3, 1, OP_NORMAL, 0, {.name = NULL}),
    SIZE("2 classes", 1, 2, OP_NORMAL, 0, {.name = NULL}),
    SIZE("31", 33, 31, OP_NORMAL, 0, {.name = NULL}),
    SIZE("33", 31, 33, OP_NORMAL, 0, {.name = NULL}),
    SIZE("46", 65, 46, OP_NORMAL, 0, {.name = NULL}),
    SIZE("64", 63, 64, OP_NORMAL, 0, {.name = NULL}),
    SIZE("1009", 5, 1009, OP_NORMAL, 0, {.name = NULL}),
    SIZE("wide", 7, 17, OP_NORMAL, 6, {.name = NULL}),
    SIZE("far from 0", 7, 17, OP_LARGE, 0, {.name = NULL}),
    SIZE("smooth", 33, 46, OP_NORMAL, 0, SMOOTH(0.1)),
    SIZE("smooth, 2 classes", 2, 2, OP_NORMAL, 0, SMOOTH(0.25)),
    SIZE("smooth, 65", 5, 65, OP_NORMAL, 3, SMOOTH(0.3)),
    SIZE("all smooth", 5, 13, OP_NORMAL, 0, SMOOTH(1)),
    SIZE("smooth, far from 0", 7, 17, OP_LARGE, 0, SMOOTH(0.1)),
    EXTREME("extreme", {.name = NULL}),
    EXTREME("extreme, smooth", SMOOTH(0.1)),
};

OP_SUITE(cross_entropy, cross_entropy_ref_backward, cases);
