/* What an expert or gate plugin and the host say to each other. A plugin is a shared object that
 * exports one symbol, clv_plugin_v1, and links nothing of Conclave: it calls the host through the
 * table it is given. Plugins describe a network as a graph of operations; the core differentiates,
 * plans and runs it. See plugins/README.md; wrappers that make the calls short: conclave/ops.h;
 * operations of a plugin's own: conclave/own_op.h.
 *
 * Rules of the border, for ever:
 * - A plugin is loaded by every host of the same major number and of the same or a higher minor
 *   one; any other is refused with path, field and both versions.
 * - The first 16 bytes of clv_plugin never change. Every other struct begins with its struct_size,
 *   sizeof as whoever made it was compiled, and has no padding. What is there never moves and keeps
 *   its meaning; fields are appended, with a new minor number, and count as 0 where struct_size
 *   does not reach them. Structs of this ABI hold no others, so that each can grow.
 * - Arrays of structs cross as pointer, count and stride. The constants CLV_MAX_… never change.
 * - `reserved` has to be 0; so have bits of flags that have no name. The host refuses others.
 * - Operations, their attributes, and roles are known by name. More of them are a new minor number,
 *   too. A host knows all that an older one knew, and an attribute that is not given has its
 *   default.
 * - Texts are UTF-8. What a plugin passes is copied before the call returns, unless it is said to
 *   be kept; what it is given is valid for the call, unless something else is said.
 * - A call that fails returns a status below 0, leaves one sentence in `error` (NULL allowed) and
 *   its outputs alone. A plugin then returns that status: going on is refused.
 * - A graph is built by one thread at a time; different graphs may be built at once. */
#ifndef CONCLAVE_PLUGIN_H
#define CONCLAVE_PLUGIN_H

#include <conclave/status.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLV_PLUGIN_MAGIC 0x50564C43u /* "CLVP" as little-endian bytes C L V P */
#define CLV_ABI_MAJOR    1
#define CLV_ABI_MINOR    1

typedef enum clv_kind { CLV_KIND_EXPERT = 1, CLV_KIND_GATE = 2 } clv_kind;

/* ---- Options: what a plugin's INI section may say ---- */

typedef enum clv_option_type {
    CLV_OPTION_BOOL = 1,  /* yes | no */
    CLV_OPTION_INT,       /* min … max */
    CLV_OPTION_REAL,      /* min … max */
    CLV_OPTION_TEXT,      /* anything */
    CLV_OPTION_CHOICE,    /* one of `choices` */
    CLV_OPTION_INT_LIST,  /* integers, comma-separated, each min … max */
    CLV_OPTION_REAL_LIST, /* reals, comma-separated, each min … max */
} clv_option_type;

typedef struct clv_option_spec {
    uint32_t struct_size;
    uint32_t type;             /* clv_option_type */
    const char *key;           /* a-z, 0-9, _ ; none of the host's own keys */
    const char *default_value; /* as it would stand in the INI */
    double min, max;           /* of INT, REAL and lists; both 0: any */
    const char *choices;       /* "relu | silu", for CLV_OPTION_CHOICE, else NULL */
    const char *text;          /* one line of help */
} clv_option_spec;

typedef struct clv_options clv_options; /* the validated values of one section */

/* ---- Graph ---- */

typedef struct clv_graph clv_graph;
typedef int32_t clv_tensor; /* a tensor of one graph, 0 or more */
#define CLV_NO_TENSOR (-1)

typedef enum clv_dtype { CLV_F32 = 1, CLV_I32 = 2, CLV_U8 = 3 } clv_dtype; /* 4, 4, 1 bytes */

enum { CLV_MAX_RANK = 6 };
#define CLV_BATCH (-1) /* the number of samples, unknown while building; as dims[0] only */

