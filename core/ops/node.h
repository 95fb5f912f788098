/* What a network is made of: tensors, variables, nodes, and the graph that holds them. Plain types,
 * which ops read and core/graph makes. No device, no memory of pixels. */
#ifndef CLVI_NODE_H
#define CLVI_NODE_H

#include "base/memory.h"

#include <conclave/plugin.h>

typedef enum clvi_tensor_kind {
    CLVI_TENSOR_ACTIVATION, /* an operation's output */
    CLVI_TENSOR_INPUT,      /* bound from outside at each run */
    CLVI_TENSOR_VARIABLE    /* parameter or state: lives in a store */
} clvi_tensor_kind;

typedef struct clvi_tensor {
    const char *name; /* scoped; "features.0.conv" for an output, "features.0.weight" */
    clvi_tensor_kind kind;
    clv_shape shape;
    int32_t producer; /* node index; -1: none */
    int32_t variable; /* index in graph->variables; -1: none */
    clv_tensor alias; /* the tensor whose memory this one is (reshape); CLV_NO_TENSOR: its own */
} clvi_tensor;

typedef struct clvi_variable {
    const char *name; /* scoped */
    clv_tensor tensor;
    bool is_state; /* saved with the weights, never has a gradient */
    bool no_decay; /* CLV_PARAMETER_NO_DECAY */
    clv_init init;
    double a;
    int64_t elements;
} clvi_variable;

struct clvi_op;

enum { CLVI_MAX_INPUTS = 8, CLVI_MAX_OUTPUTS = 4, CLVI_MAX_SAVED = 4, CLVI_MAX_SCOPES = 32 };
/* With the inputs of nodes that have joined; and most of those that bring inputs of their own. */
enum { CLVI_ALL_INPUTS = 20, CLVI_MAX_BEHIND = 3 };

struct clvi_node;

/* A node that runs behind another as part of it: its input i >= 1 is the other's input
 * first + i - 1. */
typedef struct clvi_behind {
    const struct clvi_node *node;
    int32_t first;
} clvi_behind;

typedef struct clvi_node {
    const struct clvi_op *op;
    const char *name; /* scoped */
    int32_t input_count, output_count;
    clv_tensor inputs[CLVI_ALL_INPUTS]; /* CLV_NO_TENSOR: optional input absent */
    clv_tensor outputs[CLVI_MAX_OUTPUTS];
    const void *attrs; /* the op's own attribute struct, parsed */
    /* What a plan has made part of it; nothing in graphs. CLVI_JOIN_…, and those of them with
     * inputs of their own, in the order in which they run. */
    uint32_t joined;
    int32_t behind_count;
    clvi_behind behind[CLVI_MAX_BEHIND];
} clvi_node;

typedef struct clvi_graph_input {
    clv_input_desc desc;
    clv_tensor tensor;
} clvi_graph_input;

typedef struct clvi_graph_output {
    const char *role;
    clv_tensor tensor;
} clvi_graph_output;

enum { CLVI_MAX_STEP_SUMS = 4, CLVI_MAX_NEW_STATES = 8 };

/* `sum`, an input of the graph: what `of` adds up to over all samples of a step of the optimiser.
 */
typedef struct clvi_step_sum {
    clv_tensor of, sum;
} clvi_step_sum;

/* What a state becomes after each step. */
typedef struct clvi_new_state {
    clv_tensor state, next;
} clvi_new_state;

struct clv_graph {
    clvi_arena *arena;
    const char *label;                  /* for messages: "expert.a (plugin cnn)" */
    const struct clvi_op_set *more_ops; /* beside the built-in ones; NULL: none */
    clvi_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    clvi_node *nodes;
    size_t node_count, node_capacity;
    clvi_variable *variables;
    size_t variable_count, variable_capacity;
    clvi_graph_input *inputs;
    size_t input_count, input_capacity;
    clvi_graph_output *outputs;
    size_t output_count, output_capacity;
    char *scope; /* "features.0." or "" */
    size_t scope_capacity;
    uint32_t scope_starts[CLVI_MAX_SCOPES]; /* length of `scope` before each open scope */
    uint32_t scope_count;
    clv_route_desc route; /* struct_size 0: none declared */
    clvi_step_sum step_sums[CLVI_MAX_STEP_SUMS];
    clvi_new_state new_states[CLVI_MAX_NEW_STATES];
    uint32_t step_sum_count, new_state_count;
};

/* The tensor whose memory `tensor` uses (follows aliases). */
clv_tensor clvi_graph_root(const clv_graph *graph, clv_tensor tensor);

/* Elements per sample of a shape led by CLV_BATCH, or all elements otherwise. */
int64_t clvi_shape_elements(const clv_shape *shape);
bool clvi_shape_batched(const clv_shape *shape);
/* Whether type, rank and extents are the same. */
bool clvi_shape_equal(const clv_shape *a, const clv_shape *b);
/* "[N, 32, 32, 3]" into `out` (64 bytes are enough). Returns `out`. */
const char *clvi_shape_text(const clv_shape *shape, char *out, size_t bytes);
/* A shape from extents: CLVI_SHAPE(CLV_F32, CLV_BATCH, 8, 8, 3). */
clv_shape clvi_shape_make(clv_dtype dtype, int rank, const int64_t *dims);
#define CLVI_SHAPE(dtype, ...)                                                                     \
    clvi_shape_make(dtype, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),              \
                    (const int64_t[]){__VA_ARGS__})

#endif
