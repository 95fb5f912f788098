/* Short, typed calls for plugin authors: a builder that remembers the first failure, and one
 * wrapper per operation. Everything here is static inline over conclave/plugin.h; nothing to link.
 *
 *   clv_builder b = clv_builder_begin(host, graph, error);
 *   clv_tensor x = clv_image(&b, 32, 32, 3, NULL, NULL);
 *   clv_conv2d_desc conv = {.filters = 32, .kernel = 3, .activation = "relu"};
 *   x = clv_conv2d_bn(&b, "conv1", "bn1", x, &conv);
 *   x = clv_global_avg_pool(&b, "pool", x);
 *   clv_output(&b, "features", x);
 *   clv_output(&b, "logits", clv_dense(&b, "head", x, classes, NULL));
 *   return clv_builder_end(&b);
 *
 * After a failure every call returns CLV_NO_TENSOR and does nothing; clv_builder_end reports it.
 * Images are [N, height, width, channels]; convolution weights [kh, kw, in, out]; dense [in, out].
 * All of it is compiled into the plugin: what crosses the border is the names of operations and
 * attributes, and those stay. `name` is the node's in messages and, where a layer has variables,
 * the scope of these. */
#ifndef CONCLAVE_OPS_H
#define CONCLAVE_OPS_H

#include <conclave/plugin.h>

#include <math.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clv_builder {
    const clv_host *host;
    clv_graph *graph;
    clv_error *error;
    clv_status status; /* the first failure, or CLV_OK */
} clv_builder;

static inline clv_builder clv_builder_begin(const clv_host *host, clv_graph *graph,
                                            clv_error *error)
{
    clv_builder b = {host, graph, error, CLV_OK};
    return b;
}

static inline clv_status clv_builder_end(const clv_builder *b)
{
    return b->status;
}

/* Fails with a sentence, unless something failed before. */
#define CLV_BUILDER_FAIL(b, code, ...)                                                             \
    do {                                                                                           \
        if ((b)->status == CLV_OK)                                                                 \
            (b)->status = (b)->host->fail((b)->error, (code), __FILE__, __LINE__, __VA_ARGS__);    \
    } while (0)

/* ---- Options ---- */

/* The value of an option of the plugin; 0, "" or no elements after a failure. */
static inline bool clv_option_bool(clv_builder *b, const clv_options *options, const char *key)
{
    bool value = false;
    if (b->status == CLV_OK)
        b->status = b->host->option_bool(options, key, &value, b->error);
    return value;
}

static inline int64_t clv_option_int(clv_builder *b, const clv_options *options, const char *key)
{
    int64_t value = 0;
    if (b->status == CLV_OK)
        b->status = b->host->option_int(options, key, &value, b->error);
    return value;
}

static inline double clv_option_real(clv_builder *b, const clv_options *options, const char *key)
{
    double value = 0;
    if (b->status == CLV_OK)
        b->status = b->host->option_real(options, key, &value, b->error);
    return value;
}

/* Of a text or a choice. */
static inline const char *clv_option_text(clv_builder *b, const clv_options *options,
                                          const char *key)
{
    const char *value = "";
    if (b->status == CLV_OK)
        b->status = b->host->option_text(options, key, &value, b->error);
    return value;
}

static inline const int64_t *clv_option_ints(clv_builder *b, const clv_options *options,
                                             const char *key, uint32_t *count)
{
    const int64_t *values = NULL;
    *count = 0;
    if (b->status == CLV_OK)
        b->status = b->host->option_ints(options, key, &values, count, b->error);
    return values;
}

/* The channels that a network with the option `channels`, "auto | 1 | 3", sees. */
static inline int clv_option_channels(clv_builder *b, const clv_options *options,
                                      const clv_build_input *input)
{
    const char *channels = clv_option_text(b, options, "channels");
    return strcmp(channels, "1") == 0 ? 1 : strcmp(channels, "3") == 0 ? 3 : input->image_channels;
}

/* Elements of clv_plugin.weight_names and of a list of layers. */
#define CLV_LAYER_NAME(theirs_, ours_)                                                             \
    {                                                                                              \
        (uint32_t)sizeof(clv_layer_name), 0, (theirs_), (ours_)                                    \
    }