/* Row-major; images are [CLV_BATCH, height, width, channels]. */
typedef struct clv_shape {
    uint32_t struct_size;
    int32_t dtype;     /* clv_dtype */
    int32_t rank;      /* 0 … CLV_MAX_RANK; dims beyond it are not read */
    uint32_t reserved; /* 0 */
    int64_t dims[CLV_MAX_RANK];
} clv_shape;

/* How a parameter or state starts; `a` of clv_variable_desc. */
typedef enum clv_init {
    CLV_INIT_ZEROS = 1,
    CLV_INIT_ONES,
    CLV_INIT_CONSTANT, /* a */
    CLV_INIT_UNIFORM,  /* in (-a, a), a 0 or more */
    CLV_INIT_NORMAL,   /* mean 0, standard deviation a, 0 or more */
} clv_init;

enum { CLV_PARAMETER_NO_DECAY = 1 }; /* biases and normalisation: no weight decay by default */

/* A trainable parameter, or a state (running statistics: saved, without gradient), of f32. The name
 * is prefixed by the open scopes, "features.0.weight", and unique in the graph: it is what weight
 * files and checkpoints call the variable. */
typedef struct clv_variable_desc {
    uint32_t struct_size;
    uint32_t flags; /* CLV_PARAMETER_… */
    const char *name;
    int32_t rank;               /* 1 … CLV_MAX_RANK */
    int32_t init;               /* clv_init */
    int64_t dims[CLV_MAX_RANK]; /* each 1 or more */
    double a;
} clv_variable_desc;

/* What a graph wants to be given. Role "image": pixels [N, height, width, channels] f32, value
 * (pixel/255 - mean[c]) / std[c]. Preprocessing travels with the network that asks for it. Role
 * "features", of a gate: [N, width], what the experts offer as features side by side; height and
 * channels are 1; the gate then comes after the experts, and its route must be dense. */
typedef struct clv_input_desc {
    uint32_t struct_size;
    int32_t height, width, channels; /* 1: grey, 3: RGB */
    const char *role;                /* "image", "features" */
    double mean[4], std[4];          /* per channel, of pixels scaled to 0 … 1 */
} clv_input_desc;

/* What a gate's route is. */
typedef struct clv_route_desc {
    uint32_t struct_size;
    uint32_t sparse; /* 1: an expert gets the samples whose weight is not exactly 0; 0: all */
    int32_t max_per_sample; /* most experts of one sample; 0: all */
    uint32_t sums_to_one;   /* 1: the weights of a sample sum to 1; 0: to anything */
    /* Of a sparse route: most assignments of a batch of n are per_batch·n, rounded up for each
     * expert; 0: max_per_sample·n. */
    double per_batch;
} clv_route_desc;

typedef enum clv_attr_type {
    CLV_ATTR_INT = 1,
    CLV_ATTR_REAL,
    CLV_ATTR_TEXT,
    CLV_ATTR_INTS
} clv_attr_type;

/* A named attribute of an operation; see conclave/ops.h for what each operation takes. Only the
 * member of its type counts. */
typedef struct clv_attr {
    uint32_t struct_size;
    uint32_t type; /* clv_attr_type */
    const char *name;
    int64_t i;
    double real;
    const char *text;
    const int64_t *ints;
    uint32_t int_count; /* at most CLV_MAX_RANK */
    uint32_t reserved;  /* 0 */
} clv_attr;

typedef enum clv_mode { CLV_MODE_TRAIN = 1, CLV_MODE_INFER = 2 } clv_mode;

/* What a plugin is asked to build. */
typedef struct clv_build_input {
    uint32_t struct_size;
    uint32_t mode;                                     /* clv_mode */
    int32_t classes;                                   /* C, 1 or more */
    int32_t experts;                                   /* K, 1 or more; 1 for an expert */
    int32_t image_height, image_width, image_channels; /* of the data set: pixels; 1 or 3 */
    int32_t features; /* of a gate: of all experts together; 0: one of them offers none */
} clv_build_input;

/* ---- What the host offers ---- */

