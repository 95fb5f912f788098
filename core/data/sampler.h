/* In which order an epoch goes through the training images. */
#ifndef CLVI_SAMPLER_H
#define CLVI_SAMPLER_H

#include "base/philox.h"
#include "data/dataset.h"

typedef enum clvi_sampler {
    CLVI_SAMPLER_SHUFFLE, /* each image once */
    /* Each class equally often: as often as a class has images on average, rounded. A class's
     * images are gone through one after the other, in an order that is shuffled anew each time
     * round and goes on from epoch to epoch, so that none falls behind. */
    CLVI_SAMPLER_BALANCED
} clvi_sampler;

/* Images of an epoch. */
size_t clvi_sampler_count(const clvi_dataset *data, clvi_sampler sampler);

/* Fills order[0..clvi_sampler_count) with indices of training images, for clvi_loader_start.
 * Follows from key and epoch alone; CLVI_SAMPLER_SHUFFLE is clvi_philox_shuffle of all indices.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_sampler_order(const clvi_dataset *data, clvi_sampler sampler, clvi_philox_key key,
                              uint32_t epoch, uint32_t *order, clv_error *error) CLV_MUST_CHECK;

#endif
