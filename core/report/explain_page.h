/* What a mixture and its experts see in pictures, as a page: explain.html. */
#ifndef CLVI_EXPLAIN_PAGE_H
#define CLVI_EXPLAIN_PAGE_H

#include "data/image.h"
#include "report/page.h"

/* A class and its probability. */
typedef struct clvi_chance {
    const char *name;
    double probability;
    bool explained; /* it is the one that pictures are about */
} clvi_chance;

/* One picture: what is seen, and who says what. All is borrowed. */
typedef struct clvi_explained_card {
    const char *title;  /* an expert's name */
    const char *weight; /* what its gate gives it, in words; NULL: nothing */
    const char *note;   /* a sentence; NULL: none */
    const clvi_chance *chances;
    size_t chance_count;
    const clvi_image *picture; /* RGB; NULL: none */
    bool absent;               /* it was not asked: only named, below the others */
    bool tiny;                 /* shown in its pixels */
    const clvi_image *maps;    /* behind a line that opens it; NULL: none */
    const char *maps_note;
} clvi_explained_card;

/* Begins the page's text: what it shows. Before the first picture. */
void clvi_explain_page_begin(clvi_page *page, const char *run);
/* A section: cards side by side, the first is the picture itself with the mixture's answer. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_explain_page_add(clvi_page *page, const char *name, const char *note,
                                 const clvi_explained_card *cards, size_t count,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
