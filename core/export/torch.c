/* See torch.h. */
#include "export/torch.h"

#include "base/process.h"
#include "base/text.h"
#include "graph/weight_names.h"
#include "mixture/initial_weights.h"
#include "ops/op.h"
#include "weights/origin.h"
#include "weights/reorder.h"
#include "weights/safetensors.h"

#include <stdio.h>

typedef struct job {
    const clvi_export_source *source;
    const char *section; /* "expert.a" */
    const clv_graph *graph;
    clv_weight_names names; /* all zero: the variables' own */
    clvi_tensor_writer *writer;
    clvi_text name; /* of the tensor at hand */
    bool biases;    /* zeros for convolutions before a normalisation */
    size_t tensors;
} job;

/* ---- Names ---- */

/* The first list for PyTorch that is for the expert's options. */
static clv_status choose_names(job *j, const clv_plugin *plugin, clv_error *error)
{
    const size_t count = clvi_weight_names_count(plugin);
    clv_weight_names last = {0};
    for (size_t i = 0; i < count; i++) {
        const clv_weight_names names = clvi_weight_names_at(plugin, i);
        const char *value =
            names.option
                ? clvi_initial_weights_option(j->source->config, j->section, plugin, names.option)
                : NULL;
        if (strcmp(names.family, "keras") == 0)
            continue;
        if (!value || clvi_name_equal(value, names.value)) {
            j->names = names;
            return CLV_OK;
        }
        last = names;
    }
    if (last.family)
        CLV_FAIL(
            error, CLV_E_USAGE,
            "%s: PyTorch's networks are built with %s = %s, which this one is not: its weights "
            "would mean something else there",
            j->section, last.option, last.value);
    return CLV_OK;
}

/* What the variable's layer is called there, and behind it `leaf`, or the variable's own. */
static const char *name_of(job *j, const clvi_variable *variable, const char *leaf)
{
    char layer[512];
    const char *dot = strrchr(variable->name, '.');
    const int length = dot ? (int)(dot - variable->name) : 0;
    const char *own = dot ? dot + 1 : variable->name;
    j->name.failed |= snprintf(layer, sizeof layer, "%.*s", length, variable->name) != length;
    j->name.length = 0;
    clvi_text_printf(&j->name, "%s%s%s", clvi_weight_layer_theirs(&j->names, layer),
                     length > 0 ? "." : "", leaf ? leaf : own);
    return clvi_text_get(&j->name);
}

/* ---- Tensors ---- */

