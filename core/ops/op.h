/* The contract of an operation. One op, one file: core/ops/<name>.c defines `const clvi_op
 * clvi_op_<name>`; its kernels stand in kernels/<name>.cl, its plain double-precision reference in
 * tests/ref/<name>_ref.c, its name in core/ops/ops.list. The build makes the table from that list.
 */
#ifndef CLVI_OP_H
#define CLVI_OP_H

#include "ops/node.h"
#include "runtime/runtime.h"

#include <stddef.h>

/* A list attribute as it lies in an op's attribute struct. */
typedef struct clvi_attr_ints {
    int64_t values[CLV_MAX_RANK];
    int32_t count; /* 0: not given */
} clvi_attr_ints;

/* One attribute: parsed into the op's attribute struct at `offset` as int64_t (INT), double (REAL),
 * clvi_attr_ints (INTS) or, for TEXT, an int64_t index into `choices` ("none|relu|silu"). */
typedef struct clvi_attr_spec {
    const char *name;
    clv_attr_type type;
    size_t offset;
    double default_value; /* for TEXT: index of the default choice */
    double min, max;
    const char *choices; /* TEXT only, separated by '|' */
    bool required;
} clvi_attr_spec;

/* While shapes are inferred. Everything but `outputs` is given. */
typedef struct clvi_shape_request {
    const struct clvi_op *op;
    const char *node; /* scoped name for messages */
    const void *attrs;
    int32_t input_count;
    const clv_shape *inputs[CLVI_MAX_INPUTS]; /* NULL: optional input absent */
    clv_shape outputs[CLVI_MAX_OUTPUTS];      /* to fill, with clvi_shape_make */
} clvi_shape_request;

/* An amount of memory that is affine in the batch: per_sample·n + constant, in elements. */
typedef struct clvi_amount {
    int64_t per_sample, constant;
} clvi_amount;

/* What one node wants from the plan; filled by op->needs from zero but for what is given. Bit i of
 * a mask: input/output i. */
typedef struct clvi_needs {
    int64_t max_batch;                 /* given: the most samples of a run */
    uint32_t backward_inputs;          /* inputs whose values backward reads */
    uint32_t backward_outputs;         /* outputs whose values backward reads */
    clvi_amount saved[CLVI_MAX_SAVED]; /* written by forward, read (and maybe spoilt) by backward */
    clvi_amount forward_workspace, backward_workspace; /* garbage before and after the call */
    clvi_amount
        prepared; /* written by op->prepare from variables only (packed or folded weights) */
    bool prepared_in_backward; /* backward reads it too */
    uint32_t grad_in_place;    /* grad_in[i] may be the very memory of grad_out[0] (same size) */
    uint32_t forward_in_place; /* out[0] may be the very memory of in[i] (same size) */
    /* Why the node cannot be planned (an op of a plugin), in the graph's arena; NULL: it can. */
    const char *refused;
} clvi_needs;

/* Random numbers of one run; see base/philox.h. A dropout op uses counter
 * (epoch, sample id, node index, element). */
typedef struct clvi_run_random {
    uint32_t key[2];
    uint32_t epoch;
    clvi_view ids; /* [n] u32 sample ids */
} clvi_run_random;

/* How a node of a training plan may run beside CLV_MODE_TRAIN and CLV_MODE_INFER: as in inference,
 * with gradients. Normalisations take running statistics, which stay as they are; what draws random
 * numbers draws none. Only built-in ops with `norm_inputs` or `draws` see it. */
#define CLVI_MODE_FROZEN ((clv_mode)(CLV_MODE_INFER + 1))

/* What a node can do along; other nodes are dropped for it (graph/join.h). What it reads for that
 * are inputs behind the op's max_inputs. Where it does so in training, backward gives the gradients
 * of these inputs, and takes those of the outputs. */
enum {
    CLVI_JOIN_SCALE = 1,    /* input max_inputs [N, C]: factors of input 0's channels (multiply) */
    CLVI_JOIN_ADD = 2,      /* input max_inputs + 1, as the output: added to it at the end (add) */
    CLVI_JOIN_SIGMOID = 4,  /* the output's sigmoid in its place */
    CLVI_JOIN_MAX_POOL = 8, /* the largest of 2 × 2 pixels of it each in its place */
    CLVI_JOIN_MEAN = 16, /* one output more, [N, C]: its mean over the pixels (global_avg_pool) */
    /* In node.behind: the depthwise_conv2d_bn that reads the output, whose output is the node's
     * then; and, with the mean, two dense layers: the second output is what they make of it. */
    CLVI_JOIN_DEPTHWISE = 32,
    CLVI_JOIN_DENSE = 64
};

/* One call of a node. Views are valid for this call; buf NULL means absent or not wanted. */
typedef struct clvi_run {
    clvi_device *device;
    const clv_graph *graph;
    const clvi_node *node;
    uint32_t node_index;
    clv_mode mode;
    int64_t n; /* samples, >= 1 */
    uint32_t
        wants_grad; /* bit i: backward will want (forward) / must write (backward) grad_in[i] */
    clvi_view in[CLVI_ALL_INPUTS], out[CLVI_MAX_OUTPUTS];
    clvi_view grad_in[CLVI_MAX_INPUTS]; /* overwritten by backward, never added to */
    /* buf NULL: that output has no gradient (is zero). Backward may spoil it: it is read last here.
     */
    clvi_view grad_out[CLVI_MAX_OUTPUTS];
    clvi_view saved[CLVI_MAX_SAVED];
    clvi_view workspace, prepared;
    clvi_run_random random;
} clvi_run;

