/* In which keys two configurations differ. */
#ifndef CLVI_CONFIG_DIFFERENCES_H
#define CLVI_CONFIG_DIFFERENCES_H

#include "config/config.h"

/* Called for a key that has another value; `was` or `is` is NULL where one does not have it. A
 * status that is not CLV_OK ends the comparison, which then returns it. */
typedef clv_status (*clvi_config_difference)(void *user, const char *section, const char *key,
                                             const char *was, const char *is, clv_error *error);

/* Compares the dumps of two configurations: first the keys of `now` in its order, then those that
 * only `before` has. Errors: CLV_E_MEMORY, and those of `call`. */
clv_status clvi_config_differences(const clvi_config *before, const clvi_config *now,
                                   clvi_config_difference call, void *user,
                                   clv_error *error) CLV_MUST_CHECK;

#endif
