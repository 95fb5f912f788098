/* Where the plugins of this library lie. */
#ifndef CLVI_PLACE_H
#define CLVI_PLACE_H

#include "base/error.h"

/* The folder of the plugins that belong to the library which this code is in: of its build tree, or
 * `conclave/plugins` beside it where it is installed, wherever that was moved. *folder: NULL where
 * it cannot be told; the caller frees. Errors: CLV_E_MEMORY. */
clv_status clvi_place_plugins(char **folder, clv_error *error) CLV_MUST_CHECK;

#endif
