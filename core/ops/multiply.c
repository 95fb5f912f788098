/* multiply: y = a·b. Inputs: a, b f32 of equal shape; or a [N, H, W, C] and b [N, C] or [N, 1, 1,
 * C], one factor per sample and channel (squeeze-excite, Hu et al. 2018). Output: y, as a. The
 * gradient of such a b sums over pixels: in chunks whose size depends on the shape only, then over
 * the chunks in order. Kernels: kernels/multiply.cl. Reference: tests/ref/multiply_ref.c. */
#include "ops/op.h"
#include "ops/share.h"

enum { CHUNK_ELEMENTS = 8192 }; /* what one work-group sums: 3 streams of 32 KiB */

/* b is a factor per sample and channel of a. */
static bool per_channel(const clv_shape *a, const clv_shape *b)
{
    if (a->rank != 4 || a->dims[0] != b->dims[0])
        return false;
    if (b->rank == 2)
        return b->dims[1] == a->dims[3];
    return b->rank == 4 && b->dims[1] == 1 && b->dims[2] == 1 && b->dims[3] == a->dims[3];
}

static clv_status shape(clvi_shape_request *r, clv_error *error)
{
    const clv_shape *a = r->inputs[0], *b = r->inputs[1];
    if (a->dtype != CLV_F32 || b->dtype != CLV_F32 ||
        (!clvi_shape_equal(a, b) && !per_channel(a, b))) {
        char left[64], right[64];
        CLVI_SHAPE_FAIL(
            error, "multiply", r,
            "the inputs are %s and %s; they must be f32 and equal, or the second [N, C] "
            "or [N, 1, 1, C] for a first [N, H, W, C]",
            clvi_shape_text(a, left, sizeof left), clvi_shape_text(b, right, sizeof right));
    }
    r->outputs[0] = *a;
    return CLV_OK;
}

/* Sizes of the case with a factor per sample and channel. */
typedef struct sizes {
    bool flat; /* equal shapes instead */
    int64_t n, pixels, c, chunk, chunks;
} sizes;

static sizes sizes_of(const clv_graph *graph, const clvi_node *node, int64_t n)
{
    const clv_shape *a = clvi_in_shape(graph, node, 0);
    if (clvi_shape_equal(a, clvi_in_shape(graph, node, 1)))
        return (sizes){.flat = true};
    sizes s = {.n = clvi_shape_batched(a) ? n : a->dims[0],
               .pixels = a->dims[1] * a->dims[2],
               .c = a->dims[3]};
    s.chunk = s.c < CHUNK_ELEMENTS ? CHUNK_ELEMENTS / s.c : 1;
    s.chunk = s.chunk < s.pixels ? s.chunk : s.pixels;
    /* No more chunks than work-groups of one dimension. */
    const int64_t least = (s.pixels + CLVI_MAX_GROUPS - 1) / CLVI_MAX_GROUPS;
    s.chunk = s.chunk > least ? s.chunk : least;
    s.chunks = (s.pixels + s.chunk - 1) / s.chunk;
    return s;
}

static void needs(const clvi_device *device, const clv_graph *graph, const clvi_node *node,
                  clv_mode mode, uint32_t wants_grad, clvi_needs *out)
{
    (void)device, (void)mode;
    const sizes s = sizes_of(graph, node, 1);
    out->backward_inputs = (wants_grad & 1) << 1 | (wants_grad & 2) >> 1;
    out->forward_in_place = out->grad_in_place = s.flat ? 3 : 1;
    if (!s.flat && (wants_grad & 2) != 0 && s.chunks > 1) {
        const int64_t elements = s.chunks * s.c;
        if (clvi_shape_batched(clvi_in_shape(graph, node, 0)))
            out->backward_workspace.per_sample = elements;
        else
            out->backward_workspace.constant = elements * s.n;
    }
}

static clv_status forward(const clvi_run *run, clv_error *error)
{
    const sizes s = sizes_of(run->graph, run->node, run->n);
    const int64_t total = clvi_out_total(run);
    const clvi_share share = s.flat ? clvi_share_of(total, 3, CLVI_FLAT_STEP)
                                    : clvi_share_of(s.n * s.pixels, 2 * s.c, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "multiply",
                      s.flat ? "multiply_fwd" : "multiply_channels_fwd", "");
    clvi_arg_view(&l, run->out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->in[1]);
    if (s.flat) {
        clvi_arg_int(&l, (int32_t)total);
    } else {
        clvi_arg_int(&l, (int32_t)s.n);
        clvi_arg_int(&l, (int32_t)s.pixels);
        clvi_arg_int(&l, (int32_t)s.c);
    }
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status sum_chunks(const clvi_run *run, const sizes *s, clv_error *error)
{
    const clvi_share share = clvi_share_of(s->n, s->chunks * s->c, 1);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "multiply", "multiply_channels_sum", "");
    clvi_arg_view(&l, run->grad_in[1]);
    clvi_arg_view(&l, run->workspace);
    clvi_arg_int(&l, (int32_t)s->n);
    clvi_arg_int(&l, (int32_t)s->chunks);
    clvi_arg_int(&l, (int32_t)s->c);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status backward(const clvi_run *run, clv_error *error)
{
    const sizes s = sizes_of(run->graph, run->node, run->n);
    const bool wants_b = (run->wants_grad & 2) != 0, two = !s.flat && wants_b && s.chunks > 1;
    const int64_t total = clvi_out_total(run);
    const clvi_share share = clvi_share_of(total, 5, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "multiply",
                      s.flat ? "multiply_bwd" : "multiply_channels_bwd", "");
    clvi_arg_view(&l, run->grad_in[0]);
    clvi_arg_view(&l, two ? run->workspace : run->grad_in[1]);
    clvi_arg_view(&l, run->grad_out[0]);
    clvi_arg_view(&l, run->in[0]);
    clvi_arg_view(&l, run->in[1]);
    if (s.flat) {
        clvi_arg_int(&l, (int32_t)total);
        clvi_arg_int(&l, share.items);
        return clvi_launch_run(&l, share.groups, 1, 1, error);
    }
    clvi_arg_int(&l, (int32_t)s.n);
    clvi_arg_int(&l, (int32_t)s.pixels);
    clvi_arg_int(&l, (int32_t)s.c);
    clvi_arg_int(&l, (int32_t)s.chunk);
    const size_t samples = (size_t)(s.n < CLVI_MAX_GROUPS ? s.n : CLVI_MAX_GROUPS);
    CLV_TRY(clvi_launch_run(&l, (size_t)s.chunks, samples, 1, error));
    return two ? sum_chunks(run, &s, error) : CLV_OK;
}

const clvi_op clvi_op_multiply = {
    .name = "multiply",
    .min_inputs = 2,
    .max_inputs = 2,
    .output_count = 1,
    .shape = shape,
    .needs = needs,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .again_inputs = 3,
};
