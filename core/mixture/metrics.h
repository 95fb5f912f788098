/* Sums over samples, kept on the device: a training step adds to them without waiting. */
#ifndef CLVI_METRICS_H
#define CLVI_METRICS_H

#include "runtime/runtime.h"

typedef struct clvi_metrics clvi_metrics;

/* All sums are 0 at first. Errors: CLV_E_MEMORY. */
clv_status clvi_metrics_create(clvi_device *device, int classes, clvi_metrics **out,
                               clv_error *error) CLV_MUST_CHECK;
void clvi_metrics_destroy(clvi_metrics *metrics); /* NULL allowed */

/* n samples. With a route those are left out, and counted apart, that no expert took. */
typedef struct clvi_metrics_batch {
    int64_t n;
    clvi_view logits, labels, loss; /* [n, classes]; [n] i32; [n] */
    clvi_view route, wanted;        /* [n, experts]; buf NULL: none. wanted: see clv_host.output */
    int64_t experts;                /* at most 65535 */
} clvi_metrics_batch;
/* Adds a batch. Enqueues only. */
clv_status clvi_metrics_add(clvi_metrics *metrics, const clvi_metrics_batch *batch,
                            clv_error *error) CLV_MUST_CHECK;

/* All counts: at most 2^32 - 1 between two resets. */
typedef struct clvi_metrics_sums {
    int64_t count;      /* samples added, but those of `unrouted` */
    int64_t top1, top5; /* samples whose class has the largest, one of the five largest logits */
    int64_t not_finite; /* samples with a loss or a logit that is no finite number; wrong answers */
    double loss;        /* sum over the samples with finite loss, nearly exact, in their order */
    int64_t unrouted;   /* samples that no expert took: nothing else counts them */
    int64_t wanted, dropped; /* assignments that the gate wanted; those of them that were dropped */
} clvi_metrics_sums;
/* Waits for the device. */
clv_status clvi_metrics_read(clvi_metrics *metrics, clvi_metrics_sums *out,
                             clv_error *error) CLV_MUST_CHECK;
/* The sums as they lie on the device, for a checkpoint: what was taken and is put back goes on as
 * if it had stayed there. take waits, and changes nothing. */
enum { CLVI_METRICS_WORDS = 9, CLVI_METRICS_NOT_FINITE = 5 /* the word that counts these */ };
clv_status clvi_metrics_take(clvi_metrics *metrics, uint32_t words[CLVI_METRICS_WORDS],
                             clv_error *error) CLV_MUST_CHECK;
clv_status clvi_metrics_put(clvi_metrics *metrics, const uint32_t words[CLVI_METRICS_WORDS],
                            clv_error *error) CLV_MUST_CHECK;
/* Room for batches of up to n; clvi_metrics_add makes it otherwise. */
clv_status clvi_metrics_reserve(clvi_metrics *metrics, int64_t n, clv_error *error) CLV_MUST_CHECK;
/* Bytes of device memory. */
uint64_t clvi_metrics_bytes(const clvi_metrics *metrics);
/* Sets all sums to 0. Enqueues only. */
clv_status clvi_metrics_reset(clvi_metrics *metrics, clv_error *error) CLV_MUST_CHECK;

#endif
