/* The worst mistakes of a run, and the pictures that it made them with. */
#ifndef CLVI_MISTAKES_H
#define CLVI_MISTAKES_H

#include "data/dataset.h"
#include "report/run_view.h"

enum { CLVI_MISTAKES = 24 };

/* Judged images that are taken for another class; first those whose own class gets least. */
typedef struct clvi_mistakes {
    const clvi_prediction *worst[CLVI_MISTAKES]; /* in the view */
    size_t count, all;
} clvi_mistakes;
/* Errors: CLV_E_MEMORY. */
clv_status clvi_mistakes_find(const clvi_run_view *view, clvi_mistakes *out,
                              clv_error *error) CLV_MUST_CHECK;
/* Name of a class by the index that a prediction has for it. */
const char *clvi_mistake_class(const clvi_run_view *view, int32_t index);

/* Their pictures, as the network sees them. */
typedef struct clvi_mistake_pictures {
    clvi_dataset *data; /* NULL: none */
    clvi_loader *loader;
    uint32_t index[CLVI_MISTAKES]; /* of each among the judged images; UINT32_MAX: not there */
} clvi_mistake_pictures;
/* `data` (NULL: no pictures) stays the caller's and outlives them; the caller closes. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_mistake_pictures_open(const clvi_run_view *view, const clvi_mistakes *mistakes,
                                      clvi_dataset *data, clvi_mistake_pictures *out,
                                      clv_error *error) CLV_MUST_CHECK;
/* The picture of worst[i]; its pixels last until the next call. *read false: it is not there or
 * cannot be read, which is no error. Errors: CLV_E_MEMORY. */
clv_status clvi_mistake_pictures_read(clvi_mistake_pictures *pictures, size_t i, clvi_image *out,
                                      bool *read, clv_error *error) CLV_MUST_CHECK;
void clvi_mistake_pictures_close(clvi_mistake_pictures *pictures);

#endif