#define CLV_WEIGHT_NAMES_OWN(family_, option_, value_) /* the variables' own names */              \
    {                                                                                              \
        (uint32_t)sizeof(clv_weight_names), 0, (family_), (option_), (value_), NULL, 0, 0          \
    }
#define CLV_WEIGHT_NAMES(family_, option_, value_, layers_)                                        \
    {                                                                                              \
        (uint32_t)sizeof(clv_weight_names), (uint32_t)(sizeof(layers_) / sizeof(*(layers_))),      \
            (family_), (option_), (value_), (layers_), (uint32_t)sizeof(*(layers_)), 0             \
    }

/* A row of a plugin's table of options; choices: "a | b", for a CHOICE, else NULL. */
#define CLV_OPTION(key_, type_, default_, min_, max_, choices_, text_)                             \
    {                                                                                              \
        (uint32_t)sizeof(clv_option_spec), CLV_OPTION_##type_, (key_), (default_), (min_), (max_), \
            (choices_), (text_)                                                                    \
    }

/* ---- Pieces ---- */

static inline clv_attr clv_attr_int(const char *name, int64_t value)
{
    clv_attr a;
    memset(&a, 0, sizeof a);
    a.struct_size = (uint32_t)sizeof a, a.type = CLV_ATTR_INT, a.name = name, a.i = value;
    return a;
}

static inline clv_attr clv_attr_real(const char *name, double value)
{
    clv_attr a = clv_attr_int(name, 0);
    a.type = CLV_ATTR_REAL, a.real = value;
    return a;
}

static inline clv_attr clv_attr_text(const char *name, const char *value)
{
    clv_attr a = clv_attr_int(name, 0);
    a.type = CLV_ATTR_TEXT, a.text = value;
    return a;
}

static inline clv_attr clv_attr_ints(const char *name, const int64_t *values, uint32_t count)
{
    clv_attr a = clv_attr_int(name, 0);
    a.type = CLV_ATTR_INTS, a.ints = values, a.int_count = count;
    return a;
}

/* Variables made until clv_scope_end have NAME. before their names. */
static inline void clv_scope(clv_builder *b, const char *name)
{
    if (b->status == CLV_OK)
        b->status = b->host->push_scope(b->graph, name, b->error);
}

static inline void clv_scope_end(clv_builder *b)
{
    if (b->status == CLV_OK)
        b->status = b->host->pop_scope(b->graph, b->error);
}

/* Shape of a tensor; all zero after a failure. */
static inline clv_shape clv_shape_of(clv_builder *b, clv_tensor tensor)
{
    clv_shape s;
    memset(&s, 0, sizeof s);
    s.struct_size = (uint32_t)sizeof s;
    if (b->status == CLV_OK)
        b->status = b->host->shape(b->graph, tensor, &s, b->error);
    return s;
}

/* The picture that this network sees. mean and std per channel of pixels scaled to 0 … 1; NULL:
 * 0.5. */
static inline clv_tensor clv_image(clv_builder *b, int height, int width, int channels,
                                   const double *mean, const double *std)
{
    clv_tensor out = CLV_NO_TENSOR;
    clv_input_desc d;
    memset(&d, 0, sizeof d);
    d.struct_size = (uint32_t)sizeof d, d.role = "image";
    d.height = height, d.width = width, d.channels = channels;
    for (int c = 0; c < channels && c < 4; c++) {
        d.mean[c] = mean ? mean[c] : 0.5;
        d.std[c] = std ? std[c] : 0.5;
    }
    if (b->status == CLV_OK)
        b->status = b->host->input(b->graph, &d, &out, b->error);
    return out;
}

/* As clv_image, with the means and deviations of ImageNet's pixels; those of one channel are the
 * means of the three. */
static inline clv_tensor clv_image_of_imagenet(clv_builder *b, const clv_build_input *input,
                                               int channels)
{
    const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    const double grey_mean[] = {0.449}, grey_std[] = {0.226};
    return clv_image(b, input->image_height, input->image_width, channels,
                     channels == 3 ? mean : grey_mean, channels == 3 ? std : grey_std);
}

