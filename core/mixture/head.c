/* See head.h. The graph is made in two steps: the prediction, whose variables decide with the
 * others whether anything is trainable; then the losses. */
#include "mixture/head.h"

#include "plugin/plugin_host.h"

#include <conclave/ops.h>

#include <stdio.h>

/* A tensor that comes from outside, declared when it is first asked for. */
static clv_tensor input(clv_builder *b, const char *role, const clv_shape *shape)
{
    clv_tensor out = clvi_graph_find_input(b->graph, role);
    if (out == CLV_NO_TENSOR && b->status == CLV_OK)
        b->status = clvi_graph_input_tensor(b->graph, role, shape, &out, b->error);
    return out;
}

static clv_tensor logits(clv_builder *b, const clvi_head_desc *d)
{
    const int64_t experts = (int64_t)d->fusion->experts;
    const clv_shape one = CLVI_SHAPE(CLV_F32, CLV_BATCH, d->classes);
    const clv_shape several = CLVI_SHAPE(CLV_F32, CLV_BATCH, experts, d->classes);
    return input(b, "logits", experts == 1 ? &one : &several);
}

static clv_tensor labels(clv_builder *b)
{
    const clv_shape shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    return input(b, "labels", &shape);
}

/* What the gate offers, or equal weights where there is none. */
static clv_tensor of_gate(clv_builder *b, const clvi_head_desc *d, const char *role)
{
    const int64_t experts = (int64_t)d->fusion->experts;
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, experts);
    if (d->fusion->gated)
        return input(b, role, &shape);
    const clv_tensor made = clvi_graph_find_output(b->graph, "route");
    if (made != CLV_NO_TENSOR)
        return made;
    const clv_tensor equal = clv_fill(b, "equal", logits(b, d), experts, 1.0 / (double)experts);
    clv_output(b, "route", equal);
    return equal;
}

/* ---- The prediction ---- */

int64_t clvi_head_columns(const clvi_head_desc *d)
{
    int64_t columns = 0;
    if (!clvi_fusion_has_layer(d->fusion) || !d->fusion->gated)
        return 0;
    for (size_t i = 0; i < d->fusion->experts; i++)
        columns += d->fusion->feature ? d->feature_widths[i] : d->classes;
    return columns;
}

void clvi_head_owners(const clvi_head_desc *d, int32_t *owners)
{
    for (size_t i = 0, at = 0; i < d->fusion->experts; i++)
        for (int64_t k = d->fusion->feature ? d->feature_widths[i] : d->classes; k > 0; k--)
            owners[at++] = (int32_t)i;
}

/* The experts' features or scores side by side, each scaled by its weight, and a dense layer. */
static clv_tensor layer(clv_builder *b, const clvi_head_desc *d)
{
    const clvi_fusion *f = d->fusion;
    const int64_t experts = (int64_t)f->experts;
    clv_tensor x;
    if (f->feature) {
        int64_t width = 0;
        for (size_t i = 0; i < f->experts; i++)
            width += d->feature_widths[i];
        const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, width);
        x = input(b, "features", &shape);
    } else {
        x = logits(b, d);
        if (f->probabilities)
            x = clv_softmax(b, "probabilities", x);
        const int64_t flat = experts * d->classes;
        clv_attr extents = clv_attr_int("shape", 0);
        extents.type = CLV_ATTR_INTS, extents.ints = &flat, extents.int_count = 1;
        x = clv_op(b, "reshape", "scores", &x, 1, &extents, 1);
    }
    if (f->gated) {
        const clv_shape owner = CLVI_SHAPE(CLV_I32, clvi_head_columns(d));
        const clv_tensor inputs[] = {x, of_gate(b, d, "route"), input(b, "owner", &owner)};
        x = clv_op(b, "weigh_columns", "weighed", inputs, 3, NULL, 0);
    }
    if (d->nested && f->feature)
        clv_output(b, "features", x);
    if (f->dropout > 0)
        x = clv_dropout(b, "dropout", x, f->dropout);
    return clv_dense(b, "classifier", x, d->classes, NULL);
}

static clv_tensor combined(clv_builder *b, const clvi_head_desc *d)
{
    static const char *const rules[] = {
        [CLVI_WEIGHTED] = "weighted", [CLVI_MEAN] = "weighted",
        [CLVI_PRODUCT] = "weighted",  [CLVI_PRODUCT_RULE] = "product_rule",
        [CLVI_MAX] = "max",           [CLVI_MEDIAN] = "median",
        [CLVI_MIN] = "min",           [CLVI_VOTE] = "vote"};
    const clvi_fusion *f = d->fusion;
    /* Π p^G, normalised, is the softmax of Σ G o. */
    const bool of_logits = f->combine == CLVI_PRODUCT || !f->probabilities;
    const clv_attr attrs[] = {clv_attr_text("combine", rules[f->combine]),
                              clv_attr_text("scores", of_logits ? "logits" : "probabilities")};
    const clv_tensor inputs[] = {logits(b, d), of_gate(b, d, "route")};
    return clv_op(b, "fuse_scores", "fused", inputs, 2, attrs, 2);
}

