/* dropout: in training y = x·mask/(1 - rate), in inference y = x. Input: x f32, led by the batch.
 * Output: y, as x. Attribute: rate, in [0, 1). The mask depends on the run's key and epoch, the
 * sample's id, the node's index and the element (kernels/dropout.cl), so backward draws it again.
 * Reference: tests/ref/dropout_ref.c. */
#include "ops/sample_drop.h"

static const clvi_attr_spec attr_specs[] = {CLVI_SAMPLE_DROP_RATE(0.5)};

const clvi_op clvi_op_dropout = {
    .name = "dropout",
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
