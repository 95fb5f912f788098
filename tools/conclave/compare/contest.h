/* Finding or making the runs of a plan. */
#ifndef CONCLAVE_COMPARE_CONTEST_H
#define CONCLAVE_COMPARE_CONTEST_H

#include "plan.h"

#include <signal.h>

/* Fills the records of all runs of the plan: takes finished ones with the same resolved
 * configuration, goes on with interrupted ones, and trains what is missing, each in a process of
 * its own. A run that fails gets its reason as its fault and the others go on. stop: not 0 as soon
 * as it shall end. With cached experts, models whose configuration is refused are taken out, and
 * the others put in the order of their validation. Errors: CLV_E_CONFIG where none is left;
 * CLV_E_INTERRUPTED, CLV_E_USAGE without images, CLV_E_MEMORY, CLV_E_IO.
 */
clv_status contest_run(plan *plan, const cli_args *args, const volatile sig_atomic_t *stop,
                       clv_error *error) CLV_MUST_CHECK;

#endif
