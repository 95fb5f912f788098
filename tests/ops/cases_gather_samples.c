/* gather_samples: see cases_sample_rows.h. */
#include "cases_sample_rows.h"

ref_function gather_samples_ref, gather_samples_ref_backward;

OP_SUITE(gather_samples, gather_samples_ref_backward, cases);
