/* What images from files cost a training: `conclave profile --input`. */
#ifndef CONCLAVE_PROFILE_INPUT_H
#define CONCLAVE_PROFILE_INPUT_H

#include "bench.h"
#include "data/dataset.h"

/* Trains steps->desc->repeat rounds, each eight steps or more (two seconds' worth) on pictures that
 * lie in memory and the same number on those that a loader of `data` brings, beginning with none at
 * hand; prints both speeds and the ratio of the rounds, as JSON where that is wanted. Where `data`
 * keeps pixels in memory, all images are decoded before: this is how epochs after the first one go.
 * The batch and the sizes of `steps` must be those of the images. Errors: CLV_E_DATA where there
 * are fewer training images than two batches; those of the loader and of the steps. */
clv_status profile_input(const bench_steps *steps, clvi_dataset *data, bool kept, bool json,
                         clv_error *error) CLV_MUST_CHECK;

#endif
