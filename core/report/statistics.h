/* Whether two models differ: tests on the same images, intervals over seeds and images, and the
 * correction for making several comparisons. Pure functions on the host. */
#ifndef CLVI_STATISTICS_H
#define CLVI_STATISTICS_H

#include "train/predictions.h"

/* Two runs on the same images, image by image. */
typedef struct clvi_pairing {
    int8_t
        *differences; /* [images]: 1 only the first is right, -1 only the second, 0 both or none */
    const char **names; /* [images] of the images, sorted; the names are the first predictions' */
    size_t images;
    int64_t only_first, only_second; /* the discordant images */
} clvi_pairing;
/* Pairs predictions of two runs by their images' names, in their order. The caller frees with
 * clvi_pairing_fini, before the predictions. Errors: CLV_E_DATA when the images or their classes
 * are not the same; CLV_E_MEMORY. */
clv_status clvi_pairing_make(const clvi_predictions *first, const clvi_predictions *second,
                             clvi_pairing *out, clv_error *error) CLV_MUST_CHECK;
/* Whether two pairs of runs are about the same images. */
bool clvi_pairing_same_images(const clvi_pairing *a, const clvi_pairing *b);
void clvi_pairing_fini(clvi_pairing *pairing);

/* Exact two-sided McNemar test: the chance of discordant counts at least as uneven where both kinds
 * are equally likely (binomial with 1/2). 1 without any. */
double clvi_mcnemar(int64_t only_first, int64_t only_second);

/* Holm's step-down correction of `count` p-values, in place; those that are NAN are no tests and
 * stay. */
void clvi_holm(double *p, size_t count);

/* A mean paired difference of accuracies and how sure it is. */
typedef struct clvi_difference {
    double mean;
    double low, high; /* 95 % percentile interval */
    double p;         /* two-sided, by the share of resampled means on the other side of 0 */
} clvi_difference;
/* Bootstrap over seeds and images: each of 5,000 resamples draws `seeds` pairs and `images` images,
 * both with replacement, from fixed random numbers. differences[s] are [images]. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_bootstrap(const int8_t *const *differences, size_t seeds, size_t images,
                          clvi_difference *out, clv_error *error) CLV_MUST_CHECK;

/* Mean and standard deviation (n - 1; NAN for one value) of values that are finite; NAN of none. */
void clvi_mean_deviation(const double *values, size_t count, double *mean, double *deviation);

#endif
