/* See onnx.h: the council's parts, put together as council.c runs them. */
#include "export/onnx.h"

#include "base/text.h"
#include "export/onnx_input.h"
#include "mixture/council.h"

#include "version.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* What all of a model's parts have in common. */
typedef struct job {
    clvi_onnx *x;
    const clvi_export_source *source;
    const char **forms; /* values of the input forms */
} job;

/* What a network or a mixture gives as an expert. */
typedef struct answer {
    const char *logits, *features, *route;
} answer;

static answer council_answer(const job *j, const clvi_council *council, const char *logits,
                             bool features);

/* ---- Parts ---- */

static void begin(const job *j, const clvi_part *part, clvi_onnx_part *out)
{
    clvi_onnx_part_begin(out, j->x, part->graphs[CLVI_INFER], part->section, part->base);
    if (part->form_count == 1)
        clvi_onnx_part_bind(out, "image", j->forms[part->forms[0]]);
}

static answer expert_answer(const job *j, const clvi_council *c, size_t index, const bool wants[2])
{
    clvi_onnx_part part;
    if (clvi_council_nested(c, index))
        return council_answer(j, clvi_council_nested(c, index), wants[0] ? "logits" : NULL,
                              wants[1]);
    answer a = {0};
    begin(j, clvi_council_part(c, index), &part);
    if (wants[0])
        a.logits = clvi_onnx_part_output(&part, "logits");
    if (wants[1])
        a.features = clvi_onnx_part_output(&part, "features");
    return a;
}

/* ---- The gate ---- */

/* A sparse gate leaves experts out whose weight is exactly 0, which is the same when they are
 * computed all the same. That every image has one at least is known of topk_mask only. */
static void check_route(const job *j, const clvi_part *gate)
{
    const clv_graph *g = gate->graphs[CLVI_INFER];
    const clv_tensor route = clvi_graph_find_output(g, "route");
    const int32_t maker = route == CLV_NO_TENSOR ? -1 : g->tensors[route].producer;
    if (g->route.sparse && (maker < 0 || strcmp(g->nodes[maker].op->name, "topk_mask") != 0))
        clvi_onnx_fail(
            j->x, CLV_E_USAGE,
            "[%s] plugin = %s: this gate sends images to few experts by an operation (%s) that "
            "cannot be written as ONNX; export its experts one by one (--safetensors, --expert)",
            gate->section, clvi_config_text(j->source->config, gate->section, "plugin"),
            maker < 0 ? "none" : g->nodes[maker].op->name);
}

/* Several values side by side along an axis; one as it is. */
static const char *beside(const job *j, const char *name, const char **values, size_t count,
                          int64_t axis)
{
    if (count == 1)
        return values[0];
    return clvi_onnx_add(j->x, &(clvi_onnx_node){"Concat", name, values, count,
                                                 ONNX_ATTRS(ONNX_I("axis", axis)), NULL});
}

/* ---- A council ---- */

static bool reads(const clvi_part *part, const char *role)
{
    return clvi_graph_find_input(part->graphs[CLVI_INFER], role) != CLV_NO_TENSOR;
}

/* [N, K, C] of the experts' logits, of one [N, C]; their features [N, ΣF]. */
static void bank(const job *j, const char *section, const answer *answers, size_t experts,
                 const char *out[2])
{
    const char **values = clvi_onnx_alloc(j->x, experts * sizeof *values);
    const char *name = clvi_onnx_text(j->x, "%s.logits", section);
    const int64_t axis = 1;
    for (size_t i = 0; i < experts && values && answers[0].logits; i++) {
        const char *at = experts > 1 ? clvi_onnx_ints(j->x, "experts.axis", &axis, 1) : NULL;
        values[i] = at ? clvi_onnx_plain(j->x, "Unsqueeze", name, ONNX_LIST(answers[i].logits, at))
                       : answers[i].logits;
    }
    if (values && answers[0].logits)
        out[0] = beside(j, name, values, experts, 1);
    for (size_t i = 0; i < experts && values; i++)
        values[i] = answers[i].features;
    if (values && answers[0].features)
        out[1] = beside(j, clvi_onnx_text(j->x, "%s.features", section), values, experts, 1);
}

