/* An operation of a plugin's own: shape rule, memory, forward, backward and the OpenCL C that they
 * run. A plugin registers it in the `init` slot of clv_plugin and then uses it in `build` like any
 * other, by its name. Training, frozen parameters, guard bands and gradient checks treat it as they
 * treat the operations of Conclave. plugins/README.md shows a whole one.
 *
 *   static clv_status forward(const clv_op_host *host, clv_run *run, clv_error *error)
 *   {
 *       const clv_run_facts f = clv_run_facts_of(host, run);
 *       const clv_shape x = clv_run_input_shape(host, run, 0);
 *       const int64_t elements = f.n * x.dims[1];
 *       clv_launch l = clv_launch_begin(host, run, "scale", "scale_fwd", "", error);
 *       clv_launch_output(&l, 0);
 *       clv_launch_input(&l, 0);
 *       clv_launch_int(&l, elements);
 *       return clv_launch_end(&l, (size_t)((elements + 63) / 64), 1, 1);
 *   }
 *
 * The functions of an op get the table `host` and one call, `run`. They see no memory: they name it
 * (input 0, gradient of output 0, saved 1, …), and the host puts the right buffer in. They keep
 * nothing between calls, and may be called from any thread. */
#ifndef CONCLAVE_OWN_OP_H
#define CONCLAVE_OWN_OP_H

#include <conclave/plugin.h>

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CLV_MAX_SAVED = 4, CLV_MAX_ARGS = 24, CLV_MAX_KERNELS = 8 };

/* One call of an op: its node, and what is to be done with it. Valid until the function that was
 * given it returns. */
typedef struct clv_run clv_run;

/* A kernel found by clv_op_host.kernel; valid as long as its clv_run. */
typedef struct clv_kernel clv_kernel;

/* ---- What is known of a call ---- */

typedef enum clv_device_kind { CLV_DEVICE_CPU = 1, CLV_DEVICE_GPU = 2 } clv_device_kind;

/* Bit i of a mask means input or output i. */
typedef struct clv_run_facts {
    uint32_t struct_size;
    uint32_t mode;         /* clv_mode */
    int64_t n;             /* samples of this batch, 1 or more; 0 in shape and needs */
    uint32_t inputs;       /* which are given: optional ones may be absent */
    uint32_t wants_grad;   /* gradients of inputs that backward has to write; 0 when inferring */
    uint32_t output_grads; /* backward: outputs that have a gradient; that of others is zero */
    uint32_t device;       /* clv_device_kind: the form of kernel that is fast here */
    int32_t vector;        /* floats per vector, the kernels' CLV_V: 4, 8 or 16 */
    uint32_t compute_units;
    uint64_t max_group;   /* work-items per work-group, at most */
    uint64_t local_bytes; /* local memory per work-group, at most */
} clv_run_facts;

/* What random numbers are made from: Philox4x32-10 with `key` and counter (epoch, sample's id, op,
 * element / 4), word element % 4, so that a draw depends on nothing but the sample, and forward and
 * backward draw alike. The samples' ids are the kernel argument CLV_ARG_IDS. */
typedef struct clv_rng {
    uint32_t struct_size;
    uint32_t key[2], epoch, op;
} clv_rng;

/* What one node wants besides its inputs and outputs. Values that backward reads have to be named
 * here: others are gone by then. Memory is counted in elements of 4 bytes, each amount 0 … 2^31 -
 * 1: with n samples there are per_sample·n + constant. */
typedef struct clv_op_needs {
    uint32_t struct_size;
    uint32_t backward_inputs, backward_outputs; /* whose values backward reads */
    uint32_t forward_in_place; /* output 0 may be the very memory of input i, where sizes agree */
    uint32_t grad_in_place;    /* gradient of input i may be the memory of output 0's gradient */
    uint32_t reserved;         /* 0 */
    /* Written by forward, read by backward. */
    int64_t saved_per_sample[CLV_MAX_SAVED], saved_constant[CLV_MAX_SAVED];
    /* Workspace, undefined before and after the call. */
    int64_t forward_per_sample, forward_constant;
    int64_t backward_per_sample, backward_constant;
} clv_op_needs;

/* ---- Arguments of kernels ---- */

/* Memory takes two arguments of a kernel: `__global T *` and `ulong`, the offset of its first
 * element. */
