/* reshape: the same memory under another shape. Input: x led by the batch. Output: y. Attribute:
 * shape, the extents of one sample (without the batch); not given: [N, product]. No kernels.
 * Reference: tests/ref/reshape_ref.c. */
#include "ops/op.h"

typedef struct attributes {
    clvi_attr_ints shape;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "shape",
     .type = CLV_ATTR_INTS,
     .offset = offsetof(attributes, shape),
     .min = 1,
     .max = INT32_MAX},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const attributes *a = r->attrs;
    const clv_shape *x = r->inputs[0];
    char text[64];
    clvi_shape_text(x, text, sizeof text);
    if (!clvi_shape_batched(x))
        CLVI_SHAPE_FAIL(error, "reshape", r, "the input is %s; it must be led by the batch", text);
    const int64_t each = clvi_shape_elements(x);
    int64_t dims[CLV_MAX_RANK] = {CLV_BATCH, each};
    if (a->shape.count >= CLV_MAX_RANK)
        CLVI_SHAPE_FAIL(error, "reshape", r, "shape has %d extents, at most %d are possible",
                        (int)a->shape.count, CLV_MAX_RANK - 1);
    int64_t left = each;
    for (int i = 0; i < a->shape.count; i++) {
        dims[1 + i] = a->shape.values[i];
        left = left % dims[1 + i] == 0 ? left / dims[1 + i] : 0;
    }
    if (a->shape.count > 0 && left != 1)
        CLVI_SHAPE_FAIL(error, "reshape", r,
                        "the extents of shape must multiply to the %lld elements of a sample of %s",
                        (long long)each, text);
    r->outputs[0] =
        clvi_shape_make((clv_dtype)x->dtype, a->shape.count > 0 ? 1 + a->shape.count : 2, dims);
    return CLV_OK;
}

const clvi_op clvi_op_reshape = {
    .name = "reshape",
    .min_inputs = 1,
    .max_inputs = 1,
    .output_count = 1,
    .attrs = attr_specs,
    .attr_count = 1,
    .attr_bytes = sizeof(attributes),
    .is_alias = true,
    .shape = shape,
};
