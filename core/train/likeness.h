/* Whether images are like those that a run was validated with, by how sure the network is of them
 * and how evenly its gate weighs the experts: two samples of numbers from 0 to 1, compared by the
 * distance of their distribution functions (Kolmogorov and Smirnov). Labels are not looked at. */
#ifndef CLVI_LIKENESS_H
#define CLVI_LIKENESS_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

/* Numbers closer than this count as equal: rounding, and that a network is 99 or 99.9 % sure. */
#define CLVI_LIKENESS_GRAIN 0.01
/* A comparison of two samples of one distribution finds a difference above its threshold at most
 * this often; two comparisons are made of a mixture. */
#define CLVI_LIKENESS_FALSE_ALARM 0.0005
/* Least threshold: how many images must lie elsewhere, of however large samples, to be worth a
 * warning; a test set is never quite its training set. */
#define CLVI_LIKENESS_LEAST 0.1

/* Numbers under construction. Zero-initialise; clvi_likeness_fini frees. */
typedef struct clvi_likeness_sample {
    double *values;
    size_t count, capacity;
} clvi_likeness_sample;
/* Adds a value; one that is not finite is left out. Errors: CLV_E_MEMORY. */
clv_status clvi_likeness_add(clvi_likeness_sample *to, double value,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_likeness_fini(clvi_likeness_sample *sample);

typedef struct clvi_likeness {
    size_t images, known_images;
    double mean, known_mean;
    /* Largest difference between the shares of both samples that lie below a number; at least so
     * many of the images would have to be others for the samples to be alike. 0 to 1. */
    double difference;
    double threshold; /* above 1 where there are too few images to tell anything */
    bool unlike;      /* difference > threshold */
} clvi_likeness;
/* Compares `given` with what is `known`, which both are sorted by it. False, and nothing done,
 * where one of them is empty. */
bool clvi_likeness_compare(clvi_likeness_sample *known, clvi_likeness_sample *given,
                           clvi_likeness *out);

#endif