typedef enum clv_arg_kind {
    CLV_ARG_INPUT = 1,   /* input `index`; a parameter is an input, too */
    CLV_ARG_OUTPUT,      /* output `index` */
    CLV_ARG_GRAD_INPUT,  /* gradient of input `index`: backward overwrites all of it */
    CLV_ARG_GRAD_OUTPUT, /* gradient of output `index` */
    CLV_ARG_SAVED,       /* saved memory `index` */
    CLV_ARG_WORKSPACE,   /* of forward or of backward, whichever runs */
    CLV_ARG_IDS,         /* [n] uint: names of the samples, for random numbers */
    CLV_ARG_INT,         /* int, `value` */
    CLV_ARG_UINT,        /* uint, `value` */
    CLV_ARG_FLOAT,       /* float, `real` */
    CLV_ARG_LOCAL,       /* __local memory of `value` bytes */
    CLV_ARG_NULL,        /* no memory, where a kernel takes some */
    /* Added to a memory's kind: what is absent or not wanted becomes NULL, which the kernel has to
     * test; without it that is an error. */
    CLV_ARG_OR_NULL = 256
} clv_arg_kind;

typedef struct clv_arg {
    uint32_t struct_size;
    uint32_t kind; /* clv_arg_kind */
    uint32_t index;
    uint32_t reserved; /* 0 */
    int64_t value;     /* of memory: elements to skip */
    double real;
} clv_arg;

/* Which extent of a product grows with the batch: it is then given per sample. */
typedef enum clv_gemm_batch {
    CLV_GEMM_FIXED = 0,
    CLV_GEMM_BATCH_M = 1,
    CLV_GEMM_BATCH_K = 2
} clv_gemm_batch;

/* c[m, n] = op(a)·op(b) (+ c when accumulating) (+ bias[n]), all row-major f32. op(a) [m, k]: a has
 * rows of lda elements, or is [k, lda] when transposed; b likewise. Operands are memory arguments,
 * read during the call. */
typedef struct clv_gemm {
    uint32_t struct_size;
    uint32_t transpose_a, transpose_b, accumulate; /* 0 or 1 */
    uint32_t batch;                                /* clv_gemm_batch */
    uint32_t reserved;                             /* 0 */
    int64_t m, n, k;                               /* 1 or more */
    int64_t lda, ldb, ldc;                         /* elements; 0: dense */
    const clv_arg *a, *b, *c;
    const clv_arg *bias;      /* NULL: none */
    const clv_arg *workspace; /* as much as gemm_workspace says; NULL where that is nothing */
} clv_gemm;

/* ---- What the host offers to an op ---- */

typedef struct clv_op_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;

    /* Records one sentence in `error` and returns `status`; the host puts node and op before it. */
    clv_status (*fail)(clv_error *error, clv_status status, const char *file, int line,
                       const char *format, ...) CLV_PRINTF(5, 6);
    /* Everywhere. out->struct_size is set by the caller. */
    clv_status (*facts)(const clv_run *run, clv_run_facts *out, clv_error *error);
    /* The node's attribute: i, real, text (of a choice), or ints with int_count, by its declared
     * type; one not given has its default. */
    clv_status (*attribute)(const clv_run *run, const char *name, clv_attr *out, clv_error *error);
    /* dims[0] is CLV_BATCH where the tensor grows with the batch. An absent input is
     * CLV_E_INTERNAL. Outputs: not in the shape rule. */
    clv_status (*input_shape)(const clv_run *run, uint32_t input, clv_shape *out, clv_error *error);
    clv_status (*output_shape)(const clv_run *run, uint32_t output, clv_shape *out,
                               clv_error *error);
    /* In the shape rule: every output has to be given a shape. */
    clv_status (*set_output)(clv_run *run, uint32_t output, const clv_shape *shape,
                             clv_error *error);

    /* In forward and backward. */
    clv_status (*rng)(const clv_run *run, clv_rng *out, clv_error *error);
    /* The kernel `name` of the source `source` of this op, built with `options` ("-DSIZE=3", "" for
     * none) besides -cl-std=CL1.2 and -DCLV_V. It must have reqd_work_group_size. At most
     * CLV_MAX_KERNELS per call. Errors: CLV_E_BUILD with the compiler's sentence. */
    clv_status (*kernel)(clv_run *run, const char *source, const char *name, const char *options,
                         const clv_kernel **out, clv_error *error);
    /* Enqueues groups[0] × groups[1] × groups[2] work-groups, each 1 … 65,535. */
    clv_status (*launch)(clv_run *run, const clv_kernel *kernel, const clv_arg *args,
                         uint32_t arg_count, uint32_t arg_stride, const size_t groups[3],
                         clv_error *error);
    /* Enqueues a matrix product by the device's provider. */
    clv_status (*gemm)(clv_run *run, const clv_gemm *gemm, clv_error *error);

    /* In needs (operands may be NULL): the workspace that a product wants, in elements as in
     * clv_op_needs. */
    clv_status (*gemm_workspace)(const clv_run *run, const clv_gemm *gemm, int64_t *per_sample,
                                 int64_t *constant, clv_error *error);
} clv_op_host;

