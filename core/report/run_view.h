/* All that a run's folder says about a training, read for a page: what is not there is left out. */
#ifndef CLVI_RUN_VIEW_H
#define CLVI_RUN_VIEW_H

#include "report/page.h"
#include "report/run_record.h"
#include "report/sheet.h"

typedef struct clvi_run_view {
    const char *run;        /* its folder; borrowed */
    clvi_run_record record; /* clvi_run_record_read_some */
    clvi_sheet classes, confusion, usage, weights, signals, pairs;
    char *config, *log; /* the files; NULL: not there */
} clvi_run_view;

/* The caller frees with clvi_run_view_fini; `run` outlives it. Errors: CLV_E_FORMAT, CLV_E_IO,
 * CLV_E_DATA, CLV_E_MEMORY. */
clv_status clvi_run_view_read(const char *run, clvi_run_view *out, clv_error *error) CLV_MUST_CHECK;
void clvi_run_view_fini(clvi_run_view *view);

/* "test" or "val": whose images the run is judged by. */
const char *clvi_run_view_split(const clvi_run_view *view);
/* Names of the mixture's experts as summary.json has them; NULL: one expert, or not known. */
const json_t *clvi_run_view_experts(const clvi_run_view *view);

/* The parts of a run's page, each with what is known. Errors: CLV_E_MEMORY. */
clv_status clvi_run_show_curves(const clvi_run_view *view, clvi_page *page,
                                clv_error *error) CLV_MUST_CHECK;
clv_status clvi_run_show_experts(const clvi_run_view *view, clvi_page *page,
                                 clv_error *error) CLV_MUST_CHECK;
clv_status clvi_run_show_signals(const clvi_run_view *view, clvi_page *page,
                                 clv_error *error) CLV_MUST_CHECK;
clv_status clvi_run_show_classes(const clvi_run_view *view, clvi_page *page,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