/* What the experts offer as features, side by side, [N, features]; for a gate. */
static inline clv_tensor clv_features(clv_builder *b, const clv_build_input *input)
{
    clv_tensor out = CLV_NO_TENSOR;
    clv_input_desc d;
    memset(&d, 0, sizeof d);
    d.struct_size = (uint32_t)sizeof d, d.role = "features";
    d.height = 1, d.width = input->features, d.channels = 1;
    if (input->features < 1)
        CLV_BUILDER_FAIL(b, CLV_E_CONFIG, "the experts, or one of them, offer no features");
    if (b->status == CLV_OK)
        b->status = b->host->input(b->graph, &d, &out, b->error);
    return out;
}

/* A parameter of up to four extents; a: see clv_init. */
static inline clv_variable_desc clv_variable(const char *name, clv_init init, double a, int rank,
                                             int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    clv_variable_desc d;
    memset(&d, 0, sizeof d);
    d.struct_size = (uint32_t)sizeof d, d.name = name, d.init = (int32_t)init, d.a = a,
    d.rank = rank;
    d.dims[0] = d0, d.dims[1] = d1, d.dims[2] = d2, d.dims[3] = d3;
    return d;
}

static inline clv_tensor clv_parameter(clv_builder *b, const clv_variable_desc *desc)
{
    clv_tensor out = CLV_NO_TENSOR;
    if (b->status == CLV_OK)
        b->status = b->host->parameter(b->graph, desc, &out, b->error);
    return out;
}

static inline clv_tensor clv_state(clv_builder *b, const clv_variable_desc *desc)
{
    clv_tensor out = CLV_NO_TENSOR;
    if (b->status == CLV_OK)
        b->status = b->host->state(b->graph, desc, &out, b->error);
    return out;
}

/* Adds an operation of one output. */
static inline clv_tensor clv_op(clv_builder *b, const char *op, const char *name,
                                const clv_tensor *inputs, uint32_t input_count,
                                const clv_attr *attrs, uint32_t attr_count)
{
    clv_tensor out = CLV_NO_TENSOR;
    if (b->status == CLV_OK)
        b->status = b->host->add_op(b->graph, op, name, inputs, input_count, attrs, attr_count,
                                    (uint32_t)sizeof(clv_attr), &out, 1, b->error);
    return out;
}

static inline void clv_output(clv_builder *b, const char *role, clv_tensor tensor)
{
    if (b->status == CLV_OK)
        b->status = b->host->output(b->graph, role, tensor, b->error);
}

/* Of a gate: what its route is; see clv_route_desc, whose struct_size need not be set. */
static inline void clv_route(clv_builder *b, const clv_route_desc *desc)
{
    clv_route_desc d = *desc;
    d.struct_size = (uint32_t)sizeof d;
    if (b->status == CLV_OK)
        b->status = b->host->route(b->graph, &d, b->error);
}

/* What x [N, …] adds up to over all samples of a step of the optimiser, and what a state of a gate
 * becomes after each: see clv_host.step_sum and after_step. */
static inline clv_tensor clv_step_sum(clv_builder *b, clv_tensor x)
{
    clv_tensor out = CLV_NO_TENSOR;
    if (b->status == CLV_OK)
        b->status = b->host->step_sum(b->graph, x, &out, b->error);
    return out;
}

static inline void clv_after_step(clv_builder *b, clv_tensor state, clv_tensor next)
{
    if (b->status == CLV_OK)
        b->status = b->host->after_step(b->graph, state, next, b->error);
}

/* ---- Layers ---- */

/* A convolution. Zero means the default. */
typedef struct clv_conv2d_desc {
    int64_t filters; /* output channels; clv_depthwise_conv2d has those of its input */
    int64_t kernel;  /* height = width */
    int64_t stride;  /* default 1 */
    int64_t pad;     /* on every side; -1: none; default (kernel - 1) / 2 */
    bool pad_same;   /* instead as TensorFlow's "same": output ⌈size/stride⌉, and where the
                        pixels to add are odd in number, one more below and right */
    bool no_bias;    /* clv_conv2d_bn never has one */
    const char *activation; /* "none" (default), "relu", "silu": after bias or normalisation */
    double eps, momentum;   /* of the batch norm; defaults 1e-5, 0.1 (PyTorch's) */
    int64_t groups;         /* of channels, each with filters / groups of its own; default 1; not
                               for clv_depthwise_conv2d */
} clv_conv2d_desc;

