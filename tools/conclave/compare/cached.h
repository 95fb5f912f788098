/* compare --on-cached RUN,RUN,…: the experts of finished runs, frozen, in every configuration that
 * is compared. What they make of the images is computed once. */
#ifndef CONCLAVE_COMPARE_CACHED_H
#define CONCLAVE_COMPARE_CACHED_H

#include "config/config.h"

/* Everything lies in the arena. */
typedef struct cached_experts {
    const char *const *overrides; /* "section.key=value": experts, images, features that are kept */
    size_t override_count;
    const char *const *runs; /* their folders */
    size_t run_count;
} cached_experts;

/* The experts of the runs in `list`, names in `output` or folders: of a single model the one,
 * called as the run; of a mixture all, of mixtures in it theirs. Checks that they can be fused:
 * classes, the pictures that they see, validation and test images. The features shall lie in
 * `output`. Errors: CLV_E_USAGE with a sentence about what does not go together; those of the runs.
 */
clv_status cached_read(const char *list, const char *output, clvi_arena *arena, cached_experts *out,
                       clv_error *error) CLV_MUST_CHECK;

#endif
