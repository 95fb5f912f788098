/* gather_samples: y[r] = x[index[r]] for r < count, zero for the others. Inputs: x [N, …] f32,
 * index [N] i32, count [1] i32 (read on the device). Output: y, as x. An index outside 0 … N - 1
 * gives zeros. The gradient is scatter_samples with the same list. Kernels:
 * kernels/gather_samples.cl. Reference: tests/ref/gather_samples_ref.c. */
#include "ops/sample_rows.h"

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    return clvi_sample_rows_shape(r, "gather_samples", error);
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode;
    out->backward_inputs = wants_grad != 0 ? 6 : 0;
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    return clvi_sample_rows_launch(run, "gather_samples", run->out[0], run->in[0], error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    return clvi_sample_rows_launch(run, "scatter_samples", run->grad_in[0], run->grad_out[0],
                                   error);
}

const clvi_op clvi_op_gather_samples = {
    .name = "gather_samples",
    .min_inputs = 3,
    .max_inputs = 3,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
