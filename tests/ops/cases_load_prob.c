/* load_prob: from one of two to nearly all of many; logits and spreads of ten thousand. */
#include "op_test.h"

ref_function load_prob_ref, load_prob_ref_backward;

#define LOAD(title, batch, columns, largest)                                                       \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {columns}, 0},                                         \
                   {OP_INPUT, OP_NORMAL, 1, {columns}, 0},                                         \
                   {OP_INPUT, OP_NORMAL, 1, {columns}, 0}},                                        \
        .attrs = {OP_INT("k", largest)}, .flags = OP_KINKS                                         \
    }

static const float clean[] = {1e4f, -1e4f, 0,    1, /* sure */
                              1,    0,     1e4f, 2, /* h is what noise of 1e4 made of it */
                              0,    0,     0,    0, /* nothing but noise */
                              1e4f, 1e4f,  1e4f, -1e4f};
static const float spreads[] = {-1e4f, -1e4f, -1e4f, -1e4f, 1e4f, 1e4f, 1e4f, 1e4f,
                                -1e4f, 1e4f,  -1e4f, 1e4f,  0,    0,    1e4f, -1e4f};
static const float noisy[] = {1e4f,   -1e4f, 0.01f,  1,     -1e4f, 2e4f, 1e4f,   3,
                              0.005f, 1e4f,  -0.01f, -1e4f, 1e4f,  1e4f, 1.5e4f, -1e4f};
#define EXTREME(title, largest)                                                                    \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {4}, 0},                                               \
                   {OP_INPUT, OP_NORMAL, 1, {4}, 0},                                               \
                   {OP_INPUT, OP_NORMAL, 1, {4}, 0}},                                              \
        .attrs = {OP_INT("k", largest)}, .values = {clean, spreads, noisy},                        \
        .flags = OP_NO_DIFFERENCES                                                                 \
    }

static const op_case cases[] = {
    LOAD("1 of 2", 3, 2, 1),
    LOAD("1 of 8", 33, 8, 1),
    LOAD("2 of 8", 31, 8, 2),
    LOAD("4 of 5", 7, 5, 4),
    LOAD("3 of 17", 1, 17, 3),
    LOAD("8 of 64", 2, 64, 8),
    {.name = "floor",
     .n = 5,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {4}, 0},
                {OP_INPUT, OP_NORMAL, 1, {4}, 0},
                {OP_INPUT, OP_NORMAL, 1, {4}, 0}},
     .attrs = {OP_INT("k", 2), OP_REAL("floor", 0.5)},
     .flags = OP_KINKS},
    EXTREME("extreme, 1 of 4", 1),
    EXTREME("extreme, 2 of 4", 2),
    EXTREME("extreme, 3 of 4", 3),
};

OP_SUITE(load_prob, load_prob_ref_backward, cases);
