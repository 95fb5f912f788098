/* The head: from what experts and gate give, and the labels, to the prediction and the losses. A
 * graph of the core's own, which the core differentiates like any other. */
#ifndef CLVI_HEAD_H
#define CLVI_HEAD_H

#include "graph/graph.h"
#include "mixture/fusion.h"

typedef struct clvi_head_desc {
    const char *name; /* for messages: "head" */
    const clvi_fusion *fusion;
    int classes;
    const int64_t *feature_widths; /* [experts]; of fusion = feature */
    bool sparse;                   /* an exact 0 in the route: the sample was not sent */
    bool nested;                   /* of a mixture that is an expert of another */
} clvi_head_desc;

/* Inputs, each only where something reads it: "logits" [N, C] of one expert, [N, K, C] of several;
 * "features" [N, ΣF]; the gate's "route", "gate_logits", "load_prob" [N, K]; "labels" [N] i32;
 * "owner" i32, whose each column of the layer's input is (clvi_head_owners).
 * Outputs: "prediction" [N, C], to be read as logits; "nll" [N], its negative log-likelihood, which
 * is reported; "loss.NAME" of each term, [N], or [1] of a balance term. Of a nested mixture there
 * are no labels and no "nll", and what an expert offers: "logits" [N, C], logs of the fused
 * probabilities, and, of fused features, "features" [N, ΣF], as the layer sees them, before
 * dropout. */
clv_status clvi_head_build(const clvi_head_desc *desc, clv_graph **out,
                           clv_error *error) CLV_MUST_CHECK;

/* Adds the output "loss.NAME" of each of the fusion's terms, when it is known which there are. */
clv_status clvi_head_add_terms(const clvi_head_desc *desc, clv_graph *graph,
                               clv_error *error) CLV_MUST_CHECK;

/* Columns of the layer's input, 0 where there is no layer or no weighing; and, into
 * owners[columns], the index of the expert that each belongs to. */
int64_t clvi_head_columns(const clvi_head_desc *desc);
void clvi_head_owners(const clvi_head_desc *desc, int32_t *owners);

#endif
