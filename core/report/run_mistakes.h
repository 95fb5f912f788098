/* The worst mistakes of a run, with their pictures. */
#ifndef CLVI_RUN_MISTAKES_H
#define CLVI_RUN_MISTAKES_H

#include "report/run_page.h"
#include "report/run_view.h"

/* A section of a run's page: the judged images that it takes for another class, and gives their own
 * the least probability. Errors: CLV_E_MEMORY. */
clv_status clvi_run_show_mistakes(const clvi_run_view *view, const clvi_run_page_desc *desc,
                                  clvi_page *page, clv_error *error) CLV_MUST_CHECK;

#endif
