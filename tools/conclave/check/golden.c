/* check-plugin --golden: what the network makes of the inputs and weights in a safetensors file,
 * beside the outputs that stand there. The file is named in plugins/README.md; whoever wrote it
 * computed with another program. */
#include "check/rig.h"

#include "weights/safetensors.h"
#include "weights/transfer.h"

#include <math.h>

enum { MOST_SAMPLES = 64 };
static const char input_prefix[] = "input.", output_prefix[] = "output.";

typedef struct golden {
    check *c;
    clvi_safetensors *file;
    clvi_weights *weights; /* the same file, as weights are read */
    clvi_transfer *transfer;
    clv_graph *graph;
    rig rig;
    bool opened;
    int64_t n;
    bool nchw; /* the image lies as [N, C, H, W] */
    double worst;
    char worst_name[64];
    int outputs;
} golden;

/* ---- What the file says ---- */

static const clvi_file_tensor *find_tensor(const golden *g, const char *prefix, const char *role)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", prefix, role);
    const int64_t index = clvi_safetensors_find(g->file, name);
    return index >= 0 ? clvi_safetensors_at(g->file, (size_t)index) : NULL;
}

/* Extents of a tensor that must have `rank` of them, and as many samples as the others. */
static clv_status take_dims(golden *g, const clvi_file_tensor *t, int rank, clv_error *error)
{
    if (t->rank != rank || t->elements < 1 || t->elements > INT32_MAX)
        CLV_FAIL(error, CLV_E_DATA, "%s: %s has %d axes and %lld elements, wanted are %d axes",
                 g->c->golden, t->name, t->rank, (long long)t->elements, rank);
    if (g->n == 0)
        g->n = t->dims[0];
    if (t->dims[0] != g->n)
        CLV_FAIL(error, CLV_E_DATA, "%s: %s has %lld samples, another tensor %lld", g->c->golden,
                 t->name, (long long)t->dims[0], (long long)g->n);
    if (g->n > MOST_SAMPLES)
        CLV_FAIL(error, CLV_E_DATA, "%s has %lld samples, at most %d can be compared", g->c->golden,
                 (long long)g->n, MOST_SAMPLES);
    return CLV_OK;
}

static clv_status read_layout(golden *g, clv_error *error)
{
    const char *layout = clvi_safetensors_metadata(g->file, "layout");
    g->nchw = layout != NULL && strcmp(layout, "NCHW") == 0;
    if (layout != NULL && !g->nchw && strcmp(layout, "NHWC") != 0)
        CLV_FAIL(error, CLV_E_DATA, "%s: the metadata's layout is \"%s\", allowed are NHWC, NCHW",
                 g->c->golden, layout);
    return CLV_OK;
}

/* The width that outputs of these roles have; 0: none of them is there. */
static clv_status output_width(golden *g, const char *const *roles, int32_t *out, clv_error *error)
{
    *out = 0;
    for (size_t i = 0; roles[i] != NULL && *out == 0; i++) {
        const clvi_file_tensor *t = find_tensor(g, output_prefix, roles[i]);
        if (t == NULL)
            continue;
        CLV_TRY(take_dims(g, t, 2, error));
        *out = (int32_t)t->dims[1];
    }
    return CLV_OK;
}

/* What the network is to be built for. */
static clv_status read_question(golden *g, clv_build_input *out, clv_error *error)
{
    static const char *const logits[] = {"logits", NULL};
    static const char *const routes[] = {"route", "gate_logits", "load_prob", "wanted", NULL};
    const bool gate = g->c->plugin->table->kind == CLV_KIND_GATE;
    const clvi_file_tensor *image = find_tensor(g, input_prefix, "image");
    const clvi_file_tensor *features = find_tensor(g, input_prefix, "features");
    clv_build_input in = {.struct_size = (uint32_t)sizeof(in),
                          .mode = CLV_MODE_INFER,
                          .classes = 2,
                          .experts = 1,
                          .image_height = 8,
                          .image_width = 8,
                          .image_channels = 3};
    CLV_TRY(read_layout(g, error));
    if (image == NULL && features == NULL)
        CLV_FAIL(error, CLV_E_DATA, "%s has neither input.image nor input.features", g->c->golden);
    if (image != NULL) {
        CLV_TRY(take_dims(g, image, 4, error));
        in.image_height = (int32_t)image->dims[g->nchw ? 2 : 1];
        in.image_width = (int32_t)image->dims[g->nchw ? 3 : 2];
        in.image_channels = (int32_t)image->dims[g->nchw ? 1 : 3];
    }
    if (features != NULL) {
        CLV_TRY(take_dims(g, features, 2, error));
        in.features = (int32_t)features->dims[1];
    }
    CLV_TRY(output_width(g, gate ? routes : logits, gate ? &in.experts : &in.classes, error));
    if ((gate ? in.experts : in.classes) == 0)
        CLV_FAIL(error, CLV_E_DATA, "%s has no %s, which says how many there are", g->c->golden,
                 gate ? "output.route or output.gate_logits" : "output.logits");
    *out = in;
    return CLV_OK;
}

