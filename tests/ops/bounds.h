/* How far an operation's f32 result may lie from the reference. */
#ifndef CLV_TEST_BOUNDS_H
#define CLV_TEST_BOUNDS_H

/* Passes where |a - b| <= atol·s + rtol·|b|; s is the root mean square of the reference tensor:
 * what a sum of many terms loses is in proportion to its terms, not to what they happen to cancel
 * to. */
typedef struct op_bounds {
    const char *op;
    double atol, rtol;           /* outputs and states */
    double grad_atol, grad_rtol; /* gradients */
    const char *reason;
} op_bounds;

/* Never NULL for an op of ops.list: the registry test sees to it. */
const op_bounds *op_bounds_find(const char *op);

#endif
