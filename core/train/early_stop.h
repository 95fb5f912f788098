/* Which epoch is the best one, and whether training has gone on long enough without a better. */
#ifndef CLVI_EARLY_STOP_H
#define CLVI_EARLY_STOP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct clvi_early_stop_rule {
    bool maximise;    /* accuracy; otherwise loss */
    int64_t patience; /* epochs without a better figure before stopping; 0: never stop */
    double min_delta; /* a figure must be better by more than this; >= 0 */
} clvi_early_stop_rule;

/* Plain data that a checkpoint keeps. Zero-initialise. */
typedef struct clvi_early_stop_state {
    double best;        /* figure of best_epoch */
    int64_t best_epoch; /* from 1; 0: none yet */
    int64_t waited;     /* epochs since then */
} clvi_early_stop_state;

/* Takes the figure of an epoch (from 1) and returns whether it is the best so far; the first finite
 * one is, and one that is not finite never is. */
bool clvi_early_stop_update(const clvi_early_stop_rule *rule, clvi_early_stop_state *state,
                            int64_t epoch, double value);
/* Whether training should stop now. */
bool clvi_early_stop_done(const clvi_early_stop_rule *rule, const clvi_early_stop_state *state);

#endif
