/* Initial values of variables. */
#ifndef CLVI_DRAW_H
#define CLVI_DRAW_H

#include "base/philox.h"
#include "graph/store.h"

/* Fills values[0..count) with the elements from `from` on, a multiple of 4, of the variable, whose
 * initialiser is CLV_INIT_UNIFORM or CLV_INIT_NORMAL (by Box and Muller); key: of its own stream.
 * On all cores where it pays: the values are the same. */
void clvi_draw(const clvi_segment *segment, clvi_philox_key key, int64_t from, int64_t count,
               float *values);

#endif
