/* How right the models of a comparison are about the images of each source. */
#ifndef CLVI_REPORT_SOURCES_H
#define CLVI_REPORT_SOURCES_H

#include "report/comparison.h"

/* A row per model and source of its images, where there are several: means over the model's runs
 * that ended. The caller frees with clvi_report_table_fini. */
clv_status clvi_sources_table(const clvi_comparison *comparison, clvi_report_table *table,
                              clv_error *error) CLV_MUST_CHECK;

/* Appends a CSV with a line per run, split and source, of the runs on several sources. */
void clvi_sources_csv(const clvi_comparison *comparison, clvi_text *out);

#endif
