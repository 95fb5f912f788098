/* How a trained mixture uses its experts and what they are worth, over every split: usage.csv and
 * the "usage" of summary.json. */
#ifndef CLVI_USAGE_REPORT_H
#define CLVI_USAGE_REPORT_H

#include "train/run_files.h"
#include "train/train.h"

typedef struct clvi_usage_report clvi_usage_report;

/* *out is NULL for a single expert: nothing is to be reported then. The pointers outlive it.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_usage_report_create(clvi_mixture *mixture, const clvi_config *config,
                                    clvi_dataset *data, clvi_usage_report **out,
                                    clv_error *error) CLV_MUST_CHECK;
void clvi_usage_report_destroy(clvi_usage_report *report); /* NULL allowed */

/* Takes what the last inference did with a batch of `split`, whose batches come in their order.
 * report NULL: does nothing. */
clv_status clvi_usage_report_take(clvi_usage_report *report, clvi_split split,
                                  const clvi_batch *batch, clv_error *error) CLV_MUST_CHECK;
/* Entropy of the gate's weights for image `sample` of those taken of a split (clvi_usage_entropy);
 * NAN where there is no gate, and for report NULL. */
double clvi_usage_report_entropy(const clvi_usage_report *report, clvi_split split, size_t sample);
/* When a split is complete: counts; for the split `evaluate` is of, goes over it once more with
 * other gates, where there is one, and there asks the experts of a sparse one about every image.
 * Warns of experts that are hardly used, or never disagree. */
clv_status clvi_usage_report_finish(clvi_usage_report *report, const clvi_evaluate_desc *evaluate,
                                    clv_error *error) CLV_MUST_CHECK;

/* Mean multiply-adds per image over the assignments of a split, of experts, gate and head; report
 * NULL, and where no image was seen: of all parts. */
double clvi_usage_report_active(const clvi_usage_report *report, const clvi_mixture *mixture,
                                clvi_split split);

/* Appends gate_weights.csv: for each split and expert, of how many images its weight lies from
 * `from` to `to`; the first line of each is of those that it was not asked about. Nothing where
 * there is no gate. */
void clvi_usage_report_weights_csv(const clvi_usage_report *report, clvi_text *text);

/* Appends usage.csv: a line per split, group (all, each class, each source) and expert. */
void clvi_usage_report_csv(const clvi_usage_report *report, clvi_text *text);
/* {"experts": […], "train": {…}, …}; a new reference. NULL: no memory. */
json_t *clvi_usage_report_json(const clvi_usage_report *report);

#endif