/* log softmax: the fusion of one. */
static clv_tensor log_probabilities(clv_builder *b, const clvi_head_desc *d, clv_tensor x)
{
    const int64_t one[] = {1, d->classes};
    clv_attr extents = clv_attr_int("shape", 0);
    extents.type = CLV_ATTR_INTS, extents.ints = one, extents.int_count = 2;
    const clv_tensor inputs[] = {clv_op(b, "reshape", "alone", &x, 1, &extents, 1),
                                 clv_fill(b, "whole", x, 1, 1)};
    return clv_op(b, "fuse_scores", "log_probabilities", inputs, 2, NULL, 0);
}

static clv_status build(const clvi_head_desc *d, clv_graph *graph, clv_error *error)
{
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, error);
    const clv_tensor prediction = d->fusion->experts == 1            ? logits(&b, d)
                                  : clvi_fusion_has_layer(d->fusion) ? layer(&b, d)
                                                                     : combined(&b, d);
    clv_output(&b, "prediction", prediction);
    if (d->nested) {
        clv_output(&b, "logits", log_probabilities(&b, d, prediction));
        return clv_builder_end(&b);
    }
    const clv_tensor inputs[] = {prediction, labels(&b)};
    clv_output(&b, "nll", clv_op(&b, "cross_entropy", "ce", inputs, 2, NULL, 0));
    return clv_builder_end(&b);
}

clv_status clvi_head_build(const clvi_head_desc *desc, clv_graph **out, clv_error *error)
{
    clv_graph *graph;
    CLV_TRY(clvi_graph_create(desc->name, &graph, error));
    const clv_status status = build(desc, graph, error);
    if (status != CLV_OK) {
        clvi_graph_destroy(graph);
        return status;
    }
    *out = graph;
    return CLV_OK;
}

/* ---- The losses ---- */

static clv_tensor of_prediction(clv_builder *b, const clvi_head_desc *d)
{
    if (d->fusion->smoothing <= 0)
        return clvi_graph_find_output(b->graph, "nll");
    const clv_tensor inputs[] = {clvi_graph_find_output(b->graph, "prediction"), labels(b)};
    const clv_attr smooth = clv_attr_real("label_smoothing", d->fusion->smoothing);
    return clv_op(b, "cross_entropy", "smooth_ce", inputs, 2, &smooth, 1);
}

static clv_tensor of_experts(clv_builder *b, const clvi_head_desc *d, const clvi_term_spec *spec)
{
    const clvi_fusion *f = d->fusion;
    const bool likelihood = strcmp(spec->name, "mixture_nll") == 0;
    const clv_attr attrs[] = {
        clv_attr_text("term", spec->op_term),
        clv_attr_text("target_space", f->target_logits ? "logits" : "probabilities"),
        clv_attr_text("distance", f->distance_mean ? "mean" : "sum"),
        clv_attr_real("beta", likelihood ? 1 : f->beta),
        clv_attr_real("label_smoothing", f->smoothing),
        clv_attr_int("sparse", d->sparse)};
    const clv_tensor inputs[] = {logits(b, d), of_gate(b, d, "route"), labels(b)};
    return clv_op(b, "mixture_loss", spec->name, inputs, 3, attrs, 6);
}

static clv_tensor of_balance(clv_builder *b, const clvi_head_desc *d, const clvi_term_spec *spec)
{
    const clv_attr attrs[] = {clv_attr_text("term", spec->op_term)};
    const bool counts = strcmp(spec->op_term, "switch") == 0;
    const clv_tensor inputs[] = {of_gate(b, d, spec->reads),
                                 counts ? of_gate(b, d, "route") : CLV_NO_TENSOR};
    return clv_op(b, "balance_loss", spec->name, inputs, counts ? 2 : 1, attrs, 1);
}

clv_status clvi_head_add_terms(const clvi_head_desc *d, clv_graph *graph, clv_error *error)
{
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, error);
    for (size_t i = 0; i < d->fusion->term_count; i++) {
        const clvi_term_spec *spec = d->fusion->terms[i].spec;
        const clv_tensor loss = spec->kind == CLVI_TERM_CE        ? of_prediction(&b, d)
                                : spec->kind == CLVI_TERM_EXPERTS ? of_experts(&b, d, spec)
                                                                  : of_balance(&b, d, spec);
        char role[64];
        snprintf(role, sizeof role, "loss.%s", spec->name);
        clv_output(&b, role, loss);
    }
    return clv_builder_end(&b);
}
