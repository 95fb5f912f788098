/* data.augment: which random changes training images undergo. image.h carries them out. */
#ifndef CLVI_AUGMENT_H
#define CLVI_AUGMENT_H

#include "config/config.h"

typedef enum clvi_augment_kind {
    CLVI_AUGMENT_NONE,
    /* As handwriting varies: rotation ±12°, shear ±0.15, scale of each axis ±12 %, shift ±8 %, a
     * gentle bend, contrast ±15 %, brightness ±12; never mirrored. The border goes on outside. */
    CLVI_AUGMENT_CHARACTERS,
    /* The steps below, in this order: crop, flip, hue, colour, erase. */
    CLVI_AUGMENT_STEPS
} clvi_augment_kind;

/* All zero: nothing. */
typedef struct clvi_augment {
    clvi_augment_kind kind;
    /* Of CLVI_AUGMENT_STEPS; 0 where the step is left out. */
    double crop;   /* smallest share of the area that is kept, 0 … 1; 1 as well: no step */
    double flip;   /* how often left and right are exchanged, 0 … 1 */
    double colour; /* most that brightness, contrast and saturation change, 0 … 1 */
    double hue;    /* most that hues turn, 0 … 0.5 of a full turn */
    double erase;  /* how often a rectangle is erased, 0 … 1 */
} clvi_augment;

/* Reads data.augment: `none`, `characters`, `photos` (crop, flip and colour with their usual
 * strengths) or steps separated by ',', each `STEP` or `STEP:STRENGTH`. Errors: CLV_E_CONFIG. */
clv_status clvi_augment_read(const clvi_config *config, clvi_augment *out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
