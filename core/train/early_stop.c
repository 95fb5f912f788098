/* The best epoch, and when to stop waiting for a better one. */
#include "train/early_stop.h"

#include <math.h>

bool clvi_early_stop_update(const clvi_early_stop_rule *rule, clvi_early_stop_state *state,
                            int64_t epoch, double value)
{
    const double gain = rule->maximise ? value - state->best : state->best - value;
    if (isfinite(value) && (state->best_epoch == 0 || gain > rule->min_delta)) {
        *state = (clvi_early_stop_state){.best = value, .best_epoch = epoch};
        return true;
    }
    state->waited++;
    return false;
}

bool clvi_early_stop_done(const clvi_early_stop_rule *rule, const clvi_early_stop_state *state)
{
    return rule->patience > 0 && state->waited >= rule->patience;
}