enum { CLV_CONV2D_ATTRS = 10 };

/* Pixels before and after an axis of `size` pixels. */
static inline void clv_conv2d_pads(const clv_conv2d_desc *d, int64_t size, int64_t *before,
                                   int64_t *after)
{
    const int64_t stride = d->stride ? d->stride : 1;
    const int64_t total = ((size + stride - 1) / stride - 1) * stride + d->kernel - size;
    *before = *after = d->pad > 0 ? d->pad : d->pad < 0 ? 0 : (d->kernel - 1) / 2;
    if (d->pad_same) {
        *before = total > 0 ? total / 2 : 0;
        *after = total > 0 ? total - *before : 0;
    }
}

/* The attributes of conv2d and conv2d_bn on x; `bn` adds eps and momentum. Returns their number. */
static inline uint32_t clv_conv2d_attrs(clv_builder *b, clv_tensor x, const clv_conv2d_desc *d,
                                        bool bn, clv_attr out[CLV_CONV2D_ATTRS])
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t stride = d->stride ? d->stride : 1;
    int64_t top, left, bottom, right;
    uint32_t n = 0;
    clv_conv2d_pads(d, s.dims[1], &top, &bottom);
    clv_conv2d_pads(d, s.dims[2], &left, &right);
    out[n++] = clv_attr_int("stride_h", stride);
    out[n++] = clv_attr_int("stride_w", stride);
    out[n++] = clv_attr_int("pad_top", top);
    out[n++] = clv_attr_int("pad_left", left);
    out[n++] = clv_attr_int("pad_bottom", bottom);
    out[n++] = clv_attr_int("pad_right", right);
    out[n++] = clv_attr_text("activation", d->activation ? d->activation : "none");
    if (d->groups > 1)
        out[n++] = clv_attr_int("groups", d->groups);
    if (bn) {
        out[n++] = clv_attr_real("eps", d->eps != 0 ? d->eps : 1e-5);
        out[n++] = clv_attr_real("momentum", d->momentum != 0 ? d->momentum : 0.1);
    }
    return n;
}

/* Weights [kernel, kernel, in / groups, filters], He normal over the inputs of a unit (He et al.
 * 2015). */
static inline clv_tensor clv_conv2d_weight(clv_builder *b, clv_tensor x, const clv_conv2d_desc *d)
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t in = (s.rank == 4 ? s.dims[3] : 1) / (d->groups > 1 ? d->groups : 1);
    const double fan_in = (double)(d->kernel * d->kernel * in);
    const clv_variable_desc w = clv_variable("weight", CLV_INIT_NORMAL, sqrt(2.0 / fan_in), 4,
                                             d->kernel, d->kernel, in, d->filters);
    return clv_parameter(b, &w);
}

/* y = activation(conv(x) + bias); parameters NAME.weight, NAME.bias. */
static inline clv_tensor clv_conv2d(clv_builder *b, const char *name, clv_tensor x,
                                    const clv_conv2d_desc *desc)
{
    clv_attr attrs[CLV_CONV2D_ATTRS];
    clv_tensor inputs[3];
    clv_scope(b, name);
    inputs[0] = x, inputs[1] = clv_conv2d_weight(b, x, desc), inputs[2] = CLV_NO_TENSOR;
    if (!desc->no_bias) {
        clv_variable_desc v = clv_variable("bias", CLV_INIT_ZEROS, 0, 1, desc->filters, 0, 0, 0);
        v.flags = CLV_PARAMETER_NO_DECAY;
        inputs[2] = clv_parameter(b, &v);
    }
    clv_scope_end(b);
    return clv_op(b, "conv2d", name, inputs, desc->no_bias ? 2 : 3, attrs,
                  clv_conv2d_attrs(b, x, desc, false, attrs));
}

