/* A report as one HTML page that needs nothing else: no network, light and dark, any width of
 * screen, paper. It is written from top to bottom; its plots are drawn at the end, by one call of
 * gnuplot. */
#ifndef CLVI_REPORT_PAGE_H
#define CLVI_REPORT_PAGE_H

#include "report/plot.h"
#include "report/table.h"

/* Zero-initialise, then clvi_page_begin. Failures are kept: clvi_page_finish tells of them. */
typedef struct clvi_page {
    const char *title;  /* borrowed */
    const char *again;  /* the command that writes the page anew; borrowed */
    clvi_text body;     /* what stands below the title */
    clvi_text contents; /* links to the sections */
    clvi_plot **plots;  /* owned */
    size_t *places;     /* where in the body each belongs */
    size_t plot_count, plot_capacity, place_capacity;
    size_t sections;
    clvi_plot spare; /* filled in vain where there is no memory */
    bool failed;
} clvi_page;

void clvi_page_begin(clvi_page *page, const char *title, const char *again);
void clvi_page_fini(clvi_page *page); /* also after clvi_page_finish */

/* Begins a section: a heading, and a link to it at the top of the page. */
void clvi_page_section(clvi_page *page, const char *title);
void clvi_page_heading(clvi_page *page, const char *title); /* within it */
/* A paragraph, escaped; NULL or "": none. */
void clvi_page_note(clvi_page *page, const char *text);
/* A table with its note, and where it has a title, that as a heading; without rows nothing. */
void clvi_page_table(clvi_page *page, const clvi_report_table *table);
/* The same behind a line that opens it. */
void clvi_page_details(clvi_page *page, const char *summary, const clvi_report_table *table);
/* A command to be typed; NULL: none. */
void clvi_page_command(clvi_page *page, const char *command);
/* Text as it stands, in lines, behind a line that opens it. */
void clvi_page_listing(clvi_page *page, const char *summary, const char *text);

/* A PNG that is held in the page itself. */
typedef struct clvi_page_picture {
    const uint8_t *png; /* borrowed */
    size_t length;
    int height, width; /* of it; 0: not told, as the style has it */
    bool tiny;         /* shown in its pixels */
} clvi_page_picture;
/* Here, without lines around it; alt: what stands for it where it is not shown. */
void clvi_page_image(clvi_page *page, const clvi_page_picture *picture, const char *alt);

/* Plots side by side as the screen allows, between these two; pairs: not more than two. */
void clvi_page_plots_begin(clvi_page *page, bool pairs);
void clvi_page_plots_end(clvi_page *page);
/* A plot here, empty: the caller fills it before the next call. Never NULL. */
clvi_plot *clvi_page_plot(clvi_page *page, const char *title, const char *unit);

/* Appends the whole page. Errors: those of clvi_plots_draw, CLV_E_MEMORY. */
clv_status clvi_page_finish(clvi_page *page, clvi_text *out, clv_error *error) CLV_MUST_CHECK;

#endif
