/* How experts become one answer and what is learnt from: [mixture] and [loss] as numbers, and the
 * rules about which loss goes with which fusion. */
#ifndef CLVI_FUSION_H
#define CLVI_FUSION_H

#include "config/config.h"

/* In the order of the schema's choices. */
typedef enum clvi_combine {
    CLVI_CONCAT,
    CLVI_WEIGHTED,
    CLVI_MEAN,
    CLVI_PRODUCT,
    CLVI_PRODUCT_RULE,
    CLVI_MAX,
    CLVI_MEDIAN,
    CLVI_MIN,
    CLVI_VOTE
} clvi_combine;

typedef enum clvi_term_kind {
    CLVI_TERM_CE,      /* cross-entropy of the prediction */
    CLVI_TERM_EXPERTS, /* an expert's own loss, or of all experts and their weights */
    CLVI_TERM_BALANCE  /* of the gate alone, over the batch */
} clvi_term_kind;

/* A loss by name. */
typedef struct clvi_term_spec {
    const char *name;
    clvi_term_kind kind;
    const char *op_term; /* `term` of the op that computes it; NULL: by cross_entropy */
    const char *reads;   /* of a balance term: the gate's output */
} clvi_term_spec;

typedef struct clvi_term {
    const clvi_term_spec *spec;
    double weight;
} clvi_term;

enum { CLVI_MAX_TERMS = 16 };

typedef struct clvi_fusion {
    size_t experts; /* 1: the prediction is the expert's logits */
    bool gated;     /* [gate] names a plugin */
    bool feature;   /* else score */
    clvi_combine combine;
    bool probabilities; /* scores */
    double dropout;
    clvi_term terms[CLVI_MAX_TERMS];
    size_t term_count;
    bool experts_learn; /* one of them, also where only inference is made, is CLVI_TERM_EXPERTS */
    double beta, smoothing;
    bool target_logits, distance_mean; /* of the squared losses */
} clvi_fusion;

/* Reads the keys and checks what does not depend on the gate's network. Errors: CLV_E_CONFIG, with
 * the place of the key and the names of both keys that do not go together. */
clv_status clvi_fusion_read(const clvi_config *config, clvi_fusion *out,
                            clv_error *error) CLV_MUST_CHECK;

/* What has been built. */
typedef struct clvi_fusion_facts {
    bool train;                  /* else everything only infers, and no loss is needed */
    bool trainable;              /* anything is, the head's own variables included */
    bool gate_trainable;         /* something in the gate is */
    bool gate_variables;         /* the gate has parameters */
    bool gate_logits, load_prob; /* it offers these outputs */
    bool sparse, sums_to_one;    /* its route */
    bool all_or_nothing; /* they do in inference at least: training may drop some, no more */
    int32_t max_per_sample;
} clvi_fusion_facts;
/* The rules about the gate and about what there is to train. Without anything trainable the terms
 * are dropped, with a note; in inference without one. Errors as above. */
clv_status clvi_fusion_check(const clvi_config *config, const clvi_fusion_facts *facts,
                             clvi_fusion *fusion, clv_error *error) CLV_MUST_CHECK;

/* Whether the fusion has variables of its own: a dense layer over all experts. */
bool clvi_fusion_has_layer(const clvi_fusion *fusion);
/* Whether the experts' logits are taken as answers: by the rule itself, or by a term. */
bool clvi_fusion_experts_answer(const clvi_fusion *fusion);
/* Whether a term is among the terms. */
bool clvi_fusion_learns(const clvi_fusion *fusion, const char *term);

#endif