/* ---- The op ---- */

/* An attribute that the op takes. */
typedef struct clv_attr_spec {
    uint32_t struct_size;
    uint32_t type; /* clv_attr_type */
    const char *name;
    double default_value; /* INT, REAL; TEXT: index of the choice; INTS: the empty list */
    double min, max;      /* both 0: any */
    const char *choices;  /* TEXT: "none|relu", without blanks; else NULL */
    uint32_t required;    /* 1: must be given */
    uint32_t reserved;    /* 0 */
} clv_attr_spec;

/* A text of OpenCL C 1.2, usually written by `conclave embed`. */
typedef struct clv_source {
    uint32_t struct_size;
    uint32_t reserved;         /* 0 */
    const char *name;          /* a-z, 0-9, _ : what clv_op_host.kernel is asked by */
    const unsigned char *text; /* ends in a NUL; kept as long as the plugin is open */
} clv_source;

/* What clv_op_desc.reference computes with: a batch of facts.n samples on the host. */
typedef struct clv_reference {
    uint32_t struct_size;
    uint32_t reserved;           /* 0 */
    const double *const *inputs; /* per input; NULL: absent. Integers are doubles, too */
    double *const *outputs;      /* per output, to be overwritten */
} clv_reference;

typedef clv_status clv_op_function(const clv_op_host *host, clv_run *run, clv_error *error);

typedef struct clv_op_desc {
    uint32_t struct_size;
    uint32_t min_inputs, max_inputs; /* inputs from min_inputs on are optional; at most 8 */
    uint32_t output_count;           /* 1 … 4 */
    const char *name;                /* "PLUGIN.OP", PLUGIN being the plugin's name */
    const clv_attr_spec *attrs;
    uint32_t attr_count, attr_stride;
    const clv_source *sources;
    uint32_t source_count, source_stride;

    /* Checks the inputs' shapes and sets those of the outputs; CLV_E_SHAPE says what is wrong. */
    clv_op_function *shape;
    clv_op_function *forward;
    /* Overwrites (never adds to) the gradient of each input of facts.wants_grad. NULL: no gradient
     * passes through this op. */
    clv_op_function *backward;
    /* Fills `needs` (given as zeros, struct_size set) from attributes, shapes and facts; the same
     * answer for the same question. NULL: nothing is needed. */
    clv_status (*needs)(const clv_op_host *host, const clv_run *run, clv_op_needs *needs,
                        clv_error *error);
    /* Optional: forward in plain C and double precision, written to be read. check-plugin holds the
     * kernels against it and differentiates it. NULL where forward draws random numbers. */
    clv_status (*reference)(const clv_op_host *host, clv_run *run, const clv_reference *data,
                            clv_error *error);
} clv_op_desc;

/* ---- Short calls ---- */

/* Elements of clv_op_desc.attrs and sources. */
#define CLV_ATTR_SPEC(name_, type_, default_, min_, max_, choices_, required_)                     \
    {                                                                                              \
        (uint32_t)sizeof(clv_attr_spec), CLV_ATTR_##type_, (name_), (default_), (min_), (max_),    \
            (choices_), (required_), 0                                                             \
    }
#define CLV_SOURCE(name_, text_)                                                                   \
    {                                                                                              \
        (uint32_t)sizeof(clv_source), 0, (name_), (text_)                                          \
    }

/* Facts and shapes; all zero where the question is wrong (such as the shape of an absent input). */
static inline clv_run_facts clv_run_facts_of(const clv_op_host *host, const clv_run *run)
{
    clv_run_facts f;
    memset(&f, 0, sizeof f);
    f.struct_size = (uint32_t)sizeof f;
    (void)host->facts(run, &f, NULL);
    return f;
}

static inline clv_shape clv_run_input_shape(const clv_op_host *host, const clv_run *run,
                                            uint32_t input)
{
    clv_shape s;
    memset(&s, 0, sizeof s);
    s.struct_size = (uint32_t)sizeof s;
    (void)host->input_shape(run, input, &s, NULL);
    return s;
}

