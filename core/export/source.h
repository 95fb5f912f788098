/* What a format of others is made from: a trained mixture without a device, and where its numbers
 * are. */
#ifndef CLVI_EXPORT_SOURCE_H
#define CLVI_EXPORT_SOURCE_H

#include "export/pieces.h"
#include "mixture/mixture.h"

typedef struct clvi_export_source {
    clvi_mixture *mixture; /* as clvi_mixture_draft makes it */
    const clvi_config *config;
    int height, width, channels; /* of pictures as they are given */
    double temperature;          /* by which to divide logits; 0: not known */
    int64_t steps;               /* that it was trained for */
    size_t class_count;
    const char *(*class_name)(const void *user, size_t index);
    clvi_export_read *read;
    const void *user; /* of class_name and read */
} clvi_export_source;

#endif
