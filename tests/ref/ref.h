/* Plain double-precision references of the operations, written to be read, not to be fast. Each op
 * of core/ops/ops.list has tests/ref/<op>_ref.c with one function `void <op>_ref(ref_call *call)`
 * (forward) and, where it is easier to read than to differentiate, `void <op>_ref_backward(ref_call
 * *call)`. They share no code with the core but the host's Philox. */
#ifndef CLV_TEST_REF_H
#define CLV_TEST_REF_H

#include <conclave/plugin.h>

enum { REF_MAX_INPUTS = 8, REF_MAX_OUTPUTS = 4 };

/* A tensor with its batch: dims[0] of a batched one is n. Row-major. Integers (labels) are held as
 * doubles. */
typedef struct ref_tensor {
    int rank;
    int64_t dims[CLV_MAX_RANK];
    int64_t elements;
    double *data; /* NULL: optional input absent, or gradient not wanted */
} ref_tensor;

/* One call of an operation. */
typedef struct ref_call {
    bool train; /* else inference */
    const clv_attr *attrs;
    uint32_t attr_count;
    int input_count, output_count;
    ref_tensor in[REF_MAX_INPUTS];   /* read only */
    ref_tensor out[REF_MAX_OUTPUTS]; /* shaped, full of NaN; forward fills every element */
    /* state[i]: the value that in[i], a state, has after the call. Arrives as a copy of in[i], so a
     * forward in inference leaves it alone; data NULL where in[i] is no state. */
    ref_tensor state[REF_MAX_INPUTS];
    ref_tensor grad_out[REF_MAX_OUTPUTS]; /* backward only; read */
    ref_tensor grad_in[REF_MAX_INPUTS];   /* backward only; overwritten where data is not NULL */
    /* Random numbers; see clvi_run_random in core/ops/op.h. */
    uint32_t key[2], epoch, node_index;
    const uint32_t *ids; /* [n] sample ids */
} ref_call;

typedef void ref_function(ref_call *call);

/* An attribute of the call, or `fallback` (the op's documented default) when it is not given. */
int64_t ref_int(const ref_call *call, const char *name, int64_t fallback);
double ref_real(const ref_call *call, const char *name, double fallback);
const char *ref_text(const ref_call *call, const char *name, const char *fallback);

/* The activation of a name ("none", "relu", "silu") and its derivative at x (0 at relu's kink). */
double ref_act(double x, const char *name);
double ref_act_slope(double x, const char *name);

#endif