/* ---- Bringing it in ---- */

/* All elements of a tensor; freed with clvi_free. */
static clv_status read_values(const golden *g, const clvi_file_tensor *t, float **out,
                              clv_error *error)
{
    float *values = rig_floats(t->elements);
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s of %s", t->name, g->c->golden);
    const clv_status status = clvi_safetensors_read_f32(
        g->file, (size_t)clvi_safetensors_find(g->file, t->name), values, error);
    if (status == CLV_OK)
        *out = values;
    else
        clvi_free(values);
    return status;
}

/* [N, C, H, W] to [N, H, W, C]. */
static void to_nhwc(const float *from, const int64_t dims[4], float *to)
{
    const int64_t channels = dims[1], pixels = dims[2] * dims[3];
    for (int64_t n = 0; n < dims[0]; n++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < pixels; p++)
                to[(n * pixels + p) * channels + c] = from[(n * channels + c) * pixels + p];
}

static clv_status set_input(golden *g, size_t place, clv_error *error)
{
    const char *role = g->graph->inputs[place].desc.role;
    const clvi_file_tensor *t = find_tensor(g, input_prefix, role);
    float *values = NULL, *turned = NULL;
    if (t == NULL)
        CLV_FAIL(error, CLV_E_DATA, "%s has no input.%s, which the network asks for", g->c->golden,
                 role);
    if (t->elements != rig_elements(&g->rig, place, g->n))
        CLV_FAIL(error, CLV_E_DATA, "%s: %s has %lld elements, the network takes %lld",
                 g->c->golden, t->name, (long long)t->elements,
                 (long long)rig_elements(&g->rig, place, g->n));
    CLV_TRY(read_values(g, t, &values, error));
    clv_status status = CLV_OK;
    if (g->nchw && t->rank == 4) {
        turned = rig_floats(t->elements);
        if (turned != NULL)
            to_nhwc(values, t->dims, turned);
        else
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: %s", t->name);
    }
    if (status == CLV_OK)
        status = rig_set(&g->rig, place, turned != NULL ? turned : values, error);
    clvi_free(values);
    clvi_free(turned);
    return status;
}

static clv_status set_variable(golden *g, size_t variable, clv_error *error)
{
    const size_t place = g->graph->input_count + variable;
    float *values = rig_floats(rig_elements(&g->rig, place, 1));
    if (clvi_transfer_tensor(g->transfer, variable) < 0) {
        clvi_free(values);
        CLV_FAIL(error, CLV_E_DATA, "%s has no tensor for the variable %s", g->c->golden,
                 g->graph->variables[variable].name);
    }
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s", g->graph->variables[variable].name);
    clv_status status = clvi_transfer_read(g->transfer, variable, values, error);
    if (status == CLV_OK)
        status = rig_set(&g->rig, place, values, error);
    clvi_free(values);
    return status;
}

static clv_status set_weights(golden *g, clv_error *error)
{
    static const char *const others[] = {input_prefix, output_prefix, NULL};
    const clvi_transfer_desc desc = {.file = g->weights,
                                     .graph = g->graph,
                                     .plugin = g->c->plugin->table,
                                     .prefix = "check.",
                                     .strict = true,
                                     .others = others};
    if (g->graph->variable_count == 0)
        return CLV_OK;
    CLV_TRY(clvi_transfer_plan(&desc, &g->transfer, error));
    for (size_t v = 0; v < g->graph->variable_count; v++)
        CLV_TRY(set_variable(g, v, error));
    return CLV_OK;
}

/* ---- Comparing ---- */

