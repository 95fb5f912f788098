/* A run as one HTML page: report.html. */
#ifndef CLVI_RUN_PAGE_H
#define CLVI_RUN_PAGE_H

#include "base/text.h"
#include "data/dataset.h"

typedef struct clvi_run_page_desc {
    const char *run;     /* its folder; of any version, ended or not */
    clvi_dataset *data;  /* what it was trained on, for the pictures of its mistakes; NULL: none */
    const char *no_data; /* then: why, a sentence */
} clvi_run_page_desc;

/* Appends the page. Errors: CLV_E_FORMAT and CLV_E_IO naming a file of the run or gnuplot,
 * CLV_E_MEMORY. A picture that cannot be read is told of in the page. */
clv_status clvi_run_page(const clvi_run_page_desc *desc, clvi_text *out,
                         clv_error *error) CLV_MUST_CHECK;

#endif
