/* One picture of the demo data: a character's outline, distorted, drawn and spoilt a little. */
#ifndef CLVI_DEMO_DRAW_H
#define CLVI_DEMO_DRAW_H

#include "fonts.h"

#include "base/philox.h"

/* Numbers that belong to one picture: the same whatever was drawn before it. */
typedef struct clvi_demo_random {
    clvi_philox_key key;
    uint32_t split, label, index; /* which picture */
    uint32_t block, used;         /* which four words, and how many of them are spent */
    uint32_t words[4];
} clvi_demo_random;

/* Uniform in (0, 1), in (low, high), in 0 … count-1. */
float clvi_demo_unit(clvi_demo_random *random);
float clvi_demo_between(clvi_demo_random *random, float low, float high);
size_t clvi_demo_pick(clvi_demo_random *random, size_t count);

/* Room for drawing pictures of one size, used again and again. */
typedef struct clvi_demo_canvas clvi_demo_canvas;
clv_status clvi_demo_canvas_create(int size, clvi_demo_canvas **out,
                                   clv_error *error) CLV_MUST_CHECK;
void clvi_demo_canvas_destroy(clvi_demo_canvas *canvas); /* NULL allowed */

/* Draws the character light on dark: random rotation, shear, stretch, size, shift, smooth bending,
 * stroke weight, blur, levels and noise, all from `random`. *pixels: size × size grey bytes, rows
 * from the top, borrowed until the next call. `bold`: the outline is heavy already.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_demo_draw(clvi_demo_canvas *canvas, const clvi_demo_outline *outline, bool bold,
                          clvi_demo_random *random, const unsigned char **pixels,
                          clv_error *error) CLV_MUST_CHECK;

#endif