static inline clv_shape clv_run_output_shape(const clv_op_host *host, const clv_run *run,
                                             uint32_t output)
{
    clv_shape s;
    memset(&s, 0, sizeof s);
    s.struct_size = (uint32_t)sizeof s;
    (void)host->output_shape(run, output, &s, NULL);
    return s;
}

/* Elements of a shape for n samples. */
static inline int64_t clv_shape_count(const clv_shape *shape, int64_t n)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= i == 0 && shape->dims[0] == CLV_BATCH ? n : shape->dims[i];
    return count;
}

/* Value of an attribute: 0 or "" where there is none of that name. */
static inline clv_attr clv_run_attribute(const clv_op_host *host, const clv_run *run,
                                         const char *name)
{
    clv_attr a;
    memset(&a, 0, sizeof a);
    a.struct_size = (uint32_t)sizeof a, a.text = "";
    (void)host->attribute(run, name, &a, NULL);
    return a;
}

static inline clv_arg clv_arg_make(uint32_t kind, uint32_t index, int64_t value, double real)
{
    clv_arg a;
    memset(&a, 0, sizeof a);
    a.struct_size = (uint32_t)sizeof a, a.kind = kind, a.index = index;
    a.value = value, a.real = real;
    return a;
}

/* One launch under construction; see the example at the top. Arguments are added in the order of
 * the kernel's parameters. Errors are kept until clv_launch_end. */
typedef struct clv_launch {
    const clv_op_host *host;
    clv_run *run;
    clv_error *error;
    clv_status status;
    uint32_t count;
    const clv_kernel *kernel;
    clv_arg args[CLV_MAX_ARGS];
} clv_launch;

static inline clv_launch clv_launch_begin(const clv_op_host *host, clv_run *run, const char *source,
                                          const char *kernel, const char *options, clv_error *error)
{
    clv_launch l;
    memset(&l, 0, sizeof l);
    l.host = host, l.run = run, l.error = error;
    l.status = host->kernel(run, source, kernel, options, &l.kernel, error);
    return l;
}

static inline void clv_launch_arg(clv_launch *l, clv_arg arg)
{
    if (l->status == CLV_OK && l->count == CLV_MAX_ARGS)
        l->status = l->host->fail(l->error, CLV_E_PLUGIN, __FILE__, __LINE__,
                                  "a launch has more than %d arguments", CLV_MAX_ARGS);
    if (l->status == CLV_OK)
        l->args[l->count++] = arg;
}

static inline void clv_launch_input(clv_launch *l, uint32_t index)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_INPUT, index, 0, 0));
}

static inline void clv_launch_output(clv_launch *l, uint32_t index)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_OUTPUT, index, 0, 0));
}

static inline void clv_launch_grad_input(clv_launch *l, uint32_t index)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_GRAD_INPUT, index, 0, 0));
}

static inline void clv_launch_grad_output(clv_launch *l, uint32_t index)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_GRAD_OUTPUT, index, 0, 0));
}

static inline void clv_launch_saved(clv_launch *l, uint32_t index)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_SAVED, index, 0, 0));
}

static inline void clv_launch_workspace(clv_launch *l)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_WORKSPACE, 0, 0, 0));
}

static inline void clv_launch_ids(clv_launch *l)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_IDS, 0, 0, 0));
}

static inline void clv_launch_int(clv_launch *l, int64_t value)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_INT, 0, value, 0));
}

static inline void clv_launch_uint(clv_launch *l, uint32_t value)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_UINT, 0, value, 0));
}

static inline void clv_launch_float(clv_launch *l, double value)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_FLOAT, 0, 0, value));
}

static inline void clv_launch_local(clv_launch *l, size_t bytes)
{
    clv_launch_arg(l, clv_arg_make(CLV_ARG_LOCAL, 0, (int64_t)bytes, 0));
}

/* Enqueues gx × gy × gz work-groups. */
static inline clv_status clv_launch_end(clv_launch *l, size_t gx, size_t gy, size_t gz)
{
    const size_t groups[3] = {gx, gy, gz};
    if (l->status != CLV_OK)
        return l->status;
    return l->host->launch(l->run, l->kernel, l->args, l->count, (uint32_t)sizeof(clv_arg), groups,
                           l->error);
}

#ifdef __cplusplus
}
#endif
#endif
