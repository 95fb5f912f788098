/* The fonts of this machine that have every Devanagari character of the demo data, as outlines. */
#ifndef CLVI_DEMO_FONTS_H
#define CLVI_DEMO_FONTS_H

#include "base/text.h"

/* Outline of one character. Verbs: 'M' move and 'L' line take one point, 'C' (Bézier) three, 'Z'
 * (close) none. Points are (x, y) pairs, y down; the ink's box is centred at (0, 0) and its longer
 * side is 1. Straight lines are cut into short pieces, so that they can be bent. */
typedef struct clvi_demo_outline {
    char *verbs;
    float *points;
    size_t verb_count, point_count;
    size_t verb_capacity, point_capacity;
} clvi_demo_outline;

typedef struct clvi_demo_font {
    char *family, *style, *file;
    bool bold;
    bool held_out;               /* the whole family is drawn in the test split only */
    clvi_demo_outline *outlines; /* one per text */
} clvi_demo_font;

typedef struct clvi_demo_fonts {
    clvi_demo_font *items; /* sorted by family, style, file */
    size_t count, capacity;
    size_t text_count;
} clvi_demo_fonts;

/* Finds the fonts through fontconfig and takes the outline of each of the `text_count` UTF-8 texts
 * through Pango. A font that would borrow a glyph from another one, or that spells out a conjunct,
 * is left out; `notes` gets a line about each. Zero fonts is not an error.
 * Errors: CLV_E_MEMORY. Owns: the caller, clvi_demo_fonts_fini. */
clv_status clvi_demo_fonts_load(clvi_demo_fonts *fonts, const char *const *texts, size_t text_count,
                                clvi_text *notes, clv_error *error) CLV_MUST_CHECK;
void clvi_demo_fonts_fini(clvi_demo_fonts *fonts);

/* Marks the families that only the test split uses: those of a fixed list, or, when none of them is
 * there, every fourth. Errors: CLV_E_DATA when fewer than two families were found. */
clv_status clvi_demo_fonts_hold_out(clvi_demo_fonts *fonts, clv_error *error) CLV_MUST_CHECK;

#endif
