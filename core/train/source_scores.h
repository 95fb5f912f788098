/* How right the answers are about the images of each source; nothing where there is one source. */
#ifndef CLVI_SOURCE_SCORES_H
#define CLVI_SOURCE_SCORES_H

#include "data/dataset.h"

#include <jansson.h>

typedef struct clvi_source_scores clvi_source_scores;

/* *out is NULL where the data, which outlive it, have one source. Errors: CLV_E_MEMORY. */
clv_status clvi_source_scores_create(const clvi_dataset *data, clvi_source_scores **out,
                                     clv_error *error) CLV_MUST_CHECK;
void clvi_source_scores_destroy(clvi_source_scores *scores); /* NULL allowed */

/* Adds the answers to a batch of `split`, logits [batch->count, classes]. scores NULL: does
 * nothing. */
void clvi_source_scores_add(clvi_source_scores *scores, clvi_split split, const clvi_batch *batch,
                            const float *logits);

/* {SOURCE: {"train": {"count", "top1", "top1_low", "top1_high", "nll"}, …}, …} of the splits that a
 * source has images in; NLL is null where a logit was not finite. A new reference; NULL: no memory.
 */
json_t *clvi_source_scores_json(const clvi_source_scores *scores);

#endif
