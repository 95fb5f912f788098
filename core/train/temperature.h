/* The temperature that makes probabilities mean what they say (Guo et al., "On calibration of
 * modern neural networks", 2017): one number by which all logits are divided. */
#ifndef CLVI_TEMPERATURE_H
#define CLVI_TEMPERATURE_H

#include <stddef.h>
#include <stdint.h>

/* Largest temperature, and one over the smallest. */
#define CLVI_TEMPERATURE_LIMIT 20.0

/* The temperature with the least negative log-likelihood of logits [n, classes] divided by it,
 * labels [n], and of one sample more that is a bit of every row and of every class: without it, n
 * right answers would make all later ones certain. In 1/temperature that is a convex function.
 * Rows that are not finite are left out; 1 when none is left, or none of them tells anything (all
 * logits of each row equal). */
double clvi_temperature_fit(const float *logits, const int32_t *labels, size_t n, int classes);

#endif
