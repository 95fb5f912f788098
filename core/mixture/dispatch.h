/* Sending samples to experts: from a sparse gate's weights to lists of samples, one for each
 * expert, and their images, and where the experts' networks lie in the memory that they share. */
#ifndef CLVI_DISPATCH_H
#define CLVI_DISPATCH_H

#include "mixture/bank.h"
#include "mixture/part.h"

typedef struct clvi_dispatch clvi_dispatch;

/* Most assignments that a route makes of a batch of n samples. */
int64_t clvi_dispatch_most(const clv_route_desc *route, int64_t experts, int64_t n);

/* most: in training, of the site's largest batch. Before the experts' plans are made: they are to
 * lie in clvi_dispatch_slabs. Errors: CLV_E_MEMORY. */
clv_status clvi_dispatch_create(const clvi_site *site, size_t experts, int64_t most,
                                clvi_dispatch **out, clv_error *error) CLV_MUST_CHECK;
void clvi_dispatch_destroy(clvi_dispatch *dispatch); /* NULL allowed; after the plans */
clvi_slabs *clvi_dispatch_slabs(const clvi_dispatch *dispatch);
/* When the experts' plans are made: memory for all of them at once, and for their images. Errors:
 * CLV_E_MEMORY. */
clv_status clvi_dispatch_commit(clvi_dispatch *dispatch, const clvi_part *experts,
                                clv_error *error) CLV_MUST_CHECK;

/* In inference: in a route [n, experts], samples that nobody got go to their best expert by the
 * gate's logits, with its softmax as weight; logits.buf NULL: all are alike, and it is the first.
 * Enqueues only. */
clv_status clvi_dispatch_complete(const clvi_dispatch *dispatch, clvi_view route, clvi_view logits,
                                  int64_t n, clv_error *error) CLV_MUST_CHECK;
/* Lists the samples of a route [n, experts] and reads how many each expert gets: the one place
 * where a step itself waits, metrics apart. `run` says mode and n. Errors: CLV_E_PLUGIN when there
 * are more in training than the gate declared. */
clv_status clvi_dispatch_route(clvi_dispatch *dispatch, const clvi_part *experts, clvi_view route,
                               const clvi_part_run *run, clv_error *error) CLV_MUST_CHECK;
/* A route of n samples whose experts are not run: nobody is sent anything, clvi_dispatch_mask
 * works.
 */
void clvi_dispatch_assume(clvi_dispatch *dispatch, clvi_view route, int64_t n);
/* Samples of an expert in the last route. */
int64_t clvi_dispatch_count(const clvi_dispatch *dispatch, size_t expert);
/* Its rows of a bank. */
clvi_bank_rows clvi_dispatch_rows(const clvi_dispatch *dispatch, size_t expert);
/* Gathers its images and puts its plan in its place: fills n, images and ids of *run, valid
 * until the next expert is fed. Enqueues only.
 */
clv_status clvi_dispatch_feed(clvi_dispatch *dispatch, const clvi_part *experts, size_t expert,
                              clvi_part_run *run, clv_error *error) CLV_MUST_CHECK;
/* Leaves samples that nobody got out of a loss: seed [n]. Enqueues only. */
clv_status clvi_dispatch_mask(const clvi_dispatch *dispatch, clvi_view seed,
                              clv_error *error) CLV_MUST_CHECK;
uint64_t clvi_dispatch_bytes(const clvi_dispatch *dispatch); /* of device memory */

#endif
