/* What council.c, council_plan.c and kept.c share. Internal to core/mixture. */
#ifndef CLVI_COUNCIL_IMPL_H
#define CLVI_COUNCIL_IMPL_H

#include "graph/after_step.h"
#include "mixture/council.h"
#include "mixture/dispatch.h"
#include "mixture/kept.h"

/* What an expert or the gate may give to the head. */
enum { CLVI_LOGITS, CLVI_FEATURES, CLVI_EXPERT_ROLES };
extern const char *const clvi_expert_roles[CLVI_EXPERT_ROLES];
/* CLVI_WANTED, the last, is counted and has no gradient. */
enum { CLVI_ROUTE, CLVI_GATE_LOGITS, CLVI_LOAD_PROB, CLVI_WANTED, CLVI_GATE_ROLES };
extern const char *const clvi_gate_roles[CLVI_GATE_ROLES];

struct clvi_council {
    clvi_site site;
    clvi_fusion fusion;
    clvi_part *experts;
    clvi_council **nested; /* [experts]: experts that are mixtures; NULL: a network (member.h) */
    clvi_part gate, head;
    char head_section[160];
    int64_t *feature_widths; /* [experts] */
    clvi_bank banks[CLVI_EXPERT_ROLES];
    bool used[CLVI_EXPERT_ROLES];  /* the head or the gate reads it */
    bool given[CLVI_EXPERT_ROLES]; /* experts give it: what is used, or kept for others (kept.h) */
    bool offered[CLVI_EXPERT_ROLES]; /* of a mixture that is an expert: what it gives as such */
    bool gate_features;  /* the gate reads the experts' features, and comes after them */
    clvi_buf *gate_grad; /* [batch, ΣF]: of features through the gate */
    clvi_buf *owners;
    clvi_dispatch *dispatch; /* of a sparse gate; NULL: every expert sees every sample */
    clvi_after_step *after;  /* of the gate's states; NULL: it has none that learn so */
    bool *seen;              /* [experts]: got a sample since the step began */
    int64_t cut_elements; /* train.cache_features of one expert's part: of an image; 0: not kept */
    bool keeps_experts;   /* train.cache_features of experts that are frozen as a whole */
    bool asked_all;       /* in the last forward, or since: every expert about every sample */
    clvi_council_run run; /* the last one */
};

/* Whether anything in an expert is trainable; and whether gradients go into the gate. */
bool clvi_council_trainable(const clvi_council *council);
bool clvi_council_gate_taught(const clvi_council *council);
/* Whether the gate sends samples to some of the experts only. */
bool clvi_council_sparse(const clvi_council *council);

/* Values of one of the head's inputs in the last forward of a run, and where their gradient goes
 * (in training). buf NULL: there is none. */
void clvi_council_head_input(const clvi_council *council, const clvi_council_run *run,
                             const char *role, clvi_view *values, clvi_view *grad);

/* Columns of a role's bank, and where expert `index` stands in it. */
int64_t clvi_council_bank_width(const clvi_council *council, int role);
clvi_bank_part clvi_council_bank_part(const clvi_council *council, int role, size_t index);
/* What expert `index` wrote when it last ran in this mode, into the banks. */
clv_status clvi_council_bank(const clvi_council *council, size_t index, int mode,
                             clvi_bank_rows rows, clv_error *error) CLV_MUST_CHECK;
/* In the place of the experts, whose outputs were put into the banks (kept.h). */
void clvi_council_pass_experts(clvi_council *council, const clvi_council_run *run);
/* Index of a graph's input, or -1. */
int clvi_council_input_of(const clv_graph *graph, const char *role);
/* Whether it is an expert of another. */
bool clvi_council_is_nested(const clvi_council *council);
/* Outputs of the head's plan that stand before the terms: what a nested one offers. */
size_t clvi_council_offers(const clvi_council *council);
/* What an expert or the gate is to give, in the order of its roles: those that are used. Returns
 * how many. */
size_t clvi_council_outputs_of(const clv_graph *graph, const char *const *roles, const bool *used,
                               int count, clv_tensor *out);
/* Place of a role among the outputs that are planned. */
size_t clvi_council_place_of(const bool *used, int role);
/* What is read of the gate. The route always: it is what people ask for. In training what losses
 * read, and what was wanted; in inference of a sparse route the logits, for samples that nobody
 * got. */
void clvi_council_gate_uses(const clvi_council *council, int mode, bool used[CLVI_GATE_ROLES]);

#endif
