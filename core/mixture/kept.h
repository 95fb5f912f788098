/* train.cache_features: what frozen networks make of an image, taken out to be kept by whoever
 * trains, and put in again in the place of running them. Either of one expert the part below the
 * cut (frozen.h), or of several experts, frozen as a whole, all that they give. Memory of the host:
 * blocks one behind the other, each [n, width], as long as its width says. */
#ifndef CLVI_KEPT_H
#define CLVI_KEPT_H

#include <conclave/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct clvi_council clvi_council;

enum { CLVI_KEPT_BLOCKS = 2 };
typedef struct clvi_kept_block {
    const char *role; /* "logits", "features"; "cut" */
    int64_t width;    /* numbers of an image */
    bool used;        /* steps read it */
} clvi_kept_block;

typedef struct clvi_kept {
    clvi_kept_block blocks[CLVI_KEPT_BLOCKS];
    size_t count;    /* of blocks; 0: nothing is kept */
    int64_t used;    /* numbers of an image in the blocks that steps read */
    bool experts;    /* of whole experts: nothing of them runs in inference either */
    bool with_image; /* beside what is kept the pixels are needed: the gate sees them */
} clvi_kept;

/* An expert's columns in a block. */
typedef struct clvi_kept_columns {
    int64_t at, width;
} clvi_kept_columns;

clvi_kept clvi_council_kept(const clvi_council *council);
clvi_kept_columns clvi_council_kept_columns(const clvi_council *council, size_t block,
                                            size_t expert);
/* Checks that experts can be kept as a whole and says so to the plans, which are not made yet.
 * Errors: CLV_E_CONFIG (of train.cache_features) with the reason. */
clv_status clvi_council_keep_experts(clvi_council *council, clv_error *error) CLV_MUST_CHECK;
/* All blocks of the n images that lie in the forms. wanted [experts]: whose columns; those of
 * others are not defined. Waits. */
clv_status clvi_council_compute_kept(clvi_council *council, int64_t n, const bool *wanted,
                                     float *out, clv_error *error) CLV_MUST_CHECK;
/* The blocks that steps read, for the next forward. Enqueues only. */
clv_status clvi_council_put_kept(clvi_council *council, int64_t n, const float *from,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
