/* Creating the runtime where the home folder cannot be written: PoCL offers no device at all when
 * it cannot make the folder of its compiled kernels there. */
#ifndef CONCLAVE_DRIVER_CACHE_H
#define CONCLAVE_DRIVER_CACHE_H

#include "runtime/runtime.h"

/* clvi_runtime_create. Before it, where PoCL's folder (POCL_CACHE_DIR, else pocl/kcache below
 * $XDG_CACHE_HOME or ~/.cache) cannot be made or written, sets POCL_CACHE_DIR for this process and
 * its children to a folder of this user's own in $TMPDIR or /tmp, and logs that. Thread: while
 * there is one. Errors: as there. */
clv_status cli_runtime_create(clvi_runtime **out, clv_error *error) CLV_MUST_CHECK;

#endif
