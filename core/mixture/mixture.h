/* Experts, gate, fusion and loss as one trainable thing on one device: pixels and labels go in,
 * gradients of all parameters or fused logits come out. */
#ifndef CLVI_MIXTURE_H
#define CLVI_MIXTURE_H

#include "config/config.h"
#include "graph/finite.h"
#include "mixture/explainer.h"
#include "mixture/input_form.h"
#include "mixture/kept.h"
#include "mixture/metrics.h"
#include "plugin/plugin_host.h"

typedef struct clvi_mixture clvi_mixture;

typedef struct clvi_mixture_desc {
    const clvi_config *config; /* [mixture], [expert.*], [gate], [loss], [data] augment, run.seed */
    clvi_plugins *plugins;
    clvi_device *device;
    int classes;
    int height, width, channels; /* of the pixels that will be given, margins (picture.h) too */
    int64_t max_batch;
    bool train;           /* also plan backward; otherwise inference only */
    bool keep_features;   /* training: from the features of train.cache_features, not from pixels */
    uint32_t store_kinds; /* training: what the store keeps; 0: CLVI_STORE_FOR_ADAM */
    /* [classes] images of each class, for loss.class_weights = balanced; NULL: not known, all count
     * alike. Read while creating. */
    const int64_t *class_counts;
} clvi_mixture_desc;

/* Builds graphs, store and plans. Variables are zero until clvi_mixture_warm or a checkpoint.
 * The pointers of `desc` must outlive the mixture. Errors: those of plugins and plans; CLV_E_MEMORY
 * with the largest tensors and the batch that would fit, which is found by trying. */
clv_status clvi_mixture_create(const clvi_mixture_desc *desc, clvi_mixture **out,
                               clv_error *error) CLV_MUST_CHECK;
void clvi_mixture_destroy(clvi_mixture *mixture); /* NULL allowed */

/* The same without a device: networks and the table of their variables, to be looked at and not
 * run. What names parts, graphs, input forms and the store's segments may be called of it. device
 * and max_batch of `desc` mean nothing, train is false. Errors: those of plugins and
 * configurations.
 */
clv_status clvi_mixture_draft(const clvi_mixture_desc *desc, clvi_mixture **out,
                              clv_error *error) CLV_MUST_CHECK;

/* One batch on the host. */
typedef struct clvi_mixture_batch {
    int64_t n;             /* 1 … max_batch */
    const uint8_t *pixels; /* [n, height, width, channels] */
    /* the blocks of clvi_mixture_kept that are used, of these images, in place of the pixels, which
     * are read where its with_image says so; NULL: none */
    const float *features;
    const int32_t *labels; /* [n] in 0 … classes - 1; NULL: no loss (inference only) */
    const uint32_t *ids;   /* [n] names of the samples' random numbers; NULL: all 0 */
    uint32_t epoch;        /* counter of the random numbers */
    double share; /* what a sample's loss counts in the gradients; 0: 1 / clvi_mixture_weight */
} clvi_mixture_batch;

/* Augments, runs forward, loss and backward: gradients of the sum of the samples' losses, each
 * times `share`, the weight of its class and the weight of the term, lie in the store; with share
 * 0, those of the batch's (weighted) mean. Adds to the training metrics. Enqueues only. */
clv_status clvi_mixture_step(clvi_mixture *mixture, const clvi_mixture_batch *batch,
                             clv_error *error) CLV_MUST_CHECK;
/* Sum of the weights of the samples' classes: n where all count alike. */
double clvi_mixture_weight(const clvi_mixture *mixture, const int32_t *labels, int64_t n);
/* Forward in inference mode, without augmentation; with labels, adds to the metrics. Enqueues only.
 */
clv_status clvi_mixture_infer(clvi_mixture *mixture, const clvi_mixture_batch *batch,
                              clv_error *error) CLV_MUST_CHECK;
/* train.cache_features: what is kept of an image. Steps then take the features, its blocks that are
 * used, in place of pixels (or beside them), and inference may. */
clvi_kept clvi_mixture_kept(const clvi_mixture *mixture);
clvi_kept_columns clvi_mixture_kept_columns(const clvi_mixture *mixture, size_t block,
                                            size_t expert);
