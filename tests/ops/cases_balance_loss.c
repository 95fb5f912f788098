/* balance_loss: every term; one expert, many; batches of 1 and of thousands; a gate at balance, and
 * one of ±10,000. */
#include "op_test.h"

ref_function balance_loss_ref, balance_loss_ref_backward;

#define GATE(title, batch, k, how, a, term_, flag)                                                 \
    {                                                                                              \
        .name = (title), .n = (batch), .inputs = {{OP_INPUT, how, 1, {k}, a}},                     \
        .attrs = {OP_TEXT("term", term_)}, .flags = (flag)                                         \
    }
#define COUNT(title, batch, k, a)                                                                  \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 1, {k}, a}, {OP_INPUT, OP_POSITIVE, 1, {k}, 0}},          \
        .attrs = {OP_TEXT("term", "switch")}, .flags = OP_KINKS                                    \
    }

static const float extreme[] = {1e4f, -1e4f, 0, -1e4f, 1e4f, 0, 1e4f, -1e4f, -1e4f, 0, -1e4f, 0};
#define EXTREME(title, term_)                                                                      \
    {                                                                                              \
        .name = (title), .n = 4, .inputs = {{OP_INPUT, OP_NORMAL, 1, {3}, 0}},                     \
        .attrs = {OP_TEXT("term", term_)}, .values = {extreme}, .flags = OP_NO_DIFFERENCES         \
    }

/* Samples that nobody took, in both halves of the batch. */
static const float routed[] = {0, 0, 0, 0, 0.5f, 0, 0, 0, 0.25f, 0, 1, 0, 0, 0, 0, 0, 0, 0};
static const op_case cases[] = {
    GATE("importance", 33, 4, OP_POSITIVE, 0, "variation", 0),
    GATE("importance, 1 expert", 5, 1, OP_POSITIVE, 0, "variation", 0),
    GATE("importance, 64", 3, 64, OP_POSITIVE, 0, "variation", 0),
    GATE("importance, 1 sample", 1, 8, OP_POSITIVE, 0, "variation", 0),
    GATE("importance, many samples", 2003, 3, OP_POSITIVE, 0, "variation", 0),
    COUNT("switch", 33, 4, 0),
    COUNT("switch, 17 experts", 7, 17, 2),
    {.name = "switch, samples of nobody",
     .n = 6,
     .inputs = {{OP_INPUT, OP_NORMAL, 1, {3}, 0}, {OP_INPUT, OP_POSITIVE, 1, {3}, 0}},
     .attrs = {OP_TEXT("term", "switch")},
     .flags = OP_NO_DIFFERENCES,
     .values = {NULL, routed}},
    GATE("z", 31, 4, OP_NORMAL, 0, "z_loss", 0),
    GATE("z, far from 0", 5, 4, OP_LARGE, 0, "z_loss", OP_NO_DIFFERENCES),
    GATE("entropy", 31, 4, OP_NORMAL, 2, "entropy", 0),
    GATE("entropy, 1 expert", 3, 1, OP_NORMAL, 0, "entropy", OP_NO_DIFFERENCES),
    GATE("uniform", 3, 4, OP_NORMAL, 4, "kl_uniform", 0),
    GATE("uniform, 64", 2, 64, OP_NORMAL, 0, "kl_uniform", 0),
    EXTREME("extreme, z", "z_loss"),
    EXTREME("extreme, entropy", "entropy"),
    EXTREME("extreme, uniform", "kl_uniform"),
};

OP_SUITE(balance_loss, balance_loss_ref_backward, cases);
