/* The experts of the models of a comparison: how they are used and what they are worth. */
#ifndef CLVI_REPORT_EXPERTS_H
#define CLVI_REPORT_EXPERTS_H

#include "report/comparison.h"

/* A row per model and expert: means over the model's runs that ended, on the judged images. The
 * caller frees with clvi_report_table_fini. */
clv_status clvi_experts_table(const clvi_comparison *comparison, clvi_report_table *table,
                              clv_error *error) CLV_MUST_CHECK;

/* Appends a CSV with a line per run of a mixture, split and expert. Shares are fractions; a field
 * is empty where the run did not measure it. */
void clvi_experts_csv(const clvi_comparison *comparison, clvi_text *out);

#endif
