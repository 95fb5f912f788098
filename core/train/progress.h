/* How far training is: what the training loop tells whoever displays it. Data only. */
#ifndef CLVI_PROGRESS_H
#define CLVI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum clvi_progress_phase {
    CLVI_PROGRESS_TRAIN,  /* steps of training */
    CLVI_PROGRESS_VAL,    /* batches of validation */
    CLVI_PROGRESS_TEST,   /* batches of the test images */
    CLVI_PROGRESS_EPOCH,  /* once, after an epoch's training and validation: figures of both */
    CLVI_PROGRESS_PREDICT /* pictures without labels */
} clvi_progress_phase;

/* Figures that are not known are NAN. Fractions are 0 to 1. */
typedef struct clvi_progress {
    clvi_progress_phase phase;
    int64_t epoch, epochs;     /* from 1; 0: not part of an epoch, as in eval */
    int64_t step, steps;       /* done in this pass, and all of them */
    double loss, top1;         /* of this pass so far; in CLVI_PROGRESS_EPOCH on training */
    double val_loss, val_top1; /* in CLVI_PROGRESS_EPOCH only */
    double images_per_second;
    double seconds;      /* since the pass began; in CLVI_PROGRESS_EPOCH of the whole epoch */
    double seconds_left; /* until this pass ends */
    bool best;           /* in CLVI_PROGRESS_EPOCH: the best epoch so far */
} clvi_progress;

#endif
