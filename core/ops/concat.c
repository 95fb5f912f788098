/* concat: inputs side by side along the last axis. Inputs: 2 … 8 tensors [N, …, Cᵢ] f32, equal but
 * for the last extent. Output: y [N, …, ΣCᵢ]. Gradients are the columns of grad y. Kernels:
 * kernels/concat.cl. Reference: tests/ref/concat_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *first = r->inputs[0];
    clv_shape y = *first;
    for (int i = 0; i < r->input_count; i++) {
        const clv_shape *x = r->inputs[i];
        bool fits = x->dtype == CLV_F32 && x->rank == first->rank && x->rank >= 2;
        for (int axis = 0; fits && axis + 1 < x->rank; axis++)
            fits = x->dims[axis] == first->dims[axis];
        if (!fits) {
            char left[64], right[64];
            CLVI_SHAPE_FAIL(
                error, "concat", r,
                "inputs 0 and %d are %s and %s; they must be [N, …, C] f32 and equal but "
                "for the last extent",
                i, clvi_shape_text(first, left, sizeof left),
                clvi_shape_text(x, right, sizeof right));
        }
        if (i > 0)
            y.dims[y.rank - 1] += x->dims[x->rank - 1];
    }
    r->outputs[0] = y;
    return CLV_OK;
}

/* Copies `columns` columns of rows that lie to_row and from_row elements apart. */
static clv_status copy(const clvi_run *run, clvi_view to, clvi_view from, int64_t columns,
                       const int64_t row[2], clv_error *error)
{
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    const int64_t rows = clvi_out_total(run) / y->dims[y->rank - 1];
    const clvi_share share = clvi_share_of(rows, 2 * columns, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "concat", "concat_copy", "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_int(&l, (int32_t)rows);
    clvi_arg_int(&l, (int32_t)columns);
    clvi_arg_int(&l, (int32_t)row[0]);
    clvi_arg_int(&l, (int32_t)row[1]);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

/* All inputs into y, or the wanted gradients out of grad y. */
static clv_status copy_all(const clvi_run *run, bool backward, clv_error *error)
{
    const clv_shape *y = clvi_out_shape(run->graph, run->node, 0);
    const int64_t whole = y->dims[y->rank - 1];
    clvi_view joined = backward ? run->grad_out[0] : run->out[0];
    for (int i = 0; i < run->node->input_count; i++) {
        const clv_shape *x = clvi_in_shape(run->graph, run->node, i);
        const int64_t columns = x->dims[x->rank - 1];
        if (!backward)
            CLV_TRY(
                copy(run, joined, run->in[i], columns, (const int64_t[]){whole, columns}, error));
        else if (run->wants_grad >> i & 1)
            CLV_TRY(copy(run, run->grad_in[i], joined, columns, (const int64_t[]){columns, whole},
                         error));
        joined.offset += (uint64_t)columns;
    }
    return CLV_OK;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return copy_all(run, false, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return copy_all(run, true, error);
}

const clvi_op clvi_op_concat = {
    .name = "concat",
    .min_inputs = 2,
    .max_inputs = CLVI_MAX_INPUTS,
    .output_count = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
