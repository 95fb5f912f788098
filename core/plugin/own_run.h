/* What the two halves of own ops share: own_op.c (registering, and what the core calls) and
 * own_run.c (what the plugin's functions call). */
#ifndef CLVI_OWN_RUN_H
#define CLVI_OWN_RUN_H

#include "plugin/own_op.h"

typedef struct clvi_own_source {
    const char *name, *text;
    const char *program; /* "PLUGIN.OP.NAME": what the runtime knows it by */
} clvi_own_source;

typedef struct clvi_own_op {
    clvi_op op;                  /* first */
    const char *const **choices; /* per attribute that is a text: its choices */
    const clvi_own_source *sources;
    size_t source_count;
    clv_op_function *shape, *forward, *backward;
    clv_status (*needs)(const clv_op_host *host, const clv_run *run, clv_op_needs *needs,
                        clv_error *error);
    clv_status (*reference)(const clv_op_host *host, clv_run *run, const clv_reference *data,
                            clv_error *error);
} clvi_own_op;

/* The attributes of a node, one after the other in the order of op.attrs. */
typedef union clvi_own_value {
    int64_t i;
    double real;
    clvi_attr_ints ints;
} clvi_own_value;

typedef enum clvi_own_phase {
    CLVI_OWN_SHAPE,
    CLVI_OWN_NEEDS,
    CLVI_OWN_FORWARD,
    CLVI_OWN_BACKWARD,
    CLVI_OWN_REFERENCE
} clvi_own_phase;

struct clv_kernel {
    clvi_launch launch; /* begun, without arguments */
};

struct clv_run {
    clvi_own_phase phase;
    bool rehearsed; /* forward, backward: nothing is launched */
    const clvi_own_op *own;
    const void *attrs;
    const clv_shape *inputs[CLVI_MAX_INPUTS]; /* NULL: absent */
    const clv_shape *outputs[CLVI_MAX_OUTPUTS];
    clvi_device *device; /* NULL: no device has been chosen (shape, reference) */
    clv_mode mode;
    uint32_t wants_grad;
    int64_t n;
    clvi_shape_request *request; /* shape */
    uint32_t set;                /* shape: bit i: output i was set */
    const clvi_run *call;        /* forward, backward */
    const clv_op_needs *needs;   /* forward, backward */
    uint32_t kernel_count;
    struct clv_kernel kernels[CLV_MAX_KERNELS];
};

/* The table that the plugin's functions call through. Static. */
const clv_op_host *clvi_own_host(void);

/* What the node needs, asked of the plugin and checked. Errors: CLV_E_PLUGIN or the plugin's own.
 */
clv_status clvi_own_ask_needs(const clv_run *run, clv_op_needs *out,
                              clv_error *error) CLV_MUST_CHECK;

#endif
