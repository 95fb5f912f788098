/* The operations' test harness. A suite is an operation's reference and its cases; a case is a
 * graph of that one operation with shapes, attributes and a batch. For each case:
 *   - inference and training: outputs (and states) against the reference, the plan's memory full of
 *     NaN before, guard bands and inputs unchanged after, the same bits from a second run;
 *   - training: the gradients of everything that has one against the reference's backward where it
 *     has one, and against 4-point central differences of loss = Σ r·out with random r; all
 * gradients at once and each alone;
 *   - an operation with running statistics: training with these frozen, the same way, and without
 *     any gradient;
 *   - each of it for the case's batch and for half of it in the same plan. */
#ifndef CLV_TEST_OP_TEST_H
#define CLV_TEST_OP_TEST_H

#include "ref/ref.h"

#include <stdbool.h>

typedef enum op_kind {
    OP_NONE,  /* ends the list */
    OP_INPUT, /* bound at each run; led by the batch */
    OP_FIXED, /* bound at each run, without a batch */
    OP_PARAMETER,
    OP_STATE,
    OP_ABSENT, /* optional input left out */
} op_kind;

typedef enum op_fill {
    OP_NORMAL,   /* normal, standard deviation 1 (or a, where a is not 0) */
    OP_AWAY,     /* normal, but at least 0.05 away from 0, where relu has a kink */
    OP_POSITIVE, /* uniform in 0.5 … 1.5 */
    OP_TIES,     /* one of -1, 0, 1 */
    OP_LARGE,    /* normal, standard deviation 5, plus 1000 */
    OP_LABELS,   /* integers 0 … a - 1 */
    OP_ORDER,    /* the integers 0 … elements - 1, shuffled */
    OP_COUNT,    /* the integer a */
} op_fill;

typedef struct op_input {
    op_kind kind;
    op_fill fill;
    int rank;
    int64_t dims[CLV_MAX_RANK]; /* of an OP_INPUT: of one sample, without the batch */
    double a;
} op_input;

enum {
    OP_NO_DIFFERENCES = 1, /* the derivative does not exist there (ties): reference only */
    OP_KINKS = 2,          /* differences that straddle a kink are left out, at most 5 % of them */
    OP_WHOLE = 4,     /* the reference is a record: of the whole batch, not half of it, and of no
                         frozen statistics */
    OP_AWKWARD = 8,   /* for slow implementations: small, and nothing divides */
    OP_WINOGRAD = 16, /* by Winograd's algorithm, where the device does that: 16 times the bounds */
};

enum { OP_MAX_ATTRS = 12 };

typedef struct op_case {
    const char *name;
    int64_t n; /* batch */
    op_input inputs[REF_MAX_INPUTS];
    clv_attr attrs[OP_MAX_ATTRS]; /* up to the first without a name */
    uint32_t flags;
    /* Given data instead of drawn, NULL where not: of inputs (`fill` says the type only), and
     * gradients of outputs. */
    const float *values[REF_MAX_INPUTS], *grad_out[REF_MAX_OUTPUTS];
} op_case;

/* Attributes in a case's initialiser. */
#define OP_ATTR(t, n, ...)                                                                         \
    {                                                                                              \
        .struct_size = sizeof(clv_attr), .type = (t), .name = (n), __VA_ARGS__                     \
    }
#define OP_INT(n, v)  OP_ATTR(CLV_ATTR_INT, n, .i = (v))
#define OP_REAL(n, v) OP_ATTR(CLV_ATTR_REAL, n, .real = (v))
#define OP_TEXT(n, v) OP_ATTR(CLV_ATTR_TEXT, n, .text = (v))

typedef struct op_suite {
    const char *op;
    ref_function *forward, *backward; /* backward NULL: differences only */
    const op_case *cases;
    size_t case_count;
} op_suite;

/* Whether a fill's values are i32 on the device; they have no gradient. */
static inline bool op_fill_is_integer(op_fill fill)
{
    return fill == OP_LABELS || fill == OP_ORDER || fill == OP_COUNT;
}

/* Defined by cases_<op>.c: OP_SUITE(relu, relu_ref_backward, cases). */
#define OP_SUITE(name, backward_, cases_)                                                          \
    const op_suite op_suite_##name = {#name, name##_ref, backward_, cases_,                        \
                                      sizeof(cases_) / sizeof *(cases_)}

struct clvi_device;

/* Runs one case; fails the running cmocka test with a sentence where something is wrong. */
void op_test_run(struct clvi_device *device, const op_suite *suite, const op_case *test);

#endif
