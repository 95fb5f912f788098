/* What dropout and drop_path share. */
#include "ops/sample_drop.h"

#include "ops/share.h"

#include <stdio.h>

clv_status clvi_sample_drop_shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *x = r->inputs[0];
    if (x->dtype != CLV_F32 || !clvi_shape_batched(x)) {
        char text[64];
        CLVI_SHAPE_FAIL(error, r->op->name, r, "the input is %s; it must be [N, …] f32",
                        clvi_shape_text(x, text, sizeof text));
    }
    r->outputs[0] = *x;
    return CLV_OK;
}

void clvi_sample_drop_needs(const clvi_device *device, const clv_graph *graph,
                            const clvi_node *node, clv_mode mode, uint32_t wants_grad,
                            clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode, (void)wants_grad;
    out->forward_in_place = 1;
    out->grad_in_place = 1;
}

/* y = x·kept/(1 - rate) for n samples of `each` elements. */
static clv_status apply(const clvi_run *run, clvi_view y, clvi_view x, clv_error *error)
{
    const clvi_sample_drop_attrs *a = run->node->attrs;
    const char *op = run->node->op->name;
    const int64_t each = clvi_shape_elements(clvi_out_shape(run->graph, run->node, 0));
    const clvi_share share = clvi_share_of(each, 2, CLVI_FLAT_STEP);
    /* Whole samples per group where they are small. */
    const clvi_share samples =
        clvi_share_of(run->n, share.groups > 1 ? CLVI_SHARE_ELEMENTS : 2 * each, 1);
    char kernel[64];
    snprintf(kernel, sizeof kernel, "%s_apply", op);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, op, kernel, "");
    clvi_arg_view(&l, y);
    clvi_arg_view(&l, x);
    clvi_arg_view(&l, run->random.ids);
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)each);
    clvi_arg_int(&l, share.items);
    clvi_arg_uint(&l, run->random.key[0]);
    clvi_arg_uint(&l, run->random.key[1]);
    clvi_arg_uint(&l, run->random.epoch);
    clvi_arg_uint(&l, run->node_index);
    clvi_arg_uint(&l, (uint32_t)(a->rate * 4294967296.0));
    clvi_arg_float(&l, (float)(1 / (1 - a->rate)));
    return clvi_launch_run(&l, share.groups, samples.groups, 1, error);
}

/* y = x where nothing is dropped. */
static clv_status pass(const clvi_run *run, clvi_view y, clvi_view x, clv_error *error)
{
    if (y.buf == x.buf && y.offset == x.offset)
        return CLV_OK;
    return clvi_copy(run->device, x.buf, (size_t)x.offset * sizeof(float), y.buf,
                     (size_t)y.offset * sizeof(float), (size_t)clvi_out_total(run) * sizeof(float),
                     error);
}

clv_status clvi_sample_drop_forward(const clvi_run *run, clv_error *error)
{
    return run->mode == CLV_MODE_TRAIN ? apply(run, run->out[0], run->in[0], error)
                                       : pass(run, run->out[0], run->in[0], error);
}

clv_status clvi_sample_drop_backward(const clvi_run *run, clv_error *error)
{
    return run->mode == CLV_MODE_TRAIN ? apply(run, run->grad_in[0], run->grad_out[0], error)
                                       : pass(run, run->grad_in[0], run->grad_out[0], error);
}