/* Weights [kernel, kernel, channels], He normal over the inputs of a unit. */
static inline clv_tensor clv_depthwise_conv2d_weight(clv_builder *b, int64_t channels,
                                                     const clv_conv2d_desc *d)
{
    const double fan_in = (double)(d->kernel * d->kernel);
    const clv_variable_desc w = clv_variable("weight", CLV_INIT_NORMAL, sqrt(2.0 / fan_in), 3,
                                             d->kernel, d->kernel, channels, 0);
    return clv_parameter(b, &w);
}

/* Each channel convolved with a filter of its own: y = activation(conv(x) + bias); parameters
 * NAME.weight [kernel, kernel, channels], NAME.bias. */
static inline clv_tensor clv_depthwise_conv2d(clv_builder *b, const char *name, clv_tensor x,
                                              const clv_conv2d_desc *desc)
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t channels = s.rank == 4 ? s.dims[3] : 1;
    clv_variable_desc v = clv_variable("bias", CLV_INIT_ZEROS, 0, 1, channels, 0, 0, 0);
    clv_attr attrs[CLV_CONV2D_ATTRS];
    clv_tensor inputs[3];
    v.flags = CLV_PARAMETER_NO_DECAY;
    clv_scope(b, name);
    inputs[0] = x, inputs[1] = clv_depthwise_conv2d_weight(b, channels, desc);
    inputs[2] = desc->no_bias ? CLV_NO_TENSOR : clv_parameter(b, &v);
    clv_scope_end(b);
    return clv_op(b, "depthwise_conv2d", name, inputs, desc->no_bias ? 2 : 3, attrs,
                  clv_conv2d_attrs(b, x, desc, false, attrs));
}

/* gamma, beta, running mean and variance of `channels`, with PyTorch's names, into inputs[0..4). */
static inline void clv_batch_norm_variables(clv_builder *b, int64_t channels, clv_tensor inputs[4])
{
    clv_variable_desc gamma = clv_variable("weight", CLV_INIT_ONES, 0, 1, channels, 0, 0, 0);
    clv_variable_desc beta = clv_variable("bias", CLV_INIT_ZEROS, 0, 1, channels, 0, 0, 0);
    clv_variable_desc mean = clv_variable("running_mean", CLV_INIT_ZEROS, 0, 1, channels, 0, 0, 0);
    clv_variable_desc var = clv_variable("running_var", CLV_INIT_ONES, 0, 1, channels, 0, 0, 0);
    gamma.flags = beta.flags = CLV_PARAMETER_NO_DECAY;
    inputs[0] = clv_parameter(b, &gamma), inputs[1] = clv_parameter(b, &beta);
    inputs[2] = clv_state(b, &mean), inputs[3] = clv_state(b, &var);
}

/* y = activation(batch_norm(conv(x))), fused; inference folds the normalisation into the weights.
 * Parameters CONV.weight, NORM.weight, NORM.bias; states NORM.running_mean, NORM.running_var. */
static inline clv_tensor clv_conv2d_bn(clv_builder *b, const char *conv, const char *norm,
                                       clv_tensor x, const clv_conv2d_desc *desc)
{
    clv_attr attrs[CLV_CONV2D_ATTRS];
    clv_tensor inputs[6];
    inputs[0] = x;
    clv_scope(b, conv);
    inputs[1] = clv_conv2d_weight(b, x, desc);
    clv_scope_end(b);
    clv_scope(b, norm);
    clv_batch_norm_variables(b, desc->filters, inputs + 2);
    clv_scope_end(b);
    return clv_op(b, "conv2d_bn", conv, inputs, 6, attrs,
                  clv_conv2d_attrs(b, x, desc, true, attrs));
}

/* The same for clv_depthwise_conv2d: CONV.weight is [kernel, kernel, channels]. */
static inline clv_tensor clv_depthwise_conv2d_bn(clv_builder *b, const char *conv, const char *norm,
                                                 clv_tensor x, const clv_conv2d_desc *desc)
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t channels = s.rank == 4 ? s.dims[3] : 1;
    clv_attr attrs[CLV_CONV2D_ATTRS];
    clv_tensor inputs[6];
    inputs[0] = x;
    clv_scope(b, conv);
    inputs[1] = clv_depthwise_conv2d_weight(b, channels, desc);
    clv_scope_end(b);
    clv_scope(b, norm);
    clv_batch_norm_variables(b, channels, inputs + 2);
    clv_scope_end(b);
    return clv_op(b, "depthwise_conv2d_bn", conv, inputs, 6, attrs,
                  clv_conv2d_attrs(b, x, desc, true, attrs));
}

