/* A mixture and one batch of noise, for what a step and an inference are to give. Every call fails
 * the running cmocka test where it cannot do its work. After trainings_begin. */
#ifndef RIGS_H
#define RIGS_H

#include "trainings.h"

enum { RIG_BATCH = 9, RIG_PIXELS = TRAINING_SIDE * TRAINING_SIDE };

typedef struct rig {
    clvi_config *config;
    clvi_mixture *mixture;
    uint8_t pixels[RIG_BATCH * RIG_PIXELS];
    int32_t labels[RIG_BATCH];
    uint32_t ids[RIG_BATCH];
} rig;

/* Of trainings_config(text); rig_fini even where it fails. */
clv_status rig_try(rig *r, const char *text, bool train, clv_error *error);
/* The same, with values in its variables. */
void rig_init(rig *r, const char *text, bool train);
void rig_fini(rig *r);
/* Gives what starts from 0, such as a linear gate, other values: so that gates weigh and choose. */
void rig_stir(rig *r);
clvi_mixture_batch rig_batch(const rig *r);

/* The prediction, as probabilities: out [RIG_BATCH, TRAINING_CLASSES]. */
void rig_predict(rig *r, double *out);
/* The gradient of the loss that is reported (which the terms of `config` teach) along itself, for
 * each network, against central differences. */
void expect_slopes(const char *config, const char *name);
/* The same of another loss, which is computed from the mixture as it stands. */
typedef double rig_loss(rig *r);
void expect_slopes_of(const char *config, const char *name, rig_loss *loss);

#endif
