/* scatter_samples: see cases_sample_rows.h. */
#include "cases_sample_rows.h"

ref_function scatter_samples_ref, scatter_samples_ref_backward;

OP_SUITE(scatter_samples, scatter_samples_ref_backward, cases);