/* y = activation((x - mean)/sqrt(var + eps)·gamma + beta) over the last axis' channels (Ioffe and
 * Szegedy 2015); training uses the batch's statistics. x [N, …, C]. eps, momentum 0: 1e-5, 0.1. */
static inline clv_tensor clv_batch_norm(clv_builder *b, const char *name, clv_tensor x,
                                        const char *activation, double eps, double momentum)
{
    const clv_shape s = clv_shape_of(b, x);
    clv_tensor inputs[5];
    const clv_attr attrs[] = {clv_attr_real("eps", eps != 0 ? eps : 1e-5),
                              clv_attr_real("momentum", momentum != 0 ? momentum : 0.1),
                              clv_attr_text("activation", activation ? activation : "none")};
    inputs[0] = x;
    clv_scope(b, name);
    clv_batch_norm_variables(b, s.rank > 0 ? s.dims[s.rank - 1] : 1, inputs + 1);
    clv_scope_end(b);
    return clv_op(b, "batch_norm", name, inputs, 5, attrs, 3);
}

/* y = activation(x·W + b): x [N, in] → [N, units]; parameters NAME.weight [in, units], NAME.bias,
 * uniform in ±1/√in as in PyTorch. */
static inline clv_tensor clv_dense(clv_builder *b, const char *name, clv_tensor x, int64_t units,
                                   const char *activation)
{
    const clv_shape s = clv_shape_of(b, x);
    const int64_t in = s.rank == 2 ? s.dims[1] : 1;
    const double bound = 1.0 / sqrt((double)(in > 0 ? in : 1));
    const clv_variable_desc w = clv_variable("weight", CLV_INIT_UNIFORM, bound, 2, in, units, 0, 0);
    clv_variable_desc v = clv_variable("bias", CLV_INIT_UNIFORM, bound, 1, units, 0, 0, 0);
    const clv_attr attrs[] = {clv_attr_text("activation", activation ? activation : "none")};
    clv_tensor inputs[3];
    v.flags = CLV_PARAMETER_NO_DECAY;
    clv_scope(b, name);
    inputs[0] = x, inputs[1] = clv_parameter(b, &w), inputs[2] = clv_parameter(b, &v);
    clv_scope_end(b);
    return clv_op(b, "dense", name, inputs, 3, attrs, 1);
}

/* As clv_dense without activation, but starting at zero: of a gate, all experts alike. */
static inline clv_tensor clv_dense_from_zero(clv_builder *b, const char *name, clv_tensor x,
                                             int64_t units)
{
    const clv_shape s = clv_shape_of(b, x);
    const clv_variable_desc w =
        clv_variable("weight", CLV_INIT_ZEROS, 0, 2, s.rank == 2 ? s.dims[1] : 1, units, 0, 0);
    clv_variable_desc v = clv_variable("bias", CLV_INIT_ZEROS, 0, 1, units, 0, 0, 0);
    clv_tensor inputs[3];
    v.flags = CLV_PARAMETER_NO_DECAY;
    clv_scope(b, name);
    inputs[0] = x, inputs[1] = clv_parameter(b, &w), inputs[2] = clv_parameter(b, &v);
    clv_scope_end(b);
    return clv_op(b, "dense", name, inputs, 3, NULL, 0);
}

/* Maximum over kernel × kernel windows, padded pixels ignored. stride 0: as kernel. */
static inline clv_tensor clv_max_pool2d(clv_builder *b, const char *name, clv_tensor x,
                                        int64_t kernel, int64_t stride, int64_t pad)
{
    const clv_attr attrs[] = {clv_attr_int("kernel", kernel),
                              clv_attr_int("stride", stride ? stride : kernel),
                              clv_attr_int("pad", pad)};
    return clv_op(b, "max_pool2d", name, &x, 1, attrs, 3);
}

