/* add_noise: the noise of a noisy gate (Shazeer et al. 2017, arXiv 1701.06538). Inputs: z, s f32 of
 * equal shape, led by the batch. Output: y, as z: in training z + ε·(softplus(s) + floor), ε
 * normal; in inference z. Attribute: floor (default 0.01). ε depends on the run's key and epoch,
 * the sample's id, the node's index and the element (kernels/add_noise.cl), so backward draws it
 * again. Reference: tests/ref/add_noise_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

typedef struct attributes {
    double floor;
} attributes;

static const clvi_attr_spec attr_specs[] = {
    {.name = "floor",
     .type = CLV_ATTR_REAL,
     .offset = offsetof(attributes, floor),
     .default_value = 1e-2,
     .min = 0,
     .max = 1e6},
};

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *z = r->inputs[0], *s = r->inputs[1];
    if (z->dtype != CLV_F32 || !clvi_shape_equal(z, s) || !clvi_shape_batched(z)) {
        char left[64], right[64];
        CLVI_SHAPE_FAIL(
            error, "add_noise", r, "the inputs are %s and %s; they must be [N, …] f32 and equal",
            clvi_shape_text(z, left, sizeof left), clvi_shape_text(s, right, sizeof right));
    }
    r->outputs[0] = *z;
    return CLV_OK;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)graph, (void)node, (void)mode;
    out->backward_inputs = wants_grad & 2;
    out->forward_in_place = 1;
    out->grad_in_place = 3;
}

/* Appends n, each, share and what the draws depend on. *samples: groups of the second dimension. */
static clvi_share add_arguments(clvi_launch *l, const clvi_run *run, size_t *samples)
{
    const int64_t each = clvi_shape_elements(clvi_out_shape(run->graph, run->node, 0));
    const clvi_share share = clvi_share_of(each, 8, CLVI_FLAT_STEP);
    clvi_arg_view(l, run->random.ids);
    clvi_arg_int(l, (int32_t)run->n);
    clvi_arg_int(l, (int32_t)each);
    clvi_arg_int(l, share.items);
    clvi_arg_uint(l, run->random.key[0]);
    clvi_arg_uint(l, run->random.key[1]);
    clvi_arg_uint(l, run->random.epoch);
    clvi_arg_uint(l, run->node_index);
    *samples =
        clvi_share_of(run->n, share.groups > 1 ? CLVI_SHARE_ELEMENTS : 64 + 8 * each, 1).groups;
    return share;
}

/* y = z where there is no noise. */
static clv_status pass(const clvi_run *run, clvi_view y, clvi_view z, clv_error *error)
{
    if (y.buf == z.buf && y.offset == z.offset)
        return CLV_OK;
    return clvi_copy(run->device, z.buf, (size_t)z.offset * sizeof(float), y.buf,
                     (size_t)y.offset * sizeof(float), (size_t)clvi_out_total(run) * sizeof(float),
                     error);
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const attributes *a = run->node->attrs;
    const clvi_view y = run->out[0], z = run->in[0];
    if (run->mode != CLV_MODE_TRAIN)
        return pass(run, y, z, error);
    size_t samples = 0;
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "add_noise", "add_noise_fwd", "");
    clvi_arg_view(&l, y);
    clvi_arg_view(&l, z);
    clvi_arg_view(&l, run->in[1]);
    const clvi_share share = add_arguments(&l, run, &samples);
    clvi_arg_float(&l, (float)a->floor);
    return clvi_launch_run(&l, share.groups, samples, 1, error);
}

/* Where there is no noise, its scale has no gradient. */
static clv_status backward_without(const clvi_run *run, clv_error *error)
{
    const clvi_view z = run->grad_in[0], scale = run->grad_in[1];
    if (z.buf)
        CLV_TRY(pass(run, z, run->grad_out[0], error));
    if (!scale.buf)
        return CLV_OK;
    return clvi_fill(run->device, scale.buf, (size_t)scale.offset * sizeof(float),
                     (size_t)clvi_out_total(run) * sizeof(float), 0, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    if (run->mode != CLV_MODE_TRAIN)
        return backward_without(run, error);
    size_t samples = 0;
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "add_noise", "add_noise_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, run->grad_in[1]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->in[1]);
    const clvi_share share = add_arguments(&l, run, &samples);
    return clvi_launch_run(&l, share.groups, samples, 1, error);
}

const clvi_op clvi_op_add_noise = {
    .name = "add_noise",
    .min_inputs = 2,
    .max_inputs = 2,
    .output_count = 1,
    .draws = true,
    .attrs = attr_specs,
    .attr_count = 1,
    .attr_bytes = sizeof(attributes),
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
};