struct clv_op_desc; /* conclave/own_op.h */

/* The table that a plugin calls through; valid for the call that it is given to. */
typedef struct clv_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor; /* of the host */

    /* Records one sentence (printf's format, at most 511 bytes) in `error` and returns `status`,
     * which is below 0. The first failure stays. Thread: any. */
    clv_status (*fail)(clv_error *error, clv_status status, const char *file, int line,
                       const char *format, ...) CLV_PRINTF(5, 6);
    /* One line for the user's log. Thread: any. */
    void (*log)(const struct clv_host *host, const char *format, ...) CLV_PRINTF(2, 3);
    /* Zeroed memory, aligned for any type, that lives as long as the graph; NULL when exhausted. */
    void *(*graph_alloc)(clv_graph *graph, size_t bytes);

    /* The value of an option, within the range that the plugin's table gives, its default where
     * none is set. Texts (of TEXT and CHOICE) and lists live as long as the options. Errors:
     * CLV_E_INTERNAL for a key that the table has not, or of another type. */
    clv_status (*option_bool)(const clv_options *o, const char *key, bool *out, clv_error *error);
    clv_status (*option_int)(const clv_options *o, const char *key, int64_t *out, clv_error *error);
    clv_status (*option_real)(const clv_options *o, const char *key, double *out, clv_error *error);
    clv_status (*option_text)(const clv_options *o, const char *key, const char **out,
                              clv_error *error);
    clv_status (*option_ints)(const clv_options *o, const char *key, const int64_t **out,
                              uint32_t *count, clv_error *error);
    clv_status (*option_reals)(const clv_options *o, const char *key, const double **out,
                               uint32_t *count, clv_error *error);

    /* Building. A tensor is valid in the graph that gave it. Errors of all: CLV_E_PLUGIN for a name
     * that is no name or is there twice, a tensor of another graph, a struct of the wrong size;
     * CLV_E_SHAPE for extents that cannot be; CLV_E_MEMORY. */
    /* Each role once. */
    clv_status (*input)(clv_graph *graph, const clv_input_desc *desc, clv_tensor *out,
                        clv_error *error);
    clv_status (*parameter)(clv_graph *graph, const clv_variable_desc *desc, clv_tensor *out,
                            clv_error *error);
    clv_status (*state)(clv_graph *graph, const clv_variable_desc *desc, clv_tensor *out,
                        clv_error *error);
    /* Adds an operation `op`, called `name` in messages. An optional input that is absent is
     * CLV_NO_TENSOR, or left out at the end. Shapes are inferred: ones that do not fit are
     * CLV_E_SHAPE, an unknown operation or attribute is CLV_E_PLUGIN with the nearest name. */
    clv_status (*add_op)(clv_graph *graph, const char *op, const char *name,
                         const clv_tensor *inputs, uint32_t input_count, const clv_attr *attrs,
                         uint32_t attr_count, uint32_t attr_stride, clv_tensor *outputs,
                         uint32_t output_count, clv_error *error);
    /* Declares an output, each role once: of an expert "features" [N, F], "logits" [N, C]; of a
     * gate "gate_logits" [N, K], "route" [N, K], "load_prob" [N, K]: how probable it is that each
     * expert is chosen, "wanted" [N, K]: of a sparse route, what it was before some of it was
     * dropped (0 or not is all that counts). All f32; mandatory are logits and route. */
    clv_status (*output)(clv_graph *graph, const char *role, clv_tensor tensor, clv_error *error);
    /* Of a gate, once: what its route is. */
    clv_status (*route)(clv_graph *graph, const clv_route_desc *desc, clv_error *error);
    /* What variables made from here on have before their names, with a '.'. */
    clv_status (*push_scope)(clv_graph *graph, const char *name, clv_error *error);
    clv_status (*pop_scope)(clv_graph *graph, clv_error *error);
    /* out->struct_size is set by the caller. */
    clv_status (*shape)(const clv_graph *graph, clv_tensor tensor, clv_shape *out,
                        clv_error *error);

    /* In `init` only, with the host that it was given: from then on add_op knows desc->name, in the
     * graphs of all plugins opened together. Everything but functions and source texts, which are
     * kept as long as the plugin is open, is copied. Errors: CLV_E_PLUGIN naming the op and what is
     * wrong with it. */
    clv_status (*register_op)(const struct clv_host *host, const struct clv_op_desc *desc,
                              clv_error *error);

    /* A gate's states after each step of the optimiser, for rules that learn without a gradient.
     * step_sum: what `tensor` [N, …] adds up to over all samples of the step, all its batches
     * together (train.accumulate), as [the rest] or, of [N], as [1]; for after_step only.
     * after_step: `state` then becomes `next`, of its shape, which operations compute from step
     * sums and variables (parameters as the step leaves them, states as they were), not from the
     * samples of a batch. In training only: evaluation reads the state and changes nothing. At most
     * 4 sums and 8 states. Errors: CLV_E_PLUGIN, CLV_E_SHAPE. */
    clv_status (*step_sum)(clv_graph *graph, clv_tensor tensor, clv_tensor *out, clv_error *error);
    clv_status (*after_step)(clv_graph *graph, clv_tensor state, clv_tensor next, clv_error *error);
} clv_host;

