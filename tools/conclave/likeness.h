/* Whether images are like those that a run was validated with, as `eval` tells it. */
#ifndef CONCLAVE_LIKENESS_H
#define CONCLAVE_LIKENESS_H

#include "train/likeness.h"
#include "train/model.h"

#include <jansson.h>

enum { CLI_LIKENESS_CONFIDENCE, CLI_LIKENESS_GATE, CLI_LIKENESS_COUNT };

/* Zero-initialise; cli_likeness_fini frees. */
typedef struct cli_likeness {
    bool wanted; /* the run's validation is known */
    clvi_likeness_sample known[CLI_LIKENESS_COUNT], given[CLI_LIKENESS_COUNT];
    float *gate; /* [batch, experts]; NULL: there is none */
    bool compared[CLI_LIKENESS_COUNT];
    clvi_likeness result[CLI_LIKENESS_COUNT];
} cli_likeness;
void cli_likeness_fini(cli_likeness *likeness);

/* Reads what the network said of the run's validation images; nothing is wanted where that is not
 * known. After clvi_model_load; max_batch: as there. Errors: those of clvi_model_validation. */
clv_status cli_likeness_begin(cli_likeness *likeness, clvi_model *model, int64_t max_batch,
                              clv_error *error) CLV_MUST_CHECK;
/* Takes n images that were just inferred: logits [n, classes]. */
clv_status cli_likeness_take(cli_likeness *likeness, clvi_model *model, const float *logits,
                             size_t n, clv_error *error) CLV_MUST_CHECK;
/* Compares, and warns where they are unlike. */
void cli_likeness_end(cli_likeness *likeness);

/* A table, after an empty line; nothing where nothing was compared. */
clv_status cli_likeness_print(const cli_likeness *likeness, clv_error *error) CLV_MUST_CHECK;
/* {"unlike": …, "confidence": {…}, "gate_entropy": {…} or null}; null where nothing was compared. A
 * new reference; NULL: no memory. */
json_t *cli_likeness_json(const cli_likeness *likeness);

#endif
