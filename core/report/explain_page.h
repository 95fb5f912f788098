/* What a mixture and its experts see in pictures, as a page: explain.html. */
#ifndef CLVI_EXPLAIN_PAGE_H
#define CLVI_EXPLAIN_PAGE_H

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
    clvi_page_picture picture; /* png NULL: none */
    bool absent;               /* it was not asked: only named, below the others */
    clvi_page_picture maps;    /* behind a line that opens it; png NULL: none */
    const char *maps_note;
} clvi_explained_card;

/* Begins the page's text: what it shows. Before the first picture. */
void clvi_explain_page_begin(clvi_page *page, const char *run);
/* A section: cards side by side, the first is the picture itself with the mixture's answer. */
void clvi_explain_page_add(clvi_page *page, const char *name, const char *note,
                           const clvi_explained_card *cards, size_t count);

#endif
