/* Values that need no file, as networks/formula.py has them: each variable, picture and label is a
 * function of its name. */
#ifndef CLV_TEST_NETWORK_VALUES_H
#define CLV_TEST_NETWORK_VALUES_H

#include "graph/store.h"

enum { NETWORK_SAMPLES = 4, NETWORK_COLUMNS = 4 + NETWORK_SAMPLES };

/* FNV-1a, 32 bits. */
uint32_t network_hash(const char *name);
/* Number `index` of a name's, in [-1, 1). */
double network_uniform(uint32_t name_hash, uint32_t index);
/* All elements of a variable. */
void network_variable(const clvi_segment *variable, float *out);
/* `count` values of a step's images; n labels of 0 … classes - 1. */
void network_images(int step, int64_t count, float *out);
void network_labels(int step, int64_t n, int64_t classes, float *out);
/* What the file keeps of a tensor: hash of the name, elements, norm, product with the numbers of
 * NAME.along, and the elements at the numbers of NAME.at. */
void network_row(const char *name, const float *values, int64_t count, double out[NETWORK_COLUMNS]);

#endif