typedef struct clvi_op {
    const char *name;
    int32_t min_inputs, max_inputs, output_count;
    const clvi_attr_spec *attrs;
    size_t attr_count, attr_bytes;
    bool is_alias; /* out[0] is in[0] with another shape: no kernels, no needs */
    bool draws;    /* its training differs from inference by random numbers */
    /* Bit i: input i is the weight or bias of a normalisation with running statistics. */
    uint32_t norm_inputs;
    /* Checks inputs and fills output shapes. CLV_E_SHAPE says node, what was given, what is wanted.
     */
    clv_status (*shape)(clvi_shape_request *request, clv_error *error);
    /* NULL: needs nothing. wants_grad as in clvi_run; 0 in inference. */
    void (*needs)(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *needs);
    /* NULL: nothing to prepare. Run before forward: every step in training, once after the
     * variables changed in inference. Sees in[] of variables, and prepared. */
    clv_status (*prepare)(const clvi_run *run, clv_error *error);
    clv_status (*forward)(const clvi_run *run, clv_error *error);
    /* NULL: no gradient passes (integer outputs). Overwrites grad_in[i] for each bit of wants_grad.
     */
    clv_status (*backward)(const clvi_run *run, clv_error *error);
    /* Writes out[0] once more, the same bits, from saved[], variables and the inputs of the mask
     * `again_inputs`, before backward has run; costs about a pass over memory. NULL: it cannot. */
    clv_status (*again)(const clvi_run *run, clv_error *error);
    uint32_t again_inputs;
    /* The CLVI_JOIN_… that this node can do on the device, with what it has joined already: in
     * inference, or in a plan for training, whatever mode the node runs in there. NULL: none. */
    uint32_t (*joins)(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                      bool training);
    /* Multiply-adds of forward for one sample. NULL: none worth counting. */
    int64_t (*macs)(const clv_graph *graph, const clvi_node *node);
} clvi_op;

/* Ops beside the built-in ones: those that plugins opened together have registered. */
typedef struct clvi_op_set {
    const clvi_op **ops;
    size_t count, capacity;
} clvi_op_set;

/* The built-in op of a name, or NULL. */
const clvi_op *clvi_op_find(const char *name);
size_t clvi_op_count(void);
const clvi_op *clvi_op_at(size_t index);

/* Shape of input or output i of a node. */
const clv_shape *clvi_in_shape(const clv_graph *graph, const clvi_node *node, int i);
const clv_shape *clvi_out_shape(const clv_graph *graph, const clvi_node *node, int i);
/* The call of the node behind another (node.behind) as part of the other's: node, in[] from 1 on
 * and what both share; no outputs, workspace or `prepared`. */
clvi_run clvi_run_behind(const clvi_run *run, const clvi_behind *behind);
/* Memory of `elements` that belong to what clvi_shape_elements counts of the shape: to each sample
 * of a batch, else to the whole. And of `each` elements for each index of its first axis. */
clvi_amount clvi_amount_of(const clv_shape *shape, int64_t elements);
clvi_amount clvi_amount_per_row(const clv_shape *shape, int64_t each);
/* The `macs` of an op whose input 1 is weights with the output channels last, [..., out], each
 * output element being a sum over all other axes: convolutions and dense. */
int64_t clvi_weight_macs(const clv_graph *graph, const clvi_node *node);
/* CLV_E_SHAPE: "node (op): sentence". */
#define CLVI_SHAPE_FAIL(error, op, request, ...)                                                   \
    return clvi_shape_fail((error), (op), (request), __FILE__, __LINE__, __VA_ARGS__)
clv_status clvi_shape_fail(clv_error *error, const char *op, const clvi_shape_request *request,
                           const char *file, int line, const char *format, ...) CLV_PRINTF(6, 7);

/* total[i] += part[i] for i < elements (kernels/add.cl): gradients that meet. Enqueues. */
clv_status clvi_add_into(clvi_device *device, clvi_view total, clvi_view part, int64_t elements,
                         clv_error *error) CLV_MUST_CHECK;

/* Sums over parts of n pictures' pixels: parts [n, count, channels]. */
typedef struct clvi_pixel_sums {
    clvi_view parts;
    int64_t n, count, channels;
} clvi_pixel_sums;
/* mean[n, k] = scale·Σ parts[n, i, k], i < count, in this order (kernels/global_avg_pool.cl).
 * Enqueues. */
clv_status clvi_mean_of_sums(clvi_device *device, clvi_view mean, const clvi_pixel_sums *sums,
                             float scale, clv_error *error) CLV_MUST_CHECK;

/* Activations that ops apply to their output; the values are CLV_ACT_… of kernels/activation.clh
 * too. */
typedef enum clvi_activation {
    CLVI_ACT_NONE = 0,
    CLVI_ACT_RELU = 1,
    CLVI_ACT_SILU = 2,
    CLVI_ACT_SIGMOID = 3 /* no choice of an attribute: only what a plan joins (CLVI_JOIN_SIGMOID) */
} clvi_activation;
#define CLVI_ACT_CHOICES "none|relu|silu"

#endif
