#include "ops/squeeze_excite.h"

#include "ops/dense.h"
#include "ops/share.h"
#include "runtime/wide.h"

enum {
    SAMPLES = 4,            /* kernels/squeeze_excite.cl */
    MOST_WEIGHTS = 1 << 17, /* of both layers: beyond, two launches of several groups are faster */
    MOST_CHANNELS = 4096    /* of any vector, which lies in local memory */
};

/* Columns of a dense layer's weights. */
static int64_t units(const clv_graph *graph, const clvi_node *dense)
{
    return clvi_in_shape(graph, dense, 1)->dims[1];
}

/* And their rows. */
static int64_t values(const clv_graph *graph, const clvi_node *dense)
{
    return clvi_in_shape(graph, dense, 1)->dims[0];
}

/* Bytes of local memory: three vectors, each of whole floatV. */
static int64_t local_bytes(const clvi_device *device, int64_t a, int64_t b, int64_t c)
{
    const int64_t vector = clvi_tuning_int(device, "vector");
    return 4 * vector * (clvi_div_up(a, vector) + clvi_div_up(b, vector) + clvi_div_up(c, vector));
}

bool clvi_squeeze_excite_serves(const clvi_device *device, const clv_graph *graph,
                                const clvi_node *first, const clvi_node *second)
{
    const int64_t c = values(graph, first), hidden = units(graph, first);
    const int64_t outputs = units(graph, second);
    return clvi_tuning_int(device, "items") == 1 && c <= MOST_CHANNELS && hidden <= MOST_CHANNELS &&
           outputs <= MOST_CHANNELS && c * hidden + hidden * outputs <= MOST_WEIGHTS &&
           local_bytes(device, c, hidden, outputs) <=
               (int64_t)clvi_device_get_info(device)->local_bytes;
}

/* Samples of a work-group: some that read the weights together, where that leaves several groups
 * and local memory has room. */
static int64_t share_of(const clvi_run *run, int64_t bytes)
{
    const int64_t most = (int64_t)clvi_device_get_info(run->device)->local_bytes;
    return run->n >= 2 * SAMPLES && SAMPLES * bytes <= most ? SAMPLES : 1;
}

clv_status clvi_squeeze(const clvi_run *run, const clvi_pixel_sums *s, int64_t pixels,
                        clv_error *error)
{
    const float scale = 1.0f / (float)pixels;
    if (!(run->node->joined & CLVI_JOIN_DENSE))
        return clvi_mean_of_sums(run->device, run->out[1], s, scale, error);
    const clvi_behind *first = &run->node->behind[run->node->behind_count - 2];
    const clvi_behind *second = first + 1;
    const int64_t hidden = units(run->graph, first->node);
    const int64_t outputs = units(run->graph, second->node);
    const int64_t bytes = local_bytes(run->device, s->channels, hidden, outputs);
    const int64_t share = share_of(run, bytes);
    clvi_launch l;
    clvi_launch_begin(&l, run->device, "squeeze_excite", "squeeze_excite_fwd", "");
    clvi_arg_view(&l, run->out[1]);
    clvi_arg_view(&l, s->parts);
    clvi_arg_view(&l, run->in[first->first]);
    clvi_arg_view(&l, run->in[first->first + 1]);
    clvi_arg_view(&l, run->in[second->first]);
    clvi_arg_view(&l, run->in[second->first + 1]);
    clvi_arg_local(&l, (size_t)(share * bytes));
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)s->count);
    clvi_arg_int(&l, (int32_t)s->channels);
    clvi_arg_int(&l, (int32_t)hidden);
    clvi_arg_int(&l, (int32_t)outputs);
    clvi_arg_float(&l, scale);
    clvi_arg_int(&l, (int32_t)clvi_dense_activation(first->node));
    clvi_arg_int(&l, (int32_t)clvi_dense_activation(second->node));
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(run->n, share), 1, 1, error);
}
