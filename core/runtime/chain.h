/* Chains: launches that follow each other and run in one (kernels/chain.cl). Runtime only; others
 * see clvi_chain_begin and clvi_chain_end of runtime.h. */
#ifndef CLVI_CHAIN_H
#define CLVI_CHAIN_H

#include "runtime/device.h"

/* True when a launch of this kernel is collected now: then its arguments and its work-groups come
 * by the calls below, and it is a link of the chain; until it ends nothing else is enqueued. What
 * was collected so far is enqueued before where it cannot go with it; that may fail: *status. */
bool clvi_chain_takes(clvi_device *device, const char *program, const char *kernel,
                      const char *options, clv_status *status, clv_error *error);
void clvi_chain_view(clvi_device *device, clvi_view view);
void clvi_chain_word(clvi_device *device, uint32_t word);
void clvi_chain_local(clvi_device *device, size_t bytes);
/* Ends the link. Errors: CLV_E_MEMORY; as of launches. */
clv_status clvi_chain_link(clvi_device *device, const size_t groups[3],
                           clv_error *error) CLV_MUST_CHECK;

/* Enqueues what was collected: before everything else that is enqueued. Errors: as of launches. */
clv_status clvi_chain_flush(clvi_device *device, clv_error *error) CLV_MUST_CHECK;

void clvi_chain_fini(clvi_device *device);

#endif
