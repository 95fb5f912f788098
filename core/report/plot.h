/* A plot of a page: lines and dots in data, drawn by gnuplot as SVG. No text of a user gets into
 * gnuplot's script: names stand in the page around it, or are put into the drawing afterwards. */
#ifndef CLVI_REPORT_PLOT_H
#define CLVI_REPORT_PLOT_H

#include "base/text.h"

/* Colours are the page's, `--s1` …, which tell models, experts or splits apart also where one sees
 * no red or no green; where there are more things than colours, dashes do. */
enum { CLVI_PLOT_COLORS = 7, CLVI_PLOT_DASHES = 3 };

typedef enum clvi_plot_form {
    CLVI_PLOT_LINE,     /* with a dot at each point where these are few */
    CLVI_PLOT_DOTS,     /* dots alone */
    CLVI_PLOT_INTERVAL, /* broad and pale */
} clvi_plot_form;

/* Zero-initialise; clvi_plot_fini frees it. */
typedef struct clvi_plot {
    const char *title; /* "Accuracy, %": stands above it; borrowed, plain text */
    const char *unit;  /* of x, below it: "epoch"; borrowed, no quotes */
    bool log_y;        /* where all values are above 0 and the largest ten times the smallest */
    bool whole_x;      /* x are whole numbers: so are the marks */
    bool no_dots;      /* lines have none, however few points there are */
    bool rows;         /* y counts rows from 0, downwards, which have labels; no marks */
    int height;        /* in units of which the width has 360; 0: 210 */
    /* Grows by the calls below: */
    clvi_text data, commands; /* blocks "$d1 << E … E", and what plots them */
    clvi_text legend;         /* HTML: an entry for each name */
    clvi_text labels;         /* texts in the drawing, each with its NUL */
    size_t series, points, label_count;
    size_t in_series; /* points of the series under way */
    double least_x, most_x, least_y, most_y;
} clvi_plot;
void clvi_plot_fini(clvi_plot *plot);

/* Begins a series, in the colour and dashes of thing number `thing`, from 0. name: for the legend,
 * copied, escaped here; NULL: none, or an earlier series has it. */
void clvi_plot_series(clvi_plot *plot, clvi_plot_form form, size_t thing, const char *name);
/* Adds a point to it. Where a number is not finite the line is broken. */
void clvi_plot_point(clvi_plot *plot, double x, double y);
/* A text that begins at the left border, at the height of y. */
void clvi_plot_label(clvi_plot *plot, double y, const char *text);

/* Appends the commands that draw it into gnuplot's output; nothing to be drawn: nothing. */
void clvi_plot_script(const clvi_plot *plot, clvi_text *out);

/* Draws plots with one call of gnuplot: svgs[i], zero-initialised by the caller and freed by it, is
 * "<svg …>…</svg>" for a page; empty where there is nothing to draw. *missing: there is no gnuplot,
 * nothing was drawn. Errors: CLV_E_IO with gnuplot's words, CLV_E_MEMORY. */
clv_status clvi_plots_draw(clvi_plot *const *plots, size_t count, clvi_text *svgs, bool *missing,
                           clv_error *error) CLV_MUST_CHECK;

/* Appends, out of an SVG document of gnuplot's, what a page needs: lines, dots, polygons and texts,
 * colours as classes of the page's style, no identifiers. labels: as in clvi_plot. Only plot.c and
 * tests. */
void clvi_plot_take_svg(const char *document, const clvi_plot *plot, clvi_text *out);

#endif
