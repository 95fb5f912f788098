/* Timing what runs on a device. Device time stamps are believed only when a probe finds them in
 * step with the host's clock: rusticl 22.3 stamps 0, 1, 2, 3 ns. */
#define _POSIX_C_SOURCE 200809L
#include "base/process.h"
#include "runtime/device.h"

#include <time.h>

double clvi_host_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The time stamp of a finished marker, false when there is none. */
static bool stamp(cl_event event, cl_ulong *nanoseconds)
{
    return clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(*nanoseconds),
                                   nanoseconds, NULL) == CL_SUCCESS;
}

static clv_status mark(clvi_device *device, cl_event *event, clv_error *error)
{
    const cl_int code = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, event);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueMarkerWithWaitList", "timing", error);
    return CLV_OK;
}

/* Fills some megabytes between two markers; *good tells whether their stamps make sense. */
static clv_status probe(clvi_device *device, clvi_buf *buf, cl_event *events, bool *good,
                        clv_error *error)
{
    enum { FILLS = 16 };
    /* Once for the driver's own start, unmeasured. */
    CLV_TRY(clvi_fill(device, buf, 0, buf->bytes, 1, error));
    CLV_TRY(clvi_queue_wait(device, "timing", error));
    const double host_begin = clvi_host_seconds();
    CLV_TRY(mark(device, &events[0], error));
    for (int i = 0; i < FILLS; i++)
        CLV_TRY(clvi_fill(device, buf, 0, buf->bytes, 1, error));
    CLV_TRY(mark(device, &events[1], error));
    CLV_TRY(clvi_queue_wait(device, "timing", error));
    const double host = clvi_host_seconds() - host_begin;
    cl_ulong begin = 0, end = 0;
    if (stamp(events[0], &begin) && stamp(events[1], &end) && begin > 0 && end > begin) {
        const double seconds = 1e-9 * (double)(end - begin);
        *good = seconds < 1.05 * host + 1e-5 && seconds > 0.1 * host;
    }
    return CLV_OK;
}

clv_status clvi_timer_find_clock(clvi_device *device, clv_error *error)
{
    if (device->timer.clock != CLVI_CLOCK_UNKNOWN)
        return CLV_OK;
    clvi_buf *buf = NULL;
    cl_event events[2] = {NULL, NULL};
    bool good = false;
    CLV_TRY(clvi_buf_create(device, 4 << 20, "timer probe", &buf, error));
    const clv_status status = probe(device, buf, events, &good, error);
    for (int i = 0; i < 2; i++) {
        if (events[i] != NULL)
            clReleaseEvent(events[i]);
    }
    clvi_buf_destroy(buf);
    CLV_TRY(status);
    device->timer.clock = good ? CLVI_CLOCK_DEVICE : CLVI_CLOCK_HOST;
    if (!good && !device->runtime->said_clock)
        clvi_log(CLVI_LOG_INFO, "%s: the driver's time stamps are of no use, timing on the host",
                 device->found->short_name);
    device->runtime->said_clock = device->runtime->said_clock || !good;
    return CLV_OK;
}

clv_status clvi_timer_begin(clvi_device *device, clv_error *error)
{
    clvi_timer *timer = &device->timer;
    CLV_ASSERT(!timer->running);
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(clvi_timer_find_clock(device, error));
    CLV_TRY(clvi_queue_wait(device, "timing", error));
    if (timer->clock == CLVI_CLOCK_DEVICE)
        CLV_TRY(mark(device, &timer->begin, error));
    timer->begin_seconds = clvi_host_seconds();
    timer->running = true;
    return CLV_OK;
}

clv_status clvi_timer_end(clvi_device *device, double *seconds, clv_error *error)
{
    clvi_timer *timer = &device->timer;
    CLV_ASSERT(timer->running);
    timer->running = false;
    if (timer->clock == CLVI_CLOCK_HOST) {
        CLV_TRY(clvi_queue_wait(device, "timing", error));
        *seconds = clvi_host_seconds() - timer->begin_seconds;
        return CLV_OK;
    }
    cl_event end = NULL;
    cl_ulong begin_stamp = 0, end_stamp = 0;
    clv_status status = mark(device, &end, error);
    if (status == CLV_OK)
        status = clvi_queue_wait_event(device, end, "timing", error);
    if (status == CLV_OK && (!stamp(timer->begin, &begin_stamp) || !stamp(end, &end_stamp)))
        status = clvi_fail(error, CLV_E_CL, CLV_HERE, "%s gives no time stamps any more",
                           device->found->short_name);
    if (status == CLV_OK)
        *seconds = 1e-9 * (double)(end_stamp - begin_stamp);
    if (end != NULL)
        clReleaseEvent(end);
    clvi_timer_fini(device);
    return status;
}

void clvi_timer_fini(clvi_device *device)
{
    if (device->timer.begin != NULL)
        clReleaseEvent(device->timer.begin);
    device->timer.begin = NULL;
    device->timer.running = false;
}
