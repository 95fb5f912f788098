/* What gather_samples and scatter_samples share. */
#include "ops/sample_rows.h"

#include "ops/share.h"

#include <stdio.h>

clv_status clvi_sample_rows_shape(clvi_shape_request *r, const char *op, clv_error *error)
{
    const clv_shape *x = r->inputs[0], *index = r->inputs[1], *count = r->inputs[2];
    if (x->dtype != CLV_F32 || !clvi_shape_batched(x) || index->dtype != CLV_I32 ||
        index->rank != 1 || !clvi_shape_batched(index) || count->dtype != CLV_I32 ||
        count->rank != 1 || count->dims[0] != 1) {
        char text[3][64];
        CLVI_SHAPE_FAIL(error, op, r,
                        "the inputs are %s, list %s and count %s; they must be [N, …] f32, [N] i32 "
                        "and [1] i32",
                        clvi_shape_text(x, text[0], sizeof text[0]),
                        clvi_shape_text(index, text[1], sizeof text[1]),
                        clvi_shape_text(count, text[2], sizeof text[2]));
    }
    r->outputs[0] = *x;
    return CLV_OK;
}

clv_status clvi_sample_rows_launch(const clvi_run *run, const char *op, clvi_view to,
                                   clvi_view from, clv_error *error)
{
    const int64_t each = clvi_shape_elements(clvi_in_shape(run->graph, run->node, 0));
    const clvi_share share = clvi_share_of(each, 2, CLVI_FLAT_STEP);
    const clvi_share samples =
        clvi_share_of(run->n, share.groups > 1 ? CLVI_SHARE_ELEMENTS : 2 * each, 1);
    char kernel[64];
    snprintf(kernel, sizeof kernel, "%s_fwd", op);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, op, kernel, "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_view(&l, run->in[1]);
    clvi_arg_view(&l, run->in[2]);
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)each);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, samples.groups, 1, error);
}
