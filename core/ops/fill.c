/* fill: y = value everywhere. Input: x led by the batch, of which only the batch counts. Output:
 * y [N, units] f32. Attributes: units (required), value (default 0). The gradient of x is zero. No
 * kernels: the device fills memory by itself. Reference: tests/ref/fill_ref.c. */
#include "ops/op.h"

#include <float.h>

typedef struct attributes {
    int64_t units;
    double value;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "units",
     .type = CLV_ATTR_INT,
     .offset = offsetof(attributes, units),
     .default_value = 1,
     .min = 1,
     .max = INT32_MAX,
     .required = true},
    {.name = "value",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, value),
     .min = -FLT_MAX,
     .max = FLT_MAX},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    if (!clvi_shape_batched(x)) {
        char text[64];
        CLVI_SHAPE_FAIL(error, "fill", r, "the input is %s; it must be led by the batch",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = CLVI_SHAPE(CLV_F32, CLV_BATCH, a->units);
    return CLV_OK;
}

/* Fills a view of n samples of `each` floats. */
static clv_status fill(const clvi_run *run, clvi_view view, int64_t each, float value,
                       clv_error *error)
{
    uint32_t pattern;
    memcpy(&pattern, &value, sizeof pattern);
    return clvi_fill(run->device, view.buf, (size_t)view.offset * sizeof value,
                     (size_t)(run->n * each) * sizeof value, pattern, error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    return fill(run, run->out[0], a->units, (float)a->value, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const int64_t each = clvi_shape_elements(clvi_in_shape(run->graph, run->node, 0));
    return fill(run, run->grad_in[0], each, 0, error);
}

const clvi_op clvi_op_fill = {
    .name = "fill",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 2,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