/* All blocks of a batch of pixels, without augmentation. wanted [experts]: whose columns. Waits. */
clv_status clvi_mixture_features(clvi_mixture *mixture, const clvi_mixture_batch *batch,
                                 const bool *wanted, float *out, clv_error *error) CLV_MUST_CHECK;
/* The prediction of the last infer as logits, [n, classes]: of probabilities that were fused, their
 * logs. Waits. */
clv_status clvi_mixture_logits(clvi_mixture *mixture, float *out, clv_error *error) CLV_MUST_CHECK;
/* Whether a gate weighs the experts; and the weights of the last infer, [n, experts]. Waits. */
bool clvi_mixture_has_gate(const clvi_mixture *mixture);
clv_status clvi_mixture_route(clvi_mixture *mixture, float *out, clv_error *error) CLV_MUST_CHECK;
/* Whether the gate sends samples to some of the experts only. */
bool clvi_mixture_is_sparse(const clvi_mixture *mixture);
/* Gives the last infer other weights, [n, experts], and computes its prediction anew. Experts that
 * a sparse gate had not asked are asked now, one after the other; where no weight is 0, all, and
 * clvi_mixture_expert_logits then has what each says of each sample. There must be a gate. */
clv_status clvi_mixture_reroute(clvi_mixture *mixture, const float *route,
                                clv_error *error) CLV_MUST_CHECK;
/* Whether an expert's own logits are an answer; not where its head got no loss as such. */
bool clvi_mixture_experts_answer(const clvi_mixture *mixture);
/* Whether every expert's own answer is computed (not where only features are fused); and the logits
 * of the last infer, [n, experts, classes], where the expert was asked. Waits. */
bool clvi_mixture_has_expert_logits(const clvi_mixture *mixture);
clv_status clvi_mixture_expert_logits(clvi_mixture *mixture, float *out,
                                      clv_error *error) CLV_MUST_CHECK;

/* What explains the last infer, of a batch of one: see explainer.h. The mixture outlives it. */
clv_status clvi_mixture_explainer(clvi_mixture *mixture, bool keep_maps, clvi_explainer **out,
                                  clv_error *error) CLV_MUST_CHECK;

/* Sums over the batches since the last reset. */
typedef struct clvi_mixture_metrics {
    int64_t count;      /* samples; in training those that an expert took */
    double loss;        /* mean negative log-likelihood of the prediction */
    double top1, top5;  /* fractions */
    int64_t not_finite; /* samples whose loss is not a finite number */
    int64_t unrouted;   /* further samples, of training, that no expert of a sparse gate took */
    int64_t wanted, dropped; /* assignments that such a gate wanted, and those of them dropped */
} clvi_mixture_metrics;
/* Reads and resets the metrics. Waits: training does so nowhere else but for a sparse gate's counts
 * (dispatch.h). */
clv_status clvi_mixture_read_metrics(clvi_mixture *mixture, clvi_mixture_metrics *out,
                                     clv_error *error) CLV_MUST_CHECK;

/* The metrics as they are now, for a checkpoint in the middle of an epoch, and back; see metrics.h.
 */
clv_status clvi_mixture_take_metrics(clvi_mixture *mixture, uint32_t words[CLVI_METRICS_WORDS],
                                     clv_error *error) CLV_MUST_CHECK;
clv_status clvi_mixture_put_metrics(clvi_mixture *mixture, const uint32_t words[CLVI_METRICS_WORDS],
                                    clv_error *error) CLV_MUST_CHECK;

/* Two experts or more that train: signals.h of the steps since words were put, for
 * clvi_signals_words(experts) words. Taking waits. */
bool clvi_mixture_has_signals(const clvi_mixture *mixture);
clv_status clvi_mixture_take_signals(clvi_mixture *mixture, uint32_t *words,
                                     clv_error *error) CLV_MUST_CHECK;
clv_status clvi_mixture_put_signals(clvi_mixture *mixture, const uint32_t *words,
                                    clv_error *error) CLV_MUST_CHECK;
/* Adds the gradients of the parameters to them, those of a kind (CLVI_STORE_GRADIENT,
 * CLVI_STORE_SUM) that lie in the store, times `factor`: before the optimiser's step. Enqueues
 * only.
 */
clv_status clvi_mixture_look_at_gradients(clvi_mixture *mixture, clvi_store_kind kind,
                                          double factor, uint32_t epoch,
                                          clv_error *error) CLV_MUST_CHECK;
