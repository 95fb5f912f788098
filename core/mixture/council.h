/* Experts, gate and head together: what lies between the networks' inputs and the losses. */
#ifndef CLVI_COUNCIL_H
#define CLVI_COUNCIL_H

#include "graph/finite.h"
#include "mixture/head.h"
#include "mixture/part.h"

typedef struct clvi_council clvi_council;

/* Builds all networks and enters their variables into the site's store, which is not committed yet.
 * A configuration that is an expert of another (clvi_config_nested) makes a council that has no
 * losses but those that balance its gate. The site is copied; what it points to outlives the
 * council. Errors: those of plugins; CLV_E_CONFIG for keys that do not go together. */
clv_status clvi_council_create(const clvi_site *site, clvi_council **out,
                               clv_error *error) CLV_MUST_CHECK;
void clvi_council_destroy(clvi_council *council); /* NULL allowed */

/* Makes plans and buffers, when store and forms are committed. Errors: CLV_E_MEMORY. */
clv_status clvi_council_plan(clvi_council *council, clv_error *error) CLV_MUST_CHECK;

/* Runs everything for n samples that were fed to the forms. labels [n] i32 on the device; buf NULL:
 * there are none, and no losses. Enqueues only. */
typedef struct clvi_council_run {
    clvi_part_run part;
    clvi_view labels;
} clvi_council_run;
clv_status clvi_council_forward(clvi_council *council, const clvi_council_run *run,
                                clv_error *error) CLV_MUST_CHECK;

/* Gives the last forward in inference other weights, [n, K] on the host, and computes the
 * prediction anew. Of a sparse gate the experts that are named now run; once all were about all
 * samples, as of a dense one, the experts' outputs stay. There is a gate. */
clv_status clvi_council_reroute(clvi_council *council, const float *route,
                                clv_error *error) CLV_MUST_CHECK;
/* Whether each expert's own logits are an answer: some loss, or the fusion itself, takes them so.
 */
bool clvi_council_experts_answer(const clvi_council *council);

/* What the losses count: each sample's `share`, times the weight of its class. */
typedef struct clvi_council_seed {
    double share;
    double batch;            /* share times the sum of the classes' weights: of a balance term */
    clvi_buf *class_weights; /* [classes]; NULL: all 1 */
} clvi_council_seed;
/* Backward of the last forward in training: gradients of all terms, each times its weight, lie in
 * the store. Enqueues only. */
clv_status clvi_council_backward(clvi_council *council, const clvi_council_seed *seed,
                                 clv_error *error) CLV_MUST_CHECK;

/* Of the last forward: the prediction [n, C], as logits; its loss [n], where labels were given; the
 * weights of the experts [n, K], buf NULL where there is no gate. */
clvi_view clvi_council_prediction(const clvi_council *council);
clvi_view clvi_council_nll(const clvi_council *council);
clvi_view clvi_council_route(const clvi_council *council);
/* The same of a sparse gate after a forward in training, and the gate's output "wanted": which
 * experts it would have given the samples to. buf NULL: none. */
void clvi_council_taken(const clvi_council *council, clvi_view *route, clvi_view *wanted);
/* Whether somebody reads the experts' logits, and so they are there; and they, [n, K, C]. */
bool clvi_council_has_expert_logits(const clvi_council *council);
clvi_view clvi_council_expert_logits(const clvi_council *council);

/* See clvi_mixture_watch and clvi_mixture_watched. */
clv_status clvi_council_watch(clvi_council *council, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_council_watched(const clvi_council *council, bool train, const char **graph,
                                clvi_finding *out, clv_error *error) CLV_MUST_CHECK;

/* Whether a variable of the store trains in an epoch. */
bool clvi_council_trains(const clvi_council *council, size_t segment, uint32_t epoch);

/* A step of the optimiser begins: no expert of a sparse gate has seen a sample in it, and the sums
 * of clv_host.step_sum are 0. It ends, when the optimiser has stepped: states change that have an
 * after_step. Both enqueue only. */
clv_status clvi_council_begin_step(clvi_council *council, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_council_end_step(clvi_council *council, clv_error *error) CLV_MUST_CHECK;
/* Whether the variable's expert has seen a sample since the step began (of other variables and
 * gates: always). */
bool clvi_council_steps(const clvi_council *council, size_t segment);
/* Says that all experts run soon with the largest batch, as in the first epoch: their memory is got
 * ready. */
void clvi_council_expect(const clvi_council *council);
/* Runs each expert of a sparse gate with the samples that lie in the forms, forward and, in
 * training, backward, whatever the gate says: so that its kernels are compiled. */
clv_status clvi_council_warm(clvi_council *council, const clvi_part_run *run,
                             clv_error *error) CLV_MUST_CHECK;

/* The parts: experts in their order, the gate where there is one, the head. An expert that is a
 * mixture has an empty graph here. */
size_t clvi_council_part_count(const clvi_council *council);
const clvi_part *clvi_council_part(const clvi_council *council, size_t index);
/* Those that are networks: the same, in the place of an expert that is a mixture its own. */
size_t clvi_council_leaf_count(const clvi_council *council);
const clvi_part *clvi_council_leaf(const clvi_council *council, size_t index);
/* An expert that is a mixture; NULL: it is a network. */
const clvi_council *clvi_council_nested(const clvi_council *council, size_t expert);
size_t clvi_council_expert_count(const clvi_council *council);
bool clvi_council_gated(const clvi_council *council);
/* What the head is made from; points into the council. */
clvi_head_desc clvi_council_head_desc(const clvi_council *council);
uint64_t clvi_council_bytes(const clvi_council *council); /* of device memory, but the store */

#endif
