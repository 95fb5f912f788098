/* Lists of real numbers, none of them NAN. */
#ifndef CLVI_REALS_H
#define CLVI_REALS_H

#include <stddef.h>

/* In place, ascending. count 0: nothing. */
void clvi_sort_reals(double *values, size_t count);
/* Quantile `share`, 0 … 1, of `count` sorted values, 1 or more; linear between neighbours. */
double clvi_quantile(const double *sorted, size_t count, double share);

#endif