/* Keeps the largest difference, relative to the output's largest number; NaN counts as infinite. */
static void compare(golden *g, const char *role, const float *got, const clvi_file_tensor *wanted,
                    const float *values)
{
    double largest = 0, apart = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < wanted->elements; i++)
        largest = fmax(largest, fabs((double)values[i]));
    for (int64_t i = 0; i < wanted->elements; i++) {
        const double d = fabs((double)got[i] - (double)values[i]);
        if (d <= apart)
            continue;
        apart = isnan(d) ? INFINITY : d;
        at = i;
    }
    const double relative = apart > 0 ? apart / (largest > 0 ? largest : 1) : 0;
    if (relative >= g->worst) {
        g->worst = relative;
        snprintf(g->worst_name, sizeof(g->worst_name), "%s", role);
    }
    if (!(relative <= g->c->tolerance))
        check_bad(g->c,
                  "output %s, sample %lld, element %lld is %.6g, wanted is %.6g: %.2g of the "
                  "largest number, allowed is %g",
                  role, (long long)(at / wanted->dims[1]), (long long)(at % wanted->dims[1]),
                  (double)got[at], (double)values[at], relative, g->c->tolerance);
}

static clv_status compare_output(golden *g, const clvi_file_tensor *t, clv_error *error)
{
    const char *role = t->name + strlen(output_prefix);
    float *wanted = NULL;
    size_t o = 0;
    while (o < g->graph->output_count && strcmp(g->graph->outputs[o].role, role) != 0)
        o++;
    if (o == g->graph->output_count || o >= g->rig.output_count)
        CLV_FAIL(error, CLV_E_DATA, "%s has %s, which is no output of the network", g->c->golden,
                 t->name);
    CLV_TRY(take_dims(g, t, 2, error));
    if (t->elements != rig_output_elements(&g->rig, o))
        CLV_FAIL(error, CLV_E_DATA, "%s: %s has %lld elements, the network gives %lld",
                 g->c->golden, t->name, (long long)t->elements,
                 (long long)rig_output_elements(&g->rig, o));
    float *got = rig_floats(t->elements);
    clv_status status =
        got != NULL ? rig_output(&g->rig, o, got, error)
                    : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: %s", t->name);
    if (status == CLV_OK)
        status = read_values(g, t, &wanted, error);
    if (status == CLV_OK)
        compare(g, role, got, t, wanted);
    g->outputs += status == CLV_OK;
    clvi_free(got);
    clvi_free(wanted);
    return status;
}

static clv_status run(golden *g, clv_error *error)
{
    clv_build_input in;
    CLV_TRY(clvi_safetensors_open(g->c->golden, &g->file, error));
    CLV_TRY(clvi_weights_open(g->c->golden, &g->weights, error));
    CLV_TRY(read_question(g, &in, error));
    CLV_TRY(check_build(g->c, &in, CLV_MODE_INFER, &g->graph, error));
    CLV_TRY(check_open_device(g->c, error));
    const rig_desc desc = {.device = g->c->device,
                           .graph = g->graph,
                           .mode = CLV_MODE_INFER,
                           .batch = g->n,
                           .only = -1};
    g->opened = true;
    CLV_TRY(rig_open(&g->rig, &desc, error));
    for (size_t i = 0; i < g->graph->input_count; i++)
        CLV_TRY(set_input(g, i, error));
    CLV_TRY(set_weights(g, error));
    CLV_TRY(rig_forward(&g->rig, g->n, error));
    for (size_t i = 0; i < clvi_safetensors_count(g->file); i++) {
        const clvi_file_tensor *t = clvi_safetensors_at(g->file, i);
        if (strncmp(t->name, output_prefix, strlen(output_prefix)) == 0)
            CLV_TRY(compare_output(g, t, error));
    }
    return CLV_OK;
}

void check_golden(check *c)
{
    golden g = {.c = c};
    clv_error error = CLV_ERROR_INIT;
    if (check_works(c, run(&g, &error), &error))
        check_ok(
            c, "%d output%s of %lld sample%s; furthest apart is %s, by %.2g of its largest number",
            g.outputs, g.outputs == 1 ? "" : "s", (long long)g.n, g.n == 1 ? "" : "s", g.worst_name,
            g.worst);
    if (g.opened)
        rig_close(&g.rig);
    clvi_transfer_destroy(g.transfer);
    clvi_graph_destroy(g.graph);
    clvi_weights_close(g.weights);
    clvi_safetensors_close(g.file);
}
