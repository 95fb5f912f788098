/* Compiling kernels takes from milliseconds to a minute: what of it takes long is said in the log,
 * and other processes help. Runtime only. */
#ifndef CLVI_COMPILING_H
#define CLVI_COMPILING_H

#include "runtime/device.h"

/* Around each call that may compile (a build from source; on PoCL the first launch of a kernel, to
 * its end). Of what together takes longer than a second the log says what is being compiled, then
 * every five seconds. `kernel` NULL: all of the program's source. The strings are borrowed. */
void clvi_compiling_begin(clvi_device *device, const char *program, const char *kernel);
void clvi_compiling_end(clvi_device *device);
/* Ends what began here: threads and processes. */
void clvi_compiling_fini(clvi_device *device);

/* ---- Rehearsal (rehearsal.c) ---- */

/* Notes a launch instead of making it. CLV_E_MEMORY. */
clv_status clvi_rehearsal_note(clvi_device *device, const clvi_launch *launch, const size_t *groups,
                               clv_error *error) CLV_MUST_CHECK;
/* Starts helper processes with what was noted, if there is something; once. Failures are logged. */
void clvi_rehearsal_start_helpers(clvi_device *device);
void clvi_rehearsal_fini(clvi_device *device);

#endif