/* Mean over kernel × kernel windows, padded pixels not counted. stride 0: as kernel. */
static inline clv_tensor clv_avg_pool2d(clv_builder *b, const char *name, clv_tensor x,
                                        int64_t kernel, int64_t stride, int64_t pad)
{
    const clv_attr attrs[] = {clv_attr_int("kernel", kernel),
                              clv_attr_int("stride", stride ? stride : kernel),
                              clv_attr_int("pad", pad)};
    return clv_op(b, "avg_pool2d", name, &x, 1, attrs, 3);
}

/* Means over windows that share the picture out among height × width pixels; a smaller one is
 * repeated. As PyTorch's. */
static inline clv_tensor clv_adaptive_avg_pool2d(clv_builder *b, const char *name, clv_tensor x,
                                                 int64_t height, int64_t width)
{
    const clv_attr attrs[] = {clv_attr_int("height", height), clv_attr_int("width", width)};
    return clv_op(b, "adaptive_avg_pool2d", name, &x, 1, attrs, 2);
}

/* The picture, at most `grid` pixels high and wide, as a row of numbers: for a gate. */
static inline clv_tensor clv_small_image(clv_builder *b, const clv_build_input *input, int64_t grid)
{
    const int64_t height = input->image_height < grid ? input->image_height : grid;
    const int64_t width = input->image_width < grid ? input->image_width : grid;
    clv_tensor x =
        clv_image(b, input->image_height, input->image_width, input->image_channels, NULL, NULL);
    if (height < input->image_height || width < input->image_width)
        x = clv_adaptive_avg_pool2d(b, "pool", x, height, width);
    return clv_op(b, "reshape", "flat", &x, 1, NULL, 0);
}

/* [N, H, W, C] → [N, C], the mean over all pixels. */
static inline clv_tensor clv_global_avg_pool(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "global_avg_pool", name, &x, 1, NULL, 0);
}

/* [N, …] → [N, product], same memory. */
static inline clv_tensor clv_flatten(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "reshape", name, &x, 1, NULL, 0);
}

static inline clv_tensor clv_relu(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "relu", name, &x, 1, NULL, 0);
}

/* x·sigmoid(x). */
static inline clv_tensor clv_silu(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "silu", name, &x, 1, NULL, 0);
}

/* 1/(1 + exp(-x)). */
static inline clv_tensor clv_sigmoid(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "sigmoid", name, &x, 1, NULL, 0);
}

/* Softmax over the last axis of [N, C]. */
static inline clv_tensor clv_softmax(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "softmax", name, &x, 1, NULL, 0);
}

/* a + b, equal shapes. */
static inline clv_tensor clv_add(clv_builder *b, const char *name, clv_tensor x, clv_tensor y)
{
    const clv_tensor inputs[2] = {x, y};
    return clv_op(b, "add", name, inputs, 2, NULL, 0);
}

/* a·b: equal shapes, or y [N, C] or [N, 1, 1, C] for x [N, H, W, C], a factor per channel. */
static inline clv_tensor clv_multiply(clv_builder *b, const char *name, clv_tensor x, clv_tensor y)
{
    const clv_tensor inputs[2] = {x, y};
    return clv_op(b, "multiply", name, inputs, 2, NULL, 0);
}

/* 2 … 8 tensors side by side along the last axis; their other extents are equal. */
static inline clv_tensor clv_concat(clv_builder *b, const char *name, const clv_tensor *inputs,
                                    uint32_t count)
{
    return clv_op(b, "concat", name, inputs, count, NULL, 0);
}

/* Zeros around pictures [N, H, W, C]. */
static inline clv_tensor clv_pad(clv_builder *b, const char *name, clv_tensor x,
                                 const int64_t top_left_bottom_right[4])
{
    const clv_attr attrs[] = {clv_attr_int("top", top_left_bottom_right[0]),
                              clv_attr_int("left", top_left_bottom_right[1]),
                              clv_attr_int("bottom", top_left_bottom_right[2]),
                              clv_attr_int("right", top_left_bottom_right[3])};
    return clv_op(b, "pad", name, &x, 1, attrs, 4);
}

/* [N, units] of one value; of x only the batch N counts. */
static inline clv_tensor clv_fill(clv_builder *b, const char *name, clv_tensor x, int64_t units,
                                  double value)
{
    const clv_attr attrs[] = {clv_attr_int("units", units), clv_attr_real("value", value)};
    return clv_op(b, "fill", name, &x, 1, attrs, 2);
}

