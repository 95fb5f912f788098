/* A graph made ready to run on the checks' device with values of the checks' making: inputs,
 * variables and gradients, and host copies of what comes out. */
#ifndef CONCLAVE_CHECK_RIG_H
#define CONCLAVE_CHECK_RIG_H

#include "check/check.h"
#include "graph/plan.h"

/* Random numbers of the checks: one stream, the same in each run of the command. */
typedef struct rig_dice {
    uint32_t draws;
} rig_dice;
double rig_normal(rig_dice *dice);

typedef struct rig_desc {
    clvi_device *device;
    const clv_graph *graph; /* outlives the rig */
    clv_mode mode;
    int64_t batch;             /* largest */
    const clv_tensor *outputs; /* at most CHECK_MOST_OUTPUTS; NULL: all declared ones */
    size_t output_count;       /* with `outputs` only */
    bool input_grads;          /* also gradients of f32 inputs */
    int64_t only;              /* -1: all gradients, else of this input/variable alone: inputs
                                  first, then variables */
} rig_desc;

typedef struct rig {
    rig_desc desc;
    clvi_store *store;
    uint32_t base;
    clvi_plan *plan;
    clv_tensor outputs[CHECK_MOST_OUTPUTS];
    size_t output_count;
    bool output_grad[CHECK_MOST_OUTPUTS];                       /* f32, and training */
    clvi_buf *inputs[CLVI_MAX_INPUTS], *grads[CLVI_MAX_INPUTS]; /* between guards */
    float *input_values[CLVI_MAX_INPUTS];
    float **values; /* of each variable, as they were set last */
    clvi_buf *ids;
    int64_t n;      /* of the last forward */
    uint32_t epoch; /* counter of the random numbers, 0 */
} rig;

/* Variables start as training starts them, a little moved so that none is 0; inputs are normal.
 * rig_close also after a failure. */
clv_status rig_open(rig *r, const rig_desc *desc, clv_error *error) CLV_MUST_CHECK;
void rig_close(rig *r);

/* Places of values: graph inputs first, then variables. */
size_t rig_count(const rig *r);
bool rig_is_state(const rig *r, size_t place);
/* Whether backward gives a gradient for it. */
bool rig_has_grad(const rig *r, size_t place);
const char *rig_name(const rig *r, size_t place);
const clv_shape *rig_shape(const rig *r, size_t place);
int64_t rig_elements(const rig *r, size_t place, int64_t n);
const float *rig_values(const rig *r, size_t place);
/* Sets the values of a place on host and device; `values`: for the largest batch. */
clv_status rig_set(rig *r, size_t place, const float *values, clv_error *error) CLV_MUST_CHECK;
/* The device's own values of a place, `out`: rig_elements of batch n. */
clv_status rig_read(const rig *r, size_t place, int64_t n, float *out,
                    clv_error *error) CLV_MUST_CHECK;

/* Sets states back to what they were set to, then forward of n samples. */
clv_status rig_forward(rig *r, int64_t n, clv_error *error) CLV_MUST_CHECK;
/* Backward of the last forward; `r_out`: per output its gradient, as rig_output gives values. */
clv_status rig_backward(rig *r, float *const *r_out, clv_error *error) CLV_MUST_CHECK;
/* Elements of output o in the last batch, and the values (or bits of integers). */
int64_t rig_output_elements(const rig *r, size_t o);
clv_status rig_output(const rig *r, size_t o, float *out, clv_error *error) CLV_MUST_CHECK;
/* Gradient of a place after backward. */
clv_status rig_grad(const rig *r, size_t place, float *out, clv_error *error) CLV_MUST_CHECK;

/* check_after.c. For a graph with states that change after a step: outputs for rig_desc: the route,
 * what was wanted where that is there, and what is summed; how many. One step of such a rig:
 * forward of batches of sizes[…] (up to a 0), then what the states become, which are set on the
 * host too. */
struct clvi_after_step;
size_t rig_after_outputs(const clv_graph *graph, clv_tensor out[CHECK_MOST_OUTPUTS]);
clv_status rig_after_step(rig *r, struct clvi_after_step *after, const int64_t *sizes, size_t count,
                          clv_error *error) CLV_MUST_CHECK;

/* Fills the plan's memory and all gradients with NaN. */
clv_status rig_poison(rig *r, clv_error *error) CLV_MUST_CHECK;
/* CLV_E_INTERNAL naming what was written that must not be: bands around tensors, what lies behind
 * the outputs, inputs and parameters. After rig_poison and a run. */
clv_status rig_check_guards(const rig *r, clv_error *error) CLV_MUST_CHECK;

/* The name of an output: its role, else its tensor's. */
const char *rig_output_name(const rig *r, size_t o);

/* Memory for floats, zeroed; NULL: out of memory. Free with clvi_free. */
float *rig_floats(int64_t count);
double rig_rms(const float *values, int64_t count);

#endif