/* ---- Names in weight files ---- */

/* A layer: what stands before ".weight" or "/kernel" in a file, and before ".weight" here. */
typedef struct clv_layer_name {
    uint32_t struct_size;
    uint32_t reserved;         /* 0 */
    const char *theirs, *ours; /* "blocks.0.0.conv_dw", "features.1.0.block.0.0" */
} clv_layer_name;

/* How the files of one origin call the network's layers. Which origin a file has is found by
 * looking: the one whose names are in it. */
typedef struct clv_weight_names {
    uint32_t struct_size;
    uint32_t layer_count;
    const char *family; /* "torchvision", "timm", "keras", …; keras: for .h5 files only */
    /* What an option must be for such weights to mean the same; NULL: whatever it is. */
    const char *option, *value;
    const clv_layer_name *layers; /* those whose names differ; NULL: none */
    uint32_t layer_stride;
    uint32_t reserved; /* 0 */
} clv_weight_names;

/* ---- The plugin ---- */

typedef struct clv_plugin {
    uint32_t magic;                /* CLV_PLUGIN_MAGIC */
    uint32_t struct_size;          /* sizeof(clv_plugin) as the plugin was compiled */
    uint16_t abi_major, abi_minor; /* CLV_ABI_MAJOR, CLV_ABI_MINOR */
    uint32_t kind;                 /* clv_kind: these 16 bytes are frozen for ever */
    const char *name; /* as in the INI: a-z, 0-9, _, at most 64; equal to the file's KIND_NAME.so */
    const char *version, *summary; /* a line each, of the plugin's own choice */
    const clv_option_spec *options;
    uint32_t option_count, option_stride;
    /* Describes the network in `graph`, the same one for the same question. Pure: may be called any
     * number of times, from any thread, and keeps nothing. */
    clv_status (*build)(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *input, clv_error *error);
    /* Optional. Called once after loading; the only place for host->register_op. `host` is valid
     * during the call. A failure, which must come with a sentence, refuses the plugin. */
    clv_status (*init)(const clv_host *host, clv_error *error);
    /* Optional: origins of weight files. Without them a file has the variables' own names. */
    const clv_weight_names *weight_names;
    uint32_t weight_name_count, weight_name_stride;
} clv_plugin;

/* The one symbol a plugin exports; v1 names the head of 16 bytes, not the ABI's major number. The
 * result is static, constant and owned by the plugin. */
CLV_EXPORT const clv_plugin *clv_plugin_v1(void);

#ifdef __cplusplus
}
#endif
#endif
