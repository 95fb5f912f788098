/* What an expert's answer rests on: Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from
 * deep networks via gradient-based localization", ICCV 2017) of each network of a mixture.
 *
 * Of the last map A of a network (graph/maps.h) and a class c: α_k = mean over the places of
 * ∂y/∂A_k, CAM = max(0, Σ_k α_k A_k). y is the expert's own logit of c where that is an answer:
 * the fusion or a loss takes it so, or the expert was trained before and is frozen. Where only the
 * fusion was taught (features side by side, scores into a dense layer) it is the
 * prediction's, of the nearest mixture around whose prediction is an answer; what gates weigh stays
 * as it is. The gradient is that of the graph's own backward, run on the device from the map on,
 * with everything as in inference: running statistics, no dropout. Operations that a plugin brings
 * run as in training. */
#ifndef CLVI_EXPLAINER_H
#define CLVI_EXPLAINER_H

#include "graph/maps.h"

struct clvi_council;

typedef struct clvi_explainer clvi_explainer;

/* One network that is an expert, or an expert of a mixture that is one. */
typedef struct clvi_explained {
    const char *section;             /* "expert.a", "expert.a/x"; lives as long as the mixture */
    const clv_graph *graph;          /* the same */
    clv_tensor map;                  /* CLV_NO_TENSOR: it has no map of more than one place */
    int64_t height, width, channels; /* of the map */
    bool answers;                    /* its own logits are an answer */
    bool features;                   /* otherwise: its features are read, not its logits */
    /* Of the last run; what it points to is valid until the next. */
    bool asked;          /* false: no sparse gate sent the image there, all below is absent */
    double weight;       /* that the gate of its own mixture gives it; NAN: there is no gate */
    double share;        /* times the weights of the mixtures around; NAN: one has no gate */
    const float *logits; /* [classes]; NULL: not an answer */
    const float *values; /* [height, width, channels] of the map; NULL: no map */
    const float
        *gradient;    /* the same, ∂y/∂A; NULL: none, or an operation of a plugin passes none */
    const float *cam; /* [height, width], at least 0; NULL: no gradient */
    const float *const *maps; /* [stages.count] the last map of each stage, NULL where there is
                                 none; NULL: not kept */
    const clvi_maps *stages;
} clvi_explained;

/* For a council whose last forward was inference of one sample, and whose plans exist. It makes
 * plans of its own; keep_maps: also reads the maps. The council outlives it. Errors: CLV_E_MEMORY,
 * those of plans. */
clv_status clvi_explainer_create(struct clvi_council *council, bool keep_maps, clvi_explainer **out,
                                 clv_error *error) CLV_MUST_CHECK;
void clvi_explainer_destroy(clvi_explainer *explainer); /* NULL allowed; before the council */

size_t clvi_explainer_count(const clvi_explainer *explainer);
const clvi_explained *clvi_explainer_at(const clvi_explainer *explainer, size_t index);

/* Explains class `label` in the sample that the council inferred last, a batch of one. Waits. */
clv_status clvi_explainer_run(clvi_explainer *explainer, int label,
                              clv_error *error) CLV_MUST_CHECK;

#endif