/* Parameters that train in the epoch, of expert `index` or (index = experts) of the gate. */
int64_t clvi_mixture_expert_training(const clvi_mixture *mixture, size_t index, uint32_t epoch);

/* From now on steps and inference look for numbers that are not finite (finite.h). */
clv_status clvi_mixture_watch(clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;
/* What the last step (train) or inference wrote first that is not finite; *graph is the label of
 * its network. Waits. */
clv_status clvi_mixture_watched(const clvi_mixture *mixture, bool train, const char **graph,
                                clvi_finding *out, clv_error *error) CLV_MUST_CHECK;

/* Compiles all kernels: by single launches where a rehearsal says which there are, else by running
 * everything with the largest and the smallest batch of black images, which in training changes
 * variables. */
clv_status clvi_mixture_compile(clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;
/* The same, then sets all variables to their initial values from run.seed. Call before training. */
clv_status clvi_mixture_warm(clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;

clvi_store *clvi_mixture_store(clvi_mixture *mixture);
/* A step of the optimiser begins, of one or several clvi_mixture_step; it ends when the optimiser
 * has stepped: states of a gate change that learn without a gradient. Both enqueue only. */
clv_status clvi_mixture_begin_step(clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_mixture_end_step(clvi_mixture *mixture, clv_error *error) CLV_MUST_CHECK;
/* Which groups of the store's variables step in an epoch, from 0; NULL: all. An expert to which a
 * sparse gate sent no sample since the step began does not. Valid until the next call. */
const bool *clvi_mixture_active(clvi_mixture *mixture, uint32_t epoch);
/* Whether segment `segment` of the store trains in an epoch, from 0. */
bool clvi_mixture_trains(const clvi_mixture *mixture, size_t segment, uint32_t epoch);
/* Parameters that train in an epoch, from 0. */
int64_t clvi_mixture_training(const clvi_mixture *mixture, uint32_t epoch);
size_t clvi_mixture_expert_count(const clvi_mixture *mixture);
/* Index: of an expert that has a plugin, as in clvi_config_leaf_section. */
const clv_graph *clvi_mixture_expert_graph(const clvi_mixture *mixture, size_t index);
/* Its parts: the experts in their order, the gate where there is one, the head (fusion and losses).
 * An expert that is a mixture has an empty graph. Everything lives as long as the mixture. */
typedef struct clvi_mixture_part {
    /* "expert.a", "gate", "head": what its variables' names begin with; of the networks of a nested
     * mixture "expert.a/x", "gate.a", "head.a" */
    const char *section;
    const clv_graph *graph;
    const char *preprocessing; /* as clvi_mixture_preprocessing; NULL: it sees no image */
    const char *plugin_path;   /* of an expert's plugin file; NULL of others */
} clvi_mixture_part;
size_t clvi_mixture_part_count(const clvi_mixture *mixture);
clvi_mixture_part clvi_mixture_part_at(const clvi_mixture *mixture, size_t index);
/* Its networks: the same, in the place of an expert that is a mixture the networks of that. */
size_t clvi_mixture_leaf_count(const clvi_mixture *mixture);
clvi_mixture_part clvi_mixture_leaf_at(const clvi_mixture *mixture, size_t index);
/* Multiply-adds of one image in a part; of an expert that is a mixture, in all of it: where a gate
 * inside is sparse, more than are done. */
int64_t clvi_mixture_part_macs(const clvi_mixture *mixture, size_t index);
/* Experts, gate and head as they stand to each other (council.h), and the input forms that their
 * parts' `forms` count; the pixels that are given. All live as long as the mixture. */
const struct clvi_council *clvi_mixture_council(const clvi_mixture *mixture);
const clvi_input_form *clvi_mixture_form(const clvi_mixture *mixture, size_t index);
size_t clvi_mixture_form_count(const clvi_mixture *mixture);
clvi_picture clvi_mixture_picture(const clvi_mixture *mixture);
/* Bytes of device memory: the store, activations, gradients, images. What is planned is what is
 * there. */
uint64_t clvi_mixture_bytes(const clvi_mixture *mixture);
/* What is done to a pixel for expert `index` of those that have a plugin, as
 * clvi_input_form_describe says it. Lives as long as the mixture. */
const char *clvi_mixture_preprocessing(const clvi_mixture *mixture, size_t index);

#endif
