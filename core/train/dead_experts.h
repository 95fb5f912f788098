/* Warnings of experts that a gate hardly uses. */
#ifndef CLVI_DEAD_EXPERTS_H
#define CLVI_DEAD_EXPERTS_H

#include "config/config.h"
#include "mixture/usage.h"

/* Warns in the log of the experts of the configuration that are dead (clvi_usage_dead) on `images`
 * ("the test images"): of a few each with its figures, of more in one line with their names. each:
 * [experts]; routed: the gate sends samples to some experts only (else each gets every sample, and
 * its share says nothing). said [experts]: of whom nothing is said any more, filled; NULL: of
 * nobody. */
void clvi_dead_experts_warn(const clvi_config *config, const clvi_usage_expert *each, bool *said,
                            bool routed, const char *images);

#endif