/* Whose each column of the fusing layer is. */
static const char *owners(const job *j, const clvi_council *c)
{
    const clvi_head_desc desc = clvi_council_head_desc(c);
    const size_t columns = (size_t)clvi_head_columns(&desc);
    int32_t *owner = clvi_onnx_alloc(j->x, columns * sizeof *owner);
    int64_t *wide = clvi_onnx_alloc(j->x, columns * sizeof *wide);
    if (!owner || !wide || columns == 0)
        return NULL;
    clvi_head_owners(&desc, owner);
    for (size_t i = 0; i < columns; i++)
        wide[i] = owner[i];
    return clvi_onnx_ints(j->x, clvi_onnx_text(j->x, "%s.owner", desc.name), wide, columns);
}

/* logits: the output of the head that becomes the answer's; NULL: none. features: they too. */
static answer council_answer(const job *j, const clvi_council *c, const char *logits, bool features)
{
    const size_t experts = clvi_council_expert_count(c);
    const clvi_part *head = clvi_council_part(c, clvi_council_part_count(c) - 1);
    const clvi_part *gate = clvi_council_gated(c) ? clvi_council_part(c, experts) : NULL;
    const bool wants[] = {reads(head, "logits"),
                          reads(head, "features") || (gate && reads(gate, "features"))};
    answer *answers = clvi_onnx_alloc(j->x, experts * sizeof *answers), out = {0};
    const char *banks[2] = {NULL, NULL};
    clvi_onnx_part part;
    for (size_t i = 0; i < experts && answers; i++)
        answers[i] = expert_answer(j, c, i, wants);
    if (clvi_onnx_failed(j->x))
        return out;
    bank(j, head->section, answers, experts, banks);
    if (gate) {
        check_route(j, gate);
        begin(j, gate, &part);
        clvi_onnx_part_bind(&part, "features", banks[1]);
        out.route = clvi_onnx_part_output(&part, "route");
    }
    begin(j, head, &part);
    clvi_onnx_part_bind(&part, "logits", banks[0]);
    clvi_onnx_part_bind(&part, "features", banks[1]);
    clvi_onnx_part_bind(&part, "route", out.route);
    clvi_onnx_part_bind(&part, "owner", owners(j, c));
    out.logits = logits ? clvi_onnx_part_output(&part, logits) : NULL;
    out.features = features ? clvi_onnx_part_output(&part, "features") : NULL;
    return out;
}

/* ---- What users must know ---- */

/* A list of `count` names. */
static void property_json(clvi_onnx *x, const char *key, json_t *list, size_t count)
{
    char *text = json_array_size(list) == count ? json_dumps(list, JSON_COMPACT) : NULL;
    if (text)
        clvi_onnx_property(x, key, text);
    else
        clvi_onnx_fail(x, CLV_E_DATA, "the property %s cannot be written: a name is no UTF-8", key);
    free(text);
    json_decref(list);
}

/* How a picture is given, and brought to size. */
static void describe(const clvi_export_source *s, clvi_text *out)
{
    const bool crop = strcmp(clvi_config_text(s->config, "data", "fit"), "crop") == 0;
    clvi_text_printf(out,
                     "%s picture of %d x %d pixels (width x height), values 0 to 255, [N, %d, %d, "
                     "%d]; one of another size first %s, %s with smoothing",
                     s->channels == 1 ? "grey" : "RGB", s->width, s->height, s->channels, s->height,
                     s->width,
                     crop ? "scaled to cover it and its middle cut out" : "stretched to it",
                     clvi_config_text(s->config, "data", "resize"));
}

