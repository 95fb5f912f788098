/* Measures multiply-add peak and copy bandwidth with kernels/probe.cl. */
#include "runtime/peak.h"

#include <stdio.h>

/* CHAINS: PROBE_CHAINS of kernels/probe.cl. */
enum { CHAINS = 12, REPETITIONS = 7, LOCAL_ON_GPU = 64, COPY_BYTES = 64 << 20 };

typedef struct shape {
    char options[32];
    size_t groups, local;
    int vector;
} shape;

static shape choose_shape(const clvi_device *device)
{
    const clvi_device_info *info = clvi_device_get_info(device);
    const bool gpu = info->type == CLVI_DEVICE_GPU && info->max_group >= LOCAL_ON_GPU;
    shape s = {.local = gpu ? LOCAL_ON_GPU : 1, .vector = clvi_tuning_int(device, "vector")};
    /* Many small shares even out cores that are late; GPUs hide latency by many groups. */
    s.groups = (size_t)(info->compute_units > 0 ? info->compute_units : 1) * (gpu ? 64 : 16);
    if (s.groups > 16384)
        s.groups = 16384;
    snprintf(s.options, sizeof(s.options), "-DPROBE_LOCAL=%zu", s.local);
    return s;
}

static clv_status time_multiply_add(clvi_device *device, const shape *s, clvi_buf *out, int rounds,
                                    double *seconds, clv_error *error)
{
    clvi_launch l;
    clvi_launch_begin(&l, device, "probe", "probe_multiply_add", s->options);
    clvi_arg_view(&l, (clvi_view){out, 0});
    clvi_arg_int(&l, rounds);
    clvi_arg_float(&l, 0.75f);
    clvi_arg_float(&l, 0.25f);
    CLV_TRY(clvi_timer_begin(device, error));
    CLV_TRY(clvi_launch_run(&l, s->groups, 1, 1, error));
    return clvi_timer_end(device, seconds, error);
}

static clv_status measure_multiply_add(clvi_device *device, const shape *s, double *gflops,
                                       clv_error *error)
{
    clvi_buf *out = NULL;
    const size_t items = s->groups * s->local;
    CLV_TRY(clvi_buf_create(device, items * sizeof(float), "peak", &out, error));
    int rounds = 64;
    double seconds = 0.0, best = 0.0;
    /* Twice: drivers may compile while the first one runs. */
    clv_status status = time_multiply_add(device, s, out, rounds, &seconds, error);
    if (status == CLV_OK)
        status = time_multiply_add(device, s, out, rounds, &seconds, error);
    /* Long enough that starting the launch does not count, far from a desktop's watchdog. */
    while (status == CLV_OK && seconds < 0.02 && rounds < 1 << 24) {
        rounds *= 2;
        status = time_multiply_add(device, s, out, rounds, &seconds, error);
    }
    for (int i = 0; status == CLV_OK && i < REPETITIONS; i++) {
        status = time_multiply_add(device, s, out, rounds, &seconds, error);
        const double work = 2.0 * CHAINS * s->vector * (double)rounds * (double)items;
        if (status == CLV_OK && seconds > 0.0 && work / seconds > best)
            best = work / seconds;
    }
    clvi_buf_destroy(out);
    if (status == CLV_OK)
        *gflops = 1e-9 * best;
    return status;
}

static clv_status time_copies(clvi_device *device, const shape *s, clvi_buf *const *bufs, int share,
                              double *best, clv_error *error)
{
    for (int i = 0; i < REPETITIONS; i++) {
        double seconds = 0.0;
        clvi_launch l;
        clvi_launch_begin(&l, device, "probe", "probe_copy", s->options);
        clvi_arg_view(&l, (clvi_view){bufs[0], 0});
        clvi_arg_view(&l, (clvi_view){bufs[1], 0});
        clvi_arg_int(&l, share);
        CLV_TRY(clvi_timer_begin(device, error));
        CLV_TRY(clvi_launch_run(&l, s->groups, 1, 1, error));
        CLV_TRY(clvi_timer_end(device, &seconds, error));
        /* The first one touches the pages for the first time. */
        if (i > 0 && seconds > 0.0 && (*best == 0.0 || seconds < *best))
            *best = seconds;
    }
    return CLV_OK;
}

static clv_status measure_copy(clvi_device *device, const shape *s, double *gbs, clv_error *error)
{
    const clvi_device_info *info = clvi_device_get_info(device);
    clvi_buf *bufs[2] = {NULL, NULL};
    uint64_t wanted = COPY_BYTES;
    while (wanted > info->max_alloc_bytes || wanted > info->global_bytes / 8)
        wanted /= 2;
    const size_t stride = s->groups * (size_t)s->vector * sizeof(float);
    const size_t share = wanted / stride > 0 ? (size_t)wanted / stride : 1;
    const size_t bytes = share * stride;
    double best = 0.0;
    clv_status status = clvi_buf_create(device, bytes, "copy to", &bufs[0], error);
    if (status == CLV_OK)
        status = clvi_buf_create(device, bytes, "copy from", &bufs[1], error);
    if (status == CLV_OK)
        status = clvi_fill(device, bufs[1], 0, bytes, 0x3f800000u, error);
    if (status == CLV_OK)
        status = time_copies(device, s, bufs, (int)share, &best, error);
    clvi_buf_destroy(bufs[0]);
    clvi_buf_destroy(bufs[1]);
    if (status == CLV_OK)
        *gbs = best > 0.0 ? 1e-9 * 2.0 * (double)bytes / best : 0.0;
    return status;
}

clv_status clvi_device_measure_peak(clvi_device *device, double *gflops, double *copy_gbs,
                                    clv_error *error)
{
    const shape s = choose_shape(device);
    double multiply_add = 0.0, copy = 0.0;
    CLV_TRY(measure_multiply_add(device, &s, &multiply_add, error));
    CLV_TRY(measure_copy(device, &s, &copy, error));
    *gflops = multiply_add;
    *copy_gbs = copy;
    return CLV_OK;
}
