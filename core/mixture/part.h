/* One network of a mixture (an expert, the gate, the head): its graph, where its variables lie, and
 * its plans for training and inference. */
#ifndef CLVI_PART_H
#define CLVI_PART_H

#include "base/philox.h"
#include "mixture/forms.h"
#include "mixture/frozen.h"
#include "mixture/trainable.h"
#include "plugin/plugin_host.h"

/* What all parts of a mixture have in common. */
typedef struct clvi_site {
    const clvi_config *config;
    clvi_plugins *plugins;
    clvi_device *device;
    clvi_store *store;
    clvi_forms *forms;
    int classes;
    clvi_picture seen;
    const clvi_augment *augment;
    int64_t max_batch;
    bool train;         /* also plan backward */
    bool keep_features; /* see clvi_mixture_desc */
    bool frozen;        /* nothing trains, whatever sections say: of a mixture that is an expert */
} clvi_site;

enum { CLVI_TRAIN, CLVI_INFER, CLVI_MODES };

typedef struct clvi_part {
    /* "expert.a", "gate", "head", of a nested mixture "expert.a/x", "gate.a", "head.a"; prefix of
     * its variables; borrowed */
    const char *section;
    const char *plugin_path; /* of an expert's plugin file; NULL of others; borrowed */
    clv_options *options;
    clv_graph *graphs[CLVI_MODES]; /* may be one and the same */
    uint32_t base, variables;      /* in the store */
    clvi_slabs *slabs;
    bool shares_slabs; /* they are somebody else's (dispatch.h) */
    clvi_plan *plans[CLVI_MODES];
    clvi_plan *later;    /* train, from the epoch on in which more trains; NULL: there is none */
    clvi_frozen *frozen; /* train.cache_features: in place of plans[0]; NULL: the whole is run */
    clvi_plan *ran[CLVI_MODES]; /* the plan of the last forward; borrowed */
    clvi_trainable *trains;     /* what of an expert trains; NULL: all */
    size_t *forms;              /* which input forms it sees: one, or of a mixture several */
    size_t form_count, form_capacity;
    char *preprocessing; /* NULL: it sees no image */
    bool trainable;      /* something in it is, at some time */
    clvi_philox_key dropout;
} clvi_part;

void clvi_part_fini(clvi_part *part);

/* Build the network of expert `index`, or of the gate, and add its variables to the store. input:
 * struct_size and mode are set here. A gate may build another graph, of the same variables, for
 * inference. Errors: those of plugins, options and trainable.h. */
clv_status clvi_part_build_expert(clvi_part *part, const clvi_site *site, size_t index,
                                  clv_build_input *input, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_part_build_gate(clvi_part *part, const clvi_site *site, clv_build_input *input,
                                clv_error *error) CLV_MUST_CHECK;
/* Adds the variables of a graph that the core made, which becomes the part's. */
clv_status clvi_part_adopt(clvi_part *part, const clvi_site *site, const char *section,
                           clv_graph *graph, clv_error *error) CLV_MUST_CHECK;

/* What a plan of a part is to give. */
typedef struct clvi_part_wants {
    const clv_tensor *outputs;
    size_t count;
    uint32_t outputs_with_grad, inputs_with_grad; /* training */
    const clvi_beside *beside;
    size_t beside_count;
} clvi_part_wants;
/* Makes the plan of one mode; nothing where the site does not train and mode is CLVI_TRAIN. */
clv_status clvi_part_plan(clvi_part *part, const clvi_site *site, int mode,
                          const clvi_part_wants *wants, clv_error *error) CLV_MUST_CHECK;

/* The training and inference plans of an expert that is cut behind its frozen part
 * (train.cache_features), in place of that of CLVI_TRAIN; *elements: of one image's features.
 * wants->beside has room for one more. Errors: CLV_E_CONFIG where it cannot be cut. */
clv_status clvi_part_cut(clvi_part *part, const clvi_site *site, const clvi_part_wants *wants,
                         int64_t *elements, clv_error *error) CLV_MUST_CHECK;
/* Whether variable `index` of the part trains in an epoch, given that it does at some time. */
bool clvi_part_trains(const clvi_part *part, size_t index, uint32_t epoch);

/* Binds the image, where there is one, and runs forward. Enqueues only. */
typedef struct clvi_part_run {
    int mode; /* CLVI_TRAIN, CLVI_INFER */
    int64_t n;
    uint32_t epoch;
    bool features; /* of a cut expert: begin with the features that were put */
    const clvi_view
        *images;   /* of a routed expert: its samples', by form; NULL: those of the forms */
    clvi_view ids; /* the same; buf NULL */
} clvi_part_run;
clv_status clvi_part_forward(clvi_part *part, const clvi_site *site, const clvi_part_run *run,
                             clv_error *error) CLV_MUST_CHECK;
/* Calls look on every plan of a mode that there is. */
clv_status clvi_part_watch(const clvi_part *part, int mode, clv_error *error) CLV_MUST_CHECK;
/* Binds the image of a run, where the graph has one, in a plan of that graph. */
void clvi_part_bind_image(const clvi_part *part, const clvi_site *site, const clvi_part_run *run,
                          clvi_plan *plan);
/* What a form holds of the samples of a run. */
clvi_view clvi_part_image(const clvi_site *site, const clvi_part_run *run, size_t form);
/* Bytes of device memory. */
uint64_t clvi_part_bytes(const clvi_part *part);

#endif