/* In training sets elements to zero with probability `rate`, the others are scaled by 1/(1 - rate).
 */
static inline clv_tensor clv_dropout(clv_builder *b, const char *name, clv_tensor x, double rate)
{
    const clv_attr attrs[] = {clv_attr_real("rate", rate)};
    return clv_op(b, "dropout", name, &x, 1, attrs, 1);
}

/* Stochastic depth: in training a sample becomes zero with probability `rate`, else it is scaled by
 * 1/(1 - rate). */
static inline clv_tensor clv_drop_path(clv_builder *b, const char *name, clv_tensor x, double rate)
{
    const clv_attr attrs[] = {clv_attr_real("rate", rate)};
    return clv_op(b, "drop_path", name, &x, 1, attrs, 1);
}

/* ---- Routing ---- */

/* In training z + ε·(softplus(s) + 0.01), ε normal; else z. z, s of equal shape (Shazeer et al.
 * 2017). */
static inline clv_tensor clv_add_noise(clv_builder *b, const char *name, clv_tensor z, clv_tensor s)
{
    const clv_tensor inputs[2] = {z, s};
    return clv_op(b, "add_noise", name, inputs, 2, NULL, 0);
}

/* How probable it is that each expert is among the k with the largest noisy logits: of
 * clv_add_noise's z, s and result; k below K (Shazeer et al. 2017). For the output "load_prob". */
static inline clv_tensor clv_load_prob(clv_builder *b, const char *name, clv_tensor z, clv_tensor s,
                                       clv_tensor noisy, int64_t k)
{
    const clv_tensor inputs[3] = {z, s, noisy};
    const clv_attr attrs[] = {clv_attr_int("k", k)};
    return clv_op(b, "load_prob", name, inputs, 3, attrs, 1);
}

/* 1, 0 or -1 as x lies above, at or below 0. No gradient. */
static inline clv_tensor clv_sign(clv_builder *b, const char *name, clv_tensor x)
{
    return clv_op(b, "sign", name, &x, 1, NULL, 0);
}

/* `by` where x [K] or [N, K] lies below the mean of its row, -by where above, 0 at it. No gradient.
 */
static inline clv_tensor clv_below_mean(clv_builder *b, const char *name, clv_tensor x, double by)
{
    const clv_attr attrs[] = {clv_attr_real("by", by)};
    return clv_op(b, "below_mean", name, &x, 1, attrs, 1);
}

/* Weights from logits z [N, K]: the softmax over the k largest of a sample, exactly 0 for the
 * others; before: over all K instead, so that the weights sum to less than 1. Ties: the lowest
 * index. */
static inline clv_tensor clv_topk_mask(clv_builder *b, const char *name, clv_tensor z, int64_t k,
                                       bool before)
{
    const clv_attr attrs[] = {clv_attr_int("k", k),
                              clv_attr_text("normalise", before ? "before" : "after")};
    return clv_op(b, "topk_mask", name, &z, 1, attrs, 2);
}

/* The same weights on the k experts with the largest softmax(z) + bias; bias [K]. */
static inline clv_tensor clv_topk_mask_biased(clv_builder *b, const char *name, clv_tensor z,
                                              clv_tensor bias, int64_t k, bool before)
{
    const clv_tensor inputs[2] = {z, bias};
    const clv_attr attrs[] = {clv_attr_int("k", k),
                              clv_attr_text("normalise", before ? "before" : "after")};
    return clv_op(b, "topk_mask", name, inputs, 2, attrs, 2);
}

/* x [N, K] on the ⌈k·n/K⌉ largest of each column, exactly 0 elsewhere: each expert chooses its
 * samples of a batch of n. Ties: the lowest sample. */
static inline clv_tensor clv_column_topk(clv_builder *b, const char *name, clv_tensor x, double k)
{
    const clv_attr attrs[] = {clv_attr_real("k", k)};
    return clv_op(b, "column_topk", name, &x, 1, attrs, 1);
}

#ifdef __cplusplus
}
#endif
#endif