static clv_status declare(job *j, const clvi_variable *variable, const char *leaf,
                          clvi_file_dtype dtype, const clv_shape *shape, clv_error *error)
{
    const char *name = name_of(j, variable, leaf);
    if (j->name.failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the names of its tensors", j->section);
    j->tensors++;
    return clvi_tensor_writer_declare(j->writer, name, dtype, shape->rank, shape->dims, error);
}

/* Whether it is the mean of a normalisation, beside which PyTorch counts batches. */
static bool is_mean(const clvi_variable *variable)
{
    const char *dot = strrchr(variable->name, '.');
    return strcmp(dot ? dot + 1 : variable->name, "running_mean") == 0;
}

/* Whether it is the weight of a convolution before a normalisation, which has a bias there. */
static bool lacks_bias(const job *j, const clvi_variable *variable)
{
    bool found = false;
    for (size_t i = 0; i < j->graph->node_count && j->biases; i++)
        found |= strcmp(j->graph->nodes[i].op->name, "conv2d_bn") == 0 &&
                 j->graph->nodes[i].inputs[1] == variable->tensor;
    return found;
}

static clv_shape bias_shape(const job *j, const clvi_variable *weight)
{
    const clv_shape *s = &j->graph->tensors[weight->tensor].shape;
    return CLVI_SHAPE(CLV_F32, s->dims[s->rank - 1]);
}

/* Counters first: data follows without padding, and theirs are the widest numbers. */
static clv_status declare_all(job *j, clv_error *error)
{
    const clv_shape number = {.struct_size = sizeof number, .rank = 0};
    for (size_t v = 0; v < j->graph->variable_count; v++)
        if (is_mean(&j->graph->variables[v]))
            CLV_TRY(declare(j, &j->graph->variables[v], "num_batches_tracked", CLVI_FILE_I64,
                            &number, error));
    for (size_t v = 0; v < j->graph->variable_count; v++) {
        const clvi_variable *variable = &j->graph->variables[v];
        clvi_reorder order;
        clv_shape shape;
        clvi_reorder_to_torch(j->graph, v, &shape, &order);
        CLV_TRY(declare(j, variable, NULL, CLVI_FILE_F32, &shape, error));
        if (!lacks_bias(j, variable))
            continue;
        shape = bias_shape(j, variable);
        CLV_TRY(declare(j, variable, "bias", CLVI_FILE_F32, &shape, error));
    }
    return CLV_OK;
}

static clv_status append_zeros(const job *j, int64_t count, clv_error *error)
{
    float *zeros = clvi_calloc((size_t)count, sizeof *zeros);
    if (!zeros)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to write its weights", j->section);
    const clv_status status = clvi_tensor_writer_append(j->writer, zeros, count, error);
    clvi_free(zeros);
    return status;
}

static clv_status append_piece(void *to, float *piece, size_t count, clv_error *error)
{
    const job *j = to;
    return clvi_tensor_writer_append(j->writer, piece, (int64_t)count, error);
}

static clv_status append_variable(job *j, size_t v, clv_error *error)
{
    const clvi_variable *variable = &j->graph->variables[v];
    clvi_reorder order;
    clv_shape shape;
    clvi_reorder_to_torch(j->graph, v, &shape, &order);
    j->name.length = 0;
    clvi_text_printf(&j->name, "%s.%s", j->section, variable->name);
    if (j->name.failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to write %s", j->section, variable->name);
    const int64_t segment = clvi_store_find(clvi_mixture_store(j->source->mixture), j->name.data);
    if (segment < 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s is no variable of the mixture", j->name.data);
    const clvi_export_variable from = {.name = j->name.data,
                                       .read = j->source->read,
                                       .user = j->source->user,
                                       .segment = (size_t)segment,
                                       .elements = variable->elements,
                                       .order = &order};
    return clvi_export_pieces(&from, append_piece, j, error);
}

static clv_status append_all(job *j, clv_error *error)
{
    const int64_t steps = j->source->steps;
    for (size_t v = 0; v < j->graph->variable_count; v++)
        if (is_mean(&j->graph->variables[v]))
            CLV_TRY(clvi_tensor_writer_append(j->writer, &steps, 1, error));
    for (size_t v = 0; v < j->graph->variable_count; v++) {
        CLV_TRY(append_variable(j, v, error));
        if (lacks_bias(j, &j->graph->variables[v]))
            CLV_TRY(append_zeros(j, bias_shape(j, &j->graph->variables[v]).dims[0], error));
    }
    return CLV_OK;
}

/* ---- The file ---- */

static clv_status write_file(job *j, clv_error *error)
{
    const char *form = clvi_config_text(j->source->config, j->section, "preprocess");
    CLV_TRY(clvi_tensor_writer_metadata(j->writer, "format", "pt", error));
    if (strcmp(form, "auto") != 0)
        CLV_TRY(clvi_tensor_writer_metadata(j->writer, CLVI_WEIGHTS_PREPROCESS, form, error));
    CLV_TRY(declare_all(j, error));
    CLV_TRY(append_all(j, error));
    return clvi_tensor_writer_commit(j->writer, error);
}

clv_status clvi_export_torch(const clvi_export_source *source, size_t leaf,
                             const clv_plugin *plugin, const char *path, clv_error *error)
{
    job j = {.source = source,
             .section = clvi_config_leaf_section(source->config, leaf),
             .graph = clvi_mixture_expert_graph(source->mixture, leaf)};
    CLV_TRY(choose_names(&j, plugin, error));
    j.biases = clvi_origin_has_biases(j.graph);
    CLV_TRY(clvi_tensor_writer_create(path, &j.writer, error));
    const clv_status status = write_file(&j, error);
    clvi_tensor_writer_destroy(j.writer);
    clvi_text_fini(&j.name);
    if (status == CLV_OK)
        clvi_log(CLVI_LOG_INFO, "%s: %zu tensors with %s names", j.section, j.tensors,
                 j.names.family ? j.names.family : "the variables' own");
    return status;
}