static void describe_model(const job *j, const char *input)
{
    const clvi_export_source *s = j->source;
    json_t *classes = json_array(), *experts = json_array();
    char number[64];
    for (size_t i = 0; i < s->class_count; i++)
        json_array_append_new(classes, json_string(s->class_name(s->user, i)));
    for (size_t i = 0; i < clvi_config_expert_count(s->config); i++)
        json_array_append_new(experts, json_string(clvi_config_expert_name(s->config, i)));
    property_json(j->x, "classes", classes, s->class_count);
    property_json(j->x, "experts", experts, clvi_config_expert_count(s->config));
    clvi_onnx_property(j->x, "input", input);
    clvi_onnx_property(j->x, "resize", clvi_config_text(s->config, "data", "resize"));
    clvi_onnx_property(j->x, "fit", clvi_config_text(s->config, "data", "fit"));
    (void)snprintf(number, sizeof number, "%.9g", s->temperature > 0 ? s->temperature : 1);
    clvi_onnx_property(j->x, "temperature", number);
}

/* ---- All ---- */

/* What networks see, of the input. */
static void put_inputs(job *j, const char *input)
{
    const clvi_export_source *s = j->source;
    const clvi_picture seen = clvi_mixture_picture(s->mixture);
    const size_t forms = clvi_mixture_form_count(s->mixture);
    const clv_shape image = CLVI_SHAPE(CLV_F32, CLV_BATCH, s->channels, s->height, s->width);
    clvi_onnx_input(j->x, "image", &image, input);
    const char *picture = clvi_onnx_middle(j->x, "image", &seen);
    j->forms = clvi_onnx_alloc(j->x, forms * sizeof *j->forms);
    for (size_t i = 0; i < forms && j->forms; i++)
        j->forms[i] = clvi_onnx_form(j->x, picture, &seen, clvi_mixture_form(s->mixture, i));
}

static void put_outputs(const job *j, const answer *a)
{
    const clvi_export_source *s = j->source;
    const int64_t experts = (int64_t)clvi_config_expert_count(s->config);
    const clv_shape chances = CLVI_SHAPE(CLV_F32, CLV_BATCH, (int64_t)s->class_count);
    const clv_shape weights = CLVI_SHAPE(CLV_F32, CLV_BATCH, experts);
    const char *x = a->logits;
    if (s->temperature > 0) {
        const char *by = clvi_onnx_number(j->x, "temperature", s->temperature);
        x = clvi_onnx_plain(j->x, "Div", "calibrated", ONNX_LIST(x, by));
    }
    x = clvi_onnx_along(j->x, "Softmax", "softmax", x, "axis", -1);
    clvi_onnx_output(j->x, "probabilities", x, &chances, "of the classes");
    if (a->route)
        clvi_onnx_output(j->x, "weights", a->route, &weights, "of the experts, by the gate");
}

static clv_status write_model(const job *j, const char *path, const char *input, clv_error *error)
{
    const clvi_export_source *s = j->source;
    clvi_text doc = {0};
    clvi_text_printf(&doc,
                     "Made by `conclave export`. image: %s. probabilities: of the classes that the "
                     "property `classes` names.",
                     input);
    const clvi_onnx_writing how = {.path = path,
                                   .producer = "conclave",
                                   .version = CLVI_VERSION,
                                   .doc = clvi_text_get(&doc),
                                   .read = s->read,
                                   .user = s->user};
    const clv_status status = clvi_onnx_write(j->x, &how, error);
    clvi_text_fini(&doc);
    return status;
}

clv_status clvi_export_onnx(const clvi_export_source *source, const char *path, clv_error *error)
{
    job j = {.source = source};
    clvi_text input = {0};
    CLV_TRY(clvi_onnx_create(&j.x, error));
    describe(source, &input);
    put_inputs(&j, clvi_text_get(&input));
    const answer a = council_answer(&j, clvi_mixture_council(source->mixture), "prediction", false);
    put_outputs(&j, &a);
    describe_model(&j, clvi_text_get(&input));
    const clv_status status = write_model(&j, path, clvi_text_get(&input), error);
    clvi_text_fini(&input);
    clvi_onnx_destroy(j.x);
    return status;
}
