/* fuse_scores: from one expert to many, every rule, weights that are exactly 0, logits of ten
 * thousand. */
#include "op_test.h"

ref_function fuse_scores_ref, fuse_scores_ref_backward;

#define FUSE(title, batch, k, c, a, rule, what, flag)                                              \
    {                                                                                              \
        .name = (title), .n = (batch),                                                             \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {k, c}, a}, {OP_INPUT, OP_POSITIVE, 1, {k}, 0}},       \
        .attrs = {OP_TEXT("combine", rule), OP_TEXT("scores", what)}, .flags = (flag)              \
    }

/* One-hot, two of three, and no expert at all. */
static const float holes[] = {0, 1, 0, 0.25f, 0, 0.75f, 0, 0, 0, 1, 0, 0};
#define HOLES(title, rule, what, flag)                                                             \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {3, 5}, 0}, {OP_INPUT, OP_NORMAL, 1, {3}, 0}},         \
        .attrs = {OP_TEXT("combine", rule), OP_TEXT("scores", what)}, .values = {NULL, holes},     \
        .flags = (flag)                                                                            \
    }

/* Opposite, one-hot gates, sure beside doubtful. Where two are weighed, one of them finds a class
 * likely: f32 rounds the log of a sum to 10⁻³ at -10⁴. */
static const float extremes[] = {
    1e4f, -1e4f, 1e4f,  -1e4f, -1e4f, 1e4f, -1e4f, 1e4f, /* each sure of two */
    1e4f, 0,     1,     2,     3,     1e4f, -1e4f, 0,    /* only the first is asked */
    3,    0,     1,     2,     1e4f,  0,    -1e4f, 1,    /* only the second */
    1e4f, 0,     -1e4f, 2e3f,  1,     0.5f, 3,     2};   /* sure, doubtful */
static const float asked[] = {0.25f, 0.75f, 1, 0, 0, 1, 0.5f, 0.5f};
static const float sole[] = {1, 1, 1, 1};
#define EXTREME(title, k, weights, rule, what)                                                     \
    {                                                                                              \
        .name = (title), .n = 4,                                                                   \
        .inputs = {{OP_INPUT, OP_NORMAL, 2, {k, 4}, 0}, {OP_INPUT, OP_NORMAL, 1, {k}, 0}},         \
        .attrs = {OP_TEXT("combine", rule), OP_TEXT("scores", what)},                              \
        .values = {extremes, weights}, .flags = OP_NO_DIFFERENCES                                  \
    }

static const op_case cases[] = {
    FUSE("1 expert", 3, 1, 2, 0, "weighted", "probabilities", 0),
    FUSE("2 of 3 classes", 1, 2, 3, 0, "weighted", "probabilities", 0),
    FUSE("4 of 46", 33, 4, 46, 0, "weighted", "probabilities", 0),
    FUSE("8 of 17", 7, 8, 17, 3, "weighted", "probabilities", 0),
    FUSE("64 of 5", 2, 64, 5, 0, "weighted", "probabilities", 0),
    FUSE("logits", 31, 3, 46, 2, "weighted", "logits", 0),
    FUSE("logits, 1 expert", 2, 1, 31, 0, "weighted", "logits", 0),
    FUSE("product", 5, 4, 19, 0, "product_rule", "probabilities", 0),
    FUSE("product of logits", 5, 4, 19, 0, "product_rule", "logits", 0),
    FUSE("max", 9, 5, 33, 0, "max", "probabilities", OP_KINKS),
    FUSE("max of logits", 9, 5, 33, 0, "max", "logits", OP_KINKS),
    FUSE("min", 9, 5, 33, 0, "min", "probabilities", OP_KINKS),
    FUSE("median of 5", 9, 5, 31, 0, "median", "probabilities", OP_NO_DIFFERENCES),
    FUSE("median of 4", 3, 4, 31, 0, "median", "probabilities", OP_NO_DIFFERENCES),
    FUSE("median of 4, logits", 3, 4, 31, 0, "median", "logits", OP_NO_DIFFERENCES),
    FUSE("vote", 17, 5, 7, 0, "vote", "probabilities", OP_NO_DIFFERENCES),
    HOLES("holes, median", "median", "probabilities", OP_NO_DIFFERENCES),
    HOLES("holes, vote", "vote", "logits", OP_NO_DIFFERENCES),
    HOLES("holes", "weighted", "probabilities", OP_NO_DIFFERENCES),
    HOLES("holes, logits", "weighted", "logits", OP_NO_DIFFERENCES),
    HOLES("holes, product", "product_rule", "probabilities", OP_NO_DIFFERENCES),
    HOLES("holes, max", "max", "probabilities", OP_NO_DIFFERENCES),
    EXTREME("extreme", 2, asked, "weighted", "probabilities"),
    EXTREME("extreme, logits", 2, asked, "weighted", "logits"),
    EXTREME("extreme, product", 2, asked, "product_rule", "probabilities"),
    EXTREME("extreme, max", 2, asked, "max", "probabilities"),
    EXTREME("extreme, min", 2, asked, "min", "logits"),
    EXTREME("extreme, median", 2, asked, "median", "probabilities"),
    EXTREME("extreme, vote", 2, asked, "vote", "probabilities"),
    EXTREME("extreme, 1 expert", 1, sole, "weighted", "probabilities"),
    EXTREME("extreme, 1 expert, logits", 1, sole, "weighted", "logits"),
};

OP_SUITE(fuse_scores, fuse_scores_ref_backward, cases);
