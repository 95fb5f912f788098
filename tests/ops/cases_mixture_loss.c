/* mixture_loss: every term; from one expert to many; weights of a one-hot gate, and none at all;
 * logits of ten thousand. */
#include "op_test.h"

ref_function mixture_loss_ref, mixture_loss_ref_backward;

#define LOSS(title, batch, k, c, a, ...)                                                           \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {k, c}, a},                                            \
                   {OP_INPUT, OP_POSITIVE, 1, {k}, 0},                                             \
                   {OP_INPUT, OP_LABELS, 0, {0}, c}},                                              \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define TERM(term_) OP_TEXT("term", term_)
#define SMOOTH(by)  OP_REAL("label_smoothing", by)
#define BETA(by)    OP_REAL("beta", by)
#define OF_LOGITS() OP_TEXT("target_space", "logits")
#define MEAN()      OP_TEXT("distance", "mean")

/* One-hot, two of three, and no expert at all. */
static const float holes[] = {0, 1, 0, 0.25f, 0, 0.75f, 0, 0, 0, 1, 0, 0};
#define HOLES(title, c, spread, ...)                                                               \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {3, c}, spread},                                       \
                   {OP_INPUT, OP_NORMAL, 1, {3}, 0},                                               \
                   {OP_INPUT, OP_LABELS, 0, {0}, c}},                                              \
        .attrs = {__VA_ARGS__}, .values = {NULL, holes}, .flags = OP_NO_DIFFERENCES                \
    }

static const float even[] = {0.5f, 0.5f, 1, 1e-30f, 0.5f, 0.5f, 0.5f, 0.5f};
static const float which[] = {0, 1, 2, 3};

/* Right and wrong by ten thousand. */
static const float extremes[] = {
    1e4f, -1e4f, 0, -1e4f, -1e4f, 1e4f, 0,     0,  /* label 0: right, wrong */
    1e4f, 0,     0, 0,     0,     1e4f, -1e4f, 0,  /* label 1: wrong, right and hardly asked */
    0,    0,     0, 0,     1e4f,  1e4f, -1e4f, 0,  /* label 2: undecided, wrong */
    1e4f, 0,     0, -1e4f, 1e4f,  0,    0,     0}; /* label 3: both wrong, one less */

#define EXTREME(title, ...)                                                                        \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {2, 4}, 0},                                            \
                   {OP_INPUT, OP_NORMAL, 1, {2}, 0},                                               \
                   {OP_INPUT, OP_LABELS, 0, {0}, 4}},                                              \
        .attrs = {__VA_ARGS__}, .values = {extremes, even, which}, .flags = OP_NO_DIFFERENCES      \
    }
static const op_case cases[] = {
    LOSS("cooperative", 7, 4, 46, 0, TERM("cooperative")),
    LOSS("cooperative, logits, mean", 3, 3, 17, 0, TERM("cooperative"), OF_LOGITS(), MEAN()),
    LOSS("competitive", 7, 4, 46, 0, TERM("competitive")),
    LOSS("competitive, mean", 5, 2, 33, 0, TERM("competitive"), MEAN(), SMOOTH(0.1)),
    LOSS("competitive, logits", 2, 2, 3, 0, TERM("competitive"), OF_LOGITS()),
    LOSS("competitive_ce", 7, 4, 46, 2, TERM("competitive_ce")),
    LOSS("jacobs_mse", 7, 4, 46, 0, TERM("jacobs_mse")),
    LOSS("jacobs_mse, logits", 9, 8, 7, 0.5, TERM("jacobs_mse"), OF_LOGITS(), SMOOTH(0.2)),
    LOSS("jacobs_mse, mean", 3, 8, 7, 0, TERM("jacobs_mse"), MEAN()),
    LOSS("jacobs_ce", 33, 4, 46, 2, TERM("jacobs_ce")),
    LOSS("jacobs_ce, beta 2", 5, 5, 31, 2, TERM("jacobs_ce"), BETA(2.0), SMOOTH(0.1)),
    LOSS("mixture_nll", 5, 3, 19, 3, TERM("jacobs_ce"), BETA(1.0)),
    LOSS("1 expert", 1, 1, 2, 0, TERM("jacobs_ce"), BETA(1.0)),
    LOSS("1 expert, mse", 3, 1, 5, 0, TERM("jacobs_mse")),
    LOSS("64 experts", 1, 64, 5, 2, TERM("jacobs_ce")),
    LOSS("expert_ce", 5, 4, 46, 2, TERM("expert_ce")),
    LOSS("expert_ce, smooth", 5, 4, 10, 2, TERM("expert_ce"), SMOOTH(0.3)),
    HOLES("holes, cooperative", 5, 0, TERM("cooperative")),
    HOLES("holes, competitive", 5, 0, TERM("competitive")),
    HOLES("holes, jacobs_mse", 5, 0, TERM("jacobs_mse")),
    HOLES("holes, jacobs_ce", 33, 2, TERM("jacobs_ce")),
    HOLES("holes, expert_ce", 5, 2, TERM("expert_ce")),
    HOLES("holes, expert_ce, sparse", 5, 2, TERM("expert_ce"), OP_INT("sparse", 1)),
    EXTREME("extreme, cooperative", TERM("cooperative")),
    EXTREME("extreme, competitive", TERM("competitive")),
    EXTREME("extreme, competitive_ce", TERM("competitive_ce")),
    EXTREME("extreme, jacobs_mse", TERM("jacobs_mse")),
    EXTREME("extreme, jacobs_mse, logits", TERM("jacobs_mse"), OF_LOGITS()),
    EXTREME("extreme, jacobs_ce", TERM("jacobs_ce")),
    EXTREME("extreme, mixture_nll", TERM("jacobs_ce"), BETA(1.0)),
    EXTREME("extreme, smooth", TERM("competitive_ce"), SMOOTH(0.1)),
    EXTREME("extreme, expert_ce", TERM("expert_ce")),
};

OP_SUITE(mixture_loss, mixture_loss_ref_backward, cases);
