/* drop_path: stochastic depth. In training each sample is kept with probability 1 - rate and
 * divided by it, or is zero; in inference y = x. Input: x f32, led by the batch. Output: y, as x.
 * Attribute: rate, in [0, 1). What is kept depends on the run's key and epoch, the sample's id and
 * the node's index (kernels/drop_path.cl), so backward draws it again. Reference:
 * tests/ref/drop_path_ref.c. */
#include "ops/sample_drop.h"

static const clvi_attr_spec attr_specs[] = {CLVI_SAMPLE_DROP_RATE(0.2)};

const clvi_op clvi_op_drop_path = {
    .name = "drop_path",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .draws = true,
    .attrs = attr_specs,
    .attr_count = 1,
    .attr_bytes = sizeof(clvi_sample_drop_attrs),
    .shape = clvi_sample_drop_shape,
    .needs = clvi_sample_drop_needs,
    .forward = clvi_sample_drop_forward,
    .backward = clvi_sample_drop_backward,
};
